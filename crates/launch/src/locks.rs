//! The last restrictions before the program: Landlock, then the system call filter. Here they are
//! called locks.
//!
//! Decides when they begin ([`Plan`]) and in which order: [`Locks::shut_before`] is the one place
//! that applies them. Landlock comes first: then the filter need not allow
//! landlock_restrict_self(2), and Landlock does not restrict seccomp(2). Both need no_new_privs or
//! CAP_SYS_ADMIN, so both come as late as the filter can: ADR 14.

use crate::Error;
use crate::birth::Birth;
use crate::failure::{Failure, Phase};
use crate::protocol::{Init, Link, Lost};
use kernel::path::OpenFlags;
use kernel::{Call, Errno, Failed};
use landlock::{Abi, Ruleset};
use rootfs::RootFd;
use spec::container::Container;
use spec::{Code, Diagnostic};
use std::fmt;

/// The step right before which the locks are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Before {
    /// The drop of the capabilities: the locks need CAP_SYS_ADMIN.
    Drop,
    /// The last message to the runtime, which serves the filter's listener.
    Ready,
    /// The birth of the process in the container's PID namespace: see [`Birth`].
    Birth,
    /// The exec: the filter has to permit only this call.
    Exec,
}

/// Where the container has CAP_SYS_ADMIN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SysAdmin {
    /// Init has it until capabilities are dropped.
    pub(crate) in_init: bool,
    /// The program's effective set has it.
    pub(crate) in_program: bool,
}

/// The moment of the locks, and the ruleset of Landlock.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) landlock: Option<landlock::Plan>,
    moment: Before,
}

impl Plan {
    /// Makes the plan. Returns the warnings too.
    pub(crate) fn lower(
        container: &Container,
        seccomp: Option<&seccomp::Plan>,
        sys_admin: SysAdmin,
        landlock_abi: Option<u32>,
    ) -> Result<(Self, Vec<String>), Error> {
        let (landlock, warnings) = match &container.landlock {
            Some(asked) => landlock::Plan::lower(asked, Abi(landlock_abi.unwrap_or_default()))?,
            None => (None, Vec::new()),
        };
        let process = container.process.as_ref();
        let no_new_privileges = process.is_some_and(|process| process.no_new_privileges);
        let moment = match seccomp {
            Some(plan) if plan.moment == seccomp::Moment::BeforeCapabilities => Before::Drop,
            Some(plan) if plan.listener.is_some() => Before::Ready,
            Some(_) => Before::Exec,
            None if no_new_privileges || sys_admin.in_program => Before::Exec,
            None => Before::Drop,
        };
        if landlock.is_some() {
            if !no_new_privileges && !sys_admin.in_init {
                return Err(conflict(
                    "Landlock needs CAP_SYS_ADMIN, which the runtime does not have, or `noNewPrivileges`",
                    "set /process/noNewPrivileges to true",
                ));
            }
            if moment != Before::Exec && !container.hooks.start_container.is_empty() {
                return Err(conflict(
                    "the startContainer hooks would be confined too, because Landlock cannot wait until they have run",
                    match moment {
                        Before::Ready => {
                            "remove /hooks/startContainer or the listener of /linux/seccomp"
                        }
                        Before::Drop | Before::Birth | Before::Exec => {
                            "set /process/noNewPrivileges to true, or remove /hooks/startContainer"
                        }
                    },
                ));
            }
        }
        Ok((Self { landlock, moment }, warnings))
    }

    /// Applies the locks before a birth that they permit.
    pub(crate) fn before(mut self, birth: Birth) -> Self {
        if self.moment == Before::Exec && birth == (Birth::Last { locked: true }) {
            self.moment = Before::Birth;
        }
        self
    }

    /// Whether the locks apply when the program is looked up.
    pub(crate) fn precede_look_up(&self) -> bool {
        self.moment == Before::Drop
    }

    /// The sentence for a failure of [`Locks::make`].
    pub(crate) fn describe(&self, failed: &Failed) -> String {
        match &self.landlock {
            Some(landlock) => landlock.describe(failed),
            None => failed.call.name().to_owned(),
        }
    }

    /// What to add to the sentence for a failed exec.
    pub(crate) fn exec_hint(&self, failure: &Failure) -> &'static str {
        self.landlock.as_ref().map_or("", |_| exec_hint(failure))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match self.moment {
            Before::Drop => "before the capabilities are dropped",
            Before::Ready => "before init is ready",
            Before::Birth => "before the process is made in the PID namespace",
            Before::Exec => "before the exec",
        };
        match &self.landlock {
            Some(landlock) => write!(f, "Landlock and filter begin {moment}\n{landlock}"),
            None => writeln!(f, "the filter begins {moment}"),
        }
    }
}

fn conflict(message: &str, hint: &str) -> Error {
    let place = spec::landlock::pointer("");
    Diagnostic::new(Code::Conflict, place, message)
        .hint(hint)
        .into()
}

/// The locks of a container, in init, until they are applied.
pub(crate) struct Locks<'a> {
    moment: Before,
    ruleset: Option<Ruleset>,
    filter: Option<&'a seccomp::Plan>,
}

