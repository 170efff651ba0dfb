//! Keeps the program file out of the container's reach (CVE-2019-5736).
//!
//! Until the container's program is executed, a process of the runtime is in the container, and its
//! /proc/PID/exe leads to the runtime's file on the host. So a command that enters a container
//! first executes the program again from a file that no process can write. The first choice is a
//! detached read-only clone of the file's mount, which costs two more calls than the exec itself.
//! Without CAP_SYS_ADMIN it is a sealed copy in memory, or the installed file if the container's
//! ids cannot write it anyway. [`entry`] makes the clone before the C library starts.
//!
//! Besides `kernel` the only crate with unsafe code: the entry point and the auxiliary values.

#![expect(
    clippy::disallowed_methods,
    reason = "the runtime's own program, through its own /proc"
)]

// Before the C library: execute a read-only clone of the own file. build.rs of locule has the same
// list of processors.
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64"
))]
mod entry;

use kernel::Errno;
use kernel::errno::errno_of;
use kernel::mount::{AttrChange, Depth, Follow, MountAttr, clone_tree, mount_setattr};
use nix::fcntl::{AtFlags, FcntlArg, OFlag, SealFlag, fcntl, open, readlink};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_name;
use nix::sys::stat::{FileStat, Mode, fstat};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::{execveat, geteuid};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::{env, io, ptr};

/// The commands that enter a container.
const WORDS: [&str; 4] = ["create", "run", "exec", "mounts"];

/// Together these seals make a file in memory read-only for every process.
const SEALS: SealFlag = SealFlag::F_SEAL_SEAL
    .union(SealFlag::F_SEAL_SHRINK)
    .union(SealFlag::F_SEAL_GROW)
    .union(SealFlag::F_SEAL_WRITE);

/// The file that this process runs from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A detached read-only mount.
    Clone,
    /// A sealed file in memory.
    Memory,
    /// The installed file, which ids of the container cannot write.
    File,
}

impl Origin {
    /// Words for messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Clone => "a read-only clone",
            Self::Memory => "a sealed copy in memory",
            Self::File => "a file that the container's ids cannot write",
        }
    }
}

/// The program file could not be protected.
#[derive(Debug, thiserror::Error)]
#[error("{action} the runtime's own program file, to keep containers from changing it")]
pub struct Unsealed {
    action: &'static str,
    #[source]
    source: Errno,
}

fn failed(action: &'static str) -> impl Fn(Errno) -> Unsealed {
    move |source| Unsealed { action, source }
}

/// Whether one of `words` is a command that enters a container. It runs before the arguments are
/// parsed. A wrong yes costs one exec; after a no the parsed command is checked again.
pub fn is_wanted<'w>(words: impl IntoIterator<Item = &'w OsStr>) -> bool {
    words
        .into_iter()
        .take_while(|word| *word != "--")
        .any(|word| WORDS.iter().any(|known| word == *known))
}

/// Executes this program again from a file that cannot be written. Returns if it already runs from
/// such a file.
pub fn reexec() -> Result<Origin, Unsealed> {
    // Use the descriptor, not the name: the name may now lead to another file, or to one below a
    // mount.
    let path = "/proc/self/exe";
    let program =
        open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed("open"))?;
    if is_read_only(&program)? && executed_by_descriptor() && is_detached()? {
        name_again();
        return Ok(Origin::Clone);
    }
    if let Ok(clone) = read_only_clone(program.as_fd()) {
        return Err(failed("execute a read-only clone of")(execute(&clone)));
    }
    let stat = fstat(&program).map_err(failed("read the status of"))?;
    if !is_ours_to_write(&stat, geteuid().as_raw()) {
        return Ok(Origin::File);
    }
    let program =
        open(path, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed("read"))?;
    if is_sealed(&program) {
        name_again();
        return Ok(Origin::Memory);
    }
    let copy = sealed_copy(program).map_err(failed("copy to memory"))?;
    Err(failed("execute a sealed copy of")(execute(&copy)))
}

fn is_read_only(program: &OwnedFd) -> Result<bool, Unsealed> {
    let system = fstatvfs(program).map_err(failed("read the status of"))?;
    Ok(system.flags().contains(FsFlags::ST_RDONLY))
}

/// Whether no path leads to the mount that this program was executed from. An attached mount could
/// become writable, and then a process with a handle could write. For the kernel the root of a
/// detached mount is `/`.
fn is_detached() -> Result<bool, Unsealed> {
    let path = readlink("/proc/self/exe").map_err(failed("find"))?;
    Ok(path == "/" || path == "/ (deleted)")
}

/// A mount that no path leads to. It exists as long as a process runs from it.
fn read_only_clone(program: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let clone = clone_tree(program, c"", Depth::Top, Follow::Yes)?;
    let change = AttrChange {
        set: MountAttr::RDONLY,
        ..AttrChange::default()
    };
    mount_setattr(clone.as_fd(), c"", Depth::Top, change)?;
    Ok(clone)
}

