//! For any profile the compiler ends, the kernel's checker accepts the program, and the program
//! gives the answers of the rules.

#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(clippy::unwrap_used)]

mod common;

use common::machine::{self, Data, Refusal, check, run};
use common::strategy::{any_profile, value};
use common::{DOCKER, PODMAN, profile, read, rule};
use proptest::prelude::*;
use seccomp::bpf::{self, Instruction, op};
use seccomp::inspect::Inspector;
use seccomp::syscalls::{Arch, Syscall};
use seccomp::{CompileError, compile, compile_for, return_value};
use spec::container::{SeccompAction, SeccompOp};

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn program_passes_the_checker_and_answers_what_the_rules_say(
        profile in any_profile(),
        native in proptest::sample::select(Arch::ALL.to_vec()),
        calls in proptest::collection::vec((any::<u16>(), 0..700_u32, [value(), value(), value(), value(), value(), value()]), 60),
    ) {
        let program = match compile_for(&profile, native) {
            Ok(filter) => filter.program,
            Err(error) => {
                prop_assert!(matches!(error, CompileError::TooLong(4097..)));
                return Ok(());
            }
        };
        prop_assert_eq!(check(&program), Ok(()));
        let inspector = Inspector::new(&profile, native);
        for (arch, number, args) in calls {
            let arch = Arch::ALL[usize::from(arch) % Arch::ALL.len()];
            // A machine has one byte order, so it never sees architectures of the other one.
            if arch.endian() != native.endian() {
                continue;
            }
            let first = Syscall::named("exit").and_then(|call| call.number(arch)).unwrap();
            let number = number + (first & !0x3ff);
            let data = Data { number, arch: arch.audit(), instruction_pointer: 0, args };
            let answer = run(&program, &data, native.endian());
            let said = inspector.test_number(arch, number, &args);
            prop_assert_eq!(answer, Some(return_value(said.action)), "{:?} {} {:?}", arch, number, said);
        }
    }

    #[test]
    fn arbitrary_instructions_are_refused_or_end(
        words in proptest::collection::vec((any::<u8>(), any::<u8>(), any::<u8>(), 0..70_u32), 1..40),
        args in any::<[u64; 6]>(),
    ) {
        let mut program: Vec<_> = words
            .into_iter()
            .map(|(code, jt, jf, k)| Instruction { code: code.into(), jt: jt % 9, jf: jf % 9, k })
            .collect();
        program.push(Instruction { code: op::RETURN, jt: 0, jf: 0, k: 7 });
        if check(&program).is_ok() {
            let data = Data { args, ..Data::default() };
            prop_assert!(run(&program, &data, Arch::NATIVE.endian()).is_some());
        }
        prop_assert!(!bpf::Disassembly(&program).to_string().is_empty());
    }
}

fn instruction(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
    Instruction { code, jt, jf, k }
}

#[test]
fn checker_refuses_what_the_kernel_refuses() {
    let end = instruction(op::RETURN, 0, 0, 0);
    assert_eq!(check(&[]), Err(Refusal::Length(0)));
    assert_eq!(check(&[end; 4097]), Err(Refusal::Length(4097)));
    assert_eq!(check(&[end; 4096]), Ok(()));
    assert_eq!(check(&[instruction(op::LOAD, 0, 0, 0)]), Err(Refusal::End));
    let refused = |first| check(&[first, end]);
    assert_eq!(
        refused(instruction(op::LOAD, 0, 0, 2)),
        Err(Refusal::Offset { at: 0, offset: 2 })
    );
    assert_eq!(
        refused(instruction(op::LOAD, 0, 0, 64)),
        Err(Refusal::Offset { at: 0, offset: 64 })
    );
    assert_eq!(
        refused(instruction(op::JUMP, 0, 0, 1)),
        Err(Refusal::Jump { at: 0 })
    );
    assert_eq!(
        refused(instruction(op::EQUAL, 0, 1, 0)),
        Err(Refusal::Jump { at: 0 })
    );
    assert_eq!(
        refused(instruction(0x28, 0, 0, 0)),
        Err(Refusal::Operation { at: 0, code: 0x28 })
    );
    assert_eq!(
        refused(instruction(0x94, 0, 0, 1)),
        Err(Refusal::Operation { at: 0, code: 0x94 })
    );
    assert_eq!(
        refused(instruction(0x34, 0, 0, 0)),
        Err(Refusal::Operand { at: 0, operand: 0 })
    );
    assert_eq!(
        refused(instruction(0x64, 0, 0, 32)),
        Err(Refusal::Operand { at: 0, operand: 32 })
    );
    let memory = instruction(machine::LOAD_MEMORY, 0, 0, 3);
    assert_eq!(refused(memory), Err(Refusal::Offset { at: 0, offset: 3 }));
    assert_eq!(
        check(&[instruction(machine::STORE, 0, 0, 3), memory, end]),
        Ok(())
    );
}

#[test]
fn profile_beyond_4096_instructions_is_refused_with_the_count() {
    let many: Vec<_> = (0..3000)
        .map(|value| {
            rule(
                &["read"],
                SeccompAction::Allow,
                &[(0, SeccompOp::ScmpCmpEq, value, 0)],
            )
        })
        .collect();
    match compile(&profile(SeccompAction::Errno(1), many)) {
        Err(CompileError::TooLong(count)) => assert!(count > 4096),
        other => assert!(
            other.is_err(),
            "{} instructions",
            other.unwrap().program.len()
        ),
    }
}

#[test]
fn many_equal_conditions_of_different_actions_count_once() {
    let actions = [SeccompAction::Allow, SeccompAction::Trap];
    let many = actions.into_iter().cycle().take(60_000);
    let rules = many
        .map(|action| rule(&["read"], action, &[(0, SeccompOp::ScmpCmpEq, 7, 0)]))
        .collect();
    let length = compile(&profile(SeccompAction::Errno(1), rules))
        .unwrap()
        .program
        .len();
    assert!(length < 30, "{length} instructions");
}

#[test]
fn argument_beyond_the_sixth_is_refused() {
    let rule = rule(
        &["read"],
        SeccompAction::Allow,
        &[(6, SeccompOp::ScmpCmpEq, 0, 0)],
    );
    let refused = compile(&profile(SeccompAction::Errno(1), vec![rule]));
    assert_eq!(
        refused,
        Err(CompileError::Argument {
            rule: 0,
            argument: 6
        })
    );
}

#[test]
fn profiles_of_the_engines_have_short_programs() {
    for (json, most) in [(DOCKER, 420), (PODMAN, 440)] {
        let length = compile(&read(json)).unwrap().program.len();
        assert!(length <= most, "{length} instructions");
    }
}

#[test]
fn unknown_names_are_skipped_and_listed() {
    let rules = vec![
        rule(&["read"], SeccompAction::Allow, &[]),
        rule(&["write", "no_such_call"], SeccompAction::Allow, &[]),
    ];
    let filter = compile(&profile(SeccompAction::Errno(1), rules)).unwrap();
    assert_eq!(filter.unknown, [(1, "no_such_call".to_owned())]);
}

#[test]
fn disassembly_labels_every_target() {
    let program = compile(&read(DOCKER)).unwrap().program;
    let text = bpf::Disassembly(&program).to_string();
    let labels: Vec<_> = text
        .lines()
        .filter_map(|line| line.strip_suffix(':'))
        .collect();
    for word in text
        .split([' ', ',', '\n'])
        .filter(|word| word.starts_with('L'))
    {
        assert!(word.ends_with(':') || labels.contains(&word), "{word}");
    }
    assert!(text.contains("ret #0x00050001   ; ERRNO(1)"));
}
