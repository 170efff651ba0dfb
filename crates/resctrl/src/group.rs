//! The groups of one container: joined, changed, and removed if its creation has made them.

use crate::Error;
use crate::counters::Counters;
use crate::tree::Tree;
use kernel::Errno;
use serde::{Deserialize, Serialize};

/// The groups of a container, as its record has them. Paths are below the mount point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Location {
    /// The control group; empty: the root of the file system.
    pub(crate) group: String,
    /// Whether the creation makes the control group, so that the deletion removes it.
    pub(crate) own: bool,
    /// The monitoring group, which the creation makes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) monitor: Option<String>,
    /// The mark of the groups that the creation makes: `ID/NUMBER`.
    pub(crate) mark: String,
}

/// The groups that a deletion has left, since another program has made them.
pub type Left = Vec<String>;

impl Location {
    /// Changes the shares of the control group. Returns the lines that it had before.
    ///
    /// # Errors
    /// [`Error::NotMounted`]; [`Error::Schemata`].
    pub fn set_schemata(&self, lines: &str) -> Result<String, Error> {
        set_schemata(&tree()?, &self.group, lines)
    }

    /// The shares and the counters.
    ///
    /// # Errors
    /// [`Error::NotMounted`]; a file that cannot be read.
    pub fn counters(&self) -> Result<Counters, Error> {
        Counters::read(&tree()?, self)
    }

    /// Removes the groups that the creation has made, if they still are those.
    pub fn remove(&self) -> Result<Left, Error> {
        match Tree::open() {
            Ok(tree) => self.remove_from(&tree),
            // They have gone with the file system.
            Err(_not_mounted) => Ok(Left::new()),
        }
    }

    pub(crate) fn remove_from(&self, tree: &Tree) -> Result<Left, Error> {
        let own = self.own.then_some(&self.group);
        let mut left = Left::new();
        for path in self.monitor.iter().chain(own) {
            let failed = step("remove", path);
            match tree.has_mark(path, &self.mark) {
                Err(Errno::ENOENT) => {}
                Ok(true) => match tree.remove(path) {
                    Ok(()) | Err(Errno::ENOENT) => {}
                    Err(errno) => return Err(failed(errno)),
                },
                Ok(false) => left.push(path.clone()),
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(left)
    }
}

fn tree() -> Result<Tree, Error> {
    Tree::open().map_err(|_other| Error::NotMounted)
}

/// An error about `path`.
pub(crate) fn step(step: &'static str, path: &str) -> impl Fn(Errno) -> Error + use<> {
    let path = path.to_owned();
    move |errno| Error::Step {
        step,
        path: path.clone(),
        errno,
    }
}

/// The path of a file of a group.
pub(crate) fn file(group: &str, name: &str) -> String {
    match group {
        "" => name.to_owned(),
        group => format!("{group}/{name}"),
    }
}

/// The group as closID names it.
pub(crate) fn shown(group: &str) -> String {
    match group {
        "" => "/".to_owned(),
        group => group.to_owned(),
    }
}

/// Writes all lines at once: the kernel takes all or none. Returns what the file had before.
pub(crate) fn set_schemata(tree: &Tree, group: &str, lines: &str) -> Result<String, Error> {
    let path = file(group, "schemata");
    let before = tree.read(&path).map_err(step("read", &path))?;
    let lines = lines.trim_end_matches('\n');
    let written = tree.write(&path, &format!("{lines}\n"));
    written.map_err(|errno| Error::Schemata {
        lines: lines.to_owned(),
        group: shown(group),
        errno,
        why: tree.read("info/last_cmd_status").unwrap_or_default(),
    })?;
    Ok(before)
}

/// What a creation has changed besides the container's own groups.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing.
    None,
    /// It has made the control group, which is that of closID.
    Group,
    /// It has set the shares of a group that existed. These were there before.
    Shares(String),
}

/// The groups that a process joins.
#[derive(Debug)]
pub struct Groups {
    pub(crate) tree: Tree,
    pub(crate) location: Location,
    /// Whether this process has made them.
    pub(crate) made: bool,
    pub(crate) change: Change,
}

impl Groups {
    /// Adds the process. Its children follow.
    pub fn admit(&self, pid: i32) -> Result<(), Error> {
        // The control group comes first: a process enters only monitoring groups of its own one.
        let groups = [Some(&self.location.group), self.location.monitor.as_ref()];
        for group in groups.into_iter().flatten() {
            let path = file(group, "tasks");
            let written = self.tree.write(&path, &pid.to_string());
            written.map_err(step("write the process to", &path))?;
        }
        Ok(())
    }

    /// Removes what was made and restores what was changed, for a container that is not made after
    /// all. Both are tried.
    pub fn remove(&self) -> Result<(), Error> {
        if !self.made {
            return Ok(());
        }
        let removed = self.location.remove_from(&self.tree).map(drop);
        removed.and(self.take_back())
    }

    fn take_back(&self) -> Result<(), Error> {
        let (tree, group) = (&self.tree, &self.location.group);
        match &self.change {
            Change::None => Ok(()),
            // Another container may have joined the group.
            Change::Group if is_used(tree, group) => Ok(()),
            Change::Group => tree.remove(group).map_err(step("remove", group)),
            Change::Shares(before) => set_schemata(tree, group, before).map(drop),
        }
    }
}

/// Whether the group has processes.
fn is_used(tree: &Tree, group: &str) -> bool {
    let tasks = tree.read(&file(group, "tasks"));
    tasks.is_ok_and(|tasks| !tasks.trim().is_empty())
}
