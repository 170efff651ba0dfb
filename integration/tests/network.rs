//! `linux.netDevices`: network devices that move into the container.

use integration::sandbox::eventually;
use integration::{Bundle, Sandbox, sandbox};
use serde_json::json;
use std::process::{Command, Stdio};

/// runc 1.1 knows no `linux.netDevices`.
const OWN: &str = "linux.netDevices came with version 1.3 of the specification";

fn is_other(s: &Sandbox) -> bool {
    s.is_control(OWN)
}

/// Makes a pair of veth devices.
fn veth(s: &Sandbox, one: &str, other: &str) {
    let peer = ["type", "veth", "peer", "name", other];
    s.tool("ip", &[&["link", "add", "name", one][..], &peer].concat());
}

/// The line of `ip -oneline` about a device of the host.
fn link(s: &Sandbox, name: &str) -> String {
    s.tool("ip", &["-oneline", "link", "show", name])
}

/// A bundle whose program may send pings and configure its network.
fn bundle(s: &Sandbox) -> Bundle {
    let mut bundle = s.bundle();
    bundle.capabilities(
        &["bounding", "effective", "permitted"],
        &["CAP_NET_ADMIN", "CAP_NET_RAW"],
    );
    bundle
}

/// config-linux.md: "The runtime MUST preserve existing network interface attributes, including all
/// permanent IP addresses ... of any family with global scope", and "MUST set the network device
/// state to \"up\"". Row S22.
#[test]
fn a_veth_end_on_a_bridge_moves_with_its_addresses() {
    sandbox::host_unless(is_other, |s| {
        s.tool("ip", &["link", "add", "name", "lbr0", "type", "bridge"]);
        s.tool("ip", &["address", "add", "10.98.0.1/24", "dev", "lbr0"]);
        s.tool("ip", &["link", "set", "lbr0", "up"]);
        veth(s, "outer0", "inner0");
        s.tool("ip", &["link", "set", "outer0", "master", "lbr0", "up"]);
        let mac = "02:00:00:00:98:02";
        s.tool("ip", &["link", "set", "inner0", "address", mac]);
        s.tool("ip", &["link", "set", "inner0", "mtu", "1400"]);
        for address in ["10.98.0.2/24", "10.98.1.2/16"] {
            s.tool("ip", &["address", "add", address, "dev", "inner0"]);
        }
        s.tool(
            "ip",
            &["address", "add", "fd98::2/64", "dev", "inner0", "nodad"],
        );
        let linked = ["address", "add", "10.97.0.2/24", "scope", "link"];
        s.tool("ip", &[&linked[..], &["dev", "inner0"]].concat());
        let passing = ["address", "add", "10.96.0.2/24", "valid_lft", "600"];
        let passing = [&passing[..], &["preferred_lft", "600", "dev", "inner0"]];
        s.tool("ip", &passing.concat());
        let resolv = s.dir.join("resolv.conf");
        std::fs::write(&resolv, "nameserver 10.98.0.1\n").expect("resolv.conf");

        let mut bundle = bundle(s);
        bundle.set("/linux/netDevices", json!({"inner0": {"name": "eth0"}}));
        bundle.bind(&resolv, "/etc/resolv.conf", &["bind", "ro"]);
        bundle.shell("ip addr show eth0; ping -c 1 -W 5 10.98.0.1; cat /etc/resolv.conf");
        let mut output = s.run(&bundle).ok();
        for wanted in [
            ",UP",
            "mtu 1400",
            mac,
            "10.98.0.2/24",
            "10.98.1.2/16",
            "fd98::2/64",
            "1 packets received",
            "nameserver 10.98.0.1",
        ] {
            output = output.contains(wanted);
        }
        for gone in ["10.97.0.2", "10.96.0.2"] {
            assert!(!output.stdout.contains(gone), "{}", output.stdout);
        }
    });
}

