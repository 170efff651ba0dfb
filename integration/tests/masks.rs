//! `linux.maskedPaths` and `linux.readonlyPaths`: config-linux.md "Masked Paths", "Readonly Paths".

use std::fs;
use std::os::unix::fs::symlink;

use integration::sandbox;
use serde_json::json;

/// "maskedPaths (array of strings, OPTIONAL) will mask over the provided paths inside the container so that they cannot be read."
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

/// "readonlyPaths (array of strings, OPTIONAL) will set the provided paths as readonly inside the container."
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

/// A link in the root file system is resolved in the root: the mask of /link hides what it points to inside, not on the host.
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
