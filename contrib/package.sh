#!/bin/bash
# Makes a static tarball and a .deb of a built program: package.sh PROGRAM PAGES TARGET OUTPUT.
# PAGES is the directory that `just pages` fills, TARGET is cargo's word for the processor, such as
# x86_64-unknown-linux-gnu.
#
# The same input gives the same bytes: names are sorted, owners are root, and the time is that of
# the last commit, or SOURCE_DATE_EPOCH. dpkg-deb, which every Debian has, makes the .deb.
set -euo pipefail
program=$(realpath "$1") pages=$(realpath "$2") output=$(realpath -m "$4")
case $3 in
    x86_64-*) architecture=amd64 ;;
    aarch64-*) architecture=arm64 ;;
    riscv64gc-*) architecture=riscv64 ;;
    *) echo "package: $3 is not x86_64, aarch64 or riscv64gc" >&2 && exit 1 ;;
esac
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
export SOURCE_DATE_EPOCH
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Everything that a package installs, below $1.
fill() {
    local page
    install -D -m 755 "$program" "$1/bin/locule"
    for page in "$pages"/man/*.1; do
        install -D -m 644 "$page" "$1/share/man/man1/${page##*/}"
        gzip -9n "$1/share/man/man1/${page##*/}"
    done
    install -D -m 644 "$pages/completion/locule.bash" "$1/share/bash-completion/completions/locule"
    install -D -m 644 "$pages/completion/_locule" "$1/share/zsh/vendor-completions/_locule"
    install -D -m 644 "$pages/completion/locule.fish" "$1/share/fish/vendor_completions.d/locule.fish"
    install -D -m 644 LICENSE "$1/share/doc/locule/copyright"
    install -D -m 644 CHANGELOG.md "$1/share/doc/locule/changelog"
    gzip -9n "$1/share/doc/locule/changelog"
}

drop_in=containers/containers.conf.d/locule.conf
mkdir -p "$output"

tree=$work/locule-$version-$architecture
fill "$tree"
install -D -m 644 "contrib/${drop_in#*/}" "$tree/etc/$drop_in"
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" --format=gnu \
    -c "${tree##*/}" | gzip -9n > "$output/${tree##*/}.tar.gz"

root=$work/root
fill "$root/usr"
install -D -m 644 "contrib/${drop_in#*/}" "$root/etc/$drop_in"
mkdir "$root/DEBIAN"
echo "/etc/$drop_in" > "$root/DEBIAN/conffiles"
(cd "$root" && find usr -type f | LC_ALL=C sort | xargs md5sum) > "$root/DEBIAN/md5sums"
cat > "$root/DEBIAN/control" << END
Package: locule
Version: $version
Architecture: $architecture
Maintainer: $(git log -1 --format='%an <%ae>' 2> /dev/null || echo 'maintainers of locule <root@localhost>')
Section: admin
Priority: optional
Installed-Size: $(du -sk --apparent-size "$root" | cut -f 1)
Suggests: podman | containerd | docker.io
Description: OCI low-level container runtime
 Turns an OCI bundle into a running Linux container, for Podman, containerd,
 Docker, CRI-O and scripts. It has the command line of runc.
END
find "$root" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --build "$root" "$output/locule_${version}_$architecture.deb" > /dev/null
ls -l "$output"
