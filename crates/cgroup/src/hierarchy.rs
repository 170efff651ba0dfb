//! The cgroup hierarchies that the host has mounted.
//!
//! Reads `/sys/fs/cgroup` and `/proc/self/cgroup`. If `/sys/fs/cgroup` is a cgroup2 file system,
//! that is the only hierarchy (v2). Else each line of `/proc/self/cgroup` names a hierarchy, whose
//! directory has the names of its controllers (v1), and `unified` may be a cgroup2 beside them
//! (hybrid). The mount table is long on busy hosts. It is read only if the caller's own group is
//! not at the path of its name.

use kernel::Errno;
use kernel::mount::unescape;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::Mode;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use crate::directory::Directory;
use crate::tour::is_gone;
use crate::{Error, Version};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where every distribution mounts its hierarchies.
pub(crate) const MOUNT: &str = "/sys/fs/cgroup";

/// One tree of groups, as the caller sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hierarchy {
    /// The interface.
    pub version: Version,
    /// The directory below /sys/fs/cgroup; empty on a pure v2 host.
    pub name: String,
    /// The controllers as /proc/self/cgroup lists them: "cpu,cpuacct", "name=systemd"; empty for
    /// v2.
    pub controllers: String,
    /// The v2 controllers of its root.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub available: Vec<String>,
    /// The caller's group, as /proc/self/cgroup names it.
    pub own: String,
    /// The caller's group as a path below the mount's root ("/" or "/a/b"); `None`: it is not
    /// visible, or it was not looked up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_group: Option<String>,
    /// What an ordinary user may do with the groups that it needs, by their paths without the
    /// leading slash.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rights: BTreeMap<String, Rights>,
}

/// What the caller may do with a group that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rights {
    /// Move processes there: write cgroup.procs.
    pub enter: bool,
    /// Create groups in it.
    pub make: bool,
}

impl Rights {
    fn of(group: &Directory) -> Self {
        Self {
            enter: group.may_write("cgroup.procs"),
            make: group.may_write(""),
        }
    }
}

/// One line of /proc/PID/cgroup: the controllers (v1) and the path.
pub(crate) fn membership(line: &str) -> Option<(&str, &str)> {
    let (_number, rest) = line.split_once(':')?;
    rest.split_once(':')
}

/// The path of a process in the hierarchy with these controllers; `text` is its /proc/PID/cgroup.
pub(crate) fn path_in<'t>(text: &'t str, controllers: &str) -> Option<&'t str> {
    let mut memberships = text.lines().filter_map(membership);
    let found = memberships.find(|(own, _path)| *own == controllers);
    found.map(|(_own, path)| path)
}

/// The content of /proc/`name`.
pub(crate) fn read_proc(name: &str) -> Result<String, Error> {
    kernel::fs::read_proc_text(name).map_err(|source| Error::Read {
        path: Path::new("/proc").join(name),
        source,
    })
}

/// Opens the directory of a hierarchy by its name below [`MOUNT`]. `None`: it does not exist, or is
/// not a cgroup file system.
///
/// # Errors
/// Whether it exists is unknown: descriptors or memory are short, or the caller may not look.
pub(crate) fn open_root(name: &str) -> Result<Option<(Directory, Version)>, Errno> {
    let path = Path::new(MOUNT).join(name);
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    // open(2) of musl makes a second call for O_CLOEXEC, openat(2) does not.
    directory_at(openat(AT_FDCWD, &path, flags, Mode::empty()), &path)
}

/// As [`open_root`], below the descriptor of the directory `at`; a link such as `cpu` to
/// `cpu,cpuacct` is followed.
fn open_root_below(
    (at, mount): (&Path, &OwnedFd),
    name: &str,
) -> Result<Option<(Directory, Version)>, Error> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    let path = at.join(name);
    directory_at(openat2(mount.as_fd(), name, how), &path).map_err(Error::about("open", &path))
}

