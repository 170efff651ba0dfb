//! The text of a plan: `locule plan` prints it and `create` logs it. It comes from the same value
//! that is carried out.

use crate::plan::{Loopback, Outside, Plan};
use serde_json::{Map, Value};
use spec::container::Rlimit;
use std::fmt::{self, Display};

impl Plan {
    /// The rooms in the order in which they act, each with its lines.
    pub fn rooms(&self) -> Vec<(&'static str, Vec<String>)> {
        let hooks = &self.hooks;
        let early = [
            &hooks.prestart,
            &hooks.create_runtime,
            &hooks.create_container,
        ];
        let mut process = text(self.process.as_ref());
        if self.keep_fds > 0 {
            process.push(format!("{} descriptors from 3 on stay open", self.keep_fds));
        }
        let has_locks = self.seccomp.is_some() || self.locks.landlock.is_some();
        let locks = text(has_locks.then_some(&self.locks));
        let rooms = [
            ("cgroup", text(Some(&self.cgroup))),
            ("namespaces", text(Some(&self.entry))),
            (
                "runtime",
                text(Some(&Runtime(self.loopback, &self.outside))),
            ),
            ("resctrl", text(self.resctrl.as_ref())),
            ("network", text(self.network.as_ref())),
            ("files", text(Some(&self.files))),
            (
                "hooks",
                early
                    .into_iter()
                    .flat_map(|list| text(Some(list)))
                    .collect(),
            ),
            ("labels", text(Some(&self.lsm))),
            ("terminal", text(self.terminal.as_ref())),
            ("process", process),
            ("capabilities", text(Some(&self.capability))),
            ("seccomp", text(self.seccomp.as_ref())),
            ("locks", locks),
            ("birth", text(Some(&self.birth))),
            ("hooks", text(Some(&hooks.start_container))),
        ];
        rooms
            .into_iter()
            .filter(|(_, lines)| !lines.is_empty())
            .collect()
    }

    /// The plan as JSON: each room with its lines.
    pub fn to_json(&self) -> Value {
        let mut rooms = Map::new();
        for (room, lines) in self.rooms() {
            let list = rooms
                .entry(room)
                .or_insert_with(|| Value::Array(Vec::new()));
            if let Value::Array(list) = list {
                list.extend(lines.into_iter().map(Value::String));
            }
        }
        Value::Object(rooms)
    }
}

/// One line for each decision, after the name of its room.
impl Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (room, lines) in self.rooms() {
            for line in lines {
                writeln!(f, "{room}: {line}")?;
            }
        }
        Ok(())
    }
}

fn text(plan: Option<&impl Display>) -> Vec<String> {
    let text = plan.map(ToString::to_string).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// The other steps of the runtime.
struct Runtime<'a>(Loopback, &'a Outside);

impl Display for Runtime<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Loopback::AsItIs => {}
            Loopback::ByInit => writeln!(f, "init brings up the loopback link")?,
            Loopback::ByRuntime => writeln!(f, "the runtime brings up the loopback link")?,
        }
        if let Some(score) = &self.1.oom_score_adj {
            writeln!(f, "oom_score_adj {score}")?;
        }
        if let Some(cpus) = &self.1.cpus {
            writeln!(f, "CPUs {cpus}")?;
        }
        write!(f, "{}", self.1.attributes)?;
        limits(f, &self.1.rlimits)
    }
}

/// A line for each resource limit.
pub(crate) fn limits(f: &mut fmt::Formatter<'_>, limits: &[Rlimit]) -> fmt::Result {
    limits.iter().try_for_each(|limit| {
        let Rlimit {
            resource,
            soft,
            hard,
        } = limit;
        writeln!(f, "rlimit {resource} soft {soft} hard {hard}")
    })
}
