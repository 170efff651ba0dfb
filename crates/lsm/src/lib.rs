//! AppArmor profile, SELinux labels and the session keyring of a process.
//!
//! Decides whether the host can give the names of `process.apparmorProfile`, `process.selinuxLabel` and
//! `linux.mountLabel` a meaning, and what a process writes about itself so that the kernel puts them on its next
//! program and on its keyring. The writes go through a procfs that the caller vouches for: one of the container's could
//! swallow them (CVE-2019-16884, CVE-2025-52881). Which mounts carry the label is decided by the room of the
//! mounts. Source: runtime-spec config.md#process, config-linux.md#mount-label.

#![forbid(unsafe_code)]
#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests make their own files")
)]

mod apparmor;
mod attribute;
mod facts;
mod plan;
mod selinux;

pub use facts::{Context, Facts, Selinux};
pub use plan::{Keyring, Plan, Request};
