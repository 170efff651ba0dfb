//! Which program this one takes the place of.
//!
//! runc, crun and youki differ in a few defaults, exit statuses and printed forms. [`FACES`] is the
//! one table of what differs. Other code reads a field and never compares names. The name that the
//! program was called by chooses a row, and `--compat` overrides it. docs/compatibility.md
//! describes every field for users.

use crate::status::Action;
use std::ffi::{OsStr, OsString};
use std::path::Path;

/// What differs between the programs.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Face {
    /// The program's name. Also the first word of every message, and the name of the default state
    /// directory.
    pub(crate) name: &'static str,
    /// For whom XDG_RUNTIME_DIR has the state directory.
    pub(crate) runtime_directory: RuntimeDirectory,
    /// `--version`; {version}, {commit} and {rundir} are replaced.
    pub(crate) version: &'static str,
    pub(crate) statuses: Statuses,
    /// The signal of `kill` without one; `None`: it must be given.
    pub(crate) signal: Option<&'static str>,
    /// What `delete` without `--force` is.
    pub(crate) deletion: Action,
    pub(crate) state: State,
    pub(crate) list: List,
    /// Whether `ps` runs the host's `ps` for its table.
    pub(crate) processes: Processes,
    /// How a JSON array is printed.
    pub(crate) array: Array,
    pub(crate) log: Log,
    /// Annotations that a configuration without them has.
    pub(crate) annotations: &'static [(&'static str, &'static str)],
}

/// Exit statuses.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Statuses {
    /// Wrong options of a command that exists.
    pub(crate) misuse: u8,
    /// Too few or too many words after a command that exists.
    pub(crate) miscount: u8,
    /// A command that does not exist.
    pub(crate) unknown: u8,
    /// No command at all; 0: help is what was asked for.
    pub(crate) nothing: u8,
    /// `run` has failed.
    pub(crate) run: u8,
    /// `exec` has failed.
    pub(crate) exec: u8,
    /// Is added to the number of the signal that has killed the program.
    pub(crate) signal: i32,
}

/// For whom XDG_RUNTIME_DIR has the state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RuntimeDirectory {
    /// For those without the rights of the host's root.
    OfUsers,
    /// For everyone.
    OfAll,
}

/// What `state` and `list` say of a container.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct State {
    /// `ociVersion`; `None`: the configuration's.
    pub(crate) oci_version: Option<&'static str>,
    pub(crate) owner: Owner,
    pub(crate) scope: Scope,
    pub(crate) pid: PidOfStopped,
}

/// `owner` of `state`. `list` always has the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// An empty text.
    Empty,
    /// The user's name.
    Name,
    /// The user's id.
    Number,
}

/// Whether `systemd-scope` is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Hidden,
    /// Empty, unless systemd made the cgroup.
    Shown,
}

/// `pid` of a container that has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PidOfStopped {
    Zero,
    Absent,
}

/// The table of `list`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct List {
    /// The headings, and how wide the columns are at least.
    pub(crate) columns: [(&'static str, usize); 6],
    /// Spaces between two columns, at least.
    pub(crate) between: usize,
    /// The JSON form of no container.
    pub(crate) empty: &'static str,
}

/// The table of `ps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Processes {
    /// The lines of the host's `ps`.
    Listed,
    /// A heading and the process ids.
    Numbered,
}

/// How a JSON array is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Array {
    /// On one line.
    Line,
    /// A line for each value.
    Lines,
}

/// Messages in the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Log {
    pub(crate) time: Time,
    pub(crate) text: Text,
}

/// How exact a time is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    Seconds,
    Microseconds,
}

/// What `--log-format text` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Text {
    /// time="..." level=... msg="..."
    Keyed,
    /// The message alone.
    Bare,
}

/// The program under its own name.
const LOCULE: Face = Face {
    name: "locule",
    runtime_directory: RuntimeDirectory::OfUsers,
    version: "locule version {version}\ncommit: {commit}\nspec: 1.3.0\n",
    statuses: Statuses {
        misuse: 1,
        miscount: 1,
        unknown: 3,
        nothing: 0,
        run: 1,
        exec: 255,
        signal: 128,
    },
    signal: Some("TERM"),
    deletion: Action::Delete,
    state: State {
        oci_version: None,
        owner: Owner::Empty,
        scope: Scope::Hidden,
        pid: PidOfStopped::Zero,
    },
    list: List {
        columns: [
            ("ID", 12),
            ("PID", 12),
            ("STATUS", 12),
            ("BUNDLE", 12),
            ("CREATED", 12),
            ("OWNER", 0),
        ],
        between: 3,
        empty: "[]",
    },
    processes: Processes::Listed,
    array: Array::Line,
    log: Log {
        time: Time::Seconds,
        text: Text::Keyed,
    },
    annotations: &[],
};

const RUNC: Face = Face {
    name: "runc",
    version: "runc version {version}\ncommit: {commit}\nspec: 1.3.0\n",
    list: List {
        empty: "null",
        ..LOCULE.list
    },
    ..LOCULE
};

