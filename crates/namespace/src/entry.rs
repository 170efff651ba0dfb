//! The route from the runtime's namespaces to those of the container.
//!
//! A pure function turns `linux.namespaces` into one clone and a short list of hops; both stages
//! read the same list. Two constraints decide the order. A namespace is owned by the user namespace
//! in which it is made, so new ones come after the user namespace; and joining one needs privileges
//! over its owner, which the process loses for the host's namespaces when it enters a user
//! namespace, so joins come before (or, where that is refused, after: a namespace that belongs to
//! the user namespace being joined). Only children enter a new PID or time namespace, so a process
//! that was not created in it makes one more process. An existing PID namespace is entered in the
//! same way, as late as possible: its processes then do not see the runtime's processes earlier.
//!
//! A process on this route becomes not dumpable before the first hop, or, if its id maps are
//! written, from then on: see [`Hidden`].

use crate::join::Joined;
use crate::running::{self, Running};
use crate::{Error, Facts, IdMaps, Kind, kind, timens};
use caller::Caller;
use kernel::clone::{Child, NamespaceFlags};
use kernel::path::{self, OpenFlags};
use kernel::{Call, Errno, Failed, clone, fs, ids};
use nix::sys::prctl::set_dumpable;
use spec::Container;
use spec::container::Namespace;
use std::fmt;
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;

/// One step of the new process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hop {
    /// Wait until the runtime has put this process into its cgroups (hosts with cgroup v1).
    AwaitCgroup,
    /// Join. If it is refused, [`Hop::JoinRefused`] tries again.
    TryJoin(Kind),
    /// Join.
    Join(Kind),
    /// Join what a [`Hop::TryJoin`] could not.
    JoinRefused,
    /// Make new namespaces.
    Unshare(NamespaceFlags),
    /// Wait until the runtime has written the id maps.
    MapIds,
    /// Become these ids of the new user namespace: (uid, gid).
    BecomeRoot(u32, u32),
    /// Write the clock offsets of the new time namespace.
    TimeOffsets(Vec<u8>),
    /// Make a sibling with these namespaces, which continues in the place of this process.
    Relay(NamespaceFlags),
    /// Join these namespaces of the running container.
    Enter(NamespaceFlags),
}

/// How the container's first process gets into its namespaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The new namespaces of the clone itself.
    pub clone: NamespaceFlags,
    /// What the new process does then.
    pub hops: Vec<Hop>,
    /// The maps of a new user namespace.
    pub id_maps: Option<IdMaps>,
    /// The namespaces that have a path.
    joins: Vec<Join>,
    /// The kinds that are new.
    new: NamespaceFlags,
    /// Whether the runtime's supplementary groups stay: an ordinary user's may.
    keeps_groups: bool,
    /// The namespaces of the container that `exec` enters.
    running: Running,
}

/// A namespace of the configuration that has a path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Join {
    kind: Kind,
    /// On the host.
    path: PathBuf,
}

/// The namespaces that are joined, open.
#[derive(Debug)]
pub struct Handles {
    joined: Vec<Joined>,
    /// The first process of the container that `exec` enters: its pidfd.
    process: Option<OwnedFd>,
}

impl Handles {
    /// The way into a running container, by the pidfd of its first process.
    pub fn of_running(process: OwnedFd) -> Self {
        Self {
            joined: Vec::new(),
            process: Some(process),
        }
    }

    /// The namespace of `kind`, if it is one that is joined.
    pub fn get(&self, kind: Kind) -> Option<&Joined> {
        self.joined.iter().find(|joined| joined.kind == kind)
    }

    fn join(&self, kind: Kind) -> Result<(), Errno> {
        let joined = self.get(kind).ok_or(Errno::EBADF)?;
        clone::setns(joined.fd.as_fd(), kind::flag(kind))
    }
}

/// How the container's first process gets into its cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CgroupEntry {
    /// It is born there.
    AtClone,
    /// The runtime writes its pid while it waits.
    ByRuntime,
}

