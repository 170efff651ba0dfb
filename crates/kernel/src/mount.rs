//! The mount API that works with descriptors.
//!
//! A mount is made detached (new, or as a copy), gets its attributes, and is then attached at the
//! place of a descriptor. See fsopen(2), open_tree(2), mount_setattr(2), move_mount(2).

use crate::errno::{Errno, ret, ret_fd};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

const EMPTY: &CStr = c"";

bitflags::bitflags! {
    /// Attributes of one mount. See mount_setattr(2).
    #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
    pub struct MountAttr: u64 {
        /// Nothing can be written.
        const RDONLY = 0x01;
        /// Set-id bits and file capabilities are ignored.
        const NOSUID = 0x02;
        /// Device nodes cannot be opened.
        const NODEV = 0x04;
        /// Programs cannot be executed.
        const NOEXEC = 0x08;
        /// Access times are not updated; one value of [`MountAttr::ATIME`].
        const NOATIME = 0x10;
        /// Access times are always updated; one value of [`MountAttr::ATIME`].
        const STRICTATIME = 0x20;
        /// The field of access times; all zero is relatime. To change it, clear the whole field and
        /// set one value.
        const ATIME = 0x70;
        /// Access times of directories are not updated.
        const NODIRATIME = 0x80;
        /// Ids are mapped by a user namespace; Linux 5.12.
        const IDMAP = 0x10_0000;
        /// Symbolic links are not followed; Linux 5.14.
        const NOSYMFOLLOW = 0x20_0000;
    }
}

bitflags::bitflags! {
    /// Flags of a new superblock, as for mount(2).
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct SuperblockFlags: libc::c_ulong {
        /// Nothing can be written.
        const RDONLY = libc::MS_RDONLY;
        /// Writes are synchronous.
        const SYNCHRONOUS = libc::MS_SYNCHRONOUS;
        /// Mandatory locks are permitted.
        const MANDLOCK = libc::MS_MANDLOCK;
        /// Changes of directories are synchronous.
        const DIRSYNC = libc::MS_DIRSYNC;
        /// Times are written late.
        const LAZYTIME = libc::MS_LAZYTIME;
    }
}

/// The depth of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// One mount.
    Top,
    /// The mount and all mounts below it (AT_RECURSIVE).
    Tree,
}

/// What happens with a symbolic link as the last component of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follow {
    /// It is followed.
    Yes,
    /// The link itself is meant.
    No,
}

/// A propagation type. See mount_namespaces(7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// No propagation.
    Private,
    /// Mounts propagate in both directions between peers.
    Shared,
    /// Mounts only propagate in.
    Slave,
    /// Private, and cannot be the source of a bind mount.
    Unbindable,
}

/// A change of attributes.
#[derive(Debug, Clone, Copy, Default)]
pub struct AttrChange<'fd> {
    /// Set these; wins over `clear`.
    pub set: MountAttr,
    /// Clear these.
    pub clear: MountAttr,
    /// Change the propagation type.
    pub propagation: Option<Propagation>,
    /// The user namespace for [`MountAttr::IDMAP`].
    pub id_map: Option<BorrowedFd<'fd>>,
}

/// Begins a new file system of type `kind`. Linux 5.2.
///
/// # Errors
/// ENODEV: the kernel has no such type. EPERM.
pub fn fsopen(kind: &CStr) -> Result<OwnedFd, Errno> {
    const FSOPEN_CLOEXEC: libc::c_uint = 1;
    // SAFETY: the name is a C string.
    ret_fd(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })
}

fn fsconfig(
    context: BorrowedFd<'_>,
    command: libc::c_uint,
    key: *const libc::c_char,
    value: *const libc::c_char,
) -> Result<(), Errno> {
    // SAFETY: each pointer is null or a C string that the caller holds.
    ret(unsafe {
        libc::syscall(
            libc::SYS_fsconfig,
            context.as_raw_fd(),
            command,
            key,
            value,
            0,
        )
    })
}

/// Sets a parameter that has no value.
///
/// # Errors
/// EINVAL: the file system does not know it.
pub fn fsconfig_flag(context: BorrowedFd<'_>, key: &CStr) -> Result<(), Errno> {
    fsconfig(context, 0, key.as_ptr(), std::ptr::null())
}

