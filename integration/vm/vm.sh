#!/bin/bash
# A machine to test in: systemd as process 1, cgroup v2 alone with every controller, a kernel of its own. Needs root; no
# KVM, no network once it is made.
#
#   vm.sh make                             make what is missing or out of date below target/vm: an image, and a booted
#                                          machine saved to disk
#   vm.sh run [option]... 'shell command'  resume the saved machine, run the command as root in it, throw the machine
#                                          away
#
#   -t SECONDS   limit of the whole run (300)
#   -s FOLDER    what the guest sees as /mnt/share, a copy
#   -a ARGUMENTS boot with these more kernel arguments instead of resuming
#
# The command's outputs come out as they are written and its status is ours. 124: out of time; 125: no status came back,
# the console's end is on stderr.
# VM_SUITE is the Debian release inside (trixie), VM_ARCH its architecture (amd64 or arm64; that of this machine),
# VM_PAGES the KiB of a page (4; with arm64 also 16), VM_PACKAGES what it has besides, VM_MIRROR its source (that of this
# machine's apt), VM_CACHE the folder for images (target/vm).
# VM_BOOT_TIME is the limit of a boot in seconds (120): more where other programs use the processors.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

suite=${VM_SUITE:-trixie}
arch=${VM_ARCH:-$(dpkg --print-architecture)}
kernels=(cloud-$arch) # a page of the first has 4 KiB
packages=(
    systemd systemd-sysv udev kmod dbus dbus-user-session libpam-systemd
    iproute2 iptables procps busybox-static uidmap sudo strace jq
    apparmor selinux-utils policycoreutils checkpolicy crun runc criu ${VM_PACKAGES:-}
)
# Units that a throw-away machine has no use for; each costs boot time under emulation.
masked=(
    apparmor.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer
    e2scrub_reap.service fstrim.timer
    getty@tty1.service serial-getty@ttyS0.service modprobe@.service ldconfig.service dev-hugepages.mount tmp.mount
    sys-kernel-config.mount sys-kernel-debug.mount sys-kernel-tracing.mount proc-sys-fs-binfmt_misc.automount
    systemd-binfmt.service systemd-firstboot.service systemd-hwdb-update.service systemd-journal-catalog-update.service
    systemd-journal-flush.service systemd-modules-load.service systemd-pcrmachine.service systemd-random-seed.service
    systemd-remount-fs.service systemd-sysusers.service systemd-tmpfiles-clean.timer systemd-udev-load-credentials.service
    systemd-udev-trigger.service systemd-update-done.service systemd-update-utmp.service
)
memory=3072
tries=3       # a boot in forty hangs in the emulator
boot_limit=${VM_BOOT_TIME:-120}

die() { echo "vm.sh: $*" >&2; exit 125; }

cache=${VM_CACHE:-$here/../../target/vm}
cache=$cache/$suite
# Without cx16: qemu 7.2 leaves garbage in the flags after cmpxchg16b, and the guest's kernel dies of it sooner or
# later. Newer processor models cost time.
case $arch in
    amd64) emulator=(qemu-system-x86_64 -M q35 -cpu Nehalem,-cx16) console=ttyS0 ;;
    arm64)
        emulator=(qemu-system-aarch64 -M virt -cpu neoverse-n1) console=ttyAMA0 cache+=-arm64
        if test "$suite" != bookworm; then kernels+=(arm64-16k); fi ;;
    *) die "VM_ARCH is $arch, and can be amd64 or arm64" ;;
esac
case ${VM_PAGES:-4} in
    4) kernel=${kernels[0]} ;;
    16) kernel=${kernels[1]:-} ;;
    *) kernel= ;;
esac
test -n "$kernel" || die "VM_PAGES is ${VM_PAGES:-}, and can be 4, or 16 with VM_ARCH=arm64 on Debian 13 and later"
packages+=("${kernels[@]/#/linux-image-}")
mkdir -p "$cache/$kernel"
cache=$(cd "$cache" && pwd)
saved=$cache/$kernel # the booted machine
work=$(mktemp -d "$cache/run.XXXXXX")
qemu=
finish() {
    test -z "$qemu" || kill "$qemu" 2> /dev/null || :
    rm -rf "$work"
}
trap finish EXIT
trap 'exit 125' INT TERM HUP

