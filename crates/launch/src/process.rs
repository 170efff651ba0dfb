//! The container's first process: names, ids, working directory, program.
//!
//! Decides what init becomes once its namespaces and its file system tree exist. The order matters:
//! steps that need privileges come before the change of ids, and steps that the change would undo
//! come after. Limits and the oom score are set from outside, by the runtime. Runtime-spec
//! config.md#process.

use crate::attributes::{self, Attributes, Setter};
use crate::failure::Failure;
use crate::home::{self, Home};
use crate::program::{Filter, Found, Overrides, Program};
use crate::rooms;
use caller::Caller;
use kernel::fs::{self, FileKind};
use kernel::path::OpenFlags;
use kernel::process::{self, CStringArray};
use kernel::{Call, Errno, Failed, ids, pipe, schedule};
use namespace::Kind;
use nix::sys::personality::{self, Persona};
use nix::sys::prctl::{get_no_new_privs, set_dumpable, set_no_new_privs};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::{Uid, fchdir, fchown, sethostname, setsid};
use rootfs::RootFd;
use spec::Container;
use spec::container::{
    ExecCpuAffinity, KEEP_GROUPS, MemoryPolicy, Namespace, NumberSet, Personality, Rlimit,
};
use std::ffi::{CStr, CString, OsStr};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::slice;

/// The execution domain of 32-bit programs: see [personality(2)].
///
/// [personality(2)]: https://man7.org/linux/man-pages/man2/personality.2.html
const PER_LINUX32: i32 = 8;

/// How many descriptors init needs between its set-up and its program, for the start and for hooks.
const ENOUGH_DESCRIPTORS: u64 = 16;

/// What will be done, and nothing else.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    hostname: Option<Vec<u8>>,
    domainname: Option<Vec<u8>>,
    personality: Option<Persona>,
    /// What the runtime does not set from outside.
    attributes: Attributes,
    memory_policy: Option<MemoryPolicy>,
    /// CPUs of a further process; `None`: all of its cpuset.
    cpus: Option<NumberSet>,
    user: User,
    no_new_privileges: bool,
    /// Relative to the root.
    cwd: CString,
    program: Program,
    args: CStringArray,
    env: Vec<CString>,
    /// The limits that init lowers itself. The runtime sets those that only it may raise.
    limits: Vec<Rlimit>,
    /// A limit on descriptors that is too low for the start and hooks, and its index in the
    /// configuration. It is set right before the program runs.
    late_limit: Option<(usize, Rlimit)>,
    /// The index in `env` of HOME, if it comes from the container's passwd file.
    home: Option<usize>,
}

/// What only init can find out, in memory that is taken before the clone.
#[derive(Debug)]
pub(crate) struct Handles {
    /// The program's environment, complete once [`Plan::become_user`] has been called.
    pub(crate) env: CStringArray,
    /// Whether the caller's groups stay because the kernel denies the change.
    keeps_groups: bool,
    /// Whether the process is in the working directory, and that is inside the root.
    cwd_is_inside: bool,
    /// The program, after [`Plan::look_up`].
    found: Option<Found>,
}

#[derive(Debug, PartialEq, Eq)]
struct User {
    uid: u32,
    gid: u32,
    /// `None`: the caller's groups stay, since they cannot or must not be changed.
    groups: Option<Vec<u32>>,
    /// Whether the groups may stay if the kernel says so.
    denial: Denial,
    umask: u32,
}

/// The meaning of a denied setgroups(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Denial {
    /// The container cannot have the groups of its configuration.
    Failure,
    /// The joined user namespace was made so, and the configuration has no groups. The caller's
    /// groups stay, as for every process in it.
    OfNamespace,
}

/// The facts and options that add to the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// How many descriptors from 3 on the container gets by socket activation. LISTEN_FDS has the
    /// number.
    pub listen_fds: u32,
    /// Whether setgroups(2) is denied in the container's user namespace.
    pub setgroups: Setgroups,
    /// Who sets the resource limits.
    pub limits: Limits,
    /// Who sets policy and priorities.
    pub attributes: Setter,
    /// Whether it is the container's first process.
    pub turn: Turn,
    /// Whose supplementary groups the runtime has.
    pub own_groups: OwnGroups,
    /// Whether a filter is in force when the program is looked up.
    pub filter: Filter,
    /// Which files the program's capabilities open.
    pub overrides: Overrides,
}

