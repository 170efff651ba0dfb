//! What will be done for one container, and nothing else.

use crate::attributes::{Attributes, Setter};
use crate::birth::Birth;
use crate::describe;
use crate::failure::{Failure, Phase};
use crate::hooks::{self, DefaultEnv};
use crate::locks::{self, SysAdmin};
use crate::process::{self, Limits, Options, OwnGroups, Turn};
use crate::program::{Filter, Overrides};
use crate::stage::runtime::LISTENER;
use crate::terminal::{self, ConsoleSocket, Receiver};
use crate::{Error, Facts};
use caller::Caller;
use cgroup::Found;
use kernel::Call;
use kernel::errno::words;
use lsm::Keyring;
use namespace::entry::{CgroupEntry, Hidden};
use namespace::join::own_inode;
use namespace::{Entry, Kind};
use spec::Container;
use spec::container::{NumberSet, Rlimit};
use spec::state::{StateText, Status};
use std::ffi::CString;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// CAP_DAC_OVERRIDE.
const DAC_OVERRIDE: u8 = 1;
/// CAP_DAC_READ_SEARCH.
const DAC_READ_SEARCH: u8 = 2;
/// CAP_SYS_ADMIN.
const SYS_ADMIN: u8 = 21;
/// CAP_SETGID.
const SETGID: u8 = 6;
/// CAP_SYS_RESOURCE.
const SYS_RESOURCE: u8 = 24;
/// CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_SYS_ADMIN: to enter the namespace of init, which is not
/// dumpable, and to change a link there.
const ENTER_NETWORK: [u8; 3] = [12, 19, 21];

/// The plans of the rooms, lowered in the runtime before the clone. They do not change.
#[derive(Debug, PartialEq)]
pub struct Plan {
    pub(crate) cgroup: cgroup::Plan,
    pub(crate) entry: Entry,
    pub(crate) files: Files,
    pub(crate) capability: capability::Plan,
    pub(crate) process: Option<process::Plan>,
    pub(crate) terminal: Option<terminal::Plan>,
    pub(crate) lsm: lsm::Plan,
    pub(crate) seccomp: Option<seccomp::Plan>,
    pub(crate) locks: locks::Plan,
    pub(crate) birth: Birth,
    pub(crate) hooks: Hooks,
    pub(crate) state: State,
    pub(crate) outside: Outside,
    pub(crate) loopback: Loopback,
    pub(crate) network: Option<network::Plan>,
    pub(crate) resctrl: Option<resctrl::Plan>,
    /// How many descriptors from 3 on stay open.
    pub(crate) keep_fds: u32,
    /// The caller's limit on descriptors, if the runtime has raised it.
    pub(crate) own_limit: Option<Rlimit>,
    /// The first process of the container to enter, in the runtime's PID namespace.
    pub(crate) first: Option<i32>,
    /// args[0] as written, for messages.
    pub(crate) program: String,
}

/// Which files the process sees.
#[derive(Debug, PartialEq)]
pub(crate) enum Files {
    /// A tree that it makes.
    Make(rootfs::Plan),
    /// The files of a running container, whose mount namespace it enters.
    Join,
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Make(tree) => tree.fmt(f),
            Self::Join => f.write_str("those of the container"),
        }
    }
}

/// The handles that the files are made from, or found by.
#[derive(Debug)]
pub(crate) enum FileHandles {
    Make(rootfs::Handles),
    /// For a running container.
    Join {
        /// Its root directory, if the container has no mount namespace of its own.
        root: Option<OwnedFd>,
        /// The runtime's own /proc, out of the container's reach.
        procfs: Option<OwnedFd>,
    },
}

impl FileHandles {
    /// The procfs that labels are written through.
    pub(crate) fn procfs(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Make(handles) => handles.procfs(),
            Self::Join { procfs, .. } => procfs.as_ref().map(OwnedFd::as_fd),
        }
    }
}

