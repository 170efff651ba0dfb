//! An ordinary user: user namespaces without privilege, user_namespaces(7), newuidmap(1).

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use integration::sandbox::{self, SUBORDINATE, USER};
use integration::{Bundle, Sandbox};
use serde_json::json;

/// The default bundle with the user's own id alone.
fn single(s: &Sandbox) -> Bundle {
    let mut bundle = s.bundle();
    bundle.user_namespace(&[(0, USER, 1)]);
    bundle
}

/// Rows S16, S18: a user starts a container without root: the user namespace first, the others
/// owned by it.
#[test]
fn a_user_runs_a_container() {
    sandbox::user(|s| {
        let mut bundle = s.bundle();
        bundle.shell("id -u; hostname; echo $$");
        s.run(&bundle).prints("0\ncontainer\n1");
    });
}

/// Row S14: with newuidmap and newgidmap the subordinate range is mapped.
#[test]
fn a_user_maps_its_subordinate_range() {
    sandbox::user(|s| {
        let mut bundle = s.bundle();
        bundle
            .shell("cat /proc/self/uid_map; touch /tmp/made; chown 1000:1000 /tmp/made")
            .writable();
        bundle.capabilities(&["bounding", "effective", "permitted"], &["CAP_CHOWN"]);
        let outcome = s.run(&bundle).ok();
        let words: Vec<_> = outcome.stdout.split_whitespace().collect();
        let (user, first) = (USER.to_string(), SUBORDINATE.to_string());
        assert_eq!(words, ["0", &user, "1", "1", &first, "65535"]);
        let made = fs::metadata(bundle.root().join("tmp/made")).expect("stat");
        assert_eq!(made.uid(), SUBORDINATE + 999);
    });
}

/// Row S14: without the programs the error names the one that is missing.
#[test]
fn a_missing_newuidmap_is_named() {
    sandbox::user(|s| {
        let bundle = s.bundle();
        let mut command = s.command();
        command
            .env("PATH", "/nowhere")
            .arg("run")
            .arg("--bundle")
            .arg(bundle.write())
            .arg(s.id());
        let mut outer = Command::new("setpriv");
        outer.args(command.get_args()).current_dir(&s.dir);
        outer
            .env("PATH", "/nowhere")
            .env("XDG_RUNTIME_DIR", format!("/run/user/{USER}"));
        let full = s.tool("sh", &["-c", "command -v setpriv"]);
        let mut command = Command::new(full.trim());
        command
            .args(outer.get_args())
            .current_dir(&s.dir)
            .env("PATH", "/nowhere");
        command.env("XDG_RUNTIME_DIR", format!("/run/user/{USER}"));
        let outcome = s.finish(command, Some(&bundle)).fails();
        if s.subject.is_locule() {
            assert!(
                outcome.last_line().contains("newuidmap"),
                "{}",
                outcome.describe("the program's name")
            );
        }
    });
}

/// A single id needs no program at all.
#[test]
fn a_single_id_needs_no_newuidmap() {
    sandbox::user(|s| {
        let mut bundle = single(s);
        bundle.args(&["cat", "/proc/self/uid_map"]).write();
        let full = s.tool("sh", &["-c", "command -v setpriv"]);
        let command = s.command();
        let mut without = Command::new(full.trim());
        without
            .args(command.get_args())
            .current_dir(&s.dir)
            .env("PATH", "/nowhere");
        without.env("XDG_RUNTIME_DIR", format!("/run/user/{USER}"));
        without
            .arg("run")
            .arg("--bundle")
            .arg(&bundle.path)
            .arg(s.id());
        let outcome = s.finish(without, Some(&bundle)).ok();
        let words: Vec<_> = outcome.stdout.split_whitespace().collect();
        assert_eq!(words, ["0", &USER.to_string(), "1"]);
    });
}

/// crun's `run.oci.keep_original_groups`: an ordinary user's container keeps that user's groups,
/// which are not mapped.
#[test]
fn an_annotation_keeps_the_groups_of_the_user() {
    sandbox::user(|s| {
        if s.is_control("an annotation of crun") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.args(&["id", "-G"]);
        for (value, groups) in [("0", "0"), ("1", "0 65534")] {
            bundle.set("/annotations/run.oci.keep_original_groups", json!(value));
            let full = s.command();
            let args = full.get_args().map(|arg| match arg.to_str() {
                Some("--clear-groups") => "--groups=5555".into(),
                _ => arg.to_owned(),
            });
            let mut command = Command::new(full.get_program());
            command.args(args).current_dir(&s.dir);
            command.envs(
                full.get_envs()
                    .filter_map(|(key, value)| Some((key, value?))),
            );
            command
                .arg("run")
                .arg("--bundle")
                .arg(bundle.write())
                .arg(s.id());
            s.finish(command, Some(&bundle)).prints(groups);
        }
    });
}