impl Entry {
    /// Computes the route.
    ///
    /// # Errors
    /// Id maps that this caller cannot write.
    pub fn lower(
        container: &Container,
        cgroup: CgroupEntry,
        facts: &Facts,
        caller: &Caller,
    ) -> Result<Self, Error> {
        let mut joins = Vec::new();
        let mut new = NamespaceFlags::empty();
        for kind in Kind::ALL {
            match &container.namespaces[kind] {
                Namespace::Inherit => {}
                Namespace::New => new |= kind::flag(kind),
                // No process may join the user namespace that it is in: setns(2) EINVAL.
                Namespace::Join(_) if kind == Kind::User && facts.joins_own_user_namespace => {}
                Namespace::Join(path) => joins.push(Join {
                    kind,
                    path: path.clone(),
                }),
            }
        }
        let kinds = joins.iter().map(|join| join.kind).collect();
        let offsets = timens::offsets_text(container.time_offsets);
        let mut entry = Self {
            clone: NamespaceFlags::empty(),
            hops: Vec::new(),
            id_maps: IdMaps::lower(container, facts, caller)?,
            joins,
            new,
            keeps_groups: container.keeps_groups(),
            running: Running::default(),
        };
        if cgroup == CgroupEntry::ByRuntime {
            entry.hops.push(Hop::AwaitCgroup);
        }
        entry.route(kinds, &offsets, cgroup);
        Ok(entry)
    }

    /// Opens the namespaces that have a path.
    ///
    /// # Errors
    /// A path that does not lead to a namespace of its kind.
    pub fn open(&self) -> Result<Handles, Error> {
        let open = |join: &Join| Joined::open(join.kind, &join.path);
        Ok(Handles {
            joined: self.joins.iter().map(open).collect::<Result<_, _>>()?,
            process: None,
        })
    }

    /// Computes the route into the namespaces of a running container.
    pub fn into_running(container: &Container, running: Running, cgroup: CgroupEntry) -> Self {
        let flags = running.flags();
        let mut hops = Vec::new();
        if cgroup == CgroupEntry::ByRuntime {
            hops.push(Hop::AwaitCgroup);
        }
        if !flags.is_empty() {
            hops.push(Hop::Enter(flags));
        }
        if flags.contains(NamespaceFlags::USER) {
            hops.push(Hop::BecomeRoot(running.root.0, running.root.1));
        }
        Self {
            clone: NamespaceFlags::empty(),
            hops,
            id_maps: None,
            joins: Vec::new(),
            new: NamespaceFlags::empty(),
            keeps_groups: container.keeps_groups(),
            running,
        }
    }

    fn route(&mut self, joins: Vec<Kind>, offsets: &[u8], cgroup: CgroupEntry) {
        let new = self.new;
        let user = joins.iter().position(|kind| *kind == Kind::User);
        let simple = user.is_none() && offsets.is_empty() && !joins.contains(&Kind::Pid);
        if simple && self.id_maps.is_none() {
            self.same_user_namespace(joins, cgroup);
        } else if simple && joins.is_empty() {
            // The root of a cgroup namespace is the cgroup of its creator, and every other
            // namespace belongs to the ids of its creator. Both are correct only after the maps are
            // written.
            let born = NamespaceFlags::USER | NamespaceFlags::PID | NamespaceFlags::TIME;
            self.clone = new & born;
            self.map_ids();
            self.unshare(new - born);
        } else {
            self.by_relay(joins, user, offsets);
        }
    }

    /// One clone makes everything new; the rest is joined.
    fn same_user_namespace(&mut self, joins: Vec<Kind>, cgroup: CgroupEntry) {
        let late = match cgroup {
            CgroupEntry::AtClone => NamespaceFlags::empty(),
            // It would have the wrong root if it were made before the runtime has moved this
            // process.
            CgroupEntry::ByRuntime => NamespaceFlags::CGROUP,
        };
        self.clone = self.new - late;
        self.hops.extend(joins.into_iter().map(Hop::Join));
        self.unshare(self.new & late);
    }

