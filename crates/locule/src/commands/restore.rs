//! `restore`: makes the processes of a checkpoint again, by CRIU.
//!
//! The container is made as `create` makes one: a name, a journal, a cgroup, a record. CRIU takes
//! the place of init. It works in the container's cgroup and in a mount namespace of its own
//! ([`stage`]). What it is about to mount is checked ([`check`]), and what it has made
//! ([`restored`], [`volumes`]), before a restored process runs. The configuration is that of the
//! bundle; the image has none.

mod check;
mod restored;
mod stage;
mod tree;
mod volumes;

use self::stage::Point;
use self::tree::Tree;
use self::volumes::Volume;
use super::create::{INTERRUPTS, give_back};
use super::image::{self, DESCRIPTORS, Directories};
use super::run::{attend, delete_failed, exit_code};
use super::told::Told;
use super::{Env, hooks, signals_to_pass, start, warn};
use crate::args;
use crate::descriptors::{Preserved, mark_leaked};
use crate::error::Error;
use crate::exit::ExitCode;
use crate::process::start_time;
use crate::state::{Access, ContainerId, Record, Reservation};
use crate::terminal::{console_socket, ready};
use cgroup::{CgroupMount, SharedOptions};
use criu::{MountEntry, Notice, Options, Task, Worker};
use kernel::Errno;
use kernel::clone::{pidfd_open, pidfd_send_signal};
use kernel::errno::chain;
use kernel::keyring::{self, KeyPermissions};
use kernel::process::SIGKILL;
use kernel::signal::SignalFd;
use launch::Started;
use launch::terminal::ConsoleSocket;
use namespace::join::Joined;
use nix::sys::prctl::set_child_subreaper;
use spec::Container;
use spec::container::{Namespace, NamespaceKind};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long the removal of the cgroup of a failed restore may take.
const CLEAN_UP: Duration = Duration::from_secs(10);

/// Restores one container.
pub(crate) fn run(args: &args::Restore, env: &Env) -> Result<ExitCode, Error> {
    image::needs_root()?;
    mark_leaked(Preserved::default()).map_err(Error::Harden)?;
    if !args.detach && !args.no_subreaper {
        set_child_subreaper(true).map_err(Error::Harden)?;
    }
    let signals = signals_to_pass(args.detach)?;
    let interrupts = SignalFd::block(&INTERRUPTS).map_err(Error::Harden)?;
    let id = ContainerId::new(args.id())?;
    let told = Told::of(args.pid_file.as_deref(), None)?;
    let loaded = spec::load::load(&args.bundle, spec::load::CONFIG)?;
    warn(&loaded.warnings);
    image::can_be_restored(&loaded.container)?;
    let process = loaded.container.process.as_ref();
    let console = console_socket(
        process.is_some_and(|process| process.terminal),
        args.detach,
        args.console_socket.as_deref(),
    )?;
    let directories = Directories::open(&args.images, "restore.log")?;
    let criu = image::require(&args.images, Task::Restore, false, Some(&interrupts))?;
    image::keeps_privileges(&loaded.container, criu)?;
    image::keeps_mounts_inside(&loaded.container)?;
    let store = env.store(Access::Make)?;
    let reservation = store.reserve(&id)?;
    let restoring = Restoring {
        args,
        env,
        container: &loaded.container,
        config: &loaded.bytes,
        reservation: &reservation,
        store: store.path(),
        directories: &directories,
        interrupts: &interrupts,
        told: &told,
    };
    let made = restoring.make(console);
    let (mut started, record) = match made {
        Ok(made) => made,
        Err(error) => {
            give_back(reservation);
            return Err(error);
        }
    };
    // From here on other commands may signal, pause or delete the container.
    let entry = reservation.into_entry().release();
    if let Err(error) = start::after_start(&entry, &record) {
        delete_failed(entry.id(), env)?;
        return Err(error);
    }
    match signals {
        None => Ok(ExitCode::SUCCESS),
        Some(signals) => {
            let place = (entry, &record);
            let exit = attend(&mut started, &signals, None, place, (false, env))?;
            Ok(exit_code(exit, env))
        }
    }
}

/// Whether an image with these mounts can be restored with the configuration. `location` are the
/// groups of the container.
pub(super) fn mounts_can_be_restored(
    container: &Container,
    entries: &[MountEntry],
    location: &cgroup::Location,
) -> Result<(), Error> {
    let externals = rootfs::externals(container, &groups(location));
    check::mounts(container, entries, &externals).map(drop)
}

