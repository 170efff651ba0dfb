//! The rules of `linux.cgroupsPath`.
//!
//! With the cgroup file system an absolute path starts at the mount, and a relative or absent one
//! starts at the runtime's own group. With systemd the form is `slice:prefix:name`. Both refuse
//! `..`: a group is only made below the place that the rule names.

use spec::{Code, Diagnostic};

const POINTER: &str = "/linux/cgroupsPath";

/// The starting point of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Base {
    /// The root of the hierarchy.
    Mount,
    /// The caller's own group (v1), or the group above it (v2: a group with processes cannot have
    /// sub-groups with limits).
    Caller,
}

/// A checked path of a group: names without `/`, `.` and `..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GroupName {
    pub(crate) base: Base,
    pub(crate) components: Vec<String>,
}

fn problem(message: String) -> Diagnostic {
    Diagnostic::new(Code::Path, POINTER, message)
}

/// Splits `path` at its slashes; empty names and `.` are ignored. Refuses names that the kernel
/// would refuse.
pub(crate) fn components(path: &str) -> Result<Vec<String>, Diagnostic> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => return Err(problem(format!("path {path:?} contains \"..\""))),
            _ if name.len() > 255 => {
                return Err(problem(format!("name {name:?} is longer than 255 bytes")));
            }
            _ if name.contains(['\n', '\0']) => {
                return Err(problem(format!(
                    "name {name:?} contains a line break or a NUL"
                )));
            }
            _ => names.push(name.to_owned()),
        }
    }
    Ok(names)
}

/// The paths of the groups on the way to `path`, from the top to itself: `a` and `a/b` for `a/b`.
/// Also the root, if the path is empty or begins with a slash.
pub(crate) fn levels(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    let ends = path.match_indices('/').map(|(at, _slash)| at);
    ends.chain([path.len()]).map(|end| &path[..end])
}

impl GroupName {
    /// The group that `cgroups_path` names for the container `id`.
    pub(crate) fn parse(cgroups_path: Option<&str>, id: &str) -> Result<Self, Diagnostic> {
        let path = cgroups_path.unwrap_or_default();
        let names = components(path)?;
        let base = if path.starts_with('/') {
            Base::Mount
        } else {
            Base::Caller
        };
        if !names.is_empty() {
            return Ok(Self {
                base,
                components: names,
            });
        }
        if base == Base::Mount {
            return Err(
                problem(format!("path {path:?} is the root of the cgroup hierarchy"))
                    .hint("name a group below it"),
            );
        }
        let components = components(id)?;
        if components.len() != 1 {
            return Err(problem(format!("container id {id:?} cannot name a cgroup")));
        }
        Ok(Self { base, components })
    }
}

/// `slice:prefix:name`, the form that cgroupsPath has with the systemd manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnitName {
    /// A slice unit, as "system.slice" or "-.slice".
    pub(crate) slice: String,
    /// The unit: `prefix-name.scope`.
    pub(crate) unit: String,
}

impl UnitName {
    /// Reads `cgroups_path`; absent or empty it is `system.slice:locule:ID` (rootless:
    /// `user.slice`).
    ///
    /// # Errors
    /// Anything but three parts, and parts that cannot be in a unit's name.
    pub(crate) fn parse(
        cgroups_path: Option<&str>,
        id: &str,
        default_slice: &str,
    ) -> Result<Self, Diagnostic> {
        let path = cgroups_path.unwrap_or_default();
        if path.is_empty() {
            return Ok(Self {
                slice: default_slice.to_owned(),
                unit: format!("locule-{}.scope", escape(id)),
            });
        }
        let parts: Vec<&str> = path.split(':').collect();
        let [slice, prefix, name] = parts[..] else {
            return Err(problem(format!(
                "{path:?} must have three parts and has {}",
                parts.len()
            ))
            .hint("with the systemd cgroup manager the form is slice:prefix:name"));
        };
        for part in [slice, prefix, name] {
            if part.contains(['/', '\n', '\0']) || part == ".." {
                return Err(problem(format!("{part:?} cannot be part of a unit's name")));
            }
        }
        if name.is_empty() {
            return Err(problem(format!("{path:?} names no unit")));
        }
        let slice = match slice {
            "" => default_slice.to_owned(),
            "-" => "-.slice".to_owned(),
            slice => slice.to_owned(),
        };
        expand_slice(&slice)?;
        if name.ends_with(".slice") {
            let message = format!("{name:?} is a slice, and systemd puts no process into a slice");
            return Err(
                problem(message).hint("name the container, and the slice as the first part")
            );
        }
        let unit = if prefix.is_empty() {
            format!("{name}.scope")
        } else {
            format!("{prefix}-{name}.scope")
        };
        check_unit(&unit)?;
        Ok(Self { slice, unit })
    }

    /// The path of the unit's group below the mount: `a-b.slice` is `/a.slice/a-b.slice`.
    pub(crate) fn group_path(&self) -> Result<String, Diagnostic> {
        let escape = if needs_escape(&self.unit) { "_" } else { "" };
        Ok(format!(
            "{}/{escape}{}",
            expand_slice(&self.slice)?,
            self.unit
        ))
    }
}

/// An id as part of a unit's name, as systemd-escape(1) writes it: of the characters of an id, only
/// `+` is not valid in a unit's name.
fn escape(id: &str) -> String {
    id.replace('+', "\\x2b")
}

