//! Compiles linux.seccomp to a classic BPF program.
//!
//! Decides what a profile means ([`rule`]), turns it into a program ([`compile()`]), and says how and when it is loaded
//! ([`Plan`]). Does not read profiles: that is crate `spec`. For people there is the disassembler ([`bpf`]), and
//! linting, comparing and testing of profiles ([`inspect`]). Source: the OCI runtime specification,
//! config-linux.md#seccomp.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests make their own files")
)]

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
    BAD_ARCHITECTURE, Error as CompileError, Filter, NEWER, answers_newer, architectures, compile,
    compile_for, return_value,
};
pub use plan::{Error, FAIL_UNKNOWN_ANNOTATION, Facts, HandOver, Moment, Plan, Request, asks};
