//! The input model: bytes of a bundle in, validated types out.
//!
//! Decides what a `config.json` means and whether the runtime accepts it. It makes no system call
//! beyond reading files. [`container::Container`] has everything that the other crates need to
//! know. The problems are a list of [`diagnostic::Diagnostic`]. Source: the OCI runtime
//! specification, config.md and config-linux.md.

#![forbid(unsafe_code)]

mod capability;
pub mod container;
pub mod diagnostic;
pub mod features;
pub mod landlock;
pub mod load;
mod locate;
mod node;
mod numbers;
pub mod quote;
mod reader;
#[cfg(test)]
mod samples;
pub mod state;
mod suggestion;
pub mod template;
mod validate;
pub mod words;

pub use container::Container;
pub use diagnostic::{Code, Diagnostic, Report};
pub use features::features;
pub use load::{Host, LoadError, Loaded, load, parse};
pub use state::StateText;
pub use template::template;

/// The newest version of the specification that this crate knows.
pub const VERSION: &str = "1.3.0";
