//! Plans, makes and enforces a container's ruleset.
//!
//! The handled rights are decided before the clone. Init opens the files in the finished tree of
//! the container, with a look-up function of its caller: the caller decides what a name means
//! there, and no name is looked up twice. The ruleset is enforced later, right before the exec.

use crate::abi::{Abi, Right, linux};
use kernel::errno::words;
use kernel::fs::{self, FileKind};
use kernel::landlock::{self, Handled, RestrictFlags};
use kernel::{Call, Errno, Failed};
use spec::landlock::{Landlock, Mode, PathBeneath, fs_name, pointer};
use spec::{Code, Diagnostic};
use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

/// The ruleset that init makes and enforces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    handled: Handled,
    flags: RestrictFlags,
    rules: Vec<Rule>,
    /// A port and its LANDLOCK_ACCESS_NET_*.
    ports: Vec<(u16, u64)>,
}

/// The rights at and beneath one path.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    path: CString,
    /// Its source: the indices in `pathBeneath` and in its `paths`.
    place: (usize, usize),
    /// The rights for a directory. Another file gets only the rights that apply to it.
    allowed: u64,
    /// The rights that must apply to the file.
    named: u64,
    missing: Missing,
}

/// What happens if a path does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Fails,
    IsPassedOver,
}

/// The rights that a file other than a directory can have: execute, write_file, read_file,
/// truncate, ioctl_dev, resolve_unix.
const OF_FILES: u64 = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15 | 1 << 16;

/// The number of paths that a failure can distinguish.
const PATHS: usize = u16::MAX as usize;

impl Plan {
    /// Decides what a kernel with this interface can restrict. `None`: nothing. Returns the
    /// warnings too.
    ///
    /// # Errors
    /// A [`Diagnostic`] with the pointer of a right that the kernel does not know, unless the mode
    /// is best effort; or for more paths than a failure can distinguish.
    pub fn lower(landlock: &Landlock, abi: Abi) -> Result<(Option<Self>, Vec<String>), Diagnostic> {
        let (known, unknown): (Vec<_>, Vec<_>) = asked(landlock)
            .into_iter()
            .partition(|right| right.since() <= abi);
        let mut warnings = Vec::new();
        if !unknown.is_empty() {
            let found = lacking(&unknown, abi);
            match landlock.mode {
                Mode::Strict => return Err(found.hint(ADVICE)),
                Mode::BestEffort => warnings.push(format!("{found}; left out")),
            }
        }
        let handled = known.iter().fold(Handled::default(), handle);
        if handled == Handled::default() {
            return Ok((None, warnings));
        }
        let rules = rules(&landlock.path_beneath, handled.fs);
        if rules.len() > PATHS {
            let message = format!("{} paths, more than {PATHS}", rules.len());
            return Err(Diagnostic::new(
                Code::Range,
                pointer("/pathBeneath"),
                message,
            ));
        }
        let plan = Self {
            handled,
            flags: if known.contains(&Right::Audit) {
                RestrictFlags::LOG_NEW_EXEC_ON
            } else {
                RestrictFlags::empty()
            },
            rules,
            ports: ports(&landlock.ports, handled.net),
        };
        Ok((Some(plan), warnings))
    }

    /// Makes the ruleset, in init. `open` returns an O_PATH handle of a path in the container's
    /// root. Allocates nothing.
    ///
    /// # Errors
    /// A failure that [`Self::describe`] explains.
    pub fn make(&self, open: impl Fn(&CStr) -> Result<OwnedFd, Errno>) -> Result<Ruleset, Failed> {
        let ruleset =
            landlock::create_ruleset(self.handled).map_err(Failed::of(Call::LandlockCreate))?;
        for (index, rule) in self.rules.iter().enumerate() {
            let file = match open(&rule.path) {
                Ok(file) => file,
                Err(Errno::ENOENT | Errno::ENOTDIR) if rule.missing == Missing::IsPassedOver => {
                    continue;
                }
                Err(errno) => return Err(Failed::at(Call::Openat2, index)(errno)),
            };
            let kind = fs::stat_at(file.as_fd(), c"").map_err(Failed::at(Call::Stat, index))?;
            rule.allowed_for(kind.kind)
                .and_then(|rights| landlock::allow_beneath(ruleset.as_fd(), file.as_fd(), rights))
                .map_err(Failed::at(Call::LandlockAdd, index))?;
        }
        for (port, rights) in &self.ports {
            landlock::allow_port(ruleset.as_fd(), *port, *rights)
                .map_err(Failed::at(Call::LandlockPort, usize::from(*port)))?;
        }
        Ok(Ruleset {
            fd: ruleset,
            flags: self.flags,
        })
    }

