//! The container's first process: names, ids, working directory, program.
//!
//! Decides what init becomes once its namespaces and its file system tree are there. The order is the content of
//! this room: whatever needs privileges comes before the ids change, what the change clears comes after.
//! Limits and the oom score are set from outside, by the runtime. Runtime-spec config.md#process.

use kernel::fs::{self, FileKind};
use kernel::path::OpenFlags;
use kernel::process::{self, CStringArray};
use kernel::{Call, Errno, Failed, ids, pipe};
use rootfs::RootFd;
use spec::Container;
use spec::container::{Namespace, Personality, Rlimit};
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};

/// What will be done, and nothing else.
#[derive(Debug)]
pub struct Plan {
    hostname: Option<Vec<u8>>,
    domainname: Option<Vec<u8>>,
    personality: Option<u32>,
    user: User,
    no_new_privileges: bool,
    /// Relative to the root.
    cwd: CString,
    candidates: Vec<CString>,
    args: CStringArray,
    env: CStringArray,
    /// Lowered by init itself; what only the runtime may raise is set by it.
    limits: Vec<Rlimit>,
    /// Where in `env` the home directory goes that the container's passwd file names.
    home: Option<usize>,
}

#[derive(Debug)]
struct User {
    uid: u32,
    gid: u32,
    /// `None`: the caller's stay, since they cannot or shall not be changed.
    groups: Option<Vec<u32>>,
    umask: u32,
}

/// What the command line adds to the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How many descriptors from 3 on the container gets by socket activation; told in LISTEN_FDS.
    pub listen_fds: u32,
    /// Whether setgroups(2) is denied in the container's user namespace.
    pub setgroups: Setgroups,
    /// Who sets the resource limits.
    pub limits: Limits,
    /// Whose supplementary groups the runtime has.
    pub own_groups: OwnGroups,
}

/// The annotation by which a container keeps the runtime's supplementary groups: crun's. Any value but `0`.
const KEEP_GROUPS: &str = "run.oci.keep_original_groups";

/// Whose supplementary groups the runtime has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnGroups {
    /// Those of an ordinary user: what a process of his has without a container too.
    OfUser,
    /// Those of a process that could change them: its container's user never logged in with them.
    OfRoot,
}

/// Who sets the resource limits. Somebody with CAP_SYS_RESOURCE may raise those of any process from outside; others
/// may only lower their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// The runtime, on the finished init.
    ByRuntime,
    /// Init.
    ByInit,
}

/// Whether supplementary groups can be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setgroups {
    /// They can.
    Allowed,
    /// The user namespace maps one group without privileges: user_namespaces(7).
    Denied,
}

/// What the process block asks for and cannot get.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A string that no program can be given.
    #[error("{pointer}: a NUL byte")]
    NulByte {
        /// JSON pointer.
        pointer: String,
    },
    /// Groups where none can be set.
    #[error(
        "/process/user/additionalGids: supplementary groups cannot be set in this user namespace; map a range of groups (newgidmap, /etc/subgid) or remove them"
    )]
    GroupsDenied,
    /// The groups of the host's root for the container's user.
    #[error(
        "/annotations/{KEEP_GROUPS}: it would give the container the supplementary groups of the host's root; remove it and list groups in /process/user/additionalGids (an ordinary user's runtime keeps that user's groups)"
    )]
    GroupsOfRoot,
}

/// Room for HOME= and a path of this many bytes.
const HOME_ROOM: usize = 256;
/// The size up to which the container's passwd file is read, bytes.
const PASSWD_LIMIT: usize = 1 << 20;

