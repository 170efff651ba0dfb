//! What CRIU is asked: the messages `criu_req` and `criu_opts` of its protocol.

use crate::wire::Writer;
use std::fmt;
use std::os::fd::RawFd;

/// What CRIU does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    /// Save the processes.
    Dump,
    /// Make the processes again.
    Restore,
    /// Save memory only, and let the processes run.
    PreDump,
    /// Say which of the wanted features the kernel has.
    Features,
    /// Say its version.
    Version,
}

impl Task {
    pub(crate) fn number(self) -> u64 {
        match self {
            Self::Dump => 1,
            Self::Restore => 2,
            Self::PreDump => 4,
            Self::Features => 9,
            Self::Version => 10,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dump => "DUMP",
            Self::Restore => "RESTORE",
            Self::PreDump => "PRE_DUMP",
            Self::Features => "FEATURE_CHECK",
            Self::Version => "VERSION",
        })
    }
}

/// How CRIU treats the cgroups of the processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum CgroupMode {
    /// Not at all.
    Ignore,
    /// Restore properties of the groups that CRIU makes.
    Soft,
    /// Restore properties of all groups.
    Full,
    /// Fail when a group exists already.
    Strict,
    /// What CRIU does when it is not told: soft.
    #[default]
    Default,
}

impl CgroupMode {
    fn number(self) -> u64 {
        match self {
            Self::Ignore => 0,
            Self::Soft => 3,
            Self::Full => 4,
            Self::Strict => 5,
            Self::Default => 6,
        }
    }
}

/// Where the memory pages go, if they do not go into image files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageServer {
    /// A name or a number.
    pub address: String,
    /// 1 to 65535.
    pub port: u16,
}

/// The options of a dump or a restore. What is `false`, `None` or empty is not sent, except where
/// the default of CRIU is not that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of CRIU's long options")]
pub struct Options {
    /// A descriptor of this process: the directory of the image files.
    pub images_dir: RawFd,
    /// A descriptor of this process: the directory of the log.
    pub work_dir: Option<RawFd>,
    /// The name of the log in that directory.
    pub log_file: &'static str,
    /// The first process of the tree.
    pub pid: Option<i32>,
    pub leave_running: bool,
    pub ext_unix_sk: bool,
    pub tcp_established: bool,
    pub tcp_skip_in_flight: bool,
    pub tcp_close: bool,
    pub evasive_devices: bool,
    pub shell_job: bool,
    pub file_locks: bool,
    pub link_remap: bool,
    pub auto_dedup: bool,
    pub lazy_pages: bool,
    pub orphan_pts_master: bool,
    /// The first process becomes a child of the process that has started CRIU.
    pub restore_sibling: bool,
    pub page_server: Option<PageServer>,
    pub root: String,
    /// Relative to the image directory; memory that has not changed since is not saved again.
    pub parent_images: Option<String>,
    pub track_memory: bool,
    pub cgroup_mode: CgroupMode,
    /// Controllers and the group that becomes the root of the processes' groups.
    pub cgroup_roots: Vec<(String, String)>,
    pub freeze_cgroup: Option<String>,
    /// Mounts that CRIU does not make: the mount point and the name at a dump, the name and the
    /// source at a restore.
    pub external_mounts: Vec<(String, String)>,
    /// Other things that CRIU does not make.
    pub external: Vec<String>,
    /// Names, and descriptors that the CRIU process has inherited.
    pub inherited: Vec<(String, RawFd)>,
    /// Kinds of namespaces, and the files of those to join.
    pub join_namespaces: Vec<(&'static str, String)>,
    /// Flags of clone(2): namespaces that are made, but not filled.
    pub empty_namespaces: u32,
    pub config_file: Option<String>,
    pub lsm_profile: Option<String>,
    pub lsm_mount_context: Option<String>,
}

/// Messages for debugging go to the log.
const LOG_LEVEL: i32 = 4;

impl Options {
    fn write(&self, writer: &mut Writer) {
        writer.signed(1, self.images_dir);
        writer.signed(9, LOG_LEVEL);
        writer.text(10, self.log_file);
        writer.flag(12, true);
        writer.flag(24, true);
        writer.number(34, self.cgroup_mode.number());
        for (field, flag) in [
            (3, self.leave_running),
            (4, self.ext_unix_sk),
            (5, self.tcp_established),
            (6, self.evasive_devices),
            (7, self.shell_job),
            (8, self.file_locks),
            (15, self.track_memory),
            (16, self.auto_dedup),
            (18, self.link_remap),
            (26, self.restore_sibling),
            (46, self.tcp_skip_in_flight),
            (48, self.lazy_pages),
            (50, self.orphan_pts_master),
            (52, self.tcp_close),
        ] {
            if flag {
                writer.flag(field, true);
            }
        }
        for (field, number) in [(2, self.pid), (17, self.work_dir)] {
            if let Some(number) = number {
                writer.signed(field, number);
            }
        }
        for (field, text) in [
            (14, &self.parent_images),
            (44, &self.freeze_cgroup),
            (51, &self.config_file),
            (53, &self.lsm_profile),
            (63, &self.lsm_mount_context),
        ] {
            if let Some(text) = text {
                writer.text(field, text);
            }
        }
        if !self.root.is_empty() {
            writer.text(13, &self.root);
        }
        if self.empty_namespaces != 0 {
            writer.number(38, self.empty_namespaces.into());
        }
        if let Some(server) = &self.page_server {
            writer.message(11, |inner| {
                inner.text(1, &server.address);
                inner.number(2, server.port.into());
            });
        }
        self.write_lists(writer);
    }

    fn write_lists(&self, writer: &mut Writer) {
        let pair = |writer: &mut Writer, field, (first, second): (&str, &str)| {
            writer.message(field, |inner| {
                inner.text(1, first);
                inner.text(2, second);
            });
        };
        for (key, value) in &self.external_mounts {
            pair(writer, 23, (key, value));
        }
        for (controllers, path) in &self.cgroup_roots {
            pair(writer, 25, (controllers, path));
        }
        for (kind, file) in &self.join_namespaces {
            pair(writer, 39, (kind, file));
        }
        for (key, number) in &self.inherited {
            writer.message(27, |inner| {
                inner.text(1, key);
                inner.signed(2, *number);
            });
        }
        for name in &self.external {
            writer.text(37, name);
        }
    }
}

/// A request with options.
pub(crate) fn with_options(task: Task, options: &Options) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.number(1, task.number());
    writer.message(2, |inner| options.write(inner));
    writer.finish()
}

/// A request without options.
pub(crate) fn plain(task: Task) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.number(1, task.number());
    writer.finish()
}

/// The question whether memory can be tracked, and sent on demand.
pub(crate) fn features() -> Vec<u8> {
    let mut writer = Writer::default();
    writer.number(1, Task::Features.number());
    writer.message(5, |inner| {
        inner.flag(1, true);
        inner.flag(2, true);
    });
    writer.finish()
}

/// The answer to a notice: whether CRIU may go on.
pub(crate) fn noticed(is_fine: bool) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.number(1, crate::response::NOTIFY);
    writer.flag(3, is_fine);
    writer.finish()
}
