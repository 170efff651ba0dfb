//! The root of the state: where it is and what is in it.

#![expect(
    clippy::disallowed_methods,
    reason = "the state root, a path of the host; containers are reached by its descriptor"
)]

use super::entry::{Entry, Lock, Reservation};
use super::{ContainerId, Error, files};
use crate::face::{Face, RuntimeDirectory};
use caller::is_in_initial_user_namespace;
use kernel::errno::errno_of;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, fstat, stat};
use nix::unistd::geteuid;
use std::env;
use std::ffi::OsString;
use std::fs::DirBuilder;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Whether a missing root is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Yes: a container is about to be made.
    Make,
    /// No: there are no containers then.
    Look,
}

/// The owner of the state, who decides the default root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeper {
    /// Root of the initial user namespace.
    HostRoot,
    /// Root of another user namespace.
    NamespaceRoot,
    /// Any other user.
    User,
}

/// The containers of one root.
#[derive(Debug)]
pub(crate) struct Store {
    path: PathBuf,
    /// `None`: the directory does not exist.
    directory: Option<OwnedFd>,
}

impl Store {
    /// Opens the root that `--root` names, or the default one of `face`.
    ///
    /// # Errors
    /// The root is `/`, cannot be made or opened, or (below /tmp) is another user's.
    pub(crate) fn open(given: Option<&Path>, face: &Face, access: Access) -> Result<Self, Error> {
        let (path, trust) = Self::place(given, face);
        Self::at(path, access, trust)
    }

    /// Where the root is, whether or not it exists.
    pub(crate) fn place(given: Option<&Path>, face: &Face) -> (PathBuf, Trust) {
        match given.filter(|path| *path != Path::new("")) {
            Some(path) => (path.to_owned(), Trust::Caller),
            None => default_root(
                face,
                keeper(),
                geteuid().as_raw(),
                env::var_os("XDG_RUNTIME_DIR"),
                |path| stat(path).is_ok_and(|stat| stat.st_uid == geteuid().as_raw()),
            ),
        }
    }

