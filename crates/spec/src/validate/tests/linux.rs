//! Rules of the configuration: namespaces, id maps, clocks, kernel parameters.

use crate::container::{Namespace, NamespaceKind};
use crate::diagnostic::Code;
use crate::validate::tests::{accepted, document, judge, refuses};

#[test]
fn namespaces_are_known_and_given_once() {
    refuses(
        r#"
        /linux/namespaces = [{"type": "pids"}]
            -> unknown-value /linux/namespaces/0/type : did you mean `pid`?
        /linux/namespaces = [{"type": "pid"}, {"type": "pid"}]
            -> conflict /linux/namespaces/1 : twice
        /linux/namespaces = [{"type": "pid", "path": "x"}]
            -> path /linux/namespaces/0/path : absolute
        /linux/namespaces = [{}]
            -> missing /linux/namespaces/0 : `type`
        /linux/namespaces = {}
            -> type /linux/namespaces : expected a list
        "#,
    );
    let all = "[{\"type\":\"pid\",\"path\":\"/p\"},{\"type\":\"network\",\"path\":\"\"},{\"type\":\"cgroup\"},
        {\"type\":\"mount\"},{\"type\":\"ipc\"},{\"type\":\"uts\"},{\"type\":\"time\"}]";
    let found = accepted(&[("/linux/namespaces", all)]).namespaces;
    assert_eq!(found[NamespaceKind::Pid], Namespace::Join("/p".into()));
    assert_eq!(found[NamespaceKind::Network], Namespace::New);
    assert_eq!(found[NamespaceKind::Cgroup], Namespace::New);
    assert_eq!(found[NamespaceKind::User], Namespace::Inherit);
}

const USER: (&str, &str) = ("/linux/namespaces", "[{\"type\": \"user\"}]");
const MAP: &str = "[{\"containerID\": 0, \"hostID\": 1000, \"size\": 10}]";

#[test]
fn id_maps_belong_to_a_user_namespace() {
    refuses(
        r#"
        /linux/uidMappings = [{"containerID": 0, "hostID": 1000, "size": 10}]
            -> conflict /linux/uidMappings : user namespace
        /linux/namespaces = [{"type": "user"}] && /linux/gidMappings = [{"containerID": 0, "hostID": 1000, "size": 10}]
            -> missing /linux : `uidMappings`
        /linux/namespaces = [{"type": "user"}] && /linux/uidMappings = [{"containerID": 0, "hostID": 1000, "size": 10}] && /linux/gidMappings = []
            -> missing /linux : `gidMappings`
        /linux/namespaces = [{"type": "user", "path": "/u"}] && /linux/uidMappings = [{"containerID": 0, "hostID": 1000, "size": 10}]
            -> conflict /linux : give both or neither
        "#,
    );
    let joined = (
        "/linux/namespaces",
        "[{\"type\": \"user\", \"path\": \"/u\"}]",
    );
    let maps = [("/linux/uidMappings", MAP), ("/linux/gidMappings", MAP)];
    assert_eq!(
        accepted(&[USER, maps[0], maps[1]]).uid_mappings[0].host,
        1000
    );
    assert_eq!(
        accepted(&[joined, maps[0], maps[1]]).gid_mappings[0].size,
        10
    );
    accepted(&[joined]);
    let (_, report) = judge(&document(&[USER]));
    assert_eq!(report.errors.len(), 2, "{report}");
}

#[test]
fn id_maps_are_ranges_without_overlap() {
    let gid = ("/linux/gidMappings", MAP);
    refuses(
        r#"
        /linux/namespaces = [{"type": "user"}] && /linux/gidMappings = [{"containerID": 0, "hostID": 1000, "size": 10}] && /linux/uidMappings = [{"containerID": 0, "hostID": 0, "size": 0}]
            -> range /linux/uidMappings/0/size : 0 is outside
        /linux/namespaces = [{"type": "user"}] && /linux/gidMappings = [{"containerID": 0, "hostID": 1000, "size": 10}] && /linux/uidMappings = [{"containerID": 0, "hostID": 4294967290, "size": 6}]
            -> range /linux/uidMappings/0 : beyond 4294967294
        /linux/namespaces = [{"type": "user"}] && /linux/gidMappings = [{"containerID": 0, "hostID": 1000, "size": 10}] && /linux/uidMappings = [{"containerID": 4294967295, "hostID": 0, "size": 1}]
            -> range /linux/uidMappings/0/containerID : no change
        /linux/namespaces = [{"type": "user"}] && /linux/gidMappings = [{"containerID": 0, "hostID": 1000, "size": 10}] && /linux/uidMappings = [{"containerID": 5, "hostID": 0, "size": 5}, {"containerID": 0, "hostID": 100, "size": 6}]
            -> conflict /linux/uidMappings : from `containerID` 0 and 5 overlap
        /linux/namespaces = [{"type": "user"}] && /linux/gidMappings = [{"containerID": 0, "hostID": 1000, "size": 10}] && /linux/uidMappings = [{"containerID": 0, "hostID": 7, "size": 5}, {"containerID": 5, "hostID": 7, "size": 1}]
            -> conflict /linux/uidMappings : from `hostID` 7 and 7 overlap
        "#,
    );
    let last = "[{\"containerID\": 0, \"hostID\": 4294967290, \"size\": 5}]";
    accepted(&[USER, gid, ("/linux/uidMappings", last)]);
}

#[test]
fn an_id_map_has_at_most_340_extents() {
    let map = |count: u32| {
        let extent = |n| format!("{{\"containerID\":{n},\"hostID\":{n},\"size\":1}}");
        format!("[{}]", (0..count).map(extent).collect::<Vec<_>>().join(","))
    };
    accepted(&[
        USER,
        ("/linux/uidMappings", &map(340)),
        ("/linux/gidMappings", MAP),
    ]);
    let long = document(&[
        USER,
        ("/linux/uidMappings", &map(341)),
        ("/linux/gidMappings", MAP),
    ]);
    let (_, report) = judge(&long);
    assert_eq!(report.errors[0].pointer, "/linux/uidMappings");
    assert!(report.to_string().contains("341 mappings"), "{report}");
}

#[test]
fn the_ids_of_the_process_are_mapped() {
    let maps = [("/linux/uidMappings", MAP), ("/linux/gidMappings", MAP)];
    for (place, user) in [
        ("/process/user/uid", "{\"uid\": 10, \"gid\": 9}"),
        ("/process/user/gid", "{\"uid\": 9, \"gid\": 10}"),
        (
            "/process/user/additionalGids/1",
            "{\"additionalGids\": [9, 10]}",
        ),
    ] {
        let (_, report) = judge(&document(&[
            USER,
            maps[0],
            maps[1],
            ("/process/user", user),
        ]));
        assert_eq!(report.errors.len(), 1, "{report}");
        assert_eq!(
            (report.errors[0].code, &*report.errors[0].pointer),
            (Code::Conflict, place)
        );
    }
    accepted(&[
        USER,
        maps[0],
        maps[1],
        ("/process/user", "{\"uid\": 9, \"gid\": 9}"),
    ]);
}

#[test]
fn time_offsets_need_a_new_time_namespace() {
    let time = ("/linux/namespaces", "[{\"type\": \"time\"}]");
    refuses(
        r#"
        /linux/timeOffsets = {"monotonic": {"secs": 1}}
            -> conflict /linux/timeOffsets : new time namespace
        /linux/namespaces = [{"type": "time", "path": "/t"}] && /linux/timeOffsets = {"boottime": {"secs": 1}}
            -> conflict /linux/timeOffsets : new time namespace
        /linux/namespaces = [{"type": "time"}] && /linux/timeOffsets = {"realtime": {"secs": 1}}
            -> unknown-value /linux/timeOffsets/realtime : monotonic, boottime
        /linux/namespaces = [{"type": "time"}] && /linux/timeOffsets = {"boottime": {"nanosecs": 1000000000}}
            -> range /linux/timeOffsets/boottime/nanosecs : 999999999
        "#,
    );
    let offsets = (
        "/linux/timeOffsets",
        "{\"monotonic\": {\"secs\": -3, \"nanosecs\": 4}}",
    );
    let found = accepted(&[time, offsets]).time_offsets;
    assert_eq!((found.monotonic, found.boottime), (Some((-3, 4)), None));
    accepted(&[("/linux/timeOffsets", "{}")]);
}

#[test]
fn kernel_parameters_belong_to_a_namespace_of_the_container() {
    refuses(
        r#"
        /linux/sysctl = {"kernel.core_pattern": "x"}
            -> conflict /linux/sysctl/kernel.core_pattern : the host
        /linux/sysctl = {"net/../kernel/core_pattern": "x"}
            -> range /linux/sysctl/net~1..~1kernel~1core_pattern : not the name
        /linux/sysctl = {"NET.ipv4.x": "1"}
            -> conflict /linux/sysctl/NET.ipv4.x : the host
        /linux/sysctl = {"kernel.hostname": "x"}
            -> conflict /linux/sysctl/kernel.hostname : `hostname`
        /linux/sysctl = {"user.max_user_namespaces": "1"}
            -> conflict /linux/sysctl/user.max_user_namespaces : user namespace
        /linux/namespaces = [] && /linux/sysctl = {"net.a": "1"}
            -> conflict /linux/sysctl/net.a : network namespace
        /linux/namespaces = [] && /linux/sysctl = {"kernel.sem": "1"}
            -> conflict /linux/sysctl/kernel.sem : ipc namespace
        /linux/namespaces = [] && /linux/sysctl = {"kernel.domainname": "1"}
            -> conflict /linux/sysctl/kernel.domainname : uts namespace
        /linux/sysctl = {"net.a": 1}
            -> type /linux/sysctl/net.a : expected a string
        /linux/sysctl = {"net.a": "1", "net/a": "2"}
            -> conflict /linux/sysctl/net~1a : twice
        "#,
    );
    let all = "{\"net/ipv4/conf/eth0.1/x\": \"1\", \"fs.mqueue.msg_max\": \"2\", \"kernel.shm_rmid_forced\": \"1\"}";
    let mut found = accepted(&[("/linux/sysctl", all)]).sysctl;
    found.sort();
    let keys: Vec<_> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "fs.mqueue.msg_max",
            "kernel.shm_rmid_forced",
            "net.ipv4.conf.eth0/1.x"
        ]
    );
}
