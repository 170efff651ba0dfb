#!/bin/bash
# Container engines on this project's runtime: run.sh [--quick] [--newer] [ENGINE...], as root.
# docs/testing.md describes it.
#
# Runs the facts of each ENGINE.sh in this folder twice: with locule, and with another runtime as
# the control. Prints a line for each fact. Fails if a fact is not true with locule, or if an engine
# states no fact at all. --quick leaves the control out. --newer takes containerd as newer.sh builds
# it. LOCULE names the program under test.
set -uo pipefail
cd "$(dirname "$0")/../.."
here=$PWD/integration/engines
work=$PWD/target/engines
LOCULE=$(realpath "${LOCULE:-target/debug/locule}")
export LOCULE
test -x "$LOCULE" || { echo "engines: $LOCULE does not exist; try \`just engines\`" >&2; exit 1; }

quick='' newer=''
while [[ ${1:-} == --* ]]; do
    case $1 in
        --quick) quick=yes ;;
        --newer) newer=$PWD/target/newer/containerd ;;
        *) echo "engines: $1 is neither --quick nor --newer" >&2; exit 1 ;;
    esac
    shift
done
test -z "$newer" || integration/newer.sh containerd || exit 1
[ $# -gt 0 ] || set -- podman podman-as-crun bad rootless containerd cri docker
[[ " $* " != *' buildkit '* ]] || integration/newer.sh buildkit || exit 1
[[ " $* " != *' crio'* ]] || integration/newer.sh crio || exit 1
[[ " $* " != *' kubernetes '* ]] || integration/newer.sh etcd kubernetes || exit 1

# Runs the facts of engine $1 with runtime $2 into the file $3: a line `VERDICT<tab>FACT` each.
# Evidence goes to $3.log. Nothing of the caller's environment counts: neither SHELL, with which
# `script` starts commands, nor a proxy.
facts_of() {
    env -i PATH="$PATH" HOME="$HOME" SHELL=/bin/sh LOCULE="$LOCULE" LOCULE_NEWER="$newer" \
        timeout -k 10 400 unshare --mount --propagation private --pid --fork --kill-child --mount-proc --net --ipc --uts \
        "$here/inside.sh" "$1" "$2" > "$3" 2> "$3.log" < /dev/null
}

# The other runtime that engine $1 is tried with.
control_of() {
    case $1 in
        *-as-crun) command -v crun ;;
        *) command -v runc ;;
    esac
}

verdict=0
for engine; do
    test -e "$here/${engine%-as-*}.sh" || { echo "engines: $engine is none of $(cd "$here" && echo ./*.sh)" >&2; exit 1; }
    mkdir -p "$work"
    ours=$work/$engine.locule control=$work/$engine.control
    : > "$control"
    other=$(test -n "$quick" || control_of "$engine")
    start=$SECONDS
    if [ -n "$other" ]; then facts_of "$engine" "$other" "$control" & fi
    facts_of "$engine" "$LOCULE" "$ours" || verdict=1
    wait
    echo "== $engine: locule, and ${other:-no control} ($((SECONDS - start)) s)"
    # Join by the words of the facts, in the order of locule's run.
    awk -F '\t' -v OFS='  ' 'FILENAME == ARGV[1] { control[$2] = $1; next }
        { printf "%-7s %-7s %s\n", $1, ($2 in control) ? control[$2] : "-", $2 }' "$control" "$ours"
    if ! grep -q '^ok' "$ours"; then
        echo "engines: $engine states no fact:" >&2
        verdict=1
    fi
    if grep -q '^FAILED' "$ours" || ! grep -q '^ok' "$ours"; then
        tail -c 20000 "$ours.log" >&2
        verdict=1
    fi
done
exit $verdict
