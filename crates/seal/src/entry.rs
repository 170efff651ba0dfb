//! The program's entry point, which runs before the C library, the standard library and `main`.
//!
//! A command that enters a container executes the program again from a read-only clone of its own
//! file. Everything that happens before that happens twice. So the clone comes first if one of
//! [`crate::WORDS`] is among the arguments: it takes three system calls, while relocations, heap
//! and locks cost far more. `main` checks whether it worked. After a failure `main` runs as if
//! nothing had been tried. On a processor that [`machine`] lacks the program uses the C library's
//! entry point.
//!
//! Nothing here may need a relocation, thread-local storage or a function of the C library, since
//! none of them works yet: no `errno`, no panics, no tables of pointers, no loops that a compiler
//! takes for `strlen` or `memcmp` (hence the volatile reads).

mod machine; // what differs between processors
mod pages; // the pages that every start writes

use machine::call;
use std::ptr;

/// `struct mount_attr` of mount_setattr(2): attr_set, attr_clr, propagation, userns_fd.
const READ_ONLY: [u64; 4] = [libc::MOUNT_ATTR_RDONLY, 0, 0, 0];

/// `name` includes the NUL at its end.
fn is<const N: usize>(word: *const u8, name: &[u8; N]) -> bool {
    starts_with(word, name)
}

fn starts_with<const N: usize>(word: *const u8, start: &[u8; N]) -> bool {
    let mut at = 0;
    while at < N {
        // SAFETY: the bytes before are equal to those of `start`, which has a NUL only at its
        // end, so the word is at least this long.
        let byte = unsafe { ptr::read_volatile(word.wrapping_add(at)) };
        if byte != start[at] {
            return false;
        }
        at += 1;
    }
    true
}

/// Reads the data that the kernel has put on the stack: the number of arguments, their
/// addresses, a null, the environment, a null, pairs of auxiliary values.
extern "C" fn before_start(stack: *const usize) {
    let arguments = stack.wrapping_add(1);
    // SAFETY: the kernel has put the number of arguments there.
    let count = unsafe { ptr::read_volatile(stack) };
    let environment = arguments.wrapping_add(count).wrapping_add(1);
    if is_wanted(arguments) && !was_executed_by_descriptor(environment) {
        execute_clone(arguments, environment);
    }
    pages::fill(environment);
}

fn is_wanted(arguments: *const usize) -> bool {
    let mut at = arguments;
    loop {
        // SAFETY: there was no null before this place.
        let word = unsafe { ptr::read_volatile(at) };
        let word = ptr::with_exposed_provenance::<u8>(word);
        if word.is_null() || is(word, b"--\0") {
            return false;
        }
        // The program's own name may be anything.
        if at != arguments
            && (is(word, b"create\0")
                || is(word, b"run\0")
                || is(word, b"exec\0")
                || is(word, b"mounts\0"))
        {
            return true;
        }
        at = at.wrapping_add(1);
    }
}

/// As [`crate::executed_by_descriptor`], which needs the C library.
fn was_executed_by_descriptor(environment: *const usize) -> bool {
    let name = auxiliary(environment, libc::AT_EXECFN);
    name != 0 && starts_with(ptr::with_exposed_provenance(name), b"/dev/fd/")
}

/// An auxiliary value, or 0. See getauxval(3).
fn auxiliary(environment: *const usize, wanted: u64) -> usize {
    let mut at = environment;
    // SAFETY: there was no null before this place.
    while unsafe { ptr::read_volatile(at) } != 0 {
        at = at.wrapping_add(1);
    }
    loop {
        at = at.wrapping_add(1);
        // SAFETY: the pairs end with AT_NULL, which was not before this place.
        let key = unsafe { ptr::read_volatile(at) };
        at = at.wrapping_add(1);
        // SAFETY: every key has a value.
        let value = unsafe { ptr::read_volatile(at) };
        match key as u64 {
            libc::AT_NULL => return 0,
            key if key == wanted => return value,
            _ => {}
        }
    }
}

/// Returns on failure only.
fn execute_clone(arguments: *const usize, environment: *const usize) {
    const HERE: usize = 0_usize.wrapping_add_signed(libc::AT_FDCWD as isize);
    const EMPTY_PATH: usize = libc::AT_EMPTY_PATH as usize;
    let flags = (libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC) as usize;
    let program = c"/proc/self/exe".as_ptr().expose_provenance();
    let empty = c"".as_ptr().expose_provenance();
    let change = READ_ONLY.as_ptr().expose_provenance();
    // SAFETY: the path is a C string.
    let clone = unsafe { call(libc::SYS_open_tree, [HERE, program, flags, 0, 0]) };
    let Ok(clone) = usize::try_from(clone) else {
        return;
    };
    let change = [clone, empty, EMPTY_PATH, change, size_of_val(&READ_ONLY)];
    // SAFETY: the path is a C string and the structure has the size that is passed.
    if unsafe { call(libc::SYS_mount_setattr, change) } == 0 {
        let (arguments, environment) = (
            arguments.expose_provenance(),
            environment.expose_provenance(),
        );
        let program = [clone, empty, arguments, environment, EMPTY_PATH];
        // SAFETY: arguments and environment are those of the kernel, each list with a null at
        // its end.
        unsafe { call(libc::SYS_execveat, program) };
    }
    // SAFETY: no other owner of this descriptor exists.
    unsafe { call(libc::SYS_close, [clone, 0, 0, 0, 0]) };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(words: &[&core::ffi::CStr]) -> bool {
        let mut list: Vec<usize> = words
            .iter()
            .map(|word| word.as_ptr().expose_provenance())
            .collect();
        list.push(0);
        is_wanted(list.as_ptr())
    }

    #[test]
    fn the_words_are_looked_for_after_the_name_and_before_the_dashes() {
        for word in crate::WORDS {
            let word = std::ffi::CString::new(word).unwrap();
            assert!(wanted(&[c"locule", &word]));
            assert!(wanted(&[c"locule", c"--root", c"/r", &word, c"id"]));
            assert!(!wanted(&[&word, c"list"]));
            assert!(!wanted(&[c"locule", c"seccomp", c"--", &word]));
        }
        assert!(!wanted(&[c"locule", c"runs", c"creat", c""]));
        assert!(!wanted(&[]));
    }

    #[test]
    fn execution_by_descriptor_is_told_by_the_auxiliary_values() {
        let by = |name: &core::ffi::CStr| {
            let name = name.as_ptr().expose_provenance();
            let environment = c"A=b".as_ptr().expose_provenance();
            let list = [environment, 0, 6, 4096, 31, name, 0, 0];
            was_executed_by_descriptor(list.as_ptr())
        };
        assert!(by(c"/dev/fd/4"));
        assert!(!by(c"/dev/f"));
        assert!(!by(c"/usr/bin/locule"));
        assert!(!was_executed_by_descriptor([0, 6, 4096, 0, 0].as_ptr()));
    }
}
