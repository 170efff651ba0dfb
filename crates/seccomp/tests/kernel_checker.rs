//! Compares the kernel's checker with this crate's, without loading a program. It is the only test
//! in its process: for some time the whole process cannot open files.

#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(clippy::unwrap_used)]

mod common;

use common::machine::check;
use common::strategy::any_profile;
use common::{DOCKER, PODMAN, read};
use kernel::Errno;
use kernel::process::prlimit;
use kernel::seccomp::{FilterFlags, load};
use nix::sys::prctl::set_no_new_privs;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use seccomp::bpf::{self, Instruction};
use seccomp::syscalls::Arch;
use seccomp::{CompileError, compile_for};

const NOFILE: u32 = 7;

/// Whether the kernel would load the program. The kernel checks the program first; then it fails
/// because no descriptor is free for a listener (seccomp_set_mode_filter in kernel/seccomp.c).
fn kernel_takes(program: &[Instruction]) -> bool {
    prlimit(0, NOFILE, 0, 1024).unwrap();
    let answer = load(program, FilterFlags::NEW_LISTENER);
    prlimit(0, NOFILE, 1024, 1024).unwrap();
    match answer.unwrap_err() {
        Errno::EMFILE => true,
        Errno::EINVAL => false,
        other => unreachable!("{other}"),
    }
}

fn runner(cases: u32) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// A random instruction that prefers the relevant operations and operands.
fn instruction() -> impl Strategy<Value = Instruction> {
    let code = prop_oneof![4 => 0..=0xb7_u16, 1 => any::<u16>()];
    let k = prop_oneof![Just(0_u32), 0..70_u32, any::<u32>()];
    (code, 0..9_u8, 0..9_u8, k).prop_map(|(code, jt, jf, k)| Instruction { code, jt, jf, k })
}

#[test]
fn kernel_and_checker_agree() {
    set_no_new_privs().unwrap();
    let end = Instruction {
        code: bpf::op::RETURN,
        jt: 0,
        jf: 0,
        k: 7,
    };
    for count in [0, 1, 4096, 4097] {
        let program = vec![end; count];
        assert_eq!(kernel_takes(&program), check(&program).is_ok());
    }
    // Every possible operation, as the only one.
    for code in 0..=u16::MAX {
        let first = Instruction {
            code,
            jt: 0,
            jf: 0,
            k: 0,
        };
        let program = [first, end];
        let ours = check(&program);
        assert_eq!(kernel_takes(&program), ours.is_ok(), "{code:#x}: {ours:?}");
    }
    let programs = (
        proptest::collection::vec(instruction(), 0..12),
        any::<bool>(),
    );
    let agree = runner(20_000).run(&programs, |(mut program, returns)| {
        if returns {
            program.push(end);
        }
        let ours = check(&program);
        prop_assert_eq!(kernel_takes(&program), ours.is_ok(), "{:?}", ours);
        Ok(())
    });
    agree.unwrap();
    let native = proptest::sample::select(Arch::ALL.to_vec());
    let compiled = runner(150).run(&(any_profile(), native), |(profile, native)| {
        match compile_for(&profile, native) {
            Ok(filter) => prop_assert!(kernel_takes(&filter.program)),
            Err(error) => prop_assert!(matches!(error, CompileError::TooLong(4097..))),
        }
        Ok(())
    });
    compiled.unwrap();
    for json in [DOCKER, PODMAN] {
        assert!(kernel_takes(
            &compile_for(&read(json), Arch::NATIVE).unwrap().program
        ));
    }
}
