//! Filters that the kernel enforces on a child of this program.
//!
//! A separate program without the test harness, since a clone needs a process with one thread.

#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::machine::check;
use common::{DOCKER, PODMAN, profile, read, rule};
use kernel::Errno;
use kernel::clone::{Block, CloneOptions, Exit, NamespaceFlags, Side, SingleThread, Target};
use kernel::process::CStringArray;
use kernel::seccomp::FilterFlags;
use libseccomp::{ScmpNotifReq, ScmpNotifResp, ScmpNotifRespFlags};
use nix::sys::personality::{Persona, set};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::socket::{Backlog, ControlMessageOwned, MsgFlags, listen, recvmsg};
use seccomp::notify::Listener;
use seccomp::syscalls::{Arch, Syscall};
use spec::container::{Seccomp, SeccompAction, SeccompArch, SeccompOp};
use spec::state::{StateText, Status};
use spec::{Host, parse};
use std::ffi::CString;
use std::io::IoSliceMut;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use std::time::Duration;

const ALLOW: SeccompAction = SeccompAction::Allow;

/// Runs `work` in a child and returns how the child ended.
fn in_child(work: impl FnOnce() -> u8) -> Exit {
    let proof = SingleThread::prove().unwrap();
    let options = CloneOptions {
        namespaces: NamespaceFlags::empty(),
        cgroup: None,
        sibling: false,
    };
    match kernel::clone::clone(&proof, options).unwrap() {
        Side::Child(_) => kernel::process::exit_now(work()),
        Side::Parent(child) => {
            let target = Target::Pidfd(child.pidfd.as_fd());
            kernel::clone::wait(target, Block::Yes).unwrap().unwrap().1
        }
    }
}

fn load(profile: &Seccomp) {
    let filter = seccomp::compile(profile).unwrap();
    set_no_new_privs().unwrap();
    let fd = kernel::seccomp::load(&filter.program, FilterFlags::SPEC_ALLOW).unwrap();
    assert!(fd.is_none());
}

/// Runs a program under a filter.
fn run_under(profile: &Seccomp, words: &[&str]) -> Exit {
    in_child(|| {
        let words: Vec<_> = words
            .iter()
            .map(|word| CString::new(*word).unwrap())
            .collect();
        let program = words[0].clone();
        let args = CStringArray::new(words);
        load(profile);
        let _errno = kernel::process::execve(&program, &args, &CStringArray::new(Vec::new()));
        99
    })
}

fn personality(domain: i32) -> Result<(), Errno> {
    set(Persona::from_bits_retain(domain)).map(drop)
}

fn blocked_call_gets_its_errno() {
    let args = &[(0, SeccompOp::ScmpCmpEq, 8, 0)];
    let profile = profile(
        ALLOW,
        vec![rule(&["personality"], SeccompAction::Errno(71), args)],
    );
    let exit = in_child(|| {
        load(&profile);
        let blocked = personality(8) == Err(Errno::EPROTO);
        let other = personality(0) == Ok(());
        u8::from(blocked && other)
    });
    assert_eq!(exit, Exit::Code(1));
}

fn killed_process_is_seen_as_killed_by_sigsys() {
    for action in [
        SeccompAction::KillProcess,
        SeccompAction::KillThread,
        SeccompAction::Trap,
    ] {
        let profile = profile(ALLOW, vec![rule(&["personality"], action, &[])]);
        let exit = in_child(|| {
            load(&profile);
            u8::from(personality(0).is_ok())
        });
        assert_eq!(exit, Exit::Signal(libc::SIGSYS), "{action:?}");
    }
}

fn traced_call_without_a_tracer_fails_with_enosys() {
    let profile = profile(
        ALLOW,
        vec![rule(&["personality"], SeccompAction::Trace(5), &[])],
    );
    let exit = in_child(|| {
        load(&profile);
        u8::from(personality(0) == Err(Errno::ENOSYS))
    });
    assert_eq!(exit, Exit::Code(1));
}

fn engines_profiles_load_and_let_a_program_run() {
    for json in [DOCKER, PODMAN] {
        assert_eq!(run_under(&read(json), &["/bin/true"]), Exit::Code(0));
    }
}

fn kernel_refuses_what_the_checker_refuses() {
    let program = seccomp::compile(&read(DOCKER)).unwrap().program;
    let cut = &program[..program.len() - 1];
    assert!(check(cut).is_err());
    let exit = in_child(|| {
        set_no_new_privs().unwrap();
        let refused = kernel::seccomp::load(cut, FilterFlags::empty());
        u8::from(matches!(refused, Err(Errno::EINVAL)))
    });
    assert_eq!(exit, Exit::Code(1));
}