/// Without CAP_SYS_ADMIN a container runs with ids that this user has: the user's own and
/// subordinate ids, never those of the host's root (0, or 65534 if the user namespace does not map
/// it).
fn is_ours_to_write(stat: &FileStat, uid: u32) -> bool {
    const UNMAPPED: u32 = 65_534;
    let others_may = stat.st_mode & 0o022 != 0;
    let stranger = stat.st_uid != uid && matches!(stat.st_uid, 0 | UNMAPPED);
    others_may || !stranger
}

fn is_sealed(file: &OwnedFd) -> bool {
    // Other kinds of files have no seals: EINVAL.
    let seals = fcntl(file, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate);
    seals.is_ok_and(|seals| seals.contains(SEALS))
}

fn sealed_copy(program: OwnedFd) -> Result<OwnedFd, Errno> {
    let mut copy = File::from(file_in_memory()?);
    io::copy(&mut File::from(program), &mut copy).map_err(|error| errno_of(&error))?;
    fcntl(&copy, FcntlArg::F_ADD_SEALS(SEALS))?;
    Ok(copy.into())
}

/// Empty, executable, close-on-exec, and can be sealed.
fn file_in_memory() -> Result<OwnedFd, Errno> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let executable = MFdFlags::from_bits_retain(libc::MFD_EXEC);
    match memfd_create(c"locule", flags | executable) {
        // Before Linux 6.3 every such file is executable, and the flag is unknown.
        Err(Errno::EINVAL) => memfd_create(c"locule", flags),
        result => result,
    }
}

/// Whether this program was executed through a descriptor (execveat with an empty path, fexecve):
/// the kernel then calls it /dev/fd/N. See AT_EXECFN in [getauxval(3)].
///
/// [getauxval(3)]: https://man7.org/linux/man-pages/man3/getauxval.3.html
fn executed_by_descriptor() -> bool {
    // SAFETY: no memory is passed.
    let address = unsafe { libc::getauxval(libc::AT_EXECFN) };
    let name = ptr::with_exposed_provenance::<libc::c_char>(usize::try_from(address).unwrap_or(0));
    if name.is_null() {
        return false;
    }
    // SAFETY: the kernel has put a C string there, at the end of the stack, where it stays.
    let name = unsafe { CStr::from_ptr(name) };
    name.to_bytes().starts_with(b"/dev/fd/")
}

/// Executes the program with the same arguments and environment. Returns only on failure.
fn execute(program: &OwnedFd) -> Errno {
    let arguments = env::args_os().map(c_string).collect::<Result<Vec<_>, _>>();
    let environment = env::vars_os()
        .map(|(mut variable, value)| {
            variable.push("=");
            variable.push(value);
            c_string(variable)
        })
        .collect::<Result<Vec<_>, _>>();
    match (arguments, environment) {
        (Ok(arguments), Ok(environment)) => {
            let Err(errno) = execveat(
                program,
                c"",
                &arguments,
                &environment,
                AtFlags::AT_EMPTY_PATH,
            );
            errno
        }
        (Err(errno), _) | (_, Err(errno)) => errno,
    }
}

fn c_string(text: OsString) -> Result<CString, Errno> {
    CString::new(text.into_vec()).map_err(|_nul_inside| Errno::EINVAL)
}

/// Before Linux 6.14 a process that was executed by descriptor has the descriptor's number as its
/// name.
fn name_again() {
    // Only for `ps` and the like.
    let _ = set_name(c"locule");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(line: &str) -> bool {
        is_wanted(line.split_ascii_whitespace().map(OsStr::new))
    }

    #[test]
    fn commands_that_enter_a_container_are_found_behind_any_options() {
        assert!(wanted("create x"));
        assert!(wanted("--log /l --log-format json run x"));
        assert!(!wanted("start x"));
        assert!(!wanted("state -- run"));
        assert!(!wanted(""));
    }

    #[test]
    fn a_sealed_file_cannot_be_written() {
        let (reader, _writer) = io::pipe().unwrap();
        assert!(!is_sealed(&reader.into()), "a pipe has no seals");
        assert!(!is_sealed(&file_in_memory().unwrap()));
        let copy = sealed_copy(File::open("/proc/self/exe").unwrap().into()).unwrap();
        assert!(is_sealed(&copy));
        let error = io::copy(&mut &b"again"[..], &mut File::from(copy)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPERM));
    }

    #[test]
    fn a_program_that_was_named_was_not_executed_by_descriptor() {
        assert!(!executed_by_descriptor());
    }

    #[test]
    fn only_a_file_of_the_hosts_root_is_beyond_a_users_ids() {
        let own = File::open("/proc/self/exe").unwrap();
        let mut stat = fstat(&own).unwrap();
        for (owner, mode, uid, writable) in [
            (0, 0o100_755, 1000, false),
            (0, 0o100_775, 1000, true),
            (0, 0o100_757, 1000, true),
            (1000, 0o100_755, 1000, true),
            (1000, 0o100_555, 1000, true),
            (100_000, 0o100_755, 1000, true),
            (0, 0o100_755, 0, true),
            (65_534, 0o100_755, 0, false),
        ] {
            stat.st_uid = owner;
            stat.st_mode = mode;
            assert_eq!(
                is_ours_to_write(&stat, uid),
                writable,
                "{owner} {mode:o} {uid}"
            );
        }
    }
}