    /// The general route: join with the runtime's privileges, enter the user namespace, then clone
    /// a child for the namespaces that only children enter.
    fn by_relay(&mut self, mut joins: Vec<Kind>, user: Option<usize>, offsets: &[u8]) {
        let user = user.map(|index| joins.remove(index));
        let others = !joins.is_empty();
        for kind in joins {
            self.hops.push(match user {
                Some(_) => Hop::TryJoin(kind),
                None => Hop::Join(kind),
            });
        }
        if let Some(user) = user {
            self.hops.push(Hop::Join(user));
            if others {
                self.hops.push(Hop::JoinRefused);
            }
            self.hops.push(Hop::BecomeRoot(0, 0));
        } else if self.id_maps.is_some() {
            self.hops.push(Hop::Unshare(NamespaceFlags::USER));
            self.map_ids();
        }
        let mut rest = self.new - NamespaceFlags::USER;
        if !offsets.is_empty() {
            rest -= NamespaceFlags::TIME;
            self.hops.push(Hop::Unshare(NamespaceFlags::TIME));
            self.hops.push(Hop::TimeOffsets(offsets.to_vec()));
        }
        self.hops.push(Hop::Relay(rest));
    }

    fn map_ids(&mut self) {
        if let Some(maps) = &self.id_maps {
            let (uid, gid) = maps.root();
            self.hops.push(Hop::MapIds);
            self.hops.push(Hop::BecomeRoot(uid, gid));
        }
    }

    fn unshare(&mut self, flags: NamespaceFlags) {
        if !flags.is_empty() {
            self.hops.push(Hop::Unshare(flags));
        }
    }

    /// The id on the host of a user of the container that is entered, if it has a user namespace of
    /// its own.
    pub fn running_uid(&self, uid: u32) -> Option<u32> {
        self.running.host_uid(uid)
    }

    /// Whether the route ends before a PID namespace that only a child of the process enters.
    pub fn ends_before_the_pid_namespace(&self) -> bool {
        self.enters(Kind::Pid)
    }

    /// Whether the process enters the namespace of `kind` of a running container.
    pub fn enters(&self, kind: Kind) -> bool {
        self.running.inode(kind).is_some()
    }

    /// Whether the network namespace is a new one, whose loopback link is down.
    pub fn has_new_network(&self) -> bool {
        self.new.contains(NamespaceFlags::NETWORK)
    }

    /// Whether the kernel may refuse init what it permits to the runtime, since init will have
    /// entered a user namespace.
    pub fn changes_user_namespace(&self) -> bool {
        self.new.contains(NamespaceFlags::USER)
            || self.joins.iter().any(|join| join.kind == Kind::User)
            || self.running.inode(Kind::User).is_some()
    }

    /// When the process on this route begins to hide.
    pub fn hidden(&self) -> Hidden {
        match self.id_maps {
            None => Hidden::AtOnce,
            Some(_) => Hidden::WithMaps,
        }
    }

    /// Prepares the process for the hops: opens the files that it may not open once it is not
    /// dumpable.
    ///
    /// # Errors
    /// The clock offsets of this process cannot be opened.
    pub fn begin(&self) -> Result<Journey, Failed> {
        let offsets = self
            .hops
            .iter()
            .position(|hop| matches!(hop, Hop::TimeOffsets(_)));
        let offsets = match offsets {
            None => None,
            Some(index) => {
                let name = c"/proc/self/timens_offsets";
                let file = path::open(name, OpenFlags::WRITE);
                Some(file.map_err(Failed::at(Call::TimeOffsets, index))?)
            }
        };
        Ok(Journey {
            refused: 0,
            offsets,
        })
    }

