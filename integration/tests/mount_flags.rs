//! Flags of mounts: config.md "Linux mount options". Which options set a flag, which clear it, and
//! which flags of a source stay.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use integration::mount_table::{line, options, tmpfs};
use integration::{Sandbox, sandbox};
use serde_json::json;

/// The table of "Linux mount options": each MUST option shows in mountinfo.
#[test]
fn mount_options_have_their_effect() {
    sandbox::host(|s| {
        for (option, shown) in [
            ("ro", "ro"),
            ("nosuid", "nosuid"),
            ("nodev", "nodev"),
            ("noexec", "noexec"),
            ("noatime", "noatime"),
            ("nodiratime", "nodiratime"),
            ("relatime", "relatime"),
        ] {
            let mut bundle = s.bundle();
            bundle.mount(tmpfs("/mnt", &[option]));
            let line = line(s, &mut bundle, "/mnt");
            assert!(options(&line).contains(&shown), "{option}: {line}");
        }
        let mut bundle = s.bundle();
        bundle.mount(tmpfs("/mnt", &["strictatime"]));
        let line = line(s, &mut bundle, "/mnt");
        assert!(!line.contains("atime"), "{line}");
    });
}

/// The opposites, in the order given: the last word of a pair wins.
#[test]
fn the_last_of_contrary_options_wins() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        bundle.mount(tmpfs(
            "/mnt",
            &[
                "ro", "nosuid", "noexec", "nodev", "rw", "suid", "exec", "dev",
            ],
        ));
        let line = line(s, &mut bundle, "/mnt");
        let options = options(&line);
        assert!(options.contains(&"rw"), "{line}");
        assert!(
            ["nosuid", "noexec", "nodev"]
                .iter()
                .all(|o| !options.contains(o)),
            "{line}"
        );
    });
}

/// "norelatime: Make sure relatime isn't used." A word that negates one kind of access times takes
/// back only that kind, as with runc and crun.
#[test]
fn a_negated_access_time_leaves_the_others() {
    sandbox::host(|s| {
        for (words, shown) in [
            (["strictatime", "norelatime"], None),
            (["strictatime", "atime"], None),
            (["noatime", "norelatime"], Some("noatime")),
            (["noatime", "nostrictatime"], Some("noatime")),
            (["noatime", "atime"], Some("relatime")),
            (["strictatime", "nostrictatime"], Some("relatime")),
        ] {
            let mut bundle = s.bundle();
            bundle.mount(tmpfs("/mnt", &words));
            let line = line(s, &mut bundle, "/mnt");
            let options = options(&line);
            let mut times = options.iter().filter(|word| word.ends_with("atime"));
            assert_eq!(times.next().copied(), shown, "{words:?}: {line}");
        }
    });
}

/// The same on a bind mount, where the kernel wants a second step; flags of the source that are not
/// named stay.
#[test]
fn bind_mounts_take_options_and_keep_the_sources() {
    sandbox::host(|s| {
        let folder = s.dir.join("volume");
        fs::create_dir(&folder).expect("mkdir");
        let place = folder.to_str().expect("UTF-8");
        s.tool(
            "mount",
            &["-t", "tmpfs", "-o", "nosuid,nodev", "tmpfs", place],
        );
        let mut bundle = s.bundle();
        bundle.bind(&folder, "/mnt", &["ro", "noexec"]);
        let line = line(s, &mut bundle, "/mnt");
        for wanted in ["ro", "noexec"] {
            assert!(options(&line).contains(&wanted), "{line}");
        }
        s.tool("umount", &[place]);
    });
}