impl<'a> Locks<'a> {
    /// Makes the ruleset from the files of the finished tree, before the filter and the drop of
    /// capabilities can prevent it.
    pub(crate) fn make(
        plan: &Plan,
        filter: Option<&'a seccomp::Plan>,
        root: &RootFd,
    ) -> Result<Self, Failure> {
        let ruleset = match &plan.landlock {
            Some(landlock) => {
                let made = landlock.make(|path| root.open(path, OpenFlags::PATH));
                Some(made.map_err(Failure::at(Phase::Landlock))?)
            }
            None => None,
        };
        Ok(Self {
            moment: plan.moment,
            ruleset,
            filter,
        })
    }

    /// The filter for the startContainer hooks, if it is not in force when they run. It then begins
    /// at the exec, together with Landlock, which must not confine the hooks.
    pub(crate) fn of_hooks(&self) -> Option<&'a seccomp::Plan> {
        self.filter.filter(|_| self.moment == Before::Exec)
    }

    /// Applies the locks if this is their moment. The descriptor of the filter's notifications goes
    /// to the runtime at once: until the listener has it, no notification of the filter is
    /// answered.
    pub(crate) fn shut_before(&mut self, moment: Before, link: &Link<Init>) -> Result<(), Failed> {
        if self.moment != moment {
            return Ok(());
        }
        if let Some(ruleset) = self.ruleset.take() {
            ruleset.enforce()?;
        }
        if let Some(filter) = self.filter
            && let Some(listener) = filter.apply()?
        {
            let lost = |Lost| Failed::of(Call::Send)(Errno::EPIPE);
            link.hand_over(listener, filter.hand_over).map_err(lost)?;
        }
        Ok(())
    }
}

/// What to add to the sentence for a failed exec of a restricted program.
pub(crate) fn exec_hint(failure: &Failure) -> &'static str {
    match (failure.phase, failure.errno()) {
        (Phase::Exec, Errno::EACCES) => {
            "; the annotation dev.locule.landlock has to allow `execute` and `read_file` for the program and its interpreter, and `read_file` for libraries"
        }
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::Host;
    use std::path::Path;

    const NOBODY: SysAdmin = SysAdmin {
        in_init: false,
        in_program: false,
    };
    const INIT: SysAdmin = SysAdmin {
        in_init: true,
        in_program: false,
    };
    const BOTH: SysAdmin = SysAdmin {
        in_init: true,
        in_program: true,
    };

    /// A container that restricts rights that every kernel with Landlock supports; `rest` are
    /// members of the document.
    fn container(no_new_privileges: bool, rest: &str) -> Container {
        let text = format!(
            r#"{{"ociVersion": "1.2.0", "root": {{"path": "rootfs"}},
                "process": {{"cwd": "/", "args": ["sh"], "user": {{"uid": 0, "gid": 0}}, "noNewPrivileges": {no_new_privileges}}},
                "linux": {{"namespaces": [{{"type": "mount"}}]}}{rest},
                "annotations": {{"dev.locule.landlock": "{{\"handledAccessFs\": [\"make_sym\"]}}"}}}}"#
        );
        let loaded = spec::parse(text.as_bytes(), Path::new("/bundle"), Host::Ignore);
        *loaded.unwrap().container
    }

    fn moment(container: &Container, sys_admin: SysAdmin) -> Result<Before, String> {
        Plan::lower(container, None, sys_admin, Some(1))
            .map(|(plan, _)| plan.moment)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn landlock_begins_as_late_as_its_privilege_lasts() {
        let cases = [
            (true, NOBODY, Before::Exec),
            (true, INIT, Before::Exec),
            (false, INIT, Before::Drop),
            (false, BOTH, Before::Exec),
        ];
        for (no_new_privileges, sys_admin, expected) in cases {
            let container = container(no_new_privileges, "");
            assert_eq!(moment(&container, sys_admin), Ok(expected), "{sys_admin:?}");
        }
        assert_eq!(
            moment(&container(false, ""), NOBODY),
            Err("/annotations/dev.locule.landlock#: Landlock needs CAP_SYS_ADMIN, which the runtime does not have, or `noNewPrivileges`; set /process/noNewPrivileges to true [conflict]".into())
        );
    }

    #[test]
    fn hooks_of_the_container_are_refused_where_they_would_be_confined() {
        let hooks = r#", "hooks": {"startContainer": [{"path": "/bin/true"}]}"#;
        assert_eq!(moment(&container(true, hooks), NOBODY), Ok(Before::Exec));
        assert_eq!(moment(&container(false, hooks), BOTH), Ok(Before::Exec));
        let said = moment(&container(false, hooks), INIT).unwrap_err();
        assert!(
            said.contains("startContainer hooks would be confined"),
            "{said}"
        );
        // With a listener the filter, and so Landlock, cannot wait for them either.
        let mut container = container(true, hooks);
        let profile = br#"{"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/x",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}"#;
        container.seccomp = Some(spec::load::parse_seccomp(profile).unwrap().seccomp);
        let filter = seccomp::Plan::lower(&seccomp::Request {
            container: &container,
            id: "box",
            status: spec::state::Status::Creating,
            facts: seccomp::Facts::default(),
        });
        let filter = filter.unwrap();
        let refused = Plan::lower(&container, filter.as_ref(), INIT, Some(1)).unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("the listener of /linux/seccomp")
        );
        container.hooks.start_container.clear();
        let (plan, _) = Plan::lower(&container, filter.as_ref(), INIT, Some(1)).unwrap();
        assert_eq!(plan.moment, Before::Ready);
    }
}
