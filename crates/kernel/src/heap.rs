//! The program's allocator, made for processes that live for a few milliseconds.
//!
//! Blocks lie side by side in one mapping, so a process touches few pages, and a forked process
//! copies few. A block has one of a few sizes and goes to a list of its size when it is freed.
//! Nothing returns to the kernel except blocks that have a mapping of their own.
//!
//! Init may not allocate: between the clone and the exec every page that init writes is charged to
//! the container, and a lock that another process held would never be released. After [`forbid`]
//! freeing does nothing, and in debug builds an allocation ends the process with a message. So
//! every test that runs a container proves the rule.

use std::alloc::{GlobalAlloc, Layout};
use std::cell::UnsafeCell;
use std::ptr::{self, NonNull, null_mut};
use std::sync::atomic::{AtomicBool, Ordering};

static FORBIDDEN: AtomicBool = AtomicBool::new(false);

/// From now on this process may not allocate.
pub fn forbid() {
    FORBIDDEN.store(true, Ordering::Relaxed);
}

/// The alignment of every block, and the step of the smaller sizes.
const STEP: usize = 16;
/// Sizes up to here are multiples of [`STEP`], those above it powers of two.
const SMALL: usize = 1024;
/// A longer block has a mapping of its own.
const LONGEST: usize = 128 << 10;
/// How many sizes there are.
const SIZES: usize = SMALL / STEP + (LONGEST / SMALL).ilog2() as usize;
/// The length of a mapping for blocks. Only what is touched takes memory.
const ARENA: usize = 1 << 20;

/// The allocator.
#[derive(Debug)]
pub struct Heap {
    busy: AtomicBool,
    blocks: UnsafeCell<Blocks>,
}

/// The blocks that can be given.
#[derive(Debug)]
struct Blocks {
    /// What is left of the mapping.
    next: *mut u8,
    left: usize,
    /// Freed blocks, by size. Each begins with the address of the next one of its list.
    free: [*mut u8; SIZES],
}

// SAFETY: `busy` lets one thread at a time use the blocks.
unsafe impl Sync for Heap {}

/// The index of the size for `length` bytes, and that size.
fn size_of_block(length: usize) -> (usize, usize) {
    if length <= SMALL {
        let steps = length.div_ceil(STEP).max(1);
        return (steps - 1, steps * STEP);
    }
    let size = length.next_power_of_two();
    (SMALL / STEP - 1 + (size / SMALL).ilog2() as usize, size)
}

fn has_own_mapping(layout: Layout) -> bool {
    layout.size() > LONGEST || layout.align() > STEP
}

impl Heap {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            busy: AtomicBool::new(false),
            blocks: UnsafeCell::new(Blocks {
                next: null_mut(),
                left: 0,
                free: [null_mut(); SIZES],
            }),
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Blocks) -> T) -> T {
        while self.busy.swap(true, Ordering::Acquire) {
            std::hint::spin_loop();
        }
        // SAFETY: no other thread has this reference: it would have found `busy` unset.
        let done = work(unsafe { &mut *self.blocks.get() });
        self.busy.store(false, Ordering::Release);
        done
    }

    fn check() {
        // Permit it again first: the message itself allocates.
        if cfg!(debug_assertions) && FORBIDDEN.swap(false, Ordering::Relaxed) {
            eprintln!("locule: an allocation in init");
            crate::process::exit_now(99);
        }
    }
}

impl Default for Heap {
    fn default() -> Self {
        Self::new()
    }
}

impl Blocks {
    /// A block of `size` bytes, which is the size of this index; null if there is no memory.
    fn take(&mut self, index: usize, size: usize) -> *mut u8 {
        let Some(first) = self.free.get_mut(index) else {
            return null_mut();
        };
        if let Some(block) = NonNull::new(*first) {
            // SAFETY: a block of the list is long and aligned enough for a pointer, and `give` has
            // written one.
            *first = unsafe { block.cast::<*mut u8>().read() };
            return block.as_ptr();
        }
        if self.left < size {
            let Some(mapping) = map(ARENA) else {
                return null_mut();
            };
            (self.next, self.left) = (mapping.as_ptr(), ARENA);
        }
        let block = self.next;
        self.next = block.wrapping_add(size);
        self.left -= size;
        block
    }

    /// Takes a block back.
    ///
    /// # Safety
    /// It is a block that `take` has given for this index, and is not used any more.
    unsafe fn give(&mut self, block: *mut u8, index: usize) {
        if let Some(first) = self.free.get_mut(index) {
            // SAFETY: the block is long and aligned enough for a pointer, and belongs to this list
            // now.
            unsafe { block.cast::<*mut u8>().write(*first) };
            *first = block;
        }
    }
}

/// New memory, filled with zeroes. See mmap(2).
fn map(length: usize) -> Option<NonNull<u8>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
    let found = unsafe { libc::mmap(null_mut(), length, protection, flags, -1, 0) };
    match found == libc::MAP_FAILED {
        true => None,
        false => NonNull::new(found.cast()),
    }
}

