//! AppArmor profile, SELinux labels and the session keyring of a process.
//!
//! Decides whether the host supports the names of `process.apparmorProfile`, `process.selinuxLabel`
//! and `linux.mountLabel`, and what a process writes so that the kernel labels its next program and
//! its keyring. The writes go through a procfs that the caller has verified: a procfs of the
//! container could ignore them (CVE-2019-16884, CVE-2025-52881). The crate that makes the mounts
//! decides which mounts get the label. Source: runtime-spec config.md#process,
//! config-linux.md#mount-label.

#![forbid(unsafe_code)]

mod apparmor;
mod attribute;
mod facts;
mod plan;
mod selinux;

pub use facts::{Context, Facts, Selinux};
pub use plan::{Keyring, Plan, Request};
