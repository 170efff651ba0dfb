//! What is checked about the restored processes, before one of them runs.
//!
//! The image decides what they are: their namespaces, ids, capabilities, filters, labels and the
//! flags of their mounts. None of them may be confined less than configured.

#![expect(clippy::disallowed_methods, reason = "the host's /proc")]

use crate::error::Error;
use namespace::Kind;
use namespace::join::{Joined, inode_of, own_inode};
use spec::Container;
use spec::container::{IdMapping, Namespace};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Compares the namespaces of a restored process with the configuration, and the ids of a new user
/// namespace.
///
/// # Errors
/// [`Error::Restored`]: it is in another one, or has other ids.
pub(super) fn namespaces(container: &Container, pid: i32) -> Result<(), Error> {
    for kind in Kind::ALL {
        let found = inode_of(&pid.to_string(), kind).ok();
        let is_right = match &container.namespaces[kind] {
            // Capabilities mean less in another user namespace, but its ids are not configured.
            Namespace::Inherit => kind != Kind::User || found == own_inode(kind),
            Namespace::New => found.is_some() && found != own_inode(kind),
            Namespace::Join(path) => {
                let joined = Joined::open(kind, path).map_err(launch::Error::from)?;
                found == Some(joined.inode)
            }
        };
        if !is_right {
            let what = format!("is not in the configured {} namespace", kind.name());
            return Err(refused(what));
        }
    }
    if container.namespaces[Kind::User] != Namespace::New {
        return Ok(());
    }
    for (file, configured) in [
        ("uid_map", &container.uid_mappings),
        ("gid_map", &container.gid_mappings),
    ] {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).map_err(Error::Look)?;
        if ids(&text) != Some(configured.iter().copied().map(triple).collect()) {
            return Err(refused(format!("has another {file} than configured")));
        }
    }
    Ok(())
}

fn triple(map: IdMapping) -> (u32, u32, u32) {
    (map.container, map.host, map.size)
}

/// The lines of a map, which the kernel may have sorted; `None` if one has another form.
fn ids(text: &str) -> Option<BTreeSet<(u32, u32, u32)>> {
    let line = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map(|word| word.parse().ok());
        Some((numbers.next()??, numbers.next()??, numbers.next()??))
    };
    text.lines().map(line).collect()
}

/// Compares the filter, the capabilities and the label of every thread of a restored process with
/// the configuration. It has them only just before it runs. `profile` is that of `--lsm-profile`.
///
/// # Errors
/// [`Error::Restored`]: a thread is confined less than configured.
pub(super) fn confinement(
    container: &Container,
    profile: Option<&str>,
    pid: i32,
) -> Result<(), Error> {
    for thread in fs::read_dir(format!("/proc/{pid}/task")).map_err(Error::Look)? {
        let thread = thread.map_err(Error::Look)?.path();
        // The name in it is up to the image, and may have any byte.
        let status = fs::read(thread.join("status")).map_err(Error::Look)?;
        privileges(container, &String::from_utf8_lossy(&status))?;
        labels(container, profile, &thread)?;
    }
    Ok(())
}

/// Compares what /proc/PID/status says.
fn privileges(container: &Container, status: &str) -> Result<(), Error> {
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key));
        line.map_or("", str::trim)
    };
    if container.seccomp.is_some() && value("Seccomp:") != "2" {
        return Err(refused("has no system call filter"));
    }
    let Some(process) = &container.process else {
        return Err(refused("is not configured: there is no /process"));
    };
    if process.no_new_privileges && value("NoNewPrivs:") != "1" {
        return Err(refused("can get new privileges"));
    }
    let sets = &process.capabilities;
    // A program of root gets what is in the bounding or the inheritable set.
    let any = sets.bounding.or(sets.permitted).or(sets.inheritable);
    for (key, name, allowed) in [
        ("CapBnd:", "bounding", sets.bounding),
        ("CapPrm:", "permitted", any),
        ("CapEff:", "effective", any),
        ("CapInh:", "inheritable", any),
        ("CapAmb:", "ambient", any),
    ] {
        let found = u64::from_str_radix(value(key), 16).unwrap_or(u64::MAX);
        if found & !allowed.0 != 0 {
            let what = format!("has more capabilities in its {name} set than configured");
            return Err(refused(what));
        }
    }
    Ok(())
}

/// Compares the labels of security modules. A module that is off gives none.
fn labels(container: &Container, profile: Option<&str>, thread: &Path) -> Result<(), Error> {
    let of = |module: &str, configured: Option<&String>| {
        let given = profile.and_then(|profile| profile.strip_prefix(module)?.strip_prefix(':'));
        given.or(configured.map(String::as_str)).map(str::to_owned)
    };
    let process = container.process.as_ref();
    let configured = process.and_then(|process| process.apparmor_profile.as_ref());
    if let Some(wanted) = of("apparmor", configured).filter(|profile| profile != "unconfined") {
        let found = read(&thread.join("attr/apparmor/current"));
        // The mode is behind the name.
        let name = found.split(" (").next().unwrap_or_default();
        if name != wanted {
            let what = format!("has the AppArmor profile {name:?}, but not {wanted:?}");
            return Err(refused(what));
        }
    }
    let configured = process.and_then(|process| process.selinux_label.as_ref());
    if let Some(wanted) = of("selinux", configured) {
        let found = read(&thread.join("attr/current"));
        if found != wanted {
            let what = format!("has the SELinux label {found:?}, but not {wanted:?}");
            return Err(refused(what));
        }
    }
    Ok(())
}

/// A label without what the kernel has at its end; empty if there is none.
fn read(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.trim_end_matches(['\0', '\n']).to_owned()
}

pub(super) fn refused(what: impl Into<String>) -> Error {
    Error::Restored(what.into())
}
