//! Groups on this host as it is, and on its pure-v2 view: made, joined, frozen, killed, removed.

#![allow(clippy::disallowed_methods, reason = "tests make their own files")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod fixture;

use cgroup::{CgroupMount, Error, Facts, Location, Manager, Plan, Request, mount_view};
use fixture::{
    DEADLINE, Name, Ready, Sleeper, container, content, in_v2_view, is_possible, lower, request,
};
use spec::Container;
use spec::container::{Memory, Resources};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// The life of a group with create, kill and delete.
fn life() {
    let name = Name::new();
    let plan = name.plan(Resources::default()).unwrap();
    let location = plan.location().clone();
    assert!(!location.groups.is_empty());
    assert!(
        location
            .groups
            .iter()
            .all(|place| !place.host_path().exists())
    );

    let group = plan.create().unwrap();
    assert!(
        location
            .groups
            .iter()
            .all(|place| place.host_path().is_dir())
    );
    let mut sleeper = Sleeper::new();
    assert!(matches!(
        group.verify(sleeper.pid()),
        Err(Error::Misplaced { .. })
    ));
    group.join(sleeper.pid()).unwrap();
    group.join(sleeper.pid()).unwrap();
    group.verify(sleeper.pid()).unwrap();
    assert_eq!(location.pids().unwrap(), [sleeper.pid()]);

    let error = location.remove(Duration::from_millis(30)).unwrap_err();
    let Error::Survivors { pids, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*pids, [sleeper.pid()]);

    location.signal_all(9).unwrap();
    assert_eq!(sleeper.signal(), Some(9));
    location.remove(DEADLINE).unwrap();
    location.remove(DEADLINE).unwrap();
    assert!(location.pids().unwrap().is_empty());
    assert!(!location.is_frozen().unwrap());
}

#[test]
fn a_group_lives_on_the_host() {
    if is_possible() {
        life();
    }
}

#[test]
fn a_group_lives_on_v2() {
    in_v2_view("a_group_lives_on_v2", life);
}

/// Others may make a group again that systemd has removed.
fn another_of_the_name() {
    let name = Name::new();
    let group = name.create();
    let mut later = Sleeper::inside(&group);
    let own = group.location().clone();
    let mut former = own.clone();
    for place in &mut former.groups {
        place.inode = Some(1);
    }
    assert!(former.pids().unwrap().is_empty());
    assert!(former.open().is_err());
    former.signal_all(9).unwrap();
    former.remove(DEADLINE).unwrap();
    assert_eq!(own.pids().unwrap(), [later.pid()]);
    assert!(own.groups.iter().all(|place| place.host_path().is_dir()));

    let mut same = own.clone();
    for place in &mut same.groups {
        place.inode = Some(fs::metadata(place.host_path()).unwrap().ino());
    }
    assert_eq!(same.pids().unwrap(), [later.pid()]);
    same.signal_all(9).unwrap();
    assert_eq!(later.signal(), Some(9));
    same.remove(DEADLINE).unwrap();
    assert!(own.groups.iter().all(|place| !place.host_path().exists()));
}

#[test]
fn another_group_of_the_name_is_left_alone_on_the_host() {
    if is_possible() {
        another_of_the_name();
    }
}

#[test]
fn another_group_of_the_name_is_left_alone_on_v2() {
    in_v2_view(
        "another_group_of_the_name_is_left_alone_on_v2",
        another_of_the_name,
    );
}

/// The processor time that a process has had, in ticks.
fn ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_name, fields) = stat.rsplit_once(") ").unwrap();
    let mut fields = fields.split(' ').skip(11);
    let mut next = || fields.next().unwrap().parse::<u64>().unwrap();
    next() + next()
}

fn runs_on(pid: i32, from: u64, within: Duration) -> bool {
    let end = Instant::now() + within;
    while ticks(pid) == from && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    ticks(pid) != from
}

fn freezing() {
    let name = Name::new();
    let group = name.create();
    let location = group.location().clone();
    let endless = Command::new("sh")
        .args(["-c", "while :; do :; done"])
        .spawn()
        .unwrap();
    let mut counter = Sleeper(endless);
    group.join(counter.pid()).unwrap();
    assert!(!location.is_frozen().unwrap());
    location.freeze(DEADLINE).unwrap();
    location.freeze(DEADLINE).unwrap();
    assert!(location.is_frozen().unwrap());
    let at = ticks(counter.pid());
    assert!(!runs_on(counter.pid(), at, Duration::from_millis(60)));
    location.thaw(DEADLINE).unwrap();
    assert!(!location.is_frozen().unwrap());
    assert!(runs_on(counter.pid(), at, DEADLINE));

    location.freeze(DEADLINE).unwrap();
    location.signal_all(15).unwrap();
    location.thaw(DEADLINE).unwrap();
    assert_eq!(counter.signal(), Some(15));
    location.remove(DEADLINE).unwrap();
}

