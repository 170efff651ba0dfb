//! Writes limits to their files in one loop, and explains what the kernel refused.

use kernel::Errno;
use spec::{Code, Diagnostic};

use super::{Limit, Missing, list};
use crate::directory::Directory;
use crate::name::levels;
use crate::{Error, Place};

/// The files of the container's groups.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) places: &'a [Place],
    pub(crate) directories: &'a [Directory],
}

/// A refused write: the file that was tried last, its value, the answer.
type Refusal<'a> = (&'a str, String, Errno);

/// Writes `limits` in order. A write may fail because a later value must be set first (memory
/// limits with and without swap; quota, burst and period). Such writes are tried again at the end.
pub(crate) fn apply(limits: &[Limit], target: Target<'_>) -> Result<(), Error> {
    let mut later = Vec::new();
    for limit in limits {
        let directory = &target.directories[limit.group];
        match carry_out(limit, target) {
            Ok(()) => {}
            Err((_file, _value, Errno::EINVAL | Errno::EBUSY)) => later.push(limit),
            Err(refusal) => return Err(explain(limit, refusal, directory)),
        }
    }
    for limit in later {
        let directory = &target.directories[limit.group];
        carry_out(limit, target).map_err(|refusal| explain(limit, refusal, directory))?;
    }
    Ok(())
}

fn carry_out<'a>(limit: &'a Limit, target: Target<'_>) -> Result<(), Refusal<'a>> {
    let directory = &target.directories[limit.group];
    let answer = try_write(directory, &limit.file, limit.value.to_string());
    match (answer, &limit.missing) {
        (Err((file, value, Errno::EINVAL)), _) if file.starts_with("cpu.rt_") => {
            lend_realtime(&target.places[limit.group], file, &value);
            try_write(directory, file, value)
        }
        (Err((_file, _value, Errno::ENOENT)), Missing::IsFine) => Ok(()),
        (Err((_file, _value, Errno::ENOENT)), Missing::Otherwise(file, value)) => {
            try_write(directory, file, value.to_string())
        }
        (
            Err((file, _value, Errno::ENOENT | Errno::EOPNOTSUPP | Errno::EINVAL)),
            Missing::IsObsolete,
        ) => {
            tracing::warn!(
                "{}: this kernel no longer has {file}; ignored",
                limit.pointer
            );
            Ok(())
        }
        (answer, _) => answer,
    }
}

fn try_write<'a>(directory: &Directory, file: &'a str, value: String) -> Result<(), Refusal<'a>> {
    let kept = match directory.write_and_read(file, &value) {
        Ok(kept) => kept,
        Err(errno) => return Err((file, value, errno)),
    };
    if matches!(file, "cpuset.cpus" | "cpuset.mems") && !is_in_effect(directory, file, &value) {
        return Err((file, value, Errno::ERANGE));
    }
    if let Some(kept) = kept
        && !is_kept(&value, &kept)
    {
        tracing::debug!(
            "{:?}: wrote {value:?}, the kernel has {kept:?}",
            directory.path().join(file)
        );
    }
    Ok(())
}

/// v2 accepts any list. If no entry of it is available, v2 silently uses everything that the group
/// above has, and the limit has no effect. v1 refuses such a list.
fn is_in_effect(directory: &Directory, file: &str, value: &str) -> bool {
    match directory.read(&format!("{file}.effective")) {
        Ok(effective) => is_within(&effective, value),
        // v1, or a v2 group whose controller is not enabled: the write itself reports an error.
        Err(_absent) => true,
    }
}

/// Whether all of the list `effective` is in the list `value`, as far as they are understood.
fn is_within(effective: &str, value: &str) -> bool {
    let (Some(effective), Some(wanted)) = (list(effective), list(value)) else {
        return true;
    };
    let is_wanted = |number| wanted.iter().any(|range| range.contains(&number));
    effective.into_iter().flatten().all(is_wanted)
}

/// Whether `content` has the written value; in files with a line for each device, on one of the
/// lines.
fn is_kept(value: &str, content: &str) -> bool {
    content.lines().any(|line| {
        let has = |word| line.split_whitespace().any(|kept| kept == word);
        value.split_whitespace().all(has)
    })
}

/// v1 gives real-time runtime from the top down: a new group above has none to give.
fn lend_realtime(place: &Place, file: &str, value: &str) {
    let Ok(Some(root)) = place.root() else {
        return;
    };
    for path in levels(place.split().0).filter(|path| !path.is_empty()) {
        let Ok(group) = root.open_below(path) else {
            return;
        };
        let is_empty = group
            .read("cpu.rt_runtime_us")
            .is_ok_and(|text| text.trim_end() == "0");
        if is_empty && let Err(errno) = group.write(file, value) {
            tracing::debug!("{:?}: {errno}", group.path().join(file));
        }
    }
}