/// "the kernel will generate a unique name for the interface". Row S24.
#[test]
fn macvlan_and_tap_devices_move_and_the_kernel_counts_their_names() {
    sandbox::host_unless(is_other, |s| {
        veth(s, "base0", "base1");
        s.tool("ip", &["link", "set", "base0", "up"]);
        let macvlan = ["link", "base0", "type", "macvlan", "mode", "bridge"];
        s.tool(
            "ip",
            &[&["link", "add", "name", "mac0"][..], &macvlan].concat(),
        );
        s.tool("ip", &["tuntap", "add", "name", "tap7", "mode", "tap"]);
        veth(s, "more0", "more1");
        let mut bundle = s.bundle();
        let counted = json!({"name": "net%d"});
        // No template takes the name of a device that comes later.
        let devices =
            json!({"base1": null, "mac0": counted, "more0": counted, "tap7": {"name": "net0"}});
        bundle.set("/linux/netDevices", devices);
        bundle.shell("cd /sys/class/net; for d in *; do echo \"$d $(cat $d/flags)\"; done");
        // 0x1003: up, broadcast, multicast.
        let names = ["base1 0x1003", "lo 0x9"];
        let counted = ["net0 0x1003", "net1 0x1003", "net2 0x1003"];
        let lines = [&names[..], &counted].concat();
        let output = s.run(&bundle).ok();
        assert_eq!(output.stdout.lines().collect::<Vec<_>>(), lines);
    });
}

/// Kernel parameters, and hooks that init runs without asking, find the devices there.
#[test]
fn devices_are_there_before_parameters_and_hooks() {
    sandbox::host_unless(is_other, |s| {
        veth(s, "outer0", "inner0");
        let log = s.dir.join("hook.log");
        let script = format!("ip -oneline link show eth0 > {}", log.display());
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]});
        let mut bundle = s.bundle();
        bundle
            .set("/linux/netDevices", json!({"inner0": {"name": "eth0"}}))
            .set("/hooks/createContainer/-", hook)
            .set(
                "/linux/sysctl",
                json!({"net.ipv4.conf.eth0.forwarding": "1"}),
            );
        bundle.shell("cat /proc/sys/net/ipv4/conf/eth0/forwarding");
        s.run(&bundle).ok().contains("1\n");
        let log = std::fs::read_to_string(log).expect("the hook's output");
        assert!(log.contains("eth0"), "{log}");
    });
}

/// A device moves into a network namespace that belongs to a new user namespace, and into one that
/// has a path.
#[test]
fn devices_move_into_user_namespaces_and_joined_ones() {
    sandbox::host_unless(is_other, |s| {
        let script = "ip -oneline addr show eth0";
        veth(s, "outer0", "inner0");
        s.tool("ip", &["address", "add", "10.98.0.2/24", "dev", "inner0"]);
        let mut bundle = s.bundle();
        bundle.user_namespace(&[(0, 100_000, 65_536)]);
        bundle.set("/linux/netDevices", json!({"inner0": {"name": "eth0"}}));
        bundle.shell(script);
        s.run(&bundle).ok().contains("10.98.0.2/24");

        s.tool("ip", &["netns", "add", "pod"]);
        veth(s, "outer1", "inner1");
        s.tool("ip", &["address", "add", "10.98.0.3/24", "dev", "inner1"]);
        let mut bundle = s.bundle();
        bundle.join("network", "/run/netns/pod");
        bundle.set("/linux/netDevices", json!({"inner1": {"name": "eth0"}}));
        bundle.shell(script);
        s.run(&bundle).ok().contains("10.98.0.3/24");
        let left = s.tool("ip", &["-n", "pod", "-oneline", "link", "show"]);
        // The namespace outlives the container, and so does what has moved there.
        assert!(left.contains("eth0"), "{left}");
        s.tool("ip", &["netns", "delete", "pod"]);
        s.tool("umount", &["/run/netns"]);
        std::fs::remove_dir("/run/netns").expect("rmdir");
    });
}

/// The network namespace of /linux/namespaces may not be the runtime's own: a device of the host
/// would get a new name.
#[test]
fn devices_do_not_move_within_the_runtimes_namespace() {
    sandbox::host_unless(is_other, |s| {
        veth(s, "outer0", "inner0");
        let mut bundle = s.bundle();
        bundle.set("/linux/netDevices", json!({"inner0": {"name": "eth0"}}));
        bundle.join("network", "/proc/self/ns/net");
        s.try_create(&bundle, &s.id(), &[])
            .fails_with(&["/linux/netDevices", "the runtime's own"]);
        bundle.inherit("network");
        s.try_create(&bundle, &s.id(), &[])
            .fails_with(&["/linux/netDevices", "network namespace"]);
        link(s, "inner0");
    });
}

