//! The container's program: where to look for it, whether it may be executed, and which interpreter
//! it needs.
//!
//! The look-up happens in init, as the user that will run the program and with that user's
//! capabilities. It finds errors early that execve(2), which decides, would report late. The
//! interpreter is read for one message: execve(2) fails with ENOENT if the program exists but its
//! interpreter does not. Nothing is allocated after [`Program::lower`].

use crate::failure::{Failure, Phase};
use crate::hooks::Tail;
use kernel::fs::{self, FileKind};
use kernel::path::{self, OpenFlags};
use kernel::process::{self, CStringArray};
use kernel::{Call, Errno, Failed};
use spec::container::Process;
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::AsFd;

/// Whether a system call filter is in force at the look-up. A filter may not know newer system
/// calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Filter {
    /// None of the container. The caller may have one, which answers ENOSYS or EPERM.
    Later,
    /// The container's filter, which may kill the process for a call that it does not know.
    InForce,
}

/// Whether the program's capabilities override the mode bits of files and directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overrides {
    /// CAP_DAC_OVERRIDE or CAP_DAC_READ_SEARCH is in the effective set.
    ModeBits,
    /// Neither is.
    Nothing,
}

/// The container's program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    candidates: Vec<CString>,
    filter: Filter,
    overrides: Overrides,
}

/// The candidate that was found.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    index: usize,
    /// Its interpreter; empty if it has none or could not be read.
    interpreter: Tail,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let candidates = self.candidates.iter().map(|path| path.to_string_lossy());
        f.write_str(&candidates.collect::<Vec<_>>().join(", "))
    }
}

impl Program {
    /// Where to look, by the *container's* PATH.
    pub(crate) fn lower(process: &Process, filter: Filter, overrides: Overrides) -> Self {
        Self {
            candidates: candidates(&process.args, &process.env),
            filter,
            overrides,
        }
    }

    /// Finds the program.
    ///
    /// # Errors
    /// The error of the first candidate that exists and cannot be executed, else ENOENT.
    pub(crate) fn look_up(&self) -> Result<Found, Failed> {
        let mut denied = None;
        for (index, candidate) in self.candidates.iter().enumerate() {
            match self.executable(candidate) {
                Ok(()) => {
                    let interpreter = match self.filter {
                        Filter::Later => interpreter_of(candidate),
                        Filter::InForce => Tail::of(&[]),
                    };
                    return Ok(Found { index, interpreter });
                }
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => denied = denied.or(Some(Failed::at(Call::Lookup, index)(errno))),
            }
        }
        Err(denied.unwrap_or_else(|| Failed::of(Call::Lookup)(Errno::ENOENT)))
    }

    /// Becomes the program. Returns only on failure.
    pub(crate) fn exec(
        &self,
        found: Option<Found>,
        args: &CStringArray,
        env: &CStringArray,
    ) -> Failure {
        let candidate = found.and_then(|found| Some((found, self.candidates.get(found.index)?)));
        let Some((found, path)) = candidate else {
            return Failure::of(Phase::Exec, Call::Lookup)(Errno::ENOENT);
        };
        let errno = process::execve(path, args, env);
        Failure {
            tail: found.interpreter,
            ..Failure::at(Phase::Exec)(Failed::at(Call::Exec, found.index)(errno))
        }
    }

    fn executable(&self, candidate: &CStr) -> Result<(), Errno> {
        let stat = fs::stat_path(candidate)?;
        match stat.kind {
            FileKind::Directory => return Err(Errno::EISDIR),
            FileKind::Regular => {}
            _ => return Err(Errno::EACCES),
        }
        if self.filter == Filter::Later {
            match process::may_execute(candidate) {
                // A filter of the caller does not know the call.
                Err(Errno::ENOSYS | Errno::EPERM) => {}
                answer => return answer,
            }
        }
        match process::may_execute_without_capabilities(candidate) {
            // execve(2) decides.
            Err(Errno::EACCES)
                if self.overrides == Overrides::ModeBits && stat.mode & 0o111 != 0 =>
            {
                Ok(())
            }
            answer => answer,
        }
    }
}

/// The paths to try, in order: the program itself if it names a directory, else each directory of
/// PATH before it.
fn candidates(args: &[String], env: &[String]) -> Vec<CString> {
    let text = |text: String| CString::new(text).unwrap_or_default();
    let Some(program) = args.first().filter(|program| !program.is_empty()) else {
        return Vec::new();
    };
    if program.contains('/') {
        return vec![text(program.clone())];
    }
    let path = env
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or_default();
    let directories = path.split(':').filter(|_| !path.is_empty());
    directories
        .map(|directory| match directory {
            "" => text(format!("./{program}")),
            directory => text(format!("{directory}/{program}")),
        })
        .collect()
}

/// How many bytes of a program are read: the headers of an executable file and the name after them.
const HEAD: usize = 1024;

/// The interpreter of a file that is regular and may be executed. Empty where the file cannot be
/// read.
fn interpreter_of(program: &CStr) -> Tail {
    let mut head = [0; HEAD];
    let flags = OpenFlags::NONBLOCK;
    let read = path::open(program, flags).and_then(|file| fs::read(file.as_fd(), &mut head));
    let head = head.get(..read.unwrap_or(0)).unwrap_or_default();
    Tail::of(interpreter(head).unwrap_or_default())
}

