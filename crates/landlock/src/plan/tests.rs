//! Lowering for other kernels, and rulesets of the running kernel.

use super::*;
use kernel::path::{CWD, OpenFlags, Resolve, openat2};
use spec::landlock::DEFAULT_HANDLED_FS;
use std::path::PathBuf;

const NEWEST: Abi = Abi(spec::landlock::NEWEST_ABI);
const TRUNCATE: u64 = 1 << 14;
const REFER: u64 = 1 << 13;

fn rule(path: &str, allowed: u64) -> PathBeneath {
    PathBeneath {
        paths: vec![PathBuf::from(path)],
        allowed,
        named: 0,
        optional: false,
    }
}

fn landlock(mode: Mode) -> Landlock {
    Landlock {
        mode,
        handled_fs: DEFAULT_HANDLED_FS,
        path_beneath: vec![rule("/", 0b1101), rule("/tmp", TRUNCATE)],
        ports: [Some(vec![80, 443, 80]), Some(vec![443]), None, Some(vec![])],
        scoped: 3,
        audit: true,
    }
}

fn lower(landlock: &Landlock, abi: u32) -> (Option<Plan>, Vec<String>) {
    Plan::lower(landlock, Abi(abi)).unwrap()
}

fn refused(landlock: &Landlock, abi: u32) -> String {
    Plan::lower(landlock, Abi(abi)).unwrap_err().to_string()
}

#[test]
fn everything_is_handled_by_a_kernel_that_knows_it() {
    for mode in [Mode::Strict, Mode::BestEffort] {
        let (plan, warnings) = lower(&landlock(mode), NEWEST.0);
        let plan = plan.unwrap();
        assert!(warnings.is_empty());
        let handled = Handled {
            fs: DEFAULT_HANDLED_FS,
            net: 0b1011,
            scoped: 3,
        };
        assert_eq!(plan.handled, handled);
        assert_eq!(plan.flags, RestrictFlags::LOG_NEW_EXEC_ON);
        assert_eq!(plan.ports, [(80, 1), (443, 3)]);
        let paths: Vec<_> = plan.rules.iter().map(|rule| &*rule.path).collect();
        assert_eq!(paths, [c"/", c"/tmp"]);
    }
}

#[test]
fn strict_names_what_the_kernel_does_not_know() {
    let cases = [
        (
            0,
            "#: this kernel has no Landlock: it is not built in, or not in the list `lsm=` of the kernel command line; leave it out",
        ),
        (
            1,
            "#/handledAccessFs: this kernel's Landlock has ABI 1 and does not know `refer` (ABI 2, Linux 5.19), `truncate` (ABI 3, Linux 6.2), `bindTcp` (ABI 4, Linux 6.7), `connectTcp`",
        ),
        (
            3,
            "#/bindTcp: this kernel's Landlock has ABI 3 and does not know `bindTcp` (ABI 4, Linux 6.7)",
        ),
        (
            5,
            "#/connectSendUdp: this kernel's Landlock has ABI 5 and does not know `connectSendUdp` (ABI 10, Linux 7.2), `abstract_unix_socket` (ABI 6, Linux 6.12), `signal` (ABI 6, Linux 6.12), `audit` (ABI 7, Linux 6.15)",
        ),
        (
            9,
            "#/connectSendUdp: this kernel's Landlock has ABI 9 and does not know `connectSendUdp` (ABI 10, Linux 7.2); leave it out, or set `\"mode\": \"bestEffort\"` to run without it [host]",
        ),
    ];
    for (abi, sentence) in cases {
        let said = refused(&landlock(Mode::Strict), abi);
        let rest = said.strip_prefix("/annotations/dev.locule.landlock");
        assert!(
            rest.is_some_and(|rest| rest.starts_with(sentence)),
            "{said}"
        );
    }
}

#[test]
fn best_effort_leaves_out_what_the_kernel_does_not_know_and_says_so() {
    let landlock = landlock(Mode::BestEffort);
    let (plan, warnings) = lower(&landlock, 4);
    let plan = plan.unwrap();
    let handled = Handled {
        fs: DEFAULT_HANDLED_FS,
        net: 0b11,
        scoped: 0,
    };
    assert_eq!(plan.handled, handled);
    assert_eq!(plan.flags, RestrictFlags::empty());
    assert_eq!(warnings.len(), 1);
    for word in [
        "#/connectSendUdp: ",
        "`signal`",
        "`audit` (ABI 7, Linux 6.15)",
        "left out",
    ] {
        assert!(warnings[0].contains(word), "{warnings:?}");
    }
    // A rule without remaining rights is removed too: a right that is not denied needs no rule.
    let plan = lower(&landlock, 1).0.unwrap();
    assert_eq!(plan.handled.fs, DEFAULT_HANDLED_FS & !TRUNCATE & !REFER);
    assert_eq!(plan.rules.len(), 1);
    assert!(plan.ports.is_empty());
}

