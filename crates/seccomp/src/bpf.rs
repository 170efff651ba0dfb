//! Classic BPF as seccomp runs it: the checker, the interpreter and the disassembler.
//!
//! The checker refuses every program that the kernel would refuse (`bpf_check_classic` and
//! `seccomp_check_filter`), so the kernel loads a program that passes. The interpreter is the
//! oracle of the compiler's tests and answers `locule seccomp test`. See linux/filter.h and
//! Documentation/userspace-api/seccomp_filter.rst.

use std::fmt;

pub use kernel::seccomp::Instruction;

/// The longest program that the kernel accepts (BPF_MAXINSNS).
pub const LENGTH_MAX: usize = 4096;

/// The operations that seccomp permits; the comment is the assembler's word.
pub mod op {
    /// `ld [k]`: the word at offset k of `seccomp_data`.
    pub const LOAD: u16 = 0x20;
    /// `ld #len`: the size of `seccomp_data`.
    pub const LOAD_LENGTH: u16 = 0x80;
    /// `ldx #len`.
    pub const LOAD_X_LENGTH: u16 = 0x81;
    /// `ld #k`.
    pub const LOAD_CONSTANT: u16 = 0x00;
    /// `ldx #k`.
    pub const LOAD_X_CONSTANT: u16 = 0x01;
    /// `ld M[k]`.
    pub const LOAD_MEMORY: u16 = 0x60;
    /// `ldx M[k]`.
    pub const LOAD_X_MEMORY: u16 = 0x61;
    /// `st M[k]`.
    pub const STORE: u16 = 0x02;
    /// `stx M[k]`.
    pub const STORE_X: u16 = 0x03;
    /// `and #k`.
    pub const AND: u16 = 0x54;
    /// `ja`.
    pub const JUMP: u16 = 0x05;
    /// `jeq #k`.
    pub const EQUAL: u16 = 0x15;
    /// `jgt #k`.
    pub const GREATER: u16 = 0x25;
    /// `jge #k`.
    pub const GREATER_EQUAL: u16 = 0x35;
    /// `jset #k`.
    pub const BITS_SET: u16 = 0x45;
    /// `ret #k`.
    pub const RETURN: u16 = 0x06;
    /// `ret a`.
    pub const RETURN_A: u16 = 0x16;
    /// `tax`.
    pub const TO_X: u16 = 0x07;
    /// `txa`.
    pub const FROM_X: u16 = 0x87;
}

/// Arithmetic is 0x04 (ALU) | operation | 0x08 if the operand is X.
const ALU: u16 = 0x04;
const OPERAND_X: u16 = 0x08;
const DIVIDE: u16 = 0x34;
const CLASS: u16 = 0x07;
const JUMPS: u16 = 0x05;

/// Offsets in `seccomp_data`. See linux/seccomp.h.
pub mod data {
    /// The call's number.
    pub const NUMBER: u32 = 0;
    /// AUDIT_ARCH_*.
    pub const ARCH: u32 = 4;
    /// The first of six 64-bit arguments.
    pub const ARGS: u32 = 16;
    /// The size of the structure.
    pub const SIZE: u32 = 64;
}

/// The data of a system call that a filter sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Data {
    /// `nr`.
    pub number: u32,
    /// `arch`: AUDIT_ARCH_*.
    pub arch: u32,
    /// `instruction_pointer`.
    pub instruction_pointer: u64,
    /// `args`.
    pub args: [u64; 6],
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

use crate::syscalls::Endian;

/// Why the kernel would refuse a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is empty or too long.
    #[error("a program has 1 to 4096 instructions, not {0}")]
    Length(usize),
    /// An operation that seccomp does not have.
    #[error("instruction {at}: operation {code:#06x} is unknown to seccomp")]
    Operation {
        /// Its index.
        at: usize,
        /// The code.
        code: u16,
    },
    /// A load outside `seccomp_data`, unaligned, or of the scratch memory before a store.
    #[error("instruction {at}: it cannot load from offset {offset}")]
    Offset {
        /// Its index.
        at: usize,
        /// The operand.
        offset: u32,
    },
    /// A jump past the end.
    #[error("instruction {at} jumps past the end")]
    Jump {
        /// Its index.
        at: usize,
    },
    /// A division by zero, or a shift by 32 or more.
    #[error("instruction {at}: operand {operand} is out of range")]
    Operand {
        /// Its index.
        at: usize,
        /// The operand.
        operand: u32,
    },
    /// The last instruction is not a return.
    #[error("the last instruction is not a return")]
    End,
}

