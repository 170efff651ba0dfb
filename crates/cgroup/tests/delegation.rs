//! Groups with other owners: a sub-tree that belongs to an ordinary user, and a container that owns
//! its group.

#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use cgroup::{Error, Location, Request};
use fixture::{DEADLINE, Name, Ready, Sleeper, container, in_v2_view, request};
use kernel::attribute::set_attribute;
use nix::unistd::{Uid, chown, setresuid};
use spec::container::{IdMapping, Namespace, NamespaceKind};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

const NOBODY: u32 = 65534;

fn give_away(group: &Path) {
    let files = [
        "",
        "cgroup.procs",
        "cgroup.subtree_control",
        "cgroup.threads",
    ];
    for file in files {
        chown(&group.join(file), Some(Uid::from_raw(NOBODY)), None).unwrap();
    }
}

/// What the user's process does in the sub-tree; it runs as a separate process, since ids and
/// groups belong to a process.
fn act_as_user(top: &str) {
    let own = Path::new("/sys/fs/cgroup").join(top).join("own");
    fs::write(own.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    let nobody = Uid::from_raw(NOBODY);
    setresuid(nobody, nobody, nobody).unwrap();
    let mut inside = container();
    let mut lower_as_user = |path: Option<String>| {
        inside.cgroups_path = path;
        Ready::of(&Request {
            rootless: true,
            ..request(&inside)
        })
        .unwrap()
    };
    // Relative: beside the caller's own group.
    let plan = lower_as_user(Some("box".to_owned()));
    assert_eq!(plan.location().groups[0].path, format!("/{top}/box"));
    // Only root can load a device program; its absence is not an error here.
    let group = plan.create().unwrap();
    let mut sleeper = Sleeper::inside(&group);
    group.verify(sleeper.pid()).unwrap();
    the_mark_proves_nothing_alone(group.location(), sleeper.pid());
    group.location().signal_all(9).unwrap();
    assert_eq!(sleeper.signal(), Some(9));
    group.location().remove(DEADLINE).unwrap();
    // Outside the sub-tree there is no permission, and no limit needs one.
    assert!(
        lower_as_user(Some("/elsewhere".to_owned()))
            .location()
            .is_empty()
    );
}

/// A container that owns its group can change the mark, but not the record.
fn the_mark_proves_nothing_alone(location: &Location, first: i32) {
    let mut unrecorded = location.clone();
    unrecorded.groups[0].inode = None;
    assert!(unrecorded.pids().unwrap().is_empty(), "the mark alone");

    let mut recorded = location.clone();
    let group = fs::File::open(location.groups[0].host_path()).unwrap();
    let mark = |text: &[u8]| set_attribute(group.as_fd(), c"user.locule", text).unwrap();
    mark(b"other/0");
    assert!(
        recorded.pids().unwrap().is_empty(),
        "perhaps another creation"
    );
    recorded.hold(first).unwrap();
    assert_eq!(recorded.pids().unwrap(), [first], "no other creation");
    recorded.hold(1).unwrap();
    assert!(
        recorded.pids().unwrap().is_empty(),
        "process 1 is elsewhere"
    );
    mark(location.groups[0].mark.as_ref().unwrap().as_bytes());
}

/// A mark that is gone was removed by the container: a creation only writes marks.
#[test]
fn a_group_without_its_mark_is_known_by_its_inode() {
    in_v2_view("a_group_without_its_mark_is_known_by_its_inode", || {
        let name = Name::new();
        let group = name.create();
        let mut location = group.location().clone();
        location.remove(DEADLINE).unwrap();
        fs::create_dir(location.groups[0].host_path()).unwrap();
        let made = fs::metadata(location.groups[0].host_path()).unwrap();
        location.groups[0].inode = Some(made.ino());
        let mut sleeper = Sleeper::inside(&location.open().unwrap());
        assert_eq!(location.pids().unwrap(), [sleeper.pid()]);
        let mut unrecorded = location.clone();
        unrecorded.groups[0].inode = None;
        unrecorded.signal_all(9).unwrap();
        assert_eq!(location.pids().unwrap(), [sleeper.pid()]);
        location.signal_all(9).unwrap();
        assert_eq!(sleeper.signal(), Some(9));
        location.remove(DEADLINE).unwrap();
    });
}

#[test]
fn a_user_makes_groups_in_a_delegated_tree() {
    in_v2_view("a_user_makes_groups_in_a_delegated_tree", || {
        if let Ok(top) = std::env::var("LOCULE_TEST_DELEGATED") {
            return act_as_user(&top);
        }
        let name = Name::new();
        let top = Path::new("/sys/fs/cgroup").join(&name.0);
        fs::create_dir_all(top.join("own")).unwrap();
        give_away(&top);
        give_away(&top.join("own"));
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_user_makes_groups_in_a_delegated_tree",
                "--test-threads=1",
            ])
            .env("LOCULE_TEST_DELEGATED", &name.0)
            .status()
            .unwrap();
        assert!(status.success());
        let end = std::time::Instant::now() + DEADLINE;
        while fs::remove_dir(top.join("own")).is_err() && std::time::Instant::now() < end {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        fs::remove_dir(top).unwrap();
    });
}

#[test]
fn a_container_owns_its_group_only_with_both_namespaces_and_a_writable_mount() {
    const NAME: &str = "a_container_owns_its_group_only_with_both_namespaces_and_a_writable_mount";
    in_v2_view(NAME, || {
        let map = IdMapping {
            container: 0,
            host: 100_000,
            size: 65536,
        };
        let cases = [
            (Namespace::New, vec![map], true, 100_000),
            (Namespace::New, vec![map], false, 0),
            (Namespace::New, Vec::new(), true, 0),
            (Namespace::Inherit, vec![map], true, 0),
        ];
        for (namespace, maps, writable, uid) in cases {
            let name = Name::new();
            let mut asked = container();
            asked.cgroups_path = Some(name.path());
            asked.namespaces[NamespaceKind::Cgroup] = namespace;
            asked.uid_mappings = maps;
            let request = Request {
                writable,
                ..request(&asked)
            };
            let group = Ready::of(&request).unwrap().create().unwrap();
            let path = group.location().groups[0].host_path();
            for file in [
                "",
                "cgroup.procs",
                "cgroup.threads",
                "cgroup.subtree_control",
            ] {
                assert_eq!(
                    fs::metadata(path.join(file)).unwrap().uid(),
                    uid,
                    "{file:?}"
                );
            }
            // The limits still belong to the host.
            assert_eq!(
                fs::metadata(path.join("cgroup.max.depth")).unwrap().uid(),
                0
            );
            group.location().remove(DEADLINE).unwrap();
        }
    });
}

#[test]
fn a_link_in_place_of_a_group_is_not_followed() {
    in_v2_view("a_link_in_place_of_a_group_is_not_followed", || {
        // cgroup file systems have no links, but a mount below one leads elsewhere too.
        let name = Name::new();
        let group = name.create();
        let location = group.location().clone();
        let path = location.groups[0].host_path();
        let status = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "none"])
            .arg(&path)
            .status()
            .unwrap();
        assert!(status.success());
        let error = location.pids().unwrap_err();
        assert!(matches!(error, Error::Directory { .. }), "{error}");
        // The mount is only in this mount namespace.
        assert!(
            std::process::Command::new("umount")
                .arg(&path)
                .status()
                .unwrap()
                .success()
        );
        location.remove(DEADLINE).unwrap();
    });
}
