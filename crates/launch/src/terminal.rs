//! The terminal of the container's process.
//!
//! Init makes the pair of its two ends in the container's own devpts and keeps the peer as its
//! standard streams; the master goes to the runtime, and from there to the console socket or to the
//! command that serves the terminal in the foreground. Nothing is opened by a name that the
//! container could have changed: the devpts is identified by its magic number, its multiplexer is
//! looked up inside it, and the peer comes from the master (CVE-2025-52565).

use crate::Error;
use crate::plan::Files;
use crate::stage::runtime::LISTENER;
use kernel::errno::{errno_of, words};
use kernel::fs::{self, FileKind};
use kernel::path::{OpenFlags, Resolve, openat2};
use kernel::terminal::{self, Size};
use kernel::{Call, Errno, Failed, pipe, process, socket};
use namespace::Kind;
use nix::unistd::{Uid, fchown};
use rootfs::RootFd;
use spec::Container;
use std::fmt;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// The index of a failure at /dev/console.
const CONSOLE: u16 = 1;

/// The numbers of the multiplexer's node.
const PTMX: (u32, u32) = (5, 2);

/// What will be done, and nothing else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Its owner; the group stays that of the devpts.
    uid: u32,
    size: Option<Size>,
    /// Whether it is at /dev/console too: in a mount namespace that the container does not share,
    /// where the mount does not propagate to the host.
    console: bool,
}

/// Who receives the master.
#[derive(Debug, Default)]
pub(crate) enum Receiver {
    /// The caller of this crate, by [`crate::Started`].
    #[default]
    Caller,
    /// The other end of a connection.
    Socket(ConsoleSocket),
}

/// A connection to the process that serves the terminal. Each call on it waits for at most 10 s.
#[derive(Debug)]
pub struct ConsoleSocket {
    path: PathBuf,
    socket: OwnedFd,
}

/// Connects to a stream socket of the caller's on the host. This, and each call on the connection,
/// waits for at most 10 s.
///
/// # Errors
/// The kernel's answer: ECONNREFUSED if no process listens there.
#[expect(
    clippy::disallowed_methods,
    reason = "a path of the caller's on the host, before the clone"
)]
pub fn connect(path: &Path) -> Result<OwnedFd, Errno> {
    match socket::connect_within(path, LISTENER) {
        // An address has room for 107 bytes.
        Err(Errno::ENAMETOOLONG) => match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => {
                let directory = File::open(parent).map_err(|error| errno_of(&error))?;
                let name = name.to_str().ok_or(Errno::EINVAL)?;
                socket::connect_within_at(directory.as_fd(), name, LISTENER)
            }
            _ => Err(Errno::ENAMETOOLONG),
        },
        answer => answer,
    }
}

impl ConsoleSocket {
    /// Connects to a stream socket, before anything is made.
    ///
    /// # Errors
    /// [`Error::ConsoleSocket`]: no process listens there.
    pub fn connect(path: &Path) -> Result<Self, Error> {
        let connected = connect(path);
        let path = path.to_owned();
        match connected {
            Ok(socket) => Ok(Self { path, socket }),
            Err(errno) => Err(Error::ConsoleSocket {
                path,
                action: "connect",
                why: words(errno),
            }),
        }
    }

    /// Sends the master, with the name of its peer in the container.
    ///
    /// # Errors
    /// [`Error::ConsoleSocket`]: the owner does not receive it. [`Error::Link`]: it is no master.
    pub fn send(&self, master: BorrowedFd<'_>) -> Result<(), Error> {
        let number = terminal::number(master).map_err(Error::Link)?;
        let name = format!("/dev/pts/{number}");
        socket::send_fds(self.socket.as_fd(), name.as_bytes(), &[master]).map_err(|errno| {
            Error::ConsoleSocket {
                path: self.path.clone(),
                action: "send the terminal",
                why: words(errno),
            }
        })
    }
}

/// Init's two ends.
pub(crate) struct Pair {
    pub(crate) master: OwnedFd,
    peer: OwnedFd,
}

impl Plan {
    /// `None`: the process has the standard streams of the caller.
    pub(crate) fn lower(container: &Container, files: &Files) -> Option<Self> {
        let process = container
            .process
            .as_ref()
            .filter(|process| process.terminal)?;
        let size = process
            .console_size
            .map(|(height, width)| Size { height, width });
        Some(Self {
            uid: process.user.uid,
            size,
            console: match files {
                Files::Make(tree) => {
                    container.namespaces[Kind::Mount].is_own() && !tree.console_could_propagate()
                }
                Files::Join => false,
            },
        })
    }

    /// What the caller should know: why the terminal is not at /dev/console.
    pub(crate) fn warning(container: &Container, files: &Files) -> Option<String> {
        let is_own = container.namespaces[Kind::Mount].is_own();
        match files {
            Files::Make(tree) if is_own && tree.console_could_propagate() => Some(
                "/process/terminal: the terminal is not placed at /dev/console, because mounts propagate to the host there; mount a tmpfs on /dev, or change /linux/rootfsPropagation"
                    .to_owned(),
            ),
            Files::Make(_) | Files::Join => None,
        }
    }

