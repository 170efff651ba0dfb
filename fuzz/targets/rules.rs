//! A profile as a value: rules that no text has to spell, for every architecture.

#![no_main]

mod judge;

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use seccomp::syscalls::{Arch, Syscall};
use spec::container::{Seccomp, SeccompAction, SeccompArg, SeccompOp, SeccompRule};

const OPERATORS: [SeccompOp; 7] = [
    SeccompOp::ScmpCmpNe,
    SeccompOp::ScmpCmpLt,
    SeccompOp::ScmpCmpLe,
    SeccompOp::ScmpCmpEq,
    SeccompOp::ScmpCmpGe,
    SeccompOp::ScmpCmpGt,
    SeccompOp::ScmpCmpMaskedEq,
];

fuzz_target!(|bytes: &[u8]| {
    let mut input = Unstructured::new(bytes);
    if let Ok((profile, native, calls)) = draw(&mut input) {
        judge::judge(&profile, native, &calls);
    }
});

type Drawn = (Seccomp, Arch, Vec<(Arch, u32, [u64; 6])>);

fn draw(input: &mut Unstructured<'_>) -> Result<Drawn> {
    let names: Vec<_> = Syscall::all().map(Syscall::name).collect();
    let native = *input.choose(&Arch::ALL)?;
    let default_action = action(input)?;
    let count = input.int_in_range(0..=3)?;
    let architectures = (0..count).map(|_| Ok(input.choose(&Arch::ALL)?.0));
    let architectures = architectures.collect::<Result<_>>()?;
    let mut calls = Vec::new();
    let count = input.int_in_range(0..=24)?;
    for _ in 0..count {
        let mut args = [0; 6];
        for arg in &mut args {
            *arg = value(input)?;
        }
        let arch = *input.choose(&Arch::ALL)?;
        let number = match Syscall::named(input.choose(&names)?).and_then(|call| call.number(arch))
        {
            Some(number) if input.ratio(9_u8, 10)? => number,
            _ => input.arbitrary()?,
        };
        calls.push((arch, number, args));
    }
    let mut syscalls = Vec::new();
    while !input.is_empty() && syscalls.len() < 200 {
        syscalls.push(rule(input, &names)?);
    }
    let profile = Seccomp {
        default_action,
        architectures,
        flags: None,
        listener_path: None,
        listener_metadata: None,
        syscalls,
    };
    Ok((profile, native, calls))
}

fn rule(input: &mut Unstructured<'_>, names: &[&str]) -> Result<SeccompRule> {
    let count = input.int_in_range(1..=8)?;
    let names = (0..count).map(|_| Ok((*input.choose(names)?).to_owned()));
    let names = names.collect::<Result<_>>()?;
    let action = action(input)?;
    let mut args = Vec::new();
    for _ in 0..input.int_in_range(0..=4)? {
        args.push(SeccompArg {
            index: input.int_in_range(0..=5)?,
            op: *input.choose(&OPERATORS)?,
            value: value(input)?,
            value_two: value(input)?,
        });
    }
    Ok(SeccompRule {
        names,
        action,
        args,
    })
}

fn action(input: &mut Unstructured<'_>) -> Result<SeccompAction> {
    Ok(match input.int_in_range(0..=7)? {
        0 => SeccompAction::KillProcess,
        1 => SeccompAction::KillThread,
        2 => SeccompAction::Trap,
        3 => SeccompAction::Errno(input.arbitrary()?),
        4 => SeccompAction::Trace(input.arbitrary()?),
        5 => SeccompAction::Log,
        6 => SeccompAction::Notify,
        _ => SeccompAction::Allow,
    })
}

fn value(input: &mut Unstructured<'_>) -> Result<u64> {
    Ok(match input.int_in_range(0..=3)? {
        0 => input.int_in_range(0..=7)?,
        1 => 1 << input.int_in_range(0..=63)?,
        2 => u64::MAX,
        _ => input.arbitrary()?,
    })
}
