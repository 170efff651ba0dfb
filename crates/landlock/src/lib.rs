//! Landlock: restricts a container's access to files, ports and other processes.
//!
//! Decides which rights of a configuration this kernel knows ([`abi`]), what happens with the
//! others, and what the rules mean for the files that are found ([`Plan`]). It does not read the
//! annotation; the crate `spec` does. The caller decides when the restriction begins. Described in
//! docs/landlock.md; source: landlock(7).

#![forbid(unsafe_code)]

pub mod abi;
mod plan;

pub use abi::Abi;
pub use plan::{Plan, Ruleset, describe_restriction};
