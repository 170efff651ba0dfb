//! Classic BPF as seccomp runs it: the oracle of the compiler's tests.
//!
//! The checker refuses every program that the kernel would refuse (`bpf_check_classic` and
//! `seccomp_check_filter`). The interpreter says what a program answers. See linux/filter.h and
//! Documentation/userspace-api/seccomp_filter.rst.

use seccomp::bpf::{Instruction, LENGTH_MAX, data, op};
use seccomp::syscalls::Endian;

/// `ld #len`: the size of `seccomp_data`.
pub(crate) const LOAD_LENGTH: u16 = 0x80;
/// `ldx #len`.
pub(crate) const LOAD_X_LENGTH: u16 = 0x81;
/// `ld #k`.
pub(crate) const LOAD_CONSTANT: u16 = 0x00;
/// `ldx #k`.
pub(crate) const LOAD_X_CONSTANT: u16 = 0x01;
/// `ld M[k]`.
pub(crate) const LOAD_MEMORY: u16 = 0x60;
/// `ldx M[k]`.
pub(crate) const LOAD_X_MEMORY: u16 = 0x61;
/// `st M[k]`.
pub(crate) const STORE: u16 = 0x02;
/// `stx M[k]`.
pub(crate) const STORE_X: u16 = 0x03;
/// `jset #k`.
pub(crate) const BITS_SET: u16 = 0x45;
/// `tax`.
pub(crate) const TO_X: u16 = 0x07;
/// `txa`.
pub(crate) const FROM_X: u16 = 0x87;
/// The size of `seccomp_data`.
const SIZE: u32 = 64;

/// Arithmetic is 0x04 (ALU) | operation | 0x08 if the operand is X.
const ALU: u16 = 0x04;
const OPERAND_X: u16 = 0x08;
const DIVIDE: u16 = 0x34;
const CLASS: u16 = 0x07;
const JUMPS: u16 = 0x05;

/// The data of a system call that a filter sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Data {
    /// `nr`.
    pub(crate) number: u32,
    /// `arch`: AUDIT_ARCH_*.
    pub(crate) arch: u32,
    /// `instruction_pointer`.
    pub(crate) instruction_pointer: u64,
    /// `args`.
    pub(crate) args: [u64; 6],
}

impl Data {
    /// The word at a multiple of four below 64, as laid out on a machine of this byte order.
    fn word(&self, offset: u32, endian: Endian) -> u32 {
        let wide = |value: u64, second: bool| {
            let high = second == (endian == Endian::Little);
            let word = if high {
                value >> 32
            } else {
                value & u64::from(u32::MAX)
            };
            u32::try_from(word).unwrap_or(0)
        };
        match offset {
            data::NUMBER => self.number,
            data::ARCH => self.arch,
            8 | 12 => wide(self.instruction_pointer, offset == 12),
            _ => {
                let index = usize::try_from((offset - data::ARGS) / 8).unwrap_or(0);
                let value = self.args.get(index).copied().unwrap_or(0);
                wide(value, offset % 8 == 4)
            }
        }
    }
}

/// Why the kernel would refuse a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It is empty or too long.
    Length(usize),
    /// An operation that seccomp does not have.
    Operation {
        /// Its index.
        at: usize,
        /// The code.
        code: u16,
    },
    /// A load outside `seccomp_data`, unaligned, or of the scratch memory before a store.
    Offset {
        /// Its index.
        at: usize,
        /// The operand.
        offset: u32,
    },
    /// A jump past the end.
    Jump {
        /// Its index.
        at: usize,
    },
    /// A division by zero, or a shift by 32 or more.
    Operand {
        /// Its index.
        at: usize,
        /// The operand.
        operand: u32,
    },
    /// The last instruction is not a return.
    End,
}

/// Checks whether the kernel would accept `program`.
pub(crate) fn check(program: &[Instruction]) -> Result<(), Refusal> {
    if program.is_empty() || program.len() > LENGTH_MAX {
        return Err(Refusal::Length(program.len()));
    }
    for (at, instruction) in program.iter().enumerate() {
        check_one(program.len(), at, *instruction)?;
    }
    match program.last().map(|last| last.code) {
        Some(op::RETURN | op::RETURN_A) => check_memory(program),
        _ => Err(Refusal::End),
    }
}