#[test]
fn a_frozen_group_stands_still_on_the_host() {
    if is_possible() {
        freezing();
    }
}

#[test]
fn a_frozen_group_stands_still_on_v2() {
    in_v2_view("a_frozen_group_stands_still_on_v2", freezing);
}

fn killing_frozen() {
    let name = Name::new();
    let group = name.create();
    let location = group.location().clone();
    let sub_group = location.below("sub/deeper").unwrap();
    for place in &sub_group.groups {
        fs::create_dir_all(place.host_path()).unwrap();
        for file in ["cpuset.cpus", "cpuset.mems"] {
            for group in [place.host_path().parent().unwrap(), &place.host_path()] {
                if place.controllers == "cpuset" {
                    fs::write(group.join(file), content(&location, file)).unwrap();
                }
            }
        }
    }
    let mut above = Sleeper::inside(&group);
    let mut below = Sleeper::inside(&sub_group.open().unwrap());
    let mut both = vec![above.pid(), below.pid()];
    both.sort_unstable();
    assert_eq!(location.pids().unwrap(), both);
    location.freeze(DEADLINE).unwrap();
    location.signal_all(9).unwrap();
    assert_eq!(above.signal(), Some(9));
    assert_eq!(below.signal(), Some(9));
    // The kernel counts the frozen ones again while they end.
    let start = Instant::now();
    while location.is_frozen().unwrap() {
        assert!(start.elapsed() < DEADLINE);
        std::thread::sleep(Duration::from_millis(1));
    }
    location.remove(DEADLINE).unwrap();
}

#[test]
fn kill_reaches_frozen_processes_and_sub_groups_on_the_host() {
    if is_possible() {
        killing_frozen();
    }
}

#[test]
fn kill_reaches_frozen_processes_and_sub_groups_on_v2() {
    in_v2_view(
        "kill_reaches_frozen_processes_and_sub_groups_on_v2",
        killing_frozen,
    );
}

/// Without cgroup.kill: only the v1 hierarchies of the host.
#[test]
fn kill_on_v1_needs_no_v2() {
    if !is_possible() {
        return;
    }
    let name = Name::new();
    let group = name.create();
    let whole = group.location().clone();
    let mut location = whole.clone();
    location
        .groups
        .retain(|place| place.version == cgroup::Version::V1);
    if !location.groups.is_empty() {
        let mut sleepers: Vec<_> = (0..3).map(|_number| Sleeper::inside(&group)).collect();
        location.signal_all(9).unwrap();
        for sleeper in &mut sleepers {
            assert_eq!(sleeper.signal(), Some(9));
        }
        assert!(!location.is_frozen().unwrap());
    }
    whole.remove(DEADLINE).unwrap();
}