/// A container that is being restored.
struct Restoring<'a> {
    args: &'a args::Restore,
    env: &'a Env,
    container: &'a Container,
    config: &'a [u8],
    reservation: &'a Reservation,
    /// The directory of all containers.
    store: &'a Path,
    directories: &'a Directories,
    interrupts: &'a SignalFd,
    told: &'a Told,
}

/// What CRIU's notices have led to.
#[derive(Debug, Default)]
struct Progress {
    master: Option<OwnedFd>,
    process: Option<(i32, OwnedFd)>,
    /// Whether all processes were checked, which did not run yet.
    is_checked: bool,
}

impl Restoring<'_> {
    /// Makes the cgroup and has CRIU make the processes. A failure leaves nothing behind but the
    /// reservation.
    fn make(&self, console: Option<ConsoleSocket>) -> Result<(Started, Record), Error> {
        let entries = self.directories.image().mounts()?;
        let request = cgroup::Request {
            container: self.container,
            id: self.reservation.id().as_str(),
            manager: self.env.cgroup_manager,
            rootless: self.env.rootless,
            writable: rootfs::has_writable_cgroup(self.container),
        };
        let (facts, found) = cgroup::Facts::probe(&request)?;
        let plan = cgroup::Plan::lower(&request, &facts)?;
        let handles = plan.open(found)?;
        let mut record = Record::of(self.reservation.id(), self.container, handles.location());
        plan.look_for_others(&handles)?;
        self.reservation.config(self.config)?;
        self.reservation.journal(&record)?;
        let mut group = plan.create(&handles)?;
        let admit = |group: &mut cgroup::Group, pid| plan.admit(&handles, group, pid);
        let restored = self.restore(&entries, &mut group, admit, &mut record, console);
        let told = restored.and_then(|progress| {
            self.reservation.show()?;
            let (pid, pidfd) = progress.process.ok_or(Error::NotRestored)?;
            let (pid_file, master) = (self.told.tell_pid(pid), progress.master);
            let started = Started { pid, pidfd, master };
            pid_file.map(|()| started)
        });
        match told {
            Ok(started) => Ok((started, record)),
            Err(error) => {
                if let Err(left) = group.end(CLEAN_UP) {
                    tracing::error!("{}", chain(&left));
                }
                self.told.undo();
                hooks::poststop(|| self.config.to_vec(), &record);
                Err(error)
            }
        }
    }

    fn restore(
        &self,
        entries: &[MountEntry],
        group: &mut cgroup::Group,
        admit: impl Fn(&mut cgroup::Group, i32) -> Result<(), cgroup::Error>,
        record: &mut Record,
        console: Option<ConsoleSocket>,
    ) -> Result<Progress, Error> {
        let externals = rootfs::externals(self.container, &groups(group.location()));
        let bound = check::mounts(self.container, entries, &externals)?;
        let holder = self.holder(group, &admit)?;
        let volumes = volumes::note(&bound)?;
        let joined = self.joined()?;
        let mut options = self.options(&joined)?;
        let inherited: Vec<_> = joined.iter().map(|(_, joined)| joined.fd.as_fd()).collect();
        let place = (self.store, self.reservation.id().as_str());
        let root = &self.container.root;
        own_keyring().map_err(Error::Harden)?;
        let (worker, _open) = stage::within(place, root, &points(entries), &bound, |paths| {
            options.root = paths.root;
            options.external_mounts = paths.sources;
            let images = &self.args.images;
            let open = self
                .directories
                .again(images, self.container, &mut options)?;
            Ok((Worker::start(&inherited)?, open))
        })?;
        admit(group, worker.pid())?;
        drop(holder);
        record.cgroup = Some(group.location().clone());
        options.cgroup_roots = cgroup_roots(worker.pid())?;
        let mut progress = Progress::default();
        let criu = worker.pid();
        let serve = |notice: &Notice, fd| {
            let progress = &mut progress;
            self.serve(notice, fd, record, (&console, &volumes, criu), progress)
        };
        let shared = SharedOptions::keep()?;
        let asked = worker.ask(Task::Restore, &options, Some(self.interrupts), serve);
        drop(shared);
        let explained = asked.map_err(|error| match error {
            Error::CriuUnusable(failure) => self.directories.explain(failure),
            error => error,
        });
        explained?;
        match progress.is_checked {
            true => Ok(progress),
            false => Err(restored::refused(
                "was not checked: criu did not say when it would run",
            )),
        }
    }

    /// Makes a group that CRIU binds, which must exist before CRIU starts: that of a container
    /// without a cgroup namespace. systemd makes a group only around a process: one more CRIU,
    /// which gets no request.
    fn holder(
        &self,
        group: &mut cgroup::Group,
        admit: impl Fn(&mut cgroup::Group, i32) -> Result<(), cgroup::Error>,
    ) -> Result<Option<Worker>, Error> {
        let is_bound = !self.container.namespaces[NamespaceKind::Cgroup].is_own();
        if !is_bound || !group.is_awaited() {
            return Ok(None);
        }
        let holder = Worker::start(&[])?;
        admit(group, holder.pid())?;
        Ok(Some(holder))
    }

    fn options(&self, joined: &[(&'static str, Joined)]) -> Result<Options, Error> {
        let mut options = self
            .directories
            .options(&self.args.images, self.container)?;
        options.evasive_devices = true;
        options.restore_sibling = true;
        options.tcp_close = self.args.tcp_close;
        options.lsm_profile.clone_from(&self.args.lsm_profile);
        options
            .lsm_mount_context
            .clone_from(&self.args.lsm_mount_context);
        options.inherited = streams(&self.directories.image().read(DESCRIPTORS)?);
        let external =
            |(name, joined): &(&str, Joined)| ((*name).to_owned(), joined.fd.as_raw_fd());
        options.inherited.extend(joined.iter().map(external));
        for kind in [NamespaceKind::Ipc, NamespaceKind::Uts, NamespaceKind::Time] {
            if let Namespace::Join(path) = &self.container.namespaces[kind] {
                let joined = Joined::open(kind, path).map_err(launch::Error::from)?;
                drop(joined);
                let path = path.to_string_lossy().into_owned();
                options.join_namespaces.push((kind.file(), path));
            }
        }
        Ok(options)
    }

    /// The namespaces that the CRIU process inherits.
    fn joined(&self) -> Result<Vec<(&'static str, Joined)>, Error> {
        let open = |(kind, name, path)| match Joined::open(kind, path) {
            Ok(joined) => Ok((name, joined)),
            Err(error) => Err(launch::Error::from(error).into()),
        };
        image::external_namespaces(self.container)
            .map(open)
            .collect()
    }

    fn serve(
        &self,
        notice: &Notice,
        fd: Option<OwnedFd>,
        record: &mut Record,
        (console, volumes, criu): (&Option<ConsoleSocket>, &[Volume<'_>], i32),
        progress: &mut Progress,
    ) -> Result<(), Error> {
        tracing::debug!("criu: {}", notice.script);
        match (&*notice.script, notice.pid, fd) {
            ("setup-namespaces", Some(pid), _) => {
                hooks::before_start(self.config, record, pid, self.interrupts)
            }
            ("orphan-pts-master", _, Some(master)) => {
                if let Some(console) = console {
                    return Ok(console.send(master.as_fd())?);
                }
                ready(master.as_fd());
                progress.master = Some(master);
                Ok(())
            }
            ("post-restore", Some(pid), _) => {
                progress.process = Some((pid, self.adopt(pid, record)?));
                Ok(())
            }
            ("pre-resume", ..) => {
                let Some((pid, pidfd)) = &progress.process else {
                    return Err(Error::NotRestored);
                };
                let tree = Tree::of(*pid, criu, record.groups())?;
                let checked = self
                    .check(&tree)
                    .and_then(|()| volumes::check(volumes, &self.container.root, *pid))
                    .and_then(|()| volumes::sealed(self.container, *pid));
                progress.is_checked = checked.is_ok();
                checked.inspect_err(|_refused| {
                    // CRIU would go on and let the processes run.
                    tree.kill();
                    let _ended_already = pidfd_send_signal(pidfd.as_fd(), SIGKILL);
                    if let Some(Err(error)) = record.groups().map(|own| own.signal_all(SIGKILL)) {
                        tracing::error!("{}", chain(&error));
                    }
                })
            }
            _ => Ok(()),
        }
    }

    /// Checks all restored processes, which do not run yet.
    fn check(&self, tree: &Tree) -> Result<(), Error> {
        let profile = self.args.lsm_profile.as_deref();
        tree.all_in_group()?;
        for pid in tree.living() {
            restored::namespaces(self.container, pid)?;
            restored::confinement(self.container, profile, pid)?;
        }
        Ok(())
    }

    /// Checks the namespaces of the first process, and adds it to the record.
    fn adopt(&self, pid: i32, record: &mut Record) -> Result<OwnedFd, Error> {
        let failed = |source| Error::Process {
            id: self.reservation.id().clone(),
            action: "look at",
            source,
        };
        let pidfd = pidfd_open(pid).map_err(failed)?;
        restored::namespaces(self.container, pid)?;
        if self.container.namespaces[NamespaceKind::Network] == Namespace::New {
            launch::loopback_up(pidfd.as_fd())?;
        }
        let time = start_time(pid).map_err(failed)?.ok_or(Error::NotRestored)?;
        record.set_process(pid, time);
        self.reservation.prepare(record)?;
        Ok(pidfd)
    }
}

/// Replaces the caller's session keyring, which CRIU and the restored processes would inherit.
fn own_keyring() -> Result<(), Errno> {
    match keyring::join_new_session() {
        // A kernel without keyrings cannot leak one.
        Err(Errno::ENOSYS) => Ok(()),
        joined => {
            joined.and_then(|()| keyring::set_session_permissions(KeyPermissions::POSSESSOR_ALL))
        }
    }
}

/// Where CRIU mounts something, from the top down.
fn points(entries: &[MountEntry]) -> Vec<Point<'_>> {
    let is_in_made = |entry: &MountEntry| {
        let path = Path::new(&entry.point);
        let above = entries.iter().filter(|other| {
            let other = Path::new(&other.point);
            other != path && path.starts_with(other)
        });
        // Where mounts lie on each other, those of the host count.
        let nearest = above.max_by_key(|other| (other.point.len(), other.external.is_some()));
        nearest.is_some_and(|above| above.external.is_none() && above.point != "/")
    };
    let mut points: Vec<_> = entries
        .iter()
        .filter(|entry| entry.point != "/")
        .map(|entry| Point {
            path: Path::new(&entry.point),
            is_in_made: is_in_made(entry),
        })
        .collect();
    points.sort_unstable_by_key(|point| point.path);
    points
}

/// The container's own group in each hierarchy, by the name of the hierarchy's mount point.
fn groups(location: &cgroup::Location) -> Vec<(String, PathBuf)> {
    match cgroup::mount_view(location) {
        CgroupMount::V2 { group } => vec![("cgroup".to_owned(), group)],
        CgroupMount::V1 {
            hierarchies,
            unified,
        } => {
            let unified = unified.map(|group| ("unified".to_owned(), group));
            let own = hierarchies
                .into_iter()
                .map(|hierarchy| (hierarchy.directory, hierarchy.group));
            own.chain(unified).collect()
        }
    }
}

/// The groups of the CRIU process: they become the root of those of the image.
#[expect(clippy::disallowed_methods, reason = "the host's /proc")]
fn cgroup_roots(pid: i32) -> Result<Vec<(String, String)>, Error> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).map_err(Error::Look)?;
    let pair = |line: &str| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        Some((controllers.to_owned(), path.to_owned()))
    };
    Ok(text.lines().filter_map(pair).collect())
}