/// Sets a parameter to a string of at most 255 bytes.
///
/// # Errors
/// EINVAL: the file system does not know it, does not accept the value, or the value is too long.
pub fn fsconfig_string(context: BorrowedFd<'_>, key: &CStr, value: &CStr) -> Result<(), Errno> {
    fsconfig(context, 1, key.as_ptr(), value.as_ptr())
}

/// Makes the superblock (FSCONFIG_CMD_CREATE).
///
/// # Errors
/// EPERM: not in this user namespace. EINVAL: the parameters contradict each other. ENOMEM, ENOENT
/// and more.
pub fn fsconfig_create(context: BorrowedFd<'_>) -> Result<(), Errno> {
    fsconfig(context, 6, std::ptr::null(), std::ptr::null())
}

/// Makes a detached mount of the superblock. The descriptor is also one of its root directory
/// (O_PATH).
///
/// # Errors
/// EPERM: in a user namespace, a proc or sysfs would show more than the visible ones do.
pub fn fsmount(context: BorrowedFd<'_>, attributes: MountAttr) -> Result<OwnedFd, Errno> {
    const FSMOUNT_CLOEXEC: libc::c_uint = 1;
    let attributes =
        libc::c_uint::try_from(attributes.bits()).map_err(|_too_large| Errno::EINVAL)?;
    // SAFETY: no memory is passed.
    ret_fd(unsafe {
        libc::syscall(
            libc::SYS_fsmount,
            context.as_raw_fd(),
            FSMOUNT_CLOEXEC,
            attributes,
        )
    })
}

/// Makes a file system and mounts it on the name `target`, which no other process may be able to
/// change. `data` is shorter than a page. Use it for parameters that are too long for
/// [`fsconfig_string`]. See mount(2).
///
/// # Errors
/// ENODEV: the kernel has no such type. EINVAL: the file system does not accept `data`. ENOENT,
/// ENOTDIR, EPERM and more.
pub fn mount_classic(
    source: &CStr,
    target: &CStr,
    kind: &CStr,
    flags: SuperblockFlags,
    data: &CStr,
) -> Result<(), Errno> {
    // SAFETY: all four are C strings.
    ret(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            kind.as_ptr(),
            flags.bits(),
            data.as_ptr().cast(),
        )
    }
    .into())
}

/// Makes a detached copy of the mount at `path` from `directory`, like a bind mount; an empty path
/// is `directory` itself. Linux 5.2.
///
/// # Errors
/// EINVAL: the mount is unbindable or of another mount namespace, or it has locked mounts below and
/// `depth` is only the top. ENOENT, ENOTDIR, EACCES, EPERM.
pub fn clone_tree(
    directory: BorrowedFd<'_>,
    path: &CStr,
    depth: Depth,
    follow: Follow,
) -> Result<OwnedFd, Errno> {
    const OPEN_TREE_CLONE: libc::c_int = 1;
    let mut flags = OPEN_TREE_CLONE | libc::O_CLOEXEC;
    if depth == Depth::Tree {
        flags |= libc::AT_RECURSIVE;
    }
    if follow == Follow::No {
        flags |= libc::AT_SYMLINK_NOFOLLOW;
    }
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    // SAFETY: the path is a C string.
    ret_fd(unsafe {
        libc::syscall(
            libc::SYS_open_tree,
            directory.as_raw_fd(),
            path.as_ptr(),
            flags,
        )
    })
}

/// Attaches the mount `from` on top of the file behind `to`. A mount that is not detached is moved.
/// Linux 5.2.
///
/// # Errors
/// ENOTDIR: one is a directory, the other is not. EINVAL: not a mount's root, or of another
/// namespace.
pub fn move_mount(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    move_mount_raw(from, to.as_raw_fd(), EMPTY)
}

/// Moves the mount `from` on top of the root directory of this process, as `mount --move . /` does.
pub fn move_mount_over_root(from: BorrowedFd<'_>) -> Result<(), Errno> {
    move_mount_raw(from, libc::AT_FDCWD, c"/")
}

