//! Landlock: what a container may no longer do to files, ports and other processes.
//!
//! Decides which of the rights that a configuration names this kernel knows ([`abi`]), what becomes of the others, and
//! what the rules mean for the files that are found ([`Plan`]). Does not read the annotation: that is crate `spec`. When
//! the restriction begins is the caller's matter. Described in docs/landlock.md; source: landlock(7).

#![forbid(unsafe_code)]

pub mod abi;
mod plan;

pub use abi::Abi;
pub use plan::{Error, Plan, Ruleset, describe_restriction};
