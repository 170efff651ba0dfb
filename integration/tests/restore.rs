//! `restore`: what CRIU is asked, what is refused of an image, and what becomes of the container. A
//! program in the place of CRIU writes the requests down. The chapter `criu` has CRIU itself.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use integration::criu::{Criu, ImageMount, write_image};
use integration::runtime::children;
use integration::sandbox::eventually;
use integration::{Bundle, Outcome, Sandbox, sandbox};
use serde_json::{Value, json};

const ROOT: ImageMount<'static> = ImageMount::ROOT;

/// The kinds of file systems of an image: proc, sysfs, tmpfs, devpts, cgroup2, and what CRIU calls
/// auto and overlayfs.
const PROC: u8 = 1;
const SYSFS: u8 = 2;
const TMPFS: u8 = 5;
const DEVPTS: u8 = 6;
const CGROUP2: u8 = 23;
const AUTO: u8 = 16;
const OVERLAY: u8 = 17;

/// A bundle with a writable volume at /data and a read-only one at /read, and their names in an
/// image.
struct Given {
    bundle: Bundle,
    names: [String; 2],
    image: PathBuf,
}

impl Given {
    fn make(s: &Sandbox) -> Self {
        let mut bundle = s.bundle();
        let first = bundle.config["mounts"].as_array().expect("mounts").len();
        for (name, option) in [("data", "rw"), ("read", "ro")] {
            let volume = s.dir.join(name);
            fs::create_dir_all(&volume).expect("volume");
            bundle.bind(&volume, &format!("/{name}"), &["bind", option]);
        }
        bundle.args(&["sleep", "1000"]);
        bundle.write();
        let names = [first, first + 1].map(|index| format!("mount-{index}"));
        let image = s.dir.join(format!("image{}", s.id()));
        write_image(&image, &[]);
        let this = Self {
            bundle,
            names,
            image,
        };
        this.mounts(&[]);
        this
    }

    /// Writes the image with the mounts of the configuration, and these.
    fn mounts(&self, more: &[ImageMount<'_>]) {
        let own = [
            ROOT,
            ImageMount::external("/data", &self.names[0], false),
            ImageMount::external("/read", &self.names[1], true),
        ];
        write_image(&self.image, &[&own, more].concat());
    }

    /// Adds volumes at these mount points. Returns their names.
    fn more(&mut self, s: &Sandbox, points: &[&str]) -> Vec<String> {
        let first = self.bundle.config["mounts"].as_array().expect("mounts");
        let first = first.len();
        let volume = s.dir.join("more");
        fs::create_dir(&volume).expect("volume");
        for point in points {
            self.bundle.bind(&volume, point, &["bind"]);
        }
        self.bundle.write();
        let names = (first..).map(|index| format!("mount-{index}"));
        names.take(points.len()).collect()
    }

    /// The command line of a restore under the name `id`.
    fn command(&self, criu: &Criu<'_>, mode: &str, options: &[&str], id: &str) -> Command {
        let mut command = criu.command(mode);
        command.arg("restore").args(options);
        command.arg("--bundle").arg(&self.bundle.path);
        command.arg("--image-path").arg(&self.image).arg(id);
        command
    }

    fn restore(&self, s: &Sandbox, criu: &Criu<'_>, mode: &str, options: &[&str]) -> Outcome {
        let id = s.id();
        let outcome = s.finish(self.command(criu, mode, options, &id), Some(&self.bundle));
        if !outcome.status.success() {
            s.runtime(&["state", &id]).fails_with(&["does not exist"]);
        }
        outcome
    }
}

/// A restored container is like a started one: state, pid file, kill and delete.
#[test]
fn a_restored_container_runs() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Given::make(s);
        let id = s.id();
        let options = [
            "--detach",
            "--pid-file",
            "pid",
            "--work-path",
            "work",
            "--no-pivot",
            "--tcp-established",
            "--ext-unix-sk",
            "--shell-job",
            "--file-locks",
            "--auto-dedup",
            "--lsm-mount-context",
            "c:t",
            "--manage-cgroups-mode",
            "full",
            "--empty-ns",
            "network",
            "--lazy-pages",
            "--no-subreaper",
        ];
        s.finish(given.command(&criu, "", &options, &id), Some(&given.bundle))
            .ok();
        let state: Value =
            serde_json::from_str(&s.runtime(&["state", &id]).ok().stdout).expect("JSON");
        assert_eq!(state["status"], "running");
        assert_eq!(
            fs::read_to_string(s.dir.join("pid")).expect("pid"),
            state["pid"].to_string()
        );
        let request = criu.request("RESTORE");
        let options = &request["options"];
        for flag in [
            "restore_sibling",
            "evasive_devices",
            "orphan_pts_master",
            "notify_scripts",
            "tcp_established",
            "ext_unix_sk",
            "shell_job",
            "file_locks",
            "auto_dedup",
            "lazy_pages",
        ] {
            assert_eq!(options[flag], 1, "{flag}");
        }
        assert_eq!(options["log_file"], "restore.log");
        assert_eq!(options["cgroup_mode"], 4);
        assert_eq!(options["empty_namespaces"], 0x4000_0000);
        assert_eq!(options["lsm_mount_context"], "c:t");
        assert_eq!(options["inherited"], json!([["pipe:[7]", 1]]));
        // Sources are where no name of a container or an image leads.
        let stage = s.state.join(&id);
        let stage = stage.to_str().expect("UTF-8");
        assert_eq!(options["root"], format!("{stage}/root"));
        let sources =
            [0, 1].map(|index| json!([given.names[index], format!("{stage}/source-{index}")]));
        assert_eq!(options["external_mounts"], json!(sources));
        // CRIU works in the container's group, which becomes the root of the groups of the image.
        let group = request["group"].as_str().expect("text");
        assert!(group.contains(&id), "{group}");
        let roots = options["cgroup_roots"].to_string();
        assert!(roots.contains(&id), "{roots}");
        // Nothing of the stage is left, and the host never saw it.
        assert!(!s.state.join(&id).join("criu").exists());
        s.runtime(&["kill", &id, "KILL"]).ok();
        assert!(eventually(|| s
            .runtime(&["state", &id])
            .stdout
            .contains("stopped")));
        s.runtime(&["delete", &id]).ok();
    });
}