impl Plan {
    /// The plan; `None` for a container without a process, which can be created but not started.
    pub fn lower(container: &Container, options: Options) -> Result<Option<Self>, Error> {
        let Some(process) = &container.process else {
            return Ok(None);
        };
        let nul = |pointer: String| move |_| Error::NulByte { pointer };
        let list = |name: &str, list: &[String]| -> Result<Vec<CString>, Error> {
            let strings = list.iter().enumerate();
            strings
                .map(|(i, text)| {
                    CString::new(text.as_str()).map_err(nul(format!("/process/{name}/{i}")))
                })
                .collect()
        };
        let args = list("args", &process.args)?;
        let mut env = list("env", &process.env)?;
        if options.listen_fds > 0 {
            env.retain(|entry| !entry.as_bytes().starts_with(b"LISTEN_"));
            env.push(text(format!("LISTEN_FDS={}", options.listen_fds)));
            env.push(text("LISTEN_PID=1".to_owned()));
        }
        let is_home = |entry: &CString| {
            entry
                .as_bytes()
                .strip_prefix(b"HOME=")
                .is_some_and(|v| !v.is_empty())
        };
        let home = (!env.iter().any(is_home)).then(|| {
            env.retain(|entry| !entry.as_bytes().starts_with(b"HOME="));
            env.push(text(format!("HOME={}", " ".repeat(HOME_ROOM))));
            env.len() - 1
        });
        let cwd = process.cwd.as_os_str().as_encoded_bytes();
        Ok(Some(Self {
            hostname: container.hostname.clone().map(String::into_bytes),
            domainname: container.domainname.clone().map(String::into_bytes),
            personality: container.personality.map(|personality| match personality {
                Personality::Linux => 0,
                Personality::Linux32 => 8,
            }),
            user: User::lower(container, options)?,
            no_new_privileges: process.no_new_privileges,
            cwd: CString::new(cwd).map_err(nul("/process/cwd".to_owned()))?,
            candidates: candidates(&process.args, &process.env),
            args: CStringArray::new(args),
            env: CStringArray::new(env),
            limits: match options.limits {
                Limits::ByInit => process.rlimits.clone(),
                Limits::ByRuntime => Vec::new(),
            },
            home,
        }))
    }

    /// Leaves the caller's session and looks from outside behind. Early: before anything of the container is
    /// touched.
    pub fn leave_caller(&self) -> Result<(), Failed> {
        process::set_dumpable(false).map_err(Failed::at(Call::Prctl, 0))?;
        process::setsid().map_err(Failed::at(Call::Setsid, 0))
    }

    /// Makes the working directory if it is missing, before the root may turn read-only.
    pub fn make_cwd(&self, root: &RootFd) -> Result<(), Failed> {
        root.make_directory(&self.cwd)
            .map_err(Failed::at(Call::Mkdir, 0))
    }

    /// Sets the names of the UTS namespace.
    pub fn set_names(&self) -> Result<(), Failed> {
        if let Some(name) = &self.hostname {
            process::sethostname(name).map_err(Failed::at(Call::Sethostname, 0))?;
        }
        if let Some(name) = &self.domainname {
            process::setdomainname(name).map_err(Failed::at(Call::Setdomainname, 0))?;
        }
        Ok(())
    }

    /// Becomes the container's user, in the container's working directory. Nothing of the host is left
    /// afterwards but the descriptors.
    /// `before_drop` is called while all capabilities are still there.
    pub fn become_user(
        &mut self,
        root: &RootFd,
        capability: &capability::Plan,
        before_drop: impl FnOnce() -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        self.set_home(root)?;
        if let Some(domain) = self.personality {
            process::personality(domain).map_err(Failed::at(Call::Personality, 0))?;
        }
        let entered = self.enter_cwd(root);
        for stream in pipe::STANDARD {
            // What belongs to somebody else stays his; what cannot be given away works without.
            let _best_effort = pipe::give_stream_to(stream, self.user.uid);
        }
        before_drop()?;
        capability.drop_bounding()?;
        self.user.apply()?;
        capability.apply()?;
        // A directory of another user's on a network file system may be closed to root.
        match entered {
            Err(Failed {
                errno: Errno::EACCES | Errno::EPERM,
                ..
            }) => self.enter_cwd(root)?,
            answer => answer?,
        }
        if self.no_new_privileges {
            process::set_no_new_privs().map_err(Failed::at(Call::NoNewPrivs, 0))?;
        }
        // The change of ids has made a new statement about this.
        process::set_dumpable(false).map_err(Failed::at(Call::Prctl, 0))
    }

    /// By a handle that was resolved below the root and through no magic link: CVE-2024-21626.
    fn enter_cwd(&self, root: &RootFd) -> Result<(), Failed> {
        let cwd = root
            .open(&self.cwd, OpenFlags::PATH | OpenFlags::DIRECTORY)
            .map_err(Failed::at(Call::Openat2, 0))?;
        fs::fchdir(cwd.as_fd()).map_err(Failed::at(Call::Chdir, 0))
    }

