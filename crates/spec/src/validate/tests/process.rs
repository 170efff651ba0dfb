//! Rules of the configuration: `process` and `hooks`.

use crate::container::CapSet;
use crate::validate::tests::{accepted, refuses, warns};

#[test]
fn the_program_and_its_surroundings_are_checked() {
    refuses(
        r#"
        /process/args = []
            -> range /process/args : at least one
        /process/args = "sh"
            -> type /process/args : expected a list
        /process/args = -
            -> missing /process : `args`
        /process/args = ["a\u0000"]
            -> range /process/args/0 : NUL
        /process/cwd = -
            -> missing /process : `cwd`
        /process/cwd = "tmp"
            -> path /process/cwd : absolute
        /process/env = ["A=1", "B"]
            -> range /process/env/1 : NAME=value
        /process/env = ["A=1", "=x"]
            -> range /process/env/1 : invalid environment variable
        /process/env = [""]
            -> range /process/env/0 : invalid environment variable
        /process/env = ["A=\u0000"]
            -> range /process/env/0 : NUL
        /process/terminal = "no"
            -> type /process/terminal : true or false
        /process/terminal = true && /process/consoleSize = {"height": 70000, "width": 1}
            -> range /process/consoleSize/height : 65535
        /process/noNewPrivileges = "true"
            -> type /process/noNewPrivileges : true or false
        /process/oomScoreAdj = 5000
            -> range /process/oomScoreAdj : 1000
        /process/oomScoreAdj = -1001
            -> range /process/oomScoreAdj : -1000
        "#,
    );
    let size = ("/process/consoleSize", "{\"height\": 24, \"width\": 80}");
    let console = |sections: &[_]| accepted(sections).process.unwrap().console_size;
    assert_eq!(
        console(&[size, ("/process/terminal", "true")]),
        Some((24, 80))
    );
    assert_eq!(console(&[size]), None);
    assert_eq!(console(&[("/process/consoleSize", "7")]), None);
}

#[test]
fn ids_are_numbers_that_the_kernel_takes_for_ids() {
    refuses(
        r#"
        /process/user/uid = -1
            -> range /process/user/uid : -1
        /process/user/uid = 4294967296
            -> range /process/user/uid : 4294967296
        /process/user/uid = 4294967295
            -> range /process/user/uid : no change
        /process/user/gid = 4294967295
            -> range /process/user/gid : no change
        /process/user/uid = 1.5
            -> type /process/user/uid : whole number
        /process/user/uid = "0"
            -> type /process/user/uid : whole number
        /process/user/uid = "1000"
            -> type /process/user/uid : whole number
        /process/user/additionalGids = [1, 4294967295]
            -> range /process/user/additionalGids/1 : no change
        /process/user/umask = 512
            -> range /process/user/umask : 511
        "#,
    );
    let user = accepted(&[("/process/user", "{\"uid\": 4294967294, \"umask\": 511}")]);
    let user = user.process.unwrap().user;
    assert_eq!((user.uid, user.gid, user.umask), (4_294_967_294, 0, 0o777));
}

#[test]
fn limits_are_known_and_given_once() {
    refuses(
        r#"
        /process/rlimits = [{"type": "RLIMIT_NOFILES", "soft": 1, "hard": 1}]
            -> unknown-value /process/rlimits/0/type : did you mean `RLIMIT_NOFILE`?
        /process/rlimits = [{"type": "RLIMIT_AS", "soft": 2, "hard": 1}]
            -> conflict /process/rlimits/0 : above the hard limit
        /process/rlimits = [{"type": "RLIMIT_AS", "soft": -1, "hard": 1}]
            -> range /process/rlimits/0/soft : write 18446744073709551615 for no limit
        /process/rlimits = [{"type": "RLIMIT_AS", "soft": 1, "hard": 1}, {"type": "RLIMIT_AS", "soft": 1, "hard": 1}]
            -> conflict /process/rlimits/1/type : twice
        /process/rlimits = [{"type": "RLIMIT_AS", "soft": 1}]
            -> missing /process/rlimits/0 : `hard`
        "#,
    );
    let limit = "[{\"type\": \"RLIMIT_NOFILE\", \"soft\": 1, \"hard\": 18446744073709551615}]";
    let process = accepted(&[("/process/rlimits", limit)]).process.unwrap();
    assert_eq!(
        (process.rlimits[0].resource, process.rlimits[0].hard),
        (7, u64::MAX)
    );
}

