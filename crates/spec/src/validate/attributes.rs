//! Scheduling and memory placement of the process: `process.scheduler`, `process.ioPriority`,
//! `process.execCPUAffinity`, `linux.memoryPolicy`. Source: config.md#linux-process,
//! config-linux.md#memory-policy.

use crate::container::{
    ExecCpuAffinity, IoPriority, MemoryFlag, MemoryMode, MemoryPolicy, NumberSet, Scheduler,
    SchedulerPolicy,
};
use crate::diagnostic::Code;
use crate::numbers::Wrong;
use crate::quote::quote;
use crate::reader::{Object, Value};
use crate::validate::given;
use crate::words::{POLICIES, SCHEDULER_FLAGS};

/// The largest number of a CPU: CONFIG_NR_CPUS is at most 8192.
const LARGEST_CPU: u32 = 8191;
/// The largest number of a memory node: CONFIG_NODES_SHIFT is at most 10.
const LARGEST_NODE: u32 = 1023;

/// Reads `process.scheduler`.
pub(super) fn scheduler(value: &Value<'_>) -> Option<Scheduler> {
    value.object(|o| {
        let policy = o.required("policy").and_then(|v| v.word_in(&POLICIES));
        let nice = o.number("nice", -20..=19).unwrap_or_default();
        let mut flags = 0;
        o.list("flags", |item| {
            flags |= item.word_in(&SCHEDULER_FLAGS)?;
            Some(())
        });
        let mut are_read = true;
        let mut number = |key, largest| {
            let found = o.number(key, 0..=largest);
            are_read &= found.is_some() || o.absent(key);
            found.unwrap_or_default()
        };
        let priority = number("priority", 99);
        let runtime = number("runtime", u64::MAX);
        let deadline = number("deadline", u64::MAX);
        let period = number("period", u64::MAX);
        let found = Scheduler {
            policy: policy?,
            nice,
            priority: u32::try_from(priority).unwrap_or_default(),
            flags,
            runtime,
            deadline,
            period,
        };
        if are_read {
            check_parameters(o, &found);
        }
        Some(found)
    })?
}

/// Reports parameters that do not fit the policy and that every kernel refuses.
fn check_parameters(o: &Object<'_>, found: &Scheduler) {
    let conflict = |key, message: &str| {
        if let Some(value) = o.get(key) {
            value.error(Code::Conflict, message);
        }
    };
    let is_real_time = matches!(found.policy, SchedulerPolicy::Fifo | SchedulerPolicy::Rr);
    if is_real_time && found.priority == 0 {
        let message = "SCHED_FIFO and SCHED_RR need a `priority` from 1 to 99";
        o.value.error(Code::Missing, message);
    }
    if !is_real_time && found.priority != 0 {
        conflict("priority", "only SCHED_FIFO and SCHED_RR have a priority");
    }
    let times = [
        ("runtime", found.runtime),
        ("deadline", found.deadline),
        ("period", found.period),
    ];
    if found.policy == SchedulerPolicy::Deadline {
        // A period of 0 is the deadline.
        if found.deadline == 0 || found.runtime == 0 {
            let message = "SCHED_DEADLINE needs `runtime` and `deadline`, in nanoseconds";
            o.value.error(Code::Missing, message);
        } else if found.runtime > found.deadline {
            conflict("runtime", "the runtime is above the deadline");
        } else if found.period != 0 && found.deadline > found.period {
            conflict("deadline", "the deadline is above the period");
        }
        return;
    }
    for (key, _) in times.into_iter().filter(|(_, time)| *time != 0) {
        let message = "only SCHED_DEADLINE has a runtime, a deadline and a period";
        conflict(key, message);
    }
}

/// Reads `process.ioPriority`.
pub(super) fn io_priority(value: &Value<'_>) -> Option<IoPriority> {
    value.object(|o| {
        let class = o.required("class").and_then(|v| v.word());
        let priority = o.number("priority", 0..=7_u8).unwrap_or_default();
        Some(IoPriority {
            class: class?,
            priority,
        })
    })?
}

/// Reads `process.execCPUAffinity`.
pub(super) fn exec_cpu_affinity(value: &Value<'_>) -> Option<ExecCpuAffinity> {
    value.object(|o| {
        let cpus = |key| {
            let value = given(o, key)?;
            let set = numbers(&value, "", "CPU", LARGEST_CPU)?;
            if set.is_empty() {
                value.error(Code::Range, "the list has no CPU");
            }
            Some(set)
        };
        ExecCpuAffinity {
            initial_cpus: cpus("initial"),
            final_cpus: cpus("final"),
        }
    })
}

/// Reads `linux.memoryPolicy`.
pub(super) fn memory_policy(value: &Value<'_>) -> Option<MemoryPolicy> {
    value.object(|o| {
        let mode = match o.get("mode") {
            Some(mode) => mode.word_of::<MemoryMode>("memory policy mode"),
            None => {
                let message = "invalid memory policy mode: the required property `mode` is missing";
                o.value.error(Code::Missing, message);
                None
            }
        };
        let nodes = o
            .get("nodes")
            .and_then(|v| numbers(&v, "invalid memory policy nodes: ", "node", LARGEST_NODE));
        let nodes_are_read = nodes.is_some() || o.absent("nodes");
        let nodes = nodes.unwrap_or_default();
        let flags: Vec<MemoryFlag> = o.list("flags", |item| item.word_of("memory policy flag"));
        let mode = mode?;
        let both = [MemoryFlag::MpolFStaticNodes, MemoryFlag::MpolFRelativeNodes];
        if both.iter().all(|flag| flags.contains(flag))
            && let Some(value) = o.get("flags")
        {
            let message = "of MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES only one can be set";
            value.error(Code::Conflict, message);
        }
        match mode {
            MemoryMode::MpolDefault | MemoryMode::MpolLocal if !nodes.is_empty() => {
                if let Some(value) = o.get("nodes") {
                    let given = nodes.count();
                    let message =
                        format!("this memory policy mode requires 0 nodes but got {given}");
                    value.error(Code::Conflict, message);
                }
            }
            MemoryMode::MpolBind
            | MemoryMode::MpolInterleave
            | MemoryMode::MpolWeightedInterleave
            | MemoryMode::MpolPreferredMany
                if nodes.is_empty() && nodes_are_read =>
            {
                let message = "this memory policy mode requires at least one node but got 0; \
                    set `nodes`, such as \"0-1\"";
                o.value.error(Code::Missing, message);
            }
            _ => {}
        }
        Some(MemoryPolicy { mode, nodes, flags })
    })?
}

/// A list of numbers of `what`; the message for another text begins with `wrongly`.
fn numbers(value: &Value<'_>, wrongly: &str, what: &str, largest: u32) -> Option<NumberSet> {
    let text = value.text()?;
    let wrong = match NumberSet::parse(text, largest) {
        Ok(set) => return Some(set),
        Err(wrong) => wrong,
    };
    let message = match wrong {
        Wrong::Part(part) => format!("{} is neither a number nor a range", quote(part)),
        Wrong::Downwards(part) => format!("the range {} goes down", quote(part)),
        Wrong::TooLarge(part) => {
            format!("{}: no kernel has a {what} above {largest}", quote(part))
        }
    };
    let message = format!("{wrongly}{message}");
    value.error_hint(Code::Range, message, "expected a list such as \"0-3,7\"");
    None
}
