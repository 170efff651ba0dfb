//! Device rules as an eBPF program.
//!
//! The program keeps the bits of access that no rule has decided yet. It checks the runs of rules
//! from the last to the first. A run that allows removes its bits, and the answer is yes when none
//! is left. A run that denies one of the remaining bits makes the answer no. Sources:
//! BPF_PROG_TYPE_CGROUP_DEVICE in Documentation/admin-guide/cgroup-v2.rst, `struct
//! bpf_cgroup_dev_ctx`.
//!
//! The kernel's verifier follows both sides of every branch. This takes most of the time of loading
//! a program, and with a comparison for each of many rules it would exceed the verifier's limit. So
//! the program compares nodes without branches (a difference is zero or not), and has one branch
//! for each run.

use kernel::bpf::Instruction;

use super::Rule;
use super::run::{Group, runs};

/// Registers.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
/// The bits that no run has decided yet.
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
/// Zero if the node belongs to the group; then the group's bits.
const GROUP: u8 = 6;
const DIFFERENCE: u8 = 7;
/// The bits that the groups of a run name for this node.
const NAMED: u8 = 8;
const WINDOW: u8 = 9;

/// Operation codes, on 32 bits unless they say otherwise.
const LOAD: u8 = 0x61;
const MOVE: u8 = 0xbc;
const MOVE_CONSTANT: u8 = 0xb4;
const SUBTRACT: u8 = 0x14;
const ADD_64: u8 = 0x07;
const AND: u8 = 0x54;
const AND_WITH: u8 = 0x5c;
const OR: u8 = 0x44;
const OR_WITH: u8 = 0x4c;
const XOR: u8 = 0xa4;
const SHIFT_RIGHT: u8 = 0x74;
const SHIFT_RIGHT_64: u8 = 0x77;
const SHIFT_RIGHT_BY: u8 = 0x7c;
const JUMP_IF_EQUAL: u8 = 0x16;
const JUMP_UNLESS_EQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

/// An instruction with a constant.
fn constant(code: u8, target: u8, value: u32) -> Instruction {
    Instruction {
        code,
        registers: target,
        offset: 0,
        immediate: value.cast_signed(),
    }
}

/// An instruction with two registers.
fn registers(code: u8, target: u8, source: u8) -> Instruction {
    Instruction {
        code,
        registers: target | (source << 4),
        offset: 0,
        immediate: 0,
    }
}

fn load(target: u8, offset: i16) -> Instruction {
    Instruction {
        offset,
        ..registers(LOAD, target, CONTEXT)
    }
}

fn answer(allow: bool) -> [Instruction; 2] {
    [
        constant(MOVE_CONSTANT, ANSWER, u32::from(allow)),
        registers(EXIT, 0, 0),
    ]
}

/// Adds the difference of `register` and `value` to GROUP.
fn compare(register: u8, value: u32) -> [Instruction; 3] {
    [
        registers(MOVE, DIFFERENCE, register),
        constant(XOR, DIFFERENCE, value),
        registers(OR_WITH, GROUP, DIFFERENCE),
    ]
}

/// Adds a non-zero value to GROUP if the minor is not one of those in a window of 32.
fn compare_window(first: u32, bits: u32) -> [Instruction; 9] {
    [
        registers(MOVE, DIFFERENCE, MINOR),
        constant(SUBTRACT, DIFFERENCE, first),
        // The kernel takes the distance modulo 32; the code below compares the rest.
        constant(MOVE_CONSTANT, WINDOW, bits),
        registers(SHIFT_RIGHT_BY, WINDOW, DIFFERENCE),
        constant(AND, WINDOW, 1),
        constant(XOR, WINDOW, 1),
        registers(OR_WITH, GROUP, WINDOW),
        constant(SHIFT_RIGHT, DIFFERENCE, 5),
        registers(OR_WITH, GROUP, DIFFERENCE),
    ]
}

/// Adds the group's bits to NAMED if the node belongs to the group and, if there are windows, to
/// this one.
fn name(group: &Group, window: Option<(u32, u32)>, program: &mut Vec<Instruction>) {
    program.push(constant(MOVE_CONSTANT, GROUP, 0));
    if let Some(kind) = group.kind {
        program.extend(compare(KIND, kind as u32));
    }
    if let Some(major) = group.major {
        program.extend(compare(MAJOR, major));
    }
    match window {
        None => {}
        Some((minor, 1)) => program.extend(compare(MINOR, minor)),
        Some((first, bits)) => program.extend(compare_window(first, bits)),
    }
    program.extend([
        // Zero becomes 64 ones, and any other number stays below 2^32.
        constant(ADD_64, GROUP, u32::MAX),
        constant(SHIFT_RIGHT_64, GROUP, 32),
        constant(AND, GROUP, group.access.into()),
        registers(OR_WITH, NAMED, GROUP),
    ]);
}

/// The end of a run: applies its decision.
fn decide(allow: bool, program: &mut Vec<Instruction>) {
    let (register, code) = if allow {
        program.push(constant(XOR, NAMED, u32::MAX));
        program.push(registers(AND_WITH, ACCESS, NAMED));
        (ACCESS, JUMP_UNLESS_EQUAL)
    } else {
        program.push(registers(AND_WITH, NAMED, ACCESS));
        (NAMED, JUMP_IF_EQUAL)
    };
    // Jump over the answer.
    program.push(Instruction {
        offset: 2,
        ..constant(code, register, 0)
    });
    program.extend(answer(allow));
}

/// The program for `rules`; access that no rule decides is denied.
pub(super) fn encode(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        load(ACCESS, 0),
        registers(MOVE, KIND, ACCESS),
        constant(AND, KIND, 0xffff),
        constant(SHIFT_RIGHT, ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for run in runs(rules).iter().rev() {
        if run.groups.iter().any(Group::names_everything) {
            // No earlier rule applies.
            program.extend(answer(run.allow));
            return program;
        }
        program.push(constant(MOVE_CONSTANT, NAMED, 0));
        for group in &run.groups {
            let windows = group.windows();
            if group.names_every_node() {
                program.push(constant(OR, NAMED, group.access.into()));
            } else if windows.is_empty() {
                name(group, None, &mut program);
            }
            for window in windows {
                name(group, Some(window), &mut program);
            }
        }
        decide(run.allow, &mut program);
    }
    program.extend(answer(false));
    program
}