/// The handles of the plan, opened before the clone and inherited by init.
#[derive(Debug)]
pub struct Handles {
    pub(crate) namespaces: namespace::Handles,
    pub(crate) files: FileHandles,
    pub(crate) cgroup: cgroup::Handles,
    pub(crate) process: Option<process::Handles>,
    pub(crate) receiver: Receiver,
    pub(crate) network: Option<network::Handles>,
    pub(crate) resctrl: Option<resctrl::Handles>,
}

impl Handles {
    /// Sends the master of the terminal to this socket, instead of giving it back with
    /// [`crate::Started`].
    pub fn send_terminal_to(&mut self, socket: ConsoleSocket) {
        self.receiver = Receiver::Socket(socket);
    }

    /// Where the container's groups of resctrl will be: for the journal, before anything is made.
    pub fn resctrl(&self) -> Option<&resctrl::Location> {
        self.resctrl.as_ref().map(resctrl::Handles::location)
    }

    /// Where the container's cgroup will be: for the journal, before anything is made.
    pub fn cgroup(&self) -> &cgroup::Location {
        self.cgroup.location()
    }
}

/// The hooks of create and start.
#[derive(Debug, PartialEq)]
pub(crate) struct Hooks {
    pub(crate) prestart: hooks::Plan,
    pub(crate) create_runtime: hooks::Plan,
    pub(crate) create_container: hooks::Plan,
    pub(crate) start_container: hooks::Plan,
    /// The bundle: where hooks run that see the host's files.
    pub(crate) bundle: CString,
}

/// The state document that hooks are given, around its pid.
#[derive(Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) creating: StateText,
    pub(crate) created: StateText,
}

/// Who brings up the loopback link of the container's network namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loopback {
    /// It stays as it is: the namespace is not new.
    AsItIs,
    /// Init, during its setup.
    ByInit,
    /// The runtime, while init makes mounts: the kernel takes a long time for this call.
    ByRuntime,
}

impl Loopback {
    fn lower(entry: &Entry, hooks: &Hooks, facts: &Facts) -> Self {
        // Elsewhere it could not go back: its own network namespace may belong to another user
        // namespace.
        let is_able = facts.caller.user_namespace.is_initial() && facts.caller.has(ENTER_NETWORK);
        // For AppArmor and SELinux, entering init's namespace counts as tracing, which they may
        // deny.
        let is_confined = facts.security.as_ref().is_none_or(lsm::Facts::is_confining);
        // The link must be up for hooks that init runs without a request.
        let is_in_time = hooks.create_container.is_empty();
        let is_alone = entry.ends_with_the_clone();
        match entry.has_new_network() {
            false => Self::AsItIs,
            true if is_able && is_in_time && is_alone && !is_confined => Self::ByRuntime,
            true => Self::ByInit,
        }
    }
}

/// When oom_score_adj of init is set. See proc_pid_oom_score_adj(5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OomScore {
    /// By init, before it hides: then the file may be another user's.
    ByInit,
    /// By the runtime, while init waits for its id maps: after them it hides.
    BeforeMaps,
    /// By the runtime, which is root of the host: init has no /proc.
    AfterHops,
}

/// Properties that the runtime sets on init from outside.
#[derive(Debug, PartialEq)]
pub(crate) struct Outside {
    pub(crate) oom_score_adj: Option<String>,
    pub(crate) rlimits: Vec<Rlimit>,
    pub(crate) attributes: Attributes,
    /// On the runtime itself, before there is a further process of the container.
    pub(crate) cpus: Option<NumberSet>,
}

/// The input of a launch: the configuration and the options of the command.
#[derive(Debug)]
pub struct Request<'a> {
    /// Validated.
    pub container: &'a Container,
    /// Unique below the state root.
    pub id: &'a str,
    /// Who makes the cgroup.
    pub manager: cgroup::Manager,
    /// pivot_root(2) or its substitute.
    pub pivot: rootfs::Pivot,
    /// The session keyring.
    pub keyring: Keyring,
    /// How many descriptors from 3 on the container gets, those of socket activation included.
    pub keep_fds: u32,
    /// How many of them belong to socket activation.
    pub listen_fds: u32,
    /// Whether a failure of cgroups is only a warning.
    pub rootless: bool,
}