# The first mirror that this machine's apt knows.
mirror() {
    cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2> /dev/null |
        sed -n -e 's/^URIs: *\([^ ]*\).*/\1/p' -e 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' | head -n 1
}

# What the image depends on: made anew when this changes.
recipe() {
    {
        echo "$suite $arch $memory ${packages[*]} ${masked[*]}"
        declare -f make_image guest disk start save_machine
        cd "$here" && find guest foreign.sh -type f -print0 | sort -z | xargs -0 cat
    } | sha256sum
}

# Whether this file says that what is there was made like this.
is_made() { test "$(cat "$1" 2> /dev/null)" = "$(recipe)"; }

make_image() {
    local kernel tree=$work/tree variant=minbase include=("${packages[@]}")
    if test "$arch" != "$(dpkg --print-architecture)"; then variant=extract include+=('?essential'); fi
    mmdebstrap --architectures="$arch" --variant=$variant --quiet --aptopt='Acquire::Check-Valid-Until "false"' \
        --include="$(IFS=,; echo "${include[*]}")" "$suite" "$tree" "${VM_MIRROR:-$(mirror)}" >&2
    test $variant = minbase || "$here/foreign.sh" "$tree" "${kernels[@]}"
    guest "$tree"
    for kernel in "${kernels[@]}"; do
        cp "$tree"/boot/vmlinuz-*"$kernel" "$cache/$kernel.kernel"
        cp "$tree"/boot/initrd.img-*"$kernel" "$cache/$kernel.initrd"
    done
    disk "$cache/disk" "$tree" 2048
    rm -rf "$tree"
}

# What the tests want of the installed system in this folder; runs no program of it.
guest() {
    local etc=$1/etc unit
    cp -r "$here/guest/." "$1"
    echo 'locule-test:x:42042:42042::/:/bin/sh' >> "$etc/passwd"
    echo 'locule-test:!:20000:0:99999:7:::' >> "$etc/shadow"
    echo 'locule-test:x:42042:' >> "$etc/group"
    echo locule-test:4200000:65536 | tee -a "$etc/subuid" >> "$etc/subgid"
    mkdir -p "$1/var/lib/systemd/linger" "$1/mnt/share" "$etc/systemd/system/multi-user.target.wants"
    touch "$1/var/lib/systemd/linger/locule-test"
    echo 0123456789abcdef0123456789abcdef > "$etc/machine-id"
    echo vm > "$etc/hostname"
    for unit in "${masked[@]}"; do ln -sf /dev/null "$etc/systemd/system/$unit"; done
    ln -s ../vm-agent.service "$etc/systemd/system/multi-user.target.wants"
}

# disk FILE FOLDER MIB: a file system with the folder's content and that much free space
disk() {
    : > "$1"
    mke2fs -q -F -t ext4 -O ^has_journal,^resize_inode -E lazy_itable_init=1 -m 0 -i 8192 -d "$2" "$1" \
        "$(($(du -skx "$2" | cut -f1) * 5 / 4 + $3 * 1024))k" >&2
}

# Starts the machine with more arguments; its devices are always the same ones, so that a saved machine fits.
start() {
    local port ports=()
    for port in stdout stderr control; do
        : > "$work/$port"
        ports+=(-chardev "file,id=$port,path=$work/$port" -device "virtserialport,chardev=$port,name=vm.$port")
    done
    : > "$work/console"
    timeout -k 5 "$limit" "${emulator[@]}" -nodefaults -no-user-config -display none -no-reboot -m "$memory" -smp 2 \
        -accel tcg,thread=multi,tb-size=1024 \
        -kernel "$cache/$kernel.kernel" -initrd "$cache/$kernel.initrd" \
        -append "root=/dev/vda rw console=$console quiet panic=-1 mitigations=off nokaslr nowatchdog \
            cryptomgr.notests random.trust_cpu=on systemd.show_status=0 $arguments" \
        -serial "file:$work/console" -device virtio-rng-pci -device virtio-serial-pci "${ports[@]}" \
        -drive "file=$work/job,format=raw,if=none,id=job" -drive "file=$work/share,format=raw,if=none,id=share" \
        -device virtio-blk-pci,drive=root -device virtio-blk-pci,drive=job -device virtio-blk-pci,drive=share \
        "$@" <&0 > "$work/qemu" 2>&1 &
    qemu=$!
}

