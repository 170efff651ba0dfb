//! The options of cgroup v2, which all its mounts on a host share.

use crate::Version;
use crate::error::Error;
use crate::hierarchy::{open_root, read_proc};
use kernel::Errno;
use kernel::errno::words;
use kernel::lock::{Locked, Sharing};
use kernel::mount::{fsconfig_create, fsconfig_flag, fsopen};
use std::collections::BTreeSet;
use std::ffi::CString;
use std::os::fd::AsFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long another command with CRIU is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The options of the host's cgroup v2 while CRIU works, such as `nsdelegate`. Dropping it sets
/// those again that have gone.
///
/// CRIU mounts the hierarchy without options, at a checkpoint and at a restore, and in the host's
/// cgroup namespace this takes the options of every mount away ([CRIU's issue 3029], open for CRIU
/// 4.2). Without `nsdelegate` a container could change its own limits. See [cgroups(7)].
///
/// [CRIU's issue 3029]: https://github.com/checkpoint-restore/criu/issues/3029
/// [cgroups(7)]: https://man7.org/linux/man-pages/man7/cgroups.7.html
#[derive(Debug)]
pub struct SharedOptions {
    options: BTreeSet<String>,
    _turn: Option<Locked>,
}

impl SharedOptions {
    /// Notes what there is now. Waits for another command that does so, for ten seconds at most: a
    /// migration has its checkpoint wait for its restore.
    pub fn keep() -> Result<Self, Error> {
        let turn = turn();
        Ok(Self {
            options: options_in(&read_proc("self/mountinfo")?),
            _turn: turn,
        })
    }

    fn set_again(&self) -> Result<(), Error> {
        let now = options_in(&read_proc("self/mountinfo")?);
        if self.options.is_subset(&now) {
            return Ok(());
        }
        // The superblock gets exactly the options of this call.
        let context = fsopen(c"cgroup2").map_err(Error::SharedOptions)?;
        for option in &self.options {
            let name = CString::new(option.as_str())
                .map_err(|_nul| Error::SharedOptions(Errno::EINVAL))?;
            match fsconfig_flag(context.as_fd(), &name) {
                // Not an option of cgroups, and still there: `seclabel`.
                Err(Errno::EINVAL) if now.contains(option) => {}
                answer => answer.map_err(Error::SharedOptions)?,
            }
        }
        fsconfig_create(context.as_fd()).map_err(Error::SharedOptions)
    }
}

impl Drop for SharedOptions {
    fn drop(&mut self) {
        if let Err(error) = self.set_again() {
            let options = Vec::from_iter(&self.options);
            tracing::warn!("{error}; they were {options:?}: remount /sys/fs/cgroup with them");
        }
    }
}

/// A lock on the root of the hierarchy, which all mounts have in common.
fn turn() -> Option<Locked> {
    let version_2 = |name: &&str| match open_root(name) {
        Ok(Some((root, Version::V2))) => root.open_file(".").ok(),
        _ => None,
    };
    let mut root = ["", "unified"].iter().find_map(version_2)?;
    let until = Instant::now() + PATIENCE;
    loop {
        match Locked::take(root, Sharing::Exclusive) {
            Ok(locked) => return Some(locked),
            Err((again, Errno::EWOULDBLOCK | Errno::EINTR)) if Instant::now() < until => {
                root = again;
                sleep(Duration::from_millis(10));
            }
            Err((_root, errno)) => {
                tracing::debug!("no lock on the root of cgroup v2: {}", words(errno));
                return None;
            }
        }
    }
}

/// The options of the superblock of cgroup v2 in a file mountinfo, without `rw` and `ro`. See
/// proc_pid_mountinfo(5).
fn options_in(mountinfo: &str) -> BTreeSet<String> {
    let of_line = |line: &str| {
        let mut fields = line.split_once(" - ")?.1.split(' ');
        fields.next().filter(|kind| *kind == "cgroup2")?;
        fields.nth(1).map(str::to_owned)
    };
    let options = mountinfo.lines().find_map(of_line).unwrap_or_default();
    let own = |option: &&str| !matches!(*option, "" | "rw" | "ro");
    options.split(',').filter(own).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_the_superblock() {
        let text = "24 1 0:20 / /proc rw,nosuid - proc proc rw,hidepid=2\n\
            26 25 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
        let expected = ["memory_recursiveprot", "nsdelegate"].map(str::to_owned);
        assert_eq!(options_in(text), BTreeSet::from(expected));
        assert_eq!(
            options_in("26 25 0:26 / /x rw - cgroup2 cgroup2 ro\n"),
            BTreeSet::new()
        );
        assert_eq!(
            options_in("24 1 0:20 / /proc rw - proc proc rw\n"),
            BTreeSet::new()
        );
    }
}
