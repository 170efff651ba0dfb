//! A container that counts, and goes through the installed CRIU.

use std::fs;
use std::process::Command;
use std::sync::Mutex;

use serde_json::json;

use crate::bundle::Bundle;
use crate::runtime::Outcome;
use crate::sandbox::{self, Sandbox, eventually};

/// Writes a number into the tmpfs /count, again and again.
pub const COUNT: &str = "i=0; while sleep 0.05; do i=$((i + 1)); echo $i > /count/new; mv /count/new /count/count; done";

/// One test at a time: CRIU takes options of the host's cgroup v2 away while it works, and a test
/// compares those before with those after.
pub static ONE: Mutex<()> = Mutex::new(());

/// Runs a test on this machine as it is.
pub fn host(body: impl FnOnce(&Sandbox)) {
    let _alone = ONE.lock();
    sandbox::host(body);
}

/// Whether the installed CRIU can be used; else the test is skipped.
pub fn has_criu(s: &Sandbox, feature: &[&str]) -> bool {
    let check = Command::new("criu").arg("check").args(feature).output();
    let works = check.is_ok_and(|output| output.status.success());
    forget();
    if !works {
        s.skip(&format!(
            "no CRIU, or it cannot work here: criu check {feature:?}"
        ));
        return false;
    }
    let [major, minor] = version();
    let is_new = (major, minor) >= (3, 19);
    if !is_new {
        s.skip(&format!(
            "CRIU {major}.{minor} does not save no_new_privs; covered where it is 3.19 or newer"
        ));
    }
    is_new
}

/// The first two numbers of CRIU's version.
pub fn version() -> [u32; 2] {
    let output = Command::new("criu").arg("--version").output();
    let text = String::from_utf8(output.expect("criu").stdout).expect("UTF-8");
    let version = text.lines().find_map(|line| line.strip_prefix("Version: "));
    let mut numbers = version.expect(&text).trim().split('.');
    [(); 2].map(|()| {
        let number = numbers.next().expect(&text);
        number.parse().expect(&text)
    })
}

/// Whether this process, and so CRIU, has CAP_SYS_RESOURCE.
pub fn has_sys_resource() -> bool {
    /// capability.h
    const CAP_SYS_RESOURCE: u64 = 24;
    let status = fs::read_to_string("/proc/self/status").expect("status");
    let set = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let set = u64::from_str_radix(set.expect("CapEff").trim(), 16);
    set.expect("a set") & (1 << CAP_SYS_RESOURCE) != 0
}

/// CRIU keeps there what it knows of the kernel.
pub fn forget() {
    let _absent = fs::remove_file("/run/criu.kdat");
}

/// A container that counts.
#[derive(Debug)]
pub struct Counter<'s> {
    s: &'s Sandbox,
    globals: &'static [&'static str],
    /// What it was made of.
    pub bundle: Bundle,
    /// Its id.
    pub id: String,
    /// The name of its image in the directory of the test.
    pub image: String,
}

impl<'s> Counter<'s> {
    /// Starts one, which `configure` has changed.
    pub fn start(s: &'s Sandbox, configure: impl FnOnce(&mut Bundle)) -> Self {
        Self::start_with(s, &[], configure, &[])
    }

    /// The same with options before each command, and of `run`.
    pub fn start_with(
        s: &'s Sandbox,
        globals: &'static [&'static str],
        configure: impl FnOnce(&mut Bundle),
        options: &[&str],
    ) -> Self {
        let mut bundle = s.bundle();
        let count = json!({"destination": "/count", "type": "tmpfs", "source": "tmpfs",
                           "options": ["mode=1777"]});
        bundle.mount(count).shell(COUNT);
        configure(&mut bundle);
        bundle.write();
        let id = s.id();
        let image = format!("image-{id}");
        let counter = Self {
            s,
            globals,
            bundle,
            id,
            image,
        };
        let bundle = counter.bundle.path.to_str().expect("UTF-8");
        let command = ["run", "--detach", "--bundle", bundle];
        counter.run(&[&command[..], options].concat()).ok();
        assert!(eventually(|| counter.count() > 1), "{}", counter.errors());
        counter
    }

    /// The last number.
    pub fn count(&self) -> u64 {
        let text = self.sees("cat /count/count");
        text.trim().parse().unwrap_or(0)
    }

    /// What a command in the container prints.
    pub fn sees(&self, script: &str) -> String {
        let mut command = self.s.command();
        command.args(["exec", &self.id, "sh", "-c", script]);
        self.s.finish(command, None).stdout
    }

    fn errors(&self) -> String {
        fs::read_to_string(self.s.dir.join("errors")).unwrap_or_default()
    }

    /// Runs a command. A stream of a container that is a file must be open for appending: CRIU
    /// wants other files to have the same size again.
    pub fn run(&self, arguments: &[&str]) -> Outcome {
        let runtime = self.s.command();
        let mut command = Command::new("sh");
        let script = "exec 3>&1; : >> errors; : > errors; \"$@\" >> out 2>> errors; status=$?; cat errors >&2; exit $status";
        command.args(["-c", script, "sh"]);
        command.arg(runtime.get_program()).args(runtime.get_args());
        command.args(self.globals).args(arguments).arg(&self.id);
        command.current_dir(&self.s.dir);
        self.s.finish(command, Some(&self.bundle))
    }

    /// Saves it.
    pub fn checkpoint(&self, options: &[&str]) -> Outcome {
        let command = ["checkpoint", "--image-path", &self.image];
        self.run(&[&command[..], options].concat())
    }

    /// Restores it from its image.
    pub fn restore(&self, options: &[&str]) -> Outcome {
        let bundle = self.bundle.path.to_str().expect("UTF-8");
        let command = [
            "restore",
            "--detach",
            "--image-path",
            &self.image,
            "--bundle",
            bundle,
        ];
        self.run(&[&command[..], options].concat())
    }

    /// Saves the container, which is deleted, and restores it. It goes on where it was.
    #[track_caller]
    pub fn survives(&self, options: &[&str]) {
        let before = self.count();
        self.checkpoint(options).ok();
        let state = self.s.runtime(&["state", &self.id]);
        state.fails_with(&["does not exist"]);
        self.restore(options).ok();
        self.goes_on(before);
    }

    /// It counts beyond this number.
    #[track_caller]
    pub fn goes_on(&self, before: u64) {
        assert!(
            eventually(|| self.count() > before + 1),
            "{before} {}",
            self.count()
        );
    }

    /// The container is not lost to a checkpoint that could not be restored.
    #[track_caller]
    pub fn is_refused(&self, words: &[&str]) {
        let refused = self.checkpoint(&[]).fails();
        for word in words {
            let line = refused.last_line();
            assert!(line.contains(word), "{}", refused.describe(word));
        }
        self.goes_on(self.count());
        self.remove();
    }

    /// Deletes it by force.
    pub fn remove(&self) {
        self.run(&["delete", "--force"]).ok();
        forget();
    }
}
