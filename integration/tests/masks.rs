//! `linux.maskedPaths` and `linux.readonlyPaths`: config-linux.md "Masked Paths", "Readonly Paths".

use std::fs;
use std::os::unix::fs::symlink;

use integration::sandbox;
use serde_json::json;

/// "maskedPaths (array of strings, OPTIONAL) will mask over the provided paths inside the container
/// so that they cannot be read."
#[test]
fn masked_files_and_directories_are_empty() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.file("/secret/file", "x", 0o644);
        bundle.file("/plain", "x", 0o644);
        bundle.set(
            "/linux/maskedPaths",
            json!(["/secret", "/plain", "/proc/version"]),
        );
        bundle.shell("ls -A /secret | wc -l; wc -c < /plain; stat -c '%t:%T' /plain /proc/version; touch /secret/x 2>&1");
        let outcome = s.run(&bundle).fails();
        assert_eq!(
            outcome.stdout,
            "0\n0\n1:3\n1:3\ntouch: /secret/x: Read-only file system\n"
        );
    });
}

/// The masks of the default configuration, each of those that exist.
#[test]
fn the_default_masks_hold() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let paths: Vec<String> = bundle.config["linux"]["maskedPaths"]
            .as_array()
            .expect("list")
            .iter()
            .map(|p| p.as_str().expect("path").to_owned())
            .collect();
        bundle.shell(&format!(
            "for p in {}; do if test -d $p; then ls -A $p; elif test -e $p; then stat -c '%n %t:%T' $p; fi; done",
            paths.join(" ")
        ));
        let outcome = s.run(&bundle).ok();
        assert!(outcome.stdout.lines().count() >= 2, "{}", outcome.stdout);
        for line in outcome.stdout.lines() {
            assert!(line.ends_with(" 1:3"), "{}", outcome.stdout);
        }
    });
}

/// A path that is not there needs no mask.
#[test]
fn missing_paths_are_passed_over() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let mut masked = vec!["/nowhere/at/all"];
        if s.subject.is_locule() {
            masked.push("/etc/passwd/below"); // an error in runc 1.1
        }
        bundle.set("/linux/maskedPaths", json!(masked));
        bundle.set("/linux/readonlyPaths", json!(["/nowhere/at/all"]));
        s.run(&bundle).ok();
    });
}

/// "readonlyPaths (array of strings, OPTIONAL) will set the provided paths as readonly inside the
/// container."
#[test]
fn readonly_paths_refuse_writes() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.writable().file("/held/file", "x", 0o644);
        bundle.set("/linux/readonlyPaths", json!(["/held", "/proc/sys"]));
        bundle.shell("touch /free; echo y > /held/file; echo 1 > /proc/sys/kernel/panic");
        let outcome = s.run(&bundle).fails();
        assert_eq!(
            outcome.stderr.matches("Read-only").count(),
            2,
            "{}",
            outcome.describe("two refusals")
        );
        assert!(bundle.root().join("free").exists());
    });
}

/// What is mounted below a read-only path is read-only as well, whether the path is a mount or not.
#[test]
fn mounts_below_a_readonly_path_refuse_writes() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 makes only the path itself read-only") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.writable();
        for place in ["/mount", "/mount/below", "/plain/below"] {
            let mount = json!({ "destination": place, "type": "tmpfs", "source": "t" });
            bundle.mount(mount);
        }
        bundle.shell("touch /mount/below/file /plain/below/file");
        s.run(&bundle).ok();
        bundle.set("/linux/readonlyPaths", json!(["/mount", "/plain"]));
        let outcome = s.run(&bundle).fails();
        let refusals = outcome.stderr.matches("Read-only").count();
        assert_eq!(refusals, 2, "{}", outcome.describe("two refusals"));
    });
}

