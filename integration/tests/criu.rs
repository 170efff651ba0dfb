//! The installed CRIU: containers as engines and people make them go through it and go on, or are
//! refused before they are lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use integration::counter::{
    COUNT, Counter, ONE, forget, has_criu, has_sys_resource, host, version,
};
use integration::sandbox::eventually;
use integration::scope::Scope;
use integration::{Bundle, Group, Limit, Sandbox, sandbox};
use serde_json::json;

/// Starts a container, has it survive, and removes it.
fn survives(s: &Sandbox, configure: impl FnOnce(&mut Bundle)) {
    let counter = Counter::start(s, configure);
    counter.survives(&[]);
    counter.remove();
}

/// A directory of the host.
fn volume(s: &Sandbox, name: &str) -> PathBuf {
    let path = s.dir.join(name);
    fs::create_dir_all(&path).expect("volume");
    path
}

/// A container goes through CRIU twice: it goes on where it was, with its volumes and their
/// restrictions. With --leave-running it just runs on.
#[test]
fn a_counter_survives() {
    host(|s| {
        if !has_criu(s, &[]) {
            return;
        }
        let counter = Counter::start(s, |bundle| {
            bundle.bind(&volume(s, "data"), "/data", &["rw"]);
            bundle.bind(
                &volume(s, "read"),
                "/read",
                &["ro", "nosuid", "nodev", "noexec"],
            );
        });
        let before = counter.count();
        counter
            .run(&["checkpoint", "--leave-running", "--image-path", "first"])
            .ok();
        counter.goes_on(before);
        counter.survives(&[]);
        let mounts = counter.sees("cat /proc/self/mountinfo");
        let options = |point: &str| {
            let of = |line: &&str| line.split(' ').nth(4) == Some(point);
            let line = mounts.lines().find(of);
            let line = line.unwrap_or_else(|| panic!("{point} in {mounts}"));
            line.split(' ').nth(5).unwrap_or_default().to_owned()
        };
        for point in ["/", "/read", "/proc/keys", "/sys/firmware", "/proc/sys"] {
            assert!(options(point).starts_with("ro"), "{point}: {mounts}");
        }
        assert!(
            options("/read").starts_with("ro,nosuid,nodev,noexec"),
            "{mounts}"
        );
        assert!(options("/data").starts_with("rw"), "{mounts}");
        fs::remove_dir_all(s.dir.join(&counter.image)).expect("image");
        counter.survives(&[]);
        counter.remove();
    });
}

/// A checkpoint saves only the memory that has changed since a pre-dump.
#[test]
fn a_checkpoint_builds_on_a_pre_dump() {
    host(|s| {
        if !has_criu(s, &["--feature", "mem_dirty_track"]) {
            return;
        }
        let counter = Counter::start(s, |_bundle| {});
        let before = counter.count();
        counter
            .run(&["checkpoint", "--pre-dump", "--image-path", "first"])
            .ok();
        counter.goes_on(before);
        counter.checkpoint(&["--parent-path", "../first"]).ok();
        counter.restore(&[]).ok();
        counter.goes_on(before);
        counter.remove();
    });
}

/// The mounts that Podman configures: files of the host over files of the image, /dev/shm on a
/// tmpfs of the host, a named volume, an own cgroup namespace.
#[test]
fn the_profile_of_podman_survives() {
    host(|s| {
        if !has_criu(s, &[]) {
            return;
        }
        let own = volume(s, "userdata");
        let shm = volume(s, "userdata/shm");
        s.tool(
            "mount",
            &["-t", "tmpfs", "shm", shm.to_str().expect("UTF-8")],
        );
        survives(s, |bundle| {
            bundle.unmount("/dev/shm").namespace("cgroup");
            let options = ["rprivate", "nosuid", "noexec", "nodev"];
            bundle.bind(&shm, "/dev/shm", &options);
            for name in ["hosts", "resolv.conf", "hostname"] {
                fs::write(own.join(name), name).expect("file");
                bundle.bind(&own.join(name), &format!("/etc/{name}"), &["rprivate"]);
            }
            fs::write(own.join("env"), "").expect("file");
            bundle.bind(&own.join("env"), "/run/.containerenv", &["rprivate"]);
            let options = ["rbind", "rprivate", "rw", "nosuid", "nodev"];
            bundle.bind(&volume(s, "named"), "/named", &options);
        });
        s.tool("umount", &[shm.to_str().expect("UTF-8")]);
    });
}