/// Attached, the exit status is the program's, and the container is deleted at its end.
#[test]
fn an_attached_restore_has_the_status_of_the_program() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Given::make(s);
        let id = s.id();
        let mut command = given.command(&criu, "", &[], &id);
        command.env("CRIU_PROGRAM", "exit 7");
        s.finish(command, Some(&given.bundle)).exits(7);
        s.runtime(&["state", &id]).fails_with(&["does not exist"]);
    });
}

/// The terminal of a restored process comes from CRIU. Attached, the command serves it.
#[test]
fn a_restored_terminal_is_served() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Given::make(s);
        given.bundle.set("/process/terminal", json!(true)).write();
        let mut command = given.command(&criu, "terminal", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 0");
        s.finish(command, Some(&given.bundle)).contains("restored");
        given
            .restore(s, &criu, "", &["--detach"])
            .fails_with(&["setting console socket"]);
    });
}

/// The hooks of the specification run: prestart and createRuntime with the namespaces of the
/// restored process, poststart when it runs, poststop at the end.
#[test]
fn hooks_run_as_at_a_start() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Given::make(s);
        let log = s.dir.join("hooks");
        for name in ["prestart", "createRuntime", "poststart", "poststop"] {
            let script = format!("(echo {name}; cat; echo) >> {}", log.display());
            let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
            given.bundle.set(&format!("/hooks/{name}"), hook);
        }
        given.bundle.write();
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "sleep 0.5");
        s.finish(command, Some(&given.bundle)).ok();
        let heard = fs::read_to_string(&log).expect("hooks");
        let names: Vec<_> = heard
            .lines()
            .filter(|line| !line.starts_with('{'))
            .collect();
        let names: Vec<_> = names.into_iter().filter(|line| !line.is_empty()).collect();
        assert_eq!(
            names,
            ["prestart", "createRuntime", "poststart", "poststop"],
            "{heard}"
        );
        assert!(heard.contains("\"status\":\"creating\""), "{heard}");
    });
}

