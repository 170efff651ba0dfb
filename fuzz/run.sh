#!/bin/sh
# Runs the targets one after the other, so many seconds each: fuzz/run.sh SECONDS [TARGET...]. Stops
# at the first finding, whose input is then in fuzz/artifacts. What is found on the way to new code
# is kept in fuzz/corpus.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- rules profile landlock config
for target; do
    lengths=
    case $target in
        profile) seeds="fuzz/seeds/profile crates/seccomp/tests/profiles" ;;
        config) seeds=crates/spec/tests/samples ;;
        landlock) seeds=fuzz/seeds/landlock ;;
        # Nothing to start from: long inputs from the beginning.
        *) seeds=; lengths="-max_len=4096 -len_control=0" ;;
    esac
    mkdir -p "fuzz/corpus/$target"
    # shellcheck disable=SC2086 # lists of words
    cargo +nightly fuzz run "$target" "fuzz/corpus/$target" $seeds -- \
        -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 $lengths -dict=fuzz/words.dict -print_final_stats=1
done