    /// The message for a failure of [`Self::make`].
    pub fn describe(&self, failed: &Failed) -> String {
        let why = words(failed.errno);
        let call = failed.call.name();
        let rule = self.rules.get(usize::from(failed.index));
        match (failed.call, rule) {
            (Call::LandlockPort, _) => {
                format!("{}: port {}: {call}: {why}", pointer(""), failed.index)
            }
            (Call::Openat2 | Call::Stat | Call::LandlockAdd, Some(rule)) => {
                rule.describe(failed, &why)
            }
            _ => format!("{}: {call}: {why}", pointer("")),
        }
    }
}

/// A ruleset that is not enforced yet; its descriptor is close-on-exec.
#[derive(Debug)]
pub struct Ruleset {
    fd: OwnedFd,
    flags: RestrictFlags,
}

impl Ruleset {
    /// Restricts this process permanently, in init. It needs no_new_privs, or CAP_SYS_ADMIN in its
    /// user namespace.
    ///
    /// # Errors
    /// A failure that [`describe_restriction`] explains.
    pub fn enforce(&self) -> Result<(), Failed> {
        landlock::restrict_self(self.fd.as_fd(), self.flags)
            .map_err(Failed::of(Call::LandlockRestrict))
    }
}

/// The message for a failure of [`Ruleset::enforce`].
pub fn describe_restriction(errno: Errno) -> String {
    let hint = match errno {
        Errno::EPERM => "; it needs /process/noNewPrivileges, or CAP_SYS_ADMIN",
        Errno::E2BIG => "; the runtime is already restricted by 16 rulesets, which is the maximum",
        Errno::ENOSYS => {
            "; a seccomp filter blocks the call: the one of /linux/seccomp, or one that the runtime runs under"
        }
        _ => "",
    };
    let call = Call::LandlockRestrict.name();
    format!("{}: {call}: {}{hint}", pointer(""), words(errno))
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Handled { fs, net, scoped } = self.handled;
        writeln!(
            f,
            "restricts files {fs:#x}, ports {net:#x}, scopes {scoped:#x}"
        )?;
        for rule in &self.rules {
            let missing = match rule.missing {
                Missing::Fails => "",
                Missing::IsPassedOver => ", if it exists",
            };
            writeln!(
                f,
                "allows {:#x} beneath {:?}{missing}",
                rule.allowed, rule.path
            )?;
        }
        for (port, rights) in &self.ports {
            writeln!(f, "allows {rights:#x} on port {port}")?;
        }
        Ok(())
    }
}

impl Rule {
    /// The rights that the kernel accepts for a file of this kind.
    fn allowed_for(&self, kind: FileKind) -> Result<u64, Errno> {
        match kind {
            FileKind::Directory => Ok(self.allowed),
            _ if self.named & !OF_FILES != 0 => Err(Errno::ENOTDIR),
            _ => Some(self.allowed & OF_FILES)
                .filter(|rights| *rights != 0)
                .ok_or(Errno::ENOTDIR),
        }
    }

