//! System calls of locule.
//!
//! All system calls that std and nix do not have are here. Besides `seal`, this is the only crate
//! with `unsafe` code. A wrapper has a safe signature, typed fds and flags, and no policy: no
//! retries (except for EINTR where the man page allows it), no fallbacks, no allocation. So init
//! may call every wrapper after the clone. The crate knows nothing about containers.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests make their own files")
)]

pub mod attribute; // extended attributes, random numbers
pub mod bpf; // BPF_PROG_LOAD and attach for device programs
pub mod clone; // clone3, pidfds, wait
pub mod errno; // Errno, Failed, decoders of return values
pub mod fs; // *at calls on names below a directory fd, reads and writes
pub mod heap; // a guard against allocating in init
pub mod ids; // users, groups, capabilities
pub mod keyring; // the session keyring
pub mod landlock; // rulesets by which a process restricts itself
pub mod link; // bring a network link up, sockets for netlink
pub mod lock; // flock
pub mod mount; // fsopen family, open_tree, move_mount, mount_setattr, pivot_root
pub mod path; // openat2
pub mod pipe; // pipes and other streams
pub mod process; // prctl, close_range, rlimits, sessions, signals
pub mod schedule; // policy, CPUs, I/O priority, memory policy
pub mod seccomp; // load a filter
pub mod signal; // signals as something to read
pub mod socket; // seqpacket sockets
pub mod terminal; // pseudo-terminals

pub use errno::{Call, Errno, Failed};