    /// Completes HOME from the container's passwd file; `/` where that says nothing.
    fn set_home(&mut self, root: &RootFd) -> Result<(), Failed> {
        let Some(index) = self.home else {
            return Ok(());
        };
        let mut home = Home::default();
        if let Ok(passwd) = open_file(root, c"etc/passwd") {
            home.read(&passwd, self.user.uid);
        }
        let text = home.text();
        self.env
            .overwrite(index, text)
            .map_err(Failed::at(Call::Copy, 0))
    }

    /// Finds the program, as the user that will run it. The index of the answer is for [`Self::exec`].
    pub fn look_up(&self) -> Result<usize, Failed> {
        let mut denied = None;
        for (index, candidate) in self.candidates.iter().enumerate() {
            match executable(candidate) {
                Ok(()) => return Ok(index),
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => denied = denied.or(Some(Failed::at(Call::Lookup, index)(errno))),
            }
        }
        Err(denied.unwrap_or_else(|| Failed::at(Call::Lookup, 0)(Errno::ENOENT)))
    }

    /// Sets the limits, last: they would hold for the set-up too.
    pub fn set_limits(&self) -> Result<(), Failed> {
        self.limits
            .iter()
            .enumerate()
            .try_for_each(|(index, limit)| {
                process::prlimit(0, limit.resource, limit.soft, limit.hard)
                    .map_err(Failed::at(Call::Prlimit, index))
            })
    }

    /// Compares what the kernel says of this process with the plan. The index of a failure says what differs:
    /// see [`differing`].
    pub fn verify(&self) -> Result<(), Failed> {
        let check = |index: usize, same: Result<bool, Errno>| match same {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failed::at(Call::Verify, index)(Errno::EPERM)),
            Err(errno) => Err(Failed::at(Call::Verify, index)(errno)),
        };
        check(0, ids::getresuid().map(|ids| ids == [self.user.uid; 3]))?;
        check(1, ids::getresgid().map(|ids| ids == [self.user.gid; 3]))?;
        check(2, self.user.verify_groups())?;
        check(
            3,
            process::no_new_privs().map(|set| set || !self.no_new_privileges),
        )?;
        let mut cwd = [0; 4096];
        // Outside of the root the kernel says "(unreachable)".
        check(4, process::getcwd(&mut cwd).map(|_| cwd.starts_with(b"/")))
    }

    /// Becomes the program. Returns only on failure.
    pub fn exec(&self, candidate: usize) -> Failed {
        let Some(path) = self.candidates.get(candidate) else {
            return Failed::at(Call::Lookup, candidate)(Errno::ENOENT);
        };
        let errno = process::execve(path, &self.args, &self.env);
        Failed::at(Call::Exec, candidate)(errno)
    }
}

/// What [`Plan::verify`] found different.
pub fn differing(index: u16) -> &'static str {
    match index {
        0 => "the user ids",
        1 => "the group ids",
        2 => "the supplementary groups",
        3 => "no_new_privs",
        4 => "the working directory, which is outside of the container's root",
        _ => "the capability sets",
    }
}

impl User {
    fn lower(container: &Container, options: Options) -> Result<Self, Error> {
        let user = container
            .process
            .as_ref()
            .map(|process| process.user.clone());
        let Some(user) = user else {
            return Ok(Self {
                uid: 0,
                gid: 0,
                groups: None,
                umask: 0o022,
            });
        };
        let keep = container
            .annotations
            .get(KEEP_GROUPS)
            .is_some_and(|value| value != "0");
        if keep && options.own_groups == OwnGroups::OfRoot {
            return Err(Error::GroupsOfRoot);
        }
        let groups = match options.setgroups {
            Setgroups::Allowed if !keep => Some(user.additional_gids),
            Setgroups::Denied if !keep && !user.additional_gids.is_empty() => {
                return Err(Error::GroupsDenied);
            }
            Setgroups::Allowed | Setgroups::Denied => None,
        };
        Ok(Self {
            uid: user.uid,
            gid: user.gid,
            groups,
            umask: user.umask,
        })
    }

    fn apply(&self) -> Result<(), Failed> {
        process::umask(self.umask);
        if let Some(groups) = &self.groups {
            ids::setgroups(groups).map_err(Failed::at(Call::Setgroups, 0))?;
        }
        ids::setresgid(self.gid).map_err(Failed::at(Call::Setgid, 0))?;
        ids::setresuid(self.uid).map_err(Failed::at(Call::Setuid, 0))
    }

