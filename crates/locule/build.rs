//! Makes `entry` of the crate `seal` the entry point of the program, and has the program linked
//! again when the order of its functions changes. The flags of a release name that file.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../../contrib/order.ld");
    let machine = std::env::var("CARGO_CFG_TARGET_ARCH");
    // The same list as before `mod entry` in `seal`.
    if matches!(machine.as_deref(), Ok("x86_64" | "aarch64" | "riscv64")) {
        println!("cargo::rustc-link-arg-bins=-Wl,--entry=locule_entry");
    }
}