    fn describe(&self, failed: &Failed, why: &str) -> String {
        let (rule, path) = self.place;
        let at = |property: String| pointer(&format!("/pathBeneath/{rule}/{property}"));
        let name = self.path.to_string_lossy();
        if failed.call == Call::LandlockAdd && failed.errno == Errno::ENOTDIR {
            let named = bits(self.named & !OF_FILES).map(fs_name).next();
            let what = named.map_or("each of these rights".to_owned(), |name| {
                format!("`{name}`")
            });
            let place = at("allowedAccess".to_owned());
            return format!(
                "{place}: {what} applies only to directories, and {name:?} is another type of file"
            );
        }
        let hint = match (failed.call, failed.errno) {
            (Call::Openat2, Errno::ENOENT | Errno::ENOTDIR) => {
                "; make it, or give the rule `\"optional\": true`"
            }
            (Call::Openat2, Errno::ELOOP) => {
                "; links of /proc that lead elsewhere are not followed"
            }
            _ => "",
        };
        let place = at(format!("paths/{path}"));
        format!("{place}: {name:?}: {}: {why}{hint}", failed.call.name())
    }
}

const ADVICE: &str = "leave it out, or set `\"mode\": \"bestEffort\"` to run without it";

/// All rights and features that the document needs from the kernel.
fn asked(landlock: &Landlock) -> Vec<Right> {
    let files = bits(landlock.handled_fs).map(Right::Fs);
    let ports = landlock.ports.iter().enumerate();
    let ports = ports.filter_map(|(number, list)| list.as_ref().map(|_| Right::Net(number)));
    let scopes = (0..64).filter(|number| landlock.scoped & 1 << number != 0);
    let audit = landlock.audit.then_some(Right::Audit);
    files
        .chain(ports)
        .chain(scopes.map(Right::Scope))
        .chain(audit)
        .collect()
}

/// The message for rights that the kernel does not know; there is at least one.
fn lacking(unknown: &[Right], abi: Abi) -> Diagnostic {
    let place = unknown
        .first()
        .map_or_else(|| pointer(""), |right| right.pointer());
    if abi == Abi(0) {
        let message = "this kernel has no Landlock: it is not built in, or not in the list `lsm=` of the kernel command line";
        return Diagnostic::new(Code::Host, pointer(""), message);
    }
    let each = unknown.iter().map(|right| {
        let since = right.since();
        format!(
            "`{}` (ABI {}, Linux {})",
            right.name(),
            since.0,
            linux(since)
        )
    });
    let each: Vec<_> = each.collect();
    let message = format!(
        "this kernel's Landlock has ABI {} and does not know {}",
        abi.0,
        each.join(", ")
    );
    Diagnostic::new(Code::Host, place, message)
}

fn handle(mut handled: Handled, right: &Right) -> Handled {
    match right {
        Right::Fs(bit) => handled.fs |= bit,
        Right::Net(number) => handled.net |= 1 << number,
        Right::Scope(number) => handled.scoped |= 1 << number,
        Right::Audit => {}
    }
    handled
}

/// The remaining rules if only `handled` can be allowed. A right that is not handled is not denied
/// either.
fn rules(list: &[PathBeneath], handled: u64) -> Vec<Rule> {
    let each = list.iter().enumerate();
    let each = each.filter(|(_, beneath)| beneath.allowed & handled != 0);
    each.flat_map(|(number, beneath)| {
        let paths = beneath.paths.iter().enumerate();
        paths.map(move |(index, path)| Rule {
            // The configuration check has made sure that there is no NUL.
            path: CString::new(path.as_os_str().as_bytes()).unwrap_or_default(),
            place: (number, index),
            allowed: beneath.allowed & handled,
            named: beneath.named & handled,
            missing: if beneath.optional {
                Missing::IsPassedOver
            } else {
                Missing::Fails
            },
        })
    })
    .collect()
}

fn ports(lists: &[Option<Vec<u16>>], handled: u64) -> Vec<(u16, u64)> {
    let mut ports: BTreeMap<u16, u64> = BTreeMap::new();
    for (number, list) in lists.iter().enumerate() {
        for port in list.iter().flatten().filter(|_| handled & 1 << number != 0) {
            *ports.entry(*port).or_default() |= 1 << number;
        }
    }
    ports.into_iter().collect()
}

/// The bits that are set, each as a separate number.
fn bits(all: u64) -> impl Iterator<Item = u64> {
    (0..64)
        .map(|number| 1 << number)
        .filter(move |bit| all & bit != 0)
}

#[cfg(test)]
mod tests;
