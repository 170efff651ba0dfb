//! Options of `update`: limits by name.
//!
//! Every limit is a word here. This file says which property of `linux.resources` the word stands
//! for. The code that checks this property decides what the word means.

use clap::Args;
use std::path::PathBuf;

/// `update`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule update [OPTIONS] ID",
    after_help = "Examples:\n  locule update --memory 512m --pids-limit 100 box1\n  \
        echo '{\"cpu\": {\"quota\": 50000}}' | locule update --resources - box1\n\n\
        A limit that is not given stays as it is. So does one that is given as an empty word, or as 0 where 0 \
        is not a limit. SIZE is a number of bytes, with an optional unit k, m, g or t (powers of 1024), or -1 \
        for no limit. Either all limits are set or none. The next update starts from them. Rules for devices \
        never change."
)]
pub(crate) struct Update {
    /// Read the limits from a JSON file with the form of linux.resources, or from standard input if
    /// it is -; the other limits are ignored then [default: none]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) resources: Option<PathBuf>,
    /// The limits that were given one by one.
    #[command(flatten)]
    pub(crate) limits: Box<Limits>,
    /// The lines of the container's schemata file for the caches; it needs linux.intelRdt [default:
    /// unchanged]
    #[arg(long, value_name = "LINES")]
    pub(crate) l3_cache_schema: Option<String>,
    /// The line of the container's schemata file for memory bandwidth; it needs linux.intelRdt
    /// [default: unchanged]
    #[arg(long, value_name = "LINE")]
    pub(crate) mem_bw_schema: Option<String>,
    /// The container's name in the state directory
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<String>,
}

/// The limits, one option each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub(crate) struct Limits {
    /// Share of the block devices' time, 10 to 1000 [default: unchanged]
    #[arg(long, value_name = "WEIGHT")]
    pub(crate) blkio_weight: Option<String>,
    /// Length of the period that the quota is counted in, microseconds [default: unchanged]
    #[arg(long, value_name = "USEC")]
    pub(crate) cpu_period: Option<String>,
    /// Processor time in each period, microseconds; -1 is no limit [default: unchanged]
    #[arg(long, value_name = "USEC")]
    pub(crate) cpu_quota: Option<String>,
    /// Unused quota that may be saved up, microseconds; 0 is none [default: unchanged]
    #[arg(long, value_name = "USEC")]
    pub(crate) cpu_burst: Option<String>,
    /// Share of the processors, relative to other groups; 1024 is usual [default: unchanged]
    #[arg(long, value_name = "SHARES")]
    pub(crate) cpu_share: Option<String>,
    /// Length of the period for real-time processes, microseconds; cgroup v1 only [default:
    /// unchanged]
    #[arg(long, value_name = "USEC")]
    pub(crate) cpu_rt_period: Option<String>,
    /// Time of real-time processes in each of their periods, microseconds; cgroup v1 only
    /// [default: unchanged]
    #[arg(long, value_name = "USEC")]
    pub(crate) cpu_rt_runtime: Option<String>,
    /// The processors to run on, such as 0-3,7 [default: unchanged]
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_cpus: Option<String>,
    /// The memory nodes to take memory from, such as 0,1 [default: unchanged]
    #[arg(long, value_name = "LIST")]
    pub(crate) cpuset_mems: Option<String>,
    /// 1 to run only when no other process wants to, 0 to run as usual [default: unchanged]
    #[arg(long, value_name = "0|1")]
    pub(crate) cpu_idle: Option<String>,
    /// Memory; -1 alone unlimits swap as well [default: unchanged]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Memory that the group keeps when memory gets short [default: unchanged]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_reservation: Option<String>,
    /// Memory and swap together [default: unchanged]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory_swap: Option<String>,
    /// Memory of the kernel; newer kernels do not have this limit
    #[arg(long, value_name = "SIZE", hide = true)]
    pub(crate) kernel_memory: Option<String>,
    /// Memory of the kernel for TCP; newer kernels do not have this limit
    #[arg(long, value_name = "SIZE", hide = true)]
    pub(crate) kernel_memory_tcp: Option<String>,
    /// Processes and threads; -1 is no limit [default: unchanged]
    #[arg(long, value_name = "COUNT")]
    pub(crate) pids_limit: Option<String>,
}

/// What a word stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole number.
    Number,
    /// Bytes.
    Size,
    /// As written.
    Text,
}

/// One limit: its option, the property of `linux.resources` that it sets, and what was typed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit<'a> {
    /// With its dashes.
    pub(crate) option: &'static str,
    /// The object and the key.
    pub(crate) property: (&'static str, &'static str),
    /// How it is understood.
    pub(crate) kind: Kind,
    /// Absent or empty: the limit stays.
    pub(crate) word: Option<&'a str>,
}

impl Limits {
    /// All limits, typed or not.
    pub(crate) fn each(&self) -> impl Iterator<Item = Limit<'_>> {
        use Kind::{Number, Size, Text};
        let rows = [
            (
                "--blkio-weight",
                ("blockIO", "weight"),
                Number,
                &self.blkio_weight,
            ),
            ("--cpu-period", ("cpu", "period"), Number, &self.cpu_period),
            ("--cpu-quota", ("cpu", "quota"), Number, &self.cpu_quota),
            ("--cpu-burst", ("cpu", "burst"), Number, &self.cpu_burst),
            ("--cpu-share", ("cpu", "shares"), Number, &self.cpu_share),
            (
                "--cpu-rt-period",
                ("cpu", "realtimePeriod"),
                Number,
                &self.cpu_rt_period,
            ),
            (
                "--cpu-rt-runtime",
                ("cpu", "realtimeRuntime"),
                Number,
                &self.cpu_rt_runtime,
            ),
            ("--cpuset-cpus", ("cpu", "cpus"), Text, &self.cpuset_cpus),
            ("--cpuset-mems", ("cpu", "mems"), Text, &self.cpuset_mems),
            ("--cpu-idle", ("cpu", "idle"), Number, &self.cpu_idle),
            ("--memory", ("memory", "limit"), Size, &self.memory),
            (
                "--memory-reservation",
                ("memory", "reservation"),
                Size,
                &self.memory_reservation,
            ),
            ("--memory-swap", ("memory", "swap"), Size, &self.memory_swap),
            (
                "--kernel-memory",
                ("memory", "kernel"),
                Size,
                &self.kernel_memory,
            ),
            (
                "--kernel-memory-tcp",
                ("memory", "kernelTCP"),
                Size,
                &self.kernel_memory_tcp,
            ),
            ("--pids-limit", ("pids", "limit"), Number, &self.pids_limit),
        ];
        rows.into_iter()
            .map(|(option, property, kind, word)| Limit {
                option,
                property,
                kind,
                word: word.as_deref(),
            })
    }
}
