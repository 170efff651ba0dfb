//! The place where one test runs.
//!
//! The body of a test runs in a process of its own: the test binary starts itself again below
//! unshare(1) with new mount, pid, network, uts and ipc namespaces, so everything that a runtime
//! does ends with the test and does not reach the machine. Inside, `/` is a shared mount as on any
//! systemd host (a leak would propagate and be seen), `/run` is an empty tmpfs, and a shell as pid
//! 1 reaps orphans. cgroups cannot be private: each test has a token that is part of every
//! container id, and all groups with the token are searched afterwards.

use std::any::type_name_of_val;
use std::cell::Cell;
use std::env;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio, id};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::bundle::Bundle;
use crate::leak;
use crate::subject::{self, Subject};

/// Uid and gid of the ordinary user of [`user`] tests. Known only to the sandbox's own
/// `/etc/passwd`.
pub const USER: u32 = 42042;
/// First subordinate id of that user; 65536 of them.
pub const SUBORDINATE: u32 = 4_200_000;

/// What a test sees as its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Environment {
    /// The machine as it is, as root.
    Host,
    /// cgroup v2 alone at /sys/fs/cgroup, as root.
    PureV2,
    /// The machine as it is, as an ordinary user with a subordinate id range.
    User,
    /// The machine as it is, with access to its systemd, as root.
    Systemd,
    /// The same as an ordinary user with the user's own systemd.
    SystemdUser,
}

impl Environment {
    fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::PureV2 => "pure-v2",
            Self::User => "user",
            Self::Systemd => "systemd",
            Self::SystemdUser => "systemd-user",
        }
    }

    /// Why this environment cannot exist on this machine.
    fn is_missing(self) -> Option<&'static str> {
        let needed = match self {
            Self::Systemd => PathBuf::from("/run/systemd/system"),
            Self::SystemdUser => PathBuf::from(format!("/run/user/{USER}/bus")),
            Self::Host | Self::PureV2 | Self::User => return None,
        };
        (!needed.exists()).then_some("no systemd of the right kind here; covered by just vm-test")
    }

    /// Whether the runtime is started by an ordinary user.
    pub fn is_user(self) -> bool {
        matches!(self, Self::User | Self::SystemdUser)
    }

    /// Whether the test shares the machine's pid namespace and sees its `/run/systemd`.
    pub fn is_systemd(self) -> bool {
        matches!(self, Self::Systemd | Self::SystemdUser)
    }
}

/// Runs `body` as root in the environment that `LOCULE_ENVIRONMENT` names: `host` (the default) or
/// `pure-v2`.
pub fn host(body: impl FnOnce(&Sandbox)) {
    run(named(), body);
}

/// As [`host`], unless `skips` is true: then it has printed why the test cannot run here.
pub fn host_unless(skips: impl FnOnce(&Sandbox) -> bool, body: impl FnOnce(&Sandbox)) {
    run_unless(named(), skips, body);
}

fn named() -> Environment {
    match env::var("LOCULE_ENVIRONMENT").as_deref() {
        Ok("pure-v2") => Environment::PureV2,
        Ok("host") | Err(_) => Environment::Host,
        Ok(other) => panic!("LOCULE_ENVIRONMENT={other}: host or pure-v2"),
    }
}

/// Runs `body` as root where only cgroup v2 is visible.
pub fn pure_v2(body: impl FnOnce(&Sandbox)) {
    run(Environment::PureV2, body);
}

/// Runs `body` with the runtime started as an ordinary user.
pub fn user(body: impl FnOnce(&Sandbox)) {
    run(Environment::User, body);
}

/// Runs `body` as root with access to the machine's systemd. It has no pid namespace of its own,
/// since systemd uses pids, and `/run/systemd`, `/run/dbus` and `/run/user` are those of the
/// machine. The test runs in the scope `TOKEN-test.scope`. Skipped if process 1 is not systemd.
pub fn systemd(body: impl FnOnce(&Sandbox)) {
    run(Environment::Systemd, body);
}

/// The same with the runtime started as an ordinary user, whose own systemd has delegated
/// controllers. The test is in a group below it. Skipped if this user has none.
pub fn systemd_user(body: impl FnOnce(&Sandbox)) {
    run(Environment::SystemdUser, body);
}