/// Checks whether the kernel would accept `program`.
pub fn check(program: &[Instruction]) -> Result<(), Refusal> {
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
        op::LOAD if k % 4 != 0 || k >= data::SIZE => Err(Refusal::Offset { at, offset: k }),
        op::LOAD_MEMORY | op::LOAD_X_MEMORY | op::STORE | op::STORE_X if k >= 16 => {
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
        | op::LOAD_LENGTH
        | op::LOAD_X_LENGTH
        | op::LOAD_CONSTANT
        | op::LOAD_X_CONSTANT
        | op::LOAD_MEMORY
        | op::LOAD_X_MEMORY
        | op::STORE
        | op::STORE_X
        | op::RETURN
        | op::RETURN_A
        | op::TO_X
        | op::FROM_X => Ok(()),
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
            op::STORE | op::STORE_X => stored |= 1 << k,
            op::LOAD_MEMORY | op::LOAD_X_MEMORY if stored & 1 << k == 0 => {
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
pub fn run(program: &[Instruction], data: &Data, endian: Endian) -> Option<u32> {
    let (mut a, mut x, mut memory) = (0_u32, 0_u32, [0_u32; 16]);
    let mut at = 0;
    // Jumps only go forward, so this ends.
    while let Some(Instruction { code, jt, jf, k }) = program.get(at).copied() {
        at += 1;
        match code {
            op::LOAD => a = data.word(k, endian),
            op::LOAD_LENGTH => a = data::SIZE,
            op::LOAD_X_LENGTH => x = data::SIZE,
            op::LOAD_CONSTANT => a = k,
            op::LOAD_X_CONSTANT => x = k,
            op::LOAD_MEMORY => a = *memory.get(k as usize)?,
            op::LOAD_X_MEMORY => x = *memory.get(k as usize)?,
            op::STORE => *memory.get_mut(k as usize)? = a,
            op::STORE_X => *memory.get_mut(k as usize)? = x,
            op::TO_X => x = a,
            op::FROM_X => a = x,
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
                        op::BITS_SET => a & operand != 0,
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

/// The words for a SECCOMP_RET_* value. See linux/seccomp.h.
pub fn describe_return(value: u32) -> String {
    let data = value & 0xffff;
    match value & 0xffff_0000 {
        0x8000_0000 => "KILL_PROCESS".into(),
        0 => "KILL_THREAD".into(),
        0x0003_0000 => format!("TRAP({data})"),
        0x0005_0000 => format!("ERRNO({data})"),
        0x7fc0_0000 => "USER_NOTIF".into(),
        0x7ff0_0000 => format!("TRACE({data})"),
        0x7ffc_0000 => "LOG".into(),
        0x7fff_0000 => "ALLOW".into(),
        _ => format!("{value:#010x}"),
    }
}

/// A program in the words of the kernel's bpf_asm, one instruction per line, with a label at every
/// target of a jump.
#[derive(Debug, Clone, Copy)]
pub struct Disassembly<'a>(pub &'a [Instruction]);

impl fmt::Display for Disassembly<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut targets = vec![false; self.0.len() + 1];
        for (at, instruction) in self.0.iter().enumerate() {
            for skip in skips(*instruction) {
                if let Some(target) = targets.get_mut(at + 1 + skip) {
                    *target = true;
                }
            }
        }
        for (at, instruction) in self.0.iter().enumerate() {
            if targets[at] {
                writeln!(f, "L{at}:")?;
            }
            writeln!(
                f,
                "    {}",
                Words {
                    at,
                    instruction: *instruction
                }
            )?;
        }
        Ok(())
    }
}

/// The numbers of instructions that a jump can skip; none for an instruction that always falls
/// through.
fn skips(instruction: Instruction) -> impl Iterator<Item = usize> {
    let Instruction { code, jt, jf, k } = instruction;
    let pair = match code {
        op::JUMP => [Some(k as usize), None],
        _ if code & CLASS == JUMPS => [Some(jt.into()), Some(jf.into())],
        _ => [None, None],
    };
    pair.into_iter().flatten()
}

struct Words {
    at: usize,
    instruction: Instruction,
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Instruction { code, jt, jf, k } = self.instruction;
        let next = self.at + 1;
        match code {
            op::LOAD => match k {
                data::NUMBER => f.write_str("ld [0]            ; number"),
                data::ARCH => f.write_str("ld [4]            ; arch"),
                8 | 12 => write!(f, "ld [{k}]           ; instruction pointer"),
                _ => {
                    let word = if k % 8 == 0 { "first" } else { "second" };
                    let argument = k.wrapping_sub(data::ARGS) / 8;
                    write!(f, "ld [{k}]           ; {word} word of argument {argument}")
                }
            },
            op::AND => write!(f, "and #{k:#x}"),
            op::RETURN => write!(f, "ret #{k:#010x}   ; {}", describe_return(k)),
            op::RETURN_A => f.write_str("ret a"),
            op::JUMP => write!(f, "ja L{}", next + k as usize),
            _ if code & CLASS == JUMPS => {
                let name = match code & !OPERAND_X {
                    op::EQUAL => "jeq",
                    op::GREATER => "jgt",
                    op::GREATER_EQUAL => "jge",
                    _ => "jset",
                };
                let (yes, no) = (next + usize::from(jt), next + usize::from(jf));
                if code & OPERAND_X == 0 {
                    write!(f, "{name} #{k:#x}, L{yes}, L{no}")
                } else {
                    write!(f, "{name} x, L{yes}, L{no}")
                }
            }
            _ => write!(f, "op {code:#06x} #{k:#x}"),
        }
    }
}
