//! Errors of system calls, and the compact form in which init reports a failure.

pub use nix::errno::Errno;
use std::error::Error;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

/// The text of an errno, in lower case: engines look for the exact "no such file or directory" and
/// "permission denied". It allocates, as [`chain`] does, so init must not call it.
pub fn words(errno: Errno) -> String {
    description(errno).to_lowercase()
}

/// The text of an errno as strerror(3) of glibc has it. It is what other runtimes print, and what
/// people look for; nix has older texts for some.
pub fn description(errno: Errno) -> &'static str {
    match errno {
        Errno::EIO => "Input/output error",
        Errno::EBADF => "Bad file descriptor",
        Errno::EAGAIN => "Resource temporarily unavailable",
        Errno::ENOMEM => "Cannot allocate memory",
        Errno::EXDEV => "Invalid cross-device link",
        Errno::ENFILE => "Too many open files in system",
        Errno::ENOTTY => "Inappropriate ioctl for device",
        Errno::EDOM => "Numerical argument out of domain",
        Errno::ERANGE => "Numerical result out of range",
        Errno::EDEADLK => "Resource deadlock avoided",
        Errno::ENOLCK => "No locks available",
        Errno::ELOOP => "Too many levels of symbolic links",
        Errno::ENOSTR => "Device not a stream",
        Errno::ENODATA => "No data available",
        Errno::ETIME => "Timer expired",
        Errno::ENOSR => "Out of streams resources",
        Errno::EREMOTE => "Object is remote",
        Errno::ENOLINK => "Link has been severed",
        Errno::EMULTIHOP => "Multihop attempted",
        Errno::EBADMSG => "Bad message",
        Errno::EOPNOTSUPP => "Operation not supported",
        Errno::EOVERFLOW => "Value too large for defined data type",
        Errno::EILSEQ => "Invalid or incomplete multibyte or wide character",
        Errno::ENETRESET => "Network dropped connection on reset",
        Errno::ESTALE => "Stale file handle",
        Errno::EDQUOT => "Disk quota exceeded",
        Errno::EOWNERDEAD => "Owner died",
        errno => errno.desc(),
    }
}

/// The errno of an error of the standard library; EIO if it has none.
pub fn errno_of(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

/// An error and its sources, outermost first, with an errno in the words of [`words`].
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let io = || error.downcast_ref::<io::Error>()?.raw_os_error();
        let errno = error.downcast_ref().copied();
        text.push_str(": ");
        match errno.or_else(|| io().map(Errno::from_raw)) {
            Some(errno) => text.push_str(&words(errno)),
            None => text.push_str(&error.to_string()),
        }
        source = error.source();
    }
    text
}

/// Decodes a return value: -1 is a failure, and any other value has no meaning.
pub(crate) fn ret(value: libc::c_long) -> Result<(), Errno> {
    if value == -1 {
        Err(Errno::last())
    } else {
        Ok(())
    }
}

/// Repeats a call that a signal has interrupted.
pub(crate) fn again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::EINTR) => {}
            answer => return answer,
        }
    }
}

/// Decodes a count or an id.
pub(crate) fn ret_number(value: libc::c_long) -> Result<u64, Errno> {
    u64::try_from(value).map_err(|_negative| Errno::last())
}

