//! The terminal of the container at /dev/console.
//!
//! The name is never followed: what stands there, a link as well, is covered and not opened
//! (CVE-2025-52565, CVE-2026-88264). What is missing is made by an exclusive call. What is placed
//! is a copy of a mount that was made from the descriptor of the terminal, so no name of the
//! terminal is looked up either.

use crate::root::{Form, RootFd, look_up, make_one};
use kernel::mount::{self, Depth, Follow};
use kernel::path::{OpenFlags, Resolve};
use kernel::{Call, Failed};
use std::os::fd::{AsFd, BorrowedFd};

impl RootFd {
    /// Places `terminal` at /dev/console. In the container's mount namespace, after the pivot and
    /// before anything turns read-only.
    ///
    /// # Errors
    /// ENOTDIR: a directory stands there. EROFS: nothing stands there, and nothing can be made.
    /// ENOENT: there is no /dev.
    pub fn place_console(&self, terminal: BorrowedFd<'_>) -> Result<(), Failed> {
        let tree = mount::clone_tree(terminal, c"", Depth::Top, Follow::No)
            .map_err(Failed::of(Call::OpenTree))?;
        let dev = self
            .open(c"dev", OpenFlags::PATH | OpenFlags::DIRECTORY)
            .map_err(Failed::of(Call::Openat2))?;
        let place = match make_one(dev.as_fd(), c"console", Form::File)? {
            Some(made) => made,
            None => {
                let flags = OpenFlags::PATH | OpenFlags::NOFOLLOW;
                let resolve = Resolve::BENEATH | Resolve::NO_MAGICLINKS;
                look_up(dev.as_fd(), c"console", flags, resolve)
                    .map_err(Failed::of(Call::Openat2))?
            }
        };
        mount::move_mount(tree.as_fd(), place.as_fd()).map_err(Failed::of(Call::MoveMount))
    }
}
