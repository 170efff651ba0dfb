//! Device rules as an eBPF program.
//!
//! The program keeps the bits of access that no rule has decided yet and looks at the rules from the last
//! to the first: a rule that allows takes its bits away, and with the last one the answer is yes; a
//! rule that denies one of them makes the answer no. Sources: BPF_PROG_TYPE_CGROUP_DEVICE in
//! Documentation/admin-guide/cgroup-v2.rst, `struct bpf_cgroup_dev_ctx`.
//!
//! The kernel's verifier follows every path with what it knows there, and gives up after a million steps. So
//! that its work grows with the number of rules and not with the square, what was learned about the
//! node on a path that goes on is forgotten there: the numbers are loaded again.

use kernel::bpf::Instruction;

use super::run::{Group, Run};
use super::{ALL, Rule};

/// Registers.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const KIND: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;
const DISTANCE: u8 = 6;
const WINDOW: u8 = 7;

/// Operation codes, all on 32 bits.
const LOAD: u8 = 0x61;
const MOVE: u8 = 0xbc;
const MOVE_CONSTANT: u8 = 0xb4;
const AND: u8 = 0x54;
const SUBTRACT: u8 = 0x14;
const SHIFT_RIGHT: u8 = 0x74;
const SHIFT_RIGHT_BY: u8 = 0x7c;
const JUMP: u8 = 0x05;
const JUMP_IF_ABOVE: u8 = 0x26;
const JUMP_IF_SET: u8 = 0x46;
const JUMP_UNLESS_EQUAL: u8 = 0x56;
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
        instruction(MOVE_CONSTANT, ANSWER, 0, 0, i32::from(allow)),
        instruction(EXIT, 0, 0, 0, 0),
    ]
}

/// Loads what the node is.
fn load_node() -> [Instruction; 4] {
    [
        instruction(LOAD, KIND, CONTEXT, 0, 0),
        instruction(AND, KIND, 0, 0, 0xffff),
        instruction(LOAD, MAJOR, CONTEXT, 4, 0),
        instruction(LOAD, MINOR, CONTEXT, 8, 0),
    ]
}

/// Where a jump leads, until the length of its group is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    /// Another node: on to the next group.
    Over,
    /// This node, perhaps: forget what is known, on to the next group.
    Forget,
    /// A node of this group.
    Hit,
}

/// The instructions of one group with jumps that have no distance yet.
#[derive(Debug, Default)]
struct Block {
    steps: Vec<(Instruction, Option<Label>)>,
}

impl Block {
    fn push(&mut self, step: Instruction) {
        self.steps.push((step, None));
    }

    fn jump(&mut self, step: Instruction, to: Label) {
        self.steps.push((step, Some(to)));
    }

    /// Jumps away unless the node is of this group, or falls through.
    fn select(&mut self, group: &Group) {
        let unless = |register, value: u32| {
            instruction(JUMP_UNLESS_EQUAL, register, 0, 0, value.cast_signed())
        };
        if let Some(kind) = group.kind {
            self.jump(unless(KIND, kind as u32), Label::Over);
        }
        if let Some(major) = group.major {
            self.jump(unless(MAJOR, major), Label::Over);
        }
        let windows = group.windows();
        if let [(minor, 1)] = windows[..] {
            return self.jump(unless(MINOR, minor), Label::Forget);
        }
        for (first, bits) in &windows {
            self.push(instruction(MOVE, DISTANCE, MINOR, 0, 0));
            self.push(instruction(SUBTRACT, DISTANCE, 0, 0, first.cast_signed()));
            // Over the three that follow, to the next window.
            self.push(instruction(JUMP_IF_ABOVE, DISTANCE, 0, 3, 31));
            self.push(instruction(MOVE_CONSTANT, WINDOW, 0, 0, bits.cast_signed()));
            self.push(instruction(SHIFT_RIGHT_BY, WINDOW, DISTANCE, 0, 0));
            self.jump(instruction(JUMP_IF_SET, WINDOW, 0, 0, 1), Label::Hit);
        }
        if !windows.is_empty() {
            self.jump(instruction(JUMP, 0, 0, 0, 0), Label::Forget);
        }
    }

    /// The whole group: selection, what it decides, and the way on.
    fn assemble(group: &Group, allow: bool) -> Vec<Instruction> {
        let mut block = Self::default();
        block.select(group);
        let hit = block.steps.len();
        let access = i32::from(group.access);
        if group.access != ALL {
            // Over the answer, if something is left to decide.
            if allow {
                block.push(instruction(AND, ACCESS, 0, 0, !access));
                block.jump(
                    instruction(JUMP_UNLESS_EQUAL, ACCESS, 0, 0, 0),
                    Label::Forget,
                );
            } else {
                block.push(instruction(JUMP_IF_SET, ACCESS, 0, 1, access));
                block.jump(instruction(JUMP, 0, 0, 0, 0), Label::Forget);
            }
        }
        for step in answer(allow) {
            block.push(step);
        }
        let forget = block.steps.len();
        let forgets = block
            .steps
            .iter()
            .any(|(_step, to)| *to == Some(Label::Forget));
        if forgets && !group.names_every_node() {
            for step in load_node() {
                block.push(step);
            }
        }
        let over = block.steps.len();
        let place = |(at, (mut step, to)): (usize, (Instruction, Option<Label>))| {
            if let Some(to) = to {
                let target = match to {
                    Label::Over => over,
                    Label::Forget => forget,
                    Label::Hit => hit,
                };
                step.offset = i16::try_from(target - at - 1).unwrap_or(i16::MAX);
            }
            step
        };
        block.steps.into_iter().enumerate().map(place).collect()
    }
}

/// The most windows of minors in one block: its jumps have 16 bits.
const WINDOWS: usize = 4096;

/// `group`, in parts whose jumps are short enough.
fn parts(group: &Group) -> Vec<Group> {
    let minors: Vec<u32> = group.minors.iter().copied().collect();
    if minors.len() <= WINDOWS {
        return vec![group.clone()];
    }
    let part = |minors: &[u32]| Group {
        minors: minors.iter().copied().collect(),
        ..group.clone()
    };
    minors.chunks(WINDOWS).map(part).collect()
}

/// The program for `rules`; what no rule decides is denied.
pub(super) fn encode(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        instruction(LOAD, ACCESS, CONTEXT, 0, 0),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
    ];
    program.extend(load_node());
    for Run { allow, groups } in super::run::runs(rules).into_iter().rev() {
        for group in groups.iter().flat_map(parts) {
            program.extend(Block::assemble(&group, allow));
            if group.names_everything() {
                // Nothing before this counts, and the verifier refuses what is never reached.
                return program;
            }
        }
    }
    program.extend(answer(false));
    program
}