/// CVE-2026-119101, CVE-2026-119614: between checkpoint and restore a mount point becomes a link.
/// CRIU would follow it and bind outside of the root.
#[test]
fn cve_2026_119614_a_link_at_a_mount_point_is_refused() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Given::make(s);
        let more = given.more(s, &["/way/more", "/data/sub"]);
        let given = given;
        let outside = s.dir.join("outside");
        fs::create_dir(&outside).expect("outside");
        let root = given.bundle.root();
        let refused = |point: &str| {
            let count = criu.heard().len();
            given
                .restore(s, &criu, "", &["--detach"])
                .fails_with(&[point, "a link is on the way"]);
            let asked = criu.heard()[count..].to_vec();
            assert!(
                asked.iter().all(|entry| entry["type"] == "VERSION"),
                "{asked:?}"
            );
            assert_eq!(fs::read_dir(&outside).expect("outside").count(), 0);
        };
        for target in [outside.to_str().expect("UTF-8"), "/etc", "/tmp"] {
            symlink(target, root.join("data")).expect("link");
            refused("/data");
            fs::remove_file(root.join("data")).expect("unlink");
        }
        // A directory above it.
        symlink(&outside, root.join("way")).expect("link");
        given.mounts(&[ImageMount::external("/way/more", &more[0], false)]);
        refused("/way/more");
        // Below a volume, where the container can write.
        symlink(&outside, s.dir.join("data/sub")).expect("link");
        given.mounts(&[ImageMount::external("/data/sub", &more[1], false)]);
        refused("/data/sub");
    });
}

/// What the host has is not changed: a mount point in a volume must be there.
#[test]
fn no_mount_point_is_made_in_a_volume() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Given::make(s);
        let more = given.more(s, &["/read/sub"]);
        given.mounts(&[ImageMount::external("/read/sub", &more[0], false)]);
        given
            .restore(s, &criu, "", &["--detach"])
            .fails_with(&["/read/sub", "missing in the volume"]);
        assert!(!s.dir.join("read/sub").exists());
    });
}

/// CVE-2026-119101: an image has only mounts of the configuration, under the names that they had at
/// the checkpoint, and no less restricted.
#[test]
fn cve_2026_119101_foreign_mounts_of_an_image_are_refused() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Given::make(s);
        let plain = |kind, point: &'static str| ImageMount::made(kind, point, 0);
        let root = s.dir.to_str().expect("UTF-8");
        for (mount, words) in [
            (
                ImageMount::external("/host", "/etc", false),
                "no mount of its name",
            ),
            (
                ImageMount::external("/host", root, false),
                "no mount of its name",
            ),
            (
                ImageMount::external("/more", &given.names[0], false),
                "two of them",
            ),
            (plain(AUTO, "/disk"), "neither a volume"),
            (plain(OVERLAY, "/over"), "neither a volume"),
            (plain(0, "/etc"), "neither a volume"),
            (plain(PROC, "/../proc"), "plain absolute path"),
            (ROOT, "one root"),
        ] {
            given.mounts(&[mount]);
            given
                .restore(s, &criu, "", &["--detach"])
                .fails_with(&["refused", words]);
        }
        write_image(
            &given.image,
            &[ROOT, ImageMount::external("/read", &given.names[1], false)],
        );
        given
            .restore(s, &criu, "", &["--detach"])
            .fails_with(&["/read", "writable, but the configuration has it read-only"]);
        assert!(criu.heard().iter().all(|entry| entry["type"] == "VERSION"));
    });
}

