//! Plans that are really carried out, each in a process with namespaces of its own.
//!
//! This program has no test harness, since the harness' threads would forbid a clone: it is a list
//! of facts, each of which is a function that runs in a fresh mount, PID, IPC, UTS and network
//! namespace with a scratch tmpfs, and says what is wrong by panicking. Needs root and says so
//! where it has not.

#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod attack;
mod facts;
mod golden;
mod stage;
mod ways;

use kernel::clone::{
    self, Block, CloneOptions, Exit, NamespaceFlags, Side, SingleThread, Target, clone,
};
use std::os::fd::AsFd;
use std::panic::catch_unwind;

/// One fact: its name and the function that looks.
pub(crate) type Fact = (&'static str, fn());

fn run_one(proof: &SingleThread, fact: fn()) -> bool {
    let options = CloneOptions {
        namespaces: NamespaceFlags::MOUNT
            | NamespaceFlags::PID
            | NamespaceFlags::IPC
            | NamespaceFlags::UTS
            | NamespaceFlags::CGROUP
            | NamespaceFlags::NETWORK,
        cgroup: None,
        sibling: false,
    };
    match clone(proof, options).unwrap() {
        Side::Child(_) => {
            let good = catch_unwind(fact).is_ok();
            kernel::process::exit_now(u8::from(!good))
        }
        Side::Parent(child) => {
            let exit = clone::wait(Target::Pidfd(child.pidfd.as_fd()), Block::Yes).unwrap();
            matches!(exit, Some((_, Exit::Code(0))))
        }
    }
}

fn main() {
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    if kernel::ids::getresuid().unwrap()[1] != 0 {
        println!("skipped: mounts need root");
        return;
    }
    let proof = SingleThread::prove().expect("this program starts no thread");
    let mut failed = 0;
    let lists = [facts::FACTS, attack::FACTS, ways::FACTS, golden::FACTS];
    for (name, fact) in lists.into_iter().flatten() {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        let good = run_one(&proof, *fact);
        println!("{name} ... {}", if good { "ok" } else { "FAILED" });
        failed += u32::from(!good);
    }
    assert_eq!(failed, 0, "facts that do not hold");
}