/// The hierarchy whose root is `opened`.
fn directory_at(
    opened: Result<OwnedFd, Errno>,
    path: &Path,
) -> Result<Option<(Directory, Version)>, Errno> {
    match opened {
        Ok(fd) => Directory::root(fd, path),
        Err(Errno::ENOENT | Errno::ENOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Every hierarchy that a container's group can be in, with its root. On hybrid hosts the unified
/// one comes first. Empty: nothing is mounted at the usual place, or the kernel has no cgroups.
///
/// # Errors
/// Whether there is a hierarchy is unknown: a file or directory exists and cannot be read.
pub(crate) fn detect() -> Result<Vec<(Hierarchy, Directory)>, Error> {
    let own = match read_proc("self/cgroup") {
        Err(Error::Read {
            source: Errno::ENOENT,
            ..
        }) => String::new(),
        answer => answer?,
    };
    let at = Path::new(MOUNT);
    let own: Vec<(&str, &str)> = own.lines().filter_map(membership).collect();
    match open_root("").map_err(Error::about("open", at))? {
        Some((root, Version::V2)) => {
            let unified = own.iter().find(|(list, _path)| list.is_empty());
            let path = unified.map_or("/", |(_list, path)| path);
            Ok(vec![(Hierarchy::v2("", &root, path)?, root)])
        }
        _ => detect_below(at, &own),
    }
}

/// The hierarchies of the memberships `own` that are mounted on directories below `at`.
fn detect_below(at: &Path, own: &[(&str, &str)]) -> Result<Vec<(Hierarchy, Directory)>, Error> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mount = match openat(AT_FDCWD, at, flags, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ENOTDIR) => return Ok(Vec::new()),
        answer => answer.map_err(Error::about("open", at))?,
    };
    let mount = (at, &mount);
    let mut found = Vec::new();
    if let Some((_list, path)) = own.iter().find(|(list, _path)| list.is_empty())
        && let Some((root, Version::V2)) = open_root_below(mount, "unified")?
    {
        found.push((Hierarchy::v2("unified", &root, path)?, root));
    }
    for (list, path) in own {
        found.extend(v1(mount, list, path)?);
    }
    Ok(found)
}

/// The v1 hierarchy of the controllers in `list`, if it is mounted. Of the named hierarchies only
/// systemd's counts: systemd uses it to find the processes of a service.
fn v1(
    mount: (&Path, &OwnedFd),
    list: &str,
    own: &str,
) -> Result<Option<(Hierarchy, Directory)>, Error> {
    if list.is_empty() || (list.starts_with("name=") && list != "name=systemd") {
        return Ok(None);
    }
    let whole = list.strip_prefix("name=").unwrap_or(list);
    let names = std::iter::once(whole).chain(whole.split(','));
    for name in names {
        if let Some((root, Version::V1)) = open_root_below(mount, name)? {
            return Ok(Some((Hierarchy::new(Version::V1, name, list, own), root)));
        }
    }
    Ok(None)
}

impl Hierarchy {
    fn new(version: Version, name: &str, controllers: &str, own: &str) -> Self {
        Self {
            version,
            name: name.to_owned(),
            controllers: controllers.to_owned(),
            available: Vec::new(),
            own: own.to_owned(),
            own_group: None,
            rights: BTreeMap::new(),
        }
    }

    fn v2(name: &str, root: &Directory, own: &str) -> Result<Self, Error> {
        let available = root.read_named("cgroup.controllers")?;
        Ok(Self {
            available: available.split_whitespace().map(str::to_owned).collect(),
            ..Self::new(Version::V2, name, "", own)
        })
    }

    /// The mount point.
    pub(crate) fn path(&self) -> PathBuf {
        Path::new(MOUNT).join(&self.name)
    }

    /// The caller's group, below the mount's root.
    pub(crate) fn own_group(&self) -> Result<&str, Error> {
        self.own_group
            .as_deref()
            .ok_or_else(|| Error::OwnGroupHidden {
                own: self.own.clone(),
                mount: self.path(),
            })
    }

    /// Looks for the caller's group below the mount's root.
    ///
    /// The two roots differ in a container that shares the host's cgroup namespace and has only its
    /// own group mounted. There the mount's root is removed from the path.
    ///
    /// # Errors
    /// Whether it is there is unknown: a directory or the mount table cannot be read.
    pub(crate) fn find_own_group(&mut self, root: &Directory) -> Result<(), Error> {
        self.own_group = self.below_mount(root)?;
        Ok(())
    }

    fn below_mount(&self, root: &Directory) -> Result<Option<String>, Error> {
        if self.own.split('/').any(|name| name == "..") {
            return Ok(None);
        }
        if let Some(found) = visible(root, &self.own)? {
            return Ok(Some(found));
        }
        let table = read_proc("self/mountinfo")?;
        let mount_root = root_of_mount(&table, root.path());
        let below = mount_root.and_then(|at| self.own.strip_prefix(at.trim_end_matches('/')));
        match below {
            Some(below) if below.is_empty() || below.starts_with('/') => visible(root, below),
            _ => Ok(None),
        }
    }

    /// Checks what the caller may do at `path` (with the leading slash): with the group there, or
    /// else with the nearest existing group above it. On v2 it also checks the nearest group above
    /// both ends of a move.
    pub(crate) fn look_at(&mut self, root: &Directory, path: &str) {
        let mut at = path.trim_start_matches('/');
        loop {
            match root.open_below(at) {
                Ok(group) => {
                    self.rights.insert(at.to_owned(), Rights::of(&group));
                    break;
                }
                Err(Errno::ENOENT) if !at.is_empty() => at = above(at),
                Err(_hidden) => break,
            }
        }
        if let Some(shared) = self.shared(path)
            && let Ok(group) = root.open_below(&shared)
        {
            self.rights.insert(shared, Rights::of(&group));
        }
    }

    /// The nearest group of v2 that is above both the caller and `path`.
    fn shared(&self, path: &str) -> Option<String> {
        let own = self.own_group.as_ref()?;
        let both = own.split('/').zip(path.split('/'));
        let shared: Vec<&str> = both
            .take_while(|(own, new)| own == new)
            .map(|(own, _new)| own)
            .collect();
        let is_v2 = self.version == Version::V2;
        is_v2.then(|| shared.join("/").trim_start_matches('/').to_owned())
    }

    /// Whether an ordinary user may create the group at `path` and move a process there.
    pub(crate) fn is_permitted(&self, path: &str) -> bool {
        let relative = path.trim_start_matches('/');
        let mut at = relative;
        let permitted = loop {
            match self.rights.get(at) {
                Some(rights) if at == relative => break rights.enter,
                Some(rights) => break rights.make,
                None if at.is_empty() => break false,
                None => at = above(at),
            }
        };
        if !permitted || self.version == Version::V1 {
            return permitted;
        }
        // v2 requires write access to the process list of the nearest group above both ends of a
        // move.
        let shared = self.shared(path);
        let rights = shared.and_then(|shared| self.rights.get(&shared));
        rights.is_some_and(|rights| rights.enter)
    }
}

/// `path` with its leading slash, if there is such a group below `root`.
fn visible(root: &Directory, path: &str) -> Result<Option<String>, Error> {
    let relative = path.trim_start_matches('/');
    if relative.is_empty() {
        return Ok(Some("/".to_owned()));
    }
    match root.open_below(relative) {
        Ok(_group) => Ok(Some(format!("/{relative}"))),
        Err(errno) if is_gone(errno) => Ok(None),
        Err(errno) => Err(Error::about("open", &root.path().join(relative))(errno)),
    }
}

/// The path above, empty for the root.
fn above(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(above, _name)| above)
}

