//! What will be done, and the four doors through which init does it.

use crate::device::{Link, Node};
use crate::mask;
use crate::mount::{self, Change, Step};
use crate::pivot::Way;
use crate::place::{Fault, List, Place};
use crate::procfs::{self, Sysctl};
use crate::root::RootFd;
use crate::tree::Tree;
use kernel::mount::{Depth, MountAttr, Propagation};
use kernel::process::umask;
use kernel::{Call, Errno};
use std::cell::OnceCell;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Everything that becomes of the container's files, decided. Made by [`Plan::lower`] in the parent and
/// applied in init, which allocates nothing on the way.
#[derive(Debug)]
pub struct Plan {
    pub(crate) way: Way,
    pub(crate) steps: Vec<Step>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<Link>,
    pub(crate) readonly_paths: Vec<CString>,
    pub(crate) masked_paths: Vec<CString>,
    pub(crate) readonly_root: bool,
    /// The root's own propagation type, where pivot_root(2) would not have taken it.
    pub(crate) final_propagation: Option<Propagation>,
    pub(crate) sysctls: Vec<Sysctl>,
    pub(crate) procfs: OnceCell<OwnedFd>,
}

/// Types of file systems that are on no device.
const VIRTUAL: [&CStr; 8] = [
    c"cgroup", c"cgroup2", c"devpts", c"mqueue", c"overlay", c"proc", c"sysfs", c"tmpfs",
];

impl Plan {
    /// Whether a file system may be mounted from a block device, which the kernel then opens for init.
    pub fn may_open_devices(&self) -> bool {
        self.steps.iter().any(|step| match &step.action {
            mount::Action::New(new) => !VIRTUAL.contains(&new.kind.as_c_str()),
            mount::Action::Bind { .. }
            | mount::Action::Symlink { .. }
            | mount::Action::Remount(_) => false,
        })
    }

    /// All that is taken from the host, in a fixed order.
    pub(crate) fn trees(&self) -> impl Iterator<Item = &Tree> {
        let (root, null) = match &self.way {
            Way::Attached(way) => (
                Some(&way.tree),
                way.covers.as_ref().and_then(|covers| covers.null.as_ref()),
            ),
            Way::Chroot(_) => (None, None),
        };
        let steps = self.steps.iter().filter_map(|step| match &step.action {
            mount::Action::Bind { tree, .. } => Some(tree),
            mount::Action::New(new) => new.fallback.as_ref().map(|(tree, _)| tree),
            mount::Action::Symlink { .. } | mount::Action::Remount(_) => None,
        });
        let nodes = self.nodes.iter().filter_map(|node| node.bind.as_ref());
        root.into_iter().chain(null).chain(steps).chain(nodes)
    }

    /// Readies the mount namespace that this process has just got: opens what the parent could not, sets the
    /// propagation of what was inherited, attaches the root at its host path.
    ///
    /// # Errors
    /// The place of the failure; [`Plan::describe`] says it in words.
    pub fn attach(&self) -> Result<RootFd, Place> {
        for (index, tree) in self.trees().enumerate() {
            tree.open().map_err(Fault::at(List::Source, index))?;
        }
        let mask = umask(0);
        let root = self.way.attach().map_err(Fault::at(List::Attach, 0));
        umask(mask);
        root
    }

    /// Makes all mounts, device nodes and links below the root.
    ///
    /// # Errors
    /// As for [`Plan::attach`].
    pub fn mount(&self, root: &RootFd) -> Result<(), Place> {
        let mask = umask(0);
        let done = self.mount_all(root);
        umask(mask);
        done
    }

    fn mount_all(&self, root: &RootFd) -> Result<(), Place> {
        for index in 0..self.steps.len() {
            mount::apply(&self.steps, index, root).map_err(Fault::at(List::Mount, index))?;
        }
        for (index, node) in self.nodes.iter().enumerate() {
            node.apply(&self.steps, root)
                .map_err(Fault::at(List::Device, index))?;
        }
        for (index, link) in self.links.iter().enumerate() {
            link.apply(&self.steps, root)
                .map_err(Fault::at(List::Link, index))?;
        }
        if !self.sysctls.is_empty() {
            self.procfs()?;
        }
        Ok(())
    }

    /// The private procfs, made at the first call: in init, when it is in its PID namespace and nothing is masked yet.
    /// The container's own may be covered, or be something else.
    ///
    /// # Errors
    /// As for [`Plan::attach`].
    pub fn procfs(&self) -> Result<BorrowedFd<'_>, Place> {
        if self.procfs.get().is_none() {
            let made = procfs::make().map_err(Fault::at(List::Procfs, 0))?;
            // Cannot be full: there is one thread.
            let _ = self.procfs.set(made);
        }
        match self.procfs.get() {
            Some(procfs) => Ok(procfs.as_fd()),
            None => Err(Fault::at(List::Procfs, 0)(Fault::of(Call::Verify)(
                Errno::EBADF,
            ))),
        }
    }

    /// Makes the root `/` and takes the host's files away. The working directory is then `/`.
    ///
    /// # Errors
    /// As for [`Plan::attach`].
    pub fn pivot(&self, root: &RootFd) -> Result<(), Place> {
        self.way.pivot(root).map_err(Fault::at(List::Pivot, 0))
    }

    /// Makes read-only and hides what shall be, and writes the sysctls.
    ///
    /// # Errors
    /// As for [`Plan::attach`].
    pub fn seal(&self, root: &RootFd) -> Result<(), Place> {
        for (index, path) in self.readonly_paths.iter().enumerate() {
            mask::seal(root, path).map_err(Fault::at(List::ReadOnlyPath, index))?;
        }
        let mut used = mask::Used::default();
        for (index, path) in self.masked_paths.iter().enumerate() {
            mask::mask(root, path, &mut used).map_err(Fault::at(List::MaskedPath, index))?;
        }
        for (index, step) in self.steps.iter().enumerate() {
            if !step.late.is_empty()
                && let Some(placed) = step.placed.get()
            {
                Change::set(Depth::Top, step.late)
                    .apply(placed.as_fd())
                    .map_err(Fault::at(List::LateReadOnly, index))?;
            }
        }
        self.seal_root(root)
            .map_err(Fault::at(List::Root, usize::from(self.readonly_root)))?;
        if let Some(procfs) = self.procfs.get() {
            for (index, sysctl) in self.sysctls.iter().enumerate() {
                sysctl
                    .apply(procfs.as_fd())
                    .map_err(Fault::at(List::Sysctl, index))?;
            }
        }
        Ok(())
    }

    fn seal_root(&self, root: &RootFd) -> Result<(), Fault> {
        if !self.readonly_root && self.final_propagation.is_none() {
            return Ok(());
        }
        let set = if self.readonly_root {
            MountAttr::RDONLY
        } else {
            MountAttr::empty()
        };
        Change {
            propagation: self.final_propagation,
            ..Change::set(Depth::Top, set)
        }
        .apply(root.as_fd())
    }
}
