//! The files that a bundle may have, and the message for each.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, str};

use super::*;
use crate::container::{Hooks, SeccompAction};
use crate::samples::CONFIGS;

const SOUND: &str = r#"{"ociVersion":"1.2.1","root":{"path":"rootfs"}}"#;

/// A bundle that is deleted when the value is dropped.
struct Bundle(PathBuf);

impl Bundle {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = env::temp_dir().join(format!("locule-spec-{}-{number}", process::id()));
        fs::create_dir(&path).unwrap();
        fs::create_dir(path.join("rootfs")).unwrap();
        Self(path)
    }

    fn with(config: impl AsRef<[u8]>) -> Self {
        let bundle = Self::new();
        fs::write(bundle.config(), config).unwrap();
        bundle
    }

    fn config(&self) -> PathBuf {
        self.0.join(CONFIG)
    }

    /// The error message; the error must come at once.
    fn refusal(&self) -> String {
        let start = Instant::now();
        let error = load(&self.0, CONFIG).expect_err("refused");
        assert!(start.elapsed() < Duration::from_secs(5));
        error.to_string()
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn one_more_process_needs_the_same_configuration_without_the_creation() {
    for (name, bytes) in CONFIGS {
        let bundle = Path::new("/bundle");
        let whole = parse(bytes, bundle, Host::Ignore).unwrap().container;
        let expected = Container {
            mounts: Vec::new(),
            hooks: Hooks::default(),
            devices: Vec::new(),
            intel_rdt: None,
            masked_paths: Vec::new(),
            net_devices: Vec::new(),
            readonly_paths: Vec::new(),
            resources: Resources::default(),
            sysctl: Vec::new(),
            ..*whole
        };
        assert_eq!(*parse_entered(bytes, bundle).unwrap(), expected, "{name}");
    }
}

#[test]
fn a_sound_bundle_is_loaded_with_the_bytes_as_read() {
    let bundle = Bundle::with(SOUND);
    let loaded = load(&bundle.0, CONFIG).unwrap();
    assert_eq!(loaded.bytes, SOUND.as_bytes());
    assert_eq!(loaded.container.bundle, bundle.0);
    assert_eq!(loaded.container.root.path, bundle.0.join("rootfs"));
    assert_eq!(loaded.warnings, []);
}

#[test]
fn another_file_can_be_the_configuration() {
    let bundle = Bundle::new();
    fs::write(bundle.0.join("other.json"), SOUND).unwrap();
    assert!(load(&bundle.0, "other.json").is_ok());
    assert!(load(&bundle.0, bundle.0.join("other.json")).is_ok());
    assert!(load(&bundle.0, CONFIG).is_err());
}

#[test]
fn a_relative_bundle_becomes_absolute() {
    let error = load(Path::new("no/such/bundle"), CONFIG).expect_err("absent");
    assert!(matches!(error, LoadError::Absent { .. }));
    let bundle = Bundle::with(SOUND);
    let upwards = "../".repeat(env::current_dir().unwrap().components().count());
    let relative = Path::new(&upwards).join(bundle.0.strip_prefix("/").unwrap());
    assert!(
        load(&relative, CONFIG)
            .unwrap()
            .container
            .bundle
            .is_absolute()
    );
}

#[test]
fn a_bundle_whose_path_is_not_text_is_refused() {
    let bundle = Bundle::with(SOUND);
    let odd = bundle.0.join(OsStr::from_bytes(b"\xff"));
    fs::create_dir(&odd).unwrap();
    fs::copy(bundle.config(), odd.join(CONFIG)).unwrap();
    let error = load(&odd, CONFIG).expect_err("not UTF-8");
    assert!(matches!(error, LoadError::NotText { .. }), "{error}");
}

#[test]
fn an_absent_file_is_named_as_engines_look_for_it() {
    let bundle = Bundle::new();
    let text = bundle.refusal();
    assert!(text.contains("no such file or directory"), "{text}");
    assert!(text.contains(bundle.config().to_str().unwrap()), "{text}");
}

#[test]
fn a_symlink_to_a_file_is_followed() {
    let bundle = Bundle::new();
    fs::write(bundle.0.join("real"), SOUND).unwrap();
    symlink("real", bundle.config()).unwrap();
    assert!(load(&bundle.0, CONFIG).is_ok());
}

#[test]
fn a_pipe_of_the_caller_is_read() {
    for directory in ["/dev/fd", "/proc/self/fd"] {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let written = std::thread::spawn(move || {
            for part in SOUND.as_bytes().chunks(10) {
                writer.write_all(part).unwrap();
            }
        });
        let name = format!("{directory}/{}", reader.as_raw_fd());
        assert!(load(&Bundle::new().0, name).is_ok());
        written.join().unwrap();
    }
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let bundle = Bundle::new();
    fs::create_dir(bundle.config()).unwrap();
    assert!(
        bundle
            .refusal()
            .contains("is a directory, expected a regular file")
    );

    let bundle = Bundle::new();
    assert!(
        Command::new("mkfifo")
            .arg(bundle.config())
            .status()
            .unwrap()
            .success()
    );
    assert!(
        bundle
            .refusal()
            .contains("is a FIFO, expected a regular file")
    );

    let bundle = Bundle::new();
    symlink("/dev/zero", bundle.config()).unwrap();
    assert!(
        bundle
            .refusal()
            .contains("is a device, expected a regular file")
    );

    let bundle = Bundle::new();
    let _listener = UnixListener::bind(bundle.config()).unwrap();
    assert!(
        bundle
            .refusal()
            .contains("is a socket, expected a regular file")
    );
}

#[test]
fn a_large_file_is_refused_unread() {
    let bundle = Bundle::new();
    let file = File::create(bundle.config()).unwrap();
    file.set_len(5 << 30).unwrap();
    let text = bundle.refusal();
    assert!(text.contains("more than 16777216 bytes"), "{text}");
}

#[test]
fn a_file_that_grows_while_it_is_read_is_cut_off() {
    let bundle = Bundle::new();
    File::create(bundle.config())
        .unwrap()
        .set_len(LARGEST + 1)
        .unwrap();
    let file = File::open(bundle.config()).unwrap();
    let error = read_at_most(&file, 0, &bundle.config()).expect_err("too large");
    assert!(matches!(error, LoadError::TooLarge { .. }));
}

#[test]
fn the_root_is_a_directory_of_the_host() {
    let bundle = Bundle::with(SOUND);
    fs::remove_dir(bundle.0.join("rootfs")).unwrap();
    let text = bundle.refusal();
    assert!(
        text.contains("/root/path: expected a directory at"),
        "{text}"
    );
    assert!(text.contains("no such file or directory"), "{text}");
    fs::write(bundle.0.join("rootfs"), "").unwrap();
    let text = bundle.refusal();
    assert!(text.contains("found regular file"), "{text}");
    symlink(env::temp_dir(), bundle.0.join("link")).unwrap();
    fs::write(bundle.config(), SOUND.replace("rootfs", "link")).unwrap();
    assert!(load(&bundle.0, CONFIG).is_ok());
}

#[test]
fn the_namespaces_of_the_caller_stay_as_they_are() {
    let config = |kind: &str, file: &str, more: &str, sysctl: &str| {
        format!(
            r#"{{"ociVersion":"1.2.1","root":{{"path":"rootfs"}},{more}"linux":{{
                "namespaces":[{{"type":"{kind}","path":"/proc/self/ns/{file}"}}],"sysctl":{{{sysctl}}}}}}}"#
        )
    };
    for (kind, file, more, sysctl, pointer) in [
        ("mount", "mnt", "", "", "/root"),
        ("network", "net", "", r#""net/a":"1""#, "/linux/sysctl"),
        ("ipc", "ipc", "", r#""kernel.sem":"1""#, "/linux/sysctl"),
        ("uts", "uts", r#""hostname":"a","#, "", "/hostname"),
        ("uts", "uts", "", r#""kernel.domainname":"a""#, "/hostname"),
    ] {
        let text = Bundle::with(config(kind, file, more, sysctl)).refusal();
        let words = format!("{pointer}: would change the {file} namespace of the caller");
        assert!(text.contains(&words), "{text}");
        // Here a different file stands for a different namespace.
        let other = Bundle::with(config(kind, "user", more, sysctl));
        assert!(load(&other.0, CONFIG).is_ok());
    }
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        assert!(load(&Bundle::with(config(kind, file, "", "")).0, CONFIG).is_ok());
    }
}

#[test]
fn a_saved_copy_is_read_when_the_bundle_is_gone() {
    let gone = Path::new("/no/such/bundle");
    assert!(parse(SOUND.as_bytes(), gone, Host::Ignore).is_ok());
    let report = parse(SOUND.as_bytes(), gone, Host::Inspect).expect_err("inspected");
    assert_eq!(report.errors[0].pointer, "/root/path");
}

#[test]
fn a_destination_below_the_hosts_root_is_a_warning() {
    let mounts = |bundle: &Path| {
        format!(
            r#"[{{"destination": "/tmp"}}, {{"destination": "{}/rootfs/a/../b"}}]"#,
            bundle.display()
        )
    };
    let bundle = Bundle::with(SOUND);
    let text = SOUND.replacen('{', &format!("{{\"mounts\": {},", mounts(&bundle.0)), 1);
    let loaded = parse(text.as_bytes(), &bundle.0, Host::Inspect).unwrap();
    let last = loaded.warnings.last().unwrap();
    assert_eq!(last.pointer, "/mounts/1/destination");
    assert_eq!(last.hint.as_deref(), Some("if \"/b\" is meant, name that"));
}

#[test]
fn the_last_line_names_the_file_and_the_problem() {
    let bundle = Bundle::with(r#"{"ociVersion":"1.2.1","root":{"path":7}}"#);
    let text = bundle.refusal();
    let expected = format!(
        "{:?}: invalid configuration: /root/path: expected a string, found the number 7 (line 1, column 38) [type]",
        bundle.config()
    );
    assert_eq!(text, expected);

    let bundle = Bundle::with("{\n \"root\": {\"path\": 7}\n}");
    let text = bundle.refusal();
    let last = text.lines().last().unwrap();
    assert!(
        last.starts_with(&format!(
            "{:?}: invalid configuration: 2 errors, the first: ",
            bundle.config()
        )),
        "{text}"
    );
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("(line 2, column"), "{text}");
}

#[test]
fn a_config_cannot_write_to_the_terminal() {
    let json = "{\"ociVersion\":\"\\u001b[31m\\n\",\"a\\u001b\\n\":{},\"root\":{\"path\":\"r\"}}";
    let report = parse(json.as_bytes(), Path::new("/b"), Host::Ignore).expect_err("no version");
    let shown = report.to_string();
    assert_eq!(
        shown.lines().count(),
        2,
        "a warning and an error: {shown:?}"
    );
    assert!(
        !shown.replacen('\n', "", 1).contains(char::is_control),
        "{shown:?}"
    );
}

#[test]
fn the_top_level_is_an_object() {
    for text in ["null", "[]", "7", "\"x\""] {
        let report = parse(text.as_bytes(), Path::new("/b"), Host::Ignore).expect_err("refused");
        assert_eq!(report.errors.len(), 1);
        assert!(
            report.errors[0]
                .message
                .contains("top level must be an object"),
            "{report}"
        );
        assert!(parse_process(text.as_bytes(), None).is_err());
    }
}

#[test]
fn a_process_is_loaded_from_a_file_of_its_own() {
    let bundle = Bundle::new();
    let path = bundle.0.join("process.json");
    fs::write(&path, r#"{"cwd":"/","args":["a"],"x":1}"#).unwrap();
    let (process, warnings) = load_process(&path, None).unwrap();
    assert_eq!(process.args, ["a"]);
    assert_eq!(warnings[0].pointer, "/x");
    fs::write(&path, r#"{"cwd":"/","args":[]}"#).unwrap();
    let error = load_process(&path, None)
        .expect_err("no arguments")
        .to_string();
    assert!(
        error.contains("process.json\": invalid configuration: /args: expected at least one"),
        "{error}"
    );
}

#[test]
fn a_filter_is_read_alone_and_from_a_configuration_alike() {
    let alone = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["x"],"action":"SCMP_ACT_LOG"}]}"#;
    // The rest of the configuration, which has no root, is not checked.
    let inside = format!(r#"{{"ociVersion":7,"linux":{{"odd":1,"seccomp":{alone}}}}}"#);
    let alone = parse_seccomp(alone.as_bytes()).unwrap();
    assert_eq!(alone.seccomp.syscalls[0].names, ["x"]);
    assert_eq!((alone.pointer, &*alone.warnings), ("", &[][..]));
    let inside = parse_seccomp(inside.as_bytes()).unwrap();
    assert_eq!(
        (inside.pointer, inside.warnings),
        ("/linux/seccomp", vec![])
    );
    assert_eq!(inside.seccomp, alone.seccomp);
}

#[test]
fn problems_of_a_filter_have_pointers_from_its_document() {
    let refusal = |json: &str| {
        parse_seccomp(json.as_bytes())
            .expect_err("refused")
            .to_string()
    };
    let (config, bad) = ("/linux/seccomp", r#"{"defaultAction":"SCMP_ACT_DENY"}"#);
    assert!(
        refusal(bad).starts_with("/defaultAction: "),
        "{}",
        refusal(bad)
    );
    let inside = refusal(&format!(r#"{{"linux":{{"seccomp":{bad}}}}}"#));
    assert!(
        inside.starts_with(&format!("{config}/defaultAction: ")),
        "{inside}"
    );
    for json in [
        r#"{"ociVersion":"1.2.0"}"#,
        r#"{"linux":{}}"#,
        r#"{"linux":{"seccomp":null}}"#,
    ] {
        let text = refusal(json);
        assert!(
            text.contains("no `linux.seccomp`") && text.ends_with("[missing]"),
            "{text}"
        );
    }
    assert!(refusal(r#"{"linux":[]}"#).starts_with("/linux: expected an object"));
    assert!(refusal("[]").starts_with("expected an object"));
    let template = r#"{"defaultAction":"SCMP_ACT_ERRNO","archMap":[],"syscalls":[]}"#;
    assert!(
        refusal(template).starts_with("this is a template"),
        "{}",
        refusal(template)
    );
}

#[test]
fn a_filter_is_loaded_from_a_file() {
    let bundle = Bundle::new();
    let path = bundle.0.join("seccomp.json");
    assert!(matches!(load_seccomp(&path), Err(LoadError::Absent { .. })));
    fs::write(&path, r#"{"defaultAction":"SCMP_ACT_LOG","x":1}"#).unwrap();
    let loaded = load_seccomp(&path).unwrap();
    assert_eq!(loaded.seccomp.default_action, SeccompAction::Log);
    assert_eq!(loaded.warnings[0].pointer, "/x");
}

#[test]
fn truncation_is_refused_at_every_length() {
    for end in 0..SOUND.len() {
        let cut = SOUND.as_bytes().get(..end).unwrap();
        let report = parse(cut, Path::new("/b"), Host::Ignore).expect_err("cut");
        assert_eq!(
            report.errors[0].code,
            Code::Syntax,
            "{}",
            str::from_utf8(cut).unwrap()
        );
        assert!(report.errors[0].position.is_some());
    }
}

#[test]
fn resources_alone_are_judged_with_pointers_of_their_own() {
    let sound = br#"{"memory":{"limit":0,"swap":-1},"cpu":{"quota":70000,"shares":0},
        "pids":{"limit":5},"devices":[{"allow":false,"access":"rwm"}],
        "unified":{"memory.high":"1"},"hugepageLimits":[{"pageSize":"2MB","limit":9}]}"#;
    let (resources, warnings) = parse_resources(sound).unwrap();
    assert_eq!(warnings, []);
    assert_eq!(
        (resources.memory.limit, resources.memory.swap),
        (None, Some(-1))
    );
    assert_eq!(
        (resources.cpu.quota, resources.cpu.shares),
        (Some(70_000), None)
    );
    assert_eq!(resources.pids_limit, Some(5));
    // A state file keeps the bytes that were read.
    let kept = serde_json::to_string(&resources).unwrap();
    assert_eq!(serde_json::from_str::<Resources>(&kept).unwrap(), resources);
    assert_eq!(
        serde_json::from_str::<Resources>("{}").unwrap(),
        Resources::default()
    );

    for (document, words) in [
        (r#"{"cpu":{"idle":2}}"#, "/cpu/idle: "),
        (
            r#"{"memory":{"limit":"1"}}"#,
            "/memory/limit: expected a whole number",
        ),
        ("[]", "expected an object"),
        ("null", "expected an object"),
        ("{", "syntax"),
    ] {
        let told = parse_resources(document.as_bytes())
            .unwrap_err()
            .to_string();
        assert!(told.contains(words), "{document}: {told}");
    }
    let path = Path::new("/nowhere/resources.json");
    assert!(matches!(
        load_resources(path),
        Err(LoadError::Absent { .. })
    ));
}

#[test]
fn what_confines_the_first_process_and_is_absent_here_counts_too() {
    let process = |more: &str, first: Option<&Process>| {
        let text = format!(r#"{{"cwd":"/","args":["sh"]{more}}}"#);
        parse_process(text.as_bytes(), first).unwrap().0
    };
    let confined = r#","capabilities":{"bounding":["CAP_CHOWN"]},"apparmorProfile":"p","selinuxLabel":"l","user":{"uid":1,"gid":2}"#;
    let first = process(confined, None);
    let absent = process("", Some(&first));
    assert_eq!(absent.capabilities, first.capabilities);
    assert_eq!(absent.apparmor_profile, first.apparmor_profile);
    assert_eq!(absent.selinux_label, first.selinux_label);
    assert_eq!(absent.user.uid, 0);
    let own = r#","capabilities":{},"apparmorProfile":"q","selinuxLabel":"m""#;
    assert_eq!(process(own, Some(&first)), process(own, None));
}