/// A read-only path keeps the other flags of the mount that it lies on.
#[test]
fn readonly_paths_keep_the_flags_of_their_mount() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.mount(json!({ "destination": "/mnt", "type": "tmpfs", "source": "t", "options": ["nosuid", "noexec", "nodev", "tmpcopyup"] }));
        bundle.file("/mnt/sub/file", "x", 0o644);
        bundle
            .set("/linux/readonlyPaths", json!(["/mnt/sub"]))
            .args(&["grep", " /mnt/sub ", "/proc/self/mountinfo"]);
        let outcome = s.run(&bundle).ok();
        let options = outcome.stdout.split(' ').nth(5).expect("options");
        for wanted in ["ro", "nosuid", "noexec", "nodev"] {
            assert!(
                options.split(',').any(|o| o == wanted),
                "{}",
                outcome.stdout
            );
        }
    });
}

/// A link in the root file system is resolved in the root: the mask of /link hides what it points
/// to inside, not on the host.
#[test]
fn masks_resolve_links_inside_the_root() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.file("/real/file", "x", 0o644);
        symlink("/real", bundle.root().join("link")).expect("symlink");
        bundle
            .set("/linux/maskedPaths", json!(["/link"]))
            .shell("ls -A /real | wc -l");
        s.run(&bundle).prints("0");
    });
}

/// 500 masked directories are quick and share one file system.
#[test]
fn many_masked_directories_share_one_file_system() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 mounts a tmpfs for each") {
            return;
        }
        let mut bundle = s.bundle();
        let paths: Vec<_> = (0..500).map(|n| format!("/many/{n}")).collect();
        for path in &paths {
            fs::create_dir_all(bundle.root().join(&path[1..])).expect("mkdir");
        }
        bundle.set("/linux/maskedPaths", json!(paths));
        bundle.shell("grep ' /many/' /proc/self/mountinfo | cut -d' ' -f3 | sort | uniq -c | wc -l; ls -A /many/499");
        s.run(&bundle).prints("1");
    });
}

/// A path that cannot be looked up may be there all the same: an error, not a mask that is missing.
#[test]
fn a_path_that_cannot_be_looked_up_is_an_error() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 passes over some of them") {
            return;
        }
        for list in ["maskedPaths", "readonlyPaths"] {
            let mut bundle = s.bundle();
            symlink("round", bundle.root().join("round")).expect("symlink");
            bundle.set(&format!("/linux/{list}"), json!(["/etc", "/round/file"]));
            s.run(&bundle).fails_with(&["/round/file", "ELOOP"]);
        }
    });
}

/// The root as a read-only path, by its name and by a link: everything is read-only, the mounts
/// too.
#[test]
fn the_root_can_be_a_readonly_path() {
    sandbox::host(|s| {
        if s.is_control("runc mounts on top of the root, where nobody sees it") {
            return;
        }
        for path in ["/", "/top", "/mnt/..", "/top/mnt/../."] {
            let mut bundle = s.bundle();
            symlink("/", bundle.root().join("top")).expect("symlink");
            bundle.writable().mount(
                json!({ "destination": "/mnt", "type": "tmpfs", "source": "t", "options": [] }),
            );
            bundle.set("/linux/readonlyPaths", json!([path]));
            bundle.shell("touch /x; touch /mnt/x; touch /dev/x; echo > /dev/null && echo written");
            let outcome = s.run(&bundle).ok();
            assert_eq!(outcome.stdout, "written\n", "{path}");
            let refused = outcome.stderr.matches("Read-only").count();
            assert_eq!(refused, 3, "{path}: {}", outcome.describe("three refusals"));
        }
    });
}

/// The root as a masked path cannot be: an error at its pointer, by whatever name.
#[test]
fn the_root_cannot_be_masked() {
    sandbox::host(|s| {
        if s.is_control("runc mounts on top of the root, where nobody sees it") {
            return;
        }
        for path in ["/", "//.", "/top", "/mnt/.."] {
            let mut bundle = s.bundle();
            symlink("/", bundle.root().join("top")).expect("symlink");
            bundle.set("/linux/maskedPaths", json!(["/proc/version", path]));
            s.run(&bundle)
                .fails_with(&["/linux/maskedPaths/1", "root itself", "cannot be masked"]);
        }
    });
}

