//! A check of the rule that init does not allocate.
//!
//! Between the clone and the exec every page that init writes is charged to the container, and a
//! lock that the allocator might hold would never be released. Debug builds use [`Guarded`] as the
//! allocator: an allocation after [`forbid`] ends the process with a message. So every test that
//! runs a container proves the rule. Freeing is permitted.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

static FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// From now on this process may not allocate.
pub fn forbid() {
    FORBIDDEN.store(true, Ordering::Relaxed);
}

/// The system's allocator, until [`forbid`].
#[derive(Debug)]
pub struct Guarded;

impl Guarded {
    fn check() {
        // Permit it again first: the message itself allocates.
        if FORBIDDEN.swap(false, Ordering::Relaxed) {
            eprintln!("locule: an allocation in init");
            crate::process::exit_now(99);
        }
    }
}

// SAFETY: every call goes to the system's allocator with the same arguments, or ends the process.
unsafe impl GlobalAlloc for Guarded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::check();
        // SAFETY: the caller guarantees what this call requires.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller guarantees what this call requires.
        unsafe { System.dealloc(pointer, layout) }
    }
}
