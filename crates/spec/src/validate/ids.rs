//! Id maps: of the user namespace and of mounts. Source: config-linux.md#user-namespace-mappings,
//! user_namespaces(7).

use crate::container::{IdMapping, Process};
use crate::diagnostic::{Code, Diagnostic};
use crate::reader::{Notes, Object, Value};

/// The most mappings that the kernel accepts, UID_GID_MAP_MAX_EXTENTS; Linux 4.15.
const EXTENTS: usize = 340;

/// Reads a list of mappings; empty when absent.
pub(crate) fn map(o: &Object<'_>, key: &'static str) -> Vec<IdMapping> {
    let Some(value) = o.get(key) else {
        return Vec::new();
    };
    let map = value.list(extent);
    if map.len() > EXTENTS {
        let message = format!(
            "the list has {} mappings; the kernel accepts at most {EXTENTS}",
            map.len()
        );
        value.error(Code::Range, message);
    } else {
        refuse_overlap(&value, &map, "containerID", |extent| extent.container);
        refuse_overlap(&value, &map, "hostID", |extent| extent.host);
    }
    map
}

fn extent(value: &Value<'_>) -> Option<IdMapping> {
    value.object(|o| {
        let container = o.required("containerID").and_then(|v| v.id());
        let host = o.required("hostID").and_then(|v| v.id());
        let size = o.required("size").and_then(|v| v.number(1..=u32::MAX));
        let extent = IdMapping {
            container: container?,
            host: host?,
            size: size?,
        };
        for (key, first) in [("containerID", extent.container), ("hostID", extent.host)] {
            // The last id of a range must be below 2^32-1, which is not an id.
            if first.checked_add(extent.size).is_none() {
                let message = format!(
                    "{} ids from `{key}` {first} reach beyond 4294967294",
                    extent.size
                );
                return value.refuse(Code::Range, message);
            }
        }
        Some(extent)
    })?
}

fn refuse_overlap(
    value: &Value<'_>,
    map: &[IdMapping],
    key: &str,
    first: impl Fn(&IdMapping) -> u32,
) {
    let mut ranges: Vec<(u32, u32)> = map
        .iter()
        .map(|extent| (first(extent), extent.size))
        .collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        if let [(a, size), (b, _)] = pair
            && b - a < *size
        {
            let message = format!("the ranges from `{key}` {a} and {b} overlap");
            value.error(Code::Conflict, message);
        }
    }
}

/// Reports ids of `process.user` that have no meaning in the user namespace.
pub(crate) fn refuse_unmapped(
    process: &Process,
    uid_map: &[IdMapping],
    gid_map: &[IdMapping],
    notes: &Notes,
) {
    let user = &process.user;
    let check = |map: &[IdMapping], id: u32, pointer: &str, property: &str| {
        if map.is_empty()
            || map
                .iter()
                .any(|e| (e.container..e.container + e.size).contains(&id))
        {
            return;
        }
        notes.error(|| {
            let message = format!("the id {id} is not mapped by `{property}`");
            Diagnostic::new(Code::Conflict, pointer, message)
        });
    };
    check(uid_map, user.uid, "/process/user/uid", "linux.uidMappings");
    check(gid_map, user.gid, "/process/user/gid", "linux.gidMappings");
    for (index, gid) in user.additional_gids.iter().enumerate() {
        let pointer = format!("/process/user/additionalGids/{index}");
        check(gid_map, *gid, &pointer, "linux.gidMappings");
    }
}