fn explain(limit: &Limit, (file, value, errno): Refusal<'_>, directory: &Directory) -> Error {
    Error::Limit {
        pointer: limit.pointer.clone(),
        file: directory.path().join(file),
        value,
        reason: reason(file, errno, directory),
        source: errno,
    }
}

/// An explanation of the kernel's error for the user.
fn reason(file: &str, errno: Errno, directory: &Directory) -> String {
    let now = |file: &str| {
        directory
            .read(file)
            .unwrap_or_default()
            .trim_end()
            .to_owned()
    };
    match (file, errno) {
        ("memory.limit_in_bytes" | "memory.memsw.limit_in_bytes", Errno::EBUSY) => format!(
            "more is in use: {} bytes now, {} at most so far",
            now("memory.usage_in_bytes"),
            now("memory.max_usage_in_bytes")
        ),
        ("cpu.max" | "cpu.cfs_quota_us" | "cpu.cfs_period_us", Errno::EINVAL) => {
            "a quota is at least 1000 microseconds, a period is 1000 to 1000000 microseconds, and a group cannot have more than the groups above it".to_owned()
        }
        ("cpu.max.burst" | "cpu.cfs_burst_us", Errno::EINVAL) => {
            "a burst cannot be larger than the quota".to_owned()
        }
        ("cpu.rt_runtime_us" | "cpu.rt_period_us", Errno::EINVAL) => {
            "the groups above have no real-time runtime left".to_owned()
        }
        ("cpuset.cpus" | "cpuset.mems", Errno::EINVAL | Errno::EACCES | Errno::ENODEV | Errno::ERANGE) => {
            format!("this is not a list, or it has entries that the host or the group above does not have; the value now is {:?}", now(file))
        }
        (_, Errno::ENODEV) => "the host has no device with these numbers".to_owned(),
        (_, Errno::ENOENT) => "this kernel has no such file, or its controller is not enabled".to_owned(),
        (_, Errno::EINVAL | Errno::ERANGE) => "the kernel does not accept this value".to_owned(),
        (_, Errno::EOPNOTSUPP) => "this kernel or device does not support it".to_owned(),
        _ => "the kernel refused it".to_owned(),
    }
}

/// The content of files before the writes, to restore it.
#[derive(Debug)]
pub(crate) struct Former(Vec<(usize, String, String)>);

impl Former {
    /// Reads the values that `limits` will change.
    pub(crate) fn of(limits: &[Limit], target: Target<'_>) -> Self {
        let mut former = Vec::new();
        for limit in limits {
            let mut tried = vec![(&*limit.file, &limit.value)];
            if let Missing::Otherwise(file, value) = &limit.missing {
                tried.push((file, value));
            }
            let directory = &target.directories[limit.group];
            for (file, value) in tried {
                if let Ok(content) = directory.read(file) {
                    let content = self::former(file, &value.to_string(), &content);
                    former.push((limit.group, file.to_owned(), content));
                    break;
                }
            }
        }
        Self(former)
    }

    /// Restores the content.
    pub(crate) fn restore(&self, target: Target<'_>) {
        // Two rounds: the kernel accepts some values only after others.
        for (group, file, value) in self.0.iter().rev().chain(self.0.iter().rev()) {
            if let Err(errno) = target.directories[*group].write(file, value) {
                tracing::debug!("put {value:?} back into {file}: {errno}");
            }
        }
    }
}

/// The value that restores the part of a file that `value` changes, given the file's former
/// `content`.
fn former(file: &str, value: &str, content: &str) -> String {
    if file == "memory.oom_control" {
        let disabled = content.lines().any(|line| line == "oom_kill_disable 1");
        return u8::from(disabled).to_string();
    }
    let key = value.split_once(' ').map(|(key, _rest)| key);
    let is_keyed = matches!(file, "rdma.max" | "misc.max" | "net_prio.ifpriomap")
        || file.starts_with("dmem.")
        || key.is_some_and(|key| key == "default" || key.contains(':'));
    let Some(key) = key.filter(|_key| is_keyed) else {
        return content.lines().next().unwrap_or_default().to_owned();
    };
    let before = content
        .lines()
        .find(|line| line.split(' ').next() == Some(key));
    let before = before.map(str::trim_end).map(str::to_owned);
    before.unwrap_or_else(|| match file {
        "io.max" => format!("{key} rbps=max wbps=max riops=max wiops=max"),
        "io.latency" => format!("{key} target=max"),
        "misc.max" | "dmem.max" => format!("{key} max"),
        "rdma.max" => format!("{key} hca_handle=max hca_object=max"),
        "io.weight" | "io.bfq.weight" => format!("{key} default"),
        _ => format!("{key} 0"),
    })
}

