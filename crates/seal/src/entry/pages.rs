//! The pages of the program's data, filled by one call instead of by one page fault for each.
//!
//! Every start writes all of them, since all have relocations. Filling changes no content, so a
//! failure does not matter. The heap and the stack are not filled: a command uses few pages of
//! them.

use super::{auxiliary, call};
use std::ptr;

/// The words of a program header: see `Elf64_Phdr` in elf(5). All processors of
/// [`super::machine`] are little-endian, so the flags are the upper half of the first.
const ADDRESS: usize = 2;
const LENGTH: usize = 5;
const ALL: usize = 7;

/// Fills the writable segment of the program.
pub(super) fn fill(environment: *const usize) {
    let headers = auxiliary(environment, libc::AT_PHDR);
    let mut header = ptr::with_exposed_provenance::<usize>(headers);
    let mut left = auxiliary(environment, libc::AT_PHNUM);
    while left > 0 {
        // SAFETY: the kernel has mapped so many headers there.
        let word = |index| unsafe { ptr::read_volatile(header.wrapping_add(index)) };
        let [kind, flags] = [word(0) & 0xffff_ffff, word(0) >> 32];
        if kind == libc::PT_LOAD as usize && flags & libc::PF_W as usize != 0 {
            // The first segment begins with the file, and has address 0.
            let base = headers.wrapping_sub(size_of::<libc::Elf64_Ehdr>());
            let page = auxiliary(environment, libc::AT_PAGESZ);
            populate(base.wrapping_add(word(ADDRESS)), word(LENGTH), page);
        }
        header = header.wrapping_add(ALL);
        left -= 1;
    }
}

/// Fills the pages of a range. `page` is the size of a page, a power of two.
fn populate(start: usize, length: usize, page: usize) {
    const WRITE: usize = libc::MADV_POPULATE_WRITE as usize;
    let before = start & page.wrapping_sub(1);
    let (start, length) = (start.wrapping_sub(before), length.wrapping_add(before));
    // SAFETY: this advice changes no content of memory, whatever is there.
    unsafe { call(libc::SYS_madvise, [start, length, WRITE, 0, 0]) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::unistd::SysconfVar;

    /// How many faults writing every page of `memory` takes.
    fn faults(memory: &mut [u8], page: usize) -> i64 {
        let count = || {
            getrusage(UsageWho::RUSAGE_THREAD)
                .unwrap()
                .minor_page_faults()
        };
        let before = count();
        memory.iter_mut().step_by(page).for_each(|byte| *byte = 1);
        count() - before
    }

    #[test]
    fn the_writable_segment_is_filled_and_no_other() {
        const LENGTH: usize = 512 << 10; // less than a huge page
        let page = nix::unistd::sysconf(SysconfVar::PAGE_SIZE)
            .unwrap()
            .unwrap();
        let page = usize::try_from(page).unwrap();
        let [mut data, mut text] = [vec![0_u8; LENGTH], vec![0_u8; LENGTH]];
        let mut headers = [0; 2 * ALL];
        let table = headers.as_ptr().expose_provenance();
        let base = table - size_of::<libc::Elf64_Ehdr>();
        let offset = |memory: &[u8]| memory.as_ptr().expose_provenance().wrapping_sub(base);
        let segment = |flags: u32, memory: &[u8]| {
            let kind = libc::PT_LOAD as usize | (flags as usize) << 32;
            [kind, 0, offset(memory), 0, 0, LENGTH, page]
        };
        headers[..ALL].copy_from_slice(&segment(libc::PF_R | libc::PF_X, &text));
        headers[ALL..].copy_from_slice(&segment(libc::PF_R | libc::PF_W, &data));
        let value = |key: u64| usize::try_from(key).unwrap();
        let phdr = [value(libc::AT_PHDR), headers.as_ptr().expose_provenance()];
        let count = [value(libc::AT_PHNUM), 2];
        let environment = [
            [0, value(libc::AT_PAGESZ)],
            [page, phdr[0]],
            [phdr[1], count[0]],
            [2, 0],
        ];
        fill(environment.as_flattened().as_ptr());
        let pages = i64::try_from(LENGTH / page).unwrap();
        assert!(faults(&mut data, page) < pages / 8);
        assert!(
            faults(&mut text, page) > pages / 2,
            "the test counts nothing"
        );
    }
}