/// Row S15: setgroups is denied where the kernel demands it (one gid, no helper) and allowed with a
/// range.
#[test]
fn setgroups_is_denied_only_where_it_must_be() {
    sandbox::user(|s| {
        for (bundle, word) in [(single(s), "deny"), (s.bundle(), "allow")] {
            let mut bundle = bundle;
            bundle.args(&["cat", "/proc/self/setgroups"]);
            s.run(&bundle).prints(word);
        }
    });
}

/// Row S11: the user is root inside, and a file made there belongs to the user outside.
#[test]
fn a_file_of_the_containers_root_belongs_to_the_user() {
    sandbox::user(|s| {
        let mut bundle = single(s);
        bundle.writable().shell("id -u; touch /tmp/made");
        s.run(&bundle).prints("0");
        assert_eq!(
            fs::metadata(bundle.root().join("tmp/made"))
                .expect("stat")
                .uid(),
            USER
        );
    });
}

/// A range that is not the user's is refused, and nothing stays.
#[test]
fn a_foreign_range_is_refused() {
    sandbox::user(|s| {
        let mut bundle = s.bundle();
        bundle.user_namespace(&[(0, USER, 1), (1, 200_000, 1000)]);
        s.run(&bundle).fails();
    });
}

/// Podman's case: the caller is root of a user namespace, which the runtime sees from the namespace
/// and not from the user id. Without a mount namespace of its own its CAP_SYS_ADMIN counts for no
/// mount.
#[test]
fn root_of_a_user_namespace_is_an_ordinary_user() {
    sandbox::user(|s| {
        for own in [&["--mount"][..], &[]] {
            let mut bundle = s.bundle();
            bundle.user_namespace(&[(0, 0, 1)]);
            bundle.shell("id -u; cat /proc/self/uid_map");
            let state = s.dir.join(format!("nested{}", own.len()));
            fs::create_dir(&state).expect("mkdir");
            let mut nested = Command::new("unshare");
            nested.args(["--user", "--map-root-user"]).args(own);
            nested.arg(&s.subject.program).arg("--root").arg(&state);
            nested
                .arg("run")
                .arg("--bundle")
                .arg(bundle.write())
                .arg(s.id());
            let outcome = s.finish(nested, Some(&bundle)).ok();
            let words: Vec<_> = outcome.stdout.split_whitespace().collect();
            assert_eq!(words, ["0", "0", "0", "1"], "{own:?}");
        }
    });
}

/// It may enter the container's network namespace, but it could not go back to the host's.
#[test]
fn root_of_a_user_namespace_gives_a_loopback_link() {
    sandbox::pure_v2(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["cat", "/sys/class/net/lo/flags"]);
        let mut nested = Command::new("unshare");
        nested.args(["--user", "--map-root-user", "--mount"]);
        nested.arg(&s.subject.program).arg("--root").arg(&s.state);
        nested
            .arg("run")
            .arg("--bundle")
            .arg(bundle.write())
            .arg(s.id());
        // IFF_UP | IFF_LOOPBACK.
        s.finish(nested, Some(&bundle)).prints("0x9");
    });
}

/// Row S18: a limit of zero user namespaces is an error that names the knob.
#[test]
fn the_limit_of_user_namespaces_is_named() {
    sandbox::user(|s| {
        if s.is_control("runc 1.1 prints the errno alone") {
            return;
        }
        // A nested user namespace has a limit of its own: the change stays inside.
        let mut bundle = s.bundle();
        bundle.user_namespace(&[(0, 0, 1)]);
        let state = s.dir.join("nested");
        fs::create_dir(&state).expect("mkdir");
        let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
        let mut nested = Command::new("unshare");
        nested.args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
        ]);
        nested.arg(&s.subject.program).arg("--root").arg(&state);
        nested
            .arg("run")
            .arg("--bundle")
            .arg(bundle.write())
            .arg(s.id());
        s.finish(nested, Some(&bundle))
            .fails_with(&["/proc/sys/user", "namespaces"]);
    });
}

