//! `linux.resources.blockIO`: config-linux.md "Block IO".

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use integration::{Bundle, Group, Sandbox, sandbox};
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;

/// A loop device of the host for one test; none where the machine has none to give.
struct Loop {
    path: String,
    minor: u32,
}

impl Loop {
    fn attach(sandbox: &Sandbox) -> Option<Self> {
        let backing = sandbox.dir.join("disk");
        fs::write(&backing, vec![0; 4 << 20]).expect("disk");
        let output = Command::new("losetup")
            .args(["--find", "--show"])
            .arg(&backing)
            .output()
            .expect("losetup");
        let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let minor = path.strip_prefix("/dev/loop")?.parse().ok()?;
        Some(Self { path, minor })
    }
}

impl Drop for Loop {
    /// The device is the machine's, so it is given back whatever has become of the test.
    fn drop(&mut self) {
        let detached = Command::new("losetup")
            .args(["--detach", &self.path])
            .status();
        println!("losetup --detach {}: {detached:?}", self.path);
    }
}

/// A container with these limits that may use the device as /dev/disk.
fn bundle(s: &Sandbox, device: &Loop, limits: Value) -> Bundle {
    let minor = device.minor;
    let mut bundle = s.bundle();
    bundle
        .in_group(s)
        .set("/linux/resources/blockIO", limits)
        .set(
            "/linux/resources/devices",
            json!([{ "allow": true, "type": "b", "major": 7, "minor": minor, "access": "rw" }]),
        )
        .set(
            "/linux/devices",
            json!([{ "path": "/dev/disk", "type": "b", "major": 7, "minor": minor }]),
        );
    bundle
}

/// What the kernel says of a limit: v1's file, or the key of v2's io.max.
fn rate(s: &Sandbox, device: &Loop, v1: &str, v2: &str) -> String {
    let number = format!("7:{} ", device.minor);
    let file = if s.is_v2() { "io.max" } else { v1 };
    let text = Group::of_test(s).read("blkio", file);
    let line = text.lines().find_map(|line| line.strip_prefix(&number));
    let line = line.unwrap_or_else(|| panic!("{number} in {text}"));
    let mut words = line.split_whitespace();
    let value = match s.is_v2() {
        true => words.find_map(|word| word.strip_prefix(&format!("{v2}="))),
        false => words.next(),
    };
    value.unwrap_or_else(|| panic!("{v2} in {line}")).to_owned()
}

/// "throttleReadBpsDevice, throttleWriteBpsDevice, throttleReadIOPSDevice, throttleWriteIOPSDevice
/// ... list of per-device bandwidth rate limits": half a MiB takes two seconds at 256 KiB a second,
/// and at four calls a second of 64 KiB.
#[test]
fn the_block_rate_is_read_back_and_slows_down() {
    sandbox::host(|s| {
        if s.lacks(&["io"]) {
            return;
        }
        let Some(device) = Loop::attach(s) else {
            return s.skip("losetup gives no loop device here");
        };
        let read = "if=/dev/disk of=/dev/null iflag=direct";
        let write = "if=/dev/zero of=/dev/disk oflag=direct";
        for (property, v1, v2, limit, options) in [
            ("throttleReadBpsDevice", "read_bps", "rbps", MIB / 4, read),
            (
                "throttleWriteBpsDevice",
                "write_bps",
                "wbps",
                MIB / 4,
                write,
            ),
            ("throttleReadIOPSDevice", "read_iops", "riops", 4, read),
            ("throttleWriteIOPSDevice", "write_iops", "wiops", 4, write),
        ] {
            let entry = json!([{ "major": 7, "minor": device.minor, "rate": limit }]);
            let mut bundle = bundle(s, &device, json!({ property: entry }));
            bundle.shell(&format!(
                "dd {options} bs=64k count=8 2> /dev/null; echo $?; exec sleep 1000"
            ));
            let start = Instant::now();
            let container = s.started(&bundle);
            let v1 = format!("blkio.throttle.{v1}_device");
            assert_eq!(rate(s, &device, &v1, v2), limit.to_string(), "{property}");
            container.wait_output("0\n");
            let took = start.elapsed();
            container.remove();
            assert!(took > Duration::from_millis(1250), "{property}: {took:?}");
        }
    });
}

/// "weight ... weightDevice": kept where the kernel has a scheduler that weighs, else an error that
/// names the property.
#[test]
fn a_block_weight_is_kept_or_refused() {
    sandbox::host(|s| {
        if s.lacks(&["io"]) || s.is_control("runc 1.1 ignores a weight that it cannot set") {
            return;
        }
        let Some(device) = Loop::attach(s) else {
            return s.skip("losetup gives no loop device here");
        };
        let of_device = json!([{ "major": 7, "minor": device.minor, "weight": 400 }]);
        for (limits, pointer, key) in [
            (json!({ "weight": 300 }), "/weight", "default"),
            (
                json!({ "weightDevice": of_device }),
                "/weightDevice/0/weight",
                "7:",
            ),
        ] {
            let mut bundle = bundle(s, &device, limits);
            bundle.args(&["sleep", "1000"]);
            let id = s.id();
            let outcome = s.try_create(&bundle, &id, &[]);
            let group = Group::of_test(s);
            if !outcome.status.success() {
                outcome.fails_with(&[&format!("/linux/resources/blockIO{pointer}: ")]);
                assert!(!group.exists());
                continue;
            }
            // The numbers of the files: as given, or within 1 to 10000.
            let files = [
                ("blkio.weight", ["300", "400"]),
                ("blkio.bfq.weight", ["300", "400"]),
                ("blkio.weight_device", ["300", "400"]),
                ("blkio.bfq.weight_device", ["300", "400"]),
                ("io.bfq.weight", ["300", "400"]),
                ("io.weight", ["2930", "3940"]),
            ];
            let kept = files.iter().any(|(file, values)| {
                let path = group.path("blkio").join(file);
                let text = fs::read_to_string(path).unwrap_or_default();
                text.lines().any(|line| {
                    values.iter().any(|value| {
                        line == *value || (line.starts_with(key) && line.ends_with(value))
                    })
                })
            });
            s.runtime(&["delete", "--force", &id]).ok();
            assert!(kept, "{pointer}");
        }
    });
}
