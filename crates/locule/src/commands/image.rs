//! What `checkpoint` and `restore` have in common: the directories of an image, options of CRIU
//! that come from the configuration, and the words for its failures.

#![expect(
    clippy::disallowed_methods,
    reason = "directories of the host that the caller names, and /etc/criu"
)]

use crate::args::Images;
use crate::error::Error;
use crate::state::is_host_root;
use criu::{Image, Options, Task};
use kernel::Errno;
use kernel::mount::{MountAttr, fsconfig_create, fsconfig_string, fsmount, fsopen, move_mount};
use kernel::path::{CWD, OpenFlags, Resolve, openat2};
use kernel::signal::SignalFd;
use namespace::Kind;
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::mkdir;
use spec::Container;
use spec::container::{Namespace, Process};
use std::env;
use std::ffi::CString;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// In the image: what the first three descriptors of the first process referred to.
pub(super) const DESCRIPTORS: &str = "descriptors.json";

/// The annotation that names a file with options of CRIU.
const CONFIG: &str = "org.criu.config";

/// The only directory that such a file can be in. It can have programs that CRIU runs as root, so
/// no file will do that a container could have written.
const CONFIG_DIRECTORY: &str = "/etc/criu";

/// The file that is used without the annotation, if it exists.
const DEFAULT_CONFIG: &str = "/etc/criu/runc.conf";

/// What to do about errors of CRIU, by words of them.
const HINTS: [(&str, &str); 7] = [
    (
        "unreachable sharing",
        "only mounts of the configuration can be saved: remove this one, or configure it as a volume of its own",
    ),
    (
        "unsupported id",
        "CRIU cannot save this kind of file system: remove the mount, or use a tmpfs or a volume",
    ),
    (
        "Can't get 1:16 opt",
        "this CRIU is older than the kernel and cannot save TCP sockets: update it",
    ),
    (
        "Can't get rlimit",
        "CRIU needs CAP_SYS_RESOURCE to save processes of other users",
    ),
    (
        "without correspond master peer",
        "the container uses a terminal of the host: use --shell-job with checkpoint and restore",
    ),
    (
        "without peer",
        "the other end of a Unix socket is in another network namespace: close the socket before the checkpoint",
    ),
    // CRIU does not look whether its pipe of 3.2 MiB could be made.
    (
        "page-pipe: ",
        "with --lazy-pages CRIU needs CAP_SYS_RESOURCE, or 4194304 in /proc/sys/fs/pipe-max-size",
    ),
];

/// The option of CRIU that has it mount by paths of the host.
const COMPATIBLE: &str = "mntns-compat-mode";

/// CLONE_NEWNET. The network belongs to the engine, or to hooks.
const NETWORK: u32 = 0x4000_0000;

/// Namespaces that CRIU does not make, and the names that they have in images.
const EXTERNAL: [(Kind, &str); 2] = [(Kind::Network, "extRootNetNS"), (Kind::Pid, "extRootPidNS")];

/// Refuses anyone but root of the host, before the command asks for anything else that CRIU needs.
///
/// # Errors
/// [`Error::CriuNeedsRoot`].
pub(super) fn needs_root() -> Result<(), Error> {
    match is_host_root() {
        true => Ok(()),
        false => Err(Error::CriuNeedsRoot),
    }
}

/// The open directories of one image.
#[derive(Debug)]
pub(super) struct Directories {
    pub(super) images: File,
    work: Option<File>,
    /// For messages.
    log: PathBuf,
    log_name: &'static str,
}

impl Directories {
    /// Opens them, and makes what is missing with mode 0700: memory can have secrets.
    pub(super) fn make(args: &Images, log_name: &'static str) -> Result<Self, Error> {
        make(&args.image_path, "--image-path")?;
        Self::open(args, log_name)
    }