#[test]
fn an_unknown_capability_is_a_warning() {
    let place = "/process/capabilities";
    warns(
        r#"
        /process/capabilities = {"bounding": ["CAP_NEW", "CAP_KILL"]}
            -> unknown-value /process/capabilities/bounding/0 : CAP_NEW
        /process/capabilities = {"ambient": ["cap_kill"]}
            -> unknown-value /process/capabilities/ambient/0 : did you mean `CAP_KILL`?
        "#,
    );
    refuses(
        r#"
        /process/capabilities = []
            -> type /process/capabilities : expected an object
        /process/capabilities = {"bounding": [1]}
            -> type /process/capabilities/bounding/0 : string
        "#,
    );
    let sets = "{\"bounding\": [\"CAP_CHOWN\", \"CAP_CHECKPOINT_RESTORE\"], \"permitted\": null}";
    let found = accepted(&[(place, sets)]).process.unwrap().capabilities;
    assert_eq!(
        (found.bounding, found.permitted, found.ambient),
        (CapSet(1 << 40 | 1), CapSet(0), CapSet(0))
    );
}

#[test]
fn hooks_have_an_absolute_path_and_time() {
    refuses(
        r#"
        /hooks = {"prestart": [{}]}
            -> missing /hooks/prestart/0 : `path`
        /hooks = {"createRuntime": [{"path": "bin/x"}]}
            -> path /hooks/createRuntime/0/path : absolute
        /hooks = {"poststop": [{"path": "/x", "timeout": 0}]}
            -> range /hooks/poststop/0/timeout : at least 1
        /hooks = {"poststart": [{"path": "/x", "timeout": -5}]}
            -> range /hooks/poststart/0/timeout : -5 seconds
        /hooks = {"startContainer": [{"path": "/x", "env": ["A"]}]}
            -> range /hooks/startContainer/0/env/0 : NAME=value
        /hooks = {"createContainer": {}}
            -> type /hooks/createContainer : list
        "#,
    );
    let hooks = "{\"poststop\": [{\"path\": \"/x\"}, {\"path\": \"/y\", \"args\": [\"z\"], \"env\": [], \"timeout\": 3}]}";
    let found = accepted(&[("/hooks", hooks)]).hooks.poststop;
    assert_eq!(
        (found[0].args.as_slice(), &found[0].env, found[0].timeout),
        (&["/x".into()][..], &None, None)
    );
    assert_eq!(
        (found[1].args.as_slice(), &found[1].env, found[1].timeout),
        (&["z".into()][..], &Some(vec![]), Some(3))
    );
}

#[test]
fn of_two_variables_with_one_name_the_last_counts() {
    let env = r#"["A=1", "B=2", "A=", "C=x=y", "AB=1", "C=3"]"#;
    let hooks = format!("{{\"poststop\": [{{\"path\": \"/x\", \"env\": {env}}}]}}");
    let found = accepted(&[("/process/env", env), ("/hooks", &hooks)]);
    let last = ["B=2", "A=", "AB=1", "C=3"];
    assert_eq!(found.process.unwrap().env, last);
    assert_eq!(found.hooks.poststop[0].env.as_ref().unwrap(), &last);
}

#[test]
fn labels_are_read() {
    let found = accepted(&[
        ("/linux/mountLabel", "\"m\""),
        ("/process/selinuxLabel", "\"s\""),
        ("/process/apparmorProfile", "\"\""),
    ]);
    assert_eq!(found.mount_label.as_deref(), Some("m"));
    let process = found.process.unwrap();
    assert_eq!(process.selinux_label.as_deref(), Some("s"));
    assert_eq!(process.apparmor_profile, None);
}

/// Characters that the kernel would cut off or read as the end.
#[test]
fn labels_are_one_word_to_the_kernel() {
    refuses(
        r#"
        /process/apparmorProfile = "web\n"
            -> range /process/apparmorProfile : control characters
        /process/apparmorProfile = "web\u0000x"
            -> range /process/apparmorProfile : NUL
        /process/apparmorProfile = " web"
            -> range /process/apparmorProfile : white space
        /process/apparmorProfile = 1
            -> type /process/apparmorProfile : string
        /process/selinuxLabel = "a:b:c\nd"
            -> range /process/selinuxLabel : control characters
        /process/selinuxLabel = "a:b:c "
            -> range /process/selinuxLabel : white space
        /linux/mountLabel = "a:b:c\u0000"
            -> range /linux/mountLabel : NUL
        /linux/mountLabel = "\ta:b:c"
            -> range /linux/mountLabel : control characters
        "#,
    );
    let named = accepted(&[("/process/apparmorProfile", "\":ns:with space//&x\"")]);
    assert_eq!(
        named.process.unwrap().apparmor_profile.as_deref(),
        Some(":ns:with space//&x")
    );
}
