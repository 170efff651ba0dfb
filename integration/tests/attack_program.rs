//! Attacks of a container on the program file of the runtime: CVE-2019-5736. `attack` has the other
//! attacks.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;

use integration::canary::safe_or_refused;
use integration::sandbox;

/// See open(2).
const O_NONBLOCK: i32 = 0o4000;

/// CVE-2019-5736: the runtime's own file is out of reach of a container that executes it, opens it
/// through /proc and writes when it is no longer executed.
#[test]
fn cve_2019_5736_the_runtimes_binary_cannot_be_written() {
    sandbox::host(|s| {
        // A copy, since a runtime that fails this test is destroyed.
        let program = s.dir.join("runtime");
        fs::copy(&s.subject.program, &program).expect("copy");
        let content = fs::read(&program).expect("runtime");
        let all = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_KILL"];
        let sets = ["bounding", "effective", "permitted"];
        let mut bundle = s.bundle();
        bundle.writable().capabilities(&sets, &all);
        bundle.shell(
            "echo ready; while :; do for p in /proc/[0-9]*; do \
             case $(readlink $p/exe) in ''|*busybox*) continue;; esac; \
             ( exec 9< $p/exe ) 2> /dev/null || continue; \
             exec 9< $p/exe; echo held; \
             while kill -0 ${p#/proc/} 2> /dev/null; do sleep 0.01; done; \
             for i in 1 2 3 4 5; do if (echo x > /proc/self/fd/9) 2> /dev/null; then echo ESCAPED; fi; sleep 0.01; done; \
             echo over; sleep 1000; done; done",
        );
        for entry in ["/proc/self/exe", "/entry"] {
            let attacker = s.started(&bundle);
            attacker.wait_output("ready");
            let mut victim = s.bundle();
            victim.capabilities(&sets, &all);
            // What a program that is not static needs.
            for libraries in ["/lib", "/lib64", "/usr/lib"] {
                if Path::new(libraries).exists() {
                    victim.bind(Path::new(libraries), libraries, &["rbind", "ro"]);
                }
            }
            // It waits for a writer.
            let fifo = victim.root().join("fifo");
            s.tool("mkfifo", &[fifo.to_str().expect("UTF-8")]);
            victim.file("/entry", "#!/proc/self/exe seccomp\n", 0o755);
            victim
                .join("pid", format!("/proc/{}/ns/pid", attacker.pid()))
                .args(&[entry, "seccomp", "lint", "/fifo"]);
            let mut command = Command::new(&program);
            command.arg("--root").arg(&s.state).arg("run");
            command.arg("--bundle").arg(victim.write()).arg(s.id());
            let mut running = s.spawn(command, Some(&victim));
            let held =
                sandbox::eventually(|| attacker.output().contains("held") || running.is_over());
            assert!(held, "{entry}: it neither ends nor is held");
            // A writer that does not wait for a reader, who may be gone.
            let mut writer = fs::OpenOptions::new();
            writer.write(true).custom_flags(O_NONBLOCK);
            let over = sandbox::eventually(|| running.is_over() || writer.open(&fifo).is_ok());
            assert!(over, "{entry}: it does not end");
            safe_or_refused(running.wait());
            if attacker.output().contains("held") {
                attacker.wait_output("over");
            }
            let output = attacker.output();
            attacker.remove();
            assert!(!output.contains("ESCAPED"), "{entry}: {output}");
            assert!(
                fs::read(&program).expect("runtime") == content,
                "{entry}: it was written"
            );
        }
    });
}

/// CVE-2019-5736: the runtime has left its own file before its C library, its arguments and its
/// configuration are looked at.
#[test]
fn cve_2019_5736_the_clone_is_executed_before_anything_else() {
    sandbox::host(|s| {
        if s.is_control("the way in which locule protects itself") {
            return;
        }
        if cfg!(not(target_arch = "x86_64")) {
            return s.skip("main does it on this processor; covered by the test of the attack");
        }
        let trace = s.dir.join("trace");
        let calls = |words: &[&str]| {
            let mut command = Command::new("strace");
            command.arg("--output").arg(&trace);
            command.arg(&s.subject.program).arg("--root").arg(&s.state);
            command.args(words);
            s.finish(command, None);
            let text = String::from_utf8_lossy(&fs::read(&trace).expect("trace")).into_owned();
            let names = text.lines().filter_map(|line| line.split_once('('));
            names.map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        };
        for word in ["create", "run"] {
            let calls = calls(&[word, "--bundle", "/nowhere", "x"]);
            // The release, which has no loader, makes not even its relocations before.
            let clone = calls.iter().position(|name| name == "open_tree");
            let clone = clone.expect("open_tree");
            assert_eq!(
                calls[clone..clone + 3],
                ["open_tree", "mount_setattr", "execveat"],
                "{calls:?}"
            );
            // std's first word.
            let poll = calls.iter().position(|name| name == "poll");
            assert!(poll.expect("poll") > clone, "{calls:?}");
            let execs = calls.iter().filter(|name| name.starts_with("execve"));
            assert_eq!(execs.count(), 2, "{calls:?}");
        }
        assert!(!calls(&["list"]).contains(&"execveat".to_owned()));
    });
}

/// CVE-2019-5736: it is the command that counts, not how its line looks. Here what ends the options
/// elsewhere is the value of one.
#[test]
fn cve_2019_5736_no_spelling_of_the_command_line_goes_on_unprotected() {
    sandbox::host(|s| {
        if s.is_control("the way in which locule protects itself") {
            return;
        }
        for option in ["--root", "-root", "--log"] {
            for word in ["create", "run"] {
                let trace = s.dir.join("trace");
                let mut command = Command::new("strace");
                command.arg("--output").arg(&trace).current_dir(&s.dir);
                command.args(["--trace", "execveat"]);
                command.arg(&s.subject.program);
                command.args([option, "--", word, "--bundle", "/nowhere", "x"]);
                s.finish(command, None).fails_with(&["/nowhere"]);
                let text = fs::read_to_string(&trace).expect("trace");
                let execs = text.lines().filter(|line| line.starts_with("execveat("));
                assert_eq!(execs.count(), 1, "{option} -- {word}: {text}");
            }
        }
    });
}

/// CVE-2019-5736: a mount that is read-only now, as /usr of some hosts, is not taken for a clone,
/// also if systemd or a shell has executed the program by a descriptor.
#[test]
fn cve_2019_5736_a_read_only_mount_of_the_host_is_no_clone() {
    sandbox::host(|s| {
        if s.is_control("the way in which locule protects itself") {
            return;
        }
        let (folder, trace) = (s.dir.join("usr"), s.dir.join("trace"));
        fs::create_dir(&folder).expect("mkdir");
        let program = folder.join("locule");
        fs::copy(&s.subject.program, &program).expect("copy");
        let name = folder.to_str().expect("UTF-8");
        s.tool("mount", &["--bind", name, name]);
        s.tool("mount", &["-o", "remount,bind,ro", name]);
        let mut command = Command::new("sh");
        command
            .args(["-c", "exec 9< \"$0\"; exec strace --trace execveat --output \"$1\" /dev/fd/9 run --bundle /nowhere x"])
            .args([&program, &trace]);
        s.finish(command, None).fails_with(&["/nowhere"]);
        let text = fs::read_to_string(&trace).expect("trace");
        let execs = text.lines().filter(|line| line.starts_with("execveat("));
        assert_eq!(execs.count(), 1, "{text}");
        s.tool("umount", &[name]);
    });
}
