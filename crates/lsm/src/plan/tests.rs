use super::*;
use spec::load::parse_process;
use std::collections::BTreeMap;

fn host(apparmor: bool, selinux: Selinux) -> Facts {
    let answers = [
        (
            "u:r:web_t:s0:c2,c1",
            Context::Known("u:r:web_t:s0:c1,c2".to_owned()),
        ),
        ("a:b:unknown_t", Context::Unknown),
    ];
    let answers = answers.map(|(label, answer)| (label.to_owned(), answer));
    Facts {
        apparmor: apparmor.then(|| "unconfined".to_owned()),
        selinux,
        contexts: answers.into_iter().collect(),
    }
}

fn bare() -> Facts {
    host(false, Selinux::Off)
}

fn apparmor_host() -> Facts {
    host(true, Selinux::Off)
}

/// A policy that lacks the type `unknown_t` and sorts categories.
fn selinux_host() -> Facts {
    host(false, Selinux::On)
}

fn both() -> Facts {
    host(true, Selinux::On)
}

fn process(profile: Option<&str>, label: Option<&str>) -> Process {
    let document = br#"{"cwd": "/", "args": ["true"]}"#;
    Process {
        apparmor_profile: profile.map(str::to_owned),
        selinux_label: label.map(str::to_owned),
        ..parse_process(document, None).unwrap().0
    }
}

fn lower(facts: Facts, process: &Process, mount_label: Option<&str>) -> Result<Plan, Diagnostic> {
    Plan::lower(&Request {
        process: Some(process),
        mount_label,
        keyring: Keyring::New,
        facts: Some(&facts),
    })
}

fn write(attribute: Attribute, value: &str) -> Write {
    let value = value.as_bytes().to_vec();
    Write { attribute, value }
}

#[test]
fn without_labels_nothing_is_written() {
    let plan = lower(bare(), &process(None, None), None).unwrap();
    assert!(!plan.needs_procfs());
}

#[test]
fn a_profile_or_a_policy_confines() {
    let confined = |apparmor: Option<&str>, selinux| {
        let apparmor = apparmor.map(str::to_owned);
        let facts = Facts {
            apparmor,
            ..host(false, selinux)
        };
        facts.is_confining()
    };
    assert!(!confined(None, Selinux::Off));
    assert!(!confined(Some("unconfined"), Selinux::NoPolicy));
    assert!(confined(Some("locule (enforce)"), Selinux::Off));
    assert!(confined(None, Selinux::On));
}

#[test]
fn names_of_profiles_pass_through() {
    for name in [
        "web",
        "with space",
        ":ns:web",
        "web//&:ns://dns",
        "unconfined",
        "/bin/x//hat",
    ] {
        let plan = lower(apparmor_host(), &process(Some(name), None), None).unwrap();
        let expected = write(Attribute::ApparmorExec, &format!("exec {name}"));
        assert_eq!(plan.exec, [expected]);
        assert_eq!(plan.key, None);
        assert!(plan.needs_procfs());
    }
}

#[test]
fn a_label_is_written_as_the_kernel_spells_it_for_program_and_keys() {
    let plan = lower(
        selinux_host(),
        &process(None, Some("u:r:web_t:s0:c2,c1")),
        None,
    )
    .unwrap();
    let spelled = "u:r:web_t:s0:c1,c2";
    assert_eq!(plan.exec, [write(Attribute::SelinuxExec, spelled)]);
    assert_eq!(plan.key, Some(write(Attribute::SelinuxKey, spelled)));
}

#[test]
fn an_inherited_keyring_is_not_labelled() {
    let process = process(None, Some("u:r:web_t:s0"));
    let plan = Plan::lower(&Request {
        process: Some(&process),
        mount_label: None,
        keyring: Keyring::Inherit,
        facts: Some(&selinux_host()),
    });
    assert_eq!(plan.unwrap().key, None);
}

/// A label stays valid if the host cannot report its spelling.
#[test]
fn a_label_that_nobody_can_spell_is_written_as_it_is() {
    let host = Facts {
        contexts: BTreeMap::new(),
        ..selinux_host()
    };
    let plan = lower(host, &process(None, Some("u:r:web_t:s0:c2,c1")), None).unwrap();
    assert_eq!(
        plan.exec,
        [write(Attribute::SelinuxExec, "u:r:web_t:s0:c2,c1")]
    );
}

