//! From the tree to a [`Container`]: one module per section. The rules for several sections are in
//! this file. Source: config.md.

mod annotations;
mod attributes;
mod devices;
mod hooks;
mod ids;
mod intel_rdt;
mod landlock;
mod linux;
pub(crate) mod mounts;
mod namespaces;
mod net_devices;
pub(crate) mod process;
pub(crate) mod resources;
pub(crate) mod seccomp;
mod sysctl;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::container::{Container, NamespaceKind, Root};
use crate::diagnostic::Code;
use crate::quote::quote;
use crate::reader::{Object, Value};

/// The newest minor version of the specification (1.x) that this crate knows.
const MINOR: u64 = 3;
/// `struct new_utsname` has 65 bytes with the NUL, see uname(2).
const UTS_LENGTH: usize = 64;

/// Reads the whole document. `None` when a required part could not be read; the notes have the
/// reason. They may have errors even when there is a container.
pub(crate) fn container(value: &Value<'_>, bundle: &Path) -> Option<Container> {
    let notes = value.notes;
    value.object(|o| {
        o.ignore(&["windows", "solaris", "zos", "freebsd"]);
        if let Some(vm) = o.get("vm") {
            vm.warn(
                Code::Unsupported,
                "locule makes no virtual machines, the section is ignored",
            );
        }
        let version = o.required("ociVersion").and_then(|v| version(&v));
        let annotations = o.get("annotations");
        let annotations = annotations
            .map(|v| annotations::read(&v))
            .unwrap_or_default();
        let mut out = Container {
            bundle: bundle.to_owned(),
            annotations: annotations.all,
            ..Container::default()
        };
        if let Some(linux) = o.get("linux") {
            linux::read(&linux, annotations.seccomp_receiver.as_deref(), &mut out);
        }
        let root = o.required("root").and_then(|v| {
            let root = v.object(|o| root(o, bundle))??;
            if root.readonly && !out.namespaces[NamespaceKind::Mount].is_own() {
                v.error(
                    Code::Conflict,
                    "a read-only root needs a mount namespace of its own",
                );
            }
            Some(root)
        });
        out.process = o.get("process").and_then(|v| process::read(&v));
        if let Some(process) = &out.process {
            ids::refuse_unmapped(process, &out.uid_mappings, &out.gid_mappings, notes);
        }
        let own_uts = out.namespaces[NamespaceKind::Uts].is_own();
        let name = |key| uts_name(&given(o, key)?, own_uts);
        (out.hostname, out.domainname) = (name("hostname"), name("domainname"));
        out.mounts = mounts::read(o, bundle);
        out.hooks = o.get("hooks").map(|v| hooks::read(&v)).unwrap_or_default();
        out.landlock = landlock::read(&out.annotations, notes);
        Some(Container {
            version: version?,
            root: root?,
            ..out
        })
    })?
}

/// The value of `key`; an empty string, list or object counts as absent.
fn given<'o>(o: &'o Object<'_>, key: &'static str) -> Option<Value<'o>> {
    o.get(key).filter(|_| !o.absent(key))
}

fn root(o: &Object<'_>, bundle: &Path) -> Option<Root> {
    let path = o
        .required("path")
        .and_then(|v| v.filled().map(|text| bundle.join(text)));
    let readonly = o.flag("readonly").unwrap_or_default();
    Some(Root {
        path: path?,
        readonly,
    })
}

fn version(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let Some((major, minor)) = semver(text) else {
        let message = format!(
            "expected a version such as \"1.2.1\", found {}",
            quote(text)
        );
        return value.refuse_hint(Code::Range, message, "see https://semver.org");
    };
    if major != 1 {
        let message = format!(
            "version {} of the specification is not supported",
            quote(text)
        );
        return value.refuse_hint(Code::Unsupported, message, "expected 1.x");
    }
    if minor > MINOR {
        let message = format!("version {} is newer than the known 1.{MINOR}", quote(text));
        value.warn(Code::Unsupported, message);
    }
    Some(text.to_owned())
}

/// The major and minor number of a version; see SemVer 2.0.0.
fn semver(text: &str) -> Option<(u64, u64)> {
    let (rest, build) = text
        .split_once('+')
        .map_or((text, None), |(a, b)| (a, Some(b)));
    let (core, pre) = rest
        .split_once('-')
        .map_or((rest, None), |(a, b)| (a, Some(b)));
    let word = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let plain = |part: &str| part == "0" || !part.starts_with('0');
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let number = |part: &str| part.parse().ok().filter(|_| digits(part) && plain(part));
    let sound_pre = |part: &str| word(part) && (!digits(part) || plain(part));
    let mut parts = core.split('.');
    let (major, minor) = (number(parts.next()?)?, number(parts.next()?)?);
    number(parts.next()?)?;
    let sound = parts.next().is_none()
        && pre.is_none_or(|pre| pre.split('.').all(sound_pre))
        && build.is_none_or(|build| build.split('.').all(word));
    sound.then_some((major, minor))
}

fn uts_name(value: &Value<'_>, own_uts: bool) -> Option<String> {
    let text = value.text()?;
    if text.len() > UTS_LENGTH {
        let message = format!(
            "{} has {} bytes, the kernel accepts at most {UTS_LENGTH}",
            quote(text),
            text.len()
        );
        return value.refuse(Code::Range, message);
    }
    if !own_uts {
        namespaces::needs(value, "uts");
    }
    Some(text.to_owned())
}
