#!/bin/bash
# The integration tests in the machine of vm.sh, which has systemd, security modules, and every
# controller of cgroup v2.
#
#   test.sh                                the tests of the file `tests`: what other machines skip
#   test.sh CHAPTER[,CHAPTER]... [TEST]    these chapters, or their tests with that in their names
#   test.sh all                            every chapter that tests a runtime
#
# The tests of SELinux run in a second machine, whose kernel has it and the policy of selinux.conf
# instead of AppArmor.
#
# VM_ARCH=arm64 emulates a machine of that architecture, and gcc-aarch64-linux-gnu links the program
# and the tests.
# LOCULE_VM_TIME is the limit in seconds of a run in the machine (1200). Fails when a test fails,
# when a chapter ran no test, when a test of the file `tests` did not run, and when the machine
# cannot be made or gives no status.
set -euo pipefail
cd "$(dirname "$0")/../.."

# These look at this repository instead of a runtime.
elsewhere=(layers mutants rows)

say() { printf 'vm-test: %s\n' "$*" >&2; }

has() { # WORD LIST...
    local word=$1
    shift
    case " $* " in *" $word "*) return 0 ;; *) return 1 ;; esac
}

listed() { sed -e '/^#/d' -e '/^$/d' integration/vm/tests; }

chapters=()
for file in integration/tests/*.rs; do
    chapter=$(basename "$file" .rs)
    case ${1:-} in
        all) has "$chapter" "${elsewhere[@]}" || chapters+=("$chapter") ;;
        '') if listed | grep -qw "^$chapter"; then chapters+=("$chapter"); fi ;;
        *) if has "$chapter" "${1//,/ }"; then chapters+=("$chapter"); fi ;;
    esac
done
if test ${#chapters[@]} = 0; then
    say "there is no chapter $1; there are: $(basename -s .rs integration/tests/*.rs | tr '\n' ' ')"
    exit 2
fi

# For each chapter a program, and a file with the names of its tests if not all of them run.
stage=target/vm/stage
rm -rf "$stage"
mkdir -p "$stage/tests" "$stage/names"
. integration/vm/target.sh
cargo build --quiet --package locule "${target[@]}"
$strip -g -o "$stage/locule" "$built/debug/locule"
$compiler -O1 -static -o "$stage/tracer" integration/src/tracer.c
targets=()
for chapter in "${chapters[@]}"; do
    targets+=(--test "$chapter")
    if test $# = 0; then listed | sed -n "s/^$chapter \(.*\)/\1/p" > "$stage/names/$chapter"; fi
done
# "  Executable tests/x.rs (target/debug/deps/x-0123)"
cargo test --package integration --no-run "${target[@]}" "${targets[@]}" 2>&1 | tee "$stage/build" |
    grep -v Executable >&2 || test "${PIPESTATUS[0]}" = 0
while read -r _ source program; do
    $strip -g -o "$stage/tests/$(basename "$source" .rs)" "${program//[()]/}"
done < <(grep Executable "$stage/build")

cat > "$stage/run" <<'GUEST'
export LOCULE_RUNTIME=/mnt/share/locule LOCULE_ENVIRONMENT=host LOCULE_TIMEOUT=600 LOCULE_PATIENCE=60
export LOCULE_TRACER=/mnt/share/tracer
# The kernel rewrites its own code when the first quota comes and the last one goes. The emulated
# processors now and then execute what was there before, and panic; while this group is there, no
# test is the first or the last.
mkdir /sys/fs/cgroup/quota
echo '1000000 1000000' > /sys/fs/cgroup/quota/cpu.max || echo 'no quota is kept; the machine may panic'
failed=()
for program in /mnt/share/tests/*; do
    chapter=${program##*/}
    names=("$@")
    if test -s "/mnt/share/names/$chapter"; then names=(--exact $(cat "/mnt/share/names/$chapter")); fi
    SECONDS=0
    echo "     Running tests/$chapter.rs"
    "$program" "${names[@]}" 2>&1 || failed+=("$chapter")
    echo "     tests/$chapter.rs took $SECONDS s"