fn kernel_knows_every_action_and_flag_of_ours() {
    assert!(kernel::seccomp::flags_available(
        FilterFlags::LOG | FilterFlags::SPEC_ALLOW
    ));
    assert!(!kernel::seccomp::flags_available(
        FilterFlags::from_bits_retain(1 << 30)
    ));
}

/// The probe, built from its C source.
static PROBE: LazyLock<PathBuf> = LazyLock::new(|| {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("probe");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/probe.c");
    let status = Command::new("cc")
        .arg("-o")
        .arg(&program)
        .arg(source)
        .status()
        .unwrap();
    assert!(status.success());
    program
});

/// The probe's answer under a filter.
fn probe(profile: &Seccomp, entry: &str, number: u32, first: &str) -> Result<i64, Exit> {
    let (program, output) = (&*PROBE, PROBE.with_extension("output"));
    let shell = format!(
        "exec {} {entry} {number} {first} > {}",
        program.display(),
        output.display()
    );
    match run_under(profile, &["/bin/sh", "-c", &shell]) {
        Exit::Code(0) => Ok(std::fs::read_to_string(&output)
            .unwrap()
            .trim()
            .parse::<i64>()
            .unwrap()),
        exit => Err(exit),
    }
}

fn every_entry_of_x86_64_is_filtered() {
    if Arch::NATIVE != Arch(SeccompArch::ScmpArchX86_64) {
        return;
    }
    let args = &[(0, SeccompOp::ScmpCmpEq, 0xffff_ffff, 0)];
    let mut profile = profile(
        ALLOW,
        vec![rule(&["personality"], SeccompAction::Errno(71), args)],
    );
    let number = |arch: SeccompArch| {
        Syscall::named("personality")
            .unwrap()
            .number(Arch(arch))
            .unwrap()
            & 0xffff
    };
    let (x86_64, x86, x32) = (
        number(SeccompArch::ScmpArchX86_64),
        number(SeccompArch::ScmpArchX86),
        number(SeccompArch::ScmpArchX32),
    );
    let killed = Err(Exit::Signal(libc::SIGSYS));
    assert_eq!(probe(&profile, "64", x86_64, "0xffffffff"), Ok(-71));
    assert_eq!(probe(&profile, "32", x86, "0xffffffff"), killed);
    assert_eq!(probe(&profile, "x32", x32, "0xffffffff"), killed);
    profile.architectures = vec![SeccompArch::ScmpArchX86, SeccompArch::ScmpArchX32];
    assert_eq!(probe(&profile, "32", x86, "0xffffffff"), Ok(-71));
    assert_eq!(probe(&profile, "x32", x32, "0xffffffff"), Ok(-71));
}

fn newer_call_than_the_profile_gets_enosys() {
    if Arch::NATIVE != Arch(SeccompArch::ScmpArchX86_64) {
        return;
    }
    let mut docker = read(DOCKER);
    // A call that this kernel has, newer than all calls that the profile names.
    for rule in &mut docker.syscalls {
        rule.names.retain(|name| {
            Syscall::named(name)
                .and_then(|call| call.number(Arch::NATIVE))
                .is_some_and(|number| number < 425)
        });
    }
    assert_eq!(probe(&docker, "64", 434, "1"), Ok(-38));
    let kexec_load = 246;
    assert_eq!(probe(&docker, "64", kexec_load, "0"), Ok(-1));
}

fn state() -> StateText {
    let container =
        r#"{"ociVersion": "1.2.0", "root": {"path": "r"}, "annotations": {"key": "va\"lue"}}"#;
    let container = parse(container.as_bytes(), Path::new("/b"), Host::Ignore);
    StateText::new(&container.unwrap().container, "box", Status::Creating)
}

fn socket_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("seccomp-{}-{name}", std::process::id()))
}