/// "If a network device with the specified name already exists in the container namespace, the
/// runtime MUST generate an error." Nothing has moved then.
#[test]
fn a_name_that_is_taken_and_a_device_that_is_missing_are_errors() {
    sandbox::host_unless(is_other, |s| {
        veth(s, "outer0", "inner0");
        let mut bundle = s.bundle();
        let create = |bundle: &Bundle, words: &[&str]| {
            s.try_create(bundle, &s.id(), &[]).fails_with(words);
            link(s, "outer0");
            link(s, "inner0");
        };
        let devices = json!({"outer0": {"name": "x"}, "inner0": {"name": "lo"}});
        bundle.set("/linux/netDevices", devices);
        create(&bundle, &["/linux/netDevices/inner0", "\"lo\" already"]);
        let devices = json!({"outer0": {}, "nosuch0": {}});
        bundle.set("/linux/netDevices", devices);
        create(&bundle, &["/linux/netDevices/nosuch0", "\"nosuch0\""]);
    });
}

/// A creation that fails leaves the host's devices as they were, at whatever step it fails.
#[test]
fn devices_come_back_when_the_creation_fails() {
    sandbox::host_unless(is_other, |s| {
        veth(s, "outer0", "inner0");
        s.tool("ip", &["link", "set", "outer0", "mtu", "1400", "up"]);
        s.tool("ip", &["address", "add", "10.98.0.1/24", "dev", "outer0"]);
        s.tool("ip", &["link", "add", "name", "lbr0", "type", "bridge"]);
        s.tool("ip", &["link", "set", "inner0", "master", "lbr0"]);
        // Index, name, flags, MTU and bridge.
        let seen = || {
            ["outer0", "inner0"].map(|name| {
                let line = link(s, name);
                let words: String = line.split_whitespace().take(5).collect();
                (words, line.contains("master lbr0"))
            })
        };
        let before = seen();
        let as_before = |case: &str| {
            // The kernel notices the carrier a moment later.
            let same = eventually(|| seen() == before);
            assert!(same, "{case}: {:?} {before:?}", seen());
            let addresses = s.tool("ip", &["-oneline", "address", "show", "outer0"]);
            assert!(addresses.contains("10.98.0.1/24"), "{case}: {addresses}");
        };
        let devices = json!({"outer0": {"name": "a"}, "inner0": {"name": "b"}});
        let mut bundle = s.bundle();
        bundle.set("/linux/netDevices", devices);
        bundle.args(&["nosuch"]);
        s.try_create(&bundle, &s.id(), &[]).fails_with(&["nosuch"]);
        as_before("a program that is missing");
        bundle.user_namespace(&[(0, 100_000, 65_536)]);
        s.try_create(&bundle, &s.id(), &[]).fails_with(&["nosuch"]);
        as_before("in a user namespace");
        let mut bundle = s.bundle();
        // The kernel keeps the loopback device in its namespace.
        let devices = json!({"outer0": {"name": "a"}, "lo": {"name": "b"}});
        bundle.set("/linux/netDevices", devices);
        let outcome = s.try_create(&bundle, &s.id(), &[]);
        outcome.fails_with(&["/linux/netDevices/lo", "cannot leave"]);
        as_before("a device that cannot move");
    });
}

/// A network namespace with a name, until it is dropped.
struct Pod<'a>(&'a Sandbox);

impl<'a> Pod<'a> {
    fn new(s: &'a Sandbox) -> Self {
        s.tool("ip", &["netns", "add", "pod"]);
        Self(s)
    }

    fn remove(self) {
        self.0.tool("ip", &["netns", "delete", "pod"]);
        self.0.tool("umount", &["/run/netns"]);
        std::fs::remove_dir("/run/netns").expect("rmdir");
    }
}