fn refusals() {
    let name = Name::new();
    let former = name.create().location().clone();
    // An empty and thawed group is taken over, and no longer belongs to the former creation.
    let group = name.create();
    let location = group.location().clone();
    let mut sleeper = Sleeper::inside(&group);
    let error = name
        .plan(Resources::default())
        .unwrap()
        .create()
        .unwrap_err();
    let Error::Occupied { pids, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(*pids, [sleeper.pid()]);
    assert!(error.to_string().contains(&name.0), "{error}");
    sleeper.0.kill().unwrap();
    sleeper.signal();

    location.freeze(DEADLINE).unwrap();
    let error = name
        .plan(Resources::default())
        .unwrap()
        .create()
        .unwrap_err();
    assert!(matches!(error, Error::Frozen { .. }), "{error}");
    // A new group below a frozen one is frozen from the start.
    let mut below = container();
    below.cgroups_path = Some(format!("{}/below", name.path()));
    let error = lower(&below).unwrap().create().unwrap_err();
    assert!(matches!(error, Error::Frozen { .. }), "{error}");
    location.thaw(DEADLINE).unwrap();
    for place in &location.groups {
        assert!(!place.host_path().join("below").exists(), "taken back");
    }
    let left = former.remove(DEADLINE).unwrap();
    assert_eq!(left, location.present().unwrap());
    assert_eq!(left.len(), location.groups.len());
    assert!(location.remove(DEADLINE).unwrap().is_empty());
}

#[test]
fn occupied_and_frozen_groups_are_refused_on_the_host() {
    if is_possible() {
        refusals();
    }
}

#[test]
fn occupied_and_frozen_groups_are_refused_on_v2() {
    in_v2_view("occupied_and_frozen_groups_are_refused_on_v2", refusals);
}

fn parents() {
    let name = Name::new();
    let mut below = container();
    below.cgroups_path = Some(format!("{}/middle/leaf", name.path()));
    let group = lower(&below).unwrap().create().unwrap();
    group.location().remove(DEADLINE).unwrap();
    for place in &group.location().groups {
        let leaf = place.host_path();
        assert!(!leaf.exists());
        let middle = leaf.parent().unwrap();
        assert!(middle.is_dir(), "groups above may be others'");
        fs::remove_dir(middle).unwrap();
        fs::remove_dir(middle.parent().unwrap()).unwrap();
    }
}

#[test]
fn groups_above_are_made_and_left_on_the_host() {
    if is_possible() {
        parents();
    }
}

#[test]
fn groups_above_are_made_and_left_on_v2() {
    in_v2_view("groups_above_are_made_and_left_on_v2", parents);
}

#[test]
fn a_failed_create_takes_back_what_it_made() {
    in_v2_view("a_failed_create_takes_back_what_it_made", || {
        let name = Name::new();
        let group = name.create();
        let inner = format!(
            "{}/threaded",
            group.location().groups[0].host_path().display()
        );
        fs::create_dir(&inner).unwrap();
        fs::write(format!("{inner}/cgroup.type"), "threaded").unwrap();
        let mut below = container();
        below.cgroups_path = Some(format!("{}/threaded/a/b", name.path()));
        let error = lower(&below).unwrap().create().unwrap_err();
        assert!(matches!(error, Error::Threaded { .. }), "{error}");
        assert!(!fs::exists(format!("{inner}/a")).unwrap());
        group.location().remove(DEADLINE).unwrap();
    });
}

/// A v2 and a v1 hierarchy, and the caller's group in them.
fn facts(own: &str) -> Facts {
    let text = r#"{"hierarchies": [
        {"version": "v2", "name": "unified", "controllers": "", "own": "OWN", "own_group": "OWN"},
        {"version": "v1", "name": "memory", "controllers": "memory", "own": "OWN", "own_group": "OWN"}]}"#;
    serde_json::from_str(&text.replace("OWN", own)).unwrap()
}

#[test]
fn a_relative_path_and_an_absent_one_count_from_the_caller() {
    let paths = |path: Option<&str>, own: &str| {
        let mut asked = container();
        asked.cgroups_path = path.map(str::to_owned);
        let plan = Plan::lower(&request(&asked), &facts(own)).unwrap();
        let groups = &plan.location().groups;
        groups
            .iter()
            .map(|place| place.path.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(paths(Some("a/b"), "/x/own"), ["/x/a/b", "/x/own/a/b"]);
    assert_eq!(paths(None, "/x/own"), ["/x/box", "/x/own/box"]);
    assert_eq!(paths(None, "/"), ["/box", "/box"]);
    assert_eq!(paths(Some("/a/b"), "/x/own"), ["/a/b", "/a/b"]);
}

#[test]
fn a_disabled_manager_touches_nothing_and_shows_the_callers_groups() {
    if !is_possible() {
        return;
    }
    let mut limited = container();
    limited.cgroups_path = Some("/../ignored".to_owned());
    let plan = Ready::of(&Request {
        manager: Manager::Disabled,
        ..request(&limited)
    })
    .unwrap();
    let group = plan.create().unwrap();
    let location = group.location();
    assert!(location.is_empty());
    assert!(group.clone_into().is_none());
    group.join(1).unwrap();
    group.verify(1).unwrap();
    assert!(location.pids().unwrap().is_empty());
    assert!(matches!(location.signal_all(9), Err(Error::NoGroup)));
    assert!(matches!(location.freeze(DEADLINE), Err(Error::NoFreezer)));
    location.remove(DEADLINE).unwrap();
    match mount_view(location) {
        CgroupMount::V2 { group } => assert!(group.exists()),
        CgroupMount::V1 { hierarchies, .. } => {
            assert!(!hierarchies.is_empty());
            assert!(hierarchies.iter().all(|mount| mount.group.exists()));
        }
    }
}

/// On every host: impossible requests cause no questions.
fn lower_scope(asked: &Container) -> String {
    let request = Request {
        manager: Manager::Systemd,
        ..request(asked)
    };
    let refused = Plan::lower(&request, &Facts::default());
    refused.unwrap_err().to_string()
}

#[test]
fn a_malformed_scope_is_refused_with_its_pointer() {
    let mut named = container();
    named.cgroups_path = Some("/docker/abc".to_owned());
    let text = lower_scope(&named);
    assert!(text.starts_with("/linux/cgroupsPath: "), "{text}");
    assert!(text.contains("slice:prefix:name"), "{text}");
    named.cgroups_path = None;
    let key = "org.systemd.property.KillSignal";
    named.annotations.insert(key.to_owned(), "x".to_owned());
    let text = lower_scope(&named);
    assert!(text.starts_with(&format!("/annotations/{key}: ")), "{text}");
}

#[test]
fn the_systemd_manager_says_that_there_is_no_systemd() {
    let error = lower_scope(&container());
    assert!(error.contains("leave out --systemd-cgroup"), "{error}");
}

#[test]
fn a_location_of_another_host_is_gone_not_wrong() {
    let text = r#"{"manager":"cgroupfs","groups":[
        {"version":"v1","hierarchy":"no-such","controllers":"no-such","path":"/a"}]}"#;
    let location: Location = serde_json::from_str(text).unwrap();
    assert!(location.pids().unwrap().is_empty());
    location.remove(DEADLINE).unwrap();
    assert!(location.open().is_err());
}

