//! `linux.resources`: limits of the container's cgroup. Source: config-linux.md#control-groups.
//!
//! This is the one place where a 0 or an empty text counts as absent, because it is not a
//! meaningful limit: engines written in Go send it for "no change" (Docker 20.10: `cpu.shares`,
//! `blockIO.weight`). Contradictions between limits are judged where an update is merged, too: in
//! the crate `cgroup`.

use crate::container::{
    BlockIo, Cpu, Memory, Network, Rdma, Resources, ThrottleDevice, WeightDevice,
};
use crate::diagnostic::Code;
use crate::quote::quote;
use crate::reader::{Object, Value};
use crate::validate::devices;

/// Reads `linux.resources`.
pub(crate) fn read(value: &Value<'_>) -> Resources {
    value
        .object(|o| Resources {
            devices: devices::rules(o),
            memory: part(o, "memory", memory),
            cpu: part(o, "cpu", cpu),
            pids_limit: o.get("pids").and_then(|v| {
                v.object(|o| o.required("limit").and_then(|v| v.number(-1..=i64::MAX)))?
            }),
            block_io: part(o, "blockIO", block_io),
            hugepage_limits: o.list("hugepageLimits", hugepage_limit),
            network: part(o, "network", network),
            rdma: pairs(o, "rdma", rdma),
            unified: pairs(o, "unified", unified),
        })
        .unwrap_or_default()
}