/// Whether move_mount(2) can copy the sharing of a mount to another one; Linux 5.15.
pub fn can_copy_sharing() -> bool {
    const MOVE_MOUNT_SET_GROUP: libc::c_uint = 0x100;
    // An unknown flag is EINVAL, before the empty names are ENOENT.
    // SAFETY: both paths are C strings.
    let moved = ret(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            libc::AT_FDCWD,
            EMPTY.as_ptr(),
            libc::AT_FDCWD,
            EMPTY.as_ptr(),
            MOVE_MOUNT_SET_GROUP,
        )
    });
    moved == Err(Errno::ENOENT)
}

fn move_mount_raw(from: BorrowedFd<'_>, directory: RawFd, path: &CStr) -> Result<(), Errno> {
    const MOVE_MOUNT_F_EMPTY_PATH: libc::c_uint = 0x04;
    const MOVE_MOUNT_T_EMPTY_PATH: libc::c_uint = 0x40;
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: both paths are C strings.
    ret(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            from.as_raw_fd(),
            EMPTY.as_ptr(),
            directory,
            path.as_ptr(),
            flags,
        )
    })
}

#[repr(C)]
struct MountAttrArgs {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Changes the mount whose root is `path` from `directory`; an empty path is `directory` itself.
/// Linux 5.12.
///
/// # Errors
/// EPERM: a flag is locked in this user namespace. EBUSY: RDONLY is requested while a file is open
/// for writing. EINVAL: not the root of a mount, or the file system does not support mapped ids.
pub fn mount_setattr(
    directory: BorrowedFd<'_>,
    path: &CStr,
    depth: Depth,
    change: AttrChange<'_>,
) -> Result<(), Errno> {
    let mut flags = 0;
    if path.is_empty() {
        flags |= libc::AT_EMPTY_PATH;
    }
    if depth == Depth::Tree {
        flags |= libc::AT_RECURSIVE;
    }
    let args = MountAttrArgs {
        set: change.set.bits(),
        clear: change.clear.bits(),
        propagation: match change.propagation {
            None => 0,
            Some(Propagation::Private) => libc::MS_PRIVATE,
            Some(Propagation::Shared) => libc::MS_SHARED,
            Some(Propagation::Slave) => libc::MS_SLAVE,
            Some(Propagation::Unbindable) => libc::MS_UNBINDABLE,
        },
        user_namespace: match change.id_map {
            None => 0,
            Some(fd) => u64::try_from(fd.as_raw_fd()).map_err(|_negative| Errno::EBADF)?,
        },
    };
    // SAFETY: the path is a C string; `args` is a whole structure, and its size is passed.
    ret(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            directory.as_raw_fd(),
            path.as_ptr(),
            flags,
            &raw const args,
            size_of_val(&args),
        )
    })
}

/// Makes the working directory the root of the mount namespace and stacks the old root on top of
/// it. See pivot_root(2), `pivot_root(".", ".")`.
///
/// # Errors
/// EINVAL: the working directory is not the root of a mount, or a parent mount is shared.
pub fn pivot_root_here() -> Result<(), Errno> {
    // SAFETY: both paths are static C strings.
    ret(unsafe { libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) })
}

/// Detaches the topmost mount at `path` and all mounts below it from the mount namespace
/// (MNT_DETACH).
///
/// # Errors
/// EINVAL: not a mount point, or locked in this user namespace.
pub fn detach(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path is a C string.
    ret(unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) }.into())
}

/// Decodes a path of /proc/PID/mountinfo, where spaces and similar characters are three octal
/// digits. It allocates, so init must not call it. See [proc_pid_mountinfo(5)].
///
/// [proc_pid_mountinfo(5)]: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
pub fn unescape(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..3).and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 8).ok()
        });
        match (first, code) {
            (b'\\', Some(code)) => {
                bytes.push(code);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_digits_of_the_mount_table_are_bytes() {
        for (field, path) in [
            ("/a\\040b\\011", "/a b\t"),
            ("/\\134040", "/\\040"),
            ("/\\04", "/\\04"),
            ("/\\é", "/\\é"),
        ] {
            assert_eq!(unescape(field.as_bytes()), path.as_bytes(), "{field}");
        }
    }
}