/// The inside of one test's sandbox.
#[derive(Debug)]
pub struct Sandbox {
    /// The host as the test sees it.
    pub environment: Environment,
    /// The runtime under test.
    pub subject: Subject,
    /// An empty directory of the test, on a tmpfs.
    pub dir: PathBuf,
    /// The value of `--root`.
    pub state: PathBuf,
    /// Unique on the machine. Every container id begins with it.
    pub token: String,
    counter: Cell<u32>,
}

fn run(environment: Environment, body: impl FnOnce(&Sandbox)) {
    run_unless(environment, |_| false, body);
}

fn run_unless(
    environment: Environment,
    skips: impl FnOnce(&Sandbox) -> bool,
    body: impl FnOnce(&Sandbox),
) {
    if env::var_os("LOCULE_SANDBOX").is_some() {
        inside(environment, |s| {
            if !skips(s) {
                body(s);
            }
        });
    } else {
        let (chapter, test) = names(type_name_of_val(&body));
        outside(environment, chapter, test);
    }
}

/// `lifecycle::delete_removes_all::{{closure}}` is the test `delete_removes_all` of the chapter
/// `lifecycle`.
fn names(closure: &str) -> (&str, &str) {
    let path = closure.trim_end_matches("::{{closure}}");
    assert_ne!(path, closure, "the body of a test is a closure in it");
    path.split_once("::").expect("a closure in a test")
}

/// Prints that a test was skipped. Fails if the reason promises that the virtual machine runs it,
/// and the list of the machine does not have it.
fn note_skipped(chapter: &str, test: &str, reason: &str) {
    note(&format!("test {test} ... skipped: {reason}"));
    let whole = format!("{chapter} {test}");
    let mut listed = include_str!("../vm/tests").lines();
    assert!(
        !reason.contains("just vm-test") || listed.any(|line| line == chapter || line == whole),
        "add {whole:?} to integration/vm/tests: no machine runs it"
    );
}

/// Prepares the namespaces of one test; its arguments are the environment and the program to run.
const PRELUDE: &str = r#"set -e
environment=$1; shift
mount -t tmpfs -o mode=755 tmpfs /mnt # moved, so that parts of the old /run can come with it
case $environment in
systemd*)
    for part in systemd dbus user; do
        mkdir "/mnt/$part"; mount --rbind "/run/$part" "/mnt/$part"
    done ;;
esac
mkdir /mnt/sandbox /mnt/lock /mnt/mount # the last is where mount(8) keeps notes
mount --move /mnt /run
mount --make-rshared /
# A fault must not reach the machine's device nodes.
mount --rbind /dev /dev; mount -o remount,bind,ro /dev
ip link set lo up
if test -n "$LOCULE_PRIVATE_TMP"; then mount -t tmpfs -o mode=1777 tmpfs /tmp; fi
case $environment in
pure-v2)
    if test -d /sys/fs/cgroup/unified; then mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; fi ;;
user)
    mkdir /run/etc
    for file in passwd group subuid subgid; do
        touch "/etc/$file"; cp "/etc/$file" "/run/etc/$file"
    done
    echo "locule-test:x:$LOCULE_USER:$LOCULE_USER::/:/bin/sh" >> /run/etc/passwd
    echo "locule-test:x:$LOCULE_USER:" >> /run/etc/group
    echo "locule-test:$LOCULE_SUBORDINATE:65536" | tee -a /run/etc/subuid >> /run/etc/subgid
    for file in passwd group subuid subgid; do mount --bind "/run/etc/$file" "/etc/$file"; done
    mkdir -p "/run/user/$LOCULE_USER"
    chown "$LOCULE_USER:$LOCULE_USER" "/run/user/$LOCULE_USER"
    chmod 700 "/run/user/$LOCULE_USER" ;;
systemd-user)
    # A session would be a scope of this user's systemd: a group below app.slice that the user
    # may write.
    home=/sys/fs/cgroup/user.slice/user-$LOCULE_USER.slice/user@$LOCULE_USER.service
    for group in "$home/app.slice" "$home/app.slice/$LOCULE_SANDBOX-test"; do
        mkdir -p "$group"
        for file in . cgroup.procs cgroup.threads cgroup.subtree_control; do
            chown "$LOCULE_USER:$LOCULE_USER" "$group/$file"
        done
    done
    echo $$ > "$group/cgroup.procs" ;;
