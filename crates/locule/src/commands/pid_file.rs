//! The file that the caller wants a pid in.

use crate::error::Error;
use crate::host_file::HostFile;
use std::path::{Path, PathBuf};

/// A pid file: its directory is open.
#[derive(Debug)]
pub(super) struct PidFile {
    /// For messages.
    path: PathBuf,
    file: HostFile,
}

impl PidFile {
    pub(super) fn at(path: &Path) -> Result<Self, Error> {
        let path = path.to_owned();
        let file = match HostFile::at(&path) {
            Ok(file) => file,
            Err(errno) => {
                let source = errno.into();
                return Err(Error::PidFile { path, source });
            }
        };
        match file.special() {
            Some(kind) => Err(Error::PidFileKind { path, kind }),
            None => Ok(Self { path, file }),
        }
    }

    /// Readers see the whole number or no file.
    pub(super) fn write(&self, pid: i32) -> Result<(), Error> {
        let written = self.file.replace(pid.to_string().as_bytes());
        written.map_err(|source| Error::PidFile {
            path: self.path.clone(),
            source,
        })
    }

    /// Removes it; absent is fine.
    pub(super) fn remove(&self) {
        self.file.remove();
    }
}
