//! Limits: `linux.resources` becomes a flat list of typed limits.
//!
//! [`lower`] is a pure function of the configuration and of the places of the controllers. The
//! table of `table` has a row for each resource. A limit is written to a file of its group, and
//! told to systemd as a property. Device rules are not limits: see `device`.

#![expect(
    clippy::disallowed_methods,
    reason = "a list that the kernel publishes"
)]

mod apply;
mod convert;
mod merge;
mod table;
mod unified;
mod value;

pub(crate) use apply::{Former, Target, apply, check_before_update};
pub(crate) use merge::{companions, merge};
pub(crate) use table::Told;
#[cfg(test)]
pub(crate) use unified::limits;
pub(crate) use value::{Value, list};

use spec::container::{Memory, Resources};
use spec::{Code, Diagnostic};
use std::fs;
use table::{ROWS, Row, Side};

use crate::{Place, Version};

/// One limit: its value in the file of one group, and as properties of systemd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    /// The index of the group in the location's list.
    pub(crate) group: usize,
    /// The file's name.
    pub(crate) file: String,
    pub(crate) value: Value,
    /// JSON pointer of the property that asks for it.
    pub(crate) pointer: String,
    /// The meaning if the kernel has no such file.
    pub(crate) missing: Missing,
    /// systemd's properties for it.
    pub(crate) properties: &'static [Told],
}

/// What happens if the kernel lacks a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The limit cannot be set.
    Fails,
    /// There is nothing to limit.
    IsFine,
    /// This file does the same, with this value.
    Otherwise(&'static str, Value),
    /// The property has lost its meaning with newer kernels.
    IsObsolete,
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
    /// The limits, in an order that new groups accept.
    pub(crate) limits: Vec<Limit>,
    /// Warnings: properties that engines send to every host and that this host does not support.
    pub(crate) warnings: Vec<Diagnostic>,
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

    /// The group that has the controller with these names on v1 and v2, and its interface.
    fn find(&self, (v1, v2): (&str, &str)) -> (Option<usize>, Version) {
        let found = self.v1.iter().find(|(name, _group)| name == v1);
        if let Some((_name, group)) = found {
            return (Some(*group), Version::V1);
        }
        let unified = self
            .unified
            .filter(|_| self.v2.iter().any(|name| name == v2));
        let is_v2 = self.unified == Some(0) && self.v1.is_empty();
        match unified.is_some() || is_v2 {
            true => (unified, Version::V2),
            false => (None, Version::V1),
        }
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

/// Converts `resources` to limits.
///
/// # Errors
/// Contradictions, values that have no counterpart on v2, and a controller that the host lacks;
/// each with the pointer of the property.
pub(crate) fn lower(
    resources: &Resources,
    controllers: &Controllers,
) -> Result<Lowered, Diagnostic> {
    let mut lowered = Lowered::default();
    check_swap(&resources.memory)?;
    check_page_sizes(resources, controllers)?;
    for row in ROWS {
        lower_row(row, resources, controllers, &mut lowered)?;
    }
    unified::lower(resources, controllers, &mut lowered)?;
    Ok(lowered)
}

/// The specification requires an error if a property has no counterpart. Engines send some of these
/// properties to every host, so they cause only warnings.
fn lower_row(
    row: &Row,
    resources: &Resources,
    controllers: &Controllers,
    lowered: &mut Lowered,
) -> Result<(), Diagnostic> {
    const NOWHERE: &str = "has no counterpart in cgroup v2";
    let (group, version) = controllers.find(row.controller);
    let side = match version {
        Version::V1 => &row.v1,
        Version::V2 => &row.v2,
    };
    for item in (row.of)(resources, version) {
        let pointer = format!("/linux/resources/{}{}", row.pointer, item.at);
        let mut value = item.value;
        let mut missing = (row.missing)(&value);
        let file = match side {
            Side::File(file) => file.replace("{}", &item.part),
            Side::Keyed(file, of_side) => {
                if let Value::Device { key, .. } = &mut value {
                    *key = of_side;
                }
                (*file).to_owned()
            }
            Side::Either(file, other, convert) => {
                missing = Missing::Otherwise(other, convert(&value));
                (*file).to_owned()
            }
            Side::Ignored => {
                let message = format!("{NOWHERE} and is ignored");
                let problem = Diagnostic::new(Code::Unsupported, pointer, message);
                lowered.warnings.push(problem);
                break;
            }
            Side::Refused => return Err(Diagnostic::new(Code::Unsupported, pointer, NOWHERE)),
            Side::Elsewhere => continue,
        };
        match group {
            Some(group) => lowered.limits.push(Limit {
                group,
                file,
                value,
                pointer,
                missing,
                properties: row.properties,
            }),
            None if missing == Missing::IsFine => {}
            None => return Err(no_controller(row.controller, &pointer, controllers)),
        }
    }
    Ok(())
}

/// Whether `resources` set any limit. Device rules do not count: an ordinary user has no permission
/// for the devices anyway. Values that engines send for "no limit" do not count either.
pub(crate) fn is_limited(resources: &Resources) -> bool {
    let sizes = resources.hugepage_limits.iter();
    let everything = Controllers {
        v1: Vec::new(),
        v2: ROWS.iter().map(|row| row.controller.1.to_owned()).collect(),
        unified: Some(0),
        page_sizes: sizes.map(|(size, _limit)| size.clone()).collect(),
    };
    let needs = |limit: &Limit| limit.missing != Missing::IsFine;
    lower(resources, &everything).map_or(true, |lowered| lowered.limits.iter().any(needs))
}

fn no_controller(
    (v1_name, v2_name): (&str, &str),
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

/// `swap` is memory and swap together, on both interfaces.
fn check_swap(memory: &Memory) -> Result<(), Diagnostic> {
    let problem = |message: &str| {
        let pointer = "/linux/resources/memory/swap";
        Err(Diagnostic::new(Code::Conflict, pointer, message))
    };
    match (memory.limit, memory.swap) {
        (_, None | Some(..0)) => Ok(()),
        (None | Some(..0), Some(_swap)) => {
            problem("memory and swap together cannot be limited without a limit on memory")
                .map_err(|problem| problem.hint("set /linux/resources/memory/limit too"))
        }
        (Some(limit), Some(swap)) if swap < limit => problem(&format!(
            "{swap} bytes of memory and swap together are less than the {limit} of memory"
        )),
        (Some(_limit), Some(_swap)) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
