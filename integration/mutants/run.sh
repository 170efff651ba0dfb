#!/bin/bash
# Takes out one protection at a time and expects the tests that its patch names to fail; README.md
# here. `run.sh [NAME...]`, as root.
#
# Works on a copy of the working tree below target/mutants, with a build folder of its own. Exits
# with 1 when a mutant survives or when a patch cannot be tried: it no longer applies, does not build,
# or names a test that does not pass without it.
set -euo pipefail
cd "$(dirname "$0")/../.."
mutants=$PWD/integration/mutants
work=$PWD/target/mutants
tree=$work/tree
export CARGO_TARGET_DIR=$work/build
export GIT_CEILING_DIRECTORIES=$work # `git apply` must not take the copy for a part of this repository

# Files that differ are written anew, so that cargo sees a new time; the others stay as they are.
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

# One test, as its header line names it; its output is in $work/log. `test_in_tree --no-run` only builds.
test_in_tree() (
    cd "$tree"
    local run=$1 words environment=host arguments exact=()
    read -ra words <<< "$2"
    if test "${words[0]}" != -p; then
        arguments=(--package integration --test "${words[0]%%::*}")
        environment=${words[1]:-host}
        words=("${words[0]#*::}")
        exact=(--exact)
    elif test "${words[2]}" = --test; then
        arguments=("${words[@]:0:4}")
        words=("${words[@]:4}")
    else
        arguments=(--package "${words[1]}" --lib)
        test -e "crates/${words[1]}/src/lib.rs" || arguments[2]=--bins
        words=("${words[@]:2}")
    fi
    if test "$run" = --no-run; then
        cargo build --quiet --package locule && cargo test --quiet "${arguments[@]}" --no-run
    else
        LOCULE_ENVIRONMENT=$environment timeout 600 cargo test "${arguments[@]}" -- "${exact[@]}" "${words[*]}"
    fi > "$work/log" 2>&1
)

# The numbers of a patch that was written by hand may be wrong; git takes a hunk at line 1 for the
# beginning of the file.
apply() {
    local patch=$1
    shift
    cd "$tree"
    git apply "$@" "$patch" 2> "$work/log" ||
        sed -E 's/^@@ -[01]([, ])/@@ -9\1/' "$patch" | git apply --recount "$@" - 2> "$work/log"
}

row() { printf '%-12s %-40s %s\n' "$@"; }

# What is wrong with each test as it is; nothing if it passes. One that always fails catches nothing,
# and neither does one that is skipped.
declare -A wrong

# Runs the tests of a patch without it.
look_at() {
    local test
    while IFS= read -r test; do
        test -z "${wrong[$test]+known}" || continue
        # The second line is what the facts of crates/rootfs/tests print.
        if test_in_tree --no-run "$test" && test_in_tree --run "$test" && ! grep -q 'skipped: ' "$work/log" &&
            grep -q -e '^test result: ok. [1-9]' -e '^[^`]* [.][.][.] ok$' "$work/log"; then
            wrong[$test]=
        else
            wrong[$test]="does not pass without the patch: $(reason)"
        fi
    done < <(tests_of "$1")
}

reason() { grep -m1 -o -e 'skipped: .*' -e '^error.*' -e 'test result: .*' "$work/log" || tail -1 "$work/log"; }

# Tries one patch and says what came of it.
try() {
    local name=$1 patch=$mutants/$1.patch test verdict=caught detail=
    test -f "$patch" || { row ERROR "$name" "there is no integration/mutants/$name.patch"; return 1; }
    mapfile -t tests < <(tests_of "$name")
    test ${#tests[@]} -gt 0 || { row ERROR "$name" 'no line "# test: ..."'; return 1; }
    for test in "${tests[@]}"; do
        test -z "${wrong[$test]}" || { row ERROR "$name" "$test ${wrong[$test]}"; return 1; }
    done
    (apply "$patch") || { row ERROR "$name" "does not apply: $(head -1 "$work/log")"; return 1; }
    for test in "${tests[@]}"; do
        if ! test_in_tree --no-run "$test"; then
            verdict=ERROR detail="does not build: $(grep -m1 '^error' "$work/log" || true)"
            break
        elif test_in_tree --run "$test"; then
            verdict=SURVIVED detail="$detail $test"
        fi
        cp "$work/log" "$work/$name.log"
    done
    (apply "$patch" --reverse)
    row "$verdict" "$name" "$detail"
    test "$verdict" = caught
}

mkdir -p "$work"
exec 9> "$work/lock"
flock 9 # one run at a time
copy_tree
# What a run that was interrupted left changed was replaced just now.
if test $# = 0; then
    mapfile -t names < <(cd "$mutants" && printf '%s\n' *.patch | sed 's/\.patch$//')
    set -- "${names[@]}"
fi
# All of them first: each change of the sources is a build.
for name; do
    test ! -f "$mutants/$name.patch" || look_at "$name"
done
failed=0
for name; do
    try "$name" || failed=$((failed + 1))
done
if test $failed -gt 0; then
    echo "$failed of the mutants were not caught; the outputs are in target/mutants/NAME.log" >&2
    exit 1
fi