    fn verify_groups(&self) -> Result<bool, Errno> {
        let Some(groups) = &self.groups else {
            return Ok(true);
        };
        let mut buffer = [0; 64];
        match ids::getgroups(&mut buffer) {
            // The kernel sorts them, and keeps repetitions.
            Ok(count) => Ok(count == groups.len()
                && buffer
                    .iter()
                    .take(count)
                    .all(|group| groups.contains(group))
                && groups
                    .iter()
                    .all(|group| buffer.iter().take(count).any(|b| b == group))),
            // More than the buffer holds: the call that set them said success.
            Err(Errno::EINVAL) => Ok(groups.len() > buffer.len()),
            Err(errno) => Err(errno),
        }
    }
}

/// Whether setgroups(2) is denied to this process' user namespace.
pub fn own_setgroups() -> Setgroups {
    #[expect(
        clippy::disallowed_methods,
        reason = "the runtime's own /proc, before any clone"
    )]
    match std::fs::read("/proc/self/setgroups") {
        Ok(text) if text.starts_with(b"deny") => Setgroups::Denied,
        Ok(_) | Err(_) => Setgroups::Allowed,
    }
}

/// Whether setgroups(2) is denied in the container's user namespace. A new one inherits a denial.
pub fn setgroups(container: &Container, denied_by_maps: bool) -> Setgroups {
    match container.namespaces.user {
        Namespace::New if denied_by_maps => Setgroups::Denied,
        Namespace::New | Namespace::Inherit => own_setgroups(),
        // A namespace of the engine's: the kernel will say.
        Namespace::Join(_) => Setgroups::Allowed,
    }
}

fn text(text: String) -> CString {
    CString::new(text).unwrap_or_default()
}

/// The paths to try, in order: the program itself if it names a directory, else PATH of the *container's*
/// environment before it.
fn candidates(args: &[String], env: &[String]) -> Vec<CString> {
    let Some(program) = args.first().filter(|program| !program.is_empty()) else {
        return Vec::new();
    };
    if program.contains('/') {
        return vec![text(program.clone())];
    }
    let path = env
        .iter()
        .rev()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or_default();
    let directories = path.split(':').filter(|_| !path.is_empty());
    directories
        .map(|directory| match directory {
            "" => text(format!("./{program}")),
            directory => text(format!("{directory}/{program}")),
        })
        .collect()
}

/// Opens a file of the container that must be a regular one. The look comes first: to open a device does something already, a watchdog starts.
fn open_file(root: &RootFd, path: &CStr) -> Result<OwnedFd, Errno> {
    let check = |file: OwnedFd| match fs::stat_at(file.as_fd(), c"")?.kind {
        FileKind::Regular => Ok(file),
        _ => Err(Errno::EINVAL),
    };
    check(root.open(path, OpenFlags::PATH)?)?;
    check(root.open(path, OpenFlags::NONBLOCK)?)
}

/// By calls that every filter knows, since one may be in force already: openat2(2) and faccessat2(2) came later.
fn executable(candidate: &CStr) -> Result<(), Errno> {
    match fs::kind_of(candidate)? {
        FileKind::Directory => Err(Errno::EISDIR),
        FileKind::Regular => process::may_execute(candidate),
        _ => Err(Errno::EACCES),
    }
}

/// The home directory of one user, read off a passwd file in pieces.
struct Home {
    text: [u8; HOME_ROOM + 5],
    length: usize,
}

impl Default for Home {
    fn default() -> Self {
        let mut home = Self {
            text: [0; HOME_ROOM + 5],
            length: 0,
        };
        home.set(b"/");
        home
    }
}

impl Home {
    fn text(&self) -> &[u8] {
        self.text.get(..self.length).unwrap_or_default()
    }

    /// Takes `directory` if there is room for it.
    fn set(&mut self, directory: &[u8]) {
        for (at, part) in [(0, b"HOME=".as_slice()), (5, directory)] {
            let Some(place) = self.text.get_mut(at..at + part.len()) else {
                return;
            };
            place.copy_from_slice(part);
        }
        self.length = 5 + directory.len();
    }