fn check_one(length: usize, at: usize, instruction: Instruction) -> Result<(), Refusal> {
    let Instruction { code, jt, jf, k } = instruction;
    let operand = Refusal::Operand { at, operand: k };
    match code {
        op::LOAD if k % 4 != 0 || k >= SIZE => Err(Refusal::Offset { at, offset: k }),
        LOAD_MEMORY | LOAD_X_MEMORY | STORE | STORE_X if k >= 16 => {
            Err(Refusal::Offset { at, offset: k })
        }
        op::JUMP => match usize::try_from(k) {
            Ok(skip) if skip < length - at - 1 => Ok(()),
            _ => Err(Refusal::Jump { at }),
        },
        _ if code & CLASS == JUMPS => {
            let known = matches!(code & !OPERAND_X, 0x15 | 0x25 | 0x35 | 0x45);
            let furthest = at + 1 + usize::from(jt.max(jf));
            match (known, furthest < length) {
                (false, _) => Err(Refusal::Operation { at, code }),
                (true, false) => Err(Refusal::Jump { at }),
                (true, true) => Ok(()),
            }
        }
        // Division by a constant zero; shifts by a constant.
        DIVIDE if k == 0 => Err(operand),
        0x64 | 0x74 if k >= 32 => Err(operand),
        op::LOAD
        | LOAD_LENGTH
        | LOAD_X_LENGTH
        | LOAD_CONSTANT
        | LOAD_X_CONSTANT
        | LOAD_MEMORY
        | LOAD_X_MEMORY
        | STORE
        | STORE_X
        | op::RETURN
        | op::RETURN_A
        | TO_X
        | FROM_X => Ok(()),
        // add sub mul div or and lsh rsh xor, by a constant or X; neg.
        0x04 | 0x0c | 0x14 | 0x1c | 0x24 | 0x2c | 0x34 | 0x3c | 0x44 | 0x4c | 0x54 | 0x5c
        | 0x64 | 0x6c | 0x74 | 0x7c | 0xa4 | 0xac | 0x84 => Ok(()),
        _ => Err(Refusal::Operation { at, code }),
    }
}

/// Every load of the scratch memory comes after a store on every path: `check_load_and_stores`.
fn check_memory(program: &[Instruction]) -> Result<(), Refusal> {
    let mut known = vec![u16::MAX; program.len()];
    let mut stored = 0_u16;
    for (at, instruction) in program.iter().enumerate() {
        let Instruction { code, jt, jf, k } = *instruction;
        stored &= known[at];
        match code {
            STORE | STORE_X => stored |= 1 << k,
            LOAD_MEMORY | LOAD_X_MEMORY if stored & 1 << k == 0 => {
                return Err(Refusal::Offset { at, offset: k });
            }
            op::JUMP => {
                known[at + 1 + k as usize] &= stored;
                stored = u16::MAX;
            }
            _ if code & CLASS == JUMPS => {
                known[at + 1 + usize::from(jt)] &= stored;
                known[at + 1 + usize::from(jf)] &= stored;
                stored = u16::MAX;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What `program` returns for `data` on a machine of this byte order. A division by a zero X ends
/// it with 0. `None`: [`check`] would refuse it.
pub(crate) fn run(program: &[Instruction], data: &Data, endian: Endian) -> Option<u32> {
    let (mut a, mut x, mut memory) = (0_u32, 0_u32, [0_u32; 16]);
    let mut at = 0;
    // Jumps only go forward, so this ends.
    while let Some(Instruction { code, jt, jf, k }) = program.get(at).copied() {
        at += 1;
        match code {
            op::LOAD => a = data.word(k, endian),
            LOAD_LENGTH => a = SIZE,
            LOAD_X_LENGTH => x = SIZE,
            LOAD_CONSTANT => a = k,
            LOAD_X_CONSTANT => x = k,
            LOAD_MEMORY => a = *memory.get(k as usize)?,
            LOAD_X_MEMORY => x = *memory.get(k as usize)?,
            STORE => *memory.get_mut(k as usize)? = a,
            STORE_X => *memory.get_mut(k as usize)? = x,
            TO_X => x = a,
            FROM_X => a = x,
            op::RETURN => return Some(k),
            op::RETURN_A => return Some(a),
            op::JUMP => at += k as usize,
            _ => {
                let operand = if code & OPERAND_X == 0 { k } else { x };
                if code & CLASS == JUMPS {
                    let holds = match code & !OPERAND_X {
                        op::EQUAL => a == operand,
                        op::GREATER => a > operand,
                        op::GREATER_EQUAL => a >= operand,
                        BITS_SET => a & operand != 0,
                        _ => return None,
                    };
                    at += usize::from(if holds { jt } else { jf });
                } else if code & !OPERAND_X == DIVIDE && operand == 0 {
                    return Some(0);
                } else {
                    a = calculate(code, a, operand)?;
                }
            }
        }
    }
    None
}

fn calculate(code: u16, a: u32, operand: u32) -> Option<u32> {
    if code & CLASS != ALU {
        return None;
    }
    Some(match code & !OPERAND_X {
        0x04 => a.wrapping_add(operand),
        0x14 => a.wrapping_sub(operand),
        0x24 => a.wrapping_mul(operand),
        DIVIDE => a / operand,
        0x44 => a | operand,
        0x54 => a & operand,
        0x64 => a.wrapping_shl(operand),
        0x74 => a.wrapping_shr(operand),
        0x84 => a.wrapping_neg(),
        0xa4 => a ^ operand,
        _ => return None,
    })
}
