//! The sentences for failures in init: what, which object, which JSON pointer, why, what to do.
//!
//! People paste an error into a search engine, and engines match some of it. Where runc has a known
//! phrase for the same fact the sentence contains it (docs/errors.md lists them) and says more.

use crate::failure::{Failure, Phase};
use crate::hooks::{self, DefaultEnv};
use crate::{locks, process as room};
use capability::plan::Refused;
use kernel::errno::words;
use kernel::{Call, Errno};
use spec::Container;
use spec::container::Hook;

/// The warning about capabilities that cannot be raised.
pub(crate) fn left_out(refused: &Refused) -> String {
    let Refused {
        set,
        capabilities,
        reason,
    } = refused;
    let what = match *set {
        "ambient" => "can't raise ambient capability, ",
        _ => "",
    };
    format!("/process/capabilities/{set}: {what}{capabilities:?} left out: {reason}")
}

/// The sentence for a failure between the start and the program. The plan no longer exists then, so
/// the sentence uses args[0], and the configuration if it can be read.
pub fn start(failure: &Failure, program: &str, container: Option<&Container>) -> String {
    let hooks: &[Hook] = container.map_or(&[], |container| &container.hooks.start_container);
    let hooks =
        hooks::Plan::lower("startContainer", hooks, DefaultEnv::OfProcess).unwrap_or_default();
    let hint = container
        .and_then(|container| container.landlock.as_ref())
        .map_or("", |_| locks::exec_hint(failure));
    program_or(failure, program, &hooks, hint)
}

/// The sentence for a failure at a hook of the start, at the locks, or at the program.
pub(crate) fn program_or(
    failure: &Failure,
    program: &str,
    hooks: &hooks::Plan,
    hint: &str,
) -> String {
    let errno = failure.errno();
    match (failure.phase, failure.call) {
        (Phase::StartContainer, _) => hooks.describe(&failure.hook()),
        (_, Call::LandlockRestrict) => landlock::describe_restriction(errno),
        (_, Call::Seccomp) => format!("/linux/seccomp: seccomp: {}", words(errno)),
        _ => format!("{}{hint}", of_program(program, failure)),
    }
}

/// The sentence for a program that cannot be run, in the words that engines look for.
fn of_program(program: &str, failure: &Failure) -> String {
    let errno = failure.errno();
    let said = words(errno);
    let why = match (failure.phase, errno) {
        // The look-up has found the program.
        (Phase::Exec, Errno::ENOENT) => format!("{said}: {}", missing_interpreter(failure)),
        (Phase::Exec, Errno::ENOEXEC) => format!(
            "{said}: it is neither a program for this machine's processor nor a script with `#!` in its first line"
        ),
        (_, Errno::ENOENT | Errno::ENOTDIR) if !program.contains('/') => {
            "executable file not found in $PATH".to_owned()
        }
        (_, Errno::ENOENT | Errno::ENOTDIR) => format!("stat {program}: {said}"),
        // execve(2) says EACCES, and those are the words that Docker and Podman know for status
        // 126.
        (_, Errno::EISDIR) => format!("{said}: {}", words(Errno::EACCES)),
        // For a file the errno is EACCES.
        (_, Errno::EPERM) => format!(
            "{said}; a security module forbids the change of labels (with /process/noNewPrivileges, AppArmor needs an unconfined runtime and SELinux needs nnp_transition in its policy), or the filter of /linux/seccomp forbids the call"
        ),
        _ => said,
    };
    format!("exec: \"{}\": {why}", program.escape_debug())
}

/// Why execve(2) does not find a program that exists.
fn missing_interpreter(failure: &Failure) -> String {
    let interpreter = String::from_utf8_lossy(failure.tail.as_bytes());
    let hint = match interpreter.ends_with('\r') {
        true => "; the first line of the script ends with a carriage return, as on Windows",
        false => "",
    };
    match interpreter.is_empty() {
        true => "the file exists, but the interpreter that it names does not".to_owned(),
        false => format!(
            "the file exists, but its interpreter {interpreter:?}, or a file that the interpreter needs, is not in the container{hint}"
        ),
    }
}

/// A hint for a call that a filter forbids before the program is looked up.
pub(crate) const EARLY_FILTER: &str = "; the filter of /linux/seccomp answers this call with that error: it is in force before the program starts, since /process/noNewPrivileges is not true; allow the call, or set noNewPrivileges";

/// The sentence for a limit that cannot be set.
pub(crate) fn limit(index: usize, why: &str) -> String {
    format!("/process/rlimits/{index}: {why}; raising a hard limit needs CAP_SYS_RESOURCE")
}

/// A hint that the errno does not give, for a namespace that cannot be entered.
pub(crate) fn namespace_hint(errno: Errno) -> &'static str {
    match errno {
        Errno::ENOSPC => "; a limit below /proc/sys/user (max_*_namespaces) is reached",
        Errno::EPERM => {
            "; it needs privileges over the namespace, or a user namespace in /linux/namespaces"
        }
        Errno::ENOMEM => "; the init of the pid namespace to join has ended, or memory is short",
        _ => "",
    }
}

