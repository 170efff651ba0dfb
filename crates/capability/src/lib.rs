//! Capability sets: computed from the configuration, never inherited.
//!
//! Decides the five sets of the container's first process and the order in which they are applied.
//! An absent `process.capabilities` means five empty sets (CVE-2022-29162 and six similar ones came
//! from sets that were filled in). This crate does not decide user ids. See capabilities(7).

#![forbid(unsafe_code)]

pub mod plan;

pub use plan::{Plan, Refused};
