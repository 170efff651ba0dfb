//! The message for a failure, and the text of a plan.

use crate::Reason;
use crate::failure::{Failure, List};
use crate::label;
use crate::mount::{Action, Links, Step};
use crate::pivot::{Pivot, Way};
use crate::plan::Plan;
use crate::procfs;
use crate::tree::Shown;
use kernel::mount::Depth;
use kernel::{Call, Errno};
use std::ffi::{CStr, CString};
use std::fmt;

/// Untrusted text: control bytes are escaped.
struct Safe<'a>(&'a CStr);

impl fmt::Display for Safe<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0.to_string_lossy())
    }
}

/// As the container sees it: with the leading slash.
fn path(list: &[CString], index: usize) -> String {
    list.get(index)
        .map(|path| format!("{:?}", format!("/{}", path.to_string_lossy())))
        .unwrap_or_default()
}

impl Plan {
    /// What failed, in words:
    /// `mount "proc" on "/proc": fsconfig(create): EPERM: operation not permitted`.
    pub fn describe(&self, failure: &Failure) -> String {
        let what = self.object(failure);
        let what = what.unwrap_or_else(|| "set up the root".to_owned());
        let reason = Reason(failure.failed.errno);
        let hint = self.hint(failure).unwrap_or_default();
        format!("{what}: {}: {reason}{hint}", failure.failed.call.name())
    }

    /// What failed. `None`: the plan has no such thing.
    fn object(&self, failure: &Failure) -> Option<String> {
        let index = usize::from(failure.element);
        Some(match failure.list {
            List::Attach => match &self.way {
                Way::Attached(way) => format!("attach root {:?}", way.path),
                Way::Chroot(path) => format!("open root {}", Safe(path)),
            },
            List::Source => format!("open {} of the host", Safe(&self.sources.get(index)?.path)),
            List::Mount => {
                let step = self.steps.get(index)?;
                format!("{}: {}", step.pointer, self.describe_step(step, failure))
            }
            List::Device => {
                let spot = &self.nodes.get(index)?.spot;
                let (parent, name) = (spot.parent.to_string_lossy(), spot.name.to_string_lossy());
                format!("device {:?}", format!("/{parent}/{name}"))
            }
            List::Link => {
                let name = self.links.get(index)?.spot.name.to_string_lossy();
                format!("link {:?}", format!("/dev/{name}"))
            }
            List::Pivot => "change the root".to_owned(),
            List::ReadOnlyPath => format!(
                "/linux/readonlyPaths/{index}: read-only path {}",
                path(&self.readonly_paths, index)
            ),
            List::MaskedPath => format!(
                "/linux/maskedPaths/{index}: masked path {}",
                path(&self.masked_paths, index)
            ),
            List::LateReadOnly => {
                format!("make {:?} read-only", self.steps.get(index)?.destination)
            }
            List::Root if index == 1 => "make the root read-only".to_owned(),
            List::Root => "set the propagation of the root".to_owned(),
            List::Sysctl => {
                let sysctl = self.sysctls.get(index)?;
                let key = procfs::key_of(&sysctl.path);
                let value = String::from_utf8_lossy(&sysctl.value);
                let pointer = key.replace('/', "~1");
                format!("/linux/sysctl/{pointer}: set {key:?} to {value:?}")
            }
            List::Procfs => "private procfs for sysctls and labels".to_owned(),
        })
    }