/// What CRIU makes is where the configuration has it, as restricted, and no copy of anything else.
#[test]
fn mounts_that_criu_makes_are_those_of_the_configuration() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Given::make(s);
        let made = ImageMount::made;
        let (proc, dev) = (made(PROC, "/proc", 0), made(TMPFS, "/dev", 2));
        let pts = made(DEVPTS, "/dev/pts", 10);
        let part = |kind, point: &'static str, root: &'static str, like| ImageMount {
            root,
            like: Some(like),
            ..made(kind, point, 1)
        };
        let sys = part(PROC, "/proc/sys", "/sys", "/proc");
        let console = part(DEVPTS, "/dev/console", "/0", "/dev/pts");
        let good = [proc, sys, dev, pts, console, made(SYSFS, "/sys", 15)];
        given.mounts(&good);
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 0");
        s.finish(command, Some(&given.bundle)).ok();
        let count = criu.heard().len();
        let none = "the configuration has no such mount there";
        let shows = "it shows a part of a file system";
        let binds = "CRIU would bind it from";
        let nearest = "not in the mount that is nearest";
        let groups = match s.is_v2() {
            true => none,
            false => "all groups of the host",
        };
        let like = |mount, point| ImageMount {
            like: Some(point),
            ..mount
        };
        let deep = |root| ImageMount { root, ..sys };
        let peer = ImageMount { master: 7, ..dev };
        let outer = ImageMount {
            parent: Some("/"),
            ..sys
        };
        let cases: [(&[ImageMount<'_>], &str, &str); 14] = [
            (&[made(PROC, "/tmp", 0)], "/tmp", none),
            (&[made(SYSFS, "/sys", 14)], "/sys", none),
            (&[made(TMPFS, "/dev", 0)], "/dev", none),
            (
                &[made(CGROUP2, "/sys/fs/cgroup", 14)],
                "/sys/fs/cgroup",
                groups,
            ),
            (&[proc, deep("/../../etc")], "/proc/sys", shows),
            (&[proc, deep("/sys/../../etc")], "/proc/sys", shows),
            (&[proc, deep("/bus")], "/proc/sys", shows),
            (&[proc, ImageMount { flags: 0, ..sys }], "/proc/sys", shows),
            (&[proc, like(sys, "/data")], "/proc/sys", shows),
            (&[like(dev, "/data")], "/dev", binds),
            (&[like(dev, "/")], "/dev", binds),
            (
                &[dev, part(TMPFS, "/dev/shm", "/..", "/dev")],
                "/dev/shm",
                shows,
            ),
            (&[peer, ImageMount { master: 7, ..proc }], "/dev", binds),
            (&[proc, outer], "/proc/sys", shows),
        ];
        for (mounts, point, words) in cases {
            given.mounts(mounts);
            given
                .restore(s, &criu, "", &["--detach"])
                .fails_with(&["refused", point, words]);
        }
        given.mounts(&[
            dev,
            ImageMount {
                parent: Some("/"),
                ..pts
            },
        ]);
        given
            .restore(s, &criu, "", &["--detach"])
            .fails_with(&["/dev/pts", nearest]);
        let asked = criu.heard()[count..].to_vec();
        assert!(asked.iter().all(|entry| entry["type"] == "VERSION"));
    });
}

/// An image that leaves out a mask, or has a read-only path writable, makes no process.
#[test]
fn masks_that_an_image_leaves_out_are_missed() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Given::make(s);
        fs::write(given.bundle.root().join("secret"), "").expect("secret");
        let masks = json!(["/none", "/secret"]);
        given.bundle.set("/linux/maskedPaths", masks).write();
        given
            .restore(s, &criu, "", &["--detach"])
            .fails_with(&["/secret", "does not mask it"]);
        let mask = ImageMount::external("/secret", "mask-file-1", true);
        given.mounts(&[mask]);
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 0");
        s.finish(command, Some(&given.bundle)).ok();
        given.bundle.set("/linux/readonlyPaths", json!(["/data"]));
        given.bundle.write();
        given
            .restore(s, &criu, "", &["--detach"])
            .fails_with(&["/data", "is not ro"]);
    });
}