/// Whether systemd accepts the name of a unit: letters, digits and `:-_.\\`, 255 bytes. See
/// systemd.unit(5).
fn check_unit(unit: &str) -> Result<(), Diagnostic> {
    let is_valid = |letter: char| letter.is_ascii_alphanumeric() || ":-_.\\".contains(letter);
    if let Some(letter) = unit.chars().find(|letter| !is_valid(*letter)) {
        return Err(problem(format!(
            "{letter:?} cannot be in the name of a unit ({unit:?})"
        )));
    }
    if unit.len() > 255 {
        return Err(problem(format!("unit {unit:?} is longer than 255 bytes")));
    }
    Ok(())
}

/// Whether the unit's group would have the name of a kernel file. systemd avoids this with a
/// leading underscore.
fn needs_escape(unit: &str) -> bool {
    const CONTROLLERS: &[&str] = &[
        "cgroup", "cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "devices", "pids",
    ];
    let first = unit.split('.').next().unwrap_or_default();
    unit.starts_with(['_', '.']) || CONTROLLERS.contains(&first)
}

/// The path of a slice: each dash is one level. See systemd.slice(5).
fn expand_slice(slice: &str) -> Result<String, Diagnostic> {
    let Some(stem) = slice.strip_suffix(".slice").filter(|stem| !stem.is_empty()) else {
        return Err(problem(format!(
            "{slice:?} is not a slice: it must end in \".slice\""
        )));
    };
    if stem == "-" {
        return Ok(String::new());
    }
    let mut path = String::new();
    let mut name = String::new();
    for part in stem.split('-') {
        if part.is_empty() {
            return Err(problem(format!(
                "{slice:?} is not a slice: a name between dashes is empty"
            )));
        }
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(part);
        path.push('/');
        path.push_str(&name);
        path.push_str(".slice");
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> GroupName {
        GroupName::parse(Some(path), "box").unwrap()
    }

    #[test]
    fn an_absolute_path_counts_from_the_mount() {
        assert_eq!(name("/a/./b//c/").base, Base::Mount);
        assert_eq!(name("/a/./b//c/").components, ["a", "b", "c"]);
    }

    #[test]
    fn a_relative_path_counts_from_the_caller() {
        assert_eq!(name("a/b").base, Base::Caller);
        assert_eq!(name("a/b").components, ["a", "b"]);
    }

    #[test]
    fn an_absent_path_is_the_id() {
        let absent = GroupName::parse(None, "box").unwrap();
        assert_eq!(absent, name(""));
        assert_eq!(absent.components, ["box"]);
        assert_eq!(absent.base, Base::Caller);
    }

    #[test]
    fn dots_that_lead_up_are_refused() {
        for path in ["..", "/../../x", "a/../b", "/a/..", "../x"] {
            let error = GroupName::parse(Some(path), "box").unwrap_err();
            assert_eq!(error.pointer, "/linux/cgroupsPath");
            assert!(error.message.contains(".."), "{error}");
        }
    }

    #[test]
    fn the_root_and_odd_bytes_are_refused() {
        for path in ["/", "//.", "/a\nb", "/a\0b"] {
            assert!(GroupName::parse(Some(path), "box").is_err(), "{path:?}");
        }
        assert!(GroupName::parse(Some(&format!("/{}", "a".repeat(256))), "box").is_err());
        for id in ["a/b", "..", ".", ""] {
            assert!(GroupName::parse(None, id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn systemd_paths_become_units() {
        let cases = [
            ("system.slice:docker:abc", "/system.slice/docker-abc.scope"),
            ("machine.slice:libpod:ab", "/machine.slice/libpod-ab.scope"),
            (
                "a-b-c.slice:p:n",
                "/a.slice/a-b.slice/a-b-c.slice/p-n.scope",
            ),
            (":p:n", "/user.slice/p-n.scope"),
            ("-:p:n", "/p-n.scope"),
            ("-.slice:p:n", "/p-n.scope"),
            ("system.slice::n", "/system.slice/n.scope"),
            ("system.slice::memory", "/system.slice/_memory.scope"),
            ("system.slice::_x", "/system.slice/__x.scope"),
            ("system.slice:p:x.y", "/system.slice/p-x.y.scope"),
            ("", "/user.slice/locule-box.scope"),
        ];
        for (path, group) in cases {
            let unit = UnitName::parse(Some(path), "box", "user.slice").unwrap();
            assert_eq!(unit.group_path().unwrap(), group, "{path}");
        }
    }

    #[test]
    fn an_id_is_escaped_in_the_name_of_a_unit() {
        let unit = UnitName::parse(None, "a+b_c.d-e", "user.slice").unwrap();
        assert_eq!(unit.unit, "locule-a\\x2bb_c.d-e.scope");
    }

    #[test]
    fn malformed_systemd_paths_are_refused() {
        for path in [
            "/docker/abc",
            "a:b",
            "a:b:c:d",
            "system:p:n",
            ".slice:p:n",
            "a--b.slice:p:n",
            "-a.slice:p:n",
            "system.slice:p:",
            "system.slice:../p:n",
            "a/b.slice:p:n",
            "system.slice:p:x-y.slice",
            "system.slice:p:a b",
            "system.slice:p:a@b",
            "system.slice:p:ä",
        ] {
            let error = UnitName::parse(Some(path), "box", "system.slice").unwrap_err();
            assert_eq!(error.pointer, "/linux/cgroupsPath", "{path}");
        }
    }
}