/// Whose supplementary groups the runtime has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnGroups {
    /// Those of an ordinary user: the user's processes have them without a container too.
    OfUser,
    /// Those of a process that can change them: they do not belong to the container's user.
    OfRoot,
}

/// Who sets the resource limits. A process with CAP_SYS_RESOURCE may raise the limits of any
/// process from outside. Other processes may only lower their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Limits {
    /// The runtime, on the finished init.
    ByRuntime,
    /// Init.
    ByInit,
}

/// Which process of its container it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// The first, by `create` and `run`.
    First,
    /// One more, by `exec`.
    Further,
}

impl Turn {
    /// The CPUs of `execCPUAffinity`, which is about further processes.
    pub(crate) fn cpus(self, affinity: &ExecCpuAffinity) -> ExecCpuAffinity {
        match self {
            Self::First => ExecCpuAffinity::default(),
            Self::Further => affinity.clone(),
        }
    }
}

/// Whether supplementary groups can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setgroups {
    /// They can.
    Allowed,
    /// The user namespace maps one group without privileges: user_namespaces(7).
    Denied,
    /// The namespace was made by the engine: the kernel decides.
    Unknown,
}

/// A property of the process block that the process cannot have.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Error {
    #[error("{pointer}: a NUL byte")]
    NulByte { pointer: String },
    #[error(
        "/process/user/additionalGids: supplementary groups cannot be set in this user namespace; map a range of groups (newgidmap, /etc/subgid) or remove them"
    )]
    GroupsDenied,
    #[error(
        "/annotations/{KEEP_GROUPS}: it would give the container the supplementary groups of the host's root; remove it and list groups in /process/user/additionalGids (an ordinary user's runtime keeps that user's groups)"
    )]
    GroupsOfRoot,
}

/// Whether the process has entered its working directory before the change of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cwd {
    /// It has.
    Entered,
    /// Its ids had no access to the directory. The container's user tries again.
    Refused,
}

impl Plan {
    /// The plan; `None` for a container without a process, which can be created but not started.
    pub(crate) fn lower(
        container: &Container,
        rlimits: &[Rlimit],
        options: Options,
    ) -> Result<Option<Self>, Error> {
        let Some(process) = &container.process else {
            return Ok(None);
        };
        let nul = |pointer: String| move |_| Error::NulByte { pointer };
        let list = |name: &str, list: &[String]| -> Result<Vec<CString>, Error> {
            let strings = list.iter().enumerate();
            strings
                .map(|(i, text)| {
                    CString::new(text.as_str()).map_err(nul(format!("/process/{name}/{i}")))
                })
                .collect()
        };
        let args = list("args", &process.args)?;
        let mut env = list("env", &process.env)?;
        if options.listen_fds > 0 {
            env.retain(|entry| !entry.as_bytes().starts_with(b"LISTEN_"));
            env.push(text(format!("LISTEN_FDS={}", options.listen_fds)));
            env.push(text("LISTEN_PID=1".to_owned()));
        }
        let is_home = |entry: &CString| {
            entry
                .as_bytes()
                .strip_prefix(b"HOME=")
                .is_some_and(|v| !v.is_empty())
        };
        let home = (!env.iter().any(is_home)).then(|| {
            env.retain(|entry| !entry.as_bytes().starts_with(b"HOME="));
            env.push(text(format!("HOME={}", " ".repeat(home::ROOM))));
            env.len() - 1
        });
        let cwd = process.cwd.as_os_str().as_encoded_bytes();
        Ok(Some(Self {
            hostname: container.hostname.clone().map(String::into_bytes),
            domainname: container.domainname.clone().map(String::into_bytes),
            personality: container.personality.map(|personality| match personality {
                Personality::PerLinux => Persona::empty(),
                Personality::PerLinux32 => Persona::from_bits_retain(PER_LINUX32),
            }),
            attributes: Attributes::lower(process, options.attributes, Setter::Init),
            memory_policy: container.memory_policy.clone(),
            cpus: options.turn.cpus(&process.exec_cpu_affinity).final_cpus,
            user: User::lower(container, options)?,
            no_new_privileges: process.no_new_privileges,
            cwd: CString::new(cwd).map_err(nul("/process/cwd".to_owned()))?,
            program: Program::lower(process, options.filter, options.overrides),
            args: CStringArray::new(args),
            env,
            limits: match options.limits {
                Limits::ByInit => rlimits.iter().map(during_set_up).collect(),
                Limits::ByRuntime => Vec::new(),
            },
            late_limit: rlimits
                .iter()
                .enumerate()
                .find(|(_, limit)| during_set_up(limit) != **limit)
                .map(|(index, limit)| (index, *limit)),
            home,
        }))
    }