/// Decodes a new file descriptor, which the caller then owns.
pub(crate) fn ret_fd(value: libc::c_long) -> Result<OwnedFd, Errno> {
    if value == -1 {
        return Err(Errno::last());
    }
    let fd = RawFd::try_from(value).map_err(|_too_large| Errno::EBADF)?;
    // SAFETY: the kernel has just returned this descriptor, and no other owner exists.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// An enum that travels between processes as a number: it gets `ALL`, its variants in order, and
/// `from_u8`, the inverse of `as u8`.
#[macro_export]
macro_rules! numbered {
    ($(#[$about:meta])* pub enum $name:ident { $($(#[$doc:meta])* $variant:ident,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum $name { $($(#[$doc])* $variant,)* }

        impl $name {
            const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The inverse of `as u8`, for bytes that come from another process.
            pub fn from_u8(number: u8) -> Option<Self> {
                Self::ALL.get(usize::from(number)).copied()
            }
        }
    };
}

macro_rules! calls {
    ($($variant:ident $name:literal,)*) => {
        numbered! {
            /// A system call (or a step of several that fails as one), by the name that messages
            /// show.
            #[allow(missing_docs, reason = "the name says it")]
            pub enum Call { $($variant,)* }
        }

        impl Call {
            /// The name in messages.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

calls! {
    Openat2 "openat2", Open "open", Read "read", Write "write", Mkdir "mkdir", Mknod "mknod",
    Symlink "symlink", Readlink "readlink", Stat "stat", Statfs "statfs", Chown "chown", Chmod "chmod",
    Fsopen "fsopen", FsconfigSet "fsconfig", FsconfigCreate "fsconfig(create)", Fsmount "fsmount",
    OpenTree "open_tree", MoveMount "move_mount", MountSetattr "mount_setattr", Mount "mount",
    Umount "umount2", PivotRoot "pivot_root", Chroot "chroot", Chdir "chdir", Getcwd "getcwd",
    Clone "clone3", Unshare "unshare", Setns "setns", Setsid "setsid", Sethostname "sethostname",
    Setdomainname "setdomainname", Umask "umask", Setgroups "setgroups", Setgid "setresgid", Setuid "setresuid",
    Prctl "prctl", Capget "capget", Capset "capset", BoundingDrop "prctl(PR_CAPBSET_DROP)",
    SecureBits "prctl(PR_SET_SECUREBITS)",
    AmbientRaise "prctl(PR_CAP_AMBIENT_RAISE)", NoNewPrivs "prctl(PR_SET_NO_NEW_PRIVS)",
    Personality "personality", Prlimit "prlimit", Seccomp "seccomp", Keyctl "keyctl(KEYCTL_JOIN_SESSION_KEYRING)",
    KeyPermissions "keyctl(KEYCTL_SETPERM)", Setxattr "fsetxattr", Attribute "attribute write",
    Netlink "netlink", Socket "socket", Send "send", Receive "recv", Poll "poll", Wait "waitid",
    Kill "kill", CloseRange "close_range", Dup "dup3", Fcntl "fcntl", Ioctl "ioctl", Exec "execve",
    Verify "verify", Copy "copy", Sysctl "sysctl write", TimeOffsets "timens_offsets write",
    IdMap "id map write", Bpf "bpf", Hook "hook", Lookup "look-up", LandlockCreate "landlock_create_ruleset",
    OomScore "oom_score_adj write", Scheduler "sched_setattr", IoPriority "ioprio_set", Affinity "sched_setaffinity",
    MemoryPolicy "set_mempolicy",
    LandlockAdd "landlock_add_rule", LandlockPort "landlock_add_rule", LandlockRestrict "landlock_restrict_self",
}

/// A failed system call: which one, on which element of its list, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// The call.
    pub call: Call,
    /// The element's index; 0 where there is no list.
    pub index: u16,
    /// The kernel's answer.
    pub errno: Errno,
}

impl Failed {
    /// Names the call that failed: `.map_err(Failed::of(Call::Mkdir))`.
    pub fn of(call: Call) -> impl Fn(Errno) -> Self {
        Self::at(call, 0)
    }

    /// Names the call and the element: `.map_err(Failed::at(Call::Setns, 2))`.
    pub fn at(call: Call, index: usize) -> impl Fn(Errno) -> Self {
        let index = u16::try_from(index).unwrap_or(u16::MAX);
        move |errno| Self { call, index, errno }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_env = "gnu")]
    #[test]
    fn texts_are_those_of_strerror() {
        let known = (1..=133).map(Errno::from_raw);
        let different = known.filter(|errno| {
            let text = io::Error::from_raw_os_error(*errno as i32).to_string();
            *errno != Errno::UnknownErrno && !text.starts_with(description(*errno))
        });
        assert_eq!(different.collect::<Vec<_>>(), []);
    }
}
