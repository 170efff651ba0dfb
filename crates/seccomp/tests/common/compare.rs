//! Runs the compiler's program and libseccomp's on the same calls.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "each test uses a part"
)]

use super::machine::{Data, check, run};
use super::{oracle_has, oracle_in_time, oracle_knows};
use seccomp::bpf::Instruction;
use seccomp::syscalls::{Arch, Syscall};
use seccomp::{answers_newer, compile_for, return_value};
use spec::container::{Seccomp, SeccompAction, SeccompArch};
use std::collections::BTreeSet;

/// Numbers to test on every architecture: all small ones, the first of every ABI, and the limits.
fn numbers() -> Vec<u32> {
    let mut numbers: Vec<u32> = (0..640).collect();
    for base in [4000, 5000, 6000, 0x000f_0000, 0x4000_0000] {
        numbers.extend(base - 2..base + 640);
    }
    numbers.extend([
        1000,
        0x3fff_ffff,
        0x7fff_ffff,
        0x8000_0000,
        0xbfff_ffff,
        0xc000_0000,
    ]);
    numbers.extend([0xffff_fffe, u32::MAX]);
    numbers
}

/// Arguments at and around every value that the profile compares with.
fn arguments(profile: &Seccomp) -> Vec<[u64; 6]> {
    let mut values = BTreeSet::from([0, 1, u64::MAX, 1 << 32, u64::from(u32::MAX)]);
    for arg in profile.syscalls.iter().flat_map(|rule| &rule.args) {
        for value in [arg.value, arg.value_two] {
            values.extend([value, value.wrapping_add(1), value.wrapping_sub(1), !value]);
            values.extend([value ^ 1 << 32, value & 0xffff_ffff]);
        }
    }
    let values: Vec<u64> = values.into_iter().collect();
    let mut vectors: Vec<[u64; 6]> = values.iter().map(|value| [*value; 6]).collect();
    // Every value is combined with every other value at some pair of positions.
    for (shift, _) in values.iter().enumerate().take(24) {
        for start in 0..values.len() {
            let at = |place: usize| values[(start + place * (shift + 1)) % values.len()];
            vectors.push([at(0), at(1), at(2), at(3), at(4), at(5)]);
        }
    }
    vectors
}

/// The newest number that the profile names, as runc counts.
fn newest(profile: &Seccomp, arch: Arch) -> Option<u32> {
    if !answers_newer(profile.default_action) {
        return None;
    }
    let names = profile.syscalls.iter().flat_map(|rule| &rule.names);
    let numbers = names.filter_map(|name| Syscall::named(name)?.number(arch));
    numbers.max().filter(|newest| *newest != 0)
}

/// libseccomp's answer with runc's rule for newer calls in front.
fn expected(theirs: &[Instruction], newest: &[(Arch, Option<u32>)], data: &Data) -> u32 {
    let x32 = data.arch == X32.audit() && data.number >= 0x4000_0000;
    let here = |arch: Arch| arch.audit() == data.arch && (arch == X32) == x32;
    if let Some((arch, Some(newest))) = newest.iter().find(|(arch, _)| here(*arch)) {
        let s390 = matches!(
            arch.0,
            SeccompArch::ScmpArchS390 | SeccompArch::ScmpArchS390x
        );
        if data.number > *newest || s390 && data.number == 0 {
            return return_value(SeccompAction::Errno(38));
        }
    }
    run(theirs, data, newest[0].0.endian()).unwrap()
}

pub(crate) fn without_names_unknown_to_the_oracle(mut profile: Seccomp) -> Seccomp {
    for rule in &mut profile.syscalls {
        rule.names.retain(|name| oracle_knows(name));
    }
    profile
}

/// Compares the two programs and returns the calls on which they differ.
fn differences(profile: &Seccomp, archs: &[Arch]) -> Vec<(Data, u32, u32)> {
    let theirs = oracle_in_time(profile, archs).unwrap();
    differences_with(&theirs, profile, archs)
}