    /// Opens those of an image that exists.
    pub(super) fn open(args: &Images, log_name: &'static str) -> Result<Self, Error> {
        let images = open(&args.image_path, "--image-path")?;
        let work = args.work_path.as_deref();
        let log = work.unwrap_or(&args.image_path).join(log_name);
        let work = work.map(|path| {
            make(path, "--work-path")?;
            open(path, "--work-path")
        });
        Ok(Self {
            images,
            work: work.transpose()?,
            log,
            log_name,
        })
    }

    /// Opens them again in the mount namespace that this process is in now: CRIU makes mounts in
    /// the directory of its log, which must be in its own mount namespace. In a new user namespace
    /// CRIU reads the image before and after it becomes root there, so its directory is covered by
    /// one that any user of this mount namespace can search.
    ///
    /// # Errors
    /// One of the paths leads to another directory by now, or cannot be covered.
    pub(super) fn again(
        &self,
        args: &Images,
        container: &Container,
        options: &mut Options,
    ) -> Result<Vec<File>, Error> {
        let again = |before: &File, path: &Path, option| {
            let now = open(path, option)?;
            let number = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
            match (number(before), number(&now)) {
                (Ok(before), Ok(same)) if before == same => Ok(now),
                _ => Err(failed(path, option, "find")(io::ErrorKind::NotFound.into())),
            }
        };
        let mut files = vec![again(&self.images, &args.image_path, "--image-path")?];
        if let (Some(work), Some(path)) = (&self.work, &args.work_path) {
            files.push(again(work, path, "--work-path")?);
        }
        let mut numbers = files.iter().map(File::as_raw_fd);
        options.images_dir = numbers.next().unwrap_or(-1);
        options.work_dir = numbers.next();
        if container.namespaces[Kind::User] == Namespace::New {
            let path = &args.image_path;
            let cover = |image: &File| open_to_all(image.as_fd());
            cover(&files[0])
                .map_err(|errno| failed(path, "--image-path", "cover")(errno.into()))?;
            // The log is written to the directory below.
            options.work_dir = options.work_dir.or(Some(options.images_dir));
            let covered = open(path, "--image-path")?;
            options.images_dir = covered.as_raw_fd();
            files.push(covered);
        }
        Ok(files)
    }

    /// The image itself.
    pub(super) fn image(&self) -> Image<'_> {
        Image::new(self.images.as_fd())
    }

    /// The options that both commands have.
    pub(super) fn options(&self, args: &Images, container: &Container) -> Result<Options, Error> {
        Ok(Options {
            images_dir: self.images.as_raw_fd(),
            work_dir: self.work.as_ref().map(File::as_raw_fd),
            log_file: self.log_name,
            ext_unix_sk: args.ext_unix_sk,
            tcp_established: args.tcp_established,
            shell_job: args.shell_job,
            file_locks: args.file_locks,
            auto_dedup: args.auto_dedup,
            lazy_pages: args.lazy_pages,
            // Else a terminal is that of a shell outside, for which there is --shell-job.
            orphan_pts_master: container.process.as_ref().is_some_and(|p| p.terminal),
            cgroup_mode: args.cgroup_mode(),
            empty_namespaces: NETWORK,
            config_file: config_file(container)?,
            ..Options::default()
        })
    }

    /// Adds the cause to a failure of CRIU: the first error of its log. What CRIU says itself may
    /// be a warning about its own limits.
    pub(super) fn explain(&self, failure: criu::Error) -> Error {
        if !matches!(
            failure,
            criu::Error::Failed { .. } | criu::Error::Died { .. }
        ) {
            return failure.into();
        }
        let directory = self.work.as_ref().unwrap_or(&self.images);
        let log = Image::new(directory.as_fd()).read(self.log_name);
        let said = log.ok().and_then(|log| {
            let log = String::from_utf8_lossy(&log).into_owned();
            let is_cause = |line: &&str| line.contains("Error") && !line.contains("rlimit:");
            let line = log.lines().find(is_cause)?;
            let hint = HINTS.iter().find(|(words, _)| line.contains(words));
            let hint = hint.map(|(_, hint)| format!(" ({hint})"));
            Some(format!(": {}{}", line.trim(), hint.unwrap_or_default()))
        });
        Error::Criu {
            failure,
            said: said.unwrap_or_default(),
            log: self.log.clone(),
        }
    }
}