esac
case $environment in
*user)
    mkdir -p /run/bin
    touch "/run/bin/$(basename "$LOCULE_RUNTIME")"
    mount --bind "$LOCULE_RUNTIME" "/run/bin/$(basename "$LOCULE_RUNTIME")" ;;
esac
set +e
"$@"
exit $?
"#;

fn outside(environment: Environment, chapter: &str, test: &str) {
    static TOKENS: AtomicU32 = AtomicU32::new(0);
    let subject = Subject::get();
    announce(subject);
    // With the letter at the end, the first token is not a part of the tenth.
    let token = format!("lt{}-{}t", id(), TOKENS.fetch_add(1, Ordering::Relaxed));
    if let Some(reason) = environment.is_missing() {
        note_skipped(chapter, test, reason);
        return;
    }
    let limit = env::var("LOCULE_TIMEOUT").unwrap_or_else(|_| "180".to_owned());
    let mut command = starter(environment, &token);
    command.args([
        "--kill-after=5",
        &limit,
        "unshare",
        "--mount",
        "--propagation",
        "private",
        "--net",
        "--uts",
        "--ipc",
    ]);
    if !environment.is_systemd() {
        command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]);
    }
    command.args([
        "--",
        "/bin/sh",
        "-c",
        PRELUDE,
        "sandbox",
        environment.name(),
    ]);
    command.arg(env::current_exe().expect("own path"));
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]);
    command
        .env("LOCULE_SANDBOX", &token)
        .env("LOCULE_RUNTIME", &subject.program)
        .env(subject::VERSION, &subject.version);
    let exe = env::current_exe().expect("own path");
    if ![&exe, &subject.program]
        .iter()
        .any(|path| path.starts_with("/tmp"))
    {
        command.env("LOCULE_PRIVATE_TMP", "yes");
    }
    command.env("LOCULE_USER", USER.to_string());
    command.env("LOCULE_SUBORDINATE", SUBORDINATE.to_string());
    let output = command.stdin(Stdio::null()).output().expect("unshare");
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let ran = output.status.success() && stdout.contains("1 passed");
    let left = if environment.is_systemd() {
        leak::outlasting(&token)
    } else {
        leak::cgroups(&token)
    };
    leak::remove_cgroups(&left);
    leak::stop_units(environment, &token);
    let skips = stdout
        .lines()
        .filter_map(|line| line.split_once("skipped: "));
    skips.for_each(|(_, reason)| note_skipped(chapter, test, reason));
    assert!(
        ran,
        "in the sandbox ({}): {}\n{stdout}\n{stderr}",
        environment.name(),
        output.status
    );
    assert!(left.is_empty(), "cgroups left behind: {left:?}");
}

/// timeout(1), in a scope of its own if the test shares the machine's processes.
fn starter(environment: Environment, token: &str) -> Command {
    if environment != Environment::Systemd {
        return Command::new("timeout");
    }
    let mut command = Command::new("systemd-run");
    command
        .args(["--scope", "--quiet", "--collect"])
        .arg(format!("--unit={token}-test"))
        // The default is the command line, whose line breaks systemctl of systemd 252 prints.
        .arg(format!("--description=Test {token}"));
    command.args(["--", "timeout"]);
    command
}

/// Prints once per test binary what is tested and where.
fn announce(subject: &Subject) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let groups = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            "v2"
        } else if Path::new("/sys/fs/cgroup/unified").exists() {
            "hybrid"
        } else {
            "v1"
        };
        let view = env::var("LOCULE_ENVIRONMENT").unwrap_or_else(|_| "host".to_owned());
        note(&format!(
            "subject: {} ({}); environment: {view}; cgroups of the machine: {groups}; kernel {}",
            subject.version,
            subject.program.display(),
            kernel.trim()
        ));
    });
}

/// Prints past the capture of the test harness.
fn note(line: &str) {
    let mut stderr = io::stderr();
    stderr
        .write_all(format!("{line}\n").as_bytes())
        .expect("stderr");
}

