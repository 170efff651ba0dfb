//! From a bundle directory to a [`Container`].
//!
//! Decides which files are read, and how much of them. The file is read once: the same bytes are
//! checked, saved and used.

#![expect(
    clippy::disallowed_methods,
    reason = "the bundle's configuration and the existence of its root, paths of the host"
)]

use std::borrow::Cow;
use std::fmt;
use std::fs::{File, FileType, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{self, Path, PathBuf};

use crate::container::{
    Container, Mount, Namespace, NamespaceKind, Process, Resources, Seccomp, clean,
};
use crate::diagnostic::{Code, Diagnostic, Report};
use crate::node::{self, LeftOut, Node};
use crate::reader::{Notes, Value};
use crate::{locate, validate};

/// The largest document that is read, in bytes.
const LARGEST: u64 = 16 << 20;

/// The name of the configuration in a bundle.
pub const CONFIG: &str = "config.json";

/// How many errors get a position: finding one costs a pass over the document.
const LOCATED: usize = 20;

/// A valid configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Loaded {
    /// The container that it describes; on the heap, because it has 2 KiB and is moved often.
    pub container: Box<Container>,
    /// Warnings: problems that are tolerated.
    pub warnings: Vec<Diagnostic>,
    /// The document as it was read, for the copy in the state directory.
    pub bytes: Vec<u8>,
}

/// Why a bundle cannot be used.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum LoadError {
    #[error("open {path:?}: no such file or directory")]
    Absent { path: PathBuf },
    #[error("open {path:?}")]
    Open { path: PathBuf, source: io::Error },
    /// The state is JSON, whose strings are UTF-8.
    #[error(
        "the bundle {path:?} has a path that is not UTF-8, so that no state can name it; rename the directory"
    )]
    NotText { path: PathBuf },
    #[error("{path:?} is a {kind}, expected a regular file")]
    NotRegular { path: PathBuf, kind: &'static str },
    /// The file has more than [`LARGEST`] bytes.
    #[error("{path:?} has more than {LARGEST} bytes")]
    TooLarge { path: PathBuf },
    #[error("read {path:?}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{}", InFile(path, report))]
    Invalid { path: PathBuf, report: Report },
}

/// A report with the name of the file on every line.
struct InFile<'e>(&'e Path, &'e Report);

impl fmt::Display for InFile<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = format!("{:?}: ", self.0);
        self.1.write(f, &file, "invalid configuration: ")
    }
}

/// Whether the check of a document includes facts of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// For create and run: `root.path` must be a directory now, and a joined network namespace
    /// whose parameters are set must differ from the caller's.
    Inspect,
    /// For the saved copy of a container, whose bundle may be gone: only the document counts.
    Ignore,
}

/// Reads and checks the file `name` (relative to `bundle`, or absolute) as the configuration of
/// `bundle`.
///
/// # Errors
/// The bundle's path is not UTF-8, the file cannot be read, or everything that is wrong with it.
pub fn load(bundle: &Path, name: impl AsRef<Path>) -> Result<Loaded, LoadError> {
    let path = bundle.join(name);
    let bundle = path::absolute(bundle).map_err(|source| LoadError::Open {
        path: bundle.to_owned(),
        source,
    })?;
    if bundle.to_str().is_none() {
        return Err(LoadError::NotText { path: bundle });
    }
    judge(read(&path)?, &bundle, Host::Inspect)
        .map_err(|report| LoadError::Invalid { path, report })
}

/// Checks a document that was read before. `bundle` is absolute.
pub fn parse(bytes: &[u8], bundle: &Path, host: Host) -> Result<Loaded, Report> {
    judge(bytes.to_owned(), bundle, host)
}

/// What only the creation of a container needs.
const CREATION: &[LeftOut] = &[
    LeftOut::all("mounts"),
    LeftOut::all("hooks"),
    LeftOut {
        key: "linux",
        of_it: &[
            LeftOut::all("devices"),
            LeftOut::all("intelRdt"),
            LeftOut::all("maskedPaths"),
            LeftOut::all("netDevices"),
            LeftOut::all("readonlyPaths"),
            LeftOut::all("resources"),
            LeftOut::all("sysctl"),
        ],
    },
];