/// Covers a directory with an overlay of it that has mode 0755, in this mount namespace. Its files
/// have their own modes.
fn open_to_all(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    let tmpfs = fsopen(c"tmpfs")?;
    fsconfig_create(tmpfs.as_fd())?;
    let tmpfs = fsmount(tmpfs.as_fd(), MountAttr::empty())?;
    move_mount(tmpfs.as_fd(), directory)?;
    let overlay = fsopen(c"overlay")?;
    let path = |fd: BorrowedFd<'_>, name| {
        CString::new(format!("/proc/self/fd/{}{name}", fd.as_raw_fd()))
            .map_err(|_nul| Errno::EINVAL)
    };
    fsconfig_string(overlay.as_fd(), c"lowerdir", &path(directory, "")?)?;
    for (key, name) in [(c"upperdir", "/upper"), (c"workdir", "/work")] {
        let path = path(tmpfs.as_fd(), name)?;
        mkdir(&*path, Mode::S_IRWXU)?;
        // mkdir(2) takes the umask away.
        let mode = Mode::from_bits_truncate(0o755);
        fchmodat(CWD, &*path, mode, FchmodatFlags::FollowSymlink)?;
        fsconfig_string(overlay.as_fd(), key, &path)?;
    }
    fsconfig_create(overlay.as_fd())?;
    let overlay = fsmount(overlay.as_fd(), MountAttr::NOSUID | MountAttr::NODEV)?;
    move_mount(overlay.as_fd(), tmpfs.as_fd())
}

fn make(path: &Path, option: &'static str) -> Result<(), Error> {
    let mut builder = DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(path);
    made.map_err(failed(path, option, "make"))
}

fn open(path: &Path, option: &'static str) -> Result<File, Error> {
    let failed = || failed(path, option, "open");
    let directory = File::open(path).map_err(failed())?;
    match directory.metadata() {
        Ok(found) if found.is_dir() => Ok(directory),
        Ok(_other) => Err(failed()(io::ErrorKind::NotADirectory.into())),
        Err(error) => Err(failed()(error)),
    }
}

fn failed(
    path: &Path,
    option: &'static str,
    action: &'static str,
) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::ImageDirectory {
        option,
        action,
        path,
        source,
    }
}

/// The file with options of CRIU: the one of the annotation, none if that is empty, else the
/// default if it exists.
fn config_file(container: &Container) -> Result<Option<String>, Error> {
    let Some(given) = container.annotations.get(CONFIG) else {
        return Ok(File::open(DEFAULT_CONFIG)
            .is_ok()
            .then(|| DEFAULT_CONFIG.to_owned()));
    };
    if given.is_empty() {
        return Ok(None);
    }
    let failed = |source| Error::CriuConfig {
        given: given.clone(),
        source,
    };
    let below = Path::new(given)
        .strip_prefix(CONFIG_DIRECTORY)
        .map_err(|_outside| failed(io::ErrorKind::PermissionDenied.into()))?;
    let name = CString::new(below.as_os_str().as_bytes()).map_err(|nul| failed(nul.into()))?;
    let directory = File::open(CONFIG_DIRECTORY).map_err(failed)?;
    let resolve = Resolve::BENEATH | Resolve::NO_SYMLINKS;
    let flags = OpenFlags::NONBLOCK;
    let found = openat2(directory.as_fd(), &name, flags, 0, resolve);
    let found = File::from(found.map_err(|errno| failed(errno.into()))?);
    match found.metadata() {
        Ok(found) if found.is_file() => Ok(Some(given.clone())),
        Ok(_other) => Err(failed(io::ErrorKind::InvalidInput.into())),
        Err(error) => Err(failed(error)),
    }
}

