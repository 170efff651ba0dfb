//! Malformed and hostile configurations: each is refused before anything happens, with the JSON
//! pointer of the value and what was expected.
//!
//! Engines show only the last line of standard error, so that line is what these tests read. The
//! texts are locule's own; other runtimes are no control here.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::time::Instant;

use integration::{Bundle, Sandbox, sandbox};
use serde_json::json;

const OWN: &str = "the texts are locule's own";

fn is_other(s: &Sandbox) -> bool {
    s.is_control(OWN)
}

/// A create of the changed bundle fails within two seconds and its last line has every word; the
/// leak check does the rest.
fn refused(s: &Sandbox, change: impl FnOnce(&mut Bundle), words: &[&str]) {
    if s.is_control(OWN) {
        return;
    }
    let mut bundle = s.bundle();
    change(&mut bundle);
    let start = Instant::now();
    s.try_create(&bundle, &s.id(), &[])
        .exits(1)
        .fails_with(words);
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

/// A run of the changed bundle succeeds, and standard error has every word of a warning.
fn warned(s: &Sandbox, change: impl FnOnce(&mut Bundle), words: &[&str]) {
    if s.is_control(OWN) {
        return;
    }
    let mut bundle = s.bundle();
    change(&mut bundle);
    let outcome = s.run(&bundle).ok();
    for word in words {
        assert!(
            outcome.stderr.contains(word),
            "{}",
            outcome.describe(&format!("wanted a warning with {word:?}"))
        );
    }
}

/// One test a line: name, change of the bundle, words of the last line.
macro_rules! refuse {
    ($($name:ident: $bundle:ident => $change:expr, [$($word:expr),+];)+) => {
        $(#[test]
        fn $name() {
            sandbox::host(|s| refused(s, |$bundle: &mut Bundle| { $change; }, &[$($word),+]));
        })+
    };
}

/// One test a line: name, change of the bundle, words of a warning.
macro_rules! warn {
    ($($name:ident: $bundle:ident => $change:expr, [$($word:expr),+];)+) => {
        $(#[test]
        fn $name() {
            sandbox::host(|s| warned(s, |$bundle: &mut Bundle| { $change; }, &[$($word),+]));
        })+
    };
}

fn raw(bundle: &mut Bundle, bytes: &[u8]) {
    bundle.raw = Some(bytes.to_vec());
}

/// The default configuration as text with one part replaced.
fn edited(bundle: &mut Bundle, from: &str, to: &str) {
    let text = serde_json::to_string_pretty(&bundle.config).expect("JSON");
    assert!(text.contains(from), "{from} is not in {text}");
    bundle.raw = Some(text.replacen(from, to, 1).into_bytes());
}

refuse! {
    an_empty_file: b => raw(b, b""), ["empty"];
    a_truncated_file: b => edited(b, "\"ociVersion\"", ""), ["line"];
    a_null_document: b => raw(b, b"null"), ["top level", "object"];
    a_list_as_document: b => raw(b, b"[]"), ["top level", "object"];
    two_documents: b => raw(b, b"{\"ociVersion\": \"1.0.2\"} {}"), ["after the end"];
    a_byte_order_mark: b => raw(b, b"\xef\xbb\xbf{}"), ["BOM"];
    invalid_utf8: b => raw(b, b"{\"hostname\": \"\xff\xfe\"}"), ["UTF-8", "14"];
    a_duplicate_key: b => edited(b, "\"hostname\": \"container\"", "\"hostname\": \"a\", \"hostname\": \"b\""), ["hostname", "duplicate-key"];
    a_missing_version: b => b.remove("/ociVersion"), ["ociVersion", "missing"];
    another_major_version: b => b.set("/ociVersion", json!("99.0.0")), ["/ociVersion", "99.0.0"];
    a_version_that_is_none: b => b.set("/ociVersion", json!("foo")), ["/ociVersion", "foo"];
    a_missing_root_property: b => b.remove("/root"), ["root", "missing"];
    a_missing_root_directory: b => b.set("/root/path", json!("nowhere")), ["/root/path", "nowhere"];
    a_file_as_root: b => b.set("/root/path", json!("config.json")), ["/root/path", "directory"];
    no_arguments: b => b.set("/process/args", json!([])), ["/process/args", "argument"];
    a_string_as_arguments: b => b.set("/process/args", json!("sh")), ["/process/args", "list"];
    a_relative_cwd: b => b.set("/process/cwd", json!("tmp")), ["/process/cwd", "absolute"];
    a_missing_cwd: b => b.remove("/process/cwd"), ["cwd", "missing"];
    a_negative_uid: b => b.set("/process/user/uid", json!(-1)), ["/process/user/uid", "-1"];
    a_uid_of_33_bits: b => b.set("/process/user/uid", json!(4_294_967_296_u64)), ["/process/user/uid", "4294967296"];
    a_fractional_uid: b => b.set("/process/user/uid", json!(1.5)), ["/process/user/uid", "1.5"];
    the_uid_that_means_no_change: b => b.set("/process/user/uid", json!(4_294_967_295_u32)), ["/process/user/uid"];
    a_string_as_uid: b => b.set("/process/user/uid", json!("0")), ["/process/user/uid", "number"];
    a_string_as_gid: b => b.set("/process/user/gid", json!("1000")), ["/process/user/gid", "number"];
    a_negative_rlimit: b => b.set("/process/rlimits/0/soft", json!(-1)), ["/process/rlimits/0/soft"];
    an_unknown_rlimit: b => b.set("/process/rlimits/0/type", json!("RLIMIT_FOO")), ["/process/rlimits/0/type", "RLIMIT_FOO"];
    a_soft_rlimit_above_the_hard: b => b.set("/process/rlimits/0/soft", json!(2000)), ["/process/rlimits/0", "2000"];
    a_duplicate_rlimit: b => {
        let first = b.config["process"]["rlimits"][0].clone();
        b.set("/process/rlimits/-", first)
    }, ["/process/rlimits/1", "twice"];
    an_unknown_namespace: b => b.set("/linux/namespaces/-", json!({ "type": "network2" })), ["/linux/namespaces", "network2"];
    a_duplicate_namespace: b => b.set("/linux/namespaces/-", json!({ "type": "pid" })), ["/linux/namespaces", "twice"];
    a_relative_namespace_path: b => b.join("network", "ns/net"), ["/linux/namespaces", "absolute"];
    a_missing_namespace_path: b => b.join("network", "/nowhere/net"), ["/nowhere/net"];
    a_namespace_of_another_type: b => b.join("network", "/proc/self/ns/ipc"), ["ipc", "net"];
    a_capability_list_of_the_wrong_type: b => b.set("/process/capabilities/bounding", json!("CAP_KILL")), ["/process/capabilities/bounding", "list"];
    no_new_privileges_of_the_wrong_type: b => b.set("/process/noNewPrivileges", json!("true")), ["/process/noNewPrivileges", "true or false"];
    a_readonly_of_the_wrong_type: b => b.set("/root/readonly", json!(1)), ["/root/readonly", "true or false"];
    masked_paths_of_the_wrong_type: b => b.set("/linux/maskedPaths", json!("/proc/kcore")), ["/linux/maskedPaths", "list"];
    a_mount_without_destination: b => b.mount(json!({ "type": "tmpfs" })), ["/mounts/", "destination"];
    an_unknown_file_system: b => b.mount(json!({ "destination": "/mnt", "type": "nosuchfs", "source": "x" })), ["/mnt", "nosuchfs"];
    a_refused_mount_option: b => b.mount(json!({ "destination": "/mnt", "type": "tmpfs", "source": "t", "options": ["bogus=1"] })), ["/mnt", "bogus"];
    a_missing_mount_source: b => b.mount(json!({ "destination": "/mnt", "type": "bind", "source": "/nowhere/x", "options": ["bind"] })), ["/nowhere/x"];
    a_hostname_without_namespace: b => b.inherit("uts"), ["/hostname", "uts"];
    a_hostname_with_a_nul: b => b.set("/hostname", json!("a\u{0}b")), ["/hostname"];
    a_hostname_that_is_too_long: b => b.set("/hostname", json!("x".repeat(65))), ["/hostname"];
    a_parameter_of_the_host: b => b.set("/linux/sysctl", json!({ "vm.swappiness": "60" })), ["/linux/sysctl/vm.swappiness"];
    a_parameter_that_climbs: b => b.set("/linux/sysctl", json!({ "net/../kernel/core_pattern": "core" })), ["/linux/sysctl/net~1..~1kernel~1core_pattern"];
    an_apparmor_profile: b => b.set("/process/apparmorProfile", json!("docker-default")), ["/process/apparmorProfile"];
    an_apparmor_profile_with_a_newline: b => b.set("/process/apparmorProfile", json!("web\nunconfined")), ["/process/apparmorProfile", "control characters"];
    an_selinux_label_with_a_nul: b => b.set("/process/selinuxLabel", json!("a:b:c\u{0}d")), ["/process/selinuxLabel", "NUL"];
    a_mount_label_with_a_newline: b => b.set("/linux/mountLabel", json!("a:b:c\nd")), ["/linux/mountLabel", "control characters"];
    a_mount_label_with_options: b => b.set("/linux/mountLabel", json!("a:b:c:s0\",lowerdir=/,x=\"")), ["/linux/mountLabel", "quotes"];
    a_relative_masked_path: b => b.set("/linux/maskedPaths/-", json!("proc/kcore")), ["/linux/maskedPaths", "absolute"];
    a_relative_readonly_path: b => b.set("/linux/readonlyPaths/-", json!("proc/sys")), ["/linux/readonlyPaths", "absolute"];
    an_unknown_device_type: b => b.set("/linux/devices", json!([{ "path": "/dev/x", "type": "z", "major": 1, "minor": 3 }])), ["/linux/devices/0/type", "z"];
    a_relative_device_path: b => b.set("/linux/devices", json!([{ "path": "dev/x", "type": "c", "major": 1, "minor": 3 }])), ["/linux/devices/0/path", "absolute"];
    an_unknown_propagation: b => b.set("/linux/rootfsPropagation", json!("upwards")), ["/linux/rootfsPropagation", "upwards"];
    id_maps_without_a_user_namespace: b => b.set("/linux/uidMappings", json!([{ "containerID": 0, "hostID": 1000, "size": 1 }])), ["/linux/uidMappings", "user"];
    a_user_namespace_without_maps: b => b.namespace("user"), ["uidMappings"];
    an_id_map_of_no_ids: b => b.user_namespace(&[(0, 1000, 0)]), ["/linux/uidMappings/0/size"];
    id_maps_that_overlap: b => b.user_namespace(&[(0, 1000, 10), (5, 2000, 10)]), ["/linux/uidMappings"];
    a_hook_without_path: b => b.set("/hooks/createRuntime", json!([{ "args": ["x"] }])), ["/hooks/createRuntime/0", "path"];
    a_relative_hook_path: b => b.set("/hooks/createRuntime", json!([{ "path": "bin/true" }])), ["/hooks/createRuntime/0/path", "absolute"];
    a_hook_timeout_of_zero: b => b.set("/hooks/createRuntime", json!([{ "path": "/bin/true", "timeout": 0 }])), ["/hooks/createRuntime/0/timeout"];
    a_hook_that_is_missing: b => b.set("/hooks/createRuntime", json!([{ "path": "/nowhere/hook" }])), ["/nowhere/hook"];
    an_environment_entry_without_a_sign: b => b.set("/process/env/-", json!("NOVALUE")), ["/process/env/2", "NOVALUE"];
    an_environment_entry_with_a_nul: b => b.set("/process/env/-", json!("A=b\u{0}c")), ["/process/env/2"];
    a_program_that_is_missing: b => b.args(&["nosuch"]), ["nosuch", "not found in $PATH"];
    an_oom_score_out_of_range: b => b.set("/process/oomScoreAdj", json!(5000)), ["/process/oomScoreAdj", "5000"];
    a_cgroup_path_that_climbs: b => b.set("/linux/cgroupsPath", json!("/../../x")), ["/linux/cgroupsPath"];
    a_terminal_without_a_socket: b => b.set("/process/terminal", json!(true)), ["terminal"];
    a_umask_that_is_too_big: b => b.set("/process/user/umask", json!(4096)), ["/process/user/umask", "4096"];
    two_devices_of_one_path: b => b.set("/linux/devices", json!([{ "path": "/dev/x", "type": "c", "major": 1, "minor": 3 }, { "path": "/dev/x", "type": "c", "major": 1, "minor": 5 }])), ["/linux/devices/1: ", "\"/dev/x\"", "/linux/devices/0"];
    a_network_device_name_that_climbs: b => b.set("/linux/netDevices", json!({ "eth0": { "name": "../x" } })), ["/linux/netDevices/eth0/name", "../x"];
    a_network_device_name_that_is_too_long: b => b.set("/linux/netDevices", json!({ "sixteen-bytes-00": {} })), ["/linux/netDevices/sixteen-bytes-00", "15 bytes"];
    two_network_devices_of_one_name: b => b.set("/linux/netDevices", json!({ "a": { "name": "x" }, "b": { "name": "x" } })), ["/linux/netDevices/b", "two devices"];
    a_group_of_caches_that_climbs: b => b.set("/linux/intelRdt", json!({ "closID": "../x" })), ["/linux/intelRdt/closID", "../x"];
    a_share_of_memory_bandwidth_that_is_none: b => b.set("/linux/intelRdt", json!({ "memBwSchema": "L3:0=f" })), ["/linux/intelRdt/memBwSchema", "MB:"];
    time_offsets_without_a_namespace: b => b.set("/linux/timeOffsets", json!({ "boottime": { "secs": 1 } })), ["/linux/timeOffsets", "time"];
    a_seccomp_action_that_is_none: b => b.set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_MAYBE" })), ["/linux/seccomp/defaultAction", "SCMP_ACT_MAYBE"];
    a_seccomp_architecture_that_is_none: b => b.set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_Z80"] })), ["/linux/seccomp/architectures/0", "SCMP_ARCH_Z80"];
    an_annotation_without_a_key: b => b.set("/annotations", json!({ "": "x" })), ["/annotations"];
    control_bytes_are_escaped: b => b.set("/linux/rootfsPropagation", json!("\u{1b}[31mred")), ["/linux/rootfsPropagation"];
}

warn! {
    a_misspelt_property_is_a_warning: b => b.set("/linux/netDevice", json!({})), ["/linux/netDevice", "netDevices"];
    a_key_of_another_case_is_a_warning: b => b.set("/Hostname", json!("x")), ["Hostname", "hostname"];
    a_newer_minor_version_is_a_warning: b => b.set("/ociVersion", json!("1.99.0")), ["1.99.0"];
    a_capability_in_lower_case_is_a_warning: b => b.set("/process/capabilities/bounding/-", json!("cap_net_raw")), ["cap_net_raw"];
    a_mount_that_stands_twice_is_a_warning: b => b.mount(json!({ "destination": "/proc", "type": "proc", "source": "proc" })), ["/mounts/"];
    a_relative_destination_is_a_warning: b => b.mount(json!({ "destination": "mnt", "type": "tmpfs", "source": "t" })), ["/mounts/", "relative"];
    a_destination_that_climbs_is_a_warning: b => b.mount(json!({ "destination": "/../../mnt", "type": "tmpfs", "source": "t" })), ["/mounts/", ".."];
}

/// config.md "Extensibility": "Runtimes ... MUST NOT generate an error if they encounter an unknown
/// property."
#[test]
fn unknown_properties_are_tolerated() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle
            .set("/somethingNew", json!({ "deep": [1, { "x": null }] }))
            .set(
                "/deeper",
                (0..100).fold(json!(1), |inner, _| json!([inner])),
            )
            .set("/process/newer", json!(true));
        s.run(&bundle).ok();
    });
}

