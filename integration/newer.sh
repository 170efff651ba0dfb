#!/bin/bash
# Programs that Debian does not have, or not this new:
# `newer.sh [containerd] [buildkit] [crio] [etcd]
# [kubernetes]` builds each into target/newer/NAME, once. Needs go, which fetches them as modules.
# CRI-O also needs a C compiler and libseccomp-dev.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$PWD/target/newer
containerd=v2.4.2
buildkit=v0.34.2
crio=v1.34.0
etcd=v3.7.3
kubernetes=1.36.3
# Programs of one file each, which run in any image.
export GOFLAGS="-mod=mod ${GOFLAGS:-}" GOWORK=off CGO_ENABLED=0

# build NAME MODULE@VERSION [OPTION...] PACKAGE...; leaves the folder of the module in $module.
build() {
    local source=$work/$1.source
    module=$(cd "$work" && go mod download -json "$2" | sed -n 's/^\t"Dir": "\(.*\)",$/\1/p')
    rm -rf "$source"
    cp -r "$module" "$source"
    chmod -R u+w "$source"
    # A module is fetched without the modules below and beside it: take their published versions.
    # Kubernetes 1.x.y names its own v0.0.0, and publishes them as v0.x.y.
    sed -i "s,^\(\tk8s.io/[a-z-]*\) v0.0.0\$,\1 v0.${kubernetes#1.},; /=> \.\.\?\//d" "$source/go.mod"
    go build -C "$source" -trimpath -ldflags '-s -w' -o "$work/$1.new/" "${@:3}"
    rm -rf "$source"
}

mkdir -p "$work"
for name; do
    test ! -d "$work/$name" || continue
    mkdir -p "$work/$name.new"
    case $name in
        containerd)
            build $name github.com/containerd/containerd/v2@$containerd \
                ./cmd/containerd ./cmd/containerd-shim-runc-v2 ./cmd/ctr ;;
        buildkit) build $name github.com/moby/buildkit@$buildkit ./cmd/buildkitd ./cmd/buildctl ;;
        crio)
            CGO_ENABLED=1 build $name github.com/cri-o/cri-o@$crio \
                -tags 'seccomp apparmor containers_image_openpgp containers_image_ostree_stub exclude_graphdriver_btrfs' \
                ./cmd/crio
            cc -static -std=c99 -Os -o "$work/$name.new/pinns" "$module"/pinns/src/*.c ;;
        etcd)
            build $name go.etcd.io/etcd/server/v3@$etcd .
            mv "$work/$name.new/server" "$work/$name.new/etcd" ;;
        kubernetes)
            build $name k8s.io/kubernetes@v$kubernetes \
                ./cmd/{kubelet,kube-apiserver,kube-scheduler,kube-controller-manager,kubectl} ;;
        *) echo "newer.sh: $name is none of containerd, buildkit, crio, etcd, kubernetes" >&2; exit 1 ;;
    esac
    mv "$work/$name.new" "$work/$name"
done