/// Checks the saved configuration of a container that one more process enters. What only the
/// creation needed is left out: it was checked then.
///
/// # Errors
/// Everything that is wrong with the rest.
pub fn parse_entered(bytes: &[u8], bundle: &Path) -> Result<Box<Container>, Report> {
    let document = node::parse_without(bytes, CREATION);
    let read = check(document, bytes, |value| validate::container(value, bundle));
    read.map(|(container, _warnings)| Box::new(container))
}

/// Checks a document that is only the `process` section, as for `exec --process`. Pointers start at
/// this document. Properties that confine `first`, the container's own process, also apply to this
/// one if they are absent here: capabilities, profile and label, as in runc.
pub fn parse_process(
    bytes: &[u8],
    first: Option<&Process>,
) -> Result<(Process, Vec<Diagnostic>), Report> {
    examine(bytes, |document| {
        let mut process = validate::process::read(document)?;
        if let Some(first) = first {
            if !document.has("capabilities") {
                process.capabilities = first.capabilities;
            }
            let confined = (&first.apparmor_profile, &first.selinux_label);
            process.apparmor_profile = process.apparmor_profile.take().or(confined.0.clone());
            process.selinux_label = process.selinux_label.take().or(confined.1.clone());
        }
        Some(process)
    })
}

/// Reads and checks the file at `path` as [`parse_process`] does.
pub fn load_process(
    path: &Path,
    first: Option<&Process>,
) -> Result<(Process, Vec<Diagnostic>), LoadError> {
    load_by(path, |bytes| parse_process(bytes, first))
}

/// Checks a document that is only the list `mounts`, as for `mounts add`. Pointers are those of a
/// whole configuration. Relative sources count from `bundle`.
pub(crate) fn parse_mounts(
    bytes: &[u8],
    bundle: &Path,
) -> Result<(Vec<Mount>, Vec<Diagnostic>), Report> {
    let list = node::parse(bytes);
    let whole = list.map(|list| Node::Object(vec![(Cow::Borrowed("mounts"), list)]));
    check(whole, bytes, |value| {
        value.object(|o| validate::mounts::read(o, bundle))
    })
}

/// Reads and checks the file at `path` as [`parse_mounts`] does.
pub fn load_mounts(path: &Path, bundle: &Path) -> Result<(Vec<Mount>, Vec<Diagnostic>), LoadError> {
    load_by(path, |bytes| parse_mounts(bytes, bundle))
}

/// Checks a document that is only the `linux.resources` section, as for `update --resources`.
/// Pointers start at this document.
pub fn parse_resources(bytes: &[u8]) -> Result<(Resources, Vec<Diagnostic>), Report> {
    examine(bytes, |document| Some(validate::resources::read(document)))
}

/// Reads and checks the file at `path` as [`parse_resources`] does.
pub fn load_resources(path: &Path) -> Result<(Resources, Vec<Diagnostic>), LoadError> {
    load_by(path, parse_resources)
}

/// Reads and checks a stream as [`parse_resources`] does. `name` stands for it in messages.
pub fn read_resources(
    stream: impl Read,
    name: &Path,
) -> Result<(Resources, Vec<Diagnostic>), LoadError> {
    let bytes = read_at_most(stream, 0, name)?;
    parse_resources(&bytes).map_err(|report| invalid(name, report))
}

/// A filter from its own document or from a whole configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedSeccomp {
    /// The filter.
    pub seccomp: Seccomp,
    /// JSON pointer of the filter in its document: empty, or `/linux/seccomp`.
    pub pointer: &'static str,
    /// Warnings: problems that are tolerated.
    pub warnings: Vec<Diagnostic>,
}