/// Volumes in volumes and in tmpfs, with each propagation, devices of the host, tmpfs with links
/// and FIFOs, covered paths.
#[test]
fn mounts_survive() {
    host(|s| {
        if !has_criu(s, &[]) {
            return;
        }
        let counter = Counter::start(s, |bundle| {
            let outer = volume(s, "outer");
            volume(s, "outer/inner");
            bundle.bind(&outer, "/outer", &["rw"]);
            bundle.bind(&volume(s, "inner"), "/outer/inner", &["ro"]);
            for propagation in ["rprivate", "rslave", "rshared"] {
                let at = format!("/mnt/{propagation}");
                bundle.bind(&volume(s, propagation), &at, &["rbind", propagation]);
            }
            let tmpfs = json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs",
                               "options": ["nosuid", "nodev", "size=1m", "tmpcopyup"]});
            bundle.mount(tmpfs);
            bundle.bind(&volume(s, "below"), "/tmp/below", &["ro"]);
            bundle.bind(Path::new("/dev/zero"), "/dev/own", &[]);
            bundle.file("/secret/x", "x", 0o644);
            bundle.set("/linux/maskedPaths/-", json!("/secret"));
            let device = json!({"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229});
            bundle.set("/linux/devices", json!([device]));
            bundle.shell(&format!("ln -s /etc /tmp/link; mkfifo /tmp/fifo; {COUNT}"));
        });
        counter.survives(&[]);
        let seen = counter.sees(
            "readlink /tmp/link; test -p /tmp/fifo && ls /secret; stat -c %t:%T /dev/own /dev/fuse",
        );
        assert_eq!(seen, "/etc\n1:5\na:e5\n");
        counter.remove();
        survives(s, |bundle| {
            bundle
                .writable()
                .set("/linux/rootfsPropagation", json!("rslave"));
            bundle.unmount("/sys/fs/cgroup");
        });
    });
}

/// The ids of an id-mapped volume stay mapped.
#[test]
fn an_idmapped_volume_stays_mapped() {
    host(|s| {
        if !has_criu(s, &[]) || s.lacks_linux((6, 3), "id maps on tmpfs") {
            return;
        }
        for propagation in ["rprivate", "rslave"] {
            let counter = Counter::start(s, |bundle| {
                let map = json!([{"containerID": 0, "hostID": 1000, "size": 1000}]);
                bundle.mount(json!({
                    "destination": "/data", "type": "bind", "source": volume(s, "data"),
                    "options": ["bind", propagation], "uidMappings": map, "gidMappings": map
                }));
            });
            counter.survives(&[]);
            assert_eq!(
                counter.sees("stat -c %u:%g /data"),
                "1000:1000\n",
                "{propagation}"
            );
            counter.remove();
        }
    });
}

/// New and joined namespaces, and those of the host.
#[test]
fn namespaces_survive() {
    host(|s| {
        if !has_criu(s, &[]) {
            return;
        }
        survives(s, |bundle| {
            bundle.namespace("cgroup").namespace("time");
            let offset = json!({"boottime": {"secs": 1000}});
            bundle.set("/linux/timeOffsets", offset);
        });
        survives(s, |bundle| {
            bundle.inherit("cgroup").inherit("pid").inherit("network");
            bundle.inherit("ipc").inherit("uts").remove("/hostname");
        });
        let mut command = Command::new("unshare");
        let holder = command.args(["--net", "sleep", "1000"]).spawn();
        let mut holder = holder.expect("unshare");
        let path = format!("/proc/{}/ns/net", holder.id());
        let own = fs::read_link("/proc/self/ns/net").expect("own");
        assert!(eventually(
            || fs::read_link(&path).is_ok_and(|found| found != own)
        ));
        survives(s, |bundle| {
            bundle.join("network", &path);
        });
        holder.kill().and_then(|()| holder.wait()).expect("kill");
    });
}

