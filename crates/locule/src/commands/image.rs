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
use kernel::path::{OpenFlags, Resolve, openat2};
use kernel::signal::SignalFd;
use namespace::Kind;
use spec::Container;
use spec::container::Namespace;
use std::ffi::CString;
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
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

/// CLONE_NEWNET. The network belongs to the engine, or to hooks.
const NETWORK: u32 = 0x4000_0000;

/// Namespaces that CRIU does not make, and the names that they have in images.
const EXTERNAL: [(Kind, &str); 2] = [(Kind::Network, "extRootNetNS"), (Kind::Pid, "extRootPidNS")];

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
        needs_root()?;
        make(&args.image_path, "--image-path")?;
        Self::open(args, log_name)
    }

    /// Opens those of an image that exists.
    pub(super) fn open(args: &Images, log_name: &'static str) -> Result<Self, Error> {
        needs_root()?;
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
    /// the directory of its log, which must be in its own mount namespace.
    ///
    /// # Errors
    /// One of the paths leads to another directory by now.
    pub(super) fn again(&self, args: &Images, options: &mut Options) -> Result<Vec<File>, Error> {
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
            orphan_pts_master: true,
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
            Some(format!(": {}", line.trim()))
        });
        Error::Criu {
            failure,
            said: said.unwrap_or_default(),
            log: self.log.clone(),
        }
    }
}

fn needs_root() -> Result<(), Error> {
    match is_host_root() {
        true => Ok(()),
        false => Err(Error::CriuNeedsRoot),
    }
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

/// What `task` needs of CRIU and of the kernel.
pub(super) fn require(
    args: &Images,
    task: Task,
    has_parent: bool,
    interrupts: Option<&SignalFd>,
) -> Result<(), Error> {
    let tracks = match (task, has_parent) {
        (Task::PreDump, _) => Some("--pre-dump"),
        (_, true) => Some("--parent-path"),
        (_, false) => None,
    };
    Ok(criu::require(tracks, args.lazy_pages, interrupts)?)
}
