//! What will be done, and the four functions by which init does it.

use crate::device::{Link, Node};
use crate::failure::{Failure, List};
use crate::ground::Ground;
use crate::handles::Handles;
use crate::idmapped::IdMap;
use crate::lower::is_self_contained;
use crate::mask;
use crate::mount::{self, Change, Step};
use crate::pivot::Way;
use crate::procfs::Sysctl;
use crate::root::RootFd;
use crate::tree::Tree;
use kernel::mount::{Depth, MountAttr, Propagation};
use kernel::process::without_umask;
use kernel::{Call, Failed};
use std::ffi::CString;
use std::fmt;
use std::os::fd::AsFd;
use std::path::Path;

/// All decisions about the container's files: plain data, the same for the same input.
/// [`Plan::lower`] makes it in the parent, and init applies it without allocating.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub(crate) way: Way,
    /// All sources from the host, in the order in which they are opened.
    pub(crate) sources: Vec<Tree>,
    /// Who opens it.
    pub(crate) opener: Opener,
    /// What the mount namespace is a copy of.
    pub(crate) ground: Ground,
    /// The id maps of mounts.
    pub(crate) id_maps: Vec<IdMap>,
    pub(crate) steps: Vec<Step>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<Link>,
    pub(crate) readonly_paths: Vec<CString>,
    pub(crate) masked_paths: Vec<CString>,
    pub(crate) readonly_root: bool,
    /// The root's own propagation type, which is set late because pivot_root(2) would refuse it.
    pub(crate) final_propagation: Option<(Depth, Propagation)>,
    pub(crate) sysctls: Vec<Sysctl>,
    /// Whether the runtime's own procfs takes the place of the private one, which the kernel does
    /// not give.
    pub(crate) own_procfs: bool,
}

/// Who opens what is taken from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opener {
    /// The runtime, before the clone: it has the rights of the host.
    Runtime,
    /// The runtime too. It attaches the trees where only init sees them, and init clones them from
    /// there: with the kernel's mount locks, and with few open descriptors.
    Staged,
    /// Init, right after it has its mount namespace and before the first mount, so that no source
    /// can be below a mount that the container's files have redirected (CVE-2021-30465).
    Init,
}

impl fmt::Display for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Runtime => "the runtime",
            Self::Staged => "the runtime, cloned by init",
            Self::Init => "init",
        })
    }
}

impl Plan {
    /// Whether init starts in the base of mounts, where there is no /proc.
    pub fn starts_in_the_base(&self) -> bool {
        matches!(self.ground, Ground::Base(_))
    }

    /// Whether a file system may be mounted from a block device, which the kernel then opens for
    /// init.
    pub fn may_open_devices(&self) -> bool {
        self.steps.iter().any(|step| match &step.action {
            mount::Action::New(new) => !is_self_contained(&new.kind) && *new.kind != *c"overlay",
            mount::Action::Bind { .. }
            | mount::Action::BindInside { .. }
            | mount::Action::Symlink { .. }
            | mount::Action::Remount(_) => false,
        })
    }

    /// Whether a mount at /dev/console could appear on the host: mounts propagate there, and what
    /// is at /dev is or may be of the host. An image could have a link at /dev, so any volume
    /// counts where the plan makes no /dev.
    pub fn console_could_propagate(&self) -> bool {
        let is_of_host = |step: &Step| match step.action {
            mount::Action::Bind { .. } | mount::Action::BindInside { .. } => true,
            mount::Action::New(_) | mount::Action::Symlink { .. } | mount::Action::Remount(_) => {
                false
            }
        };
        let mut steps = self.steps.iter();
        let at = |path: &str| {
            let mut steps = self.steps.iter().rev();
            steps.find(|step| {
                let is_mount = !matches!(step.action, mount::Action::Remount(_));
                is_mount && step.destination == Path::new(path)
            })
        };
        let propagates = matches!(self.final_propagation, Some((_, Propagation::Shared)));
        let is_fresh = at("/dev").is_some_and(|step| !is_of_host(step));
        let is_covered = at("/dev/console").is_some_and(is_of_host);
        propagates && (is_covered || !is_fresh && steps.any(is_of_host))
    }

