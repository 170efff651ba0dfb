//! The results of lowering a container's filter.

#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(clippy::unwrap_used)]

mod common;

use common::{DOCKER, profile, read, rule};
use kernel::seccomp::FilterFlags;
use seccomp::{FAIL_UNKNOWN_ANNOTATION, Facts, HandOver, Moment, Plan, Request};
use spec::container::{Container, Seccomp, SeccompAction, SeccompFlag, SeccompOp};
use spec::state::Status;
use spec::{Host, parse};
use std::path::Path;

const ALLOW: SeccompAction = SeccompAction::Allow;
const EPERM: SeccompAction = SeccompAction::Errno(1);

fn container(seccomp: Option<Seccomp>) -> Container {
    let document = br#"{"ociVersion": "1.3.0", "root": {"path": "rootfs"},
        "process": {"cwd": "/", "args": ["true"]}}"#;
    let loaded = parse(document, Path::new("/bundle"), Host::Ignore).unwrap();
    Container {
        seccomp,
        ..*loaded.container
    }
}

fn lower(container: &Container) -> Result<Option<Plan>, spec::Diagnostic> {
    Plan::lower(&Request {
        container,
        id: "box",
        status: Status::Creating,
        facts: Facts {
            wait_killable_recv: true,
        },
    })
}

fn plan(profile: Seccomp) -> Plan {
    lower(&container(Some(profile))).unwrap().unwrap()
}

/// The pointer and the message of an error of lowering.
fn refused(container: &Container) -> (String, String) {
    let problem = lower(container).unwrap_err();
    (problem.pointer, problem.message)
}

fn notifying(names: &[&str]) -> Seccomp {
    let rules = vec![
        rule(&["read"], EPERM, &[]),
        rule(names, SeccompAction::Notify, &[]),
    ];
    let mut profile = profile(ALLOW, rules);
    profile.listener_path = Some("/run/agent.sock".into());
    profile
}

#[test]
fn container_without_a_profile_has_no_plan() {
    assert_eq!(lower(&container(None)), Ok(None));
}

#[test]
fn filter_is_loaded_before_capabilities_are_dropped_unless_no_new_privileges() {
    let mut container = container(Some(read(DOCKER)));
    assert_eq!(
        lower(&container).unwrap().unwrap().moment,
        Moment::BeforeCapabilities
    );
    container.process.as_mut().unwrap().no_new_privileges = true;
    assert_eq!(
        lower(&container).unwrap().unwrap().moment,
        Moment::AfterCapabilities
    );
}

#[test]
fn absent_flags_mean_spec_allow_and_empty_ones_nothing() {
    let mut profile = read(DOCKER);
    assert_eq!(plan(profile.clone()).flags, FilterFlags::SPEC_ALLOW);
    profile.flags = Some(Vec::new());
    assert_eq!(plan(profile.clone()).flags, FilterFlags::empty());
    profile.flags = Some(vec![
        SeccompFlag::SeccompFilterFlagTsync,
        SeccompFlag::SeccompFilterFlagLog,
        SeccompFlag::SeccompFilterFlagWaitKillableRecv,
    ]);
    assert_eq!(plan(profile).flags, FilterFlags::LOG);
}

#[test]
fn notify_asks_for_a_listener() {
    let mut profile = notifying(&["mkdir"]);
    profile.flags = Some(vec![SeccompFlag::SeccompFilterFlagWaitKillableRecv]);
    profile.listener_metadata = Some("note".into());
    let plan = plan(profile);
    assert_eq!(
        plan.flags,
        FilterFlags::NEW_LISTENER | FilterFlags::WAIT_KILLABLE_RECV
    );
    let message = plan.listener.unwrap().message(7, 8);
    let expected = "{\"ociVersion\":\"1.3.0\",\"fds\":[\"seccompFd\"],\"metadata\":\"note\",\
        \"state\":{\"ociVersion\":\"1.3.0\",\"id\":\"box\",\"status\":\"creating\",\
        \"pid\":7,\"bundle\":\"/bundle\"},\"pid\":8}";
    assert_eq!(message, expected);
}

#[test]
fn listener_path_without_notify_is_no_listener() {
    let mut profile = read(DOCKER);
    profile.listener_path = Some("/run/agent.sock".into());
    let plan = plan(profile);
    assert_eq!((plan.listener, plan.flags), (None, FilterFlags::SPEC_ALLOW));
}

#[test]
fn the_listener_is_handed_over_by_a_call_that_nobody_is_asked_about() {
    let way = |names: &[&str]| plan(notifying(names)).hand_over;
    assert_eq!(way(&["mkdir"]), HandOver::WithMessage);
    assert_eq!(way(&["mkdir", "sendmsg"]), HandOver::ByNumber);
}

#[test]
fn notify_needs_a_listener_path() {
    let mut profile = notifying(&["mkdir"]);
    profile.listener_path = None;
    assert_eq!(refused(&container(Some(profile))).0, "/linux/seccomp");
}

#[test]
fn listener_path_is_one_that_a_socket_can_have() {
    let mut profile = notifying(&["mkdir"]);
    profile.listener_path = Some("relative".into());
    assert_eq!(
        refused(&container(Some(profile.clone()))).0,
        "/linux/seccomp/listenerPath"
    );
    profile.listener_path = Some(format!("/{}", "x".repeat(107)).into());
    let (pointer, message) = refused(&container(Some(profile)));
    assert_eq!(pointer, "/linux/seccomp/listenerPath");
    assert_eq!(
        message,
        "the path of a socket has at most 107 bytes, not 108"
    );
}

#[test]
fn unknown_name_is_skipped_unless_an_annotation_forbids_it() {
    let rules = vec![rule(&["read", "reed"], EPERM, &[])];
    let mut container = container(Some(profile(ALLOW, rules)));
    let pointer = "/linux/seccomp/syscalls/0/names".to_owned();
    let unknown = lower(&container).unwrap().unwrap().unknown;
    assert_eq!(unknown, [(pointer.clone(), "reed".to_owned())]);
    container
        .annotations
        .insert(FAIL_UNKNOWN_ANNOTATION.into(), "1".into());
    let message = "system call \"reed\" is unknown on every architecture".to_owned();
    assert_eq!(refused(&container), (pointer, message));
}

#[test]
fn profile_that_is_too_long_is_refused_with_the_count() {
    let equal = |value| rule(&["read"], EPERM, &[(0, SeccompOp::ScmpCmpEq, value, 0)]);
    let profile = profile(ALLOW, (0..3000).map(equal).collect());
    let (pointer, message) = refused(&container(Some(profile)));
    assert_eq!(pointer, "/linux/seccomp/syscalls");
    assert!(
        message.starts_with("the filter needs ")
            && message.ends_with("the kernel accepts at most 4096")
    );
}

/// The process of `exec` is made under the filter of engines, so it uses clone(2).
#[test]
fn a_plan_knows_what_its_filter_allows() {
    let plan = plan(read(DOCKER));
    assert!(plan.allows("clone", [0x8000, 0, 0, 0, 0, 0]));
    assert!(!plan.allows("clone", [0x1000_0000, 0, 0, 0, 0, 0]));
    assert!(!plan.allows("clone3", [0; 6]));
    assert!(plan.allows("setsid", [0; 6]));
    assert!(!plan.allows("no_such_call", [0; 6]));
}
