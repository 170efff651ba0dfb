//! Limits: `linux.resources` becomes a flat list of file writes.
//!
//! [`lower`] is a pure function of the configuration and of the places of the controllers. It does
//! all conversions between the specification's units (those of v1) and v2's. Zero means "no change"
//! where engines send it for "not set". Device rules are not file writes: see `device`.

#![expect(
    clippy::disallowed_methods,
    reason = "a list that the kernel publishes"
)]

mod apply;
mod convert;
mod merge;
mod unified;
mod v1;
mod v2;

pub(crate) use apply::{Former, Target, apply, check_before_update};
pub(crate) use merge::{companions, merge};

use spec::container::Resources;
use spec::diagnostic::escape;
use spec::{Code, Diagnostic};
use std::fs;

use crate::{Place, Version};

/// One value for one file of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileWrite {
    /// The index of the group in the location's list.
    pub group: usize,
    /// The file's name.
    pub file: String,
    /// One line, in the kernel's form.
    pub value: String,
    /// JSON pointer of the property that asks for it.
    pub pointer: String,
    /// The meaning if the kernel has no such file.
    pub missing: Missing,
}

/// What happens if the kernel lacks a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Missing {
    /// The limit cannot be set.
    Fails,
    /// There is nothing to limit.
    IsFine,
    /// Another file does the same.
    Otherwise {
        /// Its name.
        file: String,
        /// In that file's unit.
        value: String,
    },
    /// The property has lost its meaning with newer kernels.
    IsObsolete,
}

/// Whether the groups are new. A new group has the kernel's defaults, which need no write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    New,
    Running,
}

/// The container's group for each controller.
#[derive(Debug)]
pub(crate) struct Controllers {
    /// v1 controllers, each with the index of its group.
    pub(crate) v1: Vec<(String, usize)>,
    /// v2 controllers of the host.
    pub(crate) v2: Vec<String>,
    /// The index of the v2 group.
    pub(crate) unified: Option<usize>,
    /// Sizes of huge pages as hugetlb's files have them: "2MB".
    pub(crate) page_sizes: Vec<String>,
}

/// The result of lowering `linux.resources`.
#[derive(Debug, Default)]
pub(crate) struct Lowered {
    /// The writes, in an order that new groups accept.
    pub(crate) writes: Vec<FileWrite>,
    /// Warnings: properties that engines send to every host and that this host does not support.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// How the properties of one controller are lowered for one interface.
pub(crate) struct Sink<'a> {
    group: usize,
    stage: Stage,
    lowered: &'a mut Lowered,
}

impl Sink<'_> {
    fn write(&mut self, file: impl Into<String>, value: impl ToString, pointer: impl Into<String>) {
        self.write_or(file, value, pointer, Missing::Fails);
    }

    fn write_or(
        &mut self,
        file: impl Into<String>,
        value: impl ToString,
        pointer: impl Into<String>,
        missing: Missing,
    ) {
        self.lowered.writes.push(FileWrite {
            group: self.group,
            file: file.into(),
            value: value.to_string(),
            pointer: pointer.into(),
            missing,
        });
    }

    fn warn(&mut self, pointer: &str, message: &str) {
        let problem = Diagnostic::new(Code::Unsupported, pointer, message);
        self.lowered.warnings.push(problem);
    }
}

impl Controllers {
    /// The controllers of the groups at `places`: `available` is the list of controllers of the v2
    /// root.
    pub(crate) fn of(places: &[Place], available: Vec<String>, page_sizes: Vec<String>) -> Self {
        let mut found = Self {
            v1: Vec::new(),
            v2: available,
            unified: None,
            page_sizes,
        };
        for (index, place) in places.iter().enumerate() {
            match place.version {
                Version::V1 => {
                    let names = place.controllers.split(',');
                    found.v1.extend(names.map(|name| (name.to_owned(), index)));
                }
                Version::V2 => found.unified = Some(index),
            }
        }
        found
    }

    fn v1(&self, controller: &str) -> Option<usize> {
        let found = self.v1.iter().find(|(name, _group)| name == controller);
        found.map(|(_name, group)| *group)
    }

    fn v2(&self, controller: &str) -> Option<usize> {
        let is_there = self.v2.iter().any(|name| name == controller);
        self.unified.filter(|_group| is_there)
    }
}

/// The sizes that this kernel has, named as in hugetlb's files.
pub(crate) fn page_sizes() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/kernel/mm/hugepages") else {
        return Vec::new();
    };
    let sizes = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let kib: u64 = name
            .strip_prefix("hugepages-")?
            .strip_suffix("kB")?
            .parse()
            .ok()?;
        Some(convert::page_size(kib))
    });
    sizes.collect()
}

