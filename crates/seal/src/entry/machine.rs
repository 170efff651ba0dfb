//! The entry point and the system call of each processor, for the module above.
//!
//! The kernel starts the program, or the dynamic loader does. Both pass the arguments on the stack,
//! and a function for the exit in a register, which `_start` of the C library wants to have
//! unchanged.

use super::before_start;
use std::arch::{asm, global_asm};

// RDX has the function for the exit. The stack is aligned as for a call.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".globl locule_entry",
    ".type locule_entry, @function",
    "locule_entry:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "mov rbx, rdx",
    "call {before_start}",
    "mov rdx, rbx",
    "jmp _start",
    ".size locule_entry, . - locule_entry",
    before_start = sym before_start,
);

// X0 has the function for the exit. A frame pointer and a link of zero end the list of frames.
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".globl locule_entry",
    ".type locule_entry, %function",
    "locule_entry:",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x19, x0",
    "mov x0, sp",
    "bl {before_start}",
    "mov x0, x19",
    "mov x30, xzr",
    "b _start",
    ".size locule_entry, . - locule_entry",
    before_start = sym before_start,
);

// A0 has the function for the exit. The linker may address data by GP, so GP comes first.
#[cfg(target_arch = "riscv64")]
global_asm!(
    ".globl locule_entry",
    ".type locule_entry, @function",
    "locule_entry:",
    ".option push",
    ".option norelax",
    "lla gp, __global_pointer$",
    ".option pop",
    "mv s1, a0",
    "mv a0, sp",
    "call {before_start}",
    "mv a0, s1",
    "tail _start",
    ".size locule_entry, . - locule_entry",
    before_start = sym before_start,
);

/// One system call. A negative result is an error.
///
/// # Safety
/// As for the system call with this number.
pub(super) unsafe fn call(number: libc::c_long, arguments: [usize; 5]) -> libc::c_long {
    let answer;
    let [first, second, third, fourth, fifth] = arguments;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the kernel's convention: it changes RAX, RCX and R11, and memory as the call says.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the kernel's convention: it changes X0, and memory as the call says.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") first => answer,
            in("x1") second,
            in("x2") third,
            in("x3") fourth,
            in("x4") fifth,
            options(nostack),
        );
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: the kernel's convention: it changes A0, and memory as the call says.
    unsafe {
        asm!(
            "ecall",
            in("a7") number,
            inlateout("a0") first => answer,
            in("a1") second,
            in("a2") third,
            in("a3") fourth,
            in("a4") fifth,
            options(nostack),
        );
    }
    answer
}