/// CVE-2026-94603, CVE-2026-53489: an image is a directory of plain files.
#[test]
fn links_and_other_things_in_an_image_are_refused() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Given::make(s);
        let mounts = given.image.join("mountpoints-12.img");
        let streams = given.image.join("descriptors.json");
        let refused = |words: &[&str]| {
            given.restore(s, &criu, "", &["--detach"]).fails_with(words);
            fs::remove_dir_all(&given.image).expect("image");
            given.mounts(&[]);
        };
        symlink("/etc/passwd", given.image.join("pages-1.img")).expect("link");
        refused(&["pages-1.img", "a link"]);
        fs::rename(&streams, s.dir.join("elsewhere")).expect("rename");
        symlink(s.dir.join("elsewhere"), &streams).expect("link");
        refused(&["descriptors.json", "a link"]);
        fs::remove_file(&mounts).expect("unlink");
        s.tool("mkfifo", &[mounts.to_str().expect("UTF-8")]);
        refused(&["mountpoints-12.img", "not a regular file"]);
        fs::write(&mounts, b"CRIU").expect("mounts");
        refused(&["mountpoints-12.img", "damaged"]);
        fs::remove_file(&mounts).expect("unlink");
        refused(&["without a mount namespace"]);
        fs::copy(&mounts, given.image.join("mountpoints-13.img")).expect("copy");
        refused(&["several mount namespaces"]);
        fs::remove_file(&streams).expect("unlink");
        refused(&["descriptors.json", "no such file"]);
        for (kind, name) in [
            ("p", "pages-1.img"),
            ("b", "tty.img"),
            ("c", "parent/pages-1.img"),
        ] {
            let first = given.image.join("../first");
            fs::create_dir_all(&first).expect("parent");
            symlink("../first", given.image.join("parent")).expect("link");
            let path = given.image.join(name);
            let mut arguments = vec![path.to_str().expect("UTF-8"), kind];
            if kind != "p" {
                arguments.extend(["1", "3"]);
            }
            s.tool("mknod", &arguments);
            refused(&[name, "not a regular file"]);
            fs::remove_dir_all(first).expect("parent");
        }
        // The memory of the host's disk is not to be had by way of a parent either.
        let first = given.image.join("../first");
        fs::create_dir(&first).expect("parent");
        symlink("/dev/null", first.join("pages-1.img")).expect("link");
        symlink("../first", given.image.join("parent")).expect("link");
        refused(&["parent/pages-1.img", "a link"]);
        fs::remove_file(first.join("pages-1.img")).expect("unlink");
        for (target, words) in [
            ("/etc", "an absolute link"),
            ("../other/x", "another link"),
            ("../first", "more than 64"),
        ] {
            let other = given.image.join("../other");
            symlink("first", &other).expect("link");
            symlink(target, given.image.join("parent")).expect("link");
            symlink("../first", first.join("parent")).expect("link");
            refused(&["parent", words]);
            fs::remove_file(first.join("parent")).expect("unlink");
            fs::remove_file(other).expect("unlink");
        }
        fs::remove_dir(first).expect("parent");
        // CRIU makes this one itself.
        symlink("../first", given.image.join("parent")).expect("link");
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 0");
        s.finish(command, None).ok();
    });
}

/// The image decides what a process is. One that is confined less than configured does not run.
#[test]
fn a_process_that_is_confined_less_than_configured_does_not_run() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Given::make(s);
        let mark = s.dir.join("data/mark");
        let refused = |given: &Given, mode: &str, options: &[&str], words: &str| {
            let mut command = given.command(&criu, mode, options, &s.id());
            command.env("CRIU_PROGRAM", "touch /data/mark");
            s.finish(command, None)
                .fails_with(&["the restored process", words]);
            assert!(!mark.exists(), "{mode}");
        };
        for (mode, words) in [
            ("host", "is not in the configured"),
            ("unfiltered", "more capabilities in its bounding set"),
            ("capable", "more capabilities in its permitted set"),
            ("thread", "can get new privileges"),
            ("child", "can get new privileges"),
        ] {
            refused(&given, mode, &[], words);
        }
        let labels = [
            ("apparmor:own", "not \"own\""),
            ("selinux:a:b:c", "not \"a:b:c\""),
        ];
        for (label, words) in labels {
            refused(&given, "", &["--lsm-profile", label], words);
            assert_eq!(criu.request("RESTORE")["options"]["lsm_profile"], label);
        }
        let mut filtered = Given::make(s);
        let filter = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        filtered.bundle.set("/linux/seccomp", filter).write();
        refused(&filtered, "unfiltered", &[], "has no system call filter");
        // The mark would be there.
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "touch /data/mark");
        s.finish(command, None).ok();
        assert!(mark.exists());
    });
}

/// CRIU does not end the processes that are refused. It is ended with them, before it can let one
/// of them run.
#[test]
fn a_refusal_ends_criu_and_all_processes() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Given::make(s);
        given
            .restore(s, &criu, "child", &["--detach"])
            .fails_with(&["the restored process can get new privileges"]);
        let of_script = |entry: &Value| entry["script"] == "pre-resume";
        assert!(!criu.heard().iter().any(of_script), "CRIU had the answer");
        given
            .restore(s, &criu, "hasty", &["--detach"])
            .fails_with(&["the restored process was not checked"]);
    });
}