type Lower = fn(&mut Sink<'_>, &Resources) -> Result<(), Diagnostic>;

/// A controller, by its names on both interfaces, and how its properties are written there.
const CONTROLLERS: &[(&str, &str, Lower, Lower)] = &[
    ("memory", "memory", v1::memory, v2::memory),
    ("cpu", "cpu", v1::cpu, v2::cpu),
    ("cpuset", "cpuset", cpuset, cpuset),
    ("pids", "pids", pids, pids),
    ("blkio", "io", v1::block_io, v2::block_io),
    ("hugetlb", "hugetlb", v1::huge_pages, v2::huge_pages),
    ("net_cls", "net_cls", v1::class_id, v2::class_id),
    ("net_prio", "net_prio", v1::priorities, v2::priorities),
    ("rdma", "rdma", rdma, rdma),
];

/// Converts limits to writes.
///
/// # Errors
/// Contradictions, values that have no counterpart on v2, and a controller that the host lacks;
/// each with the pointer of the property.
pub(crate) fn lower(
    resources: &Resources,
    controllers: &Controllers,
    stage: Stage,
) -> Result<Lowered, Diagnostic> {
    let mut lowered = Lowered::default();
    check_page_sizes(resources, controllers)?;
    for (v1_name, v2_name, lower_v1, lower_v2) in CONTROLLERS {
        let (group, lower) = match (controllers.v1(v1_name), controllers.v2(v2_name)) {
            (Some(group), _) => (Some(group), lower_v1),
            (None, Some(group)) => (Some(group), lower_v2),
            (None, None) if controllers.unified == Some(0) && controllers.v1.is_empty() => {
                (None, lower_v2)
            }
            (None, None) => (None, lower_v1),
        };
        let before = lowered.writes.len();
        let mut sink = Sink {
            group: group.unwrap_or_default(),
            stage,
            lowered: &mut lowered,
        };
        lower(&mut sink, resources)?;
        if group.is_none() {
            let is_needed = |write: &&FileWrite| write.missing != Missing::IsFine;
            if let Some(write) = lowered.writes[before..].iter().find(is_needed) {
                return Err(no_controller(v1_name, v2_name, &write.pointer, controllers));
            }
            lowered.writes.truncate(before);
        }
    }
    unified::lower(resources, controllers, &mut lowered)?;
    Ok(lowered)
}

/// Whether `resources` set any limit. Device rules do not count: an ordinary user has no permission
/// for the devices anyway. Values that engines send for "no limit" do not count either.
pub(crate) fn is_limited(resources: &Resources) -> bool {
    let sizes = resources.hugepage_limits.iter();
    let everything = Controllers {
        v1: Vec::new(),
        v2: CONTROLLERS
            .iter()
            .map(|(_v1, v2, ..)| (*v2).to_owned())
            .collect(),
        unified: Some(0),
        page_sizes: sizes.map(|(size, _limit)| size.clone()).collect(),
    };
    let needs = |write: &FileWrite| write.missing != Missing::IsFine;
    lower(resources, &everything, Stage::New)
        .map_or(true, |lowered| lowered.writes.iter().any(needs))
}

fn no_controller(
    v1_name: &str,
    v2_name: &str,
    pointer: &str,
    controllers: &Controllers,
) -> Diagnostic {
    if controllers.v1.is_empty() {
        let message = format!("cgroup controller {v2_name} is not available on this host");
        return Diagnostic::new(Code::Host, pointer, message).hint(format!(
            "enable {v2_name} in cgroup.subtree_control of every group above, or in the kernel's command line (cgroup_enable={v2_name})"
        ));
    }
    let message = format!("cgroup v1 controller {v1_name} is not mounted on this host");
    Diagnostic::new(Code::Host, pointer, message).hint(format!(
        "mount it on /sys/fs/cgroup/{v1_name}, if the kernel has it (see /proc/cgroups)"
    ))
}

fn check_page_sizes(resources: &Resources, controllers: &Controllers) -> Result<(), Diagnostic> {
    for (index, (size, _limit)) in resources.hugepage_limits.iter().enumerate() {
        if !controllers.page_sizes.contains(size) {
            let message = format!(
                "page size {size:?} is not one of this host's ({})",
                controllers.page_sizes.join(", ")
            );
            let pointer = format!("/linux/resources/hugepageLimits/{index}/pageSize");
            return Err(Diagnostic::new(Code::Host, pointer, message));
        }
    }
    Ok(())
}

/// The same files on both interfaces.
fn cpuset(sink: &mut Sink<'_>, resources: &Resources) -> Result<(), Diagnostic> {
    let sets = [
        ("cpus", "cpuset.cpus", &resources.cpu.cpus),
        ("mems", "cpuset.mems", &resources.cpu.mems),
    ];
    for (name, file, set) in sets {
        if let Some(list) = set.as_deref().filter(|list| !list.is_empty()) {
            sink.write(file, list, format!("/linux/resources/cpu/{name}"));
        }
    }
    Ok(())
}

/// -1 is no limit; 0 becomes the smallest possible limit, since a container has at least one
/// process.
fn pids(sink: &mut Sink<'_>, resources: &Resources) -> Result<(), Diagnostic> {
    let (value, missing) = match resources.pids_limit {
        None => return Ok(()),
        Some(..0) => ("max".to_owned(), Missing::IsFine),
        Some(limit) => (limit.max(1).to_string(), Missing::Fails),
    };
    sink.write_or("pids.max", value, "/linux/resources/pids/limit", missing);
    Ok(())
}

fn rdma(sink: &mut Sink<'_>, resources: &Resources) -> Result<(), Diagnostic> {
    for (device, limits) in &resources.rdma {
        let pointer = format!("/linux/resources/rdma/{}", escape(device));
        if device.is_empty() || device.contains(char::is_whitespace) {
            let message = format!("{device:?} is not the name of a device");
            return Err(Diagnostic::new(Code::Range, pointer, message));
        }
        let handles = limits
            .hca_handles
            .map(|limit| format!(" hca_handle={limit}"));
        let objects = limits
            .hca_objects
            .map(|limit| format!(" hca_object={limit}"));
        if handles.is_none() && objects.is_none() {
            continue;
        }
        let (handles, objects) = (handles.unwrap_or_default(), objects.unwrap_or_default());
        sink.write("rdma.max", format!("{device}{handles}{objects}"), pointer);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