    /// Takes the memory for what init finds out.
    pub(crate) fn open(&self) -> Handles {
        Handles {
            env: CStringArray::new(self.env.iter().cloned()),
            keeps_groups: false,
            cwd_is_inside: false,
            found: None,
        }
    }

    /// Leaves the caller's CPUs. This comes early: inside the container's cgroups, but before
    /// anything else of the container.
    pub(crate) fn leave_cpus(&self) -> Result<(), Failed> {
        match &self.cpus {
            Some(cpus) => {
                schedule::set_cpus(&cpus.0).map_err(Failed::of(Call::Affinity))?;
            }
            // The cpuset decides on the CPUs of the container, not the caller. If a security module
            // forbids the call, the container only has fewer CPUs.
            None => {
                let _best_effort = process::allow_every_cpu();
            }
        }
        Ok(())
    }

    /// Leaves the caller's session.
    pub(crate) fn leave_session() -> Result<(), Failed> {
        let session = setsid().map_err(Failed::of(Call::Setsid));
        session.map(|_own_pid| ())
    }

    /// Whether a child of this process has its attributes too: see sched(7), "The reset-on-fork
    /// flag".
    pub(crate) fn inherits_attributes(&self) -> bool {
        self.attributes.are_inherited()
    }

    /// Whether the process itself limits how many processes its user may have.
    pub(crate) fn limits_processes(&self) -> bool {
        self.limits
            .iter()
            .any(|limit| limit.resource == process::PROCESSES)
    }

    /// The container's user.
    pub(crate) fn uid(&self) -> u32 {
        self.user.uid
    }

    /// The group that the program runs as.
    pub(crate) fn gid(&self) -> u32 {
        self.user.gid
    }

    /// Makes the working directory if it is missing, before the root may turn read-only.
    pub(crate) fn make_cwd(&self, root: &RootFd) -> Result<(), Failed> {
        root.make_directory(&self.cwd)
            .map_err(Failed::of(Call::Mkdir))
    }

    /// Sets the names of the UTS namespace.
    pub(crate) fn set_names(&self) -> Result<(), Failed> {
        if let Some(name) = &self.hostname {
            sethostname(OsStr::from_bytes(name)).map_err(Failed::of(Call::Sethostname))?;
        }
        if let Some(name) = &self.domainname {
            process::setdomainname(name).map_err(Failed::of(Call::Setdomainname))?;
        }
        Ok(())
    }

    /// Does what needs the runtime's ids and capabilities, before [`Self::become_user`]. Returns
    /// whether the process is in the working directory.
    pub(crate) fn prepare_user(&self, handles: &mut Handles, root: &RootFd) -> Result<Cwd, Failed> {
        self.set_home(handles, root)?;
        // With those of the caller a program could keep its capabilities when it leaves root.
        ids::clear_secure_bits().map_err(Failed::of(Call::SecureBits))?;
        if let Some(domain) = self.personality {
            personality::set(domain).map_err(Failed::of(Call::Personality))?;
        }
        self.attributes.apply(0)?;
        if let Some(policy) = &self.memory_policy {
            attributes::set_memory_policy(policy)?;
        }
        let cwd = match self.enter_cwd(handles, root) {
            // On a network file system root may have no access to a directory of another user.
            Err(Failed {
                errno: Errno::EACCES | Errno::EPERM,
                ..
            }) => Cwd::Refused,
            entered => entered.map(|()| Cwd::Entered)?,
        };
        for stream in pipe::STANDARD {
            // A stream of another user stays as it is. A failure does not matter: the stream still
            // works.
            let _best_effort = give_stream_to(stream, self.user.uid);
        }
        Ok(cwd)
    }

