#!/bin/bash
# runc's own integration tests: runc-suite.sh PROGRAM [FILE...], as root, FILE as in `exec` for
# exec.bats. Prints what fails. Needs go, bats, jq, gawk, busybox and mmdebstrap; go fetches the
# tests as a module. docs/conformance.md has the results and their reasons.
#
# The program runs under the name runc. Mounts, processes and /run are private; control groups are
# not, so one run at a time.
set -euo pipefail
program=$(realpath "$1")
shift
work=$(realpath -m "$(dirname "$0")/../target/runc-suite")
version=v1.5.3

fetch() {
    local module tree=$work/new
    mkdir -p "$work"
    module=$(cd "$work" && go mod download -json "github.com/opencontainers/runc@$version" |
        sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    rm -rf "$tree"
    cp -r "$module" "$tree"
    chmod -R u+w "$tree"
    mkdir "$tree/tests/cmd/_bin"
    find "$tree/tests" -name '*.sh' -exec chmod +x {} +
    (cd "$tree" && go build -tags seccomp -o tests/cmd/_bin/ ./tests/cmd/...)
    # The images are made here instead of fetched. Some tests want one without /proc and /sys, and
    # change the mode of its programs: these must be no links to a path.
    mkdir -p "$tree/busybox"/{bin,dev,etc,home,root,tmp,usr/bin,usr/sbin,var/www}
    cp "$(command -v busybox)" "$tree/busybox/bin/"
    chroot "$tree/busybox" /bin/busybox --install /bin
    printf '%s:x:%s:/bin/sh\n' root 0:0::/root www-data 33:33::/var/www nobody 65534:65534::/ > "$tree/busybox/etc/passwd"
    printf '%s:x:%s:\n' root 0 www-data 33 nogroup 65534 > "$tree/busybox/etc/group"
    tar -C "$tree/busybox" -cf "$tree/busybox.tar" .
    mmdebstrap --quiet --variant=minbase bookworm "$tree/debian.tar"
    printf '#!/bin/sh\necho BUSYBOX_IMAGE=%s DEBIAN_IMAGE=%s\n' "$work/suite/busybox.tar" "$work/suite/debian.tar" \
        > "$tree/tests/integration/get-images.sh"
    chmod +x "$tree/tests/integration/get-images.sh"
    rm -rf "$work/suite"
    mv "$tree" "$work/suite"
}
test -d "$work/suite" || fetch

cp "$program" "$work/runc"
rm -f "$work"/*.tap
cd "$work/suite/tests/integration"
[ $# -gt 0 ] || set -- $(basename -s .bats ./*.bats)
for file; do
    echo "== $file"
    RUNC=$work/runc timeout -k 5 600 unshare --mount --propagation private --pid --fork --kill-child --mount-proc \
        bash -c 'mount -t tmpfs tmpfs /run && mkdir /run/lock && exec bats --tap "$1"' - "$file.bats" \
        > "$work/$file.tap" 2>&1 || true
    grep -a '^not ok' "$work/$file.tap" || true
done
cat "$work"/*.tap | awk '/^not ok/ { failed++ } /^ok/ { if (/# skip/) skipped++; else passed++ }
    END { print passed + 0, "ok,", failed + 0, "not ok,", skipped + 0, "skipped" }'
