//! What the room `rootfs` needs to know from its neighbours.

use crate::{Error, Request};
use cgroup::CgroupMount;
use kernel::ids;
use namespace::Entry;
use rootfs::{CgroupHierarchy, CgroupView, Host};
use spec::container::IdMapping;
use std::path::Path;

/// CAP_SYS_ADMIN.
const SYS_ADMIN: u64 = 1 << 21;
/// CAP_MKNOD.
const MKNOD: u64 = 1 << 27;
/// The inode of the initial user namespace: PROC_USER_INIT_INO of linux/proc_ns.h. A full identity map does not
/// make another namespace the initial one.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

/// Whether this process is in the initial user namespace.
pub(crate) fn in_initial_user_namespace() -> bool {
    namespace::join::own_inode(namespace::Kind::User) == Some(INITIAL_USER_NAMESPACE)
}

/// Lowers the file system tree.
pub(crate) fn lower(
    request: &Request<'_>,
    entry: &Entry,
    cgroup: &cgroup::Plan,
) -> Result<rootfs::Plan, Error> {
    let sets = ids::capget().map_err(|errno| Error::Probe {
        what: "the own capabilities",
        errno,
    })?;
    let in_initial = in_initial_user_namespace();
    let host = Host {
        privileged: sets.effective & SYS_ADMIN != 0 && namespace::join::owns_mounts(),
        user_namespace: !in_initial || entry.changes_user_namespace(),
        makes_nodes: sets.effective & MKNOD != 0,
        has_kcore: has_kcore(),
        gid_map: match in_initial {
            true => None,
            false => gid_map(),
        },
    };
    Ok(rootfs::Plan::lower(&rootfs::Request {
        container: request.container,
        host: &host,
        pivot: request.pivot,
        cgroup: &view(cgroup.location()),
    })?)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the runtime's own /proc, never a container's"
)]
fn has_kcore() -> bool {
    Path::new("/proc/kcore").exists()
}

/// The group map of the runtime's own user namespace.
fn gid_map() -> Option<Vec<IdMapping>> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the runtime's own /proc, never a container's"
    )]
    let table = std::fs::read_to_string("/proc/self/gid_map").ok()?;
    let extent = |line: &str| {
        let mut numbers = line.split_whitespace().map(str::parse);
        Some(IdMapping {
            container: numbers.next()?.ok()?,
            host: numbers.next()?.ok()?,
            size: numbers.next()?.ok()?,
        })
    };
    table.lines().map(extent).collect()
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
