//! Rules of the configuration: control groups.

use crate::container::DeviceKind;
use crate::validate::tests::{accepted, refuses};

#[test]
fn device_rules_are_letters_and_numbers() {
    refuses(
        r#"
        /linux/resources = {"devices": [{"access": "rwm"}]}
            -> missing /linux/resources/devices/0 : `allow`
        /linux/resources = {"devices": [{"allow": true, "access": "rx"}]}
            -> unknown-value /linux/resources/devices/0/access : rwm
        /linux/resources = {"devices": [{"allow": true, "type": "d"}]}
            -> unknown-value /linux/resources/devices/0/type : expected a, c, u, b, p
        /linux/resources = {"devices": [{"allow": true, "major": -2}]}
            -> range /linux/resources/devices/0/major : -2
        "#,
    );
    let many = format!(
        "{{\"devices\": [{}]}}",
        ["{\"allow\": true}"; 8193].join(", ")
    );
    refuses(&format!(
        "/linux/resources = {many}
            -> range /linux/resources/devices : the list has 8193 rules"
    ));
    let rules = "{\"devices\": [{\"allow\": false}, {\"allow\": true, \"type\": \"c\", \"major\": 5, \"minor\": -1, \"access\": \"rm\"}]}";
    let found = accepted(&[("/linux/resources", rules)]).resources.devices;
    assert_eq!(
        (found[0].kind, found[0].major, found[0].write),
        (None, None, true)
    );
    assert_eq!(
        (found[1].kind, found[1].major, found[1].minor),
        (Some(DeviceKind::Char), Some(5), None)
    );
    assert_eq!(
        (found[1].read, found[1].write, found[1].mknod),
        (true, false, true)
    );
}

#[test]
fn limits_of_the_cgroup_are_in_range() {
    refuses(
        r#"
        /linux/resources = {"memory": {"limit": -2}}
            -> range /linux/resources/memory/limit : -2
        /linux/resources = {"memory": {"limit": "1G"}}
            -> type /linux/resources/memory/limit : "1G"
        /linux/resources = {"memory": {"swappiness": 101}}
            -> range /linux/resources/memory/swappiness : 100
        /linux/resources = {"cpu": {"cpus": "0-x"}}
            -> range /linux/resources/cpu/cpus : 0-3,7
        /linux/resources = {"cpu": {"shares": -1}}
            -> range /linux/resources/cpu/shares : -1
        /linux/resources = {"cpu": {"idle": 2}}
            -> range /linux/resources/cpu/idle : from 0 to 1
        /linux/resources = {"pids": {}}
            -> missing /linux/resources/pids : `limit`
        /linux/resources = {"pids": {"limit": -2}}
            -> range /linux/resources/pids/limit : -2
        /linux/resources = {"blockIO": {"weight": 9}}
            -> range /linux/resources/blockIO/weight : from 10 to 1000
        /linux/resources = {"blockIO": {"leafWeight": 1001}}
            -> range /linux/resources/blockIO/leafWeight : 1001
        /linux/resources = {"blockIO": {"weightDevice": [{"major": 8, "minor": 0}]}}
            -> missing /linux/resources/blockIO/weightDevice/0 : `leafWeight`
        /linux/resources = {"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0}]}}
            -> missing /linux/resources/blockIO/throttleReadBpsDevice/0 : `rate`
        /linux/resources = {"hugepageLimits": [{"pageSize": "2M", "limit": 1}]}
            -> range /linux/resources/hugepageLimits/0/pageSize : 2MB
        /linux/resources = {"hugepageLimits": [{"pageSize": "../MB", "limit": 1}]}
            -> range /linux/resources/hugepageLimits/0/pageSize : 2MB
        /linux/resources = {"network": {"priorities": [{"name": "eth0"}]}}
            -> missing /linux/resources/network/priorities/0 : `priority`
        /linux/resources = {"rdma": {"m x": {}}}
            -> range /linux/resources/rdma/m x : not the name
        /linux/resources = {"rdma": {"": {}}}
            -> range /linux/resources/rdma/ : not the name
        /linux/resources = {"rdma": {"mlx": {"hcaHandles": -1}}}
            -> range /linux/resources/rdma/mlx/hcaHandles : -1
        /linux/resources = {"unified": {"../memory.max": "1"}}
            -> range /linux/resources/unified/..~1memory.max : memory.high
        /linux/resources = {"unified": {"tasks": "1"}}
            -> range /linux/resources/unified/tasks : memory.high
        /linux/resources = {"unified": {"memory.max": 1}}
            -> type /linux/resources/unified/memory.max : string
        "#,
    );
    let all = "{\"memory\": {\"limit\": 0, \"swap\": -1, \"swappiness\": 0}, \"cpu\": {\"shares\": 0, \"cpus\": \"\", \"quota\": -1},
        \"pids\": {\"limit\": 0}, \"blockIO\": {\"weight\": 0, \"leafWeight\": 10}, \"hugepageLimits\": [{\"pageSize\": \"64KB\", \"limit\": 5}],
        \"unified\": {\"memory.high\": \"max\", \"hugetlb.2MB.max\": \"1\"}}";
    let found = accepted(&[("/linux/resources", all)]).resources;
    assert_eq!(
        (
            found.memory.limit,
            found.memory.swap,
            found.memory.swappiness
        ),
        (None, Some(-1), Some(0))
    );
    assert_eq!(
        (found.cpu.shares, found.cpu.cpus, found.cpu.quota),
        (None, None, Some(-1))
    );
    assert_eq!(
        (
            found.pids_limit,
            found.block_io.weight,
            found.block_io.leaf_weight
        ),
        (Some(0), None, Some(10))
    );
    assert_eq!(found.hugepage_limits, [("64KB".to_owned(), 5)]);
    assert_eq!(found.unified["memory.high"], "max");
}

/// Engines written in Go send zeroes for what they do not limit.
#[test]
fn a_zero_that_limits_nothing_is_absent() {
    let zeroes = "{\"memory\": {\"limit\": 0, \"reservation\": 0, \"swap\": 0, \"kernel\": 0, \"kernelTCP\": 0},
        \"cpu\": {\"shares\": 0, \"quota\": 0, \"period\": 0, \"realtimeRuntime\": 0, \"realtimePeriod\": 0, \"cpus\": \"\", \"mems\": \"\"},
        \"blockIO\": {\"weight\": 0, \"leafWeight\": 0}, \"network\": {\"classID\": 0}}";
    let found = accepted(&[("/linux/resources", zeroes)]).resources;
    assert_eq!(found, accepted(&[("/linux/resources", "{}")]).resources);
}

#[test]
fn the_cgroup_path_does_not_lead_upwards() {
    refuses(
        r#"
        /linux/cgroupsPath = "/../../x"
            -> path /linux/cgroupsPath : upwards
        /linux/cgroupsPath = "a/.."
            -> path /linux/cgroupsPath : upwards
        /linux/cgroupsPath = "a.slice:..:x"
            -> path /linux/cgroupsPath : upwards
        /linux/cgroupsPath = "a\u0000"
            -> range /linux/cgroupsPath : NUL
        /linux/cgroupsPath = "a\nb"
            -> range /linux/cgroupsPath : newline
        "#,
    );
    let path = |text| accepted(&[("/linux/cgroupsPath", text)]).cgroups_path;
    assert_eq!(path("\"/a..b/c\"").as_deref(), Some("/a..b/c"));
    assert_eq!(path("\"\""), None);
}