done
test ${#failed[@]} = 0 || { echo "failed: ${failed[*]}"; exit 1; }
GUEST

# The test that wants SELinux without a policy, then the others.
cp integration/vm/selinux.conf "$stage"
cat > "$stage/selinux" <<'GUEST'
cd /mnt/share
export LOCULE_RUNTIME=/mnt/share/locule
echo '     Running tests/selinux.rs'
tests/selinux a_label_without_a_policy 2>&1 | tee /tmp/bare
grep -q '1 passed' /tmp/bare && ! grep skipped: /tmp/bare || exit 1
checkpolicy -M -U allow -c "$(cat /sys/fs/selinux/policyvers)" -o /tmp/policy selinux.conf || exit 1
# The kernel takes a policy in one write.
dd status=none bs=1M if=/tmp/policy of=/sys/fs/selinux/load || exit 1
setenforce 1 || exit 1
find tests -type f ! -name selinux -delete
exec bash run "$@"
GUEST

# A machine that broke down says nothing of the tests: then, and only then, again.
status=0
log=target/vm/test.log
rm -f target/vm/*.log
machine() { # LOG COMMAND [OPTION OF vm.sh]...
    local try log=$1 command=$2
    shift 2
    for try in 1 2 3; do
        status=0
        SECONDS=0
        integration/vm/vm.sh run -t "${LOCULE_VM_TIME:-1200}" -s "$stage" "$@" "$command" | tee "$log" || status=$?
        test $status = 125 || break
        say "the machine broke down (try $try)"
    done
}
machine "$log" "bash /mnt/share/run ${2:-}"
# The last result before a chapter's end is its own; failed tests quote others.
read -r ran executed empty < <(awk '
    /^test result: / { n = $4 + $6 }
    /^     tests\/.* took / { chapters++; sum += n; empty += n == 0; n = 0 }
    END { print chapters + 0, sum + 0, empty + 0 }' "$log")
skipped=$(grep -c '\.\.\. skipped: ' "$log" || :)
say "$ran of ${#chapters[@]} chapters, $executed tests ($skipped of them skipped), $SECONDS s in the machine; log: $log"
if test $status = 0 && test -z "${2:-}" && test "$ran $empty" != "${#chapters[@]} 0"; then say "a chapter ran no test"; status=1; fi
if test $status = 0 && test "$executed" = 0; then say "no test ran"; status=1; fi
selinux=$(sed -n 's/^test \([^ ]*\) \.\.\. skipped: no selinux here.*/\1/p' "$log")
if test $status = 0 && test -n "$selinux"; then
    log=target/vm/selinux.log
    machine "$log" "bash /mnt/share/selinux --exact $(echo $selinux)" -a 'lsm=lockdown,capability,landlock,yama,selinux,bpf'
    say "$(grep -c '\.\.\. ok$' "$log" || :) tests with SELinux, $SECONDS s in the machine; log: $log"
fi
# A test that was skipped prints both lines. What only these machines can run must have run in one
# of the two.
if test $status = 0 && test -z "${2:-}"; then
    missing=$({ test $# != 0 || listed | sed -n 's/.* ./listed &/p'; cat target/vm/*.log; } | awk '
        /^listed / { wanted[$2 " " $3] }
        /^     Running / { split($2, path, "[/.]"); chapter = path[2] }
        /^test .* \.\.\. ok$/ { ran[chapter " " $2]++ }
        /^test .* \.\.\. skipped: / { ran[chapter " " $2]--; if (/covered by just vm-test/) wanted[chapter " " $2] }
        END { for (test in wanted) if (ran[test] < 1) print test }')
    # Older suites lack features; the skips name them.
    if test -n "$missing"; then say "did not run: $missing"; test "${VM_SUITE:-trixie}" != trixie || status=1; fi
fi
test $status = 0 || say "FAILED (status $status)"
exit $status