#[test]
fn best_effort_without_landlock_is_no_plan() {
    let (plan, warnings) = lower(&landlock(Mode::BestEffort), 0);
    assert_eq!(plan, None);
    assert!(warnings[0].contains("no Landlock") && warnings[0].ends_with("left out"));
    let mut only_signals = landlock(Mode::BestEffort);
    only_signals.handled_fs = 0;
    only_signals.path_beneath.clear();
    only_signals.ports = [const { None }; 4];
    assert_eq!(lower(&only_signals, 5).0, None);
    assert!(lower(&only_signals, 6).0.is_some());
}

#[test]
fn more_paths_than_a_failure_can_tell_apart_are_refused() {
    let mut landlock = landlock(Mode::Strict);
    landlock.path_beneath[0].paths = vec![PathBuf::from("/"); PATHS];
    let said = refused(&landlock, NEWEST.0);
    let start = "/annotations/dev.locule.landlock#/pathBeneath: 65536 paths";
    assert!(said.starts_with(start), "{said}");
}

#[test]
fn rights_of_directories_are_refused_for_files_when_they_are_named() {
    let rule = |allowed, named| Rule {
        path: c"/f".into(),
        place: (2, 1),
        allowed,
        named,
        missing: Missing::Fails,
    };
    let read = rule(0b1100, 0);
    assert_eq!(read.allowed_for(FileKind::Directory), Ok(0b1100));
    assert_eq!(read.allowed_for(FileKind::Regular), Ok(0b100));
    assert_eq!(read.allowed_for(FileKind::Char), Ok(0b100));
    let listing = rule(0b1000, 0);
    assert_eq!(listing.allowed_for(FileKind::Regular), Err(Errno::ENOTDIR));
    let named = rule(0b1100, 0b1000);
    assert_eq!(named.allowed_for(FileKind::Directory), Ok(0b1100));
    assert_eq!(named.allowed_for(FileKind::Socket), Err(Errno::ENOTDIR));
    let failed = Failed::of(Call::LandlockAdd)(Errno::ENOTDIR);
    assert_eq!(
        named.describe(&failed, ""),
        "/annotations/dev.locule.landlock#/pathBeneath/2/allowedAccess: `read_dir` applies only to directories, and \"/f\" is another type of file"
    );
    assert!(
        listing
            .describe(&failed, "")
            .contains("each of these rights")
    );
}

/// The kernel's answer for these rules, if it has Landlock.
fn make(beneath: Vec<PathBeneath>) -> Option<(Plan, Result<Ruleset, Failed>)> {
    let landlock = Landlock {
        handled_fs: DEFAULT_HANDLED_FS & !TRUNCATE & !REFER,
        path_beneath: beneath,
        ports: [const { None }; 4],
        scoped: 0,
        audit: false,
        mode: Mode::BestEffort,
    };
    let Some(plan) = lower(&landlock, Abi::probe().0).0 else {
        println!("skipped: this kernel has no Landlock");
        return None;
    };
    let open = |path: &CStr| openat2(CWD, path, OpenFlags::PATH, 0, Resolve::NO_MAGICLINKS);
    let made = plan.make(open);
    Some((plan, made))
}

#[test]
fn a_missing_path_is_named_or_passed_over() {
    let missing = || rule("/dev/null/there/is/none", 4);
    let Some((plan, made)) = make(vec![rule("/", 4), missing()]) else {
        return;
    };
    let failed = made.unwrap_err();
    assert_eq!((failed.call, failed.index), (Call::Openat2, 1));
    assert_eq!(
        plan.describe(&failed),
        "/annotations/dev.locule.landlock#/pathBeneath/1/paths/0: \"/dev/null/there/is/none\": openat2: not a directory; make it, or give the rule `\"optional\": true`"
    );
    let mut optional = missing();
    optional.optional = true;
    let made = make(vec![rule("/", 4), optional]);
    assert!(made.is_some_and(|(_, made)| made.is_ok()));
}

#[test]
fn files_of_every_kind_have_rules() {
    let paths = ["/", "/etc/passwd", "/dev/null", "/proc/self/status"];
    if let Some((plan, made)) = make(paths.map(|path| rule(path, 0b1111)).into()) {
        made.map_err(|failed| plan.describe(&failed)).unwrap();
    }
    // A magic link is refused by the look-up.
    if let Some((plan, made)) = make(vec![rule("/proc/self/ns/net", 0b100)]) {
        let said = plan.describe(&made.unwrap_err());
        assert!(said.contains("not followed"), "{said}");
    }
}

#[test]
fn failures_without_a_path_are_sentences_too() {
    let plan = lower(&landlock(Mode::Strict), NEWEST.0).0.unwrap();
    let said = |call, index, errno| plan.describe(&Failed::at(call, index)(errno));
    assert_eq!(
        said(Call::LandlockCreate, 0, Errno::ENOMEM),
        "/annotations/dev.locule.landlock#: landlock_create_ruleset: cannot allocate memory"
    );
    assert!(said(Call::LandlockPort, 443, Errno::EAFNOSUPPORT).contains("port 443: "));
    for (errno, hint) in [
        (Errno::EPERM, "noNewPrivileges"),
        (Errno::E2BIG, "16 rulesets"),
        (Errno::ENOSYS, "seccomp"),
    ] {
        assert!(describe_restriction(errno).contains(hint));
    }
}
