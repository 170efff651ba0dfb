//! Rules of the configuration: filters.

use crate::container::{SeccompAction, SeccompArch, SeccompFlag, SeccompOp};
use crate::diagnostic::Code;
use crate::validate::tests::{accepted, document, judge, refuses};

#[test]
fn filters_are_words_and_numbers() {
    let place = "/linux/seccomp";
    refuses(
        r#"
        /linux/seccomp = {}
            -> missing /linux/seccomp : `defaultAction`
        /linux/seccomp = []
            -> type /linux/seccomp : expected an object
        /linux/seccomp = {"defaultAction": "SCMP_ACT_ALOW"}
            -> unknown-value /linux/seccomp/defaultAction : did you mean `SCMP_ACT_ALLOW`?
        /linux/seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "defaultErrnoRet": 1}
            -> conflict /linux/seccomp/defaultErrnoRet : SCMP_ACT_ERRNO
        /linux/seccomp = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 4096}
            -> range /linux/seccomp/defaultErrnoRet : 4095
        /linux/seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["X86"]}
            -> unknown-value /linux/seccomp/architectures/0 : X86
        /linux/seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["LOG"]}
            -> unknown-value /linux/seccomp/flags/0 : SECCOMP_FILTER_FLAG_LOG
        /linux/seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]}
            -> conflict /linux/seccomp : SCMP_ACT_NOTIFY
        /linux/seccomp = {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/s"}
            -> conflict /linux/seccomp : default action
        /linux/seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "s"}
            -> path /linux/seccomp/listenerPath : absolute
        /linux/seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "listenerMetadata": "m"}
            -> conflict /linux/seccomp/listenerMetadata : listenerPath
        /linux/seccomp = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_NATIVE"]}
            -> unknown-value /linux/seccomp/architectures/0 : leave it out
        "#,
    );
    let seccomp =
        "{\"defaultAction\": \"SCMP_ACT_TRACE\", \"defaultErrnoRet\": 65535, \"flags\": [],
        \"architectures\": [\"SCMP_ARCH_X86\", \"SCMP_ARCH_X86\", \"SCMP_ARCH_AARCH64\"]}";
    let found = accepted(&[(place, seccomp)]).seccomp.unwrap();
    assert_eq!(found.default_action, SeccompAction::Trace(65535));
    assert_eq!(
        found.architectures,
        [SeccompArch::ScmpArchX86, SeccompArch::ScmpArchAarch64]
    );
    assert_eq!(found.flags, Some(vec![]));
    let found = accepted(&[(place, "{\"defaultAction\": \"SCMP_ACT_ERRNO\"}")])
        .seccomp
        .unwrap();
    assert_eq!(
        (found.default_action, found.flags),
        (SeccompAction::Errno(1), None)
    );
}

/// `linux.seccomp` with one rule.
fn with_rule(rule: &str) -> String {
    format!("{{\"defaultAction\": \"SCMP_ACT_ALLOW\", \"syscalls\": [{rule}]}}")
}

