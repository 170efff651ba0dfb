#!/bin/bash
# Takes out one protection at a time and expects the tests that its patch names to fail; README.md
# here. `run.sh [NAME...]`, as root.
#
# Works on copies of the working tree below target/mutants, one for each of two workers, each with a
# build folder of its own. Exits with 1 when a mutant survives or when a patch cannot be tried: it
# no longer applies, does not build, or names a test that does not pass without it.
set -euo pipefail
self=$(realpath "$0")
cd "$(dirname "$self")/../.."
mutants=$PWD/integration/mutants
work=$PWD/target/mutants
# `git apply` must not take a copy for a part of this repository.
export GIT_CEILING_DIRECTORIES=$work

# A worker has a copy of the sources and a build folder, which no other worker uses.
use_worker() {
    tree=$work/$1/tree
    log=$work/$1/log
    export CARGO_TARGET_DIR=$work/$1/build
}

# Files that differ are written anew, so that cargo sees a new time; the others stay as they are.
# What a run that was interrupted left changed is replaced too.
copy_tree() {
    local file
    mkdir -p "$tree"
    git ls-files --cached --others --exclude-standard | sort > "$work/files"
    (cd "$tree" && find . -type f -printf '%P\n' | sort | comm -13 "$work/files" - | xargs -r -d '\n' rm --)
    while IFS= read -r file; do
        test -e "$file" || continue
        cmp -s "$file" "$tree/$file" && continue
        mkdir -p "$tree/$(dirname "$file")"
        cp -- "$file" "$tree/$file"
        chmod --reference="$file" "$tree/$file"
    done < "$work/files"
}

tests_of() { sed -n 's/^# test: *//p' "$mutants/$1.patch"; }

# Builds the chapters that the given patches name, once: no patch changes them. "CHAPTER PROGRAM"
# for each is in $work/chapters.
build_chapters() {
    local name chapters
    mapfile -t chapters < <(
        for name; do tests_of "$name"; done | sed -nE '/^-p /d; s/^([a-z_]+)::.*/--test=\1/p' | sort -u
    )
    : > "$work/chapters"
    test ${#chapters[@]} -gt 0 || return 0
    (cd "$tree" && cargo test --package integration "${chapters[@]}" --no-run) 2> "$log" ||
        { cat "$log" >&2; exit 1; }
    sed -nE 's|^ *Executable tests/(.*)[.]rs \((.*)\)$|\1 \2|p' "$log" > "$work/chapters"
}

# Builds or runs what a test, as its header line names it, needs: `test_in_tree build|run TEST`. The
# output is in $log.
test_in_tree() (
    cd "$tree"
    local step=$1 words environment=host program arguments
    read -ra words <<< "$2"
    if test "${words[0]}" != -p; then
        test "$step" = run || exec cargo build --quiet --package locule
        environment=${words[1]:-host}
        program=$(awk -v chapter="${words[0]%%::*}" '$1 == chapter { print $2 }' "$work/chapters")
        cd integration
        LOCULE_RUNTIME=$CARGO_TARGET_DIR/debug/locule LOCULE_ENVIRONMENT=$environment \
            exec timeout 600 "$program" --exact "${words[0]#*::}"
    fi
    # With locule the dependencies have the features that they have in the program, and are shared.
    if test "${words[2]}" = --test; then
        arguments=(--package locule "${words[@]:0:4}")
        words=("${words[@]:4}")
    else
        arguments=(--package locule --package "${words[1]}" --lib)
        test -e "crates/${words[1]}/src/lib.rs" || arguments=(--package locule --bins)
        words=("${words[@]:2}")
    fi
    test "$step" = run || exec cargo test --quiet "${arguments[@]}" --no-run
    exec timeout 600 cargo test "${arguments[@]}" -- "${words[*]}"
) > "$log" 2>&1

# The numbers of a patch that was written by hand may be wrong; git takes a hunk at line 1 for the
# beginning of the file.
apply() (
    cd "$tree"
    git apply "$1" 2> "$log" ||
        sed -E 's/^@@ -[01]([, ])/@@ -9\1/' "$1" | git apply --recount - 2> "$log"
)

row() { printf '%-12s %-40s %s\n' "$@"; }

reason() { grep -m1 -o -e 'skipped: .*' -e '^error.*' -e 'test result: .*' "$log" || tail -1 "$log"; }

# Says what is wrong with a test as it is; nothing if it passes. One that always fails catches
# nothing, and neither does one that is skipped.
look_at() {
    # The second line is what the facts of crates/rootfs/tests print.
    if ! { test_in_tree build "$1" && test_in_tree run "$1" && ! grep -q 'skipped: ' "$log" &&
        grep -q -e '^test result: ok. [1-9]' -e '^[^`]* [.][.][.] ok$' "$log"; }; then
        printf '%s\t%s\n' "$1" "does not pass without the patch: $(reason)"
    fi
}

# Tries one patch and says what came of it.
try() {
    local name=$1 patch=$mutants/$1.patch test verdict=caught detail=
    while IFS= read -r test; do
        detail=$(awk -F '\t' -v test="$test" '$1 == test { print $1, $2 }' "$work/wrong")
        test -z "$detail" || { row ERROR "$name" "$detail"; return; }
    done < <(tests_of "$name")
    apply "$patch" || { row ERROR "$name" "does not apply: $(head -1 "$log")"; return; }
    while IFS= read -r test; do
        if ! test_in_tree build "$test"; then
            verdict=ERROR detail="does not build: $(grep -m1 '^error' "$log" || true)"
        elif test_in_tree run "$test"; then
            verdict=SURVIVED detail="$detail $test"
        fi
        cp "$log" "$work/$name.log"
        test "$verdict" != ERROR || break
    done < <(tests_of "$name")
    sed -n 's|^+++ b/||p' "$patch" | xargs -I FILE cp -- FILE "$tree/FILE"
    row "$verdict" "$name" "$detail"
}

# Has the workers do STEP for each line of the input.
share() { xargs -r -d '\n' -n 1 -P $workers --process-slot-var=WORKER "$self" "--$1"; }

# The names, those of one crate after the other: less is built anew then.
by_crate() {
    local name
    for name; do
        printf '%s %s\n' "$(sed -n 's|^--- a/||p' "$mutants/$name.patch" | head -1)" "$name"
    done | sort | cut -d' ' -f2
}

workers=2
case ${1-} in
--look | --try)
    use_worker "$WORKER"
    if test "$1" = --look; then look_at "$2"; else try "$2"; fi < /dev/null
    exit ;;
esac

mkdir -p "$work"
exec 9> "$work/lock"
flock 9 # one run at a time
if test $# = 0; then
    mapfile -t names < <(cd "$mutants" && printf '%s\n' *.patch | sed 's/\.patch$//')
    set -- "${names[@]}"
fi
for name; do
    test -n "$(tests_of "$name")" || { echo "$name.patch has no line '# test: ...'" >&2; exit 1; }
done
for ((worker = workers - 1; worker >= 0; worker--)); do
    use_worker $worker
    copy_tree
done
build_chapters "$@"
# All tests without any patch first: each change of the sources is a build.
for name; do tests_of "$name"; done | sort -u | share look > "$work/wrong"
by_crate "$@" | share try | tee "$work/verdicts"
failed=$(grep -vc '^caught ' "$work/verdicts" || true)
if test "$failed" -gt 0; then
    echo "$failed of the mutants were not caught; the outputs are in target/mutants/NAME.log" >&2
    exit 1
fi