    /// Carries out one hop that needs no answer of the runtime. The index of a failure is that of
    /// the hop.
    pub fn hop(
        &self,
        index: usize,
        handles: &Handles,
        journey: &mut Journey,
    ) -> Result<(), Failed> {
        let at = |call: Call| Failed::at(call, index);
        match self.hops.get(index) {
            None | Some(Hop::AwaitCgroup | Hop::MapIds | Hop::Relay(_)) => Ok(()),
            Some(Hop::TryJoin(kind)) => match handles.join(*kind) {
                Err(Errno::EPERM) => {
                    journey.refused |= 1 << index;
                    Ok(())
                }
                answer => answer.map_err(at(Call::Setns)),
            },
            Some(Hop::Join(kind)) => {
                handles.join(*kind).map_err(at(Call::Setns))?;
                // Entering a user namespace of another owner changes the credentials.
                hide(index)
            }
            Some(Hop::JoinRefused) => self.join_refused(handles, journey),
            Some(Hop::Enter(flags)) => {
                let process = handles.process.as_ref().ok_or(Errno::EBADF);
                running::enter(process.map_err(at(Call::Setns))?, *flags, index)?;
                hide(index)
            }
            Some(Hop::Unshare(flags)) => clone::unshare(*flags).map_err(at(Call::Unshare)),
            Some(Hop::BecomeRoot(uid, gid)) => self.become_ids(*uid, *gid, index),
            Some(Hop::TimeOffsets(text)) => {
                let file = journey.offsets.take().ok_or(Errno::EBADF);
                file.and_then(|file| fs::write(file.as_fd(), text))
                    .map(|_at_once| ())
                    .map_err(at(Call::TimeOffsets))
            }
        }
    }

    fn become_ids(&self, uid: u32, gid: u32, index: usize) -> Result<(), Failed> {
        ids::setresgid(gid).map_err(Failed::at(Call::Setgid, index))?;
        hide(index)?;
        ids::setresuid(uid).map_err(Failed::at(Call::Setuid, index))?;
        hide(index)?;
        if self.keeps_groups {
            return Ok(());
        }
        // Groups of the host would give access to its files. If setgroups is denied, they have to
        // stay.
        match ids::setgroups(&[]) {
            Err(Errno::EPERM) => Ok(()),
            answer => answer.map_err(Failed::at(Call::Setgroups, index)),
        }
    }

    fn join_refused(&self, handles: &Handles, journey: &Journey) -> Result<(), Failed> {
        for (index, hop) in self.hops.iter().enumerate() {
            if let Hop::TryJoin(kind) = hop
                && journey.refused & (1 << index) != 0
            {
                handles
                    .join(*kind)
                    .map_err(Failed::at(Call::Setns, index))?;
            }
        }
        Ok(())
    }

    /// Compares the namespaces of `child` with the plan: a joined one must be the planned
    /// one, a new one must not be the runtime's. The error is the kind that differs.
    ///
    /// # Errors
    /// That kind.
    pub fn verify(&self, handles: &Handles, child: &Child) -> Result<(), Kind> {
        let pid = child.pid.to_string();
        for kind in Kind::ALL {
            let joined = handles.get(kind).map(|joined| joined.inode);
            let expected = joined.or_else(|| self.running.inode(kind));
            let is_new = self.new.contains(kind::flag(kind));
            if expected.is_none() && !is_new {
                continue;
            }
            let actual = match crate::join::inode_behind(child.pidfd.as_fd(), &pid, kind) {
                // Init is not dumpable, so its own user may not look. Only the runtime of an
                // ordinary user is refused.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => continue,
                answer => answer.map_err(|_unreadable| kind)?,
            };
            let right = match expected {
                Some(inode) => actual == inode,
                None => crate::join::own_inode(kind).is_some_and(|own| own != actual),
            };
            if !right {
                return Err(kind);
            }
        }
        Ok(())
    }

    /// How many requests the process sends on its way into the namespaces.
    pub fn questions(&self) -> usize {
        let asks = |hop: &&Hop| matches!(hop, Hop::AwaitCgroup | Hop::MapIds | Hop::Relay(_));
        self.hops.iter().filter(asks).count()
    }

    /// Whether the clone already enters all namespaces.
    pub fn ends_with_the_clone(&self) -> bool {
        self.hops.is_empty()
    }

    /// The new namespaces of the clone itself, for messages.
    pub fn describe_clone(&self) -> String {
        names(self.clone)
    }