# Waits for the guest's word; false when the machine ended or took too long.
says() { # WORD SECONDS
    local n
    for ((n = 0; n < $2 * 5; n++)); do
        if grep -q "^$1" "$work/control"; then return 0; fi
        kill -0 "$qemu" 2> /dev/null || return 1
        sleep 0.2
    done
    return 1
}

give_up() {
    echo "vm.sh: $*; the console's end:" >&2
    tail -n 30 "$work/console" "$work/qemu" >&2
    exit 125
}

stop() {
    kill "$qemu" 2> /dev/null || :
    wait "$qemu" || :
    qemu=
}

# Boots once and saves the running machine, which waits for a job.
save_machine() {
    local try limit=600 arguments=
    truncate -s 4G "$work/job" "$work/share"
    mkfifo "$work/monitor"
    for ((try = 1; ; try++)); do
        rm -f "$saved/written"
        qemu-img create -q -f qcow2 -F raw -b ../disk "$saved/written"
        exec 3<> "$work/monitor"
        start -drive "file=$saved/written,format=qcow2,if=none,id=root,cache=unsafe" -monitor stdio <&3
        if says up "$boot_limit"; then break; fi
        stop
        test $try -lt $tries || give_up "the machine did not come up"
    done
    sleep 2 # what is still starting
    printf '%s\n' 'migrate_set_parameter max-bandwidth 16g' "migrate \"exec:cat > $saved/saved.new\"" 'quit' >&3
    wait "$qemu" || give_up "the machine was not saved"
    qemu=
    mv "$saved/saved.new" "$saved/saved"
}

make_all() {
    local program
    local programs=("${emulator[0]}" qemu-img mmdebstrap mke2fs)
    if test "$arch" != "$(dpkg --print-architecture)"; then programs+=(cpio depmod); fi
    for program in "${programs[@]}"; do
        command -v $program > /dev/null || die "$program is missing: ./bootstrap installs it"
    done
    exec 9> "$cache/lock"
    flock 9
    if ! is_made "$saved/recipe"; then
        rm -f "$saved/recipe"
        SECONDS=0
        if ! is_made "$cache/image"; then
            rm -f "$cache/image"
            make_image
            echo "vm.sh: image of $suite made in $SECONDS s" >&2
            recipe > "$cache/image"
        fi
        save_machine 9>&-
        echo "vm.sh: machine booted and saved after $SECONDS s" >&2
        recipe > "$saved/recipe"
    fi
    exec 9>&-
}

run() {
    local share= command root from try limit=300 arguments=
    while getopts t:s:a: option; do
        case $option in
            t) limit=$OPTARG ;;
            s) share=$OPTARG ;;
            a) arguments=$OPTARG ;;
            *) exit 2 ;;
        esac
    done
    shift $((OPTIND - 1))
    test "${1:-}" != -- || shift
    command=$*
    make_all
    { printf 'job %s %s\n' "$(date +%s)" "${#command}" | dd bs=4096 conv=sync status=none; printf '%s' "$command"; } > "$work/job"
    test -z "$share" || disk "$work/share" "$share" 512
    truncate -s 4G "$work/job" "$work/share"
    root=$saved/written,format=qcow2 from=(-incoming "exec:cat $saved/saved")
    test -z "$arguments" || root=$cache/disk,format=raw from=()
    for ((try = 1; ; try++)); do
        start -drive "file=$root,if=none,id=root,cache=unsafe,snapshot=on" "${from[@]}" < /dev/null
        if says go "$boot_limit"; then break; fi
        stop
        test $try -lt $tries || give_up "the machine did not come up"
    done
    relay
}

# Hands on what the guest prints until it ends; its last word is the status.
relay() {
    local tails=() status
    tail -s 0.2 -c +1 -f --pid="$qemu" "$work/stdout" & tails+=($!)
    tail -s 0.2 -c +1 -f --pid="$qemu" "$work/stderr" >&2 & tails+=($!)
    status=0; wait "$qemu" || status=$?
    qemu=
    wait "${tails[@]}" || :
    test $status != 124 || { echo "vm.sh: out of time after $limit s" >&2; exit 124; }
    status=$(sed -n 's/^status //p' "$work/control")
    test -n "$status" || give_up "no status came back"
    exit "$status"
}

case ${1:-} in
    make) make_all ;;
    run) shift; run "$@" ;;
    *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit 2 ;;
esac
