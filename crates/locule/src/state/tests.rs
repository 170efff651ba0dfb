use super::*;
use crate::testing::{self, Directory};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

fn id(name: &str) -> ContainerId {
    ContainerId::new(name).unwrap()
}

fn store(directory: &Directory) -> Store {
    Store::open(
        Some(&directory.path().join("root")),
        crate::face::own(),
        Access::Make,
    )
    .unwrap()
}

#[test]
fn ids_are_file_names_of_harmless_characters() {
    for good in ["a", "A.b_c+d-1", "..a", "a..b", "-x", &"x".repeat(255)] {
        assert_eq!(ContainerId::new(good).unwrap().as_str(), good);
    }
    for bad in [
        "",
        ".",
        "..",
        "a/b",
        "a b",
        "ä",
        "a\n",
        "a\0",
        &"x".repeat(256),
    ] {
        let error = ContainerId::new(bad).unwrap_err().to_string();
        assert!(error.starts_with("invalid container id"), "{error}");
    }
}

#[test]
fn the_root_is_made_private_and_is_never_slash() {
    let directory = Directory::new();
    let store = store(&directory);
    let mode = fs::metadata(store.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    for slash in ["/", "//", "/proc/..", "/./"] {
        let error =
            Store::open(Some(slash.as_ref()), crate::face::own(), Access::Make).unwrap_err();
        assert!(matches!(error, Error::RootIsSlash { .. }), "{error}");
    }
}

#[test]
fn a_missing_root_holds_nothing() {
    let directory = Directory::new();
    let path = directory.path().join("none");
    let store = Store::open(Some(&path), crate::face::own(), Access::Look).unwrap();
    assert!(!store.exists());
    assert!(store.ids().unwrap().is_empty());
    let error = store.container(&id("x"), Lock::Exclusive).unwrap_err();
    assert_eq!(error.to_string(), "container does not exist: x");
    assert!(!path.exists());
}

#[test]
fn a_name_is_given_once() {
    let directory = Directory::new();
    let store = store(&directory);
    let first = store.reserve(&id("box")).unwrap();
    let error = store.reserve(&id("box")).unwrap_err().to_string();
    let known =
        "container with given ID already exists: box (it is being created by a live process)";
    assert_eq!(error, known);

    first.journal(&testing::record("box")).unwrap();
    let error = store.reserve(&id("box")).unwrap_err().to_string();
    let holder = format!(
        "it is being created by process {} since 2026",
        std::process::id()
    );
    assert!(error.contains(&holder), "{error}");

    let mut record = testing::record("box");
    record.set_process(1, 1);
    first.save(&record).unwrap();
    drop(first);
    let error = store.reserve(&id("box")).unwrap_err().to_string();
    assert!(error.contains("(created 2026-01-02T03:04:05"), "{error}");

    store
        .container(&id("box"), Lock::Exclusive)
        .unwrap()
        .remove()
        .unwrap();
    store.reserve(&id("box")).unwrap().discard().unwrap();
    assert!(store.ids().unwrap().is_empty());
}

#[test]
fn a_half_made_container_says_how_to_get_rid_of_it() {
    let directory = Directory::new();
    let store = store(&directory);
    drop(store.reserve(&id("box")).unwrap());
    let error = store.reserve(&id("box")).unwrap_err().to_string();
    assert!(
        error.contains("`locule delete --force box` cleans up"),
        "{error}"
    );
    let entry = store.container(&id("box"), Lock::None).unwrap();
    assert!(matches!(entry.record(), Err(Error::Unrecorded { .. })));
    assert!(!entry.is_held());
}

#[test]
fn the_lock_excludes_others_until_it_is_dropped() {
    let directory = Directory::new();
    let store = store(&directory);
    let reservation = store.reserve(&id("box")).unwrap();
    let watcher = store.container(&id("box"), Lock::None).unwrap();
    assert!(watcher.is_held());
    let entry = reservation.into_entry();
    assert!(watcher.is_held());
    let entry = entry.release();
    assert!(!watcher.is_held());
    drop(entry);
    let entry = store.container(&id("box"), Lock::Exclusive).unwrap();
    assert!(watcher.is_held());
    entry.remove().unwrap();
    assert!(matches!(
        store.container(&id("box"), Lock::None),
        Err(Error::Absent { .. })
    ));
}

#[test]
fn the_journal_stands_in_until_the_record_is_written() {
    let directory = Directory::new();
    let store = store(&directory);
    let reservation = store.reserve(&id("box")).unwrap();
    let mut record = testing::record("box");
    reservation.journal(&record).unwrap();
    let entry = store.container(&id("box"), Lock::None).unwrap();
    assert_eq!(entry.record().unwrap(), record);
    record.set_process(4711, 8);
    reservation.save(&record).unwrap();
    assert_eq!(entry.record().unwrap(), record);
    assert_eq!(entry.journal().unwrap().pid, None);
}

#[test]
fn the_configuration_is_kept_byte_for_byte() {
    let directory = Directory::new();
    let store = store(&directory);
    let reservation = store.reserve(&id("box")).unwrap();
    let bytes = b"{ \"a\" : 1 }\n\n\xff";
    reservation.config(bytes).unwrap();
    assert_eq!(reservation.into_entry().config().unwrap(), bytes);
}

#[test]
fn files_are_private_and_leave_nothing_beside_them() {
    let directory = Directory::new();
    let store = store(&directory);
    let reservation = store.reserve(&id("box")).unwrap();
    let own = directory.path().join("root/box");
    // A file that a killed process may have left.
    fs::write(own.join("state.json.next"), "half").unwrap();
    reservation.save(&testing::record("box")).unwrap();
    let names: Vec<_> = fs::read_dir(&own)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(names, ["state.json"]);
    let mode = fs::metadata(own.join("state.json"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn strangers_in_the_root_are_no_containers() {
    let directory = Directory::new();
    let store = store(&directory);
    let root = directory.path().join("root");
    fs::write(root.join("file"), "").unwrap();
    symlink("/etc", root.join("link")).unwrap();
    mkfifo(&root.join("fifo"), Mode::S_IRWXU).unwrap();
    fs::create_dir(root.join("not a name")).unwrap();
    drop(store.reserve(&id("box")).unwrap());
    assert_eq!(store.ids().unwrap(), [id("box")]);
    for name in ["file", "link", "fifo"] {
        let error = store.container(&id(name), Lock::Exclusive).unwrap_err();
        assert!(matches!(error, Error::Absent { .. }), "{name}: {error}");
        let error = store.reserve(&id(name)).unwrap_err().to_string();
        assert!(error.contains("a file that is not a container"), "{error}");
    }
}

#[test]
fn a_record_that_is_no_file_is_damage_and_not_a_hang() {
    let directory = Directory::new();
    let store = store(&directory);
    let reservation = store.reserve(&id("box")).unwrap();
    let state = directory.path().join("root/box/state.json");
    let entry = store.container(&id("box"), Lock::None).unwrap();
    let damaged = || matches!(entry.record(), Err(Error::Damaged { .. }));

    mkfifo(&state, Mode::S_IRWXU).unwrap();
    assert!(damaged());
    fs::remove_file(&state).unwrap();
    fs::create_dir(&state).unwrap();
    assert!(damaged());
    fs::remove_dir(&state).unwrap();
    symlink("/dev/zero", &state).unwrap();
    assert!(damaged());
    fs::remove_file(&state).unwrap();
    fs::write(&state, vec![b' '; (16 << 20) + 1]).unwrap();
    assert!(damaged());
    let other = store.reserve(&id("other")).unwrap();
    other.save(&testing::record("other")).unwrap();
    fs::copy(directory.path().join("root/other/state.json"), &state).unwrap();
    let error = entry.record().unwrap_err().to_string();
    assert!(
        error.contains("it belongs to container \"other\""),
        "{error}"
    );
    reservation.discard().unwrap();
}

#[test]
fn removal_takes_what_others_have_put_there() {
    let directory = Directory::new();
    let store = store(&directory);
    let reservation = store.reserve(&id("box")).unwrap();
    let own = directory.path().join("root/box");
    let outside = directory.path().join("outside");
    fs::create_dir_all(own.join("notify/deeper")).unwrap();
    fs::write(own.join("notify/deeper/file"), "").unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "").unwrap();
    symlink(&outside, own.join("notify/link")).unwrap();
    reservation.discard().unwrap();
    assert!(!own.exists());
    assert!(outside.join("file").exists());
}

#[test]
fn a_record_of_another_version_is_refused_by_number() {
    let mut record = testing::record("box");
    record.version = 99;
    let bytes = record.to_bytes().unwrap();
    let error = Record::from_bytes(&bytes, "box").unwrap_err();
    assert_eq!(error, "it has version 99, this program supports 1");
    let other = Record::sealed(br#"{"version":99,"name":"box""#.to_vec());
    let error = Record::from_bytes(&other, "box").unwrap_err();
    assert_eq!(error, "it has version 99, this program supports 1");
    let other = Record::sealed(br#"{"version":1,"name":"box""#.to_vec());
    let error = Record::from_bytes(&other, "box").unwrap_err();
    assert!(error.contains("missing field"), "{error}");
}

#[test]
fn a_record_is_an_object_with_the_names_that_others_look_for() {
    let mut record = testing::record("box");
    record.set_process(4711, 815);
    record.cgroup = Some(cgroup::Location {
        groups: vec![cgroup::Place {
            version: cgroup::Version::V2,
            hierarchy: String::new(),
            controllers: String::new(),
            path: "/box".to_owned(),
            inode: None,
            mark: None,
            first: None,
        }],
        ..cgroup::Location::none(cgroup::Manager::Cgroupfs)
    });
    let value: serde_json::Value = serde_json::from_slice(&record.to_bytes().unwrap()).unwrap();
    assert_eq!(value["init_process_pid"], 4711);
    assert_eq!(value["init_process_start"], 815);
    assert_eq!(value["namespace_paths"]["NEWNET"], "/proc/4711/ns/net");
    assert_eq!(value["namespace_paths"]["NEWNS"], "/proc/4711/ns/mnt");
    assert_eq!(value["cgroup_paths"][""], "/sys/fs/cgroup/box");
}

#[test]
fn every_flipped_bit_and_every_truncation_is_noticed() {
    let mut record = testing::record("box");
    record.set_process(4711, 815);
    let bytes = record.to_bytes().unwrap();
    assert_eq!(Record::from_bytes(&bytes, "box").unwrap(), record);
    for index in 0..bytes.len() {
        assert!(Record::from_bytes(&bytes[..index], "box").is_err());
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[index] ^= 1 << bit;
            assert!(
                Record::from_bytes(&changed, "box").is_err(),
                "{index} {bit}"
            );
        }
    }
}

proptest! {
    #[test]
    fn records_come_back_as_they_were(
        words in proptest::collection::btree_map(".*", ".*", 0..4),
        text in ".*",
        pid in proptest::option::of(1..i32::MAX),
        start in any::<u64>(),
        owner in any::<u32>(),
    ) {
        let mut record = testing::record("box");
        record.annotations = words;
        record.oci_version.clone_from(&text);
        record.rootfs = text.into();
        record.owner = owner;
        record.resources = pid.map(|limit| spec::container::Resources {
            pids_limit: Some(limit.into()),
            ..Default::default()
        });
        if let Some(pid) = pid {
            record.set_process(pid, start);
        }
        let bytes = record.to_bytes().unwrap();
        prop_assert_eq!(Record::from_bytes(&bytes, "box").unwrap(), record);
    }

    #[test]
    fn any_change_of_a_byte_is_noticed(at in any::<prop::sample::Index>(), by in 1..=255_u8) {
        let mut bytes = testing::record("box").to_bytes().unwrap();
        let index = at.index(bytes.len());
        bytes[index] = bytes[index].wrapping_add(by);
        prop_assert!(Record::from_bytes(&bytes, "box").is_err());
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in any::<Vec<u8>>()) {
        prop_assert!(Record::from_bytes(&bytes, "box").is_err());
    }
}

#[test]
fn a_removal_leaves_who_has_the_name_by_now() {
    let directory = Directory::new();
    let store = store(&directory);
    let first = store.reserve(&id("box")).unwrap();
    let own = directory.path().join("root/box");
    fs::rename(&own, directory.path().join("moved")).unwrap();
    let second = store.reserve(&id("box")).unwrap();
    second.journal(&testing::record("box")).unwrap();
    first.discard().unwrap();
    assert!(own.join("journal.json").exists());
    second.discard().unwrap();
    assert!(!own.exists());
}

#[test]
fn a_removal_without_the_lock_takes_it_first() {
    let directory = Directory::new();
    let store = store(&directory);
    let reservation = store.reserve(&id("box")).unwrap();
    let entry = reservation.into_entry().release();
    let other = store.container(&id("box"), Lock::Exclusive).unwrap();
    let removal = std::thread::spawn(move || entry.remove());
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(directory.path().join("root/box").exists());
    drop(other);
    removal.join().unwrap().unwrap();
    assert!(!directory.path().join("root/box").exists());
}

/// Creations and forced deletions of one id at once: at no time do two creations hold it, and no
/// holder's directory is removed by another.
#[test]
fn of_many_commands_on_one_id_one_has_it_at_a_time() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let directory = Directory::new();
    let path = directory.path().join("root");
    drop(store(&directory));
    let (holders, made) = (AtomicU32::new(0), AtomicU32::new(0));
    let create = |ends_well: bool| {
        let store = Store::open(Some(&path), crate::face::own(), Access::Look).unwrap();
        for round in 0..400 {
            let reservation = match store.reserve(&id("box")) {
                Ok(reservation) => reservation,
                Err(Error::Exists { .. }) => continue,
                Err(error) => panic!("{error}"),
            };
            assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
            made.fetch_add(1, Ordering::SeqCst);
            let mut record = testing::record("box");
            record.oci_version = format!("{ends_well} {round}");
            reservation.journal(&record).unwrap();
            std::thread::yield_now();
            let named = store.container(&id("box"), Lock::None).unwrap();
            assert_eq!(named.journal().unwrap(), record);
            holders.fetch_sub(1, Ordering::SeqCst);
            if ends_well {
                drop(reservation);
            } else {
                reservation.discard().unwrap();
            }
        }
    };
    let delete = || {
        let store = Store::open(Some(&path), crate::face::own(), Access::Look).unwrap();
        for _ in 0..2000 {
            match store.container(&id("box"), Lock::Exclusive) {
                Ok(entry) => entry.remove().unwrap(),
                Err(Error::Absent { .. }) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    };
    std::thread::scope(|scope| {
        for ends_well in [true, false, true, false] {
            scope.spawn(move || create(ends_well));
        }
        for _ in 0..2 {
            scope.spawn(delete);
        }
    });
    assert!(made.load(Ordering::SeqCst) > 0);
}
