//! Prints how long Podman's profile takes to compile for three architectures, beside libseccomp, and what the two
//! programs cost per allowed call, in instructions.

use seccomp::bpf::{Data, Instruction, data, op};
use seccomp::syscalls::{Arch, Syscall};
use std::hint::black_box;
use std::time::{Duration, Instant};

#[path = "../tests/common/mod.rs"]
mod common;

/// The first and the median time.
fn time(rounds: usize, mut work: impl FnMut()) -> (Duration, Duration) {
    let mut times: Vec<_> = (0..rounds)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed()
        })
        .collect();
    let first = times[0];
    times.sort_unstable();
    (first, times[times.len() / 2])
}

/// How many instructions run for a call whose arguments are all zero.
fn steps(program: &[Instruction], data: &Data) -> usize {
    let (mut at, mut a, mut count) = (0, 0, 0);
    while let Some(Instruction { code, jt, jf, k }) = program.get(at).copied() {
        at += 1;
        count += 1;
        let mut jump = |holds| at += usize::from(if holds { jt } else { jf });
        match code {
            op::RETURN => break,
            op::LOAD if k == data::NUMBER => a = data.number,
            op::LOAD if k == data::ARCH => a = data.arch,
            op::LOAD => a = 0,
            op::AND => a &= k,
            op::JUMP => at += k as usize,
            op::EQUAL => jump(a == k),
            op::GREATER => jump(a > k),
            op::GREATER_EQUAL => jump(a >= k),
            _ => jump(a & k != 0),
        }
    }
    count
}

fn main() {
    let profile = common::read(common::PODMAN);
    let archs: Vec<_> = seccomp::architectures(&profile, Arch::NATIVE);
    let (first, median) = time(1000, || {
        black_box(seccomp::compile(black_box(&profile)).ok());
    });
    println!("ours: first {first:?}, median {median:?}");
    let (first, median) = time(20, || {
        black_box(common::oracle(black_box(&profile), &archs).ok());
    });
    println!("libseccomp: first {first:?}, median {median:?}");
    let ours = seccomp::compile(&profile)
        .map(|filter| filter.program)
        .unwrap_or_default();
    let theirs = common::oracle(&profile, &archs).unwrap_or_default();
    for (name, program) in [("ours", &ours), ("libseccomp", &theirs)] {
        let counts: Vec<_> = Syscall::all()
            .filter_map(|call| call.number(Arch::NATIVE))
            .map(|number| {
                steps(
                    program,
                    &Data {
                        number,
                        arch: Arch::NATIVE.audit(),
                        ..Data::default()
                    },
                )
            })
            .collect();
        let sum: usize = counts.iter().sum();
        let most = counts.iter().max().copied().unwrap_or(0);
        println!(
            "{name}: {} instructions, per call {} and at most {most}",
            program.len(),
            sum / counts.len()
        );
    }
}