/// Every problem at once, not the first alone.
#[test]
fn every_problem_is_reported_at_once() {
    sandbox::host_unless(is_other, |s| {
        let mut bundle = s.bundle();
        bundle
            .set("/process/cwd", json!("x"))
            .set("/process/args", json!([]))
            .set("/process/user/uid", json!(-1));
        bundle.set("/linux/rootfsPropagation", json!("up"));
        let outcome = s.try_create(&bundle, &s.id(), &[]).fails();
        for pointer in [
            "/process/cwd",
            "/process/args",
            "/process/user/uid",
            "/linux/rootfsPropagation",
        ] {
            assert!(
                outcome.stderr.contains(pointer),
                "{}",
                outcome.describe(pointer)
            );
        }
    });
}

/// A syntax error says where: line and column.
#[test]
fn a_syntax_error_has_line_and_column() {
    sandbox::host(|s| {
        refused(
            s,
            |bundle| raw(bundle, b"{\n  \"ociVersion\": \"1.0.2\",\n  \"root\": x\n}"),
            &["line 3", "column 11"],
        );
    });
}

/// An error never carries a terminal's control bytes out of the configuration.
#[test]
fn control_bytes_do_not_reach_the_terminal() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.set("/linux/rootfsPropagation", json!("\u{1b}[31mred"));
        let outcome = s.try_create(&bundle, &s.id(), &[]).fails();
        assert!(!outcome.stderr.contains('\u{1b}'), "{:?}", outcome.stderr);
    });
}

