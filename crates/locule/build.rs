//! Makes `entry` of the crate `seal` the entry point of the program.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let machine = std::env::var("CARGO_CFG_TARGET_ARCH");
    // The same list as before `mod entry` in `seal`.
    if matches!(machine.as_deref(), Ok("x86_64" | "aarch64" | "riscv64")) {
        println!("cargo::rustc-link-arg-bins=-Wl,--entry=locule_entry");
    }
}
