//! `checkpoint`: saves the processes of a container as image files, by CRIU.
//!
//! The command holds the lock until it ends. CRIU freezes the container's cgroup itself; if it
//! dies, the cgroup is thawed here.

#![expect(clippy::disallowed_methods, reason = "the host's /proc")]

use super::image::{self, DESCRIPTORS, Directories};
use super::{Env, delete, kept_container, own_group, restore};
use crate::args;
use crate::descriptors::{mark_leaked, take};
use crate::error::Error;
use crate::exit::ExitCode;
use crate::host_file::HostFile;
use crate::process::is_stopped;
use crate::state::{ContainerId, Lock, Record};
use crate::status::{Action, Refusal, Status};
use cgroup::SharedOptions;
use criu::{Notice, Options, Task, Worker};
use kernel::errno::chain;
use kernel::fs::read_proc_text;
use kernel::path::{OpenFlags, Resolve, openat2};
use kernel::{Errno, fs};
use namespace::join::inode_of;
use nix::sys::stat::major;
use spec::Container;
use std::ffi::CString;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The notice that memory can be asked for.
const STATUS_READY: &str = "status-ready";

/// The notice that the image is complete. The processes still exist; a refusal lets them run on.
const POST_DUMP: &str = "post-dump";

/// Major numbers of pts(4), see Documentation/admin-guide/devices.txt of Linux.
const TERMINALS: RangeInclusive<u64> = 136..=143;