/// Without a unit there is nothing that systemd could move a process to.
#[test]
fn only_a_unit_is_joined_by_systemd() {
    let unit = r#","unit":{"name":"a.scope","instance":"system","bus":"unix:path=/no-such"}"#;
    let is_moved = |unit: &str| {
        let text = r#"{"manager":"systemd","groups":[
            {"version":"v2","hierarchy":"unified","controllers":"","path":"/a"}]UNIT}"#;
        let location: Location = serde_json::from_str(&text.replace("UNIT", unit)).unwrap();
        Plan::join(location, &facts("/x/own")).moves_in()
    };
    assert!(is_moved(unit));
    assert!(!is_moved(""));
}

#[test]
fn a_user_without_permission_gets_no_group_or_an_error_about_limits() {
    let mut asked = container();
    asked.cgroups_path = Some("/elsewhere".to_owned());
    let lower = |asked: &Container| {
        let request = Request {
            rootless: true,
            ..request(asked)
        };
        Plan::lower(&request, &facts("/x/own"))
    };
    let plan = lower(&asked).unwrap();
    assert!(plan.location().is_empty());
    assert_eq!(plan.location().inherited.len(), 2);
    asked.resources.memory = Memory {
        limit: Some(1 << 20),
        ..Memory::default()
    };
    let error = lower(&asked).unwrap_err();
    assert!(error.to_string().contains("/linux/resources"), "{error}");
}

#[test]
fn a_process_is_followed_to_its_sub_group_and_nowhere_else() {
    in_v2_view(
        "a_process_is_followed_to_its_sub_group_and_nowhere_else",
        || {
            let (name, other) = (Name::new(), Name::new());
            let group = name.create();
            let location = group.location();
            let sub_group = location.below("init/deeper").unwrap();
            fs::create_dir_all(sub_group.groups[0].host_path()).unwrap();
            let mut sleeper = Sleeper::inside(&sub_group.open().unwrap());
            let mut seen = location.clone();
            seen.hold(sleeper.pid()).unwrap();
            assert_eq!(seen.of_first(), sub_group);
            let stranger = other.create();
            stranger.join(sleeper.pid()).unwrap();
            seen.hold(sleeper.pid()).unwrap();
            assert_eq!(seen.of_first(), *location);
            stranger.location().signal_all(9).unwrap();
            sleeper.signal();
            stranger.location().remove(DEADLINE).unwrap();
            location.remove(DEADLINE).unwrap();
        },
    );
}

/// Names of groups that share a beginning are different groups.
#[test]
fn a_sibling_with_a_longer_name_is_not_followed() {
    in_v2_view("a_sibling_with_a_longer_name_is_not_followed", || {
        let name = Name::new();
        let group = name.create();
        let mut sibling = group.location().clone();
        sibling.groups[0].path.push_str("-more");
        (sibling.groups[0].inode, sibling.groups[0].mark) = (None, None);
        fs::create_dir(sibling.groups[0].host_path()).unwrap();
        let mut sleeper = Sleeper::inside(&sibling.open().unwrap());
        let location = group.location();
        let mut seen = location.clone();
        seen.hold(sleeper.pid()).unwrap();
        assert_eq!(seen.of_first(), *location);
        sibling.signal_all(9).unwrap();
        sleeper.signal();
        sibling.remove(DEADLINE).unwrap();
        location.remove(DEADLINE).unwrap();
    });
}