    /// Makes the terminal, and its peer the standard streams. This process is in the container's
    /// root.
    pub(crate) fn make(&self, root: &RootFd) -> Result<Pair, Failed> {
        let pair = Pair::open(root)?;
        let peer = pair.peer.as_fd();
        let ioctl = Failed::of(Call::Ioctl);
        if let Some(size) = self.size {
            terminal::set_size(peer, size).map_err(&ioctl)?;
        }
        fchown(peer, Some(Uid::from_raw(self.uid)), None).map_err(Failed::of(Call::Chown))?;
        if self.console {
            root.place_console(peer).map_err(|failed| Failed {
                index: CONSOLE,
                ..failed
            })?;
        }
        for number in 0..3 {
            process::place_at(peer, number).map_err(Failed::of(Call::Dup))?;
        }
        pair.verify()?;
        Ok(pair)
    }

    /// Makes the terminal of the standard streams the controlling one of the session that this
    /// process leads.
    pub(crate) fn control() -> Result<(), Failed> {
        terminal::control(pipe::STANDARD[0]).map_err(Failed::of(Call::Ioctl))
    }

    /// The sentence for a failure.
    pub(crate) fn describe(failed: &Failed) -> String {
        let (call, why) = (failed.call.name(), words(failed.errno));
        let what = match failed.call {
            _ if failed.index == CONSOLE => {
                let hint = match failed.errno {
                    Errno::ENOTDIR | Errno::EINVAL | Errno::EISDIR => {
                        "; a directory stands there: mount a tmpfs on /dev"
                    }
                    Errno::EROFS => {
                        "; it does not exist and cannot be made there: mount a tmpfs on /dev"
                    }
                    _ => "",
                };
                format!("place the terminal at /dev/console: {call}: {why}{hint}")
            }
            Call::Openat2 | Call::Statfs => format!(
                "the container has no devpts at /dev/pts ({why}), in which its terminal is made; add an element of type devpts to /mounts"
            ),
            Call::Open => {
                let hint = match failed.errno {
                    Errno::ENOSPC => {
                        "; kernel.pty.max or the option `max` of the devpts permits no more terminals"
                    }
                    _ => "",
                };
                format!("open ptmx of the container's /dev/pts: {why}{hint}")
            }
            Call::Verify => {
                "the standard streams are not the terminal; refused to go on".to_owned()
            }
            _ => format!("{call}: {why}"),
        };
        format!("/process/terminal: {what}")
    }
}

impl Pair {
    /// In the devpts of the container.
    fn open(root: &RootFd) -> Result<Self, Failed> {
        let flags = OpenFlags::PATH | OpenFlags::DIRECTORY;
        let devpts = root
            .open(c"dev/pts", flags)
            .map_err(Failed::of(Call::Openat2))?;
        if !is_devpts(devpts.as_fd()).map_err(Failed::of(Call::Statfs))? {
            return Err(Failed::of(Call::Statfs)(Errno::ENODEV));
        }
        // Only the kernel makes names there, and a mount on one is not entered.
        let resolve = Resolve::BENEATH | Resolve::NO_SYMLINKS | Resolve::NO_XDEV;
        let flags = OpenFlags::READ_WRITE | OpenFlags::NOFOLLOW;
        let master =
            openat2(devpts.as_fd(), c"ptmx", flags, 0, resolve).map_err(Failed::of(Call::Open))?;
        let ioctl = Failed::of(Call::Ioctl);
        terminal::unlock(master.as_fd()).map_err(&ioctl)?;
        let peer = terminal::peer(master.as_fd()).map_err(&ioctl)?;
        Ok(Self { master, peer })
    }

    /// The standard streams are the peer.
    fn verify(&self) -> Result<(), Failed> {
        let stat = |fd| fs::stat(fd).map_err(Failed::of(Call::Stat));
        let peer = stat(self.peer.as_fd())?;
        for stream in pipe::STANDARD {
            let found = stat(stream)?;
            if (found.device, found.inode, found.node) != (peer.device, peer.inode, peer.node) {
                return Err(Failed::of(Call::Verify)(Errno::EPERM));
            }
        }
        Ok(())
    }
}

fn is_devpts(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    Ok(fs::filesystem_magic(fd)? == fs::DEVPTS_MAGIC)
}

/// Whether the descriptor from init is the master of a terminal.
pub(crate) fn is_master(fd: BorrowedFd<'_>) -> bool {
    let is_node = fs::stat(fd).is_ok_and(|stat| (stat.kind, stat.node) == (FileKind::Char, PTMX));
    is_node && is_devpts(fd) == Ok(true)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in the container's devpts, of uid {}", self.uid)?;
        if let Some(Size { height, width }) = self.size {
            write!(f, ", {height} lines of {width} characters")?;
        }
        match self.console {
            true => writeln!(f, ", also at /dev/console"),
            false => writeln!(f),
        }
    }
}
