//! `spec`: a config.json to start from.

use super::Env;
use crate::args;
use crate::error::Error;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::process::ExitCode;

/// Writes config.json into the bundle; never over an existing one.
pub fn run(args: &args::Spec, _: &Env) -> Result<ExitCode, Error> {
    let path = args.bundle.join("config.json");
    let text = "";
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Error::SpecExists { path });
        }
        Err(source) => return Err(Error::Write { path, source }),
    };
    match file.write_all(text.as_bytes()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(source) => Err(Error::Write { path, source }),
    }
}
