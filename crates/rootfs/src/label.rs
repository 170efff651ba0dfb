//! `linux.mountLabel`: which mounts get it, and how.
//!
//! A file system with a superblock of its own takes the label as a parameter. procfs, sysfs and
//! cgroups are labelled by the policy. The superblock of a message queue file system belongs to the
//! IPC namespace and exists already, so only its root directory can be labelled. A label in the
//! mount's own options has precedence. The label has no quotes: quotes around a list of categories
//! are for mount(2), where a comma ends an option.

use crate::lower_mount::Element;
use crate::options::Param;
use spec::container::Container;
use spec::{Code, Diagnostic};
use std::ffi::{CStr, CString};

/// The annotation that chooses the parameter: crun's.
const ANNOTATION: &str = "run.oci.mount_context_type";

/// The parameters of SELinux, and whether each one conflicts with the label. The first is the
/// default.
const PARAMETERS: [(&CStr, &str, bool); 4] = [
    (c"context", "context", true),
    (c"fscontext", "fscontext", false),
    (c"defcontext", "defcontext", true),
    (c"rootcontext", "rootcontext", false),
];

/// How a file system is labelled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Label {
    /// Not at all.
    None,
    /// By this parameter.
    Parameter(Param),
    /// By the attribute of its root directory.
    Root(CString),
}

impl Label {
    /// Decides for a new file system.
    pub(crate) fn lower(
        container: &Container,
        kind: &str,
        element: &Element<'_>,
    ) -> Result<Self, Diagnostic> {
        let given = |key| element.options.data.iter().any(|(_, param)| param.is(key));
        let Some(label) = &container.mount_label else {
            return Ok(Self::None);
        };
        let key = parameter(container)?;
        let contradicted = PARAMETERS
            .iter()
            .any(|(other, _, contradicts)| (*contradicts || *other == key) && given(other));
        let label = CString::new(label.as_str()).map_err(|_nul| {
            Diagnostic::new(Code::Range, "/linux/mountLabel", "contains a NUL byte")
        })?;
        Ok(match kind {
            "proc" | "sysfs" | "cgroup" | "cgroup2" => Self::None,
            "mqueue" => Self::Root(label),
            _ if contradicted => Self::None,
            _ => Self::Parameter(Param {
                key: key.into(),
                value: Some(label),
            }),
        })
    }
}

/// The parameter that carries the label.
fn parameter(container: &Container) -> Result<&'static CStr, Diagnostic> {
    let Some(word) = container.annotations.get(ANNOTATION) else {
        return Ok(PARAMETERS[0].0);
    };
    match PARAMETERS.iter().find(|(_, name, _)| name == word) {
        Some((key, _, _)) => Ok(key),
        None => Err(Diagnostic::new(
            Code::UnknownValue,
            format!("/annotations/{ANNOTATION}"),
            format!("{word:?} is not a parameter of SELinux"),
        )
        .hint("one of context, fscontext, defcontext, rootcontext")),
    }
}

/// Whether the parameter is one of SELinux's.
pub(crate) fn is_label(param: &Param) -> bool {
    PARAMETERS.iter().any(|(key, _, _)| param.is(key))
}

/// A parameter as fsconfig(2) takes it: engines quote labels as mount(2) wants them.
pub(crate) fn bare(param: Param) -> Param {
    let unquoted = param
        .value
        .as_ref()
        .map(|value| value.to_bytes())
        .and_then(|value| value.strip_prefix(b"\"")?.strip_suffix(b"\""));
    match unquoted {
        Some(text) if is_label(&param) => Param {
            value: CString::new(text).ok(),
            key: param.key,
        },
        _ => param,
    }
}