/// The sentence for a failure of [`Phase::Process`].
pub(crate) fn process(failure: &Failure, plan: Option<&room::Plan>) -> String {
    let errno = failure.errno();
    let (call, why) = (failure.call.name(), words(errno));
    match (failure.call, plan) {
        (Call::Mkdir | Call::Chdir | Call::Openat2 | Call::Getcwd, Some(plan)) => {
            let (cwd, hint) = (plan.cwd(), cwd_hint(failure.call, errno));
            format!("/process/cwd: chdir to cwd ({cwd:?}) set in config.json failed: {why}{hint}")
        }
        (Call::Scheduler | Call::IoPriority | Call::Affinity | Call::MemoryPolicy, Some(plan)) => {
            plan.describe_attribute(&failure.failed())
        }
        (Call::Setuid | Call::Setgid, Some(plan)) if errno == Errno::EINVAL => {
            let (name, id) = match failure.call {
                Call::Setuid => ("uid", plan.uid()),
                _ => ("gid", plan.gid()),
            };
            format!(
                "/process/user/{name}: cannot set{name} to unmapped {name} {id} in user namespace: {call}: {why}; choose one that its map has"
            )
        }
        (Call::Setgroups, _) if errno == Errno::EINVAL => format!(
            "/process/user/additionalGids: {call}: {why}; the user namespace does not map one of them, or they are more than 65536"
        ),
        (Call::Netlink, _) if failure.index == 1 => {
            format!("/linux/netDevices: make a socket of rtnetlink: {why}")
        }
        _ => format!("{}: {call}: {why}", pointer(failure.call)),
    }
}

/// A hint that the errno does not give, for a working directory that cannot be made or entered.
fn cwd_hint(call: Call, errno: Errno) -> &'static str {
    match errno {
        Errno::ENOTDIR => "; a part of that path is not a directory in the container",
        Errno::ELOOP => {
            "; a symbolic link in that path leads to itself, or through a link of procfs such as /proc/self/fd"
        }
        Errno::ENAMETOOLONG => "; a name has at most 255 bytes, a path 4095",
        Errno::EACCES | Errno::EPERM => {
            "; the container's user may not enter it, or a directory above it"
        }
        Errno::EROFS => "; it does not exist and cannot be made there; make it in the image",
        Errno::ENOENT if call == Call::Mkdir => "; a symbolic link in that path leads to nothing",
        // Only the first process of a container has it made.
        Errno::ENOENT => {
            "; the container has no such directory, or a symbolic link in that path leads to nothing"
        }
        _ => "",
    }
}

/// The sentence for a failure of [`Phase::Verify`].
pub(crate) fn difference(failure: &Failure) -> String {
    let why = match failure.errno() {
        // No call has failed, only the comparison.
        Errno::EPERM => String::new(),
        errno => format!(" ({})", words(errno)),
    };
    let what = room::differing(failure.index);
    format!("verification failed: {what}{why}; refused to run the program")
}

/// The property of the configuration that a call of [`Phase::Process`] applies.
fn pointer(call: Call) -> &'static str {
    match call {
        Call::Sethostname => "/hostname",
        Call::Setdomainname => "/domainname",
        Call::Mkdir | Call::Chdir | Call::Openat2 | Call::Getcwd => "/process/cwd",
        Call::Setuid => "/process/user/uid",
        Call::Setgid => "/process/user/gid",
        Call::Setgroups => "/process/user/additionalGids",
        Call::AmbientRaise => "/process/capabilities/ambient: can't raise ambient capability",
        Call::BoundingDrop | Call::Capset => "/process/capabilities",
        Call::SecureBits => {
            "/process/capabilities: the caller's secure bits are locked, or CAP_SETPCAP is missing to clear them; start the runtime without them"
        }
        Call::NoNewPrivs => "/process/noNewPrivileges",
        Call::Personality => "/linux/personality",
        Call::Seccomp => "/linux/seccomp",
        Call::Netlink => "bring up the loopback link of the new network namespace",
        Call::Receive => "wait for the start",
        _ => "/process",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::Failed;

    #[test]
    fn a_difference_names_what_differs() {
        let said = |index, errno| {
            let failed = Failed::at(Call::Verify, index)(errno);
            difference(&Failure::at(Phase::Verify)(failed))
        };
        assert_eq!(
            said(2, Errno::EPERM),
            "verification failed: the supplementary groups differ from the configuration; refused to run the program"
        );
        assert_eq!(
            said(4, Errno::ENOENT),
            "verification failed: the working directory is outside of the container's root (no such file or directory); refused to run the program"
        );
        let mut all: Vec<_> = (0..=5).map(|index| said(index, Errno::EPERM)).collect();
        all.dedup();
        assert_eq!(all.len(), 6);
    }

    #[test]
    fn a_program_that_was_found_and_is_not_there_lacks_its_interpreter() {
        let said = |phase, program: &str, interpreter: &[u8]| {
            let failed = Failed::of(Call::Exec)(Errno::ENOENT);
            let failure = Failure {
                tail: hooks::Tail::of(interpreter),
                ..Failure::at(phase)(failed)
            };
            of_program(program, &failure)
        };
        assert_eq!(
            said(Phase::Lookup, "sh", b""),
            "exec: \"sh\": executable file not found in $PATH"
        );
        assert_eq!(
            said(Phase::Lookup, "/sh", b""),
            "exec: \"/sh\": stat /sh: no such file or directory"
        );
        assert_eq!(
            said(Phase::Exec, "sh", b"/lib/ld.so"),
            "exec: \"sh\": no such file or directory: the file exists, but its interpreter \"/lib/ld.so\", or a file that the interpreter needs, is not in the container"
        );
        assert!(said(Phase::Exec, "sh", b"").ends_with("the interpreter that it names does not"));
    }
}
