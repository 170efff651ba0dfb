#!/bin/bash
# What engines do with containers, for the order of functions (`just order`). LOCULE names the
# program. Runs as root, in private namespaces of its own, with cgroup v2 alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
if test -z "${ORDER_INSIDE:-}"; then
    exec env ORDER_INSIDE=1 unshare --mount --propagation private --net --ipc --uts "$0"
fi
mount -t tmpfs -o mode=755 tmpfs /run
test ! -d /sys/fs/cgroup/unified || mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup

# make_bundle NAME CHANGE: a bundle that sleeps. CHANGE is Python and works on `config`.
make_bundle() {
    local bundle=/run/$1
    mkdir -p "$bundle"/rootfs/{bin,dev,proc,sys,etc}
    cp "$(command -v busybox)" "$bundle/rootfs/bin/busybox"
    ln -s busybox "$bundle/rootfs/bin/sleep"
    /run/copy spec --bundle "$bundle"
    python3 - "$bundle/config.json" "$2" << 'END'
import json, sys
config = json.load(open(sys.argv[1]))
config["process"]["terminal"] = False
config["process"]["args"] = ["/bin/sleep", "1000"]
exec(sys.argv[2])
json.dump(config, open(sys.argv[1], "w"))
END
}

locule() { "$LOCULE" --root /run/state "$@" > /dev/null; }

# live BUNDLE PROGRAM: what an engine does, and a run. PROGRAM makes the first two containers: a
# copy is not traced, so the functions of `start`, `state`, `kill`, `delete` and `list` come first,
# and those of `exec`, which engines call most often, before those of `create`. `exec` and `run`
# wait for a second: a traced process is so slow that /bin/true would end before it looks.
live() {
    local id=order-$$
    "$2" --root /run/state create --bundle "/run/$1" "$id" > /dev/null
    locule start "$id"
    locule state "$id"
    locule kill "$id" KILL
    locule delete --force "$id"
    locule list
    "$2" --root /run/state create --bundle "/run/$1" "$id" > /dev/null
    "$2" --root /run/state start "$id"
    locule exec "$id" /bin/sleep 1
    "$2" --root /run/state delete --force "$id"
    locule create --bundle "/run/$1" --pid-file /run/pid "$id"
    locule start "$id"
    locule exec "$id" /bin/sleep 1
    locule delete --force "$id"
    sed -i 's|"1000"|"1"|' "/run/$1/config.json"
    locule run --bundle "/run/$1" "$id"
}

cp "$LOCULE" /run/copy
make_bundle template 'del config["linux"]["resources"]'
make_bundle engine '
config["linux"]["seccomp"] = json.load(open("crates/seccomp/tests/profiles/podman.json"))
config["process"]["user"]["additionalGids"] = [10]
'
live template /run/copy
live engine "$LOCULE"