    fn at(path: PathBuf, access: Access, trust: Trust) -> Result<Self, Error> {
        let failed = |action, path: &Path, source| Error::Root {
            action,
            path: path.to_owned(),
            source,
        };
        if access == Access::Make {
            DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&path)
                .map_err(|error| failed("make", &path, errno_of(&error)))?;
        }
        let mut flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        if trust == Trust::Nobody {
            flags |= OFlag::O_NOFOLLOW;
        }
        let directory = match open(&path, flags, Mode::empty()) {
            Ok(directory) => directory,
            Err(Errno::ENOENT) => {
                return Ok(Self {
                    path,
                    directory: None,
                });
            }
            Err(errno) => return Err(failed("open", &path, errno)),
        };
        let found = fstat(&directory).map_err(|errno| failed("stat", &path, errno))?;
        let slash = stat("/").map_err(|errno| failed("stat", Path::new("/"), errno))?;
        if (found.st_dev, found.st_ino) == (slash.st_dev, slash.st_ino) {
            return Err(Error::RootIsSlash { path });
        }
        if trust == Trust::Nobody {
            let reason = if found.st_uid != geteuid().as_raw() {
                "another user owns it"
            } else if found.st_mode & 0o077 != 0 {
                "its mode gives other users access"
            } else {
                ""
            };
            if !reason.is_empty() {
                return Err(Error::RootUntrusted { path, reason });
            }
        }
        Ok(Self {
            path,
            directory: Some(directory),
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the directory exists.
    pub(crate) fn exists(&self) -> bool {
        self.directory.is_some()
    }

    /// Reserves a name for a new container. If two processes try at once, one of them fails.
    ///
    /// # Errors
    /// [`Error::Exists`]: another container has it; the error says what is known of that container.
    pub(crate) fn reserve(&self, id: &ContainerId) -> Result<Reservation, Error> {
        match &self.directory {
            Some(directory) => Reservation::make(directory, id),
            None => Err(Error::Root {
                action: "open",
                path: self.path.clone(),
                source: Errno::ENOENT,
            }),
        }
    }

    /// Opens the entry of a container.
    ///
    /// # Errors
    /// [`Error::Absent`], or [`Error::Busy`] if the lock is not free in time.
    pub(crate) fn container(&self, id: &ContainerId, lock: Lock) -> Result<Entry, Error> {
        match &self.directory {
            Some(directory) => Entry::open(directory, id, lock),
            None => Err(Error::Absent { id: id.clone() }),
        }
    }

    /// The names of all containers, sorted. Entries without a valid name and entries that are not
    /// directories are left out.
    pub(crate) fn ids(&self) -> Result<Vec<ContainerId>, Error> {
        let Some(directory) = &self.directory else {
            return Ok(Vec::new());
        };
        let names = files::names(directory).map_err(|source| Error::Root {
            action: "list",
            path: self.path.clone(),
            source,
        })?;
        let mut ids: Vec<_> = names
            .iter()
            .filter_map(|name| ContainerId::new(name).ok())
            .filter(|id| files::directory(directory, id.as_str()).is_ok())
            .collect();
        ids.sort();
        Ok(ids)
    }
}

/// Whether the root directory can be trusted as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trust {
    /// The user has named it, or it is where only root or this user can make it.
    Caller,
    /// It is in /tmp, where any user could have made it first, or where the environment of the
    /// host's root says.
    Nobody,
}

/// Whether this process has the rights of the host's root: user id 0 in the initial user namespace,
/// which has a fixed inode number (its id map can look like that of any other: runc 1.5.2).
pub(crate) fn is_host_root() -> bool {
    keeper() == Keeper::HostRoot
}

fn keeper() -> Keeper {
    match (geteuid().is_root(), is_in_initial_user_namespace()) {
        (true, true) => Keeper::HostRoot,
        (true, false) => Keeper::NamespaceRoot,
        (false, _) => Keeper::User,
    }
}

/// The first place that fits. Every command must find the same place, even if an engine calls it
/// with another environment, so it depends on as little as possible. An empty XDG_RUNTIME_DIR
/// counts as unset.
fn default_root(
    face: &Face,
    keeper: Keeper,
    uid: u32,
    runtime_directory: Option<OsString>,
    is_mine: impl Fn(&Path) -> bool,
) -> (PathBuf, Trust) {
    let name = face.name;
    let of_host = keeper == Keeper::HostRoot;
    let given = runtime_directory.map(PathBuf::from);
    let given = given.filter(|path| !path.as_os_str().is_empty());
    if of_host {
        // That of a user who became root with the own environment: its owner could put records
        // there, which name programs and processes.
        let counts = face.runtime_directory == RuntimeDirectory::OfAll;
        if let Some(directory) = given.filter(|path| counts && is_mine(path)) {
            return (directory.join(name), Trust::Nobody);
        }
        return (Path::new("/run").join(name), Trust::Caller);
    }
    if let Some(directory) = given {
        return (directory.join(name), Trust::Caller);
    }
    let own = Path::new("/run/user").join(uid.to_string());
    if is_mine(&own) {
        return (own.join(name), Trust::Caller);
    }
    // Root in a container, which has its own /run.
    if keeper == Keeper::NamespaceRoot && is_mine(Path::new("/run")) {
        return (Path::new("/run").join(name), Trust::Caller);
    }
    (PathBuf::from(format!("/tmp/{name}-{uid}")), Trust::Nobody)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face;

    fn root(keeper: Keeper, runtime_directory: Option<&str>, mine: &[&str]) -> String {
        root_of(face::own(), keeper, runtime_directory, mine)
    }

    fn root_of(
        face: &Face,
        keeper: Keeper,
        runtime_directory: Option<&str>,
        mine: &[&str],
    ) -> String {
        let (path, trust) = default_root(
            face,
            keeper,
            1000,
            runtime_directory.map(OsString::from),
            |path| mine.iter().any(|mine| Path::new(mine) == path),
        );
        let of_root = keeper == Keeper::HostRoot;
        let is_elsewhere = path.starts_with("/tmp") || (of_root && !path.starts_with("/run"));
        assert_eq!(trust == Trust::Nobody, is_elsewhere);
        path.display().to_string()
    }

    #[test]
    fn the_hosts_root_has_one_root_whatever_the_environment() {
        for runtime_directory in [None, Some(""), Some("/run/user/0")] {
            let found = root(Keeper::HostRoot, runtime_directory, &["/run/user/1000"]);
            assert_eq!(found, "/run/locule");
        }
    }

    #[test]
    fn a_face_has_a_root_of_its_own() {
        for (name, given, wanted) in [
            ("runc", None, "/run/runc"),
            ("runc", Some("/x"), "/run/runc"),
            ("crun", None, "/run/crun"),
            ("crun", Some("/x"), "/x/crun"),
            ("youki", Some("/x"), "/run/youki"),
            ("crun", Some("/of-a-user"), "/run/crun"),
        ] {
            let face = face::named(name).unwrap();
            let found = root_of(face, Keeper::HostRoot, given, &["/x"]);
            assert_eq!(found, wanted, "{name} {given:?}");
        }
    }

    #[test]
    fn a_user_has_the_first_place_that_is_theirs() {
        let mine = &["/run/user/1000"];
        assert_eq!(root(Keeper::User, Some("/x"), mine), "/x/locule");
        assert_eq!(root(Keeper::User, Some(""), mine), "/run/user/1000/locule");
        assert_eq!(root(Keeper::User, None, &["/run"]), "/tmp/locule-1000");
        assert_eq!(root(Keeper::NamespaceRoot, None, &["/run"]), "/run/locule");
        assert_eq!(root(Keeper::NamespaceRoot, None, &[]), "/tmp/locule-1000");
    }
}
