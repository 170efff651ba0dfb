//! Destinations as text: relative to the root, in the form for system calls.

use std::ffi::{CString, NulError, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The path without `.`, repeated, leading and trailing slashes; `..` stays. Empty for the root
/// itself.
pub(crate) fn relative(path: &Path) -> PathBuf {
    path.components()
        .filter(|component| matches!(component, Component::Normal(_) | Component::ParentDir))
        .collect()
}

/// As system calls want it; the root is `.`.
pub(crate) fn c_path(path: &Path) -> Result<CString, NulError> {
    let bytes = path.as_os_str().as_bytes();
    CString::new(if bytes.is_empty() { b"." } else { bytes })
}

/// The directory and the name of a cleaned path; `None` for the root.
pub(crate) fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_keep_their_parents() {
        for (written, expected) in [
            ("//a/./b/", "a/b"),
            ("/link/../b/.", "link/../b"),
            ("/", ""),
        ] {
            assert_eq!(
                relative(Path::new(written)),
                Path::new(expected),
                "{written}"
            );
        }
    }
}
