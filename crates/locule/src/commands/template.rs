//! `spec`: a config.json to start from.

#![expect(
    clippy::disallowed_methods,
    reason = "the caller's bundle on the host, before any container"
)]

use super::Env;
use crate::args;
use crate::error::Error;
use crate::exit::ExitCode;
use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use nix::unistd::{getegid, geteuid};
use spec::template::{Caller, Cgroups, Options, template};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

/// Writes config.json into the bundle; never overwrites an existing one.
pub(crate) fn run(args: &args::Spec, _: &Env) -> Result<ExitCode, Error> {
    let options = Options {
        caller: if args.rootless {
            Caller::Rootless {
                uid: geteuid().as_raw(),
                gid: getegid().as_raw(),
            }
        } else {
            Caller::Root
        },
        cgroups: cgroups(),
    };
    let name = args.file.as_deref().unwrap_or(Path::new("config.json"));
    let path = args.bundle.join(name);
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(Error::SpecExists { path });
        }
        Err(source) => return Err(Error::Write { path, source }),
    };
    match file.write_all((template(options) + "\n").as_bytes()) {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(source) => Err(Error::Write { path, source }),
    }
}

fn cgroups() -> Cgroups {
    match statfs("/sys/fs/cgroup") {
        Ok(system) if system.filesystem_type() == CGROUP2_SUPER_MAGIC => Cgroups::V2,
        Ok(_) | Err(_) => Cgroups::V1,
    }
}