/// `memory.checkBeforeUpdate`: refuses a limit below the current use, instead of killing processes.
pub(crate) fn check_before_update(limit: i64, directory: &Directory) -> Result<(), Error> {
    let files = ["memory.current", "memory.usage_in_bytes"];
    let used = files.iter().find_map(|file| directory.read(file).ok());
    let used = used.and_then(|text| text.trim_end().parse::<i64>().ok());
    match used {
        Some(used) if limit >= 0 && used > limit => Err(Diagnostic::new(
            Code::Host,
            "/linux/resources/memory/limit",
            format!("{limit} bytes are less than the {used} in use, and checkBeforeUpdate is set"),
        )
        .into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_kept_is_found_on_its_line() {
        assert!(is_kept("67108864", "67108864\n"));
        assert!(is_kept(
            "8:0 rbps=1048576",
            "7:0 rbps=1\n8:0 rbps=1048576 wbps=max riops=max\n"
        ));
        assert!(!is_kept("5000", "4096\n"));
        assert!(!is_kept("8:0 rbps=5", "7:0 rbps=5\n8:0 rbps=6\n"));
    }

    #[test]
    fn a_list_is_read_as_the_kernel_prints_it() {
        assert_eq!(list("0-3,7\n"), Some(vec![0..=3, 7..=7]));
        assert_eq!(list("0-31:2/4"), Some(vec![0..=31]));
        assert_eq!(list("\n"), Some(Vec::new()));
        for text in ["all", "0-N", "0,N", "all:1/2"] {
            assert_eq!(list(text), None, "{text}");
        }
    }

    #[test]
    fn a_list_has_no_effect_if_something_else_is_in_use() {
        for (effective, value, expected) in [
            ("0-1\n", "0-3", true),
            ("0-1\n", "7", false),
            ("0-1\n", "0", false),
            ("0-1\n", "all", true),
            ("0-1\n", "0-N", true),
        ] {
            assert_eq!(is_within(effective, value), expected, "{value}");
        }
    }

    #[test]
    fn the_former_value_of_a_file_is_what_to_put_back() {
        let cases = [
            ("memory.max", "1", "max\n", "max"),
            ("cpu.max", "5000 10000", "max 100000\n", "max 100000"),
            ("cpuset.cpus", "0", "\n", ""),
            (
                "io.max",
                "8:0 rbps=5",
                "7:0 rbps=5\n",
                "8:0 rbps=max wbps=max riops=max wiops=max",
            ),
            (
                "io.max",
                "8:0 rbps=5",
                "8:0 rbps=9 wbps=max\n",
                "8:0 rbps=9 wbps=max",
            ),
            (
                "io.weight",
                "default 7",
                "default 100\n8:0 5\n",
                "default 100",
            ),
            ("io.bfq.weight", "8:0 7", "default 100\n", "8:0 default"),
            ("blkio.throttle.read_bps_device", "8:0 5", "", "8:0 0"),
            (
                "rdma.max",
                "mlx5_1 hca_handle=3",
                "",
                "mlx5_1 hca_handle=max hca_object=max",
            ),
            ("io.latency", "8:0 target=75", "", "8:0 target=max"),
            (
                "io.latency",
                "8:0 target=75",
                "8:0 target=9\n",
                "8:0 target=9",
            ),
            ("misc.max", "res_b 5", "res_a 7\nres_b 9\n", "res_b 9"),
            ("misc.max", "res_b 5", "res_a 7\n", "res_b max"),
            ("dmem.max", "vram0 5", "gtt 7\n", "vram0 max"),
            ("dmem.low", "vram0 5", "gtt 7\n", "vram0 0"),
            ("net_prio.ifpriomap", "lo 5", "lo 0\neth0 0\n", "lo 0"),
            (
                "memory.oom_control",
                "1",
                "oom_kill_disable 0\nunder_oom 0\n",
                "0",
            ),
        ];
        for (file, value, content, expected) in cases {
            assert_eq!(former(file, value, content), expected, "{file} {value:?}");
        }
    }
}