    fn describe_step(&self, step: &Step, failure: &Failure) -> String {
        let destination = &step.destination;
        match &step.action {
            Action::New(new) => {
                let mut text = format!("mount {} on {destination:?}", Safe(&new.kind));
                let param = new.params.get(usize::from(failure.failed.index));
                if let (Call::FsconfigSet, Some(param)) = (failure.failed.call, param) {
                    text += &match &param.value {
                        None => format!(": option {}", Safe(&param.key)),
                        Some(value) => {
                            let word = format!(
                                "{}={}",
                                param.key.to_string_lossy(),
                                value.to_string_lossy()
                            );
                            format!(": option {word:?}")
                        }
                    };
                }
                let source = new
                    .params
                    .iter()
                    .find(|param| param.key.as_c_str() == c"source");
                match source.and_then(|param| param.value.as_ref()) {
                    Some(path) if path.to_bytes().starts_with(b"/") => {
                        text += &format!(" from {}", Safe(path));
                    }
                    Some(_) | None => {}
                }
                text
            }
            Action::Bind { source, .. } => {
                let path = self.sources.get(source.0).map(|tree| Safe(&tree.path));
                let path = path.map(|path| path.to_string()).unwrap_or_default();
                format!("bind mount {path} on {destination:?}")
            }
            Action::BindInside { path, .. } => {
                format!("bind mount {} of the root on {destination:?}", Safe(path))
            }
            Action::Symlink { text, .. } => format!("link {destination:?} to {}", Safe(text)),
            Action::Remount(_) => format!("remount {destination:?}"),
        }
    }

    /// What the errno alone does not say.
    fn hint(&self, failure: &Failure) -> Option<&'static str> {
        let step = self.steps.get(usize::from(failure.element));
        let refused = |step: &Step| step.target.links == Links::Refused;
        match (failure.list, failure.failed.call, failure.failed.errno) {
            (List::Mount, Call::Openat2, Errno::ELOOP | Errno::ENOTDIR) if refused(step?) => {
                Some(" (must be mounted on ordinary directory: no symbolic link may lead there)")
            }
            (List::Mount, Call::MoveMount, Errno::ENOTDIR) => Some(
                " (one of source and destination is a directory, the other is a file; both must be the same)",
            ),
            (List::Attach | List::Mount, Call::MoveMount, Errno::ELOOP) => Some(
                " (the file of a mount namespace is mounted below the source, see `findmnt -t nsfs`; only a bind mount without what is below it is possible)",
            ),
            (List::Mount, Call::Fsopen, Errno::ENODEV) => {
                Some(" (this kernel has no such file system; is its module loaded?)")
            }
            (List::Mount, Call::FsconfigCreate, Errno::EACCES) if labelled(step?) => Some(
                " (the policy of SELinux does not permit the label, or, in a user namespace, the file system supports no labels)",
            ),
            (List::Mount, Call::FsconfigCreate, Errno::EINVAL) if labelled(step?) => Some(
                " (the file system is mounted elsewhere with another label, or supports no labels)",
            ),
            (List::Mount, Call::FsconfigCreate, Errno::EPERM) => Some(match is_queue(step?) {
                true => {
                    " (in a user namespace it needs an IPC namespace of its own: add {\"type\": \"ipc\"} to /linux/namespaces)"
                }
                false => {
                    " (the kernel mounts this file system for root of the initial user namespace only)"
                }
            }),
            (List::Mount, Call::Fsmount, Errno::EPERM) => Some(
                " (in a user namespace the kernel gives a new procfs or sysfs only where a complete one is visible: nothing may cover parts of the caller's; an outer container of Docker needs systempaths=unconfined, one of Podman unmask=ALL)",
            ),
            (List::Mount, Call::FsconfigSet, Errno::EINVAL) => {
                Some(match is_id(step?, failure.failed.index) {
                    true => " (not an id, or the user namespace does not map it)",
                    false => " (the file system does not accept this option or its value)",
                })
            }
            (List::Mount, Call::Setxattr, Errno::EOPNOTSUPP) => {
                Some(" (the policy of SELinux on this host does not label this file system)")
            }
            (List::Mount, Call::Verify, Errno::EPERM) => {
                Some(" (a symbolic link leads into /proc, where nothing may be covered)")
            }
            (List::Mount, Call::MountSetattr, Errno::EPERM) => Some(
                " (the flags ro, nosuid, nodev and noexec of a host mount, and how it keeps access times, are locked in a user namespace)",
            ),
            (List::Mount, Call::OpenTree, Errno::EINVAL) => Some(
                " (something is mounted below the source, and a bind mount in a user namespace may not uncover what is hidden there: use the option rbind)",
            ),
            (List::Sysctl, _, Errno::ENOENT) => {
                Some(" (this kernel, or this namespace, has no such parameter)")
            }
            (List::Sysctl, Call::Sysctl, Errno::EINVAL) => {
                Some(" (the kernel does not accept this value)")
            }
            (List::Procfs, _, Errno::EPERM) => Some(
                " (in a user namespace the kernel gives a procfs only where a complete one is visible: nothing may cover parts of the host's /proc)",
            ),
            (List::Mount, Call::Verify, Errno::EXDEV) => {
                Some(" (a link leads to a shared mount, so it would appear outside too)")
            }
            (List::Attach, Call::Verify, Errno::ESTALE) => {
                Some(" (another directory has taken its place)")
            }
            (List::MaskedPath, Call::Verify, Errno::EISDIR) => {
                Some(" (it leads to the root itself, which cannot be masked)")
            }
            (List::Device, Call::Mknod, Errno::EEXIST) => {
                Some(" (of another type or with other numbers)")
            }
            (_, Call::Verify, Errno::ENXIO) => Some(" (of another type or with other numbers)"),
            (_, Call::Verify, Errno::EMEDIUMTYPE) => {
                Some(" (it is not a procfs, and nothing else may be mounted on /proc)")
            }
            _ => None,
        }
    }
}