/// CRIU reads the image and finds the volumes as root of the user namespace too, for whom the
/// directories of the runtime are closed.
#[test]
fn a_user_namespace_survives() {
    host(|s| {
        if !has_criu(s, &[]) {
            return;
        }
        // CRIU opens them again as root of the namespace.
        for stream in ["out", "errors"] {
            fs::write(s.dir.join(stream), "").expect("stream");
            s.tool(
                "chmod",
                &["666", s.dir.join(stream).to_str().expect("UTF-8")],
            );
        }
        let counter = Counter::start(s, |bundle| {
            fs::create_dir(bundle.root().join("count")).expect("count");
            fs::create_dir(bundle.root().join("read")).expect("read");
            let root = bundle.root();
            s.tool(
                "chown",
                &["-R", "100000:100000", root.to_str().expect("UTF-8")],
            );
            bundle
                .user_namespace(&[(0, 100_000, 65536)])
                .namespace("cgroup");
            bundle.bind(&volume(s, "read"), "/read", &["ro"]);
        });
        counter.survives(&[]);
        assert_eq!(
            counter
                .sees("cat /proc/self/uid_map")
                .split_whitespace()
                .nth(1),
            Some("100000")
        );
        counter.remove();
    });
}

/// A restored container has the limits of its configuration again, and its own groups below.
#[test]
fn limits_and_groups_survive() {
    host(|s| {
        if s.lacks_v2(&["cpu", "memory", "pids"]) || !has_criu(s, &[]) {
            return;
        }
        let counter = Counter::start(s, |bundle| {
            let limits = json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 60},
                                "cpu": {"shares": 512}});
            bundle.in_group(s).set("/linux/resources", limits);
            bundle.namespace("cgroup").unmount("/sys/fs/cgroup");
            bundle.mount(
                json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
                                "options": ["rw", "nosuid", "nodev", "noexec"]}),
            );
            bundle.shell(&format!(
                "cd /sys/fs/cgroup; mkdir inner; echo 0 > inner/cgroup.procs; cd /; {COUNT}"
            ));
        });
        let group = Group::of_test(s);
        let has_all = || {
            assert_eq!(group.limit(Limit::Memory), (64 << 20).to_string());
            assert_eq!(group.limit(Limit::Pids), "60");
            assert_eq!(group.limit(Limit::Shares), "512");
            assert_eq!(counter.sees("cat /proc/1/cgroup"), "0::/inner\n");
        };
        has_all();
        counter.survives(&[]);
        has_all();
        counter.remove();
    });
}

/// The scope of systemd goes with a checkpoint and is made again by a restore.
#[test]
fn a_scope_is_made_again() {
    let _alone = ONE.lock();
    sandbox::systemd(|s| scope_survives(s, 1, |_bundle| {}));
}

/// Without a cgroup namespace the container's mount shows the scope, which must exist before CRIU
/// binds it.
#[test]
fn a_scope_is_made_again_without_a_cgroup_namespace() {
    let _alone = ONE.lock();
    sandbox::systemd(|s| {
        scope_survives(s, 2, |bundle| {
            bundle.inherit("cgroup");
        });
    });
}

fn scope_survives(s: &Sandbox, times: usize, configure: impl Fn(&mut Bundle)) {
    if !has_criu(s, &[]) {
        return;
    }
    let path = format!("system.slice:p:{}", s.token);
    let configure = |bundle: &mut Bundle| {
        bundle.set("/linux/cgroupsPath", json!(path));
        bundle.set("/linux/resources", json!({"pids": {"limit": 60}}));
        configure(bundle);
    };
    let counter = Counter::start_with(s, &["--systemd-cgroup"], configure, &[]);
    let scope = Scope::of(s, counter.id.clone(), format!("p-{}.scope", s.token));
    let is_made = || {
        assert_eq!(scope.path(), format!("/system.slice/{}", scope.unit));
        scope.shows(&[("ActiveState", "active"), ("TasksMax", "60")]);
        scope.has(&[("pids.max", "60")]);
        assert_eq!(counter.sees("cat /sys/fs/cgroup/pids.max"), "60\n");
    };
    is_made();
    for _time in 0..times {
        counter.survives(&[]);
        is_made();
    }
    scope.remove();
    forget();
}