/// A device may have further names. Each of them is taken as its name is, and moves with it.
#[test]
fn a_further_name_that_is_taken_is_an_error() {
    sandbox::host_unless(is_other, |s| {
        veth(s, "outer0", "inner0");
        let pod = Pod::new(s);
        let further = |device: &str, name: &str| {
            let words = ["link", "property", "add", "dev", device, "altname", name];
            words.map(str::to_owned)
        };
        let add = |words: &[String]| {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            s.tool("ip", &words);
        };
        let there = ["-n", "pod"].map(str::to_owned);
        add(&[&there[..], &further("lo", "eth0")].concat());
        let mut bundle = s.bundle();
        bundle.join("network", "/run/netns/pod");
        let devices = json!({"outer0": {"name": "x"}, "inner0": {"name": "eth0"}});
        bundle.set("/linux/netDevices", devices);
        let refused = ["/linux/netDevices/inner0", "\"eth0\" already"];
        s.try_create(&bundle, &s.id(), &[]).fails_with(&refused);
        add(&further("inner0", "lo1"));
        add(&[&there[..], &further("lo", "lo1")].concat());
        let devices = json!({"outer0": {"name": "x"}, "inner0": {"name": "y"}});
        bundle.set("/linux/netDevices", devices);
        let refused = ["/linux/netDevices/inner0", "\"lo1\" already"];
        s.try_create(&bundle, &s.id(), &[]).fails_with(&refused);
        let names = s.tool("ip", &["-n", "pod", "-oneline", "link"]);
        assert_eq!(names.lines().count(), 1, "{names}");
        link(s, "outer0");
        link(s, "inner0");
        pod.remove();
    });
}

/// The kernel moves a device first and names it afterwards. A device whose name it refuses then
/// comes back too: in this test another device gets that name as a further one while they move.
#[test]
fn a_device_whose_name_the_kernel_refuses_comes_back() {
    sandbox::host_unless(is_other, |s| {
        let pod = Pod::new(s);
        let mut devices = json!({"z": {"name": "eth0"}});
        for name in ["a", "b", "c", "d", "e", "f", "g", "h", "z"] {
            s.tool("ip", &["tuntap", "add", "dev", name, "mode", "tap"]);
            if name != "z" {
                devices[name] = json!({});
            }
        }
        s.tool("ip", &["address", "add", "10.98.0.2/24", "dev", "z"]);
        let mut bundle = s.bundle();
        bundle.join("network", "/run/netns/pod");
        bundle.set("/linux/netDevices", devices);
        bundle.write();
        let script = "until ip -n pod link property add dev a altname eth0; do :; done";
        let mut other = Command::new("sh");
        other.args(["-c", script]).stderr(Stdio::null());
        let mut other = other.spawn().expect("sh");
        let outcome = s.try_create(&bundle, &s.id(), &[]);
        outcome.fails_with(&["/linux/netDevices/z", "another device has the name"]);
        assert!(other.wait().expect("wait").success());
        let addresses = s.tool("ip", &["-oneline", "address", "show", "z"]);
        assert!(addresses.contains("10.98.0.2/24"), "{addresses}");
        pod.remove();
    });
}

/// A device comes back as far as it can: here its bridge has gone in the meantime.
#[test]
fn a_device_comes_back_up_without_its_bridge() {
    sandbox::host_unless(is_other, |s| {
        veth(s, "outer0", "inner0");
        s.tool("ip", &["link", "add", "name", "lbr0", "type", "bridge"]);
        s.tool("ip", &["link", "set", "inner0", "master", "lbr0", "up"]);
        let script = "ip link delete lbr0; exit 7";
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]});
        let mut bundle = s.bundle();
        bundle
            .set("/linux/netDevices", json!({"inner0": {"name": "eth0"}}))
            .set("/hooks/createRuntime/-", hook);
        let outcome = s.try_create(&bundle, &s.id(), &[]);
        outcome.fails_with(&["createRuntime", "/linux/netDevices/inner0", "move back"]);
        let line = link(s, "inner0");
        assert!(line.contains(",UP"), "{line}");
    });
}

/// An ordinary user has no rights over the host's devices.
#[test]
fn an_ordinary_user_moves_no_device() {
    sandbox::user(|s| {
        if s.is_control(OWN) {
            return;
        }
        let mut bundle = s.bundle();
        bundle.set("/linux/netDevices", json!({"lo": {"name": "x"}}));
        s.try_create(&bundle, &s.id(), &[])
            .fails_with(&["/linux/netDevices", "CAP_NET_ADMIN"]);
    });
}

/// The plan says which devices move, and touches none.
#[test]
fn the_plan_has_the_devices() {
    sandbox::host(|s| {
        if s.is_control("the command plan") {
            return;
        }
        let mut bundle = s.bundle();
        bundle.set("/linux/netDevices", json!({"nosuch0": {"name": "eth%d"}}));
        bundle.write();
        let path = bundle.path.to_str().expect("UTF-8");
        let plan = s.runtime(&["plan", "--bundle", path]).ok();
        plan.contains("network: device \"nosuch0\" moves into the container as \"eth%d\"");
    });
}
