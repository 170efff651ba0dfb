//! Device rules as an eBPF program.
//!
//! The program keeps the bits of access that no rule has decided yet and looks at the rules from the last
//! to the first: a rule that allows takes its bits away, and with the last one the answer is yes; a
//! rule that denies one of them makes the answer no. Sources: BPF_PROG_TYPE_CGROUP_DEVICE in
//! Documentation/admin-guide/cgroup-v2.rst, `struct bpf_cgroup_dev_ctx`.
//!
//! The kernel's verifier follows every path with what it knows there, and gives up after a million steps. So
//! that its work grows with the number of rules and not with the square, a path that goes on knows
//! nothing of the numbers: both are compared in one step, and are loaded again after a rule that
//! names the node and decides a part.

use kernel::bpf::Instruction;

use super::{ALL, Rule};

/// Registers.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
/// The major in the high and the minor in the low half.
const BOTH: u8 = 6;
const WANTED: u8 = 7;

/// Operation codes.
const LOAD_32: u8 = 0x61;
const LOAD_CONSTANT_64: u8 = 0x18;
const MOVE_64: u8 = 0xbf;
const MOVE_CONSTANT_32: u8 = 0xb4;
const AND_32: u8 = 0x54;
const OR_64: u8 = 0x4f;
const SHIFT_LEFT_64: u8 = 0x67;
const SHIFT_RIGHT_32: u8 = 0x74;
const JUMP: u8 = 0x05;
const JUMP_IF_EQUAL_32: u8 = 0x16;
const JUMP_IF_SET_32: u8 = 0x46;
const JUMP_UNLESS_EQUAL_32: u8 = 0x56;
const JUMP_UNLESS_EQUAL_64: u8 = 0x5d;
const EXIT: u8 = 0x95;

fn instruction(code: u8, target: u8, source: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction {
        code,
        registers: target | (source << 4),
        offset,
        immediate,
    }
}

fn answer(allow: bool) -> [Instruction; 2] {
    [
        instruction(MOVE_CONSTANT_32, ANSWER, 0, 0, i32::from(allow)),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

/// Loads what the node is.
fn load_node() -> [Instruction; 7] {
    [
        instruction(LOAD_32, KIND, CONTEXT, 0, 0),
        instruction(AND_32, KIND, 0, 0, 0xffff),
        instruction(LOAD_32, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD_32, MINOR, CONTEXT, 8, 0),
        instruction(MOVE_64, BOTH, MAJOR, 0, 0),
        instruction(SHIFT_LEFT_64, BOTH, 0, 0, 32),
        instruction(OR_64, BOTH, MINOR, 0, 0),
    ]
}

/// Instructions that jump to the end of the block, `rest` instructions after them, unless the rule names
/// the node.
fn conditions(rule: &Rule, rest: usize) -> Vec<Instruction> {
    let constant = |value: u32| value.cast_signed();
    let mut block = Vec::new();
    if let Some(kind) = rule.kind {
        block.push(instruction(JUMP_UNLESS_EQUAL_32, KIND, 0, 0, kind as i32));
    }
    match (rule.major, rule.minor) {
        (None, None) => {}
        (Some(major), None) => {
            block.push(instruction(
                JUMP_UNLESS_EQUAL_32,
                MAJOR,
                0,
                0,
                constant(major),
            ));
        }
        (None, Some(minor)) => {
            block.push(instruction(
                JUMP_UNLESS_EQUAL_32,
                MINOR,
                0,
                0,
                constant(minor),
            ));
        }
        (Some(major), Some(minor)) => {
            block.push(instruction(LOAD_CONSTANT_64, WANTED, 0, 0, constant(minor)));
            block.push(instruction(0, 0, 0, 0, constant(major)));
            block.push(instruction(JUMP_UNLESS_EQUAL_64, BOTH, WANTED, 0, 0));
        }
    }
    let length = block.len();
    for (index, step) in block.iter_mut().enumerate() {
        if matches!(step.code, JUMP_UNLESS_EQUAL_32 | JUMP_UNLESS_EQUAL_64) {
            step.offset = i16::try_from(length - index - 1 + rest).unwrap_or(i16::MAX);
        }
    }
    block
}

/// The instructions of one rule; it jumps over its own end to the next where it does not decide.
fn encode_rule(rule: &Rule) -> Vec<Instruction> {
    let access = i32::from(rule.access);
    let mut decision = Vec::new();
    if rule.access != ALL {
        // Over the loads and the jump behind them.
        let decided = 8;
        if rule.allow {
            decision.push(instruction(AND_32, ACCESS, 0, 0, !access));
            decision.push(instruction(JUMP_IF_EQUAL_32, ACCESS, 0, decided, 0));
        } else {
            decision.push(instruction(JUMP_IF_SET_32, ACCESS, 0, decided, access));
        }
        decision.extend(load_node());
        decision.push(instruction(JUMP, 0, 0, 2, 0));
    }
    decision.extend(answer(rule.allow));
    let mut block = conditions(rule, decision.len());
    block.extend(decision);
    block
}

/// The program for `rules`; what no rule decides is denied.
pub(super) fn encode(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD_32, ACCESS, CONTEXT, 0, 0),
        instruction(SHIFT_RIGHT_32, ACCESS, 0, 0, 16),
    ];
    program.extend(load_node());
    for rule in rules.iter().rev() {
        program.extend(encode_rule(rule));
        if rule.names_everything() {
            // Nothing before this rule counts, and the verifier refuses what is never reached.
            return program;
        }
    }
    program.extend(answer(false));
    program
}
