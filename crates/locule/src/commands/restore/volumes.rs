//! What is checked about the volumes and the root of a restored container, before a process runs.
//!
//! CRIU binds volumes by paths, gives them the flags of the image, and some not even those.

#![expect(
    clippy::disallowed_methods,
    reason = "the host's /proc, and sources as the configuration names them"
)]

use super::check::Bound;
use crate::error::Error;
use kernel::Errno;
use kernel::errno::words;
use kernel::fs::read_proc_text;
use kernel::mount::MountAttr;
use kernel::path::OpenFlags;
use rootfs::{ExternalSource, RootFd, mount_number};
use spec::Container;
use spec::container::Root;
use std::ffi::CString;
use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The restrictions of a mount, as mountinfo spells them.
const RESTRICTIONS: [(MountAttr, &str); 4] = [
    (MountAttr::RDONLY, "ro"),
    (MountAttr::NOSUID, "nosuid"),
    (MountAttr::NODEV, "nodev"),
    (MountAttr::NOEXEC, "noexec"),
];

/// The bit of CAP_SYS_ADMIN.
const SYS_ADMIN: u64 = 1 << 21;

/// A volume of the host, and the device and inode that its source has before the restore.
pub(super) struct Volume<'a> {
    point: &'a Path,
    restrictions: MountAttr,
    file: (u64, u64),
    has_id_map: bool,
}

/// Notes what the sources of the volumes are.
///
/// # Errors
/// [`Error::Restored`]: one does not exist.
pub(super) fn note<'a>(bound: &[Bound<'a>]) -> Result<Vec<Volume<'a>>, Error> {
    let note = |bound: &Bound<'a>| {
        let ExternalSource::Host(path, _) = &bound.external.source else {
            return None;
        };
        let restrictions = bound.external.restrictions;
        let has_id_map = bound.external.id_map.is_some();
        let file = fs::metadata(path).map(|found| (found.dev(), found.ino()));
        Some(match file {
            Ok(file) => Ok(Volume {
                point: bound.point,
                restrictions,
                file,
                has_id_map,
            }),
            Err(error) => {
                let what = format!("cannot have the volume {path:?}: {error}");
                Err(Error::Restored(what))
            }
        })
    };
    bound.iter().filter_map(note).collect()
}

/// Compares the volumes and the root of process `pid` with the configuration.
///
/// # Errors
/// [`Error::Restored`]: something else is mounted, or it is restricted less.
pub(super) fn check(volumes: &[Volume<'_>], root: &Root, pid: i32) -> Result<(), Error> {
    let (table, top) = view(pid)?;
    let open = |point: &Path| {
        let opened = look_up(&top, point);
        opened.map_err(|errno| refused(point, &format!("cannot be opened: {}", words(errno))))
    };
    if root.readonly {
        restricted(
            &table,
            Path::new("/"),
            &open(Path::new("/"))?,
            MountAttr::RDONLY,
        )?;
    }
    for volume in volumes {
        let shown = File::from(open(volume.point)?);
        let found = shown.metadata().map_err(Error::Look)?;
        if (found.dev(), found.ino()) != volume.file {
            return Err(refused(
                volume.point,
                "is not the volume of the configuration",
            ));
        }
        let shown = shown.into();
        restricted(&table, volume.point, &shown, volume.restrictions)?;
        let options = options(&table, &shown).unwrap_or_default();
        if volume.has_id_map && !options.split(',').any(|option| option == "idmapped") {
            return Err(refused(volume.point, "does not map ids, as configured"));
        }
    }
    Ok(())
}

/// Checks that each masked path of process `pid` that exists is covered, and that each read-only
/// path is read-only. A container that may mount can have changed that itself.
pub(super) fn sealed(container: &Container, pid: i32) -> Result<(), Error> {
    let process = container.process.as_ref();
    if process.is_some_and(|process| process.capabilities.bounding.0 & SYS_ADMIN != 0) {
        return Ok(());
    }
    let (table, top) = view(pid)?;
    let masked = container.masked_paths.iter().map(|path| (path, true));
    let read_only = container.readonly_paths.iter().map(|path| (path, false));
    for (path, is_masked) in masked.chain(read_only) {
        let shown = match look_up(&top, path) {
            Ok(shown) => shown,
            Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
            Err(errno) => {
                return Err(refused(
                    path,
                    &format!("cannot be opened: {}", words(errno)),
                ));
            }
        };
        restricted(&table, path, &shown, MountAttr::RDONLY)?;
        let number = mount_number(shown.as_fd()).map(|number| number.to_string());
        // Masks are bound from the files of the stage, or from the host's null device. Nothing else
        // shows a part of such a file system.
        let is_cover = |line: &str| {
            let is_tmpfs = line.contains(" - tmpfs ") || line.contains(" - devtmpfs ");
            let mut fields = line.split(' ');
            let is_shown = fields.next() == number.as_deref();
            is_shown && is_tmpfs && matches!(fields.nth(2), Some("/null" | "/empty"))
        };
        if is_masked && !table.lines().any(is_cover) {
            return Err(refused(path, "does not mask it"));
        }
    }
    Ok(())
}

/// The mount table of process `pid`, and its root.
fn view(pid: i32) -> Result<(String, RootFd), Error> {
    let table =
        read_proc_text(&format!("{pid}/mountinfo")).map_err(|errno| Error::Look(errno.into()))?;
    let top = File::open(format!("/proc/{pid}/root")).map_err(Error::Look)?;
    Ok((table, RootFd::new(top.into())))
}

fn look_up(top: &RootFd, path: &Path) -> Result<OwnedFd, Errno> {
    let name = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    top.open(&name, OpenFlags::PATH)
}

/// The options of the mount that `shown` is on.
fn options<'t>(table: &'t str, shown: &OwnedFd) -> Option<&'t str> {
    let number = mount_number(shown.as_fd())?.to_string();
    table.lines().find_map(|line| {
        let mut fields = line.split(' ');
        (fields.next() == Some(&*number)).then(|| fields.nth(4))?
    })
}

/// Checks that the mount that `shown` is on has the restrictions.
fn restricted(
    table: &str,
    point: &Path,
    shown: &OwnedFd,
    restrictions: MountAttr,
) -> Result<(), Error> {
    let options = options(table, shown).ok_or_else(|| refused(point, "is not mounted"))?;
    for (restriction, word) in RESTRICTIONS {
        if restrictions.contains(restriction) && !options.split(',').any(|option| option == word) {
            return Err(refused(point, &format!("is not {word}, as configured")));
        }
    }
    Ok(())
}

fn refused(point: &Path, why: &str) -> Error {
    Error::Restored(format!("has a mount at {point:?} that {why}"))
}