fn inside<F: FnOnce(&Sandbox)>(environment: Environment, body: F) {
    let mut subject = Subject::get().clone();
    if environment.is_user() {
        subject.program = Path::new("/run/bin").join(subject.program.file_name().expect("a file"));
    }
    let dir = PathBuf::from("/run/sandbox");
    let state = dir.join("state");
    fs::create_dir(&state).expect("state directory");
    let sandbox = Sandbox {
        environment,
        subject,
        token: env::var("LOCULE_SANDBOX").expect("token"),
        counter: Cell::new(0),
        dir,
        state,
    };
    sandbox.give(&sandbox.dir);
    sandbox.give(&sandbox.state);
    let before = leak::Census::take(&sandbox);
    body(&sandbox);
    before.compare(&sandbox);
}

impl Sandbox {
    /// A bundle of the default configuration on a busybox root file system of its own.
    pub fn bundle(&self) -> Bundle {
        let path = self.dir.join(format!("bundle{}", self.next()));
        Bundle::make(self, path)
    }

    /// A bundle whose program waits until it is killed.
    pub fn bundle_that_waits(&self) -> Bundle {
        let mut bundle = self.bundle();
        bundle.args(&["sleep", "1000"]);
        bundle
    }

    /// A bundle whose program, the shell with `script`, has a terminal.
    pub fn bundle_with_terminal(&self, script: &str) -> Bundle {
        let mut bundle = self.bundle();
        bundle.set("/process/terminal", json!(true)).shell(script);
        bundle
    }

    /// A container id that no other test uses.
    pub fn id(&self) -> String {
        format!("{}-{}", self.token, self.next())
    }

    /// Prints that this test cannot run here, and which environment runs it. The caller returns.
    pub fn skip(&self, reason: &str) {
        println!("skipped: {reason}");
    }

    /// Skips a test of locule's own behaviour when the subject is another runtime; true means
    /// skipped. With `LOCULE_UNSKIPPED` in the environment nothing is skipped, to see that a test
    /// can fail.
    pub fn is_control(&self, why: &str) -> bool {
        let control = !self.subject.is_locule() && env::var_os("LOCULE_UNSKIPPED").is_none();
        if control {
            self.skip(&format!("no control: {why}"));
        }
        control
    }

    /// Whether the test sees cgroup v2 alone.
    pub fn is_v2(&self) -> bool {
        Path::new("/sys/fs/cgroup/cgroup.controllers").exists()
    }

    /// Whether one of these cgroup v1 controllers is not mounted at its usual place. Then it prints
    /// that the test cannot run.
    pub fn lacks_v1(&self, controllers: &[&str]) -> bool {
        let lacks = controllers.iter().any(|name| {
            !Path::new("/sys/fs/cgroup")
                .join(name)
                .join("cgroup.procs")
                .exists()
        });
        if lacks {
            self.skip(
                "no v1 controllers here; covered where the machine has them, in environment host",
            );
        }
        lacks
    }

    /// Whether one of these controllers, by the names of v2, is missing from both versions of
    /// cgroups here. Then it prints that the test cannot run.
    pub fn lacks(&self, controllers: &[&str]) -> bool {
        if self.is_v2() {
            return self.lacks_v2(controllers);
        }
        let v1 = controllers
            .iter()
            .map(|name| if *name == "io" { "blkio" } else { name });
        self.lacks_v1(&v1.collect::<Vec<_>>())
    }

    /// Whether one of these cgroup v2 controllers is missing for a group below the root. Then it
    /// prints that the test cannot run.
    pub fn lacks_v2(&self, controllers: &[&str]) -> bool {
        let list = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
        let missing = controllers
            .iter()
            .find(|wanted| !list.split_whitespace().any(|found| found == **wanted));
        if let Some(name) = missing {
            self.skip(&format!(
                "no cgroup v2 controller {name} here; covered by just vm-test"
            ));
        }
        missing.is_some()
    }

    /// Whether systemd is out of reach here. Then it prints that the test cannot run.
    pub fn lacks_systemd(&self) -> bool {
        let lacks = !Path::new("/run/systemd/system").exists();
        if lacks {
            self.skip("no systemd here; covered by just vm-test");
        }
        lacks
    }

    /// Whether the kernel is this version of Linux or a newer one.
    pub fn has_linux(&self, version: (u32, u32)) -> bool {
        numbers(&release()) >= version
    }

