#!/bin/bash
# A container's life, step by step, as root and as an ordinary user; what the host sees beside what
# the container sees.
#
# Runs in private namespaces of its own: nothing on this machine changes. LOCULE names the program.
set -euo pipefail
cd "$(dirname "$0")/.."

LOCULE=$(realpath "${LOCULE:-target/debug/locule}")
user=42042 subordinate=4200000

if test -z "${DEMO_INSIDE:-}"; then
    test -x "$LOCULE" || { echo "demo: $LOCULE is not there; try \`just demo\`" >&2; exit 1; }
    exec env DEMO_INSIDE=1 LOCULE="$LOCULE" unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
        --uts --ipc /bin/bash "$(realpath "integration/$(basename "$0")")"
fi

title() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
say() { printf '\n%s\n' "$*"; }
# Shows a command as one would type it, then runs it.
show() {
    printf '\033[32m$ locule %s\033[0m\n' "$*"
    run "$@"
}
run() { "${as[@]}" "$LOCULE_HERE" --root "$state" "$@"; }

# A file system of one static program, and a configuration that reports what it sees.
make_bundle() {
    local root=$1/rootfs applet
    mkdir -p "$root"/{bin,dev,etc,proc,sys,tmp}
    cp "$(command -v busybox)" "$root/bin/busybox"
    for applet in sh cat hostname id ls ps sleep tail wc grep cut readlink echo; do
        ln -s busybox "$root/bin/$applet"
    done
    cat > "$root/bin/look" << 'LOOK'
#!/bin/sh
look() { printf '%s\t%s\n' "$1" "$2"; }
look 'host name' "$(hostname)"
look 'own pid' "$$"
look 'processes' "$(ls /proc | grep -c '^[0-9]')"
look 'user id' "$(id -u)"
look 'user ids mapped' "$(tail -n 1 /proc/self/uid_map | { read a b c; echo "$c"; })"
look 'mounts' "$(grep -c . /proc/self/mountinfo)"
look 'top folders' "$(ls / | wc -l)"
look 'interfaces' "$(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | tr '\n' ' ' 2> /dev/null)"
look 'may do (caps)' "$(grep CapEff /proc/self/status | cut -f2)"
look 'can write /' "$( (: > /.demo) 2> /dev/null && rm -f /.demo && echo yes || echo no)"
LOOK
    ln -s busybox "$root/bin/tr"
    ln -s busybox "$root/bin/rm"
    printf '#!/bin/sh\n. /bin/look\nexec sleep 1000\n' > "$root/bin/demo"
    chmod +x "$root/bin/look" "$root/bin/demo"
    printf 'root:x:0:0:root:/:/bin/sh\n' > "$root/etc/passwd"
}

# Makes the template of `locule spec` run the report instead of an interactive shell.
edit() {
    sed -i -e 's/"terminal": true/"terminal": false/' -e 's/"sh"/"demo"/' "$1/config.json"
}

side_by_side() {
    printf '\n  %-18s %-28s %s\n' '' 'on the host' 'in the container'
    printf '  %-18s %-28s %s\n' '' '-----------' '----------------'
    paste -d '\t' "$1" <(cut -f2 "$2") | while IFS=$'\t' read -r what host container; do
        printf '  %-18s %-28.28s %s\n' "$what" "$host" "$container"
    done
}

# One life. Arguments: bundle, and options of spec.
life() {
    local bundle=$1 pid
    shift
    say 'A bundle is a folder with a root file system and a config.json. This writes the template:'
    (cd "$bundle" && show spec "$@")
    edit "$bundle"
    say 'create: namespaces, mounts and limits are made; the program is not started yet.'
    show create --bundle "$bundle" demo > "$work/output"
    grep -a 'locule' "$work/output" || true
    show state demo
    say 'start: now the program runs. It reports what it sees:'
    printf '\033[32m$ locule start demo\033[0m\n'
    run start demo
    for _ in $(seq 200); do grep -q 'can write' "$work/output" && break; sleep 0.01; done
    grep -aP '\t' "$work/output" > "$work/container"
    "${as[@]}" sh "$bundle/rootfs/bin/look" > "$work/host" 2> /dev/null
    side_by_side "$work/host" "$work/container"
    pid=$(run state demo | grep '"pid"' | tr -dc 0-9)
    printf '\n  The program is pid 1 inside; the host knows it as pid %s.\n' "$pid"
    say 'kill: the signal goes to the container, and to nobody else.'
    show list
    show kill demo KILL
    for _ in $(seq 200); do run state demo | grep -q stopped && break; sleep 0.01; done
    show list
    say 'delete: everything that was made is gone.'
    show delete demo
    show list
}

work=/run/demo
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$work/state"
LOCULE_HERE=/run/locule
touch "$LOCULE_HERE"
mount --bind "$LOCULE" "$LOCULE_HERE"
hostname the-host

title 'As root'
as=() state=$work/state
make_bundle "$work/root"
life "$work/root"

title 'As an ordinary user, without any privilege'
mkdir -p /run/etc "/run/user/$user" "$work/user"
for file in passwd group subuid subgid; do
    touch "/etc/$file"
    cp "/etc/$file" "/run/etc/$file"
done
echo "demo:x:$user:$user::/:/bin/sh" >> /run/etc/passwd
echo "demo:x:$user:" >> /run/etc/group
echo "demo:$subordinate:65536" | tee -a /run/etc/subuid >> /run/etc/subgid
for file in passwd group subuid subgid; do mount --bind "/run/etc/$file" "/etc/$file"; done
make_bundle "$work/user"
chown -hR "$user:$user" "/run/user/$user" "$work/user"
as=(setpriv "--reuid=$user" "--regid=$user" --clear-groups --inh-caps=-all env "XDG_RUNTIME_DIR=/run/user/$user")
state=/run/user/$user/locule
life "$work/user" --rootless

title 'That was it'
say 'Nothing is left on this machine. Next: README.md, or `locule --help`.'