/// 200,000 levels of nesting are refused fast, without the stack's end.
#[test]
fn deep_nesting_is_refused() {
    sandbox::host(|s| {
        let deep = format!("{{\"x\": {}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        refused(s, |bundle| raw(bundle, deep.as_bytes()), &["deep"]);
    });
}

/// A key of 15 MB is tolerated like any other that is unknown, and the warning does not repeat it.
#[test]
fn a_huge_key_makes_no_huge_warning() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let key = "k".repeat(15_000_000);
        bundle.set(&format!("/{key}"), json!(1));
        let outcome = s.run(&bundle).ok();
        assert!(
            outcome.stderr.len() < 2000,
            "{} bytes",
            outcome.stderr.len()
        );
        if s.subject.is_locule() {
            assert!(outcome.stderr.contains("(15000000 bytes)"));
        }
    });
}

/// 5 GiB of a sparse file are refused fast, without reading them.
#[test]
fn a_huge_file_is_refused() {
    sandbox::host_unless(is_other, |s| {
        let bundle = s.bundle();
        let file = File::create(bundle.path.join("config.json")).expect("create");
        file.set_len(5 << 30).expect("truncate");
        given_as_is(s, &bundle, &["config.json", "more than"]);
    });
}

/// config.json as a FIFO does not hang, as a directory or a device is refused.
#[test]
fn a_configuration_that_is_no_file_is_refused() {
    sandbox::host_unless(is_other, |s| {
        let bundle = s.bundle();
        let place = bundle.path.join("config.json");
        let name = place.to_str().expect("UTF-8");
        s.tool("mkfifo", &[name]);
        given_as_is(s, &bundle, &["config.json", "regular file"]);
        fs::remove_file(&place).expect("rm");
        fs::create_dir(&place).expect("mkdir");
        given_as_is(s, &bundle, &["config.json", "regular file"]);
        fs::remove_dir(&place).expect("rmdir");
        s.tool("mknod", &[name, "c", "1", "5"]);
        given_as_is(s, &bundle, &["config.json", "regular file"]);
    });
}

