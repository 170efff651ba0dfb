//! Compiles linux.seccomp to a classic BPF program.
//!
//! Decides what a profile means ([`rule`]), turns it into a program ([`compile()`]), and decides
//! how and when the program is loaded ([`Plan`]). It does not read profiles; the crate `spec` does.
//! The disassembler ([`bpf`]) and the linter, diff and test of profiles ([`inspect`]) are for
//! people. Source: the OCI runtime specification, config-linux.md#seccomp.

#![forbid(unsafe_code)]

pub mod bpf;
mod compile;
mod emit;
pub mod inspect;
pub mod notify;
mod order;
mod plan;
pub mod rule;
pub mod syscalls;
mod width; // arguments of which the kernel reads 32 bits

pub use compile::{
    Error as CompileError, Filter, answers_newer, architectures, compile, compile_for, return_value,
};
pub use plan::{FAIL_UNKNOWN_ANNOTATION, Facts, HandOver, Moment, Plan, Request, asks};