#[test]
fn rules_of_filters_have_names_and_sound_arguments() {
    let cases = [
        (
            "{\"action\": \"SCMP_ACT_LOG\"}",
            Code::Missing,
            "",
            "`names`",
        ),
        (
            "{\"names\": [], \"action\": \"SCMP_ACT_LOG\"}",
            Code::Range,
            "/names",
            "at least one",
        ),
        (
            "{\"names\": [\"\"], \"action\": \"SCMP_ACT_LOG\"}",
            Code::Range,
            "/names/0",
            "empty",
        ),
        ("{\"names\": [\"a\"]}", Code::Missing, "", "`action`"),
        (
            "{\"names\": [\"a\"], \"action\": \"SCMP_ACT_KILL\", \"errnoRet\": 1}",
            Code::Conflict,
            "/errnoRet",
            "SCMP_ACT_TRACE",
        ),
        (
            "{\"names\": [\"a\"], \"action\": \"SCMP_ACT_LOG\", \"args\": [{\"index\": 6, \"value\": 1, \"op\": \"SCMP_CMP_EQ\"}]}",
            Code::Range,
            "/args/0/index",
            "from 0 to 5",
        ),
        (
            "{\"names\": [\"a\"], \"action\": \"SCMP_ACT_LOG\", \"args\": [{\"index\": 0, \"value\": -1, \"op\": \"SCMP_CMP_EQ\"}]}",
            Code::Range,
            "/args/0/value",
            "-1",
        ),
        (
            "{\"names\": [\"a\"], \"action\": \"SCMP_ACT_LOG\", \"args\": [{\"index\": 0, \"value\": 1, \"op\": \"EQ\"}]}",
            Code::UnknownValue,
            "/args/0/op",
            "SCMP_CMP_EQ",
        ),
        (
            "{\"names\": [\"a\"], \"action\": \"SCMP_ACT_LOG\", \"args\": [{\"index\": 0, \"op\": \"SCMP_CMP_EQ\"}]}",
            Code::Missing,
            "/args/0",
            "`value`",
        ),
    ];
    for (rule, code, place, words) in cases {
        let (_, report) = judge(&document(&[("/linux/seccomp", &with_rule(rule))]));
        let [error] = report.errors.as_slice() else {
            panic!("{rule}: {report}")
        };
        assert_eq!(error.code, code, "{error}");
        assert_eq!(
            error.pointer,
            format!("/linux/seccomp/syscalls/0{place}"),
            "{error}"
        );
        assert!(error.to_string().contains(words), "{error}");
    }
    let rule = "{\"names\": [\"a\", \"nosuchcall\"], \"action\": \"SCMP_ACT_ERRNO\", \"errnoRet\": 38,
        \"args\": [{\"index\": 5, \"value\": 18446744073709551615, \"valueTwo\": 2, \"op\": \"SCMP_CMP_MASKED_EQ\"}]}";
    let found = accepted(&[("/linux/seccomp", &with_rule(rule))])
        .seccomp
        .unwrap();
    let rule = &found.syscalls[0];
    assert_eq!(
        (rule.names.len(), rule.action),
        (2, SeccompAction::Errno(38))
    );
    let arg = rule.args[0];
    assert_eq!((arg.index, arg.value, arg.value_two), (5, u64::MAX, 2));
    assert_eq!(arg.op, SeccompOp::ScmpCmpMaskedEq);
}

#[test]
fn notifications_need_a_listener_and_spare_write() {
    let notify = |name: &str, more: &str| {
        format!(
            "{{\"defaultAction\": \"SCMP_ACT_ALLOW\", {more} \"syscalls\": [{{\"names\": [\"{name}\"], \"action\": \"SCMP_ACT_NOTIFY\"}}]}}"
        )
    };
    let listener = "\"listenerPath\": \"/s\", \"listenerMetadata\": \"m\",
        \"flags\": [\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"],";
    let found = accepted(&[("/linux/seccomp", &notify("mkdir", listener))])
        .seccomp
        .unwrap();
    assert_eq!(
        found.flags,
        Some(vec![SeccompFlag::SeccompFilterFlagWaitKillableRecv])
    );
    assert_eq!(found.listener_metadata.as_deref(), Some("m"));
    for (json, place, words) in [
        (
            notify("mkdir", ""),
            "/linux/seccomp",
            "needs `listenerPath`",
        ),
        (
            notify("write", "\"listenerPath\": \"/s\","),
            "/linux/seccomp/syscalls/0",
            "the write syscall",
        ),
    ] {
        let (_, report) = judge(&document(&[("/linux/seccomp", &json)]));
        let [error] = report.errors.as_slice() else {
            panic!("{report}")
        };
        assert_eq!((error.code, &*error.pointer), (Code::Conflict, place));
        assert!(error.message.contains(words), "{error}");
    }
}