// SAFETY: a block is at least as long and as aligned as its layout says: mappings begin with a
// page, which is as much as a layout of this program asks for, and sizes are multiples of `STEP`.
// It belongs to its owner until it is freed.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::check();
        if has_own_mapping(layout) {
            const PAGE: usize = 4096;
            return match layout.align() <= PAGE {
                true => map(layout.size()).map_or(null_mut(), NonNull::as_ptr),
                false => null_mut(),
            };
        }
        let (index, size) = size_of_block(layout.size());
        self.with(|blocks| blocks.take(index, size))
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if FORBIDDEN.load(Ordering::Relaxed) {
            return;
        }
        if has_own_mapping(layout) {
            // SAFETY: `alloc` has made this mapping with this length.
            unsafe { libc::munmap(block.cast(), layout.size()) };
            return;
        }
        let (index, _size) = size_of_block(layout.size());
        // SAFETY: `alloc` has given the block for this layout.
        self.with(|blocks| unsafe { blocks.give(block, index) });
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, length: usize) -> *mut u8 {
        let Ok(wanted) = Layout::from_size_align(length, layout.align()) else {
            return null_mut();
        };
        let stays = !has_own_mapping(layout)
            && !has_own_mapping(wanted)
            && size_of_block(layout.size()) == size_of_block(length);
        if stays {
            return block;
        }
        // SAFETY: the layout is a valid one.
        let moved = unsafe { self.alloc(wanted) };
        if !moved.is_null() {
            let both = layout.size().min(length);
            // SAFETY: two blocks that are at least this long, and do not overlap.
            unsafe { ptr::copy_nonoverlapping(block, moved, both) };
            // SAFETY: the caller does not use the block any more.
            unsafe { self.dealloc(block, layout) };
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_long_enough_and_each_size_has_one_list() {
        let mut last = (usize::MAX, 0);
        for length in 0..=LONGEST {
            let (index, size) = size_of_block(length);
            assert!(
                size >= length && size >= STEP && size.is_multiple_of(STEP),
                "{length}"
            );
            assert!(index < SIZES, "{length}");
            assert_eq!(index == last.0, size == last.1, "{length}");
            last = (index, size);
        }
        assert_eq!(last, (SIZES - 1, LONGEST));
    }

    /// Blocks of many sizes, grown and freed in another order, keep what was written to them.
    #[test]
    fn blocks_do_not_overlap() {
        let heap = Heap::new();
        let layout = |length: usize| Layout::from_size_align(length, 8).unwrap();
        let fill = |block: *mut u8, length: usize, byte: u8| {
            assert!(!block.is_null() && block.addr().is_multiple_of(STEP));
            // SAFETY: the block is this long.
            unsafe { block.write_bytes(byte, length) };
        };
        let mut blocks = Vec::new();
        for round in 0..2000_usize {
            let byte = u8::try_from(round % 251).unwrap();
            let length = 1 + round * round % (3 * LONGEST / 2);
            // SAFETY: the layout is not empty.
            let block = unsafe { heap.alloc(layout(length)) };
            fill(block, length, byte);
            blocks.push((block, length, byte));
            if round % 3 == 0 {
                let (block, length, byte) = blocks.swap_remove(round % blocks.len());
                let longer = length + round % 700;
                // SAFETY: the block has this layout and is not used any more.
                let block = unsafe { heap.realloc(block, layout(length), longer) };
                // SAFETY: the beginning of the block was copied.
                let kept = unsafe { std::slice::from_raw_parts(block, length) };
                assert!(kept.iter().all(|found| *found == byte), "{round}");
                fill(block, longer, byte);
                blocks.push((block, longer, byte));
            }
            if round % 2 == 0 {
                let (block, length, byte) = blocks.swap_remove(round / 2 % blocks.len());
                // SAFETY: the block is this long.
                let kept = unsafe { std::slice::from_raw_parts(block, length) };
                assert!(kept.iter().all(|found| *found == byte), "{round}");
                // SAFETY: the block has this layout and is not used any more.
                unsafe { heap.dealloc(block, layout(length)) };
            }
        }
        for (block, length, byte) in blocks {
            // SAFETY: the block is this long.
            let kept = unsafe { std::slice::from_raw_parts(block, length) };
            assert!(kept.iter().all(|found| *found == byte));
            // SAFETY: the block has this layout and is not used any more.
            unsafe { heap.dealloc(block, layout(length)) };
        }
    }

    #[test]
    fn a_freed_block_is_used_again_and_a_page_aligned_one_is_aligned() {
        let heap = Heap::new();
        let layout = Layout::from_size_align(100, 8).unwrap();
        // SAFETY: the layout is not empty.
        let first = unsafe { heap.alloc(layout) };
        // SAFETY: the block has this layout and is not used any more.
        unsafe { heap.dealloc(first, layout) };
        let other = Layout::from_size_align(112, 16).unwrap();
        // SAFETY: the layout is not empty.
        assert_eq!(unsafe { heap.alloc(other) }, first);
        let page = Layout::from_size_align(10, 4096).unwrap();
        // SAFETY: the layout is not empty.
        let block = unsafe { heap.alloc(page) };
        assert!(!block.is_null() && block.addr().is_multiple_of(4096));
        let larger = Layout::from_size_align(10, 8192).unwrap();
        // SAFETY: the layout is not empty.
        assert!(unsafe { heap.alloc(larger) }.is_null());
    }
}