    /// Whether the kernel is older than this version of Linux, with which `feature` came. Then it
    /// prints that the test cannot run.
    pub fn lacks_linux(&self, version: (u32, u32), feature: &str) -> bool {
        let release = release();
        let lacks = numbers(&release) < version;
        if lacks {
            let (major, minor) = version;
            self.skip(&format!(
                "Linux {} has no {feature}; covered where it is {major}.{minor} or newer",
                release.trim()
            ));
        }
        lacks
    }

    /// Whether the kernel does not run this security module (`apparmor`, `selinux`). Then it prints
    /// that the test cannot run.
    pub fn lacks_lsm(&self, name: &str) -> bool {
        let lacks = !self.has_lsm(name);
        if lacks {
            self.skip(&format!("no {name} here; covered by just vm-test"));
        }
        lacks
    }

    /// Whether the kernel runs this security module.
    pub fn has_lsm(&self, name: &str) -> bool {
        lsms().split(',').any(|found| found == name)
    }

    /// Gives `path` to the user who starts the runtime.
    pub fn give(&self, path: &Path) {
        if self.environment.is_user() {
            chown(path, Some(USER), Some(USER)).expect("chown");
        }
    }

    pub(crate) fn next(&self) -> u32 {
        self.counter.set(self.counter.get() + 1);
        self.counter.get()
    }

    /// Runs a program of the host in the sandbox as root and returns what it printed. Panics when
    /// it fails.
    pub fn tool(&self, program: &str, args: &[&str]) -> String {
        let output = Command::new(program)
            .args(args)
            .stdin(Stdio::null())
            .output();
        let output = output.unwrap_or_else(|e| panic!("{program}: {e}"));
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{program} {args:?}: {stdout}{stderr}"
        );
        stdout
    }

    /// Where the Debian package `name` has put that program, to compare locule with it. `None`: the
    /// test is skipped.
    pub fn package(&self, name: &str) -> Option<PathBuf> {
        if self.is_control("it compares locule with the control") {
            return None;
        }
        let places = ["/usr/bin", "/usr/sbin"].map(|place| Path::new(place).join(name));
        let found = places.into_iter().find(|path| path.exists());
        if found.is_none() {
            self.skip(&format!("the package {name} is not installed"));
        }
        found
    }

    /// The bytes of a page of memory.
    pub fn page_size(&self) -> usize {
        let text = self.tool("getconf", &["PAGESIZE"]);
        text.trim().parse().expect("number")
    }
}

/// The security modules that the kernel runs, separated by commas. securityfs need not be mounted.
fn lsms() -> String {
    let file = Path::new("/sys/kernel/security/lsm");
    if let Ok(text) = fs::read_to_string(file) {
        return text.trim().to_owned();
    }
    // This mount is private to the test's mount namespace.
    let mounted = Command::new("mount")
        .args(["-t", "securityfs", "securityfs", "/sys/kernel/security"])
        .status();
    let text = fs::read_to_string(file).unwrap_or_default();
    if mounted.is_ok_and(|status| status.success()) {
        let status = Command::new("umount").arg("/sys/kernel/security").status();
        assert!(
            status.is_ok_and(|status| status.success()),
            "umount /sys/kernel/security"
        );
    }
    text.trim().to_owned()
}

/// Waits up to a minute, or `LOCULE_PATIENCE` seconds, for `condition`. Returns false if it never
/// became true.
pub fn eventually(mut condition: impl FnMut() -> bool) -> bool {
    let patience = env::var("LOCULE_PATIENCE").ok();
    let seconds = patience.map_or(60, |text| text.parse().expect("LOCULE_PATIENCE in seconds"));
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < deadline {
        if condition() {
            return true;
        }
        thread::sleep(Duration::from_millis(2));
    }
    condition()
}

/// The kernel's release, such as 6.12.1-amd64.
fn release() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").expect("osrelease")
}

/// The first two numbers of a release.
fn numbers(release: &str) -> (u32, u32) {
    let words = release.split(['.', '-']);
    let mut numbers = words.map_while(|word| word.parse().ok());
    let mut next = || numbers.next().unwrap_or(0);
    (next(), next())
}
