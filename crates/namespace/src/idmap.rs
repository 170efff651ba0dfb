//! Id maps: their text, their translation, and who may write them.
//!
//! The creator of a user namespace writes its maps, once. With CAP_SETUID and CAP_SETGID it writes
//! any map itself. Without them it writes a map of its own single id, for which setgroups(2) must
//! be denied first, or the set-id programs newuidmap and newgidmap write the ranges of /etc/subuid
//! and /etc/subgid. See user_namespaces(7).

use crate::{Error, Facts, Kind};
use caller::Caller;
use kernel::errno::errno_of;
use spec::Container;
use spec::container::{IdMapping, Namespace};
use std::env;
use std::fmt;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// CAP_SETGID and CAP_SETUID.
const SET_IDS: [u8; 2] = [6, 7];

/// How the maps of a new user namespace get written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdMaps {
    uid: Vec<IdMapping>,
    gid: Vec<IdMapping>,
    writer: Writer,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Writer {
    /// This process may write anything.
    Privileged,
    /// This process maps only itself; setgroups is denied first.
    OwnId,
    /// Set-id programs write.
    Helpers { uid: PathBuf, gid: PathBuf },
}

impl IdMaps {
    /// The maps of the container's new user namespace; `None` where it makes none.
    ///
    /// # Errors
    /// A map that is too long; maps that need a set-id program that does not exist.
    pub fn lower(
        container: &Container,
        facts: &Facts,
        caller: &Caller,
    ) -> Result<Option<Self>, Error> {
        if container.namespaces[Kind::User] != Namespace::New {
            return Ok(None);
        }
        let (uid, gid) = (
            container.uid_mappings.clone(),
            container.gid_mappings.clone(),
        );
        // The kernel accepts a map in one write of less than a page.
        let limit = kernel::process::page_size();
        for (pointer, maps) in [("/linux/uidMappings", &uid), ("/linux/gidMappings", &gid)] {
            let length = IdMapping::text(maps).len();
            if length >= limit {
                return Err(Error::MapTooLong {
                    pointer,
                    extents: maps.len(),
                    length,
                    limit,
                });
            }
        }
        let writer = Writer::choose(&uid, &gid, facts, caller)?;
        Ok(Some(Self { uid, gid, writer }))
    }

    /// Whether setgroups(2) will be denied in the namespace.
    pub fn denies_setgroups(&self) -> bool {
        self.writer == Writer::OwnId
    }

    /// The id to become inside, before anything is made there: the container's root, or the first
    /// mapped id if 0 is not mapped.
    pub fn root(&self) -> (u32, u32) {
        let first = |maps: &[IdMapping]| match IdMapping::host_id(maps, 0) {
            Some(_) => 0,
            None => maps.first().map_or(0, |map| map.container),
        };
        (first(&self.uid), first(&self.gid))
    }

    /// The user id on the host of this user of the container.
    pub fn host_uid(&self, uid: u32) -> Option<u32> {
        IdMapping::host_id(&self.uid, uid)
    }

    /// Writes the maps of process `pid`, which is in its new user namespace and waits.
    pub fn write(&self, pid: i32) -> Result<(), Error> {
        match &self.writer {
            Writer::Privileged => {}
            Writer::OwnId => write_file(pid, "setgroups", "/linux/gidMappings", "deny")?,
            Writer::Helpers { uid, gid } => {
                run_helper(uid, pid, &self.uid, &UID)?;
                return run_helper(gid, pid, &self.gid, &GID);
            }
        }
        write_file(pid, "uid_map", UID.pointer, &IdMapping::text(&self.uid))?;
        write_file(pid, "gid_map", GID.pointer, &IdMapping::text(&self.gid))
    }
}

