//! The programs that are compared: the floor and the runtimes, each with its state directory in
//! memory.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One program of the comparison.
#[derive(Debug)]
pub(crate) struct Subject {
    /// Its name in the table.
    pub(crate) name: String,
    /// The program.
    pub(crate) program: PathBuf,
    /// Whether it is the floor, which only runs.
    pub(crate) is_floor: bool,
    state: PathBuf,
    options: &'static [&'static str],
}

impl Subject {
    /// A runtime with its own state directory below `work`.
    pub(crate) fn runtime(name: &str, program: &Path, work: &Path) -> Subject {
        let state = work.join("state").join(name);
        fs::create_dir_all(&state).expect("state directory");
        Subject {
            name: name.to_owned(),
            program: program.to_owned(),
            is_floor: false,
            state,
            options: &[],
        }
    }

    /// The floor, with options.
    pub(crate) fn floor(program: &Path, options: &'static [&'static str]) -> Subject {
        Subject {
            name: "floor".to_owned(),
            program: program.to_owned(),
            is_floor: true,
            state: PathBuf::new(),
            options,
        }
    }

    /// A whole run of this bundle's program under this id.
    pub(crate) fn run(&self, bundle: &Path, id: &str) -> Command {
        if self.is_floor {
            let mut command = Command::new(&self.program);
            command.args(self.options).arg(bundle.join("rootfs"));
            command.args(["/sys/fs/cgroup", id, "/bin/true"]);
            return command;
        }
        let mut command = self.command(&["run", "--bundle"]);
        command.arg(bundle).arg(id);
        command
    }

    /// A create of a bundle, with a pid file.
    pub(crate) fn create(&self, bundle: &Path, id: &str) -> Command {
        let mut command = self.command(&["create", "--bundle"]);
        command
            .arg(bundle)
            .arg("--pid-file")
            .arg(self.pid_file(id))
            .arg(id);
        command
    }

    /// The pid that create wrote.
    pub(crate) fn pid(&self, id: &str) -> u32 {
        let text = fs::read_to_string(self.pid_file(id)).expect("pid file");
        fs::remove_file(self.pid_file(id)).expect("pid file");
        text.parse().expect("a pid")
    }

    fn pid_file(&self, id: &str) -> PathBuf {
        self.state.with_extension(format!("{id}.pid"))
    }

    /// Any command of the runtime.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("--root").arg(&self.state).args(args);
        command
    }
}