/// CRIU gives mounts the flags of the image, and binds some by paths of the host. A volume or a
/// root that is not as configured is refused before a process runs.
#[test]
fn a_volume_that_is_not_as_configured_is_refused() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Given::make(s);
        let volume = given.bundle.config["mounts"]
            .as_array()
            .expect("mounts")
            .len()
            - 2;
        let options = json!(["bind", "nosuid", "nodev", "noexec"]);
        given
            .bundle
            .set(&format!("/mounts/{volume}/options"), options)
            .write();
        for (mode, words) in [
            ("elsewhere", "\"/data\" that is not the volume"),
            ("writable", "\"/data\" that is not nosuid"),
            ("writable-read", "\"/read\" that is not ro"),
            ("writable-root", "\"/\" that is not ro"),
        ] {
            given
                .restore(s, &criu, mode, &["--detach"])
                .fails_with(&["the restored process has a mount at", words]);
        }
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 7");
        s.finish(command, None).exits(7);
    });
}

/// CRIU binds a volume from the stage, where its ids are mapped already.
#[test]
fn the_ids_of_a_volume_stay_mapped() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Given::make(s);
        let mounts = given.bundle.config["mounts"].as_array().expect("mounts");
        let volume = format!("/mounts/{}", mounts.len() - 2);
        let map = json!([{"containerID": 0, "hostID": 1000, "size": 1000}]);
        for maps in ["uidMappings", "gidMappings"] {
            given.bundle.set(&format!("{volume}/{maps}"), map.clone());
        }
        given.bundle.write();
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit $(($(stat -c %u /data) / 100))");
        s.finish(command, None).exits(10);
        given
            .restore(s, &criu, "elsewhere", &["--detach"])
            .fails_with(&["the restored process has a mount at \"/data\""]);
    });
}

/// The restored processes inherit the session keyring of CRIU, which is not the caller's.
#[test]
fn the_session_keyring_is_not_the_callers() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Given::make(s);
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 7");
        s.finish(command, None).exits(7);
        let heard = criu.heard();
        let of = |kind| heard.iter().find(|entry| entry["type"] == kind);
        let [asked, restored] =
            ["VERSION", "RESTORE"].map(|kind| &of(kind).expect(kind)["keyring"]);
        assert!(asked.is_number() && asked != restored, "{heard:?}");
    });
}

/// CRIU saves neither what Landlock denies nor who answers for a filter.
#[test]
fn what_criu_does_not_save_is_refused() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let refused = |pointer: &str, value: Value, words: &str| {
            let mut given = Given::make(s);
            given.bundle.set(pointer, value).write();
            given
                .restore(s, &criu, "", &["--detach"])
                .fails_with(&["the container cannot be restored", words]);
        };
        let rules = json!({"handledAccessFs": ["make_dir"]}).to_string();
        let annotation = json!({ "dev.locule.landlock": rules });
        refused(
            "/annotations",
            annotation,
            "/annotations/dev.locule.landlock",
        );
        let filter = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/listener"});
        refused("/linux/seccomp", filter, "/linux/seccomp/listenerPath");
        assert!(criu.heard().is_empty());
    });
}

/// With mntns-compat-mode CRIU mounts by paths of the host: a link in the tmpfs of an image leads
/// it to a directory of the host, and a program `tar` of the image runs there as root.
#[test]
fn criu_must_not_mount_by_paths_of_the_host() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Given::make(s);
        s.tool("mount", &["-t", "tmpfs", "tmpfs", "/etc"]);
        symlink("/proc/self/mounts", "/etc/mtab").expect("link");
        fs::create_dir("/etc/criu").expect("etc");
        for name in ["runc.conf", "default.conf"] {
            let path = format!("/etc/criu/{name}");
            for line in ["mntns-compat-mode\n", "log-level 4\n --mntns-compat-mode\n"] {
                fs::write(&path, line).expect("conf");
                given.restore(s, &criu, "", &["--detach"]).fails_with(&[
                    &*path,
                    "mntns-compat-mode",
                    "remove it",
                ]);
            }
            fs::write(&path, "# mntns-compat-mode\n").expect("conf");
        }
        let mut command = given.command(&criu, "", &[], &s.id());
        command.env("CRIU_PROGRAM", "exit 7");
        s.finish(command, None).exits(7);
        s.tool("umount", &["/etc"]);
    });
}