impl<'a> Request<'a> {
    /// The input of the room `cgroup`.
    pub(crate) fn cgroup(&self) -> cgroup::Request<'a> {
        cgroup::Request {
            container: self.container,
            id: self.id,
            manager: self.manager,
            rootless: self.rootless,
            writable: rootfs::has_writable_cgroup(self.container),
        }
    }
}

impl Plan {
    /// Refuses a cgroup that has other processes, before the journal records it as the container's.
    pub fn look_for_others(&self, handles: &Handles) -> Result<(), Error> {
        Ok(self.cgroup.look_for_others(&handles.cgroup)?)
    }

    /// Decides everything. Returns the warnings too. A plan has 2.5 KiB and is moved often: it is
    /// on the heap, so that the stack in use at the clone is short.
    ///
    /// # Errors
    /// A property of the configuration that this host does not support, with its JSON pointer.
    pub fn lower(request: &Request<'_>, facts: &Facts) -> Result<(Box<Self>, Vec<String>), Error> {
        let container = request.container;
        let caller = &facts.caller;
        let cgroup = cgroup::Plan::lower(&request.cgroup(), &facts.cgroup)?;
        let cgroup_entry = match cgroup.moves_in() {
            true => CgroupEntry::ByRuntime,
            false => CgroupEntry::AtClone,
        };
        let entry = Entry::lower(container, cgroup_entry, &facts.namespace, caller)?;
        let rootfs = crate::tree::lower(request, facts, &entry, &cgroup)?;
        let denies_setgroups = entry
            .id_maps
            .as_ref()
            .is_some_and(namespace::IdMaps::denies_setgroups);
        let part = Part {
            container,
            id: request.id,
            status: Status::Creating,
            keyring: request.keyring,
            keep_fds: request.keep_fds,
            listen_fds: request.listen_fds,
            own_limit: own_limit(caller),
            denies_setgroups,
            first: None,
            resctrl: None,
        };
        part.lower(facts, cgroup, entry, Files::Make(rootfs))
    }

    /// When the oom score is set, and by which side.
    pub(crate) fn oom_score(&self) -> OomScore {
        let in_base = matches!(&self.files, Files::Make(tree) if tree.starts_in_the_base());
        match self.entry.hidden() {
            Hidden::WithMaps => OomScore::BeforeMaps,
            Hidden::AtOnce if in_base => OomScore::AfterHops,
            Hidden::AtOnce => OomScore::ByInit,
        }
    }

    /// Opens the handles of the plan, before the clone. `found` is from [`Facts::probe_for`].
    ///
    /// # Errors
    /// An object that does not exist or has another type, with its JSON pointer.
    pub fn open(&self, found: Found) -> Result<Handles, Error> {
        if let Some(Rlimit { resource, hard, .. }) = self.own_limit {
            // If this fails, the call that lacks a descriptor says so.
            let _raised = kernel::process::prlimit(0, resource, hard, hard);
        }
        let files = match &self.files {
            Files::Make(tree) => FileHandles::Make(open_tree(tree)?),
            Files::Join => FileHandles::Join {
                root: None,
                procfs: None,
            },
        };
        let namespaces = self.entry.open()?;
        let network = match &self.network {
            Some(plan) => Some(plan.open(network_target(&namespaces))?),
            None => None,
        };
        Ok(Handles {
            cgroup: self.cgroup.open(found)?,
            namespaces,
            files,
            process: self.process.as_ref().map(process::Plan::open),
            receiver: Receiver::default(),
            network,
            resctrl: self.open_resctrl()?,
        })
    }

    pub(crate) fn open_resctrl(&self) -> Result<Option<resctrl::Handles>, Error> {
        let opened = self.resctrl.as_ref().map(resctrl::Plan::open);
        Ok(opened.transpose()?)
    }

    /// How long init may take from its release to its program: see [`crate::create::patience`].
    pub(crate) fn patience(&self) -> Option<Duration> {
        let asks = self
            .seccomp
            .as_ref()
            .is_some_and(|plan| plan.listener.is_some());
        (asks && self.hooks.start_container.is_empty()).then_some(LISTENER)
    }