fn part<T: Default>(o: &Object<'_>, key: &'static str, read: impl FnOnce(&Object<'_>) -> T) -> T {
    o.get(key)
        .and_then(|value| value.object(read))
        .unwrap_or_default()
}

fn pairs<T, M: FromIterator<(String, T)>>(
    o: &Object<'_>,
    key: &'static str,
    mut read: impl FnMut(&str, &Value<'_>) -> Option<T>,
) -> M {
    let found = o
        .get(key)
        .map(|value| value.map(|name, item| Some((name.to_owned(), read(name, item)?))))
        .unwrap_or_default();
    found.into_iter().collect()
}

fn memory(o: &Object<'_>) -> Memory {
    let bytes = |key| o.number(key, -1..=i64::MAX).filter(|bytes| *bytes != 0);
    Memory {
        limit: bytes("limit"),
        reservation: bytes("reservation"),
        swap: bytes("swap"),
        kernel: bytes("kernel"),
        kernel_tcp: bytes("kernelTCP"),
        swappiness: o.number("swappiness", 0..=100_u64),
        disable_oom_killer: o.flag("disableOOMKiller"),
        use_hierarchy: o.flag("useHierarchy"),
        check_before_update: o.flag("checkBeforeUpdate"),
    }
}

fn cpu(o: &Object<'_>) -> Cpu {
    let positive = |key| o.number(key, 0..=u64::MAX).filter(|number| *number != 0);
    let signed = |key| {
        o.number(key, i64::MIN..=i64::MAX)
            .filter(|number| *number != 0)
    };
    Cpu {
        shares: positive("shares"),
        quota: signed("quota"),
        burst: o.number("burst", 0..=u64::MAX),
        period: positive("period"),
        realtime_runtime: signed("realtimeRuntime"),
        realtime_period: positive("realtimePeriod"),
        cpus: o.get("cpus").and_then(|v| cpu_list(&v)),
        mems: o.get("mems").and_then(|v| cpu_list(&v)),
        idle: o.number("idle", 0..=1_i64),
    }
}

/// A list as the kernel reads it: "0-3,7", "0-31:2/4". An empty one counts as absent.
fn cpu_list(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    if !text
        .chars()
        .all(|c| c.is_ascii_digit() || "-,:/ ".contains(c))
    {
        let message = format!("expected a list such as \"0-3,7\", found {}", quote(text));
        return value.refuse(Code::Range, message);
    }
    (!text.is_empty()).then(|| text.to_owned())
}

fn block_io(o: &Object<'_>) -> BlockIo {
    BlockIo {
        weight: weight(o, "weight"),
        leaf_weight: weight(o, "leafWeight"),
        weight_device: o.list("weightDevice", |item| item.object(weight_device)?),
        throttle_read_bps: throttle(o, "throttleReadBpsDevice"),
        throttle_write_bps: throttle(o, "throttleWriteBpsDevice"),
        throttle_read_iops: throttle(o, "throttleReadIOPSDevice"),
        throttle_write_iops: throttle(o, "throttleWriteIOPSDevice"),
    }
}

fn weight(o: &Object<'_>, key: &'static str) -> Option<u16> {
    let value = o.get(key)?;
    let weight = value.number(0..=u16::MAX)?;
    if weight != 0 && !(10..=1000).contains(&weight) {
        value.error(
            Code::Range,
            format!("{weight} is outside the range from 10 to 1000"),
        );
    }
    Some(weight).filter(|weight| *weight != 0)
}

fn weight_device(o: &Object<'_>) -> Option<WeightDevice> {
    let (major, minor) = devices::numbers(o);
    let (weight, leaf_weight) = (weight(o, "weight"), weight(o, "leafWeight"));
    if o.absent("weight") && o.absent("leafWeight") {
        o.value
            .error(Code::Missing, "expected `weight` or `leafWeight`");
    }
    Some(WeightDevice {
        major: major?,
        minor: minor?,
        weight,
        leaf_weight,
    })
}

fn throttle(o: &Object<'_>, key: &'static str) -> Vec<ThrottleDevice> {
    o.list(key, |item| {
        item.object(|o| {
            let (major, minor) = devices::numbers(o);
            let rate = o.required("rate").and_then(|v| v.number(0..=u64::MAX));
            Some(ThrottleDevice {
                major: major?,
                minor: minor?,
                rate: rate?,
            })
        })?
    })
}

fn hugepage_limit(value: &Value<'_>) -> Option<(String, u64)> {
    value.object(|o| {
        let size = o.required("pageSize").and_then(|v| {
            let text = v.text()?;
            if !is_page_size(text) {
                let message = format!(
                    "expected a page size such as \"2MB\", found {}",
                    quote(text)
                );
                v.error(Code::Range, message);
            }
            Some(text.to_owned())
        });
        let limit = o.required("limit").and_then(|v| v.number(0..=u64::MAX));
        size.zip(limit)
    })?
}

/// `<size><unit>` with a power of two and the units of config-linux.md#huge-page-limits.
fn is_page_size(text: &str) -> bool {
    let number = ["KB", "MB", "GB"]
        .iter()
        .find_map(|unit| text.strip_suffix(unit));
    number
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse::<u64>().ok())
        .is_some_and(u64::is_power_of_two)
}

fn network(o: &Object<'_>) -> Network {
    Network {
        class_id: o.number("classID", 0..=u32::MAX).filter(|id| *id != 0),
        priorities: o.list("priorities", |item| {
            item.object(|o| {
                let name = o
                    .required("name")
                    .and_then(|v| v.filled().map(str::to_owned));
                let priority = o.required("priority").and_then(|v| v.number(0..=u32::MAX));
                name.zip(priority)
            })?
        }),
    }
}

fn rdma(device: &str, value: &Value<'_>) -> Option<Rdma> {
    if device.is_empty() || device.contains(char::is_whitespace) {
        let message = format!("{} is not the name of a device", quote(device));
        value.error(Code::Range, message);
    }
    value.object(|o| Rdma {
        hca_handles: o.number("hcaHandles", 0..=u32::MAX),
        hca_objects: o.number("hcaObjects", 0..=u32::MAX),
    })
}

/// The name becomes a file name, so it must be the file of a controller, such as "memory.high".
fn unified(name: &str, value: &Value<'_>) -> Option<String> {
    let is_file = name.split_once('.').is_some_and(|(controller, file)| {
        let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        !controller.is_empty()
            && controller.chars().all(lower)
            && !file.is_empty()
            && file
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.')
    });
    if !is_file {
        let message = format!("{} is not the name of a cgroup file", quote(name));
        return value.refuse_hint(Code::Range, message, "expected one such as memory.high");
    }
    value.text().map(str::to_owned)
}