/// A symlink to a file is fine; one to nowhere is named.
#[test]
fn a_configuration_may_be_a_symlink() {
    sandbox::host(|s| {
        let bundle = s.bundle();
        bundle.write();
        let place = bundle.path.join("config.json");
        fs::rename(&place, s.dir.join("elsewhere.json")).expect("mv");
        symlink(s.dir.join("elsewhere.json"), &place).expect("symlink");
        let mut command = s.command();
        command
            .arg("run")
            .arg("--bundle")
            .arg(&bundle.path)
            .arg(s.id());
        s.finish(command, None).ok();
        fs::remove_file(s.dir.join("elsewhere.json")).expect("rm");
        given_as_is(s, &bundle, &["config.json"]);
    });
}

/// No configuration at all.
#[test]
fn a_missing_configuration_is_named() {
    sandbox::host_unless(is_other, |s| {
        given_as_is(s, &s.bundle(), &["config.json", "no such file"]);
    });
}

fn given_as_is(s: &Sandbox, bundle: &Bundle, words: &[&str]) {
    let mut command = s.command();
    command
        .arg("create")
        .arg("--bundle")
        .arg(&bundle.path)
        .arg(s.id());
    let start = Instant::now();
    s.finish(command, None).fails_with(words);
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

/// config.md: "process ... This property is REQUIRED when start is called", so create takes a
/// configuration without it.
#[test]
fn a_container_without_a_process_is_created_and_not_started() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 wants a process at create") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.remove("/process");
        let container = s.create(&bundle);
        container.start().fails_with(&["process"]);
        container.remove();
        // A filter is the process', which is not there to have it.
        let rule = json!({ "names": ["mkdir"], "action": "SCMP_ACT_ERRNO" });
        let profile = json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
        bundle.set("/linux/seccomp", profile);
        let container = s.create(&bundle);
        container.start().fails_with(&["process"]);
        container.remove();
    });
}
