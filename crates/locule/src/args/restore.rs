//! Options of `restore`.

use super::Images;
use clap::Args;
use std::path::PathBuf;

/// `restore`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule restore [OPTIONS] ID",
    after_help = "Example:\n  locule restore --bundle /srv/box --image-path /run/image --detach box1\n\n\
        CRIU makes the processes again that `checkpoint` has saved; no `start` follows. Files and volumes must be \
        as they were. The log is restore.log. Restore only images that you trust: an image has the code and the \
        rights of its processes."
)]
pub(crate) struct Restore {
    /// What `checkpoint` takes too.
    #[command(flatten)]
    pub(crate) images: Images,
    /// Directory that holds config.json, the only configuration that counts
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub(crate) bundle: PathBuf,
    /// Return when the processes run, without waiting for the end of the first [default: off]
    #[arg(short, long)]
    pub(crate) detach: bool,
    /// Unix socket that is sent the master end of the terminal; needed with --detach when
    /// process.terminal is true [default: none]
    #[arg(long, value_name = "PATH")]
    pub(crate) console_socket: Option<PathBuf>,
    /// File that the process id is written to, replaced as a whole [default: none]
    #[arg(long, value_name = "PATH")]
    pub(crate) pid_file: Option<PathBuf>,
    /// Restore TCP connections as closed ones, which the programs must make again [default: off]
    #[arg(long)]
    pub(crate) tcp_close: bool,
    /// Do not adopt the container's orphans while waiting [default: off]
    #[arg(long)]
    pub(crate) no_subreaper: bool,
    /// Accepted and ignored: CRIU decides how the root is changed [default: off]
    #[arg(long)]
    pub(crate) no_pivot: bool,
    /// Profile for the processes, as `apparmor:NAME` or `selinux:LABEL` [default: that of the
    /// image]
    #[arg(long, value_name = "TYPE:NAME")]
    pub(crate) lsm_profile: Option<String>,
    /// SELinux context for new mounts [default: that of the image]
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) lsm_mount_context: Option<String>,
    /// The container's name, unique in the state directory
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<String>,
}
