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
        match HostFile::at(path) {
            Ok(file) => Ok(Self {
                path: path.to_owned(),
                file,
            }),
            Err(errno) => Err(Error::PidFile {
                path: path.to_owned(),
                source: errno.into(),
            }),
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