impl fmt::Display for IdMaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, maps) in [("uid", &self.uid), ("gid", &self.gid)] {
            writeln!(
                f,
                "{name} map {}",
                IdMapping::text(maps).trim_end().replace('\n', ", ")
            )?;
        }
        match &self.writer {
            Writer::Privileged => writeln!(f, "the runtime writes the maps"),
            Writer::OwnId => writeln!(f, "the runtime denies setgroups and writes the maps"),
            Writer::Helpers { uid, gid } => writeln!(f, "{uid:?} and {gid:?} write the maps"),
        }
    }
}

/// What differs between users and groups.
struct Side {
    pointer: &'static str,
    program: &'static str,
    ranges: &'static str,
}

const UID: Side = Side {
    pointer: "/linux/uidMappings",
    program: "newuidmap",
    ranges: "/etc/subuid",
};
const GID: Side = Side {
    pointer: "/linux/gidMappings",
    program: "newgidmap",
    ranges: "/etc/subgid",
};

impl Writer {
    fn choose(
        uid: &[IdMapping],
        gid: &[IdMapping],
        facts: &Facts,
        caller: &Caller,
    ) -> Result<Self, Error> {
        if caller.has(SET_IDS) {
            return Ok(Self::Privileged);
        }
        if !needs_helpers(uid, gid, caller) {
            return Ok(Self::OwnId);
        }
        let find = |found: &Option<PathBuf>, side: &Side, own| {
            found.clone().ok_or(Error::NoHelper {
                pointer: side.pointer,
                program: side.program,
                own,
            })
        };
        Ok(Self::Helpers {
            uid: find(&facts.newuidmap, &UID, caller.uid)?,
            gid: find(&facts.newgidmap, &GID, caller.gid)?,
        })
    }
}

/// Whether only set-id programs may write these maps for the caller.
pub(crate) fn needs_helpers(uid: &[IdMapping], gid: &[IdMapping], caller: &Caller) -> bool {
    let is_own =
        |maps: &[IdMapping], own: u32| matches!(maps, [map] if map.size == 1 && map.host == own);
    !(caller.has(SET_IDS) || is_own(uid, caller.uid) && is_own(gid, caller.gid))
}

/// The first executable file called `name` in the runtime's own PATH.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    env::split_paths(&path)
        .filter(|directory| directory.is_absolute())
        .find_map(|directory| {
            let candidate = directory.join(name);
            #[expect(
                clippy::disallowed_methods,
                reason = "a program of the host, from the own PATH"
            )]
            let metadata = std::fs::metadata(&candidate).ok()?;
            (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then_some(candidate)
        })
}

fn write_file(
    pid: i32,
    file: &'static str,
    pointer: &'static str,
    text: &str,
) -> Result<(), Error> {
    let path = format!("/proc/{pid}/{file}");
    let write = || {
        #[expect(
            clippy::disallowed_methods,
            reason = "the host's /proc; the process is our child"
        )]
        let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
        // One call: the kernel takes a map once.
        let count = file.write(text.as_bytes())?;
        if count == text.len() {
            Ok(())
        } else {
            Err(io::Error::from(io::ErrorKind::WriteZero))
        }
    };
    write().map_err(|error| Error::WriteMap {
        pointer,
        file,
        pid,
        errno: errno_of(&error),
    })
}