    /// Becomes the container's user, in the container's working directory. Afterwards the process
    /// has nothing of the host except descriptors.
    pub(crate) fn become_user(
        &self,
        handles: &mut Handles,
        root: &RootFd,
        capability: &capability::Plan,
        cwd: Cwd,
    ) -> Result<(), Failed> {
        capability.drop_bounding()?;
        self.user.apply(handles)?;
        capability.apply()?;
        if cwd == Cwd::Refused {
            self.enter_cwd(handles, root)?;
        }
        if self.no_new_privileges {
            set_no_new_privs().map_err(Failed::of(Call::NoNewPrivs))?;
        }
        Ok(())
    }

    /// Through a handle that was resolved below the root and without magic links: CVE-2024-21626.
    fn enter_cwd(&self, handles: &mut Handles, root: &RootFd) -> Result<(), Failed> {
        let cwd = root
            .open(&self.cwd, OpenFlags::PATH | OpenFlags::DIRECTORY)
            .map_err(Failed::of(Call::Openat2))?;
        fchdir(cwd.as_fd()).map_err(Failed::of(Call::Chdir))?;
        let mut text = [0; 4096];
        // Outside of the root the kernel returns "(unreachable)". The check is here, since a filter
        // may forbid the call later.
        handles.cwd_is_inside = match process::getcwd(&mut text) {
            Ok(_) => text.starts_with(b"/"),
            // The path is longer than the buffer, or, at the second attempt, the filter forbids the
            // call.
            Err(_unanswered) => true,
        };
        Ok(())
    }

    /// Completes HOME from the container's passwd file; `/` if the file does not have the user.
    fn set_home(&self, handles: &mut Handles, root: &RootFd) -> Result<(), Failed> {
        let Some(index) = self.home else {
            return Ok(());
        };
        let mut home = Home::default();
        if let Ok(passwd) = open_file(root, c"etc/passwd") {
            home.read(&passwd, self.user.uid);
        }
        handles
            .env
            .overwrite(index, home.text())
            .map_err(Failed::of(Call::Copy))
    }

    /// The sentence for a failure to set CPUs, policy or priorities.
    pub(crate) fn describe_attribute(&self, failed: &Failed) -> String {
        match (failed.call, &self.cpus, &self.memory_policy) {
            (Call::Affinity, Some(cpus), _) => {
                attributes::describe_cpus("final", cpus, failed.errno)
            }
            (Call::MemoryPolicy, _, Some(policy)) => attributes::describe_memory(policy, failed),
            _ => self.attributes.describe(failed),
        }
    }

    /// The working directory, for messages.
    pub(crate) fn cwd(&self) -> String {
        let path = self.cwd.to_string_lossy();
        format!("/{}", path.trim_start_matches('/'))
    }

    /// Finds the program, as the user that will run it.
    pub(crate) fn look_up(&self, handles: &mut Handles) -> Result<(), Failed> {
        handles.found = Some(self.program.look_up()?);
        Ok(())
    }

    /// Sets the limits. This comes last, since they would apply to the set-up too.
    pub(crate) fn set_limits(&self) -> Result<(), Failed> {
        self.limits
            .iter()
            .enumerate()
            .try_for_each(|(index, limit)| {
                process::prlimit(0, limit.resource, limit.soft, limit.hard)
                    .map_err(Failed::at(Call::Prlimit, index))
            })
    }

    /// The limit that [`Self::set_late_limit`] sets.
    pub(crate) fn late_limit(&self) -> Option<&Rlimit> {
        self.late_limit.as_ref().map(|(_, limit)| limit)
    }