/// The ids of a new user namespace are those of the configuration, not those of the image.
#[test]
fn a_process_with_other_ids_does_not_run() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let mut given = Given::make(s);
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
        let user = json!({"type": "user"});
        let run = |given: &Given, map: Option<&str>| {
            let mut command = given.command(&criu, "", &[], &s.id());
            command.env("CRIU_PROGRAM", "exit 7");
            if let Some(map) = map {
                command.env("CRIU_MAP", map);
            }
            s.finish(command, None)
        };
        run(&given, Some("0 100000 1000")).fails_with(&[
            "the restored process",
            "is not in the configured user namespace",
        ]);
        given.bundle.set("/linux/uidMappings", map.clone());
        given.bundle.set("/linux/gidMappings", map);
        given.bundle.set("/linux/namespaces/-", user).write();
        for foreign in ["0 0 1000", "0 100000 1001", "0 100000 1000\n1000 0 1"] {
            run(&given, Some(foreign))
                .fails_with(&["the restored process has another uid_map than configured"]);
        }
        run(&given, None).fails_with(&["is not in the configured user namespace"]);
        run(&given, Some("0 100000 1000")).exits(7);
    });
}

/// A failure is explained and leaves nothing.
#[test]
fn a_failed_restore_leaves_nothing() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Given::make(s);
        let options = ["--detach", "--work-path", "work"];
        given.restore(s, &criu, "fails", &options).fails_with(&[
            "criu failed: type RESTORE errno 95",
            "Error (criu/a.c:7): no such thing",
            "\"work/restore.log\"",
        ]);
        given
            .restore(s, &criu, "dies", &options)
            .fails_with(&["criu failed: type RESTORE", "ended without an answer"]);
        given
            .restore(s, &criu, "outlived", &options)
            .fails_with(&["criu failed: type RESTORE", "ended without an answer"]);
        given
            .restore(s, &criu, "foreign", &options)
            .fails_with(&["criu failed: type RESTORE", "not one of its protocol"]);
        given
            .restore(s, &criu, "", &["--detach", "--pid-file", "none/pid"])
            .fails_with(&["none/pid"]);
        let mut elsewhere = given.command(&criu, "", &["--detach"], &s.id());
        elsewhere.arg("--image-path").arg("none");
        s.finish(elsewhere, None).fails();
        let mut bundle = given.bundle;
        bundle.set("/linux/netDevices", json!({"eth9": {}}));
        let mut other = criu.command("");
        other.args(["restore", "--bundle"]).arg(bundle.write());
        other.arg("--image-path").arg(&given.image).arg(s.id());
        s.finish(other, None)
            .fails_with(&["/linux/netDevices", "cannot be restored"]);
    });
}

/// Before version 3.19 CRIU does not restore no_new_privs: nothing is made with it.
#[test]
fn a_criu_that_loses_no_new_privs_restores_nothing() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Given::make(s);
        let mut restore = given.command(&criu, "", &["--detach"], &s.id());
        restore.env("CRIU_VERSION", "3.18.0");
        s.finish(restore, None)
            .fails_with(&["/process/noNewPrivileges", "3.19"]);
        assert!(criu.heard().iter().all(|heard| heard["type"] != "RESTORE"));
    });
}

/// A signal ends a restore, also while CRIU does not say its version.
#[test]
fn a_signal_ends_a_restore_that_hangs() {
    sandbox::host(|s| {
        let criu = Criu::make(s);
        let given = Given::make(s);
        let restore = given.command(&criu, "mute", &["--detach"], &s.id());
        let restore = s.spawn(restore, None);
        assert!(eventually(|| !children(restore.pid()).is_empty()));
        s.tool("kill", &["-TERM", &restore.pid().to_string()]);
        restore.wait().fails_with(&["interrupted by signal 15"]);
    });
}