    /// Looks for the first line of `uid`. What is no line of seven fields, or longer than the buffer, is
    /// skipped: the file is the container's.
    fn read(&mut self, passwd: &OwnedFd, uid: u32) {
        let mut buffer = [0_u8; 2048];
        let mut filled = 0;
        let mut left = PASSWD_LIMIT;
        loop {
            let Some(room) = buffer.get_mut(filled..) else {
                return;
            };
            let count = match fs::read(passwd.as_fd(), room) {
                Ok(0) | Err(_) => {
                    self.line(buffer.get(..filled).unwrap_or_default(), uid);
                    return;
                }
                Ok(count) => count,
            };
            filled += count;
            let Some(after) = left.checked_sub(count) else {
                return;
            };
            left = after;
            while let Some(end) = buffer.iter().take(filled).position(|byte| *byte == b'\n') {
                if self.line(buffer.get(..end).unwrap_or_default(), uid) {
                    return;
                }
                buffer.copy_within(end + 1..filled, 0);
                filled -= end + 1;
            }
            if filled == buffer.len() {
                filled = 0;
            }
        }
    }

    /// Takes the directory of this line if it is that of `uid`, and says so.
    fn line(&mut self, line: &[u8], uid: u32) -> bool {
        let mut fields = line.split(|byte| *byte == b':');
        let (number, home) = (fields.nth(2), fields.nth(2));
        if number.and_then(decimal) != Some(uid) {
            return false;
        }
        if let Some(home) = home.filter(|home| home.starts_with(b"/")) {
            self.set(home);
        }
        true
    }
}

/// A number as passwd files have it: digits only, below 2^32.
fn decimal(text: &[u8]) -> Option<u32> {
    let digit = |byte: &u8| byte.is_ascii_digit().then(|| u32::from(*byte - b'0'));
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u32, |number, byte| {
        number.checked_mul(10)?.checked_add(digit(byte)?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn home_of(uid: u32, passwd: &[u8]) -> String {
        let pipe = kernel::pipe::pipe().unwrap();
        let mut write = std::fs::File::from(pipe.write);
        let passwd = passwd.to_vec();
        let writer = std::thread::spawn(move || write.write_all(&passwd));
        let mut home = Home::default();
        home.read(&pipe.read, uid);
        drop(pipe.read);
        let _closed_early = writer.join();
        String::from_utf8(home.text().to_vec()).unwrap()
    }

    #[test]
    fn home_is_the_sixth_field_of_the_first_line_of_the_user() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nme:x:5:5::/home/me:\nme2:x:5:5::/other:\n";
        assert_eq!(home_of(0, passwd), "HOME=/root");
        assert_eq!(home_of(5, passwd), "HOME=/home/me");
        assert_eq!(home_of(6, passwd), "HOME=/");
    }

    #[test]
    fn a_numeric_name_is_never_a_user_id() {
        assert_eq!(home_of(1000, b"1000:x:0:0::/root:\n"), "HOME=/");
    }

    #[test]
    fn malformed_passwd_lines_are_skipped() {
        let mut passwd = vec![b'x'; 10_000];
        passwd.extend(b"\n\n:::\na:b:+7:0::/plus:\na:b:4294967303:0::/wrapped:\nme:x:7:7::/seven");
        assert_eq!(home_of(7, &passwd), "HOME=/seven");
    }

    #[test]
    fn a_home_that_has_no_room_or_is_relative_is_the_root_directory() {
        let long = format!("me:x:7:7::/{}:\n", "h".repeat(HOME_ROOM));
        assert_eq!(home_of(7, long.as_bytes()), "HOME=/");
        assert_eq!(home_of(7, b"me:x:7:7::relative:\n"), "HOME=/");
    }

    fn list(strings: &[&str]) -> Vec<String> {
        strings.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn the_program_is_looked_for_in_the_path_of_the_container_only() {
        let env = list(&["PATH=/old", "PATH=/a::/b"]);
        assert_eq!(
            candidates(&list(&["sh"]), &env),
            [c"/a/sh".to_owned(), c"./sh".to_owned(), c"/b/sh".to_owned()]
        );
        assert!(candidates(&list(&["sh"]), &[]).is_empty());
        assert!(candidates(&list(&[""]), &env).is_empty());
    }

    #[test]
    fn a_program_with_a_slash_is_not_looked_for() {
        assert_eq!(
            candidates(&list(&["bin/sh"]), &list(&["PATH=/a"])),
            [c"bin/sh".to_owned()]
        );
    }

    #[test]
    fn directories_and_plain_files_are_no_programs() {
        assert_eq!(executable(c"/etc"), Err(Errno::EISDIR));
        assert_eq!(executable(c"/etc/passwd"), Err(Errno::EACCES));
        assert_eq!(executable(c"/etc/missing"), Err(Errno::ENOENT));
        assert_eq!(executable(c"/bin/sh"), Ok(()));
    }
}
