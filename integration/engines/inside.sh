#!/bin/bash
# One engine with one runtime, in namespaces of its own (run.sh makes them): inside.sh ENGINE
# RUNTIME.
#
# Prepares what every engine needs, then reads ENGINE.sh, which states the facts. What the engine
# writes goes to file systems in memory, and all processes end with this one. Control groups cannot
# be private: engines are told to make theirs below $parent, and those are removed at the end.
#
# With LOCULE_MANAGER=systemd, systemd makes the control groups, in the slice $parent. That is for a
# machine which is thrown away afterwards (integration/vm/engines.sh): nothing is private there, and
# nothing is removed.
set -uo pipefail
engine=$1 program=$2
# `podman-as-crun` is podman, with the program under the name crun.
name=$(basename "$program")
if [[ $engine == *-as-* ]]; then name=${engine#*-as-}; fi
here=$(realpath "$(dirname "$0")")
project=$(realpath "$here/../..")
user=42042
manager=${LOCULE_MANAGER:-cgroupfs}
# Seconds that a command of an engine may take, and how long one with a terminal has an input.
patience=${LOCULE_PATIENCE:-60} typing=$((${LOCULE_PATIENCE:-60} / 20))
# An engine's word for the group above its containers is $parent_option.
if [ "$manager" = systemd ]; then
    parent=engines$$.slice parent_option=$parent manager_option=(--systemd-cgroup)
else
    parent=locule-engines-$(basename "$program")-$$-$RANDOM parent_option=/$parent manager_option=()
fi

prepare() {
    runtime=/usr/local/bin/$name
    if [ "$manager" = systemd ]; then
        install "$program" "$runtime"
        mount -o remount,exec /run
    else
        hide_directories
    fi
    # Podman asks for more, which a machine without CAP_SYS_RESOURCE refuses.
    limits="default_ulimits = [\"nofile=$(ulimit -Hn | limit)\", \"nproc=$(ulimit -Hu | limit)\"]"
    hide_control_group_root
    add_users
    ip link set lo up
    HOME=/run/home
    mkdir "$HOME"
    cd "$HOME" || return 1
    export HOME PATH=${LOCULE_NEWER:+$LOCULE_NEWER:}/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    unset XDG_RUNTIME_DIR
}

# The program is copied first: it may be below one of the directories that are hidden.
hide_directories() {
    local directory
    mount -t tmpfs -o mode=755 tmpfs /mnt
    cp "$program" "/mnt/$name"
    mount --bind /mnt "${runtime%/*}"
    umount /mnt
    for directory in /run /var/tmp /tmp /var/lib/containers /var/lib/containerd /var/lib/docker \
        /var/lib/cni; do
        test ! -d "$directory" || mount -t tmpfs -o mode="$(stat -c %a "$directory")" tmpfs "$directory"
    done
    mkdir -p /run/lock
}

# Users of this sandbox only: an ordinary one, and the one that owns the ids of `--userns=auto`.
add_users() {
    local file
    for file in passwd group subuid subgid; do
        touch "/etc/$file"
        cp "/etc/$file" "/run/$file"
        mount --bind "/run/$file" "/etc/$file"
    done
    echo "engines:x:$user:$user::/run/home:/bin/sh" >> /etc/passwd
    echo "engines:x:$user:" >> /etc/group
    printf 'engines:4200000:65536\ncontainers:5000000:1000000\n' | tee -a /etc/subuid >> /etc/subgid
}

limit() { sed 's/unlimited/-1/; s/.*/&:&/'; }

# With cgroup v1, conmon makes plain directories for the controllers it misses: let it make them in
# a tmpfs that ends with this script.
hide_control_group_root() {
    local directory
    test "$(stat -fc %T /sys/fs/cgroup)" != cgroup2fs || return 0
    mkdir /run/cgroup
    mount -t tmpfs -o mode=755 tmpfs /run/cgroup
    for directory in /sys/fs/cgroup/*/; do
        # A conmon without this tmpfs has left plain directories there.
        [[ $(stat -fc %T "$directory") == cgroup* ]] || continue
        directory=$(basename "$directory")
        # crun refuses cgroup v2 beside v1.
        test "$name $directory" != 'crun unified' || continue
        mkdir "/run/cgroup/$directory"
        mount --bind "/sys/fs/cgroup/$directory" "/run/cgroup/$directory"
    done
    mount --rbind /run/cgroup /sys/fs/cgroup
}

# Ends all processes of this pid namespace first, daemons too.
remove_control_groups() {
    local directory try
    if [ "$manager" = systemd ]; then
        fact 'systemd has no unit of a container' 0 '^$' \
            systemctl list-units --all --plain --no-legend --type=scope 'libpod-*' 'ctr-*' 'cri-*'
        return
    fi
    kill -KILL -1 2> /dev/null
    for try in 1 2 3 4 5; do
        for directory in /sys/fs/cgroup/"$parent"* /sys/fs/cgroup/*/"$parent"*; do
            test ! -d "$directory" || find "$directory" -depth -type d -exec rmdir {} + 2> /dev/null
        done
        test -n "$(find /sys/fs/cgroup -maxdepth 2 -name "$parent*" -print -quit)" || return 0
        sleep 0.2
    done
    echo "FAILED	the control groups of the engine can be removed"
}

# A root file system of one static program, in $1.
make_root() {
    mkdir -p "$1"/{bin,dev,etc,proc,sys,tmp,data}
    cp "$(command -v busybox)" "$1/bin/busybox"
    chroot "$1" /bin/busybox --install -s /bin
    printf 'root:x:0:0:root:/:/bin/sh\nuser:x:1000:1000::/:/bin/sh\n' > "$1/etc/passwd"
    printf 'root:x:0:\nuser:x:1000:\nextra:x:1001:user\n' > "$1/etc/group"
    printf 'no program\n' > "$1/etc/text"
}

# An image named bb of the root file system in $1, as the file $2 that every engine can load.
make_archive() {
    local parts=$2.parts digest
    mkdir "$parts"
    tar -C "$1" -c . > "$parts/layer.tar"
    digest=$(sha256sum < "$parts/layer.tar")
    printf '{"architecture": "%s", "os": "linux", "config": {"Cmd": ["sleep", "100000"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:%s"]}}\n' "$(dpkg --print-architecture)" "${digest%% *}" > "$parts/config.json"
    echo '[{"Config": "config.json", "RepoTags": ["docker.io/library/bb:latest"], "Layers": ["layer.tar"]}]' > "$parts/manifest.json"
    tar -C "$parts" -c manifest.json config.json layer.tar > "$2"
}

# Settings of Podman without those of this machine: any image is accepted, and the drop-in of the
# package counts.
podman_settings() {
    mount -t tmpfs tmpfs /etc/containers
    mkdir /etc/containers/containers.conf.d
    echo '{"default": [{"type": "insecureAcceptAnything"}]}' > /etc/containers/policy.json
    cp "$project"/contrib/containers.conf.d/*.conf /etc/containers/containers.conf.d/
}

# fact WORDS STATUS PATTERN COMMAND...: the command exits with STATUS, and what it writes matches
# the extended regular expression.
fact() {
    local words=$1 wanted=$2 pattern=$3 status=0 output
    shift 3
    output=$("$@" 2>&1 < /dev/null) || status=$?
    if [ "$status" -eq "$wanted" ] && [[ $output =~ $pattern ]]; then
        printf 'ok\t%s\n' "$words"
        return
    fi
    printf 'FAILED\t%s\n' "$words"
    {
        printf '\n== %s: %s\n$ %s\n' "$engine" "$words" "$*"
        printf 'status %s, wanted %s; output, wanted /%s/:\n%s\n' "$status" "$wanted" "$pattern" "$output"
    } >&2
}

# Runs a command line with a terminal. Its input stays open for three seconds: at its end Podman
# stops showing output, with every runtime.
terminal() { "${as[@]}" script -qec "$*" /dev/null < <(exec sleep "$typing" 2> /dev/null); }
as=()

# limit_in V1-FILE V2-FILE ID: what that file says for the container, whose group has the id in its
# name.
limit_in() {
    local directory=/sys/fs/cgroup/${1%%/*}/$parent
    if [ -d "$directory" ]; then cat "$directory"/*"$3"*/"${1#*/}"; else cat "/sys/fs/cgroup/$parent"/*"$3"*/"$2"; fi
}

# skip WORDS REASON
skip() { printf 'skipped\t%s (%s)\n' "$1" "$2"; }

# until_true COMMAND...: tries for ten seconds.
until_true() {
    local try
    for try in $(seq 100); do
        "$@" > /dev/null 2>&1 && return 0
        sleep 0.1
    done
    return 1
}

prepare || exit 1
trap remove_control_groups EXIT # an engine that does not start ends this script
# shellcheck source=/dev/null
. "$here/${engine%-as-*}.sh"