/// Every spelling of a path that the program can use.
const SPELLINGS: [&str; 20] = [
    "/folder",
    "/folder/",
    "//folder/./sub",
    "/folder/sub/..",
    "/folder/file",
    "/folder/file/",
    "/link",
    "/link/..",
    "/link/../deep",
    "/chain",
    "/chain/..",
    "/up",
    "/up/../file",
    "/dangling",
    "/top",
    "/top/folder/sub",
    "/",
    "/tmp",
    "/tmp/..",
    "/dev/shm",
];

/// Whatever path is accepted in either list is read-only, or masked, for the program. The choice of
/// paths is pseudo-random, and the same in every run.
#[test]
fn accepted_paths_are_masked_or_read_only() {
    sandbox::host(|s| {
        if s.is_control("runc mounts on top of the root, where nobody sees it") {
            return;
        }
        let mut state = 9_u64;
        let mut next = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let mut accepted = 0;
        for _ in 0..40 {
            let mut choose = |most| -> Vec<_> {
                (0..next(most))
                    .map(|_| SPELLINGS[next(SPELLINGS.len())])
                    .collect()
            };
            let (masked, readonly) = (choose(3), choose(4));
            let mut bundle = s.bundle();
            bundle.file("/folder/file", "x", 0o644);
            bundle.file("/folder/sub/deep/file", "x", 0o644);
            bundle.file("/file", "x", 0o644);
            for (text, name) in [
                ("/folder/sub/deep", "link"),
                ("link/..", "chain"),
                ("../../folder/sub", "up"),
                ("/nowhere", "dangling"),
                ("/", "top"),
            ] {
                symlink(text, bundle.root().join(name)).expect("symlink");
            }
            bundle.writable().mount(
                json!({ "destination": "/tmp", "type": "tmpfs", "source": "t", "options": [] }),
            );
            bundle.set("/linux/maskedPaths", json!(masked));
            bundle.set("/linux/readonlyPaths", json!(readonly));
            bundle.shell(&format!(
                "for p in {}; do
                     if test -d $p; then test -z \"$(ls -A $p)\" || echo \"$p is full\"
                     elif test -e $p; then test -z \"$(cat $p)\" || echo \"$p can be read\"; fi
                 done
                 for p in {}; do
                     if test -d $p; then touch $p/new && echo \"$p takes files\"
                     elif test -f $p; then echo >> $p && echo \"$p can be written\"; fi
                 done; true",
                masked.join(" "),
                readonly.join(" "),
            ));
            let case = format!("masked {masked:?}, read-only {readonly:?}");
            let outcome = s.run(&bundle);
            if outcome.status.success() {
                accepted += 1;
                assert_eq!(outcome.stdout, "", "{case}");
            } else {
                outcome.fails_with(&["/linux/maskedPaths/", "root itself"]);
            }
        }
        assert!(accepted > 20, "{accepted} of 40");
    });
}

/// A path that is listed twice, or reached by a link too, is covered once.
#[test]
fn masked_paths_are_covered_once() {
    sandbox::host(|s| {
        if s.is_control("runc covers again what is covered") {
            return;
        }
        for user_namespace in [false, true] {
            let mut bundle = s.bundle();
            if user_namespace {
                bundle.user_namespace(&[(0, 100_000, 65_536)]);
            }
            bundle.file("/folder/file", "x", 0o644);
            bundle.file("/plain", "x", 0o644);
            symlink("folder", bundle.root().join("link")).expect("symlink");
            bundle.set(
                "/linux/maskedPaths",
                json!([
                    "/folder", "/plain", "/folder/", "/link", "/plain", "/./plain"
                ]),
            );
            bundle.shell("cut -d' ' -f5 /proc/self/mountinfo | grep -e folder -e plain | sort");
            s.run(&bundle).prints("/folder\n/plain");
        }
    });
}
