//! The instructions of classic BPF that a filter is made of, and their disassembler.
//!
//! See linux/filter.h and Documentation/userspace-api/seccomp_filter.rst.

use crate::syscalls::{Arch, Endian};
use std::fmt;

pub use kernel::seccomp::Instruction;

/// The longest program that the kernel accepts (BPF_MAXINSNS).
pub const LENGTH_MAX: usize = 4096;

/// The operations of filters; the comment is the assembler's word.
pub mod op {
    /// `ld [k]`: the word at offset k of `seccomp_data`.
    pub const LOAD: u16 = 0x20;
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
    /// `ret #k`.
    pub const RETURN: u16 = 0x06;
    /// `ret a`.
    pub const RETURN_A: u16 = 0x16;
}

/// The bit of a comparison whose operand is X.
const OPERAND_X: u16 = 0x08;
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
}

/// What a program of this crate's compiler answers to a call: SECCOMP_RET_*. `None`: it has an
/// operation that the compiler does not use.
pub(crate) fn answer(
    program: &[Instruction],
    arch: Arch,
    number: u32,
    args: &[u64; 6],
) -> Option<u32> {
    let halves = |value: u64| {
        let low = u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0);
        let high = u32::try_from(value >> 32).unwrap_or(0);
        match arch.endian() {
            Endian::Little => [low, high],
            Endian::Big => [high, low],
        }
    };
    let mut words = vec![number, arch.audit(), 0, 0];
    words.extend(args.iter().copied().flat_map(halves));
    let mut word = 0;
    let mut rest = program;
    loop {
        let (&Instruction { code, jt, jf, k }, after) = rest.split_first()?;
        let jump = |holds| usize::from(if holds { jt } else { jf });
        let mut skipped = 0;
        match code {
            op::LOAD => word = *words.get(usize::try_from(k / 4).ok()?)?,
            op::AND => word &= k,
            op::JUMP => skipped = usize::try_from(k).ok()?,
            op::EQUAL => skipped = jump(word == k),
            op::GREATER => skipped = jump(word > k),
            op::GREATER_EQUAL => skipped = jump(word >= k),
            op::RETURN => return Some(k),
            _ => return None,
        }
        rest = after.get(skipped..)?;
    }
}

/// The words for a SECCOMP_RET_* value. See linux/seccomp.h.
pub(crate) fn describe_return(value: u32) -> String {
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
