#!/bin/bash
# foreign.sh ARCHITECTURE COMMAND...: runs a command as root of a user namespace in which programs
# of that Debian architecture run too, by qemu-user. Nothing changes for other processes. Needs
# Linux 6.7 and qemu-user-static.
set -euo pipefail
declare -A name=([amd64]=x86_64 [arm64]=aarch64 [riscv64]=riscv64)
rule=/usr/lib/binfmt.d/qemu-${name[$1]:-$1}.conf
test -r "$rule" || { echo "foreign.sh: no $rule: install qemu-user-static" >&2; exit 125; }
shift

# Every id is itself in the new namespace. Only a process outside may write such a map.
unshare --user bash -c '
    until grep -q . /proc/self/uid_map && grep -q . /proc/self/gid_map; do sleep 0.1; done
    rule=$1
    shift
    exec unshare --mount --pid --fork --kill-child --mount-proc bash -c "
        mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc &&
            cat \"\$1\" > /proc/sys/fs/binfmt_misc/register && shift && exec \"\$@\"" bash "$rule" "$@"
' bash "$rule" "$@" &
until test "$(readlink /proc/$!/ns/user)" != "$(readlink /proc/self/ns/user)"; do sleep 0.1; done
for kind in uid gid; do echo '0 0 4294967295' > /proc/$!/${kind}_map; done
wait $!
