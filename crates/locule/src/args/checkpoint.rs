//! Options of `checkpoint`.

use clap::{Args, ValueEnum};
use criu::{CgroupMode, PageServer};
use std::path::PathBuf;

/// What `checkpoint` and `restore` have in common.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Images {
    /// Directory of the image files; checkpoint makes it when it is missing
    #[arg(long, value_name = "DIR", default_value = "checkpoint")]
    pub(crate) image_path: PathBuf,
    /// Directory of CRIU's log, made when it is missing [default: the directory of the image files]
    #[arg(long, value_name = "DIR")]
    pub(crate) work_path: Option<PathBuf>,
    /// Allow established TCP connections [default: off]
    #[arg(long)]
    pub(crate) tcp_established: bool,
    /// Allow Unix sockets whose other end is outside of the container [default: off]
    #[arg(long)]
    pub(crate) ext_unix_sk: bool,
    /// Allow processes whose session leader or terminal is outside of the container [default: off]
    #[arg(long)]
    pub(crate) shell_job: bool,
    /// Allow file locks, which no process outside of the container may wait for [default: off]
    #[arg(long)]
    pub(crate) file_locks: bool,
    /// How CRIU treats the cgroups below the container's own: restore the properties of those that
    /// it makes, of all, only if none of them exists, or leave all alone [default: soft]
    #[arg(long, value_enum, value_name = "MODE")]
    manage_cgroups_mode: Option<Mode>,
    /// Namespaces that CRIU makes but does not fill; network is the only kind [default: network]
    #[arg(long, value_name = "KIND", value_parser = ["network"])]
    empty_ns: Vec<String>,
    /// Remove memory from older images when a newer one has it [default: off]
    #[arg(long)]
    pub(crate) auto_dedup: bool,
    /// Send memory when a process wants it, not before it runs (userfaultfd) [default: off]
    #[arg(long)]
    pub(crate) lazy_pages: bool,
}

impl Images {
    /// How CRIU treats cgroups.
    pub(crate) fn cgroup_mode(&self) -> CgroupMode {
        match self.manage_cgroups_mode {
            None => CgroupMode::Default,
            Some(Mode::Soft) => CgroupMode::Soft,
            Some(Mode::Full) => CgroupMode::Full,
            Some(Mode::Strict) => CgroupMode::Strict,
            Some(Mode::Ignore) => CgroupMode::Ignore,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Mode {
    Soft,
    Full,
    Strict,
    Ignore,
}

/// `checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule checkpoint [OPTIONS] ID",
    after_help = "Example:\n  locule checkpoint --image-path /run/image box1\n\n\
        CRIU saves the processes of the container in image files. The container is then deleted, unless \
        --leave-running or --pre-dump is given. The log is dump.log."
)]
pub(crate) struct Checkpoint {
    /// What `restore` takes too.
    #[command(flatten)]
    pub(crate) images: Images,
    /// Directory of an earlier image of the container, relative to --image-path: memory that has
    /// not changed since is not saved again [default: none]
    #[arg(long, value_name = "DIR")]
    pub(crate) parent_path: Option<PathBuf>,
    /// Let the container run on [default: off]
    #[arg(long)]
    pub(crate) leave_running: bool,
    /// Leave out TCP connections that are being made [default: off]
    #[arg(long)]
    pub(crate) tcp_skip_in_flight: bool,
    /// Allow open files that have no name any more, by links to them [default: off]
    #[arg(long)]
    pub(crate) link_remap: bool,
    /// Save only the memory, and let the container run on; for a later --parent-path [default: off]
    #[arg(long)]
    pub(crate) pre_dump: bool,
    /// Descriptor that a byte of 0 is written to when memory can be asked for; without --lazy-pages
    /// nothing is written [default: none]
    #[arg(long, value_name = "FD", value_parser = super::number)]
    pub(crate) status_fd: Option<u32>,
    /// Send the memory to the page server at this address instead of saving it [default: none]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = page_server)]
    pub(crate) page_server: Option<PageServer>,
    /// The container's name in the state directory
    #[arg(value_name = "ID")]
    pub(super) ids: Vec<String>,
}

/// An address, which has brackets if it contains colons, and a port.
fn page_server(text: &str) -> Result<PageServer, &'static str> {
    let wanted = "use ADDRESS:PORT, such as 192.0.2.1:27 or [2001:db8::1]:27";
    let (address, port) = text.rsplit_once(':').ok_or(wanted)?;
    let inner = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
    let address = inner.unwrap_or(address);
    let port = port.parse().ok().filter(|port| *port != 0).ok_or(wanted)?;
    if address.is_empty() || (inner.is_none() && address.contains(':')) {
        return Err(wanted);
    }
    Ok(PageServer {
        address: address.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_server_has_an_address_and_a_port() {
        let server = |address: &str, port| {
            let address = address.to_owned();
            Ok(PageServer { address, port })
        };
        assert_eq!(page_server("192.0.2.1:27"), server("192.0.2.1", 27));
        assert_eq!(page_server("[2001:db8::1]:9"), server("2001:db8::1", 9));
        for wrong in ["", ":", "a", "a:", ":1", "a:0", "a:65536", "::1:2", "[]:1"] {
            assert!(page_server(wrong).is_err(), "{wrong:?}");
        }
    }
}