    /// The sentence for a failure of init.
    pub(crate) fn describe(&self, failure: &Failure) -> String {
        let hint = match self.is_refused_by_filter(failure) {
            true => describe::EARLY_FILTER,
            false => "",
        };
        format!("{}{hint}", self.describe_cause(failure))
    }

    /// Whether a filter that is in force before the program is looked up has answered the call.
    fn is_refused_by_filter(&self, failure: &Failure) -> bool {
        let name = match failure.call {
            Call::Umask | Call::Setgroups | Call::Setgid | Call::Setuid => failure.call.name(),
            Call::Capget | Call::Capset => failure.call.name(),
            Call::Prctl | Call::BoundingDrop | Call::AmbientRaise => Call::Prctl.name(),
            Call::Prlimit => "prlimit64",
            _ => return false,
        };
        let filter = self.seccomp.as_ref();
        self.locks.precede_look_up() && filter.is_some_and(|it| it.refuses(name, failure.errno()))
    }

    fn describe_cause(&self, failure: &Failure) -> String {
        let call = failure.call.name();
        let why = words(failure.errno());
        if failure.call == Call::LandlockRestrict {
            return landlock::describe_restriction(failure.errno());
        }
        if failure.call == Call::OomScore {
            let score = self.outside.oom_score_adj.clone().unwrap_or_default();
            return Error::OomScore { score, why }.to_string();
        }
        match failure.phase {
            Phase::Entry => {
                let hop = self.entry.describe(failure.index.into());
                format!(
                    "{hop}: {call}: {why}{}",
                    describe::namespace_hint(failure.errno())
                )
            }
            Phase::Rootfs => match (&self.files, rootfs::Failure::from_bytes(failure.detail)) {
                (Files::Make(tree), Some(failure)) => tree.describe(&failure),
                _ => format!("the file system tree: {call}: {why}"),
            },
            Phase::CreateContainer => self.hooks.create_container.describe(&failure.hook()),
            Phase::Process => describe::process(failure, self.process.as_ref()),
            Phase::Lookup | Phase::StartContainer | Phase::Exec => {
                let hooks = &self.hooks.start_container;
                describe::program_or(failure, &self.program, hooks, self.locks.exec_hint(failure))
            }
            Phase::Verify => describe::difference(failure),
            Phase::Label => self.lsm.describe(&failure.failed()),
            Phase::Limits => describe::limit(failure.index.into(), &why),
            Phase::Seccomp => format!("/linux/seccomp: {call}: {why}"),
            Phase::Landlock => self.locks.describe(&failure.failed()),
            Phase::Terminal => terminal::Plan::describe(&failure.failed()),
        }
    }
}

/// The caller's limit on descriptors, if it is below the hard limit. Every bind mount needs a
/// descriptor for a while, so the runtime raises it; hooks and the program get the caller's.
fn own_limit(caller: &Caller) -> Option<Rlimit> {
    let (soft, hard) = caller.descriptors?;
    let resource = kernel::process::DESCRIPTORS;
    (soft < hard).then_some(Rlimit {
        resource,
        soft,
        hard,
    })
}

/// The common input for a new container and for a process of a running one.
pub(crate) struct Part<'a> {
    pub(crate) container: &'a Container,
    pub(crate) id: &'a str,
    /// The text for the listener of the filter.
    pub(crate) status: Status,
    pub(crate) keyring: Keyring,
    pub(crate) keep_fds: u32,
    pub(crate) listen_fds: u32,
    /// The caller's limit on descriptors, if this process raises it.
    pub(crate) own_limit: Option<Rlimit>,
    pub(crate) denies_setgroups: bool,
    /// The first process of the container to enter.
    pub(crate) first: Option<i32>,
    /// Its groups of resctrl.
    pub(crate) resctrl: Option<resctrl::Location>,
}

