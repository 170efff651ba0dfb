//! What the host has mounted.
//!
//! Looks at `/sys/fs/cgroup` and at `/proc/self/cgroup`: a cgroup2 file system there is the only
//! hierarchy (v2); else each line of the second names a hierarchy whose directory carries the names of
//! its controllers (v1), and `unified` may be a cgroup2 beside them (hybrid). The mount table, which is
//! long on busy hosts, is read only when the caller's own group is not where its name says.

#![expect(
    clippy::disallowed_methods,
    reason = "the host's /proc and mount points of cgroup file systems, before any container"
)]

use kernel::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::directory::Directory;
use crate::{Error, Version};

/// Where every distribution mounts its hierarchies.
pub(crate) const MOUNT: &str = "/sys/fs/cgroup";

/// One tree of groups.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    pub(crate) version: Version,
    /// The directory below [`MOUNT`]; empty on a pure v2 host.
    pub(crate) name: String,
    /// As /proc/self/cgroup lists them: "cpu,cpuacct", "name=systemd"; empty for v2.
    pub(crate) controllers: String,
    pub(crate) root: Directory,
    /// The caller's group, as /proc/self/cgroup names it.
    own: String,
}

/// One line of /proc/PID/cgroup: the controllers (v1) and the path.
pub(crate) fn membership(line: &str) -> Option<(&str, &str)> {
    let (_number, rest) = line.split_once(':')?;
    rest.split_once(':')
}

/// The content of a small file of the kernel's.
pub(crate) fn read_text(path: &str) -> Result<String, Error> {
    let bytes = fs::read(path).map_err(|error| Error::Read {
        path: PathBuf::from(path),
        source: Errno::from_raw(error.raw_os_error().unwrap_or(0)),
    })?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Opens the directory of a hierarchy by its name below [`MOUNT`]. `None`: not there, or no cgroup file
/// system.
pub(crate) fn open_root(name: &str) -> Option<(Directory, Version)> {
    let path = Path::new(MOUNT).join(name);
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let fd = open(&path, flags, Mode::empty()).ok()?;
    Directory::root(fd, &path).ok().flatten()
}

/// As [`open_root`], below the descriptor of [`MOUNT`]; a link such as `cpu` to `cpu,cpuacct` is followed.
fn open_root_below(mount: &OwnedFd, name: &str) -> Option<(Directory, Version)> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let fd = openat2(mount.as_fd(), name, how).ok()?;
    Directory::root(fd, &Path::new(MOUNT).join(name))
        .ok()
        .flatten()
}

/// Every hierarchy that a container's group can be in. On hybrid hosts the unified one comes first.
pub(crate) fn detect() -> Result<Vec<Hierarchy>, Error> {
    let own = read_text("/proc/self/cgroup")?;
    let own: Vec<(&str, &str)> = own.lines().filter_map(membership).collect();
    let unified = own.iter().find(|(list, _path)| list.is_empty());
    if let Some((root, Version::V2)) = open_root("") {
        let path = unified.map_or("/", |(_list, path)| path);
        return Ok(vec![Hierarchy::v2("", root, path)]);
    }
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mount = open(MOUNT, flags, Mode::empty()).map_err(|source| Error::Directory {
        action: "open",
        group: PathBuf::from(MOUNT),
        source,
    })?;
    let mut found = Vec::new();
    if let (Some((_list, path)), Some((root, Version::V2))) =
        (unified, open_root_below(&mount, "unified"))
    {
        found.push(Hierarchy::v2("unified", root, path));
    }
    found.extend(own.iter().filter_map(|(list, path)| v1(&mount, list, path)));
    if found.is_empty() {
        return Err(Error::NotMounted {
            path: PathBuf::from(MOUNT),
        });
    }
    Ok(found)
}

