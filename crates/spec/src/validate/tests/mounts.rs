//! Rules of the configuration: mounts, sealed paths, device nodes.

use std::path::Path;

use crate::container::{DeviceKind, Personality, PropagationKind};
use crate::diagnostic::Code;
use crate::validate::tests::{accepted, document, judge, refuses, warns};

#[test]
fn mounts_have_a_destination_below_the_root() {
    refuses(
        r#"
        /mounts = [{}]
            -> missing /mounts/0 : `destination`
        /mounts = [{"destination": ""}]
            -> range /mounts/0/destination : empty
        /mounts = [{"destination": "/"}]
            -> path /mounts/0/destination : root.path
        /mounts = [{"destination": "/./"}]
            -> path /mounts/0/destination : root
        /mounts = [{"destination": "/a", "type": "bind"}]
            -> missing /mounts/0 : `source`
        /mounts = [{"destination": "/a", "options": ["rbind"]}]
            -> missing /mounts/0 : `source`
        /mounts = [{"destination": "/a", "uidMappings": [{"containerID": 0, "hostID": 0, "size": 1}]}]
            -> conflict /mounts/0 : give both or neither
        /mounts = [{"destination": "/a", "options": "ro"}]
            -> type /mounts/0/options : expected a list
        /mounts = [{"destination": "/a", "options": ["a\u0000"]}]
            -> range /mounts/0/options/0 : NUL
        "#,
    );
    warns(
        r#"
        /mounts = [{"destination": "a"}]
            -> path /mounts/0/destination : relative
        /mounts = [{"destination": "/../../x"}]
            -> path /mounts/0/destination : `..`
        /mounts = [{"destination": "/a"}, {"destination": "//a/."}]
            -> conflict /mounts/1/destination : earlier mount
        "#,
    );
    let (_, report) = judge(&document(&[("/mounts", "[{\"destination\": \"/a/..\"}]")]));
    assert_eq!(report.errors[0].code, Code::Path);
}

#[test]
fn bind_sources_count_from_the_bundle() {
    let mounts = "[{\"destination\": \"/a\", \"type\": \"bind\", \"source\": \"data\"},
                   {\"destination\": \"/b\", \"options\": [\"bind\"], \"source\": \"/data\"},
                   {\"destination\": \"/c\", \"type\": \"tmpfs\", \"source\": \"tmpfs\"}]";
    let found = accepted(&[("/mounts", mounts)]).mounts;
    let sources: Vec<_> = found
        .iter()
        .map(|mount| mount.source.clone().unwrap())
        .collect();
    assert_eq!(
        sources,
        [
            Path::new("/bundle/data"),
            Path::new("/data"),
            Path::new("tmpfs")
        ]
    );
}

#[test]
fn sealed_paths_are_absolute_and_need_a_mount_namespace() {
    refuses(
        r#"
        /linux/maskedPaths = ["proc/kcore"]
            -> path /linux/maskedPaths/0 : absolute
        /linux/readonlyPaths = ["proc"]
            -> path /linux/readonlyPaths/0 : absolute
        /linux/maskedPaths = "/proc"
            -> type /linux/maskedPaths : expected a list
        /linux/namespaces = [] && /linux/maskedPaths = ["/a"]
            -> conflict /linux/maskedPaths : mount namespace
        /linux/namespaces = [] && /linux/readonlyPaths = ["/a"]
            -> conflict /linux/readonlyPaths : mount namespace
        "#,
    );
    accepted(&[("/linux/maskedPaths", "[\"/a/../b\"]")]);
    accepted(&[("/linux/namespaces", "[]"), ("/linux/maskedPaths", "[]")]);
}

#[test]
fn device_nodes_have_a_path_a_type_and_numbers() {
    refuses(
        r#"
        /linux/devices = [{"path": "/dev/x", "type": "z", "major": 1, "minor": 1}]
            -> unknown-value /linux/devices/0/type : expected c, u, b, p
        /linux/devices = [{"path": "/dev/x", "type": "p"}, {"path": "/dev/x", "type": "c", "major": 1, "minor": 3}]
            -> conflict /linux/devices/1 : "/dev/x" is that of /linux/devices/0 too
        /linux/devices = [{"path": "dev/x", "type": "p"}]
            -> path /linux/devices/0/path : absolute
        /linux/devices = [{"path": "/dev/x", "type": "c", "major": 1}]
            -> missing /linux/devices/0 : `minor`
        /linux/devices = [{"path": "/dev/x", "type": "c", "major": 4096, "minor": 0}]
            -> range /linux/devices/0/major : 4095
        /linux/devices = [{"path": "/dev/x", "type": "b", "major": -1, "minor": 0}]
            -> range /linux/devices/0/major : -1
        /linux/devices = [{"path": "/dev/x", "type": "p", "uid": 4294967295}]
            -> range /linux/devices/0/uid : no change
        "#,
    );
    let nodes = "[{\"path\": \"/dev/p\", \"type\": \"p\"}, {\"path\": \"/dev/u\", \"type\": \"u\", \"major\": 1, \"minor\": 3, \"fileMode\": 8630, \"gid\": 5}]";
    let found = accepted(&[("/linux/devices", nodes)]).devices;
    assert_eq!((found[0].kind, found[0].mode), (DeviceKind::Fifo, 0o666));
    assert_eq!(
        (found[1].kind, found[1].mode, found[1].gid),
        (DeviceKind::Char, 0o666, 5)
    );
    let twice = r#"[{"path": "/dev/p", "type": "p"}, {"path": "/dev/p", "type": "p", "uid": 1}]"#;
    assert_eq!(accepted(&[("/linux/devices", twice)]).devices.len(), 2);
}

#[test]
fn propagation_and_personality_are_words() {
    refuses(
        r#"
        /linux/rootfsPropagation = "rsharde"
            -> unknown-value /linux/rootfsPropagation : did you mean `rshared`?
        /linux/personality = {"domain": "LINUX64"}
            -> unknown-value /linux/personality/domain : LINUX
        /linux/personality = {}
            -> missing /linux/personality : `domain`
        /linux/personality = {"domain": "LINUX", "flags": ["X"]}
            -> unknown-value /linux/personality/flags : no flags
        "#,
    );
    let found = accepted(&[("/linux/rootfsPropagation", "\"rslave\"")])
        .rootfs_propagation
        .unwrap();
    assert_eq!(
        (found.kind, found.recursive),
        (PropagationKind::Slave, true)
    );
    let found = accepted(&[("/linux/rootfsPropagation", "\"shared\"")])
        .rootfs_propagation
        .unwrap();
    assert_eq!(
        (found.kind, found.recursive),
        (PropagationKind::Shared, false)
    );
    assert_eq!(
        accepted(&[("/linux/rootfsPropagation", "\"\"")]).rootfs_propagation,
        None
    );
    let found = accepted(&[(
        "/linux/personality",
        "{\"domain\": \"LINUX32\", \"flags\": []}",
    )]);
    assert_eq!(found.personality, Some(Personality::PerLinux32));
}