fn run_helper(program: &Path, pid: i32, maps: &[IdMapping], side: &Side) -> Result<(), Error> {
    let numbers = maps
        .iter()
        .flat_map(|map| [map.container, map.host, map.size]);
    let output = Command::new(program)
        .arg(pid.to_string())
        .args(numbers.map(|number| number.to_string()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .output()
        .map_err(|source| Error::Helper {
            program: side.program,
            source,
        })?;
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr);
    let message = message
        .lines()
        .last()
        .unwrap_or("no reason given")
        .trim()
        .to_owned();
    let Side {
        pointer,
        program,
        ranges,
    } = *side;
    Err(Error::HelperRefused {
        pointer,
        program,
        message,
        ranges,
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use caller::{Capabilities, UserNamespace};
    use proptest::prelude::*;

    /// User and group 1000 of another user namespace than the initial one, with these effective
    /// capabilities.
    pub(crate) fn caller(effective: u64) -> Caller {
        Caller {
            uid: 1000,
            gid: 1000,
            capabilities: Capabilities {
                known: u64::MAX,
                bounding: u64::MAX,
                permitted: effective,
                effective,
                inheritable: 0,
                ambient: 0,
            },
            user_namespace: UserNamespace {
                inode: 1,
                setgroups: true,
                uid_map: Vec::new(),
                gid_map: Vec::new(),
            },
            path: None,
            owns_mounts: true,
            descriptors: None,
        }
    }

    #[test]
    fn the_writer_follows_the_callers_rights() {
        let helpers = Facts {
            newuidmap: Some("/bin/newuidmap".into()),
            newgidmap: Some("/bin/newgidmap".into()),
            ..Facts::default()
        };
        let choose = |maps: &[IdMapping], facts: &Facts, effective| {
            Writer::choose(maps, maps, facts, &caller(effective)).map_err(|error| error.to_string())
        };
        let (own, range) = ([map(0, 1000, 1)], [map(0, 1000, 1), map(1, 100_000, 9)]);
        let both = 1 << 6 | 1 << 7;
        assert_eq!(choose(&range, &helpers, both), Ok(Writer::Privileged));
        assert_eq!(choose(&own, &helpers, 1 << 6), Ok(Writer::OwnId));
        assert!(matches!(
            choose(&range, &helpers, 0),
            Ok(Writer::Helpers { .. })
        ));
        let missing = choose(&range, &Facts::default(), 0).unwrap_err();
        assert!(
            missing.contains("newuidmap, which is not in PATH"),
            "{missing}"
        );
    }

    fn map(container: u32, host: u32, size: u32) -> IdMapping {
        IdMapping {
            container,
            host,
            size,
        }
    }

    #[test]
    fn text_is_one_extent_a_line() {
        assert_eq!(
            IdMapping::text(&[map(0, 1000, 1), map(1, 100_000, 65536)]),
            "0 1000 1\n1 100000 65536\n"
        );
    }

    #[test]
    fn root_is_the_first_mapped_id_where_zero_is_unmapped() {
        let maps = |uid, gid| IdMaps {
            uid,
            gid,
            writer: Writer::Privileged,
        };
        assert_eq!(
            maps(vec![map(5, 0, 1), map(0, 9, 1)], vec![map(7, 1, 2)]).root(),
            (0, 7)
        );
    }

    /// The inside id that `id` of the host is.
    fn to_container(maps: &[IdMapping], id: u32) -> Option<u32> {
        let (_, inside) = maps
            .iter()
            .flat_map(|map| (0..map.size).map(|n| (map.host + n, map.container + n)))
            .find(|(outside, _)| *outside == id)?;
        Some(inside)
    }

    proptest! {
        #[test]
        fn translation_there_and_back_is_the_same_id(
            extents in prop::collection::vec((0_u32..1000, 1_u32..100), 1..6), id in 0_u32..10_000,
        ) {
            // Disjoint extents: each starts where the one before ended, plus a gap.
            let mut maps = Vec::new();
            let (mut inside, mut outside) = (0, 1_000_000);
            for (gap, size) in extents {
                inside += gap;
                outside += gap * 2;
                maps.push(map(inside, outside, size));
                inside += size;
                outside += size;
            }
            match IdMapping::host_id(&maps, id) {
                Some(host) => prop_assert_eq!(to_container(&maps, host), Some(id)),
                None => prop_assert!(maps.iter().all(|m| id < m.container || id - m.container >= m.size)),
            }
        }

        #[test]
        fn extreme_extents_never_overflow(a: u32, b: u32, size: u32, id: u32) {
            let _any = IdMapping::host_id(&[map(a, b, size)], id);
        }
    }
}
