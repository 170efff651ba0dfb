#!/bin/bash
# The OCI validation suite: validate.sh RUNTIME [PROGRAM...]; as root. Prints a line for each
# program: `NAME ok`, or what is not. Needs go, which fetches the suite as a module;
# docs/conformance.md has the results and their reasons.
set -euo pipefail
runtime=$(realpath "$1")
shift
work=$(realpath -m "$(dirname "$0")/../target/validate")
version=v0.9.1-0.20251205004911-5e639034dcdc
if [ ! -d "$work/suite/bin" ]; then
    mkdir -p "$work"
    module=$(cd "$work" && go mod download -json "github.com/opencontainers/runtime-tools@$version" |
        sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    rm -rf "$work/new"
    cp -r "$module" "$work/new"
    chmod -R u+w "$work/new"
    # Its vendor folder lacks files.
    (cd "$work/new" && mkdir bin && go build -mod=mod -o bin/ ./validation/... &&
        CGO_ENABLED=0 go build -mod=mod -o runtimetest ./cmd/runtimetest)
    rm -rf "$work/suite"
    mv "$work/new" "$work/suite"
fi
cd "$work/suite"
if [ $# -eq 0 ]; then set -- $(ls bin); fi
for program; do
    status=0
    RUNTIME=$runtime timeout -k 5 60 "bin/$program" > "$work/$program.tap" 2>&1 || status=$?
    failed=$(grep -c '^not ok' "$work/$program.tap" || true)
    # The programs of hooks end with 0 and an error that has no number.
    errors=$(grep -c '^ok' "$work/$program.tap" > /dev/null || grep -c '^ *"error":' "$work/$program.tap" || true)
    if [ "$failed" -gt 0 ]; then
        echo "$program: $failed not ok"
    elif [ "$status" -ne 0 ]; then
        echo "$program: status $status"
    elif [ "${errors:-0}" -gt 0 ]; then
        echo "$program: error"
    else
        echo "$program ok"
    fi
done
