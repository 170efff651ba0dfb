//! The assembler: a program is written from its end to its start.
//!
//! Jumps of classic BPF only go forward. So when the code is written backwards every target is
//! already known, and equal tails are shared by using the same target twice. A conditional jump
//! reaches 255 instructions. If the target is further away, a `ja` (or a copy of the target, if
//! that is a return) follows the jump.

use crate::bpf::{Instruction, op};

/// The place of an instruction: the number of instructions written before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Label(usize);

/// The instructions so far, last first.
#[derive(Debug, Default)]
pub(crate) struct Emitter {
    reversed: Vec<Instruction>,
    returns: Vec<(u32, Label)>,
}

impl Emitter {
    pub(crate) fn with_capacity(instructions: usize) -> Self {
        Self {
            reversed: Vec::with_capacity(instructions),
            returns: Vec::new(),
        }
    }

    fn push(&mut self, code: u16, jt: u8, jf: u8, k: u32) -> Label {
        self.reversed.push(Instruction { code, jt, jf, k });
        Label(self.reversed.len() - 1)
    }

    /// The number of instructions between the next one and `target`.
    fn distance(&self, target: Label) -> usize {
        self.reversed.len() - target.0 - 1
    }

    fn is_next(&self, target: Label) -> bool {
        self.distance(target) == 0
    }

    /// An unconditional jump to `target` from the instruction that is written next.
    fn bridge(&mut self, target: Label) -> Label {
        match self.reversed[target.0] {
            Instruction {
                code: op::RETURN,
                k,
                ..
            } => self.push(op::RETURN, 0, 0, k),
            _ => {
                let skip = u32::try_from(self.distance(target)).unwrap_or(u32::MAX);
                self.push(op::JUMP, 0, 0, skip)
            }
        }
    }

    /// Returns `value`; all returns of the same value share one instruction.
    pub(crate) fn answer(&mut self, value: u32) -> Label {
        if let Some((_, label)) = self.returns.iter().find(|(other, _)| *other == value) {
            return *label;
        }
        let label = self.push(op::RETURN, 0, 0, value);
        self.returns.push((value, label));
        label
    }

    /// Jumps to `yes` if the test of the accumulator against `k` is true, else to `no`.
    pub(crate) fn branch(&mut self, code: u16, k: u32, mut yes: Label, mut no: Label) -> Label {
        if yes == no {
            return yes;
        }
        loop {
            match (
                u8::try_from(self.distance(yes)),
                u8::try_from(self.distance(no)),
            ) {
                (Ok(jt), Ok(jf)) => return self.push(code, jt, jf, k),
                (_, Err(_far)) => no = self.bridge(no),
                (Err(_far), _) => yes = self.bridge(yes),
            }
        }
    }

    /// Continues at `next` with the word at `offset` of `seccomp_data` in the accumulator.
    pub(crate) fn load(&mut self, offset: u32, next: Label) -> Label {
        self.before(next, op::LOAD, offset)
    }

    /// Continues at `next` with the accumulator masked.
    pub(crate) fn mask(&mut self, mask: u32, next: Label) -> Label {
        self.before(next, op::AND, mask)
    }

    fn before(&mut self, next: Label, code: u16, k: u32) -> Label {
        if !self.is_next(next) {
            self.bridge(next);
        }
        self.push(code, 0, 0, k)
    }

    /// The program, first instruction first. It starts at the label that was written last.
    pub(crate) fn finish(mut self) -> Vec<Instruction> {
        self.reversed.reverse();
        self.reversed
    }
}
