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

macro_rules! limits {
    ($($field:ident $option:literal $value:literal $object:literal $key:literal $kind:ident
        $help:literal $(hide = $hide:literal)?;)*) => {
        /// The limits, one option each.
        #[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
        pub(crate) struct Limits {
            $(#[arg(long, value_name = $value, help = $help $(, hide = $hide)?)]
            pub(crate) $field: Option<String>),*
        }

        impl Limits {
            /// All limits, typed or not.
            pub(crate) fn each(&self) -> impl Iterator<Item = Limit<'_>> {
                let all = [$(Limit {
                    option: $option,
                    property: ($object, $key),
                    kind: Kind::$kind,
                    word: self.$field.as_deref(),
                }),*];
                all.into_iter()
            }
        }
    };
}

// The option and its value, the object and the key of the property, how the value is understood,
// and the help.
limits! {
    blkio_weight "--blkio-weight" "WEIGHT" "blockIO" "weight" Number
        "Share of the block devices' time, 10 to 1000 [default: unchanged]";
    cpu_period "--cpu-period" "USEC" "cpu" "period" Number
        "Length of the period that the quota is counted in, microseconds [default: unchanged]";
    cpu_quota "--cpu-quota" "USEC" "cpu" "quota" Number
        "Processor time in each period, microseconds; -1 is no limit [default: unchanged]";
    cpu_burst "--cpu-burst" "USEC" "cpu" "burst" Number
        "Unused quota that may be saved up, microseconds; 0 is none [default: unchanged]";
    cpu_share "--cpu-share" "SHARES" "cpu" "shares" Number
        "Share of the processors, relative to other groups; 1024 is usual [default: unchanged]";
    cpu_rt_period "--cpu-rt-period" "USEC" "cpu" "realtimePeriod" Number
        "Length of the period for real-time processes, microseconds; cgroup v1 only [default: unchanged]";
    cpu_rt_runtime "--cpu-rt-runtime" "USEC" "cpu" "realtimeRuntime" Number
        "Time of real-time processes in each of their periods, microseconds; cgroup v1 only [default: unchanged]";
    cpuset_cpus "--cpuset-cpus" "LIST" "cpu" "cpus" Text
        "The processors to run on, such as 0-3,7 [default: unchanged]";
    cpuset_mems "--cpuset-mems" "LIST" "cpu" "mems" Text
        "The memory nodes to take memory from, such as 0,1 [default: unchanged]";
    cpu_idle "--cpu-idle" "0|1" "cpu" "idle" Number
        "1 to run only when no other process wants to, 0 to run as usual [default: unchanged]";
    memory "--memory" "SIZE" "memory" "limit" Size
        "Memory; -1 alone unlimits swap as well [default: unchanged]";
    memory_reservation "--memory-reservation" "SIZE" "memory" "reservation" Size
        "Memory that the group keeps when memory gets short [default: unchanged]";
    memory_swap "--memory-swap" "SIZE" "memory" "swap" Size
        "Memory and swap together [default: unchanged]";
    kernel_memory "--kernel-memory" "SIZE" "memory" "kernel" Size
        "Memory of the kernel; newer kernels do not have this limit" hide = true;
    kernel_memory_tcp "--kernel-memory-tcp" "SIZE" "memory" "kernelTCP" Size
        "Memory of the kernel for TCP; newer kernels do not have this limit" hide = true;
    pids_limit "--pids-limit" "COUNT" "pids" "limit" Number
        "Processes and threads; -1 is no limit [default: unchanged]";
}
