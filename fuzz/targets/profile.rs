//! A profile as text: `linux.seccomp` or a whole configuration to a program.

#![no_main]

mod judge;

use libfuzzer_sys::fuzz_target;
use seccomp::syscalls::Arch;

fuzz_target!(|bytes: &[u8]| {
    let Ok(loaded) = spec::load::parse_seccomp(bytes) else {
        return;
    };
    // Every number of the tables with one set of arguments, and some that are none.
    let numbers = (0..512).chain([u32::MAX, 1 << 30, 1 << 30 | 59, 5000]);
    let calls: Vec<_> = numbers
        .map(|number| (Arch::NATIVE, number, [0, 1, 2, u64::MAX, 1 << 32, 7]))
        .collect();
    judge::judge(&loaded.seccomp, Arch::NATIVE, &calls);
});