/// The root (within its file system) of the topmost mount at `point`. See proc_pid_mountinfo(5).
fn root_of_mount(table: &str, point: &Path) -> Option<String> {
    table.lines().rev().find_map(|line| {
        let mut fields = line.split(' ').skip(3);
        let (root, at) = (fields.next()?, fields.next()?);
        let is_it = unescape(at.as_bytes()) == point.as_os_str().as_encoded_bytes();
        is_it.then(|| String::from_utf8_lossy(&unescape(root.as_bytes())).into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::env::temp_dir;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::process;

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
        for (mut hierarchy, root) in detect().unwrap() {
            hierarchy.find_own_group(&root).unwrap();
            let own = hierarchy.own_group().unwrap();
            let group = root.open_below(own.trim_start_matches('/')).unwrap();
            assert!(group.has("cgroup.procs"), "{:?}", group.path());
        }
    }

    /// A link that leads to itself is there, and what it names is unknown.
    #[test]
    fn only_what_is_missing_is_not_there() {
        let at = temp_dir().join(format!("locule-hierarchy-{}", process::id()));
        let own = [("", "/"), ("cpu", "/"), ("pids", "/")];
        assert_eq!(detect_below(&at, &own).unwrap().len(), 0, "no directory");
        fs::create_dir(&at).unwrap();
        fs::write(at.join("cpu"), "").unwrap();
        assert_eq!(detect_below(&at, &own).unwrap().len(), 0, "no hierarchies");
        for name in ["unified", "pids"] {
            symlink(name, at.join(name)).unwrap();
            let error = detect_below(&at, &own).unwrap_err().to_string();
            assert_eq!(error, format!("open cgroup {:?}", at.join(name)));
            fs::remove_file(at.join(name)).unwrap();
        }
        fs::remove_dir_all(&at).unwrap();
    }

    fn rights(groups: &[(&str, bool, bool)]) -> Hierarchy {
        let mut hierarchy = Hierarchy::new(Version::V2, "", "", "/user/a/shell");
        hierarchy.own_group = Some("/user/a/shell".to_owned());
        for (path, enter, make) in groups {
            let (enter, make) = (*enter, *make);
            hierarchy
                .rights
                .insert((*path).to_owned(), Rights { enter, make });
        }
        hierarchy
    }

    #[test]
    fn a_user_may_move_only_below_what_is_delegated() {
        let delegated = rights(&[
            ("", false, false),
            ("user", false, false),
            ("user/a", true, true),
            ("user/a/shell", true, true),
            ("user/a/theirs", false, false),
        ]);
        assert!(delegated.is_permitted("/user/a/box"));
        assert!(delegated.is_permitted("/user/a/deep/er/box"));
        assert!(!delegated.is_permitted("/user/a/theirs"));
        assert!(!delegated.is_permitted("/user/b"));
        assert!(!delegated.is_permitted("/box"));
        // The group is writable, but a group above it is not.
        let apart = rights(&[("", false, false), ("box", true, true)]);
        assert!(!apart.is_permitted("/box"));
    }
}
