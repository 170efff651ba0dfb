//! Harness of the integration tests: the built runtime against real kernel objects.
//!
//! A test calls [`sandbox::host`], [`sandbox::pure_v2`] or [`sandbox::user`] with its body. The
//! body runs in a process of its own, in private namespaces, with an empty `/run`. It makes a
//! [`bundle::Bundle`], runs the runtime under test on it and checks the outcome. When the body
//! returns, [`leak`] looks for everything that the runtime left behind. Nothing here depends on how
//! a runtime works inside: the same tests run against any runtime with the common command line
//! (`LOCULE_RUNTIME=runc`).

pub mod bundle;
pub mod canary;
pub mod config;
pub mod counter;
pub mod criu;
pub mod faults;
pub mod group;
pub mod label;
pub mod landlock;
pub mod leak;
pub mod mount_table;
pub mod runtime;
pub mod sandbox;
pub mod scope;
pub mod subject;
pub mod tracer;

pub use bundle::Bundle;
pub use group::{Group, Limit};
pub use runtime::{Container, Outcome};
pub use sandbox::Sandbox;