impl Part<'_> {
    /// Completes the plan. Returns the warnings too.
    pub(crate) fn lower(
        &self,
        facts: &Facts,
        cgroup: cgroup::Plan,
        entry: Entry,
        files: Files,
    ) -> Result<(Box<Plan>, Vec<String>), Error> {
        let container = self.container;
        let caller = &facts.caller;
        let lsm = self.labels(facts)?;
        let available = capability::plan::Available::of(caller, entry.changes_user_namespace());
        let (capability, refused) = capability::Plan::lower(container, available);
        let limits = match caller.has([SYS_RESOURCE]) {
            false => Limits::ByInit,
            true => Limits::ByRuntime,
        };
        let setter = Setter::of(caller, entry.changes_user_namespace());
        let turn = match self.first {
            Some(_) => Turn::Further,
            None => Turn::First,
        };
        let seccomp = self.filter(facts)?;
        let sys_admin = SysAdmin {
            in_init: available.obtainable.has(SYS_ADMIN),
            in_program: capability.has_effective(SYS_ADMIN),
        };
        let (locks, warnings) =
            locks::Plan::lower(container, seccomp.as_ref(), sys_admin, facts.landlock)?;
        let options = Options {
            listen_fds: self.listen_fds,
            setgroups: process::setgroups(container, self.denies_setgroups, caller),
            limits,
            attributes: setter,
            turn,
            own_groups: own_groups(caller),
            filter: match seccomp.is_some() && locks.precede_look_up() {
                true => Filter::InForce,
                false => Filter::Later,
            },
            overrides: overrides(&capability),
        };
        let process = container.process.as_ref();
        let rlimits = self.rlimits();
        let hooks = Hooks::lower(container, caller)?;
        let terminal = terminal::Plan::lower(container, &files);
        let off_console = terminal
            .as_ref()
            .and_then(|_| terminal::Plan::warning(container, &files));
        let process_plan = process::Plan::lower(container, &rlimits, options)?;
        let birth = Birth::lower(
            &entry,
            process_plan.as_ref(),
            terminal.is_some(),
            seccomp.as_ref(),
        );
        let plan = Box::new(Plan {
            birth,
            loopback: Loopback::lower(&entry, &hooks, facts),
            network: network::Plan::lower(container, caller)?,
            resctrl: self.shares(facts)?,
            cgroup,
            entry,
            terminal,
            files,
            capability,
            process: process_plan,
            lsm,
            seccomp,
            locks: locks.before(birth),
            hooks,
            state: State::lower(container, self.id),
            outside: self.outside(&rlimits, limits, setter, turn),
            keep_fds: self.keep_fds,
            own_limit: self.own_limit,
            first: self.first,
            program: process
                .and_then(|process| process.args.first().cloned())
                .unwrap_or_default(),
        });
        let refused = refused.iter().map(describe::left_out);
        let warnings = refused.chain(warnings).chain(off_console);
        Ok((plan, warnings.collect()))
    }

    /// What the runtime sets on the process.
    fn outside(&self, rlimits: &[Rlimit], limits: Limits, setter: Setter, turn: Turn) -> Outside {
        let process = self.container.process.as_ref();
        Outside {
            oom_score_adj: process
                .and_then(|process| process.oom_score_adj)
                .map(|score| score.to_string()),
            rlimits: match limits {
                Limits::ByInit => Vec::new(),
                Limits::ByRuntime => rlimits.iter().map(process::during_set_up).collect(),
            },
            attributes: process
                .map(|process| Attributes::lower(process, setter, Setter::Runtime))
                .unwrap_or_default(),
            cpus: process.and_then(|process| turn.cpus(&process.exec_cpu_affinity).initial_cpus),
        }
    }

    /// The shares of caches and memory bandwidth.
    fn shares(&self, facts: &Facts) -> Result<Option<resctrl::Plan>, Error> {
        let joined = self.resctrl.clone().map(resctrl::Plan::join);
        match (joined, &self.container.intel_rdt) {
            (None, Some(asked)) => Ok(Some(resctrl::Plan::lower(asked, self.id, facts.resctrl)?)),
            (joined, _) => Ok(joined),
        }
    }

    /// The limits of the program. Without one for descriptors it gets the caller's, not the raised
    /// one.
    fn rlimits(&self) -> Vec<Rlimit> {
        let Some(process) = &self.container.process else {
            return Vec::new();
        };
        let mut rlimits = process.rlimits.clone();
        let own = self.own_limit.into_iter();
        let is_absent = |own: &Rlimit| !rlimits.iter().any(|limit| limit.resource == own.resource);
        let added: Vec<_> = own.filter(is_absent).collect();
        rlimits.extend(added);
        rlimits
    }

    /// The system call filter.
    fn filter(&self, facts: &Facts) -> Result<Option<seccomp::Plan>, Error> {
        let plan = seccomp::Plan::lower(&seccomp::Request {
            container: self.container,
            id: self.id,
            status: self.status,
            facts: facts.seccomp.unwrap_or_default(),
        })?;
        for (pointer, name) in plan.iter().flat_map(|plan| &plan.unknown) {
            tracing::debug!("{pointer}: system call {name:?} is unknown here and left out");
        }
        Ok(plan)
    }

    /// Keyring, profile and labels, as this host supports them.
    fn labels(&self, facts: &Facts) -> Result<lsm::Plan, Error> {
        Ok(lsm::Plan::lower(&lsm::Request {
            process: self.container.process.as_ref(),
            mount_label: self.container.mount_label.as_deref(),
            keyring: self.keyring,
            facts: facts.security.as_ref(),
        })?)
    }
}

