# What compiles for the machine of vm.sh, for scripts that source this: the arguments of cargo in
# `target`, the folder that it writes in `built`, and the tools `strip` and `compiler`. VM_ARCH is
# the machine's architecture; gcc-aarch64-linux-gnu links for arm64.

target=() built=target strip=strip compiler=cc native=$(dpkg --print-architecture)
case ${VM_ARCH:-$native} in
    "$native") ;;
    arm64)
        target=(--target aarch64-unknown-linux-musl) built=target/aarch64-unknown-linux-musl
        strip=aarch64-linux-gnu-strip compiler=aarch64-linux-gnu-gcc
        command -v $strip > /dev/null || { echo "$0: the package gcc-aarch64-linux-gnu is missing" >&2; exit 2; }
        rustup --quiet target add "${target[1]}"
        export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=$compiler ;;
    *) echo "$0: VM_ARCH is $VM_ARCH, and can be $native or arm64" >&2; exit 2 ;;
esac