/// The v1 hierarchy of the controllers in `list`, if it is mounted. Of the named ones only systemd's
/// counts: it is how systemd knows what belongs to a service.
fn v1(mount: &OwnedFd, list: &str, own: &str) -> Option<Hierarchy> {
    if list.is_empty() || (list.starts_with("name=") && list != "name=systemd") {
        return None;
    }
    let whole = list.strip_prefix("name=").unwrap_or(list);
    let names = std::iter::once(whole).chain(whole.split(','));
    for name in names {
        if let Some((root, Version::V1)) = open_root_below(mount, name) {
            return Some(Hierarchy {
                version: Version::V1,
                name: name.to_owned(),
                controllers: list.to_owned(),
                root,
                own: own.to_owned(),
            });
        }
    }
    None
}

impl Hierarchy {
    fn v2(name: &str, root: Directory, own: &str) -> Self {
        Self {
            version: Version::V2,
            name: name.to_owned(),
            controllers: String::new(),
            root,
            own: own.to_owned(),
        }
    }

    /// The caller's group as a path below the mount's root ("/" or "/a/b").
    ///
    /// The two differ in a container that shares the host's cgroup namespace and has only its own
    /// group mounted; there the mount's root is cut off.
    pub(crate) fn own_group(&self) -> Result<String, Error> {
        let hidden = || Error::OwnGroupHidden {
            own: self.own.clone(),
            mount: self.root.path().to_owned(),
        };
        if self.own.split('/').any(|name| name == "..") {
            return Err(hidden());
        }
        let relative = self.own.trim_start_matches('/');
        if self.root.open_below(relative).is_ok() {
            return Ok(format!("/{relative}"));
        }
        let table = read_text("/proc/self/mountinfo")?;
        let mount_root = root_of_mount(&table, self.root.path()).ok_or_else(hidden)?;
        let below = self
            .own
            .strip_prefix(mount_root.trim_end_matches('/'))
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            .ok_or_else(hidden)?;
        let relative = below.trim_start_matches('/');
        match self.root.open_below(relative) {
            Ok(_group) => Ok(format!("/{relative}")),
            Err(_absent) => Err(hidden()),
        }
    }
}

/// The root (within its file system) of the uppermost mount at `point`. See proc_pid_mountinfo(5).
fn root_of_mount(table: &str, point: &Path) -> Option<String> {
    table.lines().rev().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        (Path::new(&unescape(at)) == point).then(|| unescape(root))
    })
}

/// Undoes the `\040` of the mount table.
fn unescape(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, part.get(3..)) {
            (Some(code), Some(rest)) => {
                text.push(char::from(code));
                text.push_str(rest);
            }
            _ => {
                text.push('\\');
                text.push_str(part);
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
30 23 0:26 / /sys/fs/cgroup ro,nosuid shared:9 - tmpfs tmpfs ro,mode=755
31 30 0:27 /docker/ab\\040c /sys/fs/cgroup/memory rw shared:10 - cgroup cgroup rw,memory
32 30 0:28 / /sys/fs/cgroup/pids rw shared:11 - cgroup cgroup rw,pids
";

    #[test]
    fn the_mount_table_gives_a_mounts_root() {
        let root = |at: &str| root_of_mount(TABLE, Path::new(at));
        assert_eq!(root("/sys/fs/cgroup/memory").unwrap(), "/docker/ab c");
        assert_eq!(root("/sys/fs/cgroup/pids").unwrap(), "/");
        assert_eq!(root("/sys/fs/cgroup/cpu"), None);
    }

    #[test]
    fn a_membership_line_has_controllers_and_a_path_with_colons() {
        assert_eq!(membership("4:memory:/a:b"), Some(("memory", "/a:b")));
        assert_eq!(membership("0::/"), Some(("", "/")));
        assert_eq!(
            membership("1:name=systemd:/x"),
            Some(("name=systemd", "/x"))
        );
        assert_eq!(membership("nonsense"), None);
    }

    #[test]
    fn this_host_has_a_hierarchy_that_holds_this_process() {
        let found = detect().unwrap();
        for hierarchy in &found {
            let own = hierarchy.own_group().unwrap();
            let group = hierarchy
                .root
                .open_below(own.trim_start_matches('/'))
                .unwrap();
            assert!(group.has("cgroup.procs"), "{:?}", group.path());
        }
    }
}