/// Checks a document that is only a filter (the value of `linux.seccomp`), or the filter of a whole
/// configuration. Pointers start at this document.
///
/// # Errors
/// Everything that is wrong with the filter, or that the document has none.
pub fn parse_seccomp(bytes: &[u8]) -> Result<LoadedSeccomp, Report> {
    let ((seccomp, pointer), warnings) = examine(bytes, validate::seccomp::read_document)?;
    Ok(LoadedSeccomp {
        seccomp,
        pointer,
        warnings,
    })
}

/// Reads and checks the file at `path` as [`parse_seccomp`] does.
pub fn load_seccomp(path: &Path) -> Result<LoadedSeccomp, LoadError> {
    load_by(path, parse_seccomp)
}

fn load_by<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, Report>) -> Result<T, LoadError> {
    parse(&read(path)?).map_err(|report| invalid(path, report))
}

fn invalid(path: &Path, report: Report) -> LoadError {
    let path = path.to_owned();
    LoadError::Invalid { path, report }
}

/// What `read` makes of a document, and the warnings.
fn examine<T>(
    bytes: &[u8],
    read: impl FnOnce(&Value<'_>) -> Option<T>,
) -> Result<(T, Vec<Diagnostic>), Report> {
    check(node::parse(bytes), bytes, read)
}

/// The same for a tree that was made of `bytes`.
fn check<T>(
    document: Result<Node<'_>, Diagnostic>,
    bytes: &[u8],
    read: impl FnOnce(&Value<'_>) -> Option<T>,
) -> Result<(T, Vec<Diagnostic>), Report> {
    let document = document.map_err(Report::of)?;
    let notes = Notes::default();
    let out = read(&Value::root(&document, &notes));
    finish(out, notes, bytes)
}

fn judge(bytes: Vec<u8>, bundle: &Path, host: Host) -> Result<Loaded, Report> {
    let (container, warnings) = examine(&bytes, |document| {
        if !document.is_object() {
            return document.refuse(Code::Type, "the top level must be an object");
        }
        let container = validate::container(document, bundle)?;
        if host == Host::Inspect {
            inspect(&container, document.notes);
        }
        Some(Box::new(container))
    })?;
    Ok(Loaded {
        container,
        warnings,
        bytes,
    })
}

fn finish<T>(out: Option<T>, notes: Notes, bytes: &[u8]) -> Result<(T, Vec<Diagnostic>), Report> {
    let mut report = notes.into_report();
    if let Some(out) = out.filter(|_| report.errors.is_empty()) {
        return Ok((out, report.warnings));
    }
    let typed = report
        .errors
        .iter_mut()
        .filter(|error| error.code == Code::Type);
    for error in typed.take(LOCATED) {
        error.position = locate::position(bytes, &error.pointer);
    }
    Err(report)
}

/// The checks that need the host.
fn inspect(container: &Container, notes: &Notes) {
    inspect_root(container, notes);
    inspect_joined(container, notes);
    inspect_destinations(container, notes);
}

/// A destination that begins with the host's path of the root: runc strips that. By
/// config.md#mounts it is a path in the container.
fn inspect_destinations(container: &Container, notes: &Notes) {
    let root = clean(&container.root.path);
    if root.as_os_str().is_empty() {
        return;
    }
    for (index, mount) in container.mounts.iter().enumerate() {
        let Ok(rest) = clean(&mount.destination)
            .strip_prefix(&root)
            .map(PathBuf::from)
        else {
            continue;
        };
        notes.warn(|| {
            let message = format!(
                "the destination {:?} begins with the host's path of the root, but it is a path in the container",
                mount.destination
            );
            let meant = Path::new("/").join(rest);
            Diagnostic::new(Code::Path, format!("/mounts/{index}/destination"), message)
                .hint(format!("if {meant:?} is meant, name that"))
        });
    }
}

/// Settings for a joined namespace must not change the caller's own namespace.
fn inspect_joined(container: &Container, notes: &Notes) {
    const DOMAIN_NAME: &str = "kernel.domainname";
    let sysctl = |ours: fn(&str) -> bool| container.sysctl.iter().any(|(key, _)| ours(key));
    let named = container.hostname.is_some() || container.domainname.is_some();
    let rows = [
        // The container's root would become the root of the caller and of all other processes
        // there.
        (NamespaceKind::Mount, "/root", true),
        (
            NamespaceKind::Network,
            "/linux/sysctl",
            sysctl(|key| key.starts_with("net.")),
        ),
        (
            NamespaceKind::Ipc,
            "/linux/sysctl",
            sysctl(|key| {
                !key.starts_with("net.") && !key.starts_with("user.") && key != DOMAIN_NAME
            }),
        ),
        (
            NamespaceKind::Uts,
            "/hostname",
            named || sysctl(|key| key == DOMAIN_NAME),
        ),
    ];
    let inode = |path: &Path| path.metadata().map(|found| (found.dev(), found.ino())).ok();
    for (kind, pointer, changes) in rows {
        let Namespace::Join(path) = &container.namespaces[kind] else {
            continue;
        };
        let file = kind.file();
        let own = inode(&Path::new("/proc/self/ns").join(file));
        if changes && own.is_some() && inode(path) == own {
            notes.error(|| {
                let message = format!("would change the {file} namespace of the caller, {path:?}");
                Diagnostic::new(Code::Conflict, pointer, message)
            });
        }
    }
}

fn inspect_root(container: &Container, notes: &Notes) {
    let path = &container.root.path;
    let found = match path.metadata() {
        Ok(metadata) if metadata.is_dir() => return,
        Ok(metadata) => Cow::Borrowed(kind(metadata.file_type())),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Cow::Borrowed("nothing: no such file or directory")
        }
        Err(error) => Cow::Owned(format!("an error: {error}")),
    };
    notes.error(|| {
        let message = format!("expected a directory at {path:?}, found {found}");
        Diagnostic::new(Code::Path, "/root/path", message)
    });
}

fn kind(file: FileType) -> &'static str {
    if file.is_dir() {
        "directory"
    } else if file.is_fifo() {
        "FIFO"
    } else if file.is_socket() {
        "socket"
    } else if file.is_char_device() || file.is_block_device() {
        "device"
    } else {
        "regular file"
    }
}