    /// Prepares the new mount namespace of this process: opens the sources that the parent could
    /// not open, sets the propagation of inherited mounts, attaches the root at its host path.
    ///
    /// # Errors
    /// What failed; [`Plan::describe`] describes it.
    pub fn attach(&self, handles: &mut Handles) -> Result<RootFd, Failure> {
        handles
            .open_rest(&self.sources)
            .map_err(|(index, failed)| Failure::at(List::Source, index)(failed))?;
        let root = without_umask(|| self.way.attach(&self.sources, handles));
        let root = root.map_err(Failed::of(Call::Umask)).flatten();
        root.map_err(Failure::at(List::Attach, 0))
    }

    /// Makes all mounts, device nodes and links below the root.
    pub fn mount(&self, handles: &mut Handles, root: &RootFd) -> Result<(), Failure> {
        let done = without_umask(|| self.mount_all(handles, root));
        done.map_err(Failed::of(Call::Umask))
            .map_err(Failure::at(List::Attach, 0))?
    }

    fn mount_all(&self, handles: &mut Handles, root: &RootFd) -> Result<(), Failure> {
        for (index, step) in self.steps.iter().enumerate() {
            mount::apply(step, index, handles, root).map_err(Failure::at(List::Mount, index))?;
        }
        for (index, node) in self.nodes.iter().enumerate() {
            node.apply(handles, root)
                .map_err(Failure::at(List::Device, index))?;
        }
        for (index, link) in self.links.iter().enumerate() {
            link.apply(handles, root)
                .map_err(Failure::at(List::Link, index))?;
        }
        if !self.sysctls.is_empty() {
            self.make_procfs(handles)?;
        }
        Ok(())
    }

    /// Makes the private procfs, at the first call and if the runtime has not opened its own: in
    /// init, when it is in its PID namespace and nothing is masked yet. The container's own /proc
    /// may be covered, or be something else.
    pub fn make_procfs(&self, handles: &mut Handles) -> Result<(), Failure> {
        handles.make_procfs().map_err(Failure::at(List::Procfs, 0))
    }

    /// Makes the root `/` and unmounts the host's files. The working directory is then `/`.
    pub fn pivot(&self, handles: &Handles, root: &RootFd) -> Result<(), Failure> {
        self.way
            .pivot(handles, root)
            .map_err(Failure::at(List::Pivot, 0))
    }

    /// Makes paths read-only, masks paths, and writes the sysctls.
    pub fn seal(&self, handles: &Handles, root: &RootFd) -> Result<(), Failure> {
        for (index, path) in self.readonly_paths.iter().enumerate() {
            mask::seal(root, path).map_err(Failure::at(List::ReadOnlyPath, index))?;
        }
        let mut used = mask::Used::default();
        for (index, path) in self.masked_paths.iter().enumerate() {
            mask::mask(root, path, &mut used).map_err(Failure::at(List::MaskedPath, index))?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            if !step.late.is_empty()
                && let Some(placed) = handles.placed(index)
            {
                Change::set(Depth::Top, step.late)
                    .apply(placed)
                    .map_err(Failure::at(List::LateReadOnly, index))?;
            }
        }
        self.seal_root(root)
            .map_err(Failure::at(List::Root, usize::from(self.readonly_root)))?;
        if let Some(procfs) = handles.procfs() {
            for (index, sysctl) in self.sysctls.iter().enumerate() {
                sysctl
                    .apply(procfs)
                    .map_err(Failure::at(List::Sysctl, index))?;
            }
        }
        Ok(())
    }

    fn seal_root(&self, root: &RootFd) -> Result<(), Failed> {
        if self.readonly_root {
            Change::set(Depth::Top, MountAttr::RDONLY).apply(root.as_fd())?;
        }
        match self.final_propagation {
            Some((depth, kind)) => Change::propagation(depth, kind).apply(root.as_fd()),
            None => Ok(()),
        }
    }
}