/// create, start, state, kill and delete work for a user as they do for root.
#[test]
fn the_whole_lifecycle_works_for_a_user() {
    sandbox::user(|s| {
        let mut bundle = s.bundle();
        bundle.args(&["sleep", "1000"]);
        let container = s.create(&bundle);
        assert_eq!(container.status(), "created");
        container.start().ok();
        assert_eq!(container.status(), "running");
        container.kill("KILL").ok();
        container.finish();
    });
}

/// Without --root the state is in the user's runtime directory.
#[test]
fn the_state_is_in_the_users_runtime_directory() {
    sandbox::user(|s| {
        let bundle = s.bundle();
        bundle.write();
        let id = s.id();
        let plain = |args: &[&str]| {
            let mut command = Command::new("setpriv");
            command.args([
                "--reuid",
                &USER.to_string(),
                "--regid",
                &USER.to_string(),
                "--clear-groups",
                "--inh-caps=-all",
                "--",
            ]);
            command
                .arg(&s.subject.program)
                .args(args)
                .current_dir(&bundle.path);
            command.env("XDG_RUNTIME_DIR", format!("/run/user/{USER}"));
            s.finish(command, Some(&bundle))
        };
        plain(&["create", &id]).ok();
        let name = s.subject.program.file_name().expect("name");
        let root = std::path::Path::new("/run/user")
            .join(USER.to_string())
            .join(name);
        assert!(root.join(&id).is_dir(), "{}", root.display());
        plain(&["delete", "--force", &id]).ok();
        fs::remove_dir(&root).expect("an empty state directory");
    });
}

/// Without a directory of its own the user's state is in /tmp, where another user may have made it
/// first.
#[test]
fn a_state_root_of_another_user_is_refused() {
    sandbox::user(|s| {
        if s.is_control("where locule keeps its state") {
            return;
        }
        fs::remove_dir(format!("/run/user/{USER}")).expect("rmdir");
        let name = s.subject.program.file_name().expect("name");
        let root = Path::new("/tmp").join(format!("{}-{USER}", name.display()));
        let list = || {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", &USER.to_string(), "--regid", &USER.to_string()])
                .args(["--clear-groups", "--inh-caps=-all", "--"])
                .arg(&s.subject.program)
                .arg("list")
                .env_remove("XDG_RUNTIME_DIR");
            s.finish(command, None)
        };
        let mode = |mode| fs::set_permissions(&root, Permissions::from_mode(mode)).expect("chmod");
        list().ok();
        fs::create_dir(&root).expect("mkdir");
        mode(0o755);
        list().fails_with(&["another user owns it"]);
        s.give(&root);
        list().fails_with(&["its mode gives other users access"]);
        mode(0o700);
        list().ok();
        let elsewhere = s.dir.join("elsewhere");
        fs::create_dir(&elsewhere).expect("mkdir");
        fs::set_permissions(&elsewhere, Permissions::from_mode(0o700)).expect("chmod");
        s.give(&elsewhere);
        fs::remove_dir(&root).expect("rmdir");
        symlink(&elsewhere, &root).expect("symlink");
        list().fails_with(&[&root.display().to_string()]);
        fs::remove_file(&root).expect("rm");
    });
}

/// `spec --rootless` makes a bundle that runs as is.
#[test]
fn the_rootless_template_runs() {
    sandbox::user(|s| {
        let bundle = s.bundle();
        let mut command = s.command();
        command
            .args(["spec", "--rootless", "--bundle"])
            .arg(&bundle.path);
        s.finish(command, None).ok();
        let text = fs::read(bundle.path.join("config.json")).expect("config.json");
        let mut config: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        if !s.subject.is_locule() {
            config["process"]["terminal"] = json!(false);
        }
        // The shell of the template would wait for input.
        config["process"]["args"] = json!(["id", "-u"]);
        let bundle = Bundle { config, ..bundle };
        s.run(&bundle).prints("0");
    });
}

/// Additional groups without a range for them are an error, never silently dropped.
#[test]
fn additional_groups_without_a_range_are_an_error() {
    sandbox::user(|s| {
        let mut bundle = single(s);
        bundle.set("/process/user/additionalGids", json!([10]));
        s.run(&bundle).fails();
    });
}

/// sysfs without a network namespace of one's own: the host's /sys, read-only, instead of an error.
#[test]
fn sysfs_falls_back_to_the_hosts() {
    sandbox::user(|s| {
        if s.is_control("runc 1.1 has no such fallback") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.inherit("network").shell(
            "ls /sys/class/net/lo > /dev/null && ! mkdir /sys/kernel/x 2> /dev/null && echo on",
        );
        s.run(&bundle).prints("on");
    });
}

