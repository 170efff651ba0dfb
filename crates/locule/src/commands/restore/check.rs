//! What is checked about the mounts of an image, before CRIU sees it.
//!
//! Anyone can have written an image. Its mounts must be those of the configuration or of kinds
//! that show nothing of the host. What the processes do is up to the image.

use crate::error::Error;
use criu::{MountEntry, mount_kind};
use kernel::mount::MountAttr;
use rootfs::External;
use std::collections::BTreeSet;
use std::path::{Component, Path};

/// Kinds that CRIU makes anew and that show no file of the host.
const OWN: [u32; 7] = [
    mount_kind::PROC,
    mount_kind::SYSFS,
    mount_kind::TMPFS,
    mount_kind::DEVPTS,
    mount_kind::CGROUP,
    mount_kind::MQUEUE,
    mount_kind::CGROUP2,
];

/// MS_RDONLY of mount(2).
const READ_ONLY: u32 = 1;

/// One mount of the image that CRIU does not make, and what the configuration says about it.
#[derive(Debug)]
pub(super) struct Bound<'a> {
    pub(super) point: &'a Path,
    pub(super) external: &'a External,
    /// Whether CRIU copies its sharing from the source.
    pub(super) is_shared: bool,
}

/// Compares the mounts of an image with the configuration. Returns the external ones.
///
/// # Errors
/// [`Error::ImageMount`]: a mount that the configuration does not have, or not like this.
pub(super) fn mounts<'a>(
    entries: &'a [MountEntry],
    externals: &'a [External],
) -> Result<Vec<Bound<'a>>, Error> {
    let mut bound = Vec::new();
    let mut names = BTreeSet::new();
    let mut roots = 0;
    for entry in entries {
        let refused = |reason| Error::ImageMount {
            point: entry.point.clone(),
            reason,
        };
        let point = Path::new(&entry.point);
        if !is_plain(point) {
            return Err(refused("its mount point is not a plain absolute path"));
        }
        match &entry.external {
            None if entry.point == "/" => roots += 1,
            None if OWN.contains(&entry.kind) => {}
            None => {
                return Err(refused(
                    "it is neither a volume of the configuration nor of a kind that is made anew",
                ));
            }
            Some(name) => {
                let external = externals.iter().find(|external| external.name == *name);
                let external = external.filter(|_| names.insert(name));
                let external = external.ok_or(refused(
                    "the configuration has no mount of its name, or the image has two of them",
                ))?;
                if external.restrictions.contains(MountAttr::RDONLY) && entry.flags & READ_ONLY == 0
                {
                    return Err(refused(
                        "it is writable, but the configuration has it read-only",
                    ));
                }
                let is_shared = entry.is_shared;
                bound.push(Bound {
                    point,
                    external,
                    is_shared,
                });
            }
        }
    }
    match roots {
        1 => Ok(bound),
        _ => Err(Error::ImageMount {
            point: "/".to_owned(),
            reason: "an image must have one root",
        }),
    }
}

/// Absolute, without `.`, `..` and empty components.
fn is_plain(path: &Path) -> bool {
    let plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
    let again: std::path::PathBuf = path.components().collect();
    path.is_absolute() && path.components().all(plain) && again.as_os_str() == path.as_os_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rootfs::ExternalSource;

    fn entry(kind: u32, point: &str, external: Option<&str>, flags: u32) -> MountEntry {
        MountEntry {
            kind,
            root: "/".to_owned(),
            point: point.to_owned(),
            external: external.map(str::to_owned),
            flags,
            is_shared: false,
        }
    }

    fn volume(name: &str, restrictions: MountAttr) -> External {
        External {
            name: name.to_owned(),
            source: ExternalSource::Empty,
            restrictions,
        }
    }

    #[test]
    fn only_mounts_of_the_configuration_are_accepted() {
        let externals = [
            volume("mount-0", MountAttr::empty()),
            volume("mount-1", MountAttr::RDONLY),
        ];
        let root = entry(0, "/", None, 0);
        let with = |more: &[MountEntry]| {
            let entries = [std::slice::from_ref(&root), more].concat();
            mounts(&entries, &externals).map(|bound| bound.len())
        };
        assert_eq!(with(&[]).unwrap(), 0);
        let good = [
            entry(mount_kind::PROC, "/proc", None, 0),
            entry(0, "/data", Some("mount-0"), 0),
            entry(0, "/read", Some("mount-1"), READ_ONLY),
        ];
        assert_eq!(with(&good).unwrap(), 2);
        for bad in [
            entry(0, "/data", Some("mount-2"), 0),
            entry(0, "/data", Some(""), 0),
            entry(0, "/read", Some("mount-1"), 0),
            // The host's disk, an overlay of the host's root, a bind of the root's own files.
            entry(16, "/disk", None, 0),
            entry(17, "/over", None, 0),
            entry(0, "/etc", None, 0),
            entry(0, "/", None, 0),
            entry(mount_kind::PROC, "proc", None, 0),
            entry(mount_kind::PROC, "/../proc", None, 0),
            entry(mount_kind::PROC, "/a//b", None, 0),
            entry(mount_kind::PROC, "", None, 0),
        ] {
            let refused = with(std::slice::from_ref(&bad));
            assert!(matches!(refused, Err(Error::ImageMount { .. })), "{bad:?}");
        }
        let twice = [good[1].clone(), entry(0, "/more", Some("mount-0"), 0)];
        assert!(with(&twice).is_err());
        assert!(mounts(&good, &externals).is_err(), "no root");
    }
}