fn listener_gets_the_state_and_answers_calls() {
    let path = socket_path("answers");
    let server = UnixListener::bind(&path).unwrap();
    let profile = profile(
        ALLOW,
        vec![rule(&["personality"], SeccompAction::Notify, &[])],
    );
    let program = seccomp::compile(&profile).unwrap().program;
    let listener = Listener::new(path.clone(), Some("meta\n"), &state()).unwrap();
    let proof = SingleThread::prove().unwrap();
    let options = CloneOptions {
        namespaces: NamespaceFlags::empty(),
        cgroup: None,
        sibling: false,
    };
    let Side::Parent(child) = kernel::clone::clone(&proof, options).unwrap() else {
        set_no_new_privs().unwrap();
        let fd = kernel::seccomp::load(&program, FilterFlags::NEW_LISTENER)
            .unwrap()
            .unwrap();
        listener
            .send(fd.as_fd(), (41, 42), Duration::from_secs(5))
            .unwrap();
        drop(fd);
        let answered = personality(0) == Err(Errno::EPROTO);
        // The listener has ended, so there are no more answers.
        let gone = personality(0) == Err(Errno::ENOSYS);
        kernel::process::exit_now(u8::from(answered && gone))
    };
    let (connection, _) = server.accept().unwrap();
    let (mut bytes, mut space) = ([0; 4096], nix::cmsg_space!([i32; 2]));
    let (length, fd) = {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC;
        let message =
            recvmsg::<()>(connection.as_raw_fd(), &mut parts, Some(&mut space), flags).unwrap();
        let Some(ControlMessageOwned::ScmRights(fds)) = message.cmsgs().unwrap().next() else {
            panic!("no descriptor");
        };
        assert_eq!(fds.len(), 1);
        (message.bytes, fds[0])
    };
    let message: serde_json::Value = serde_json::from_slice(&bytes[..length]).unwrap();
    assert_eq!(
        message,
        serde_json::json!({
            "ociVersion": "1.3.0", "fds": ["seccompFd"], "pid": 42, "metadata": "meta\n",
            "state": {
                "ociVersion": "1.2.0", "id": "box", "status": "creating", "pid": 41, "bundle": "/b",
                "annotations": {"key": "va\"lue"},
            },
        })
    );
    let request = ScmpNotifReq::receive(fd).unwrap();
    let response = ScmpNotifResp::new_error(request.id, -libc::EPROTO, ScmpNotifRespFlags::empty());
    response.respond(fd).unwrap();
    nix::unistd::close(fd).unwrap();
    let target = Target::Pidfd(child.pidfd.as_fd());
    let exit = kernel::clone::wait(target, Block::Yes).unwrap().unwrap().1;
    assert_eq!(exit, Exit::Code(1));
    std::fs::remove_file(path).unwrap();
}

fn missing_or_full_listener_is_an_error_in_time() {
    let missing = Listener::new(socket_path("missing"), None, &state()).unwrap();
    let fd = std::io::stdin();
    let wait = Duration::from_millis(50);
    let sent = missing.send(fd.as_fd(), (1, 1), wait);
    let expected = format!("failed to connect with seccomp agent {:?}", missing.path());
    assert_eq!(sent.unwrap_err().to_string(), expected);

    // No process accepts connections: the queue fills, and the next connection waits no longer than
    // the limit.
    let path = socket_path("full");
    let server = UnixListener::bind(&path).unwrap();
    listen(&server, Backlog::new(0).unwrap()).unwrap();
    let full = Listener::new(path.clone(), None, &state()).unwrap();
    assert_eq!(full.send(fd.as_fd(), (1, 1), wait), Ok(()));
    let start = std::time::Instant::now();
    let errors: Vec<_> = (0..3)
        .filter_map(|_| full.send(fd.as_fd(), (1, 1), wait).err())
        .collect();
    assert!(!errors.is_empty() && start.elapsed() < Duration::from_secs(5));
    std::fs::remove_file(path).unwrap();
}

fn main() {
    let facts: &[(&str, fn())] = &[
        ("blocked_call_gets_its_errno", blocked_call_gets_its_errno),
        (
            "killed_process_is_seen_as_killed_by_sigsys",
            killed_process_is_seen_as_killed_by_sigsys,
        ),
        (
            "traced_call_without_a_tracer_fails_with_enosys",
            traced_call_without_a_tracer_fails_with_enosys,
        ),
        (
            "engines_profiles_load_and_let_a_program_run",
            engines_profiles_load_and_let_a_program_run,
        ),
        (
            "kernel_refuses_what_the_checker_refuses",
            kernel_refuses_what_the_checker_refuses,
        ),
        (
            "kernel_knows_every_action_and_flag_of_ours",
            kernel_knows_every_action_and_flag_of_ours,
        ),
        (
            "every_entry_of_x86_64_is_filtered",
            every_entry_of_x86_64_is_filtered,
        ),
        (
            "newer_call_than_the_profile_gets_enosys",
            newer_call_than_the_profile_gets_enosys,
        ),
        (
            "listener_gets_the_state_and_answers_calls",
            listener_gets_the_state_and_answers_calls,
        ),
        (
            "missing_or_full_listener_is_an_error_in_time",
            missing_or_full_listener_is_an_error_in_time,
        ),
    ];
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'))
        .collect();
    for (name, fact) in facts {
        if wanted.is_empty() || wanted.iter().any(|word| name.contains(word.as_str())) {
            fact();
            println!("test {name} ... ok");
        }
    }
}
