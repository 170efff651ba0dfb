//! The program's allocator: the one of the crate dlmalloc, which packs blocks side by side and asks
//! the kernel seldom, and which init may not use.
//!
//! Between the clone and the exec every page that init writes is charged to the container, and a
//! lock that another process held would never be released. After [`forbid`] freeing does nothing,
//! and in debug builds an allocation ends the process with a message. So every test that runs a
//! container proves the rule.

use dlmalloc::Dlmalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// std's lock is an instruction in line; that of the crate is a call of the C library, and costs as
/// much as the allocation.
static BLOCKS: Mutex<Dlmalloc> = Mutex::new(Dlmalloc::new());

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

fn blocks() -> MutexGuard<'static, Dlmalloc> {
    BLOCKS.lock().unwrap_or_else(PoisonError::into_inner)
}

// SAFETY: dlmalloc does the work, with the arguments as they came. A block that is not freed stays
// valid.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: as the caller has promised.
        unsafe { blocks().malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check();
        // SAFETY: as the caller has promised.
        unsafe { blocks().calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if !FORBIDDEN.load(Ordering::Relaxed) {
            // SAFETY: as the caller has promised.
            unsafe { blocks().free(block, layout.size(), layout.align()) };
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, length: usize) -> *mut u8 {
        check();
        // SAFETY: as the caller has promised.
        unsafe { blocks().realloc(block, layout.size(), layout.align(), length) }
    }
}