/// The interpreter that a program names: behind `#!`, or in the PT_INTERP header of an ELF file,
/// see elf(5).
fn interpreter(head: &[u8]) -> Option<&[u8]> {
    if let Some(line) = head.strip_prefix(b"#!") {
        let line = line.split(|byte| *byte == b'\n').next()?.trim_ascii_start();
        return line.split(|byte| matches!(byte, b' ' | b'\t' | 0)).next();
    }
    let number = |at: u64, size: usize| -> Option<u64> {
        let at = usize::try_from(at).ok()?;
        let bytes = head.get(at..at.checked_add(size)?)?;
        let mut whole = [0; 8];
        // Of the machine's own byte order, which is little-endian wherever this runs.
        whole.get_mut(..size)?.copy_from_slice(bytes);
        Some(u64::from_le_bytes(whole))
    };
    // Sizes and places in files of 64 and of 32 bits.
    let (word, table, entry_size, count, name, length) = match head.strip_prefix(b"\x7fELF")? {
        [2, 1, ..] => (8, 32, 54, 56, 8, 32),
        [1, 1, ..] => (4, 28, 42, 44, 4, 16),
        _ => return None,
    };
    const PT_INTERP: u64 = 3;
    let (table, entry_size) = (number(table, word)?, number(entry_size, 2)?);
    for index in 0..number(count, 2)? {
        let header = table.checked_add(index.checked_mul(entry_size)?)?;
        if number(header, 4)? == PT_INTERP {
            let start = usize::try_from(number(header.checked_add(name)?, word)?).ok()?;
            let length = usize::try_from(number(header.checked_add(length)?, word)?).ok()?;
            let path = head.get(start..start.checked_add(length)?)?;
            return path.split(|byte| *byte == 0).next();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(strings: &[&str]) -> Vec<String> {
        strings.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn the_program_is_looked_for_in_the_path_of_the_container_only() {
        let env = list(&["PATH=/old", "PATH=/a::/b"]);
        assert_eq!(
            candidates(&list(&["sh"]), &env),
            [c"/a/sh".to_owned(), c"./sh".to_owned(), c"/b/sh".to_owned()]
        );
        assert!(candidates(&list(&["sh"]), &[]).is_empty());
        assert!(candidates(&list(&[""]), &env).is_empty());
    }

    #[test]
    fn a_program_with_a_slash_is_not_looked_for() {
        assert_eq!(
            candidates(&list(&["bin/sh"]), &list(&["PATH=/a"])),
            [c"bin/sh".to_owned()]
        );
    }

    fn program(filter: Filter, overrides: Overrides) -> Program {
        Program {
            candidates: Vec::new(),
            filter,
            overrides,
        }
    }

    #[test]
    fn directories_and_plain_files_are_no_programs() {
        for filter in [Filter::Later, Filter::InForce] {
            for overrides in [Overrides::ModeBits, Overrides::Nothing] {
                let executable = |path: &CStr| program(filter, overrides).executable(path);
                assert_eq!(executable(c"/etc"), Err(Errno::EISDIR));
                assert_eq!(executable(c"/etc/passwd"), Err(Errno::EACCES));
                assert_eq!(executable(c"/dev/null"), Err(Errno::EACCES));
                assert_eq!(executable(c"/etc/missing"), Err(Errno::ENOENT));
                assert_eq!(executable(c"/bin/sh"), Ok(()));
            }
        }
    }

    #[test]
    fn the_interpreter_of_a_script_is_the_first_word_of_its_first_line() {
        let of = |text: &'static str| interpreter(text.as_bytes()).map(String::from_utf8_lossy);
        assert_eq!(of("#!/bin/sh\necho").unwrap(), "/bin/sh");
        assert_eq!(
            of("#! \t/usr/bin/env python3 -u\n").unwrap(),
            "/usr/bin/env"
        );
        assert_eq!(of("#!/bin/sh\r\necho").unwrap(), "/bin/sh\r");
        assert_eq!(of("#!").unwrap(), "");
        assert_eq!(of("echo"), None);
        assert_eq!(of(""), None);
    }

    /// An ELF file of 64 bits whose second header names the interpreter.
    fn elf() -> Vec<u8> {
        let mut file = vec![0; 64 + 2 * 56];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[32] = 64;
        file[54] = 56;
        file[56] = 2;
        file[64 + 56] = 3;
        file[64 + 56 + 8] = 176;
        file[64 + 56 + 32] = 7;
        file.extend(b"/ld.so\0");
        file
    }

    #[test]
    fn the_interpreter_of_an_executable_file_stands_in_its_headers() {
        let file = elf();
        assert_eq!(interpreter(&file), Some(&b"/ld.so"[..]));
        for end in 0..file.len() {
            assert_eq!(interpreter(&file[..end]), None, "cut at {end}");
        }
        // Offsets that overflow, and a table that does not end.
        for at in 32..40 {
            let mut file = elf();
            file[at] = 0xff;
            assert_eq!(interpreter(&file), None);
        }
        let mut file = elf();
        file[56..58].fill(0xff);
        file[64 + 56] = 1;
        assert_eq!(interpreter(&file), None);
    }
}