    /// Lowers the limit on descriptors, after the last step that needs one.
    pub(crate) fn set_late_limit(&self) -> Result<(), Failed> {
        let Some((index, limit)) = &self.late_limit else {
            return Ok(());
        };
        process::prlimit(0, limit.resource, limit.soft, limit.hard)
            .map_err(Failed::at(Call::Prlimit, *index))
    }

    /// Compares the state of this process in the kernel with the plan. The index of a failure says
    /// what differs: see [`differing`].
    pub(crate) fn verify(&self, handles: &Handles) -> Result<(), Failed> {
        let check = |index: usize, same: Result<bool, Errno>| match same {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failed::at(Call::Verify, index)(Errno::EPERM)),
            Err(errno) => Err(Failed::at(Call::Verify, index)(errno)),
        };
        check(0, ids::getresuid().map(|ids| ids == [self.user.uid; 3]))?;
        check(1, ids::getresgid().map(|ids| ids == [self.user.gid; 3]))?;
        check(2, self.user.verify_groups(handles))?;
        check(
            3,
            get_no_new_privs().map(|set| set || !self.no_new_privileges),
        )?;
        check(4, Ok(handles.cwd_is_inside))
    }

    /// Becomes the program. Returns only on failure.
    pub(crate) fn exec(&self, handles: &Handles) -> Failure {
        self.program.exec(handles.found, &self.args, &handles.env)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (what, name) in [
            ("hostname", &self.hostname),
            ("domainname", &self.domainname),
        ] {
            if let Some(name) = name {
                writeln!(f, "{what} {:?}", String::from_utf8_lossy(name))?;
            }
        }
        if let Some(personality) = self.personality {
            writeln!(f, "personality {:#x}", personality.bits())?;
        }
        if let Some(cpus) = &self.cpus {
            writeln!(f, "CPUs {cpus}")?;
        }
        write!(f, "{}", self.attributes)?;
        if let Some(policy) = &self.memory_policy {
            attributes::write_memory(f, policy)?;
        }
        let User {
            uid,
            gid,
            groups,
            umask,
            ..
        } = &self.user;
        let groups = match groups {
            Some(groups) => format!("groups {groups:?}"),
            None => "the caller's groups".to_owned(),
        };
        writeln!(f, "uid {uid}, gid {gid}, {groups}, umask {umask:03o}")?;
        if self.no_new_privileges {
            writeln!(f, "no_new_privs")?;
        }
        writeln!(f, "cwd {:?}", self.cwd)?;
        writeln!(f, "program {}", self.program)?;
        writeln!(f, "args {}", self.args)?;
        for entry in &self.env {
            writeln!(f, "env {:?}", entry.to_string_lossy().trim_end())?;
        }
        rooms::limits(f, &self.limits)?;
        rooms::limits(f, self.late_limit().map_or(&[], slice::from_ref))
    }
}

/// The limit while init needs descriptors.
pub(crate) fn during_set_up(limit: &Rlimit) -> Rlimit {
    let mut limit = *limit;
    if limit.resource == process::DESCRIPTORS {
        limit.soft = limit.soft.max(ENOUGH_DESCRIPTORS);
        limit.hard = limit.hard.max(ENOUGH_DESCRIPTORS);
    }
    limit
}

/// The difference that [`Plan::verify`] found.
pub(crate) fn differing(index: u16) -> &'static str {
    match index {
        0 => "the user ids differ from the configuration",
        1 => "the group ids differ from the configuration",
        2 => "the supplementary groups differ from the configuration",
        3 => "no_new_privs is not set",
        4 => "the working directory is outside of the container's root",
        _ => "the capability sets differ from the configuration",
    }
}