/// Saves one container.
pub(crate) fn run(args: &args::Checkpoint, env: &Env) -> Result<ExitCode, Error> {
    image::needs_root()?;
    // Before this process opens a descriptor, which could get the number.
    let mut status = args.status_fd.map(status_fd).transpose()?;
    mark_leaked(env.preserved).map_err(Error::Harden)?;
    let (entry, record, observed) = env.find(args.id(), Lock::Exclusive, Action::Checkpoint)?;
    let id = entry.id().clone();
    let Some(process) = observed.process else {
        return Err(Refusal::NotRunning { id }.into());
    };
    let container = kept_container(&entry.config()?, &record)?;
    let task = match args.pre_dump {
        true => Task::PreDump,
        false => Task::Dump,
    };
    if task == Task::Dump {
        kept(args, image::can_be_restored(&container))?;
    }
    let require = || image::require(&args.images, task, args.parent_path.is_some(), None);
    // Before a directory is made; but a parent is looked up in that directory, before CRIU is asked
    // about it.
    let early = match args.parent_path {
        None => Some(require()?),
        Some(_) => None,
    };
    let directories = Directories::make(&args.images, "dump.log")?;
    let parent = args.parent_path.as_deref();
    let parent = parent
        .map(|path| parent_path(path, &directories))
        .transpose()?;
    let criu = match early {
        Some(criu) => criu,
        None => require()?,
    };
    if task == Task::Dump {
        kept(args, image::keeps_privileges(&container, criu))?;
    }
    let mut options = Options {
        pid: Some(process.pid()),
        root: record.rootfs.to_string_lossy().into_owned(),
        leave_running: args.leave_running,
        tcp_skip_in_flight: args.tcp_skip_in_flight,
        link_remap: args.link_remap,
        page_server: args.page_server.clone(),
        track_memory: parent.is_some() || args.pre_dump,
        parent_images: parent,
        freeze_cgroup: freezer(&record),
        ..directories.options(&args.images, &container)?
    };
    if task == Task::Dump {
        describe(&mut options, &container, process.pid())?;
        let names = streams(&mut options, process.pid())?;
        save_streams(&directories, &names)?;
        directories.image().forget_mounts()?;
    }
    let shared = SharedOptions::keep()?;
    let worker = Worker::start(&[])?;
    let asked = worker.ask(task, &options, None, |notice, _fd| {
        tell(notice, &mut status);
        match (&*notice.script, record.groups()) {
            (POST_DUMP, Some(groups)) if task == Task::Dump => {
                let entries = directories.image().mounts()?;
                kept(
                    args,
                    restore::mounts_can_be_restored(&container, &entries, groups),
                )
            }
            _ => Ok(()),
        }
    });
    drop(shared);
    if let Err(failure) = asked {
        thaw(&record, observed.status, &id);
        return Err(match failure {
            Error::CriuUnusable(failure) => directories.explain(failure),
            failure => failure,
        });
    }
    if task == Task::Dump && !args.leave_running {
        delete::delete_saved(entry, record)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What becomes of a checkpoint that `restore` would refuse: without it the container would be
/// lost, so it runs on. With --leave-running there is a warning.
fn kept(args: &args::Checkpoint, restorable: Result<(), Error>) -> Result<(), Error> {
    match restorable {
        Err(why) if args.leave_running => {
            tracing::warn!("locule cannot restore this checkpoint: {}", chain(&why));
            Ok(())
        }
        other => other.map_err(|why| Error::WouldBeLost(Box::new(why))),
    }
}

/// Takes the descriptor that is told when memory can be asked for.
fn status_fd(number: u32) -> Result<OwnedFd, Error> {
    let failed = |source| Error::StatusFd { number, source };
    let fd = take(number).map_err(failed)?;
    // A write of nothing: EBADF if it is open only for reading.
    match fs::write(fd.as_fd(), b"") {
        Ok(_) => Ok(fd),
        Err(errno) => Err(failed(errno)),
    }
}

/// Tells once, and closes the descriptor.
fn tell(notice: &Notice, status: &mut Option<OwnedFd>) {
    tracing::debug!("criu: {}", notice.script);
    if notice.script == STATUS_READY
        && let Some(fd) = status.take()
        && let Err(errno) = fs::write(fd.as_fd(), b"\0")
    {
        tracing::warn!("--status-fd: {errno}");
    }
}

/// The directory of an earlier image. CRIU takes it relative to that of this image.
fn parent_path(path: &Path, directories: &Directories) -> Result<String, Error> {
    let failed = |source| Error::ParentPath {
        path: path.to_owned(),
        source,
    };
    if path.is_absolute() {
        return Err(Error::AbsoluteParent {
            path: path.to_owned(),
        });
    }
    let text = path.to_str().ok_or_else(|| failed(Errno::EILSEQ))?;
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|_nul| failed(Errno::EINVAL))?;
    let flags = OpenFlags::PATH | OpenFlags::DIRECTORY;
    let images = directories.images.as_fd();
    openat2(images, &name, flags, 0, Resolve::empty()).map_err(failed)?;
    Ok(text.to_owned())
}

/// The group whose processes CRIU freezes. Without one it stops them one by one. That is so with
/// cgroup v1 if a signal has stopped a process: while it is frozen too, CRIU waits forever for it.
fn freezer(record: &Record) -> Option<String> {
    let own = record.groups()?;
    let group = own.with_controller("freezer")?;
    let has_stopped = || {
        own.pids()
            .is_ok_and(|pids| pids.into_iter().any(is_stopped))
    };
    if group.version == cgroup::Version::V1 && has_stopped() {
        return None;
    }
    Some(group.host_path().to_string_lossy().into_owned())
}

/// Names what CRIU does not save.
fn describe(options: &mut Options, container: &Container, pid: i32) -> Result<(), Error> {
    options.external_mounts = rootfs::external_mounts(container, pid)?;
    for (kind, name, _path) in image::external_namespaces(container) {
        // Of the process: the path may lead to another namespace by now.
        let inode = inode_of(&pid.to_string(), kind).map_err(Error::Look)?;
        options
            .external
            .push(format!("{}[{inode}]:{name}", kind.file()));
    }
    Ok(())
}

/// Names the standard streams: pipes by themselves, files and devices that the container has no
/// mount of by mount and inode. A restore gives the process its own streams for these names.
/// Terminals of the host have their path: with --shell-job CRIU takes that of the restore itself.
fn streams(options: &mut Options, pid: i32) -> Result<Vec<String>, Error> {
    let table =
        read_proc_text(&format!("{pid}/mountinfo")).map_err(|errno| Error::Look(errno.into()))?;
    let mut name = |number| {
        let path = format!("/proc/{pid}/fd/{number}");
        let Ok(target) = std::fs::read_link(&path) else {
            return String::new();
        };
        if !target.is_absolute() {
            return target.to_string_lossy().into_owned();
        }
        let target = target.to_string_lossy().into_owned();
        let Some((name, is_terminal)) = outside(&table, pid, number) else {
            return target;
        };
        options.external.push(name.clone());
        if is_terminal { target } else { name }
    };
    Ok((0..3).map(&mut name).collect())
}

/// The name of an open file, by mount and inode, if the mount is not in this table; and whether it
/// is a terminal.
fn outside(table: &str, pid: i32, number: i32) -> Option<(String, bool)> {
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
    let mount = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?;
    let mount = mount.trim();
    let is_own = |line: &str| line.split(' ').next() == Some(mount);
    if table.lines().any(is_own) {
        return None;
    }
    let found = std::fs::metadata(format!("/proc/{pid}/fd/{number}")).ok()?;
    let name = format!("file[{:x}:{:x}]", mount.parse::<u64>().ok()?, found.ino());
    Some((name, TERMINALS.contains(&major(found.rdev()))))
}

/// Saves the names of the standard streams with the image.
fn save_streams(directories: &Directories, names: &[String]) -> Result<(), Error> {
    let text = serde_json::to_vec(names)?;
    let failed = |source: io::Error| Error::Write {
        path: DESCRIPTORS.into(),
        source,
    };
    let file = HostFile::below(directories.images.as_fd(), Path::new(DESCRIPTORS));
    file.map_err(|errno| failed(errno.into()))?
        .replace(&text)
        .map_err(failed)
}

/// Lets the container run on after a failure. CRIU does so itself, unless it was killed.
fn thaw(record: &Record, before: Status, id: &ContainerId) {
    if before != Status::Running {
        return;
    }
    let group = own_group(record, id, "thaw").ok();
    let frozen = group.and_then(|group| Some((group, group.is_frozen().ok()?)));
    if let Some((_, true)) = frozen {
        super::kill::thaw(record);
    }
}