pub(crate) fn differences_with(
    theirs: &[Instruction],
    profile: &Seccomp,
    archs: &[Arch],
) -> Vec<(Data, u32, u32)> {
    let ours = compile_for(profile, archs[0]).unwrap().program;
    assert_eq!(check(&ours), Ok(()));
    let newest: Vec<_> = archs
        .iter()
        .map(|arch| (*arch, newest(profile, *arch)))
        .collect();
    let mut found = Vec::new();
    let audits: BTreeSet<u32> = archs
        .iter()
        .map(|arch| arch.audit())
        .chain([0, 0xdead_beef])
        .collect();
    let arguments = arguments(profile);
    let named = profile.syscalls.iter().flat_map(|rule| &rule.names);
    let too_new: BTreeSet<(u32, u32)> = named
        .filter_map(|name| Syscall::named(name))
        .flat_map(|syscall| archs.iter().map(move |arch| (*arch, syscall)))
        .filter_map(|(arch, syscall)| Some((arch, syscall.number(arch)?)))
        .filter(|(arch, number)| !oracle_has(*arch, *number))
        .map(|(arch, number)| (arch.audit(), number))
        .collect();
    // Only calls with conditions depend on arguments.
    let conditional: BTreeSet<u32> = profile
        .syscalls
        .iter()
        .filter(|rule| !rule.args.is_empty())
        .flat_map(|rule| {
            rule.names
                .iter()
                .map(String::as_str)
                .chain(["socketcall", "ipc"])
        })
        .flat_map(|name| {
            archs
                .iter()
                .filter_map(move |arch| Syscall::named(name)?.number(*arch))
        })
        .collect();
    let numbers = numbers();
    for arch in audits {
        for &number in &numbers {
            // The negative numbers that libseccomp invents, and calls that are too new for it.
            let made_up = (0xffff_0000..u32::MAX).contains(&number);
            if made_up || too_new.contains(&(arch, number)) || (arch, number) == LLSEEK {
                continue;
            }
            let count = if conditional.contains(&number) {
                arguments.len()
            } else {
                1
            };
            for args in &arguments[..count] {
                let data = Data {
                    number,
                    arch,
                    instruction_pointer: 0,
                    args: *args,
                };
                let theirs = expected(theirs, &newest, &data);
                let ours = run(&ours, &data, archs[0].endian()).unwrap();
                if ours != theirs {
                    found.push((data, ours, theirs));
                }
            }
        }
    }
    found
}

#[track_caller]
pub(crate) fn agree(profile: &Seccomp, archs: &[Arch]) {
    let found = differences(profile, archs);
    assert!(
        found.is_empty(),
        "{} differences, the first: {:#x?}",
        found.len(),
        found[0]
    );
}

pub(crate) fn with_archs(profile: &Seccomp, archs: &[Arch]) -> Seccomp {
    let mut profile = profile.clone();
    profile.architectures = archs.iter().map(|arch| arch.0).collect();
    profile
}

/// libseccomp has `_llseek` on parisc64, the kernel's header does not.
const LLSEEK: (u32, u32) = (0x8000_000f, 140);

const X86_64: Arch = Arch(SeccompArch::ScmpArchX86_64);
const X86: Arch = Arch(SeccompArch::ScmpArchX86);
pub(crate) const X32: Arch = Arch(SeccompArch::ScmpArchX32);

/// The sets of architectures that one kernel can have.
pub(crate) const KERNELS: &[&[Arch]] = &[
    &[X86_64, X86, X32],
    &[X86_64, X86],
    &[X86_64, X32],
    &[X86_64],
    &[X86],
    &[
        Arch(SeccompArch::ScmpArchAarch64),
        Arch(SeccompArch::ScmpArchArm),
    ],
    &[Arch(SeccompArch::ScmpArchArm)],
    &[Arch(SeccompArch::ScmpArchRiscv64)],
    &[
        Arch(SeccompArch::ScmpArchS390x),
        Arch(SeccompArch::ScmpArchS390),
    ],
    &[Arch(SeccompArch::ScmpArchPpc64le)],
    &[
        Arch(SeccompArch::ScmpArchPpc64),
        Arch(SeccompArch::ScmpArchPpc),
    ],
    &[
        Arch(SeccompArch::ScmpArchMips64),
        Arch(SeccompArch::ScmpArchMips64n32),
        Arch(SeccompArch::ScmpArchMips),
    ],
    &[
        Arch(SeccompArch::ScmpArchMipsel64),
        Arch(SeccompArch::ScmpArchMipsel64n32),
        Arch(SeccompArch::ScmpArchMipsel),
    ],
    &[
        Arch(SeccompArch::ScmpArchParisc64),
        Arch(SeccompArch::ScmpArchParisc),
    ],
];