/// "rro ... the mount is recursively read-only": the mounts below as well; `ro` with rbind leaves
/// them alone.
#[test]
fn recursive_options_reach_the_mounts_below() {
    sandbox::host(|s| {
        let folder = s.dir.join("volume");
        fs::create_dir(&folder).expect("mkdir");
        s.tool(
            "mount",
            &["-t", "tmpfs", "tmpfs", folder.to_str().expect("UTF-8")],
        );
        fs::create_dir(folder.join("below")).expect("mkdir");
        s.tool(
            "mount",
            &[
                "-t",
                "tmpfs",
                "tmpfs",
                folder.join("below").to_str().expect("UTF-8"),
            ],
        );
        for (option, below) in [("rro", "ro"), ("ro", "rw")] {
            let mut bundle = s.bundle();
            bundle.mount(json!({ "destination": "/mnt", "type": "bind", "source": folder, "options": ["rbind", option] }));
            let top = line(s, &mut bundle, "/mnt");
            assert!(options(&top).contains(&"ro"), "{option}: {top}");
            let line = line(s, &mut bundle, "/mnt/below");
            assert!(options(&line).contains(&below), "{option}: {line}");
        }
        s.tool("umount", &["--recursive", folder.to_str().expect("UTF-8")]);
    });
}

/// "rnosuid rnodev rnoexec rnoatime": all of them at once, on a bind mount and on what lies below.
#[test]
fn all_recursive_attributes_are_set() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let folder = s.dir.join("volume");
        fs::create_dir(&folder).expect("mkdir");
        bundle.mount(json!({ "destination": "/mnt", "type": "bind", "source": folder,
                             "options": ["rbind", "rro", "rnosuid", "rnodev", "rnoexec", "rnoatime"] }));
        let line = line(s, &mut bundle, "/mnt");
        for wanted in ["ro", "nosuid", "nodev", "noexec", "noatime"] {
            assert!(options(&line).contains(&wanted), "{wanted}: {line}");
        }
    });
}

/// "nosymfollow: Symlinks MUST NOT be followed".
#[test]
fn nosymfollow_forbids_symlinks() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 has no nosymfollow") {
            return;
        }
        let folder = s.dir.join("volume");
        fs::create_dir(&folder).expect("mkdir");
        fs::write(folder.join("file"), "x\n").expect("write");
        symlink("file", folder.join("link")).expect("symlink");
        let mut bundle = s.bundle();
        bundle
            .bind(&folder, "/mnt", &["nosymfollow"])
            .shell("cat /mnt/file && ! cat /mnt/link");
        s.run(&bundle).prints("x");
    });
}

/// A bind mount would lose unknown options silently, so they are an error.
#[test]
fn unknown_options_of_a_bind_mount_are_an_error() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 drops them") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.bind(&s.dir, "/mnt", &["colour=4k"]);
        s.try_create(&bundle, &s.id(), &[])
            .fails_with(&["colour=4k"]);
    });
}

/// Options of a tmpfs on a bind mount, as documents have them: without effect, with a warning.
#[test]
fn options_of_a_tmpfs_have_no_effect_on_a_bind_mount() {
    sandbox::host(|s| {
        let mut bundle = s.bundle();
        let source = s.dir.join("volume");
        fs::create_dir(&source).expect("mkdir");
        fs::set_permissions(&source, fs::Permissions::from_mode(0o750)).expect("chmod");
        bundle.bind(&source, "/mnt", &["mode=755", "size=4k", "uid=7", "ro"]);
        bundle.shell("stat -c '%a %u' /mnt; touch /mnt/file 2> /dev/null || echo ro");
        let outcome = s.run(&bundle).prints("750 0\nro");
        if s.subject.is_locule() {
            assert!(
                outcome.stderr.contains("has no effect on a bind mount"),
                "{}",
                outcome.stderr
            );
        }
    });
}

/// Every flag of a bind mount that the table of docs/mounts.md is about.
const FLAGS: [&str; 4] = ["ro", "nosuid", "nodev", "noexec"];

