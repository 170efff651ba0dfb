//! Prints the cost of Podman's profile on three architectures, next to libseccomp's, as a Markdown
//! table: the time to compile, and the time per allowed call.
//!
//! Each sample runs in its own process, which this program starts: `speed compile|call
//! ours|libseccomp|none`. A runtime compiles only once, so the first compilation counts.

use nix::sys::personality;
use nix::sys::prctl::set_no_new_privs;
use nix::unistd::getppid;
use seccomp::bpf::{Instruction, data, op};
use seccomp::syscalls::{Arch, Syscall};
use std::env;
use std::hint::black_box;
use std::process::Command;
use std::time::Instant;

#[path = "../tests/common/mod.rs"]
mod common;

use common::machine::Data;

/// The number of processes, each with one sample.
const ROUNDS: usize = 21;

/// The number of calls in one sample.
const CALLS: u32 = 1_000_000;

/// The number of instructions that run for a call with zero arguments.
fn steps(program: &[Instruction], data: &Data) -> u32 {
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

/// Instructions of the program, and per call of every number on average and at most.
fn instructions(whose: &str) -> [f64; 3] {
    let program = program(whose);
    let arch = Arch::NATIVE;
    let counts: Vec<u32> = Syscall::all()
        .filter_map(|call| call.number(arch))
        .map(|number| {
            let data = Data {
                number,
                arch: arch.audit(),
                ..Data::default()
            };
            steps(&program, &data)
        })
        .collect();
    let number = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    let most = counts.iter().max().copied().unwrap_or(0);
    let average = f64::from(counts.iter().sum::<u32>()) / number(counts.len());
    [number(program.len()), average, f64::from(most)]
}

fn program(whose: &str) -> Vec<Instruction> {
    let profile = common::read(common::PODMAN);
    match whose {
        "ours" => seccomp::compile(&profile).expect("compiles").program,
        _ => common::oracle(&profile, &seccomp::architectures(&profile, Arch::NATIVE))
            .expect("compiles"),
    }
}

/// Prints nanoseconds: of the first compilation.
fn compile(whose: &str) {
    let profile = common::read(common::PODMAN);
    let archs = seccomp::architectures(&profile, Arch::NATIVE);
    let start = Instant::now();
    match whose {
        "ours" => {
            black_box(seccomp::compile(black_box(&profile)).ok());
        }
        _ => {
            black_box(common::oracle(black_box(&profile), &archs).ok());
        }
    }
    println!("{}", start.elapsed().as_nanos());
}

/// Prints nanoseconds per call under the filter: of getppid(2), which the kernel knows to be
/// allowed with any arguments, and of personality(2), for which the filter must run.
fn call(whose: &str) {
    if whose != "none" {
        set_no_new_privs().expect("no_new_privs");
        kernel::seccomp::load(&program(whose), kernel::seccomp::FilterFlags::empty())
            .expect("loads");
    }
    let timed = |work: fn()| {
        let start = Instant::now();
        (0..CALLS).for_each(|_| work());
        start.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    let getppid = timed(|| {
        black_box(getppid());
    });
    let personality = timed(|| {
        black_box(personality::get().ok());
    });
    println!("{getppid} {personality}");
}

/// The output of one process of this program.
fn sample(what: &str, whose: &str) -> Vec<f64> {
    let mut command = Command::new(env::current_exe().expect("own path"));
    let output = command.args([what, whose]).output().expect("starts");
    assert!(output.status.success(), "{command:?}: {output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    text.split_whitespace()
        .map(|word| word.parse().expect("a number"))
        .collect()
}

/// The medians of each number that the processes print, taken in turns.
fn medians(what: &str, whose: &[&str]) -> Vec<Vec<f64>> {
    let mut samples = vec![Vec::new(); whose.len()];
    for _ in 0..ROUNDS {
        for (whose, samples) in whose.iter().zip(&mut samples) {
            samples.push(sample(what, whose));
        }
    }
    let median = |samples: &Vec<Vec<f64>>, n: usize| {
        let mut values: Vec<f64> = samples.iter().map(|sample| sample[n]).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let numbers = samples[0][0].len();
    (0..numbers)
        .map(|n| samples.iter().map(|s| median(s, n)).collect())
        .collect()
}

fn main() {
    let words: Vec<_> = env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["compile", whose] => return compile(whose),
        ["call", whose] => return call(whose),
        _ => {}
    }
    println!("\n| Podman's profile, three architectures | unit | ours | libseccomp | no filter |");
    println!("| --- | --- | --- | --- | --- |");
    for times in medians("compile", &["ours", "libseccomp"]) {
        let (ours, theirs) = (times[0] / 1e3, times[1] / 1e3);
        let ratio = theirs / ours;
        println!(
            "| first compilation in a process | us | {ours:.0} | {theirs:.0} ({ratio:.1} x) | - |"
        );
    }
    let names = ["getppid, always allowed", "personality, by its argument"];
    let calls = medians("call", &["ours", "libseccomp", "none"]);
    for (name, times) in names.iter().zip(calls) {
        let (ours, theirs, none) = (times[0], times[1], times[2]);
        println!("| {name} | ns | {ours:.0} | {theirs:.0} | {none:.0} |");
    }
    let [ours, theirs] = ["ours", "libseccomp"].map(instructions);
    for (n, name) in ["of the program", "per call, average", "per call, at most"]
        .into_iter()
        .enumerate()
    {
        let (ours, theirs) = (ours[n], theirs[n]);
        println!("| instructions {name} | | {ours:.0} | {theirs:.0} | - |");
    }
}
