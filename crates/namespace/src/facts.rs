//! The facts that this room needs of the host, before anything is decided.

use crate::Kind;
use crate::idmap::{find_program, needs_helpers};
use caller::Caller;
use serde::{Deserialize, Serialize};
use spec::Container;
use spec::container::Namespace;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The facts that decide the route and the id maps, besides the configuration and the caller.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Facts {
    /// Whether the user namespace of the configuration is the one that the caller is in.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub joins_own_user_namespace: bool,
    /// The set-id program that writes user maps for callers without privileges.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newuidmap: Option<PathBuf>,
    /// The one that writes group maps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newgidmap: Option<PathBuf>,
}

impl Facts {
    /// Collects the facts that the container needs. Without a container it collects all that do not
    /// depend on one.
    pub fn probe(container: Option<&Container>, caller: &Caller) -> Self {
        let needs_helpers = container.is_none_or(|container| {
            container.namespaces[Kind::User] == Namespace::New
                && needs_helpers(&container.uid_mappings, &container.gid_mappings, caller)
        });
        let find = |name| needs_helpers.then(|| find_program(name)).flatten();
        let user = container.map(|container| &container.namespaces[Kind::User]);
        Self {
            joins_own_user_namespace: matches!(
                user,
                Some(Namespace::Join(path)) if is_own_user_namespace(path).unwrap_or(false)
            ),
            newuidmap: find("newuidmap"),
            newgidmap: find("newgidmap"),
        }
    }
}

/// If it cannot be read, it counts as another one: the open reports the reason.
#[expect(
    clippy::disallowed_methods,
    reason = "a path of the host, from the engine, and the process' own /proc"
)]
fn is_own_user_namespace(path: &Path) -> io::Result<bool> {
    let own = fs::metadata("/proc/self/ns/user")?;
    let found = fs::metadata(path)?;
    Ok((own.dev(), own.ino()) == (found.dev(), found.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_user_namespace_is_recognised() {
        assert!(is_own_user_namespace(Path::new("/proc/thread-self/ns/user")).unwrap());
        assert!(!is_own_user_namespace(Path::new("/proc/self/ns/ipc")).unwrap());
        assert!(is_own_user_namespace(Path::new("/run/missing-here")).is_err());
    }
}