/// Which files the program's capabilities open.
fn overrides(capability: &capability::Plan) -> Overrides {
    let any = [DAC_OVERRIDE, DAC_READ_SEARCH].map(|number| capability.has_effective(number));
    match any.contains(&true) {
        true => Overrides::ModeBits,
        false => Overrides::Nothing,
    }
}

/// The owner of the runtime's supplementary groups.
fn own_groups(caller: &Caller) -> OwnGroups {
    match caller.has([SETGID]) && caller.user_namespace.is_initial() {
        true => OwnGroups::OfRoot,
        false => OwnGroups::OfUser,
    }
}

impl Hooks {
    fn lower(container: &Container, caller: &Caller) -> Result<Self, Error> {
        let hooks = &container.hooks;
        let host = DefaultEnv::Path(caller.path.as_deref());
        Ok(Self {
            prestart: hooks::Plan::lower("prestart", &hooks.prestart, host)?,
            create_runtime: hooks::Plan::lower("createRuntime", &hooks.create_runtime, host)?,
            create_container: hooks::Plan::lower(
                "createContainer",
                &hooks.create_container,
                DefaultEnv::Empty,
            )?,
            start_container: hooks::Plan::lower(
                "startContainer",
                &hooks.start_container,
                DefaultEnv::OfProcess,
            )?,
            bundle: CString::new(container.bundle.as_os_str().as_bytes()).unwrap_or_default(),
        })
    }

    /// Whether the runtime has hooks to run while init waits.
    pub(crate) fn has_runtime_hooks(&self) -> bool {
        !self.prestart.is_empty() || !self.create_runtime.is_empty()
    }
}

impl State {
    fn lower(container: &Container, id: &str) -> Self {
        let text = |status| StateText::new(container, id, status);
        Self {
            creating: text(Status::Creating),
            created: text(Status::Created),
        }
    }
}

/// Whether the network namespace of the configuration is the one that this process is in.
fn network_target(handles: &namespace::Handles) -> network::Target {
    let joined = handles.get(Kind::Network).map(|joined| joined.inode);
    match joined.is_some() && joined == own_inode(Kind::Network) {
        true => network::Target::Own,
        false => network::Target::Other,
    }
}

/// Opens the parts of the file system tree that come from the host.
fn open_tree(tree: &rootfs::Plan) -> Result<rootfs::Handles, Error> {
    let handles = tree.open()?;
    if let Some(refused) = handles.refused() {
        tracing::debug!("{refused}; the container's mount namespace is a copy of the host's");
    }
    Ok(handles)
}