/// The namespaces of the configuration that have a path and that CRIU does not make, with the name
/// that each has in images.
pub(super) fn external_namespaces(
    container: &Container,
) -> impl Iterator<Item = (Kind, &'static str, &Path)> {
    EXTERNAL
        .into_iter()
        .filter_map(|(kind, name)| match &container.namespaces[kind] {
            Namespace::Join(path) => Some((kind, name, path.as_path())),
            Namespace::New | Namespace::Inherit => None,
        })
}

/// What `task` needs of CRIU, whose version it returns, and of the kernel.
pub(super) fn require(
    args: &Images,
    task: Task,
    has_parent: bool,
    interrupts: Option<&SignalFd>,
) -> Result<criu::Version, Error> {
    let tracks = match (task, has_parent) {
        (Task::PreDump, _) => Some("--pre-dump"),
        (_, true) => Some("--parent-path"),
        (_, false) => None,
    };
    Ok(criu::require(tracks, args.lazy_pages, interrupts)?)
}

/// Whether CRIU can make such a container, confined as it is now.
pub(super) fn can_be_restored(container: &Container) -> Result<(), Error> {
    let seccomp = container.seccomp.as_ref();
    let is_notified = seccomp.is_some_and(|seccomp| seccomp.listener_path.is_some());
    let reasons = [
        (
            container.namespaces[Kind::Mount] != Namespace::New,
            "/linux/namespaces",
            "the container needs a new mount namespace",
        ),
        (
            container.intel_rdt.is_some(),
            "/linux/intelRdt",
            "a restore makes no groups of resctrl",
        ),
        (
            !container.net_devices.is_empty(),
            "/linux/netDevices",
            "a restore moves no devices; a createRuntime hook can",
        ),
        (
            container.landlock.is_some(),
            "/annotations/dev.locule.landlock",
            "CRIU does not save what Landlock denies, so the processes would have more rights",
        ),
        (
            is_notified,
            "/linux/seccomp/listenerPath",
            "CRIU does not save the listener of a filter, so nothing would answer its notifications",
        ),
    ];
    match reasons.into_iter().find(|(applies, ..)| *applies) {
        Some((_, pointer, reason)) => Err(Error::Unrestorable { pointer, reason }),
        None => Ok(()),
    }
}

/// Whether this version of CRIU keeps the privileges of the processes.
///
/// # Errors
/// [`Error::Unrestorable`]: a restored process could get new ones.
pub(super) fn keeps_privileges(container: &Container, criu: criu::Version) -> Result<(), Error> {
    let is_wanted = |process: &Process| process.no_new_privileges;
    if container.process.as_ref().is_some_and(is_wanted) && criu < criu::SAVES_NO_NEW_PRIVILEGES {
        return Err(Error::Unrestorable {
            pointer: "/process/noNewPrivileges",
            reason: "a CRIU before version 3.19 does not save it: update it",
        });
    }
    Ok(())
}

/// Whether CRIU makes the mounts of an image where no link of the image leads out of the root:
/// apart from the host's, and then moved to their places. Its other way is to mount by paths of the
/// host, and to run `tar` there for the content of each tmpfs.
///
/// # Errors
/// The kernel cannot copy the sharing of mounts, or a configuration of CRIU asks for that other
/// way.
pub(super) fn keeps_mounts_inside(container: &Container) -> Result<(), Error> {
    if !kernel::mount::can_copy_sharing() {
        return Err(Error::MountsOutside);
    }
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".criu/default.conf"));
    let given = config_file(container)?.map(PathBuf::from);
    let default = PathBuf::from(CONFIG_DIRECTORY).join("default.conf");
    for path in given.into_iter().chain(home).chain([default]) {
        let text = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let is_compatible = |line: &str| {
            line.trim_start_matches([' ', '\t', '-'])
                .starts_with(COMPATIBLE)
        };
        if text.lines().any(is_compatible) {
            return Err(Error::CriuCompatible { path });
        }
    }
    Ok(())
}
