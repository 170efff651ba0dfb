//! `mounts`: destinations, sources, id maps. The crate that makes the mounts decides what the
//! options mean. Source: config.md#mounts.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::container::{Mount, clean};
use crate::diagnostic::Code;
use crate::quote::quote;
use crate::reader::{Object, Value};
use crate::validate::ids;

/// Reads `mounts`; relative bind sources are made absolute below `bundle`.
pub(crate) fn read(o: &Object<'_>, bundle: &Path) -> Vec<Mount> {
    let mut seen = BTreeSet::new();
    o.list("mounts", |item| {
        item.object(|o| mount(o, bundle, &mut seen))?
    })
}

fn mount(o: &Object<'_>, bundle: &Path, seen: &mut BTreeSet<PathBuf>) -> Option<Mount> {
    let destination = o
        .required("destination")
        .and_then(|v| destination(&v, seen));
    let mut mount = Mount {
        destination: PathBuf::new(),
        kind: o.text_or_none("type"),
        options: o.texts("options"),
        source: o.text_or_none("source").map(PathBuf::from),
        uid_mappings: Vec::new(),
        gid_mappings: Vec::new(),
    };
    if mount.is_bind() {
        if o.absent("source") {
            o.value.error(Code::Missing, "a bind mount needs `source`");
        }
        mount.source = mount.source.map(|path| bundle.join(path));
        warn_of_data(o, &mount.options);
    }
    mount.uid_mappings = ids::map(o, "uidMappings");
    mount.gid_mappings = ids::map(o, "gidMappings");
    if o.absent("uidMappings") != o.absent("gidMappings") {
        let message = "`uidMappings` and `gidMappings` need each other: give both or neither";
        o.value.error(Code::Conflict, message);
    }
    mount.destination = destination?;
    Some(mount)
}

/// Warns about options of a tmpfs on a bind mount. Other runtimes ignore them silently; other
/// unknown options are errors.
fn warn_of_data(o: &Object<'_>, options: &[String]) {
    let of_a_tmpfs = ["mode=", "size=", "uid=", "gid=", "nr_inodes=", "nr_blocks="];
    for option in options {
        if of_a_tmpfs.iter().any(|name| option.starts_with(name)) {
            let message = format!("{} has no effect on a bind mount", quote(option));
            o.value.warn(Code::Conflict, message);
        }
    }
}

fn destination(value: &Value<'_>, seen: &mut BTreeSet<PathBuf>) -> Option<PathBuf> {
    let text = value.filled()?;
    let path = Path::new(text);
    if path.is_relative() {
        let message = format!(
            "the destination {} is relative: locule resolves it from /",
            quote(text)
        );
        value.warn(Code::Path, message);
    }
    if path.components().any(|part| part == Component::ParentDir) {
        let message = format!("the destination {} has `..` components", quote(text));
        value.warn(Code::Path, message);
    }
    let place = clean(path);
    if place.as_os_str().is_empty() {
        let message = format!(
            "the destination {} is the container's root itself",
            quote(text)
        );
        return value.refuse_hint(Code::Path, message, "name the directory in `root.path`");
    }
    if !seen.insert(place) {
        let message = format!("an earlier mount has the same destination {}", quote(text));
        value.warn(Code::Conflict, message);
    }
    Some(path.to_owned())
}
