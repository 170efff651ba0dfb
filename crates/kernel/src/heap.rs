//! The program's allocator: the one of the crate dlmalloc, which packs blocks side by side and asks
//! the kernel seldom, and which init may not use.
//!
//! Between the clone and the exec every page that init writes is charged to the container, and a
//! lock that another process held would never be released. After [`forbid`] freeing does nothing,
//! and in debug builds an allocation ends the process with a message. So every test that runs a
//! container proves the rule.

use dlmalloc::GlobalDlmalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};

static FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// From now on this process may not allocate.
pub fn forbid() {
    FORBIDDEN.store(true, Ordering::Relaxed);
}

/// The allocator.
#[derive(Debug, Default)]
pub struct Heap;

fn check() {
    // Permit it again first: the message itself allocates.
    if cfg!(debug_assertions) && FORBIDDEN.swap(false, Ordering::Relaxed) {
        eprintln!("locule: an allocation in init");
        crate::process::exit_now(99);
    }
}

// SAFETY: dlmalloc does the work, with the arguments as they came. A block that is not freed stays
// valid.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: as the caller has promised.
        unsafe { GlobalDlmalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: as the caller has promised.
        unsafe { GlobalDlmalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !FORBIDDEN.load(Ordering::Relaxed) {
            // SAFETY: as the caller has promised.
            unsafe { GlobalDlmalloc.dealloc(block, layout) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, length: usize) -> *mut u8 {
        check();
        // SAFETY: as the caller has promised.
        unsafe { GlobalDlmalloc.realloc(block, layout, length) }
    }
}