/// The same without `ro`: still read-only, and everything below it too, the host's cgroups among it
/// (CVE-2023-25809).
#[test]
fn the_stand_in_for_sysfs_is_read_only() {
    sandbox::user(|s| {
        if s.is_control("runc has no such fallback") {
            return;
        }
        for options in [json!([]), json!(["rw"]), json!(["nosuid", "rrw"])] {
            let mut bundle = s.bundle();
            bundle.inherit("network").unmount("/sys");
            bundle.unmount("/sys/fs/cgroup").mount(
                json!({ "destination": "/sys", "type": "sysfs", "source": "sysfs", "options": options }),
            );
            bundle.set("/linux/maskedPaths", json!([]));
            bundle.set("/linux/readonlyPaths", json!([]));
            bundle.args(&["cat", "/proc/self/mountinfo"]);
            let outcome = s.run(&bundle).ok();
            let mut below = 0;
            for line in outcome.stdout.lines() {
                let fields: Vec<_> = line.split(' ').collect();
                if fields[4] == "/sys" || fields[4].starts_with("/sys/") {
                    below += 1;
                    let read_only = fields[5].split(',').any(|option| option == "ro");
                    assert!(read_only, "{options}: {line}");
                }
            }
            assert!(below > 1, "{options}: {}", outcome.stdout);
        }
    });
}

/// Devices cannot be made by a user: the host's nodes are bound.
#[test]
fn default_devices_are_there_for_a_user() {
    sandbox::user(|s| {
        let mut bundle = s.bundle();
        bundle.shell(
            "echo x > /dev/null; head -c 4 /dev/zero | wc -c; stat -c '%t:%T' /dev/null /dev/full",
        );
        s.run(&bundle).prints("4\n1:3\n1:7");
    });
}

/// Issue 9, C19: a user namespace in which setgroups(2) is denied is joined: the groups stay, as
/// for every process in it.
#[test]
fn a_user_namespace_that_denies_setgroups_is_joined() {
    sandbox::user(|s| {
        let mut first = single(s);
        first.args(&["sleep", "1000"]);
        let first = s.started(&first);
        let mut bundle = s.bundle();
        bundle.inherit("user");
        for (kind, name) in [("user", "user"), ("pid", "pid")] {
            bundle.join(kind, format!("/proc/{}/ns/{name}", first.pid()));
        }
        bundle
            .remove("/linux/uidMappings")
            .remove("/linux/gidMappings")
            .shell("id -u; cat /proc/self/setgroups");
        s.run(&bundle).prints("0\ndeny");
        first.remove();
    });
}

/// Issue 9, C19: root of a user namespace, which has no rights over its own PID namespace, joins
/// that of a container.
#[test]
fn root_of_a_user_namespace_joins_a_pid_namespace() {
    sandbox::user(|s| {
        let mut first = s.bundle();
        first
            .inherit("user")
            .remove("/linux/uidMappings")
            .remove("/linux/gidMappings")
            .args(&["sleep", "1000"]);
        let mut second = s.bundle();
        second
            .inherit("user")
            .remove("/linux/uidMappings")
            .remove("/linux/gidMappings")
            .join("pid", "/proc/PID/ns/pid")
            .shell("readlink /proc/self/ns/pid");
        let state = s.dir.join("nested");
        fs::create_dir(&state).expect("mkdir");
        let script = r#"runtime=$1 state=$2 first=$3 second=$4 id=$5
            "$runtime" --root "$state" run --detach --bundle "$first" "$id-1" > "$state/log" 2>&1 ||
                { cat "$state/log" >&2; exit 3; }
            pid=$("$runtime" --root "$state" state "$id-1" | tr -d ' ,' | sed -n 's/"pid"://p')
            sed "s/PID/$pid/" "$second/config.json" > "$state/own.json"
            readlink "/proc/$pid/ns/pid"
            "$runtime" --root "$state" run --bundle "$second" --config "$state/own.json" "$id-2"
            status=$?
            "$runtime" --root "$state" delete --force "$id-1"
            exit $status"#;
        let mut nested = Command::new("unshare");
        nested.args([
            "--user",
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            script,
            "sh",
        ]);
        nested.arg(&s.subject.program).arg(&state);
        nested.arg(first.write()).arg(second.write()).arg(s.id());
        let outcome = s.finish(nested, Some(&second)).ok();
        let lines: Vec<_> = outcome.stdout.lines().collect();
        assert_eq!(lines.len(), 2, "{}", outcome.describe("wanted two links"));
        assert_eq!(lines[0], lines[1]);
    });
}