impl User {
    fn lower(container: &Container, options: Options) -> Result<Self, Error> {
        let user = container
            .process
            .as_ref()
            .map(|process| process.user.clone());
        let Some(user) = user else {
            return Ok(Self {
                uid: 0,
                gid: 0,
                groups: None,
                denial: Denial::Failure,
                umask: 0o022,
            });
        };
        let keep = container.keeps_groups();
        if keep && options.own_groups == OwnGroups::OfRoot {
            return Err(Error::GroupsOfRoot);
        }
        let denial = match options.setgroups {
            Setgroups::Unknown if user.additional_gids.is_empty() => Denial::OfNamespace,
            Setgroups::Unknown | Setgroups::Allowed | Setgroups::Denied => Denial::Failure,
        };
        let groups = match options.setgroups {
            Setgroups::Allowed | Setgroups::Unknown if !keep => Some(user.additional_gids),
            Setgroups::Denied if !keep && !user.additional_gids.is_empty() => {
                return Err(Error::GroupsDenied);
            }
            Setgroups::Allowed | Setgroups::Unknown | Setgroups::Denied => None,
        };
        Ok(Self {
            uid: user.uid,
            gid: user.gid,
            groups,
            denial,
            umask: user.umask,
        })
    }

    fn apply(&self, handles: &mut Handles) -> Result<(), Failed> {
        process::set_umask(self.umask).map_err(Failed::of(Call::Umask))?;
        if let Some(groups) = &self.groups {
            match ids::setgroups(groups) {
                Err(Errno::EPERM) if self.denial == Denial::OfNamespace => {
                    handles.keeps_groups = true;
                }
                answer => answer.map_err(Failed::of(Call::Setgroups))?,
            }
        }
        // A change of ids sets the dumpable flag to the value of /proc/sys/fs/suid_dumpable.
        let hide = || set_dumpable(false).map_err(Failed::of(Call::Prctl));
        ids::setresgid(self.gid).map_err(Failed::of(Call::Setgid))?;
        hide()?;
        ids::setresuid(self.uid).map_err(Failed::of(Call::Setuid))?;
        hide()
    }

    fn verify_groups(&self, handles: &Handles) -> Result<bool, Errno> {
        let Some(groups) = self.groups.as_ref().filter(|_| !handles.keeps_groups) else {
            return Ok(true);
        };
        let mut buffer = [0; 64];
        match ids::getgroups(&mut buffer) {
            // The kernel sorts them, and keeps repetitions.
            Ok(count) => Ok(count == groups.len()
                && buffer
                    .iter()
                    .take(count)
                    .all(|group| groups.contains(group))
                && groups
                    .iter()
                    .all(|group| buffer.iter().take(count).any(|b| b == group))),
            // There are more groups than the buffer holds. The call that set them succeeded.
            Err(Errno::EINVAL) => Ok(groups.len() > buffer.len()),
            Err(errno) => Err(errno),
        }
    }
}

/// Whether setgroups(2) is denied in the container's user namespace. A new one inherits a denial.
pub(crate) fn setgroups(container: &Container, denied_by_maps: bool, caller: &Caller) -> Setgroups {
    let may_set = caller.user_namespace.setgroups;
    match container.namespaces[Kind::User] {
        Namespace::New if denied_by_maps || !may_set => Setgroups::Denied,
        Namespace::Inherit if !may_set => Setgroups::Denied,
        Namespace::New | Namespace::Inherit => Setgroups::Allowed,
        Namespace::Join(_) => Setgroups::Unknown,
    }
}

fn text(text: String) -> CString {
    CString::new(text).unwrap_or_default()
}

/// Opens a file of the container that must be a regular file. Its type is checked before the open,
/// since opening a device can have effects: a watchdog starts.
fn open_file(root: &RootFd, path: &CStr) -> Result<OwnedFd, Errno> {
    let check = |file: OwnedFd| match fs::stat_at(file.as_fd(), c"")?.kind {
        FileKind::Regular => Ok(file),
        _ => Err(Errno::EINVAL),
    };
    check(root.open(path, OpenFlags::PATH)?)?;
    check(root.open(path, OpenFlags::NONBLOCK)?)
}
/// Gives the pipe, FIFO or socket behind `fd` to the container's user, who could not reopen it
/// through /proc otherwise (ADR 10). Files of other types stay as they are.
pub(crate) fn give_stream_to(fd: BorrowedFd<'_>, uid: u32) -> Result<(), Errno> {
    let stat = fstat(fd)?;
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if !matches!(kind, SFlag::S_IFIFO | SFlag::S_IFSOCK) || stat.st_uid == uid {
        return Ok(());
    }
    fchown(fd, Some(Uid::from_raw(uid)), None)
}