    /// What hop `index` does, for messages.
    pub fn describe(&self, index: usize) -> String {
        match self.hops.get(index) {
            None => "enter the namespaces".to_owned(),
            Some(Hop::AwaitCgroup) => "wait for the cgroup".to_owned(),
            Some(Hop::TryJoin(kind) | Hop::Join(kind)) => {
                format!("join the {} namespace of /linux/namespaces", kind.name())
            }
            Some(Hop::JoinRefused) => "join the remaining namespaces".to_owned(),
            Some(Hop::Enter(flags)) => {
                format!("join the namespaces of the container ({})", names(*flags))
            }
            Some(Hop::Relay(flags)) if flags.is_empty() => {
                "make a process in the joined namespaces".to_owned()
            }
            Some(Hop::Unshare(flags) | Hop::Relay(flags)) => {
                format!("make namespaces ({})", names(*flags))
            }
            Some(Hop::MapIds) => "wait for the id maps".to_owned(),
            Some(Hop::BecomeRoot(uid, gid)) => {
                format!("become uid {uid} and gid {gid} of the user namespace")
            }
            Some(Hop::TimeOffsets(_)) => "set /linux/timeOffsets".to_owned(),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "clone with new namespaces ({})", self.describe_clone())?;
        for index in 0..self.hops.len() {
            writeln!(f, "then {}", self.describe(index))?;
        }
        for Join { kind, path } in &self.joins {
            writeln!(f, "the {} namespace is {path:?}", kind.name())?;
        }
        match &self.id_maps {
            Some(maps) => maps.fmt(f),
            None => Ok(()),
        }
    }
}

fn names(flags: NamespaceFlags) -> String {
    let kinds = Kind::ALL
        .into_iter()
        .filter(|kind| flags.contains(kind::flag(*kind)));
    kinds.map(Kind::name).collect::<Vec<_>>().join(", ")
}

/// When a process becomes not dumpable. From then on, in any namespace, only a process with
/// capabilities in the runtime's own user namespace can trace it or look into its /proc entry. See
/// ptrace(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hidden {
    /// Before the first hop.
    AtOnce,
    /// When its id maps are written: until then an ordinary user has to write to its /proc entry.
    /// It has not entered an existing PID namespace yet.
    WithMaps,
}

/// What a process carries from hop to hop.
#[derive(Debug)]
pub struct Journey {
    /// Which of the first 64 hops were refused.
    refused: u64,
    /// The clock offsets of its children, opened with its original rights: after a change of ids
    /// the file belongs to another user.
    offsets: Option<OwnedFd>,
}