/// The whole content of a regular file, or of a pipe that the caller has opened (`<(...)` of a
/// shell). It never waits for the writer of a FIFO with a name, or for a device.
fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    let owned = || path.to_owned();
    let flags = libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    let file = match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(LoadError::Absent { path: owned() });
        }
        // A socket cannot be opened at all.
        Err(source) => {
            if let Ok(metadata) = path.metadata() {
                refuse_special(path, &metadata)?;
            }
            return Err(LoadError::Open {
                path: owned(),
                source,
            });
        }
    };
    let metadata = file.metadata().map_err(|source| LoadError::Read {
        path: owned(),
        source,
    })?;
    if metadata.file_type().is_fifo() && is_descriptor(path) {
        let blocking = File::open(path).map_err(|source| LoadError::Open {
            path: owned(),
            source,
        })?;
        return read_at_most(blocking, 0, path);
    }
    refuse_special(path, &metadata)?;
    if metadata.len() > LARGEST {
        return Err(LoadError::TooLarge { path: owned() });
    }
    read_at_most(file, metadata.len(), path)
}

/// Whether `path` names an open file of the caller.
fn is_descriptor(path: &Path) -> bool {
    path.starts_with("/dev/fd") || path.starts_with("/proc/self/fd") || path == "/dev/stdin"
}

fn refuse_special(path: &Path, metadata: &Metadata) -> Result<(), LoadError> {
    if metadata.is_file() {
        return Ok(());
    }
    Err(LoadError::NotRegular {
        path: path.to_owned(),
        kind: kind(metadata.file_type()),
    })
}

/// Reads to the end, but not beyond [`LARGEST`]: the file may grow while it is read.
fn read_at_most(file: impl Read, expected: u64, path: &Path) -> Result<Vec<u8>, LoadError> {
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default() + 1);
    let read = file.take(LARGEST + 1).read_to_end(&mut bytes);
    read.map_err(|source| LoadError::Read {
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() as u64 > LARGEST {
        return Err(LoadError::TooLarge {
            path: path.to_owned(),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