const CRUN: Face = Face {
    name: "crun",
    runtime_directory: RuntimeDirectory::OfAll,
    version: "crun version {version}\ncommit: {commit}\nrundir: {rundir}\nspec: 1.3.0\n\
        +SYSTEMD +SELINUX +APPARMOR +CAP +SECCOMP +EBPF\n",
    statuses: Statuses {
        misuse: 64,
        unknown: 1,
        nothing: 1,
        exec: 1,
        ..LOCULE.statuses
    },
    state: State {
        oci_version: Some("1.0.0"),
        owner: Owner::Name,
        scope: Scope::Shown,
        ..LOCULE.state
    },
    list: List {
        columns: [
            ("NAME", 0),
            ("PID", 10),
            ("STATUS", 9),
            ("BUNDLE PATH", 40),
            ("CREATED", 31),
            ("OWNER", 0),
        ],
        between: 1,
        ..LOCULE.list
    },
    processes: Processes::Numbered,
    array: Array::Lines,
    log: Log {
        time: Time::Microseconds,
        text: Text::Bare,
    },
    annotations: &[("run.oci.systemd.subgroup", "container")],
    ..LOCULE
};

const YOUKI: Face = Face {
    name: "youki",
    version: "youki version {version}\ncommit: {commit}\n",
    statuses: Statuses {
        misuse: 2,
        miscount: 2,
        unknown: 2,
        nothing: 2,
        run: 255,
        exec: 255,
        signal: 0,
    },
    signal: None,
    deletion: Action::DeleteStopped,
    state: State {
        owner: Owner::Number,
        pid: PidOfStopped::Absent,
        ..LOCULE.state
    },
    list: List {
        columns: [
            ("ID", 0),
            ("PID", 0),
            ("STATUS", 0),
            ("BUNDLE", 0),
            ("CREATED", 0),
            ("CREATOR", 0),
        ],
        between: 2,
        ..LOCULE.list
    },
    ..LOCULE
};

/// All of them; the program under its own name first.
static FACES: [Face; 4] = [LOCULE, RUNC, CRUN, YOUKI];

/// The names that `--compat` takes.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FACES.iter().map(|face| face.name)
}

/// The program under its own name.
pub(crate) fn own() -> &'static Face {
    &FACES[0]
}

/// The face with this name.
pub(crate) fn named(name: &str) -> Option<&'static Face> {
    FACES.iter().find(|face| face.name == name)
}

/// The face of a program that was called by `path`, its first argument.
pub(crate) fn called(path: Option<&OsStr>) -> &'static Face {
    let name = path.and_then(|path| Path::new(path).file_name());
    name.and_then(OsStr::to_str)
        .and_then(named)
        .unwrap_or_else(own)
}

/// The face that a command line asks for which cannot be parsed.
pub(crate) fn asked(words: &[OsString]) -> Option<&'static Face> {
    let words = words.iter().map(|word| word.to_str().unwrap_or_default());
    let mut words = words.take_while(|word| *word != "--");
    let name = words.find_map(|word| {
        let rest = word
            .strip_prefix("--compat")
            .or_else(|| word.strip_prefix("-compat"))?;
        Some(rest.strip_prefix('=').map(str::to_owned))
    })?;
    named(&name.unwrap_or_else(|| words.next().unwrap_or_default().to_owned()))
}

impl Face {
    /// The answer to `--version`.
    pub(crate) fn version(&self, rundir: &Path) -> String {
        let commit = option_env!("LOCULE_COMMIT").unwrap_or("unknown");
        self.version
            .replace("{version}", env!("CARGO_PKG_VERSION"))
            .replace("{commit}", commit)
            .replace(
                "{rundir}",
                &spec::quote::visible(&rundir.display().to_string()),
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_name_of_the_program_chooses() {
        for (path, name) in [
            ("runc", "runc"),
            ("/usr/bin/crun", "crun"),
            ("./youki", "youki"),
            ("/usr/bin/locule", "locule"),
            ("runc.real", "locule"),
            ("/usr/lib/runc/", "runc"),
            ("", "locule"),
            ("/", "locule"),
        ] {
            assert_eq!(called(Some(OsStr::new(path))).name, name, "{path:?}");
        }
        assert_eq!(called(None).name, "locule");
    }

    #[test]
    fn a_line_that_cannot_be_parsed_may_name_a_face() {
        let asked = |line: &str| {
            let words: Vec<_> = line.split_ascii_whitespace().map(OsString::from).collect();
            asked(&words).map(|face| face.name)
        };
        assert_eq!(asked("--compat crun --bogus"), Some("crun"));
        assert_eq!(asked("--root /r --compat=youki bogus"), Some("youki"));
        assert_eq!(asked("-compat runc bogus"), Some("runc"));
        assert_eq!(asked("--compat"), None);
        assert_eq!(asked("--compat docker"), None);
        assert_eq!(asked("list -- --compat crun"), None);
        assert_eq!(asked("list"), None);
    }

    #[test]
    fn engines_find_the_version() {
        for face in &FACES {
            let text = face.version(Path::new("/run/x"));
            let words: Vec<_> = text.split_whitespace().take(3).collect();
            assert_eq!(words, [face.name, "version", env!("CARGO_PKG_VERSION")]);
            assert!(text.contains("\ncommit: ") && !text.contains('{'), "{text}");
        }
        let text = own().version(Path::new("/"));
        assert!(text.contains("\nspec: 1.3.0\n"), "{text}");
        let text = CRUN.version(Path::new("/run/x"));
        assert!(
            text.contains("\nrundir: /run/x\n") && text.contains("\n+SYSTEMD "),
            "{text}"
        );
    }
}
