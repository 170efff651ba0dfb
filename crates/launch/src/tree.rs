//! The input of the room `rootfs` that comes from other rooms.

use crate::{Error, Facts, Request};
use caller::Caller;
use cgroup::CgroupMount;
use namespace::Entry;
use rootfs::{CgroupHierarchy, CgroupView, Host};
use spec::Container;
use spec::container::{IdMapping, NamespaceKind};

/// CAP_SYS_ADMIN.
const SYS_ADMIN: u8 = 21;
/// CAP_SYS_CHROOT.
const SYS_CHROOT: u8 = 18;
/// CAP_MKNOD.
const MKNOD: u8 = 27;

/// Lowers the file system tree.
pub(crate) fn lower(
    request: &Request<'_>,
    facts: &Facts,
    entry: &Entry,
    cgroup: &cgroup::Plan,
) -> Result<rootfs::Plan, Error> {
    let caller = &facts.caller;
    let host = Host {
        privileged: caller.has([SYS_ADMIN]) && caller.owns_mounts,
        user_namespace: !caller.user_namespace.is_initial() || entry.changes_user_namespace(),
        enters_mounts: caller.has([SYS_CHROOT]),
        base: caller
            .user_namespace
            .is_initial()
            .then(|| rootfs::BASE.into()),
        has_groups: cgroup.location().unit.is_none(),
        makes_nodes: caller.has([MKNOD]),
        has_kcore: facts.kcore,
        gid_map: gid_map(caller),
    };
    Ok(rootfs::Plan::lower(&rootfs::Request {
        container: request.container,
        host: &host,
        pivot: request.pivot,
        cgroup: &view(cgroup.location()),
    })?)
}

/// Lowers mounts that are added to the running container.
pub(crate) fn lower_added(container: &Container, caller: &Caller) -> Result<rootfs::Plan, Error> {
    let host = Host {
        privileged: caller.has([SYS_ADMIN]) && caller.owns_mounts,
        user_namespace: !caller.user_namespace.is_initial()
            || container.namespaces[NamespaceKind::User].is_own(),
        enters_mounts: caller.has([SYS_CHROOT]),
        base: None,
        has_groups: false,
        makes_nodes: false,
        has_kcore: false,
        gid_map: gid_map(caller),
    };
    Ok(rootfs::Plan::lower_added(&rootfs::Request {
        container,
        host: &host,
        pivot: rootfs::Pivot::PivotRoot,
        cgroup: &CgroupView::Absent,
    })?)
}

/// The group map of the caller's user namespace; `None`: each group is itself.
fn gid_map(caller: &Caller) -> Option<Vec<IdMapping>> {
    let extent = |[container, host, size]: [u32; 3]| IdMapping {
        container,
        host,
        size,
    };
    let map = &caller.user_namespace.gid_map;
    (!caller.user_namespace.is_initial()).then(|| map.iter().copied().map(extent).collect())
}

fn view(location: &cgroup::Location) -> CgroupView {
    match cgroup::mount_view(location) {
        CgroupMount::V2 { group } => CgroupView::V2 { group },
        CgroupMount::V1 {
            hierarchies,
            unified: None,
        } if hierarchies.is_empty() => CgroupView::Absent,
        CgroupMount::V1 {
            hierarchies,
            unified,
        } => {
            let hierarchies = hierarchies.into_iter().map(|mount| CgroupHierarchy {
                name: mount.directory,
                options: mount.options,
                group: mount.group,
            });
            CgroupView::V1 {
                hierarchies: hierarchies.collect(),
                unified,
            }
        }
    }
}
