#!/bin/bash
# Many containers on one node: soak.sh [ALIVE [CYCLES]], as root; docs/scale.md has results.
#
# First ALIVE containers (1000) live at the same time; then CYCLES (10000) are made and removed, 16
# at a time, with an exec in every fifth. Everything happens in private namespaces and below control
# groups of the soak's own. Fails when anything is left at the end. LOCULE names the program. PEERS
# (runc) are measured too, with a tenth of the cycles; crun 1.8 makes no container here without
# CAP_SYS_RESOURCE.
set -uo pipefail
cd "$(dirname "$0")/.."
if [ -z "${SOAK_INSIDE:-}" ]; then
    LOCULE=$(realpath "${LOCULE:-target/debug/locule}")
    SOAK_INSIDE=locule-soak-$$
    export LOCULE SOAK_INSIDE
    exec unshare --mount --propagation private --pid --fork --kill-child --mount-proc --net --ipc --uts "$0" "$@"
fi
alive=${1:-1000} cycles=${2:-10000}
parent=$SOAK_INSIDE

mount -t tmpfs tmpfs /run
# What every runtime knows: cgroup v2 alone. On a host with both, only this tree is shown.
test ! -d /sys/fs/cgroup/unified || mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup
mkdir -p /run/bundle/rootfs/{bin,dev,proc,sys}
cp "$(command -v busybox)" /run/bundle/rootfs/bin/sleep
(cd /run/bundle && "$LOCULE" spec) || exit 1
sed -i -e 's/"terminal": true/"terminal": false/' -e 's/"sh"/"sleep", "10000"/' \
    -e 's/"ociVersion": "[^"]*"/"ociVersion": "1.0.2"/' -e "s|\"linux\": {|\"linux\": {\n\"cgroupsPath\": \"/$parent/ID\",|" \
    /run/bundle/config.json
export parent

# One command of the runtime; its milliseconds go to the file of its name.
timed() {
    local word=$1 start=$EPOCHREALTIME
    shift
    "$@" > /dev/null 2>> "$times/errors" < /dev/null || echo "$word: $*" >> "$times/failed"
    local end=$EPOCHREALTIME
    echo $(((${end/./} - ${start/./}))) >> "$times/$word"
}

create() {
    local id=$1
    mkdir "/run/bundles/$id"
    ln -s /run/bundle/rootfs "/run/bundles/$id/rootfs"
    sed -e "s|/$parent/ID|/$parent/$id|" -e 's|"path": "rootfs"|"path": "/run/bundle/rootfs"|' /run/bundle/config.json \
        > "/run/bundles/$id/config.json"
    timed create "$runtime" --root /run/state create --bundle "/run/bundles/$id" "$id"
    timed start "$runtime" --root /run/state start "$id"
}

remove() {
    timed kill "$runtime" --root /run/state kill "$1" KILL
    timed delete "$runtime" --root /run/state delete --force "$1"
    rm -r "/run/bundles/$1"
}

cycle() {
    create "$1"
    test "$((${1#c} % 5))" != 0 || timed exec "$runtime" --root /run/state exec "$1" /bin/sleep 0
    remove "$1"
}
export -f timed create remove cycle

# What grows with containers: KiB of slab, bytes of state, processes of the runtime, control groups,
# mounts here.
census() {
    local slab state processes groups mounts
    sync
    slab=$(sed -n 's/^Slab: *\([0-9]*\) kB/\1/p' /proc/meminfo)
    state=$(find /run/state -type f -printf '%s\n' 2> /dev/null | awk '{ sum += $1 } END { print sum + 0 }')
    processes=$(pgrep -c -f "^$runtime" || true)
    groups=$(find "/sys/fs/cgroup/$parent" -type d 2> /dev/null | wc -l)
    mounts=$(wc -l < /proc/self/mountinfo)
    echo "slab ${slab} KiB, state $state bytes, processes of the runtime $processes, groups $groups, mounts $mounts"
}

percentiles() {
    local file
    for file in create start exec kill delete; do
        test ! -e "$times/$file" || sort -n "$times/$file" | awk -v name="$file" '{ all[NR] = $1 / 1000 }
            END { printf "  %-7s 50%% %7.1f ms  90%% %7.1f  99%% %7.1f  most %7.1f  of %d\n", name,
                  all[int((NR + 1) / 2)], all[int(NR * 0.9 + 0.5)], all[int(NR * 0.99 + 0.5)], all[NR], NR }'
    done
}

fresh() {
    times=/run/times
    rm -rf "$times" /run/bundles
    mkdir -p "$times" /run/bundles
    export times runtime
}

together() {
    local count=$1 start
    fresh
    echo "$runtime: $count containers at once"
    echo "  before: $(census)"
    seq "$count" | sed 's/^/c/' | xargs -P 2 -I ID bash -c 'create ID'
    echo "  alive:  $(census)"
    start=$EPOCHREALTIME
    test "$("$runtime" --root /run/state list -q | wc -l)" = "$count" || echo "list: not $count" >> "$times/failed"
    echo "  list: $(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f ms", (b - a) * 1000 }')"
    seq $((count < 50 ? count : 50)) | sed 's/^/c/' | xargs -I ID bash -c \
        'timed exec "$runtime" --root /run/state exec ID /bin/sleep 0; timed state "$runtime" --root /run/state state ID'
    seq "$count" | sed 's/^/c/' | xargs -P 2 -I ID bash -c 'remove ID'
    percentiles
    echo "  after:  $(census)"
    ended
}

many() {
    local start=$EPOCHREALTIME
    fresh
    echo "$runtime: $1 cycles, 16 at a time"
    seq "$1" | sed 's/^/c/' | xargs -P 16 -I ID bash -c 'cycle ID'
    percentiles
    awk -v a="$start" -v b="$EPOCHREALTIME" -v n="$1" 'BEGIN { printf "  %.1f s, %.0f cycles a second\n", b - a, n / (b - a) }'
    echo "  after:  $(census)"
    ended
}

# Nothing may be left, and nothing may have failed.
ended() {
    local left
    left=$(ls -A -I @base /run/state; find "/sys/fs/cgroup/$parent" -mindepth 1 -type d 2> /dev/null
        ps -eo stat=,args= | grep '^Z' || true)
    if [ -s "$times/failed" ] || [ -n "$left" ]; then
        verdict=1
        echo "  FAILED: $(wc -l < "$times/failed" 2> /dev/null || echo 0) commands; left: $left"
        head -n 3 "$times/failed" "$times/errors" 2> /dev/null
    fi
    find "/sys/fs/cgroup/$parent" -depth -type d -exec rmdir {} + 2> /dev/null
}

verdict=0
cp "$LOCULE" /run/locule-program
for runtime in /run/locule-program $(for peer in ${PEERS-runc}; do command -v "$peer"; done); do
    together 10
    together 100
    together "$alive"
    if [ "$runtime" = /run/locule-program ]; then many "$cycles"; else many $((cycles / 10)); fi
done
exit $verdict