/// Whether it mounts the message queues of POSIX.
fn is_queue(step: &Step) -> bool {
    matches!(&step.action, Action::New(new) if new.kind.as_c_str() == c"mqueue")
}

/// Whether this parameter of the file system is a user or a group.
fn is_id(step: &Step, param: u16) -> bool {
    let Action::New(new) = &step.action else {
        return false;
    };
    let param = new.params.get(usize::from(param));
    param.is_some_and(|param| [c"uid", c"gid"].contains(&param.key.as_c_str()))
}

/// Whether it asks for a label of SELinux.
fn labelled(step: &Step) -> bool {
    matches!(&step.action, Action::New(new) if new.params.iter().any(label::is_label))
}

impl fmt::Display for Plan {
    /// A text that depends on the configuration and the host's facts only: no numbers of
    /// descriptors.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sources = self.sources.as_slice();
        if matches!(self.way, Way::Attached(_)) {
            writeln!(f, "mount namespace {}", self.ground)?;
            writeln!(f, "sources opened by {}", self.opener)?;
        }
        match &self.way {
            Way::Chroot(path) => writeln!(f, "root {path:?} by chroot")?,
            Way::Attached(way) => {
                writeln!(f, "root {}", Shown(way.source, sources))?;
                writeln!(
                    f,
                    "    inherited mounts {:?}, root {:?}",
                    way.inherited, way.own
                )?;
                if !way.ancestors.is_empty() {
                    writeln!(f, "    first private of {:?}", way.ancestors)?;
                }
                match way.pivot {
                    Pivot::PivotRoot => writeln!(f, "    by pivot_root")?,
                    Pivot::Move => writeln!(f, "    by move, hides the host's proc and sysfs")?,
                }
                if let Some(covers) = &way.covers {
                    writeln!(f, "    {}", Shown(covers, sources))?;
                }
            }
        }
        for step in &self.steps {
            writeln!(f, "{}", Shown(step, sources))?;
        }
        for node in &self.nodes {
            writeln!(f, "{}", Shown(node, sources))?;
        }
        for link in &self.links {
            writeln!(f, "{link}")?;
        }
        for path in &self.readonly_paths {
            writeln!(f, "read-only {path:?}")?;
        }
        for path in &self.masked_paths {
            writeln!(f, "masked {path:?}")?;
        }
        if self.readonly_root {
            writeln!(f, "root read-only")?;
        }
        match self.final_propagation {
            Some((Depth::Top, kind)) => writeln!(f, "root at the end {kind:?}")?,
            Some((Depth::Tree, kind)) => writeln!(f, "root and all below at the end {kind:?}")?,
            None => {}
        }
        if self.own_procfs {
            writeln!(f, "sysctls and labels through the runtime's own /proc")?;
        }
        for sysctl in &self.sysctls {
            let value = String::from_utf8_lossy(&sysctl.value);
            writeln!(f, "sysctl {:?} = {value:?}", sysctl.path)?;
        }
        Ok(())
    }
}