#[test]
fn unconfined_needs_no_apparmor() {
    let plan = lower(bare(), &process(Some("unconfined"), None), None).unwrap();
    assert_eq!(plan.exec, []);
}

/// The errors for a single profile, label and mount label.
fn refusals(facts: Facts, name: &str) -> [String; 3] {
    let refusal = |process, mount| match lower(facts.clone(), &process, mount) {
        Ok(_) => String::new(),
        Err(problem) => problem.to_string(),
    };
    [
        refusal(process(Some(name), None), None),
        refusal(process(None, Some(name)), None),
        refusal(process(None, None), Some(name)),
    ]
}

#[track_caller]
fn refused(text: &str, pointer: &str, words: &str) {
    let found = text.starts_with(pointer) && text.contains(words);
    assert!(found, "wanted {pointer} {words:?} in {text:?}");
}

#[test]
fn what_the_host_cannot_give_is_refused_by_pointer() {
    let [profile, label, mount] = refusals(bare(), "web");
    let off = "is not enabled on this host; enable it";
    refused(
        &profile,
        "/process/apparmorProfile: profile \"web\": AppArmor",
        off,
    );
    refused(&label, "/process/selinuxLabel: label \"web\": SELinux", off);
    refused(&mount, "/linux/mountLabel: label \"web\": SELinux", off);

    // One module does not replace the other.
    let [profile, label, mount] = refusals(apparmor_host(), "web");
    assert_eq!(profile, "");
    refused(&label, "/process/selinuxLabel", off);
    refused(&mount, "/linux/mountLabel", off);
    let [profile, label, mount] = refusals(selinux_host(), "web");
    refused(&profile, "/process/apparmorProfile", off);
    assert_eq!([label, mount], ["", ""]);

    let [_, label, mount] = refusals(host(false, Selinux::NoPolicy), "web");
    refused(&label, "/process/selinuxLabel", "has no policy loaded");
    refused(&mount, "/linux/mountLabel", "has no policy loaded");
}

#[test]
fn what_the_kernel_would_not_take_is_refused_by_pointer() {
    let [_, label, mount] = refusals(selinux_host(), "a:b:unknown_t");
    refused(&label, "/process/selinuxLabel", "no such context");
    refused(&mount, "/linux/mountLabel", "no such context");
    let [profile, label, mount] = refusals(both(), &"x".repeat(5000));
    refused(&profile, "/process/apparmorProfile", "4091 bytes");
    refused(&label, "/process/selinuxLabel", "4096 bytes");
    refused(&mount, "/linux/mountLabel", "255 bytes");
    let [_, _, mount] = refusals(both(), &"x".repeat(255));
    assert_eq!(mount, "");
}

#[test]
fn failures_name_the_property_and_what_to_do() {
    let process = process(Some("web"), Some("u:r:web_t:s0"));
    let plan = lower(both(), &process, None).unwrap();
    for (call, index, errno, words) in [
        (
            Call::Attribute,
            0,
            Errno::ENOENT,
            "/process/apparmorProfile: \"web\": no such profile is loaded",
        ),
        (Call::Attribute, 0, Errno::EACCES, "change_profile"),
        (Call::Verify, 0, Errno::EPERM, "reports another label"),
        (
            Call::Attribute,
            1,
            Errno::EINVAL,
            "/process/selinuxLabel: \"u:r:web_t:s0\": the policy",
        ),
        (Call::Attribute, 1, Errno::EACCES, "setexec"),
        (Call::Attribute, KEY, Errno::EACCES, "setkeycreate"),
        (Call::Keyctl, KEY, Errno::EDQUOT, "make a session keyring"),
        (
            Call::KeyPermissions,
            KEY,
            Errno::EACCES,
            "restrict the session keyring",
        ),
        (
            Call::Openat2,
            1,
            Errno::ENOENT,
            "openat2: no such file or directory",
        ),
    ] {
        let text = plan.describe(&Failed::at(call, index)(errno));
        assert!(text.contains(words), "{text}");
    }
}

/// A caller that forgets the procfs does not get an unlabelled program.
#[test]
fn without_a_procfs_nothing_is_written() {
    let plan = lower(apparmor_host(), &process(Some("web"), None), None).unwrap();
    let failed = plan.apply(None).unwrap_err();
    assert_eq!(failed.errno, Errno::EBADF);
}