/// Children, sessions, pipes, a process that has ended, open and deleted files, locks,
/// a filter.
#[test]
fn processes_survive() {
    host(|s| {
        if !has_criu(s, &[]) {
            return;
        }
        let counter = Counter::start(s, |bundle| {
            bundle.bind(&volume(s, "data"), "/data", &["rw"]);
            let filter = json!({
                "defaultAction": "SCMP_ACT_ALLOW",
                "syscalls": [{"names": ["mount"], "action": "SCMP_ACT_ERRNO"}]
            });
            bundle.set("/linux/seccomp", filter);
            // busybox may have no `flock`.
            for (source, at) in [("/usr", "/usr"), ("/lib", "/lib"), ("/lib64", "/lib64")] {
                bundle.bind(Path::new(source), at, &["ro"]);
            }
            bundle.shell(&format!(
                "exec 9> /data/gone; rm /data/gone; /usr/bin/flock /data/lock sleep 1000 & (sleep 1000 | cat) & \
                 setsid sleep 1000 & sh -c 'true & exec sleep 1000' & {COUNT}"
            ));
        });
        let sleepers = || counter.sees("ps -o args | grep -c '^sleep 1000'");
        assert!(eventually(|| sleepers() == "4\n"));
        let refused = counter.checkpoint(&[]).fails();
        let line = refused.last_line();
        assert!(line.contains("--file-locks"), "{}", refused.stderr);
        counter.survives(&["--file-locks"]);
        assert_eq!(sleepers(), "4\n");
        let free = counter.sees("/usr/bin/flock -n /data/lock echo free");
        assert_eq!(free, "", "the lock is held again");
        counter.remove();
    });
}

/// A process that a signal has stopped is stopped afterwards too.
#[test]
fn a_stopped_process_stays_stopped() {
    host(|s| {
        if !has_criu(s, &[]) {
            return;
        }
        let counter = Counter::start(s, |bundle| {
            bundle.shell(&format!("sleep 1000 & kill -STOP $!; {COUNT}"));
        });
        let stopped = || counter.sees("ps -o stat,args | grep -c '^T.*sleep 1000'");
        assert_eq!(stopped(), "1\n");
        counter.survives(&[]);
        assert_eq!(stopped(), "1\n");
        counter.remove();
    });
}

/// A process of another user, with fewer capabilities and connections within the container.
#[test]
fn an_ordinary_user_and_connections_survive() {
    host(|s| {
        if !has_criu(s, &[]) {
            return;
        }
        // Linux 6.16 refuses SO_PASSCRED for TCP, which CRIU 4.1 asks for.
        if s.has_linux((6, 16)) && version() < [4, 2] {
            s.skip("CRIU 4.1 cannot save TCP sockets on this kernel; covered by just vm-test");
            return;
        }
        if !has_sys_resource() {
            s.skip("CRIU needs CAP_SYS_RESOURCE for other users; covered by just vm-test");
            return;
        }
        let counter = Counter::start(s, |bundle| {
            bundle.user(1000, 1000);
            let sets = [
                "bounding",
                "permitted",
                "effective",
                "inheritable",
                "ambient",
            ];
            bundle.capabilities(&sets, &["CAP_NET_BIND_SERVICE"]);
            bundle.shell(&format!(
                "(sleep 1000 | nc -l -p 99) > /dev/null & sleep 0.5; \
                 (sleep 1000 | nc 127.0.0.1 99) > /dev/null & {COUNT}"
            ));
        });
        let refused = counter.checkpoint(&[]).fails();
        assert!(
            refused.last_line().contains("--tcp-established"),
            "{}",
            refused.stderr
        );
        counter.survives(&["--tcp-established"]);
        assert_eq!(counter.sees("id -u"), "1000\n");
        counter.remove();
    });
}

/// The terminal comes from CRIU and goes to the console socket.
#[test]
fn a_terminal_survives() {
    host(|s| {
        if !has_criu(s, &[]) {
            return;
        }
        let socket = s.dir.join("console");
        let script = "import socket, sys\n\
                      s = socket.socket(socket.AF_UNIX)\n\
                      s.bind(sys.argv[1])\n\
                      s.listen()\n\
                      held = []\n\
                      while True:\n\
                      \x20   held.append(socket.recv_fds(s.accept()[0], 100, 1))\n";
        let mut command = Command::new("python3");
        let holder = command.args(["-c", script]).arg(&socket).spawn();
        let mut holder = holder.expect("python3");
        assert!(eventually(|| socket.exists()));
        let console = ["--console-socket", socket.to_str().expect("UTF-8")];
        let configure = |bundle: &mut Bundle| {
            bundle.set("/process/terminal", json!(true));
        };
        let counter = Counter::start_with(s, &[], configure, &console);
        let before = counter.count();
        counter.checkpoint(&[]).ok();
        counter.restore(&console).ok();
        counter.goes_on(before);
        assert_eq!(counter.sees("readlink /proc/1/fd/0"), "/dev/pts/0\n");
        counter.remove();
        holder.kill().and_then(|()| holder.wait()).expect("kill");
    });
}

