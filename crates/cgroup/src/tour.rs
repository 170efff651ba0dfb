//! A tour of a group and of all groups below it. It needs few descriptors and no long path, however
//! many and however deep the groups are: a container that owns a sub-tree chooses both.

use kernel::Errno;
use std::ffi::OsString;

use crate::directory::Directory;

/// The kernel's errors for a group that was just removed.
pub(crate) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::ENOENT | Errno::ENODEV)
}

/// A step of a tour.
#[derive(Debug)]
pub(crate) enum Step {
    /// Down to another group.
    Into,
    /// Back from the sub-group of this name, after all groups below it.
    OutOf(OsString),
}

/// A group between the top and the present one, both included.
#[derive(Debug)]
struct Level {
    name: OsString,
    inode: u64,
    /// The sub-groups to visit.
    left: Vec<OsString>,
}

/// Where a tour is. Only the present group is open.
#[derive(Debug)]
pub(crate) struct Tour {
    group: Directory,
    /// Empty before the first step.
    levels: Vec<Level>,
}

impl Tour {
    /// A tour that is at `top`.
    pub(crate) fn of(top: Directory) -> Self {
        Self {
            group: top,
            levels: Vec::new(),
        }
    }

    /// The present group.
    pub(crate) fn group(&self) -> &Directory {
        &self.group
    }

    /// Goes on to the next group, and passes over those that are gone. `None`: the tour is over, at
    /// its top.
    pub(crate) fn step(&mut self) -> Result<Option<Step>, Errno> {
        if self.levels.is_empty() {
            self.enter(OsString::new())?;
        }
        while let Some(name) = self.levels.last_mut().and_then(|level| level.left.pop()) {
            match self.group.child(&name) {
                Ok(child) => {
                    self.group = child;
                    return self.enter(name).map(|()| Some(Step::Into));
                }
                Err(errno) if is_gone(errno) => {}
                Err(errno) => return Err(errno),
            }
        }
        let [.., above, present] = &mut *self.levels else {
            return Ok(None);
        };
        self.group = self.group.above(above.inode)?;
        let name = std::mem::take(&mut present.name);
        self.levels.pop();
        Ok(Some(Step::OutOf(name)))
    }

    /// Looks for the sub-groups of the present group.
    fn enter(&mut self, name: OsString) -> Result<(), Errno> {
        let left = match self.group.children() {
            Err(errno) if is_gone(errno) => Vec::new(),
            answer => answer?,
        };
        let inode = self.group.inode()?;
        self.levels.push(Level { name, inode, left });
        Ok(())
    }
}
