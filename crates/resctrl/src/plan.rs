//! Which group a container joins, and making it.

use crate::group::{Change, Groups, Location, file, set_schemata, shown, step};
use crate::schemata::differing;
use crate::tree::Tree;
use crate::{Error, Facts, MOUNT};
use kernel::{Errno, attribute};
use spec::container::IntelRdt;
use std::fmt;

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    group: Group,
    lines: Lines,
    /// The container's id, which names the groups that it makes.
    id: String,
    monitors: bool,
}

/// The control group.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Group {
    /// The root of the file system.
    Root,
    /// A new one with the container's id.
    Own,
    /// The one of closID.
    Named(String),
    /// The groups of a running container.
    Joined(Location),
}

/// What is written to `schemata`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Lines {
    l3_cache: Option<String>,
    memory: Option<String>,
    others: Vec<String>,
}

impl Lines {
    /// In the order of the specification, without empty ones, which the kernel refuses.
    fn all(&self) -> Vec<&str> {
        let first = [&self.l3_cache, &self.memory].into_iter().flatten();
        let lines = first.chain(&self.others).flat_map(|text| text.lines());
        lines.filter(|line| !line.trim().is_empty()).collect()
    }
}

impl Plan {
    /// Decides, for the container `id`.
    pub fn lower(asked: &IntelRdt, id: &str, facts: Option<Facts>) -> Result<Self, Error> {
        if !facts.is_some_and(|facts| facts.mounted) {
            return Err(Error::NotMounted);
        }
        Ok(Self {
            group: match asked.clos_id.as_deref() {
                None => Group::Own,
                Some("/") => Group::Root,
                Some(name) => Group::Named(name.to_owned()),
            },
            lines: Lines {
                l3_cache: asked.l3_cache_schema.clone(),
                memory: asked.mem_bw_schema.clone(),
                others: asked.schemata.clone(),
            },
            id: id.to_owned(),
            monitors: asked.monitoring,
        })
    }

    /// The plan for a further process of a container that has these groups.
    pub fn join(location: Location) -> Self {
        Self {
            group: Group::Joined(location),
            lines: Lines::default(),
            id: String::new(),
            monitors: false,
        }
    }

    /// Opens the file system, and chooses the mark of the groups that will be made.
    pub fn open(&self) -> Result<Handles, Error> {
        let tree = Tree::open().map_err(|_other| Error::NotMounted)?;
        self.with(tree)
    }

    fn with(&self, tree: Tree) -> Result<Handles, Error> {
        let group = match &self.group {
            Group::Root => String::new(),
            Group::Own => self.id.clone(),
            Group::Named(name) => name.clone(),
            Group::Joined(location) => {
                let location = location.clone();
                return Ok(Handles { tree, location });
            }
        };
        let number = attribute::random().map_err(step("choose a mark for", &group))?;
        let monitor = format!("mon_groups/{}", self.id);
        let location = Location {
            monitor: self.monitors.then(|| file(&group, &monitor)),
            own: self.group == Group::Own,
            mark: format!("{}/{number:016x}", self.id),
            group,
        };
        Ok(Handles { tree, location })
    }

    /// Makes the groups and sets their shares. After an error nothing is left of them.
    ///
    /// # Errors
    /// A group that exists, or does not, or has other shares; what the kernel refuses.
    pub fn create(&self, handles: Handles) -> Result<Groups, Error> {
        let Handles { tree, location } = handles;
        let mut groups = Groups {
            tree,
            location,
            made: false,
            change: Change::None,
        };
        if matches!(self.group, Group::Joined(_)) {
            return Ok(groups);
        }
        groups.made = true;
        match self.make(&mut groups) {
            Ok(()) => Ok(groups),
            Err(error) => {
                // The first error is what counts.
                let _left = groups.remove();
                Err(error)
            }
        }
    }

    fn make(&self, groups: &mut Groups) -> Result<(), Error> {
        let Groups {
            tree,
            location,
            change,
            ..
        } = groups;
        let lines = self.lines.all();
        match &self.group {
            Group::Joined(_) => {}
            Group::Root => self.compare(tree, "")?,
            Group::Own => make_own(tree, &location.group, &location.mark)?,
            Group::Named(name) => match tree.directory(name) {
                Ok(_exists) => self.compare(tree, name)?,
                Err(Errno::ENOENT) if lines.is_empty() => {
                    return Err(Error::Missing {
                        group: name.clone(),
                    });
                }
                Err(Errno::ENOENT) => {
                    tree.make(name).map_err(step("make", name))?;
                    *change = Change::Group;
                }
                Err(errno) => return Err(step("open", name)(errno)),
            },
        }
        if !lines.is_empty() {
            let before = set_schemata(tree, &location.group, &lines.join("\n"))?;
            if !location.own && *change == Change::None {
                *change = Change::Shares(before);
            }
        }
        match &location.monitor {
            Some(monitor) => make_own(tree, monitor, &location.mark),
            None => Ok(()),
        }
    }

    /// Compares the lines with those of a group that exists.
    fn compare(&self, tree: &Tree, group: &str) -> Result<(), Error> {
        let path = file(group, "schemata");
        let there = tree.read(&path).map_err(step("read", &path))?;
        let granularity = tree.read("info/MB/bandwidth_gran").ok();
        let granularity = granularity.and_then(|text| text.trim().parse().ok());
        let asked = [
            ("l3CacheSchema", &self.lines.l3_cache),
            ("memBwSchema", &self.lines.memory),
        ];
        for (property, lines) in asked {
            for line in lines.iter().flat_map(|lines| lines.lines()) {
                if let Some(found) = differing(line, &there, granularity) {
                    return Err(Error::Differs {
                        property,
                        line: line.to_owned(),
                        group: shown(group),
                        found: found.to_owned(),
                    });
                }
            }
        }
        Ok(())
    }
}

/// Makes a group that no other program has made, and marks it.
fn make_own(tree: &Tree, path: &str, mark: &str) -> Result<(), Error> {
    tree.make(path).map_err(|errno| match errno {
        Errno::EEXIST => Error::Exists {
            group: path.to_owned(),
        },
        errno => step("make", path)(errno),
    })?;
    let marked = tree.set_mark(path, mark);
    marked.map_err(|errno| {
        // Without a mark no deletion would remove it.
        let _left = tree.remove(path);
        step("mark", path)(errno)
    })
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Group::Root => writeln!(f, "the root group of {MOUNT}")?,
            Group::Own => writeln!(f, "the new group {:?} of {MOUNT}", self.id)?,
            Group::Named(name) => writeln!(f, "the group {name:?} of {MOUNT}")?,
            Group::Joined(location) => {
                writeln!(f, "the group {:?} of {MOUNT}", location.group)?;
            }
        }
        for line in self.lines.all() {
            writeln!(f, "schemata {line:?}")?;
        }
        match self.monitors {
            true => writeln!(f, "a monitoring group {:?}", self.id),
            false => Ok(()),
        }
    }
}

/// What the plan works with.
#[derive(Debug)]
pub struct Handles {
    tree: Tree,
    location: Location,
}

impl Handles {
    /// Where the groups will be, for the journal.
    pub fn location(&self) -> &Location {
        &self.location
    }
}

#[cfg(test)]
mod tests;