/// What could not be restored, or would be confined less, is refused while the container runs.
#[test]
fn what_cannot_be_restored_is_refused_with_a_reason() {
    host(|s| {
        if !has_criu(s, &[]) {
            return;
        }
        let refused = |configure: &dyn Fn(&mut Bundle), words: &[&str]| {
            Counter::start(s, configure).is_refused(words);
        };
        refused(
            &|bundle| {
                let rules = json!({"handledAccessFs": ["make_dir"]});
                let annotation = json!({"dev.locule.landlock": rules.to_string()});
                bundle.set("/annotations", annotation);
            },
            &["the container runs on", "/annotations/dev.locule.landlock"],
        );
        refused(
            &|bundle| {
                bundle.capabilities(&["bounding", "permitted", "effective"], &["CAP_SYS_ADMIN"]);
                bundle.shell(&format!("mount -t tmpfs tmpfs /mnt; {COUNT}"));
            },
            &["the container runs on", "\"/mnt\"", "no such mount there"],
        );
        refused(
            &|bundle| {
                bundle.file("/own/x", "x", 0o644);
                bundle.set("/linux/readonlyPaths/-", json!("/own"));
            },
            &[
                "the container runs on",
                "\"/own\"",
                "a part of a file system",
            ],
        );
        refused(
            &|bundle| {
                let ramfs = json!({"destination": "/mnt", "type": "ramfs", "source": "ramfs"});
                bundle.mount(ramfs);
            },
            &["criu failed", "use a tmpfs or a volume"],
        );
        let counter = Counter::start(s, |_bundle| {});
        let list = json!([{"destination": "/mnt", "type": "bind", "source": volume(s, "data"),
                           "options": ["bind"]}]);
        fs::write(s.dir.join("mounts.json"), list.to_string()).expect("write");
        s.runtime(&["mounts", "add", &counter.id, "mounts.json"])
            .ok();
        counter.is_refused(&["criu failed", "/mnt", "remove this one"]);
    });
}

/// CVE-2026-119614: an image makes a link of a mount point in its tmpfs. CRIU may fail; it mounts
/// nothing at the host's directory and runs no program that the image has there.
#[test]
fn a_link_in_a_tmpfs_of_an_image_leads_nowhere() {
    host(|s| {
        if !has_criu(s, &[]) {
            return;
        }
        let counter = Counter::start(s, |bundle| {
            let tmpfs = |at: &str| json!({"destination": at, "type": "tmpfs", "source": "tmpfs"});
            bundle.unmount("/dev/shm");
            bundle.mount(tmpfs("/dev/shm")).mount(tmpfs("/late"));
        });
        counter.checkpoint(&[]).ok();
        let programs = volume(s, "programs");
        let mark = s.dir.join("mark");
        let script = include_str!("link_in_tmpfs.py");
        let image = s.dir.join(&counter.image);
        let edit = Command::new("python3")
            .args(["-c", script])
            .args([&image, &programs, &mark])
            .output();
        let edit = edit.expect("python3");
        assert!(
            edit.status.success(),
            "{}",
            String::from_utf8_lossy(&edit.stderr)
        );
        let mut command = s.command();
        let path = integration::criu::path(&programs);
        command
            .env("PATH", path)
            .args(["restore", "--detach", "--image-path"]);
        command
            .arg(&image)
            .arg("--bundle")
            .arg(&counter.bundle.path)
            .arg(&counter.id);
        let outcome = s.finish(command, None);
        assert!(
            !mark.exists(),
            "{}",
            outcome.describe("no program of the image")
        );
        if outcome.status.success() {
            counter.run(&["delete", "--force"]).ok();
        }
        forget();
    });
}