/// The streams of this process that take the place of those in the image: pipes, and files that the
/// container has no mount of. Other names are ignored.
fn streams(descriptors: &[u8]) -> Vec<(String, RawFd)> {
    let names: Vec<String> = serde_json::from_slice(descriptors).unwrap_or_default();
    let names = names.into_iter().take(3).zip(0..);
    let mut streams: Vec<(String, RawFd)> = Vec::new();
    for (name, number) in names.filter(|(name, _)| is_stream(name)) {
        // One pipe or file can be several streams; CRIU wants each name once.
        if !streams.iter().any(|(other, _)| *other == name) {
            streams.push((name, number));
        }
    }
    streams
}

fn is_stream(name: &str) -> bool {
    let within = |kind: &str| name.strip_prefix(kind)?.strip_suffix(']');
    let is_file = |text: &str| {
        text.bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b':')
    };
    let is_pipe = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    within("pipe:[").is_some_and(is_pipe) || within("file[").is_some_and(is_file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pipes_and_files_of_the_standard_streams_are_replaced() {
        let streams = |text: &str| streams(text.as_bytes());
        assert_eq!(
            streams(r#"["/dev/null", "pipe:[71]", "file[1a:2b]", "pipe:[9]"]"#),
            [("pipe:[71]".to_owned(), 1), ("file[1a:2b]".to_owned(), 2)]
        );
        let pipe = ("pipe:[7]".to_owned(), 0);
        assert_eq!(streams(r#"["pipe:[7]", "pipe:[7]"]"#), [pipe]);
        for hostile in [
            r#"["extRootNetNS", "extRootPidNS"]"#,
            r#"["pipe:[x]", "pipe:[1]]", "file[/etc/passwd]"]"#,
            "{}",
            "no JSON",
            "",
        ] {
            assert_eq!(streams(hostile), [], "{hostile}");
        }
    }
}
