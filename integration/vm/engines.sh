#!/bin/bash
# Container engines with systemd as the manager of control groups: engines.sh [--with RUNTIME]
# [--newer] [ENGINE...]. Each engine (podman, containerd, cri, kubernetes) has a machine of vm.sh of
# its own, and the facts are those of integration/engines.
#
# RUNTIME is a name in the machine (runc, crun) in the place of locule. VM_SUITE chooses the Debian
# release: trixie has Podman 5.4 and containerd 1.7, sid the newest ones. --newer takes containerd
# as newer.sh builds it; kubernetes needs that, and is built too. Fails when a fact is not true, or
# an engine states none.
set -euo pipefail
cd "$(dirname "$0")/../.."
export VM_CACHE=target/vm/engines
export VM_PACKAGES='podman containerd catatonit python3-grpcio'
runtime='' newer=''
while [[ ${1:-} == --* ]]; do
    case $1 in
        --with) runtime=$2 && shift ;;
        --newer) newer=yes ;;
        *) echo "engines.sh: $1 is neither --with nor --newer" >&2; exit 1 ;;
    esac
    shift
done
[ $# -gt 0 ] || set -- podman containerd cri

stage=$VM_CACHE/stage
rm -rf "$stage"
mkdir -p "$stage/integration"
. integration/vm/target.sh
cargo build --quiet --package locule "${target[@]}"
$strip -g -o "$stage/locule" "$built/debug/locule"
cp -r integration/engines "$stage/integration"
cp -r contrib "$stage"
mkdir "$stage/newer"
if [ -n "$newer" ]; then
    integration/newer.sh containerd
    cp target/newer/containerd/* "$stage/newer"
fi
if [[ " $* " == *' kubernetes '* ]]; then
    integration/newer.sh etcd kubernetes
    cp target/newer/{etcd,kubernetes}/* "$stage/newer"
fi
cat > "$stage/run" << 'GUEST'
export LOCULE_MANAGER=systemd LOCULE_PATIENCE=400 LOCULE_NEWER=/mnt/share/newer
# See test.sh.
mkdir /sys/fs/cgroup/quota && echo '1000000 1000000' > /sys/fs/cgroup/quota/cpu.max
program=/mnt/share/locule
test -z "$2" || program=$(command -v "$2")
exec bash /mnt/share/integration/engines/inside.sh "$1" "$program"
GUEST

verdict=0
for engine; do
    SECONDS=0 status=125 try=0
    while [ $status = 125 ] && [ $((try += 1)) -lt 4 ]; do
        status=0
        integration/vm/vm.sh run -t "${LOCULE_VM_TIME:-3600}" -s "$stage" "bash /mnt/share/run $engine $runtime" \
            2> "$VM_CACHE/$engine.log" | tee "$VM_CACHE/$engine.facts" || status=$?
    done
    echo "== $engine with ${runtime:-locule} and systemd: $SECONDS s; log: $VM_CACHE/$engine.log"
    if [ $status != 0 ] || grep -q '^FAILED' "$VM_CACHE/$engine.facts" || ! grep -q '^ok' "$VM_CACHE/$engine.facts"; then
        tail -c 20000 "$VM_CACHE/$engine.log" >&2
        verdict=1
    fi
done
exit $verdict