/// docs/mounts.md: an option that names a flag replaces all flags of the source, also `rw`; without
/// one they stay. The same with runc, which is why the table has no word that runc ignores
/// (`atime`, `diratime`).
#[test]
fn flags_of_a_bind_mount_are_replaced_as_a_whole() {
    sandbox::host(|s| {
        let sources = ["", "ro", "nosuid,nodev,noexec", "nosuid", "noatime,nodev"];
        let options: [&[&str]; 12] = [
            &[],
            &["rslave"],
            &["rw"],
            &["ro"],
            &["exec"],
            &["noexec"],
            &["nosuid", "nodev"],
            &["ro", "suid"],
            &["rw", "ro"],
            &["noatime"],
            &["nodiratime"],
            &["sync"],
        ];
        let mut bundle = s.bundle();
        let mut table = Vec::new();
        for (index, flags) in sources.iter().enumerate() {
            let folder = s.dir.join(format!("source{index}"));
            fs::create_dir(&folder).expect("mkdir");
            let place = folder.to_str().expect("UTF-8");
            s.tool("mount", &["-t", "tmpfs", "tmpfs", place]);
            let remount = format!("remount,bind,{flags}");
            s.tool("mount", &["-o", remount.trim_end_matches(','), place]);
            for (number, words) in options.iter().enumerate() {
                let destination = format!("/mnt{index}x{number}");
                bundle.bind(&folder, &destination, words);
                table.push((destination, *flags, *words));
            }
        }
        bundle.args(&["cat", "/proc/self/mountinfo"]);
        let outcome = s.run(&bundle).ok();
        for (destination, source, words) in table {
            let line = outcome
                .stdout
                .lines()
                .find(|line| line.split(' ').nth(4) == Some(&destination));
            let line = line.unwrap_or_else(|| panic!("{destination}: {}", outcome.stdout));
            let case = format!("source {source:?}, options {words:?}: {line}");
            let counts = |word: &&str| match *word {
                "rslave" => false,
                // runc counts what is cleared since 1.2.
                "rw" | "exec" => s.subject.is_locule(),
                _ => true,
            };
            let named = words.iter().any(counts);
            for flag in FLAGS {
                let wanted = match named {
                    true => words.contains(&flag),
                    false => source.split(',').any(|word| word == flag),
                };
                assert_eq!(has(line, flag), wanted, "{flag}: {case}");
            }
            let times = words
                .iter()
                .any(|word| word.ends_with("atime") || word.ends_with("diratime"));
            let noatime = words.contains(&"noatime") || !times && source.contains("noatime");
            assert_eq!(has(line, "noatime"), noatime, "{case}");
            assert_eq!(
                has(line, "nodiratime"),
                words.contains(&"nodiratime"),
                "{case}"
            );
        }
        for index in 0..sources.len() {
            let folder = s.dir.join(format!("source{index}"));
            s.tool("umount", &[folder.to_str().expect("UTF-8")]);
        }
    });
}

/// Whether the mount of that line has this flag.
fn has(line: &str, flag: &str) -> bool {
    options(line).contains(&flag)
}

/// In a user namespace the flags of the host's mounts are locked: those that are not named stay,
/// and to name one to be cleared is an error.
fn locked_flags_stay(s: &Sandbox, map: &[(u32, u32, u32)]) {
    if s.is_control("runc keeps them since 1.2") {
        return;
    }
    let folder = s.dir.join("volume");
    fs::create_dir(&folder).expect("mkdir");
    let place = folder.to_str().expect("UTF-8");
    s.tool("mount", &["-t", "tmpfs", "-o", "mode=755", "tmpfs", place]);
    s.tool("mount", &["-o", "remount,bind,nosuid,noexec", place]);
    for words in [&["ro"] as &[&str], &["rw"], &["nodev"], &[]] {
        let mut bundle = s.bundle();
        bundle.user_namespace(map).bind(&folder, "/mnt", words);
        let line = line(s, &mut bundle, "/mnt");
        let shown = options(&line);
        for flag in ["nosuid", "noexec"].iter().chain(words) {
            assert!(shown.contains(flag), "{words:?}: {line}");
        }
    }
    for word in ["exec", "suid"] {
        let mut bundle = s.bundle();
        bundle.user_namespace(map).bind(&folder, "/mnt", &[word]);
        s.run(&bundle).fails_with(&["locked"]);
    }
    s.tool("umount", &[place]);
}

/// For host root too: init clones the sources from a copy of its own.
#[test]
fn locked_flags_of_a_bind_mount_stay() {
    sandbox::host(|s| locked_flags_stay(s, &[(0, 100_000, 65_536)]));
}

/// For an ordinary user the kernel says so.
#[test]
fn locked_flags_of_a_bind_mount_stay_for_a_user() {
    sandbox::user(|s| locked_flags_stay(s, &[(0, sandbox::USER, 1)]));
}
