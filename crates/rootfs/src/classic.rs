//! File systems whose parameters are too long for fsconfig(2).
//!
//! fsconfig(2) accepts 255 bytes for a value; mount(2) accepts a page for all of them. An overlay
//! of many layers needs that. mount(2) needs a name to mount on: a directory of a private tmpfs,
//! which is mounted on the container's root for the time of the call and which no other process can
//! enter. The result is a detached mount like any other.

use crate::ground::detached;
use crate::label;
use crate::lower_mount::Element;
use crate::mount::Change;
use crate::options::Param;
use crate::root::RootFd;
use kernel::mount::{self, Depth, Follow, MountAttr, SuperblockFlags};
use kernel::path::{self, CWD, OpenFlags};
use kernel::process::page_size;
use kernel::{Call, Failed};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::fchdir;
use spec::{Code, Diagnostic};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

/// The longest key or value of fsconfig(2), in bytes.
const LONGEST: usize = 255;

/// The name of the mount point in our tmpfs.
const POINT: &CStr = c"mount";

/// What mount(2) gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Classic {
    source: CString,
    flags: SuperblockFlags,
    data: CString,
}

impl Classic {
    /// Decides whether mount(2) is needed, and its arguments. `params` are those of fsconfig(2).
    ///
    /// # Errors
    /// All parameters together are longer than a page.
    pub(crate) fn lower(
        element: &Element<'_>,
        kind: &str,
        params: &[Param],
    ) -> Result<Option<Self>, Diagnostic> {
        let is_long = |text: &CString| text.count_bytes() > LONGEST;
        let needed = params.iter().any(|param| {
            let value = param.value.as_ref();
            // Before Linux 6.5 an overlay accepts no comma from fsconfig(2).
            let has_comma = value.is_some_and(|value| value.to_bytes().contains(&b','));
            is_long(&param.key) || value.is_some_and(is_long) || kind == "overlay" && has_comma
        });
        if !needed {
            return Ok(None);
        }
        let mut classic = Self {
            source: c"none".into(),
            flags: SuperblockFlags::empty(),
            data: CString::default(),
        };
        let mut words: Vec<Vec<u8>> = Vec::new();
        for param in params {
            let flag = FLAGS.iter().find(|(name, _)| param.is(name));
            match (&param.value, flag) {
                (Some(source), _) if param.is(c"source") => classic.source.clone_from(source),
                (None, Some((_, flag))) => classic.flags.insert(*flag),
                _ => words.push(word(param)),
            }
        }
        let data = words.join(&b',');
        // mount(2) reads a page, with the NUL at the end.
        let limit = page_size() - 1;
        if data.len() > limit {
            let message = format!(
                "are {} bytes together for the file system, and the kernel accepts {limit}",
                data.len()
            );
            return Err(element.problem(Code::Range, "options", message));
        }
        classic.data = CString::new(data)
            .map_err(|_nul| element.problem(Code::Range, "options", "contain a NUL byte".into()))?;
        Ok(Some(classic))
    }

    /// Builds the mount, detached. The working directory is the same afterwards.
    pub(crate) fn make(
        &self,
        kind: &CStr,
        attributes: MountAttr,
        root: &RootFd,
    ) -> Result<OwnedFd, Failed> {
        let here = path::open(c".", OpenFlags::PATH).map_err(Failed::of(Call::Openat2))?;
        let ground = ground()?;
        mount::move_mount(ground.as_fd(), root.as_fd()).map_err(Failed::of(Call::MoveMount))?;
        let made = fchdir(ground.as_fd())
            .map_err(Failed::of(Call::Chdir))
            .and_then(|()| self.make_here(kind));
        // The working directory is the root of the ground, which names the ground itself.
        let gone = fchdir(ground.as_fd())
            .map_err(Failed::of(Call::Chdir))
            .and_then(|()| mount::detach(c".").map_err(Failed::of(Call::Umount)));
        fchdir(here.as_fd()).map_err(Failed::of(Call::Chdir))?;
        let made = made?;
        gone?;
        Change::set(Depth::Top, attributes).apply(made.as_fd())?;
        Ok(made)
    }

    /// Mounts in the working directory, and takes a detached copy.
    fn make_here(&self, kind: &CStr) -> Result<OwnedFd, Failed> {
        mount::mount_classic(&self.source, POINT, kind, self.flags, &self.data)
            .map_err(Failed::of(Call::Mount))?;
        mount::clone_tree(CWD, POINT, Depth::Top, Follow::No).map_err(Failed::of(Call::OpenTree))
    }

    /// For the text of a plan.
    pub(crate) fn data(&self) -> &CStr {
        &self.data
    }
}

/// The parameters that are flags of mount(2), not text.
const FLAGS: [(&CStr, SuperblockFlags); 9] = [
    (c"ro", SuperblockFlags::RDONLY),
    (c"sync", SuperblockFlags::SYNCHRONOUS),
    (c"dirsync", SuperblockFlags::DIRSYNC),
    (c"lazytime", SuperblockFlags::LAZYTIME),
    (c"mand", SuperblockFlags::MANDLOCK),
    (c"async", SuperblockFlags::empty()),
    (c"nolazytime", SuperblockFlags::empty()),
    (c"nomand", SuperblockFlags::empty()),
    (c"rw", SuperblockFlags::empty()),
];

/// One parameter as text. A label may have commas, which need quotes.
fn word(param: &Param) -> Vec<u8> {
    let mut text = param.key.to_bytes().to_vec();
    if let Some(value) = &param.value {
        let quote: &[u8] = if label::is_label(param) { b"\"" } else { b"" };
        text.push(b'=');
        text.extend([quote, value.to_bytes(), quote].concat());
    }
    text
}

/// A detached tmpfs with one directory, which other users may not enter.
fn ground() -> Result<OwnedFd, Failed> {
    let params = [(c"size", c"4096"), (c"nr_inodes", c"8"), (c"mode", c"0700")];
    let attributes = MountAttr::NOSUID | MountAttr::NODEV | MountAttr::NOEXEC;
    let ground = detached(c"tmpfs", params, attributes)?;
    mkdirat(ground.as_fd(), POINT, Mode::from_bits_truncate(0o700))
        .map_err(Failed::of(Call::Mkdir))?;
    Ok(ground)
}
