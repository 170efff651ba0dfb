//! Options of `exec`.

use clap::Args;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

/// `exec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule exec [OPTIONS] ID COMMAND [ARG...]\n       locule exec [OPTIONS] --process FILE ID",
    after_help = "Examples:\n  locule exec box1 ps\n  locule exec --user 1000:1000 --env LANG=C box1 sh -c id\n  \
        locule exec --process process.json --detach --pid-file /run/p.pid box1\n\n\
        The process is what /process of the container's configuration says (as it was saved by `create`), \
        changed by the options. Options stand before the ID.\n\
        Exit status: that of the command, or 128 and the number of the signal that killed it; 255: the command \
        could not be run."
)]
pub(crate) struct Exec {
    /// JSON file that describes the whole process, as /process of config.json does [default: none]
    #[arg(short, long, value_name = "FILE", conflicts_with_all = [
        "cwd", "env", "user", "additional_gids", "process_label", "apparmor", "no_new_privs", "cap",
    ])]
    pub(crate) process: Option<PathBuf>,
    /// Return when the command runs, without waiting for its end [default: off]
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// File that the process id is written to, replaced as a whole [default: none]
    #[arg(long, value_name = "PATH")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Give the command a terminal [default: off]
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Unix socket that is sent the master end of the terminal [default: none]
    #[arg(long, value_name = "PATH")]
    pub(crate) console_socket: Option<PathBuf>,
    /// Unix socket that is sent a pidfd of the process [default: none]
    #[arg(long, value_name = "PATH")]
    pub(crate) pidfd_socket: Option<PathBuf>,
    /// Working directory, an absolute path in the container [default: that of the container's
    /// process]
    #[arg(long, value_name = "DIR")]
    pub(crate) cwd: Option<PathBuf>,
    /// Variable to set, on top of those of the container's process; may be repeated [default: none]
    #[arg(short, long, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// User id, and group id [default: those of the container's process]
    #[arg(short, long, value_name = "UID[:GID]", value_parser = user)]
    pub(crate) user: Option<(u32, Option<u32>)>,
    /// Supplementary group to add; may be repeated [default: none]
    #[arg(short = 'g', long, value_name = "GID", value_parser = id)]
    pub(crate) additional_gids: Vec<u32>,
    /// SELinux label of the process [default: that of the container's process]
    #[arg(long, value_name = "LABEL")]
    pub(crate) process_label: Option<String>,
    /// AppArmor profile of the process [default: that of the container's process]
    #[arg(long, value_name = "PROFILE")]
    pub(crate) apparmor: Option<String>,
    /// Set no_new_privs [default: as for the container's process]
    #[arg(long)]
    pub(crate) no_new_privs: bool,
    /// Capability to add, such as CAP_NET_ADMIN; may be repeated [default: none]
    #[arg(short, long, value_name = "CAP", value_parser = capability)]
    pub(crate) cap: Vec<u8>,
    /// How many descriptors from 3 on the command inherits
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = super::number)]
    pub(crate) preserve_fds: u32,
    /// Cgroup below that of the container to join; with cgroup v1 it may be named for each
    /// controller, and repeated [default: the group of the container's first process]
    #[arg(long, value_name = "[CONTROLLER[,...]:]PATH")]
    pub(crate) cgroup: Vec<String>,
    /// Run in a paused container too: the command waits until it is resumed [default: off]
    #[arg(long)]
    pub(crate) ignore_paused: bool,
    /// Accepted for scripts that are written for runc; has no effect
    #[arg(long, hide = true)]
    no_subreaper: bool,
    /// The container's name in the state directory, and the command
    #[arg(value_name = "ID [COMMAND [ARG...]]", trailing_var_arg = true)]
    pub(super) words: Vec<OsString>,
}

impl Exec {
    /// The container's name, as typed.
    pub(crate) fn id(&self) -> String {
        self.words
            .first()
            .map(|word| word.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    /// The command and its arguments.
    pub(crate) fn command(&self) -> &[OsString] {
        let words = self.words.get(1..).unwrap_or_default();
        match words.first().map(OsString::as_os_str) {
            Some(first) if first == OsStr::new("--") => words.get(1..).unwrap_or_default(),
            _ => words,
        }
    }

    /// Whether it has one of the options that `--process` excludes.
    pub(super) fn changes_the_process(&self) -> bool {
        self.cwd.is_some()
            || !self.env.is_empty()
            || self.user.is_some()
            || !self.additional_gids.is_empty()
            || self.process_label.is_some()
            || self.apparmor.is_some()
            || self.no_new_privs
            || !self.cap.is_empty()
    }
}

/// A user or group id. The largest number means "no change" to the kernel, so it is not an id.
pub(super) fn id(text: &str) -> Result<u32, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(id) if is_number && id != u32::MAX => Ok(id),
        _ => Err("expected a number from 0 to 4294967294; names are not looked up".to_owned()),
    }
}

pub(super) fn user(text: &str) -> Result<(u32, Option<u32>), String> {
    match text.split_once(':') {
        None => Ok((id(text)?, None)),
        Some((uid, gid)) => Ok((id(uid)?, Some(id(gid)?))),
    }
}

/// The number of a capability.
pub(super) fn capability(text: &str) -> Result<u8, String> {
    let name = text.to_ascii_uppercase();
    let name = match name.starts_with("CAP_") {
        true => name,
        false => format!("CAP_{name}"),
    };
    match name.parse::<caps::Capability>() {
        Ok(known) => Ok(known.index()),
        Err(_unknown) => Err(format!(
            "unknown capability {text:?}; expected a name such as CAP_NET_ADMIN, see capabilities(7)"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_a_number_and_nothing_else() {
        assert_eq!(user("0"), Ok((0, None)));
        assert_eq!(user("1000:50"), Ok((1000, Some(50))));
        assert_eq!(user("4294967294"), Ok((4_294_967_294, None)));
        // CVE-2026-30892: a word that is not a number must not become root.
        let hostile = [
            "",
            ":",
            ":0",
            "0:",
            "root",
            "1000:staff",
            "-1",
            "+1",
            " 1",
            "1 ",
            "1\n",
            "0x0",
            "1e3",
            "1.0",
            "4294967295",
            "4294967296",
            "18446744073709551616",
            "1:2:3",
            "1:-1",
            "\u{0661}",
            "1000:4294967295",
            "0,0",
        ];
        for text in hostile {
            assert!(user(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_capability_has_its_name_with_or_without_prefix() {
        assert_eq!(capability("CAP_NET_ADMIN"), Ok(12));
        assert_eq!(capability("net_admin"), Ok(12));
        assert!(capability("CAP_").is_err());
        assert!(capability("CAP_FLY").is_err());
    }
}
