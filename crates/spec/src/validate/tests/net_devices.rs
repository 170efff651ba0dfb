use super::{accepted, refuses};
use crate::container::NetDevice;

#[test]
fn devices_keep_their_name_or_get_another() {
    let devices = r#"{"eth0": {}, "veth1": {"name": "eth1"}, "v2": {"name": "n%d"}, "v3": {"name": ""},
        "v4": {"name": "n%d"}, "v5": null, "fifteen-bytes-0": {"name": "%dx"}}"#;
    let found = accepted(&[("/linux/netDevices", devices)]).net_devices;
    let pair = |(host, name): (&str, &str)| NetDevice {
        host: host.to_owned(),
        name: name.to_owned(),
    };
    // The document of this test has its keys in alphabetical order.
    let expected = [
        ("eth0", "eth0"),
        ("fifteen-bytes-0", "%dx"),
        ("v2", "n%d"),
        ("v3", "v3"),
        ("v4", "n%d"),
        ("v5", "v5"),
        ("veth1", "eth1"),
    ];
    assert_eq!(found, expected.map(pair));
}

#[test]
fn names_that_the_kernel_refuses_are_errors() {
    refuses(
        r#"
        /linux/netDevices = []
            -> type /linux/netDevices : an object
        /linux/netDevices = {"eth0": "eth1"}
            -> type /linux/netDevices/eth0 : an object
        /linux/netDevices = {"eth0": {"name": 7}}
            -> type /linux/netDevices/eth0/name : a string
        /linux/netDevices = {"": {}}
            -> range /linux/netDevices/ : it is empty
        /linux/netDevices = {".": {}}
            -> range /linux/netDevices/. : reserves
        /linux/netDevices = {"eth0": {"name": ".."}}
            -> range /linux/netDevices/eth0/name : reserves
        /linux/netDevices = {"a/b": {"name": "x"}}
            -> range /linux/netDevices/a~1b : `/`
        /linux/netDevices = {"eth0": {"name": "../x"}}
            -> range /linux/netDevices/eth0/name : `/`
        /linux/netDevices = {"eth0": {"name": "a:1"}}
            -> range /linux/netDevices/eth0/name : `:`
        /linux/netDevices = {"eth0": {"name": "a b"}}
            -> range /linux/netDevices/eth0/name : white space
        /linux/netDevices = {"eth0": {"name": "a\nb"}}
            -> range /linux/netDevices/eth0/name : white space
        /linux/netDevices = {"eth0": {"name": "a\u0000b"}}
            -> range /linux/netDevices/eth0/name : NUL
        /linux/netDevices = {"eth0": {"name": "voilà"}}
            -> range /linux/netDevices/eth0/name : 0xA0
        /linux/netDevices = {"sixteen-bytes-00": {}}
            -> range /linux/netDevices/sixteen-bytes-00 : more than 15 bytes
        /linux/netDevices = {"eth0": {"name": "sixteen-bytes-00"}}
            -> range /linux/netDevices/eth0/name : more than 15 bytes
        /linux/netDevices = {"eth%d": {"name": "eth0"}}
            -> range /linux/netDevices/eth%d : `%`
        /linux/netDevices = {"eth0": {"name": "eth%s"}}
            -> range /linux/netDevices/eth0/name : `%d`
        /linux/netDevices = {"eth0": {"name": "e%d%d"}}
            -> range /linux/netDevices/eth0/name : only one `%d`
        /linux/netDevices = {"a": {"name": "x"}, "b": {"name": "x"}}
            -> conflict /linux/netDevices/b : "x"
        /linux/netDevices = {"a": {}, "b": {"name": "a"}}
            -> conflict /linux/netDevices/b : "a"
        /linux/netDevices = {"eth0": {}} && /linux/namespaces = [{"type": "mount"}]
            -> conflict /linux/netDevices : network namespace
        "#,
    );
}
