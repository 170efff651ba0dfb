//! What a container's groups say: their shares, and the counters of the processor.

use crate::Error;
use crate::group::{Location, file, step};
use crate::tree::Tree;

/// The shares and the counters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// The lines of the control group for caches, joined by newlines.
    pub l3_schema: String,
    /// Its line for memory bandwidth.
    pub memory_schema: String,
    /// One for each cache, in the order of their numbers. Empty if there is no monitoring group.
    pub domains: Vec<Domain>,
}

/// The counters of one cache. A counter that the processor lacks, or cannot give now, is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Domain {
    /// Bytes of the cache that are in use.
    pub occupancy: Option<u64>,
    /// Bytes of memory traffic so far.
    pub total_bytes: Option<u64>,
    /// Bytes of traffic to the memory of the same node so far.
    pub local_bytes: Option<u64>,
}

impl Counters {
    pub(crate) fn read(tree: &Tree, location: &Location) -> Result<Self, Error> {
        let path = file(&location.group, "schemata");
        let lines = tree.read(&path).map_err(step("read", &path))?;
        let of = |prefix: &str| {
            let lines = lines.lines().map(str::trim);
            let lines: Vec<_> = lines.filter(|line| line.starts_with(prefix)).collect();
            lines.join("\n")
        };
        let mut domains = Vec::new();
        if let Some(monitor) = &location.monitor {
            let data = file(monitor, "mon_data");
            for name in tree.names(&data).map_err(step("list", &data))? {
                let number = |counter| {
                    let content = tree.read(&format!("{data}/{name}/{counter}")).ok()?;
                    content.trim().parse().ok()
                };
                domains.push(Domain {
                    occupancy: number("llc_occupancy"),
                    total_bytes: number("mbm_total_bytes"),
                    local_bytes: number("mbm_local_bytes"),
                });
            }
        }
        Ok(Self {
            l3_schema: of("L3"),
            memory_schema: of("MB"),
            domains,
        })
    }
}