/// Makes this process not dumpable. This must follow every change of its ids or of its user
/// namespace, since that resets the flag to the value of /proc/sys/fs/suid_dumpable.
fn hide(index: usize) -> Result<(), Failed> {
    set_dumpable(false).map_err(Failed::at(Call::Prctl, index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::idmap::tests::caller;
    use spec::load::{Host, parse};
    use std::path::Path;

    /// The route for these elements of linux.namespaces (and further members of linux).
    fn route(namespaces: &str, more: &str, cgroup: CgroupEntry) -> (String, Vec<String>) {
        let entry = lower(namespaces, more, cgroup, &Facts::default());
        let hops = (0..entry.hops.len())
            .map(|index| entry.describe(index))
            .collect();
        (entry.describe_clone(), hops)
    }

    fn lower(namespaces: &str, more: &str, cgroup: CgroupEntry, facts: &Facts) -> Entry {
        let maps = r#""uidMappings":[{"containerID":0,"hostID":1000,"size":9}],
            "gidMappings":[{"containerID":0,"hostID":1000,"size":9}],"#;
        let maps = if namespaces.contains("\"user\"") {
            maps
        } else {
            ""
        };
        let document = format!(
            r#"{{"ociVersion":"1.0.2","root":{{"path":"rootfs"}},
                "linux":{{{maps}{more}"namespaces":[{namespaces}]}}}}"#
        );
        let loaded = parse(document.as_bytes(), Path::new("/bundle"), Host::Ignore).unwrap();
        let root = caller(u64::MAX);
        Entry::lower(&loaded.container, cgroup, facts, &root).unwrap()
    }

    const ALL: &str = r#"{"type":"pid"},{"type":"network"},{"type":"ipc"},{"type":"uts"},
        {"type":"mount"},{"type":"cgroup"}"#;

    #[test]
    fn everything_new_is_one_clone() {
        let (clone, hops) = route(ALL, "", CgroupEntry::AtClone);
        assert_eq!(clone, "ipc, uts, network, pid, cgroup, mount");
        assert!(hops.is_empty(), "{hops:?}");
    }

    #[test]
    fn with_cgroup_v1_the_cgroup_namespace_is_made_after_the_group_is_joined() {
        let (clone, hops) = route(ALL, "", CgroupEntry::ByRuntime);
        assert_eq!(clone, "ipc, uts, network, pid, mount");
        assert_eq!(hops, ["wait for the cgroup", "make namespaces (cgroup)"]);
    }

    #[test]
    fn a_new_user_namespace_gets_its_maps_before_the_rest_is_made() {
        let (clone, hops) = route(
            &format!(r#"{ALL},{{"type":"user"}}"#),
            "",
            CgroupEntry::AtClone,
        );
        assert_eq!(clone, "user, pid");
        assert_eq!(
            hops,
            [
                "wait for the id maps",
                "become uid 0 and gid 0 of the user namespace",
                "make namespaces (ipc, uts, network, cgroup, mount)"
            ]
        );
    }

    #[test]
    fn namespaces_of_the_host_are_joined_before_the_user_namespace_is_made() {
        let namespaces = r#"{"type":"user"},{"type":"pid"},{"type":"mount"},
            {"type":"network","path":"/proc/self/ns/net"}"#;
        let (clone, hops) = route(namespaces, "", CgroupEntry::AtClone);
        assert_eq!(clone, "");
        assert_eq!(
            hops,
            [
                "join the network namespace of /linux/namespaces",
                "make namespaces (user)",
                "wait for the id maps",
                "become uid 0 and gid 0 of the user namespace",
                "make namespaces (pid, mount)"
            ]
        );
    }

    #[test]
    fn a_joined_pid_namespace_is_entered_last() {
        let namespaces = r#"{"type":"mount"},{"type":"pid","path":"/proc/self/ns/pid"},
            {"type":"network","path":"/proc/self/ns/net"}"#;
        let (clone, hops) = route(namespaces, "", CgroupEntry::AtClone);
        assert_eq!(clone, "");
        assert_eq!(
            hops,
            [
                "join the network namespace of /linux/namespaces",
                "join the pid namespace of /linux/namespaces",
                "make namespaces (mount)"
            ]
        );
    }

    #[test]
    fn clock_offsets_are_written_before_anybody_enters_the_time_namespace() {
        let offsets = r#""timeOffsets":{"boottime":{"secs":7}},"#;
        let namespaces = r#"{"type":"time"},{"type":"pid"}"#;
        let (clone, hops) = route(namespaces, offsets, CgroupEntry::AtClone);
        assert_eq!(clone, "");
        assert_eq!(
            hops,
            [
                "make namespaces (time)",
                "set /linux/timeOffsets",
                "make namespaces (pid)"
            ]
        );
    }

    #[test]
    fn the_own_user_namespace_is_not_joined() {
        let namespaces = r#"{"type":"mount"},{"type":"user","path":"/run/user-namespace"}"#;
        let facts = |own| Facts {
            joins_own_user_namespace: own,
            ..Facts::default()
        };
        let own = lower(namespaces, "", CgroupEntry::AtClone, &facts(true));
        assert_eq!(own.describe_clone(), "mount");
        assert_eq!(own.hops, []);
        assert!(!own.changes_user_namespace());
        let other = lower(namespaces, "", CgroupEntry::AtClone, &facts(false));
        assert_eq!(other.hops.first(), Some(&Hop::Join(Kind::User)));
        assert!(other.changes_user_namespace());
    }
}
