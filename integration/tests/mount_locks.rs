//! What the host has mounted read-only, or covered, stays so for the root of a user namespace:
//! mount_namespaces(7), "Restrictions on mount namespaces".
//!
//! The kernel locks flags and covers of mounts that a less privileged mount namespace gets as
//! copies. A tree that the privileged runtime clones carries no locks, so init must take it from a
//! copy of its own.

use std::fs;
use std::path::{Path, PathBuf};

use integration::{Bundle, Sandbox, sandbox};
use serde_json::json;

const MAP: (u32, u32, u32) = (0, 100_000, 65536);

/// A mount of the host that may not be written, with a secret below another mount, and a volume in
/// it with the same.
struct Place<'a> {
    s: &'a Sandbox,
    path: PathBuf,
}

impl<'a> Place<'a> {
    fn make(s: &'a Sandbox) -> Self {
        let path = s.dir.join("place");
        fs::create_dir(&path).expect("mkdir");
        s.tool("mount", &["-t", "tmpfs", "place", text(&path)]);
        s.tool("chmod", &["777", text(&path)]);
        for folder in ["", "volume"] {
            let over = path.join(folder).join("over");
            fs::create_dir_all(&over).expect("mkdir");
            fs::write(over.join("secret"), "SECRET\n").expect("write");
            s.tool("chmod", &["777", text(&path.join(folder))]);
            s.tool("mount", &["-t", "tmpfs", "cover", text(&over)]);
        }
        let flags = "remount,bind,ro,nosuid,nodev,noexec";
        s.tool("mount", &["-o", flags, text(&path)]);
        Self { s, path }
    }

    fn close(self) {
        self.s.tool("umount", &["-R", text(&self.path)]);
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// A bundle whose container is root of a user namespace with CAP_SYS_ADMIN in it.
fn bundle(s: &Sandbox) -> Bundle {
    let mut bundle = s.bundle();
    bundle.user_namespace(&[MAP]);
    prepare(s, &mut bundle);
    bundle
}

fn prepare(s: &Sandbox, bundle: &mut Bundle) {
    s.tool("chown", &["-hR", "100000:100000", text(&bundle.root())]);
    bundle.capabilities(&["bounding", "permitted", "effective"], &["CAP_SYS_ADMIN"]);
    bundle.writable();
}

/// What the container tries on the volume at `path`.
fn attack(path: &str) -> String {
    format!(
        "mount -o remount,bind,rw,suid,dev,exec {path} && echo BROKEN flags
        mount -o remount,bind,rw {path} && touch {path}/made && echo BROKEN written
        umount -l {path}/over && echo BROKEN uncovered
        cat {path}/over/secret
        mount --bind {path} /tmp && cat /tmp/over/secret
        test -d {path}/over && echo END"
    )
}

/// Runs the attack on a volume at `/vol` and finds everything as it was.
fn holds(s: &Sandbox, bundle: &mut Bundle) {
    bundle.shell(&attack("/vol"));
    let outcome = s.run(bundle).ok();
    assert_eq!(outcome.stdout, "END\n", "{}", outcome.text());
}

/// Has init see the host's files until the pivot.
fn with_hook(bundle: &mut Bundle) {
    let hook = json!([{ "path": "/bin/true", "args": ["true"] }]);
    bundle.set("/hooks", json!({ "createContainer": hook }));
}

/// The flags and the covers of a volume, with its mounts below.
#[test]
fn a_volume_keeps_its_flags_and_covers() {
    sandbox::host(|s| {
        let place = Place::make(s);
        let mut bundle = bundle(s);
        bundle.bind(&place.path, "/vol", &["rbind"]);
        holds(s, &mut bundle);
        place.close();
    });
}

/// The same where a hook wants the host's files, so the base is not used.
#[test]
fn a_volume_keeps_them_beside_a_hook() {
    sandbox::host(|s| {
        let place = Place::make(s);
        let mut bundle = bundle(s);
        bundle.bind(&place.path, "/vol", &["rbind"]);
        with_hook(&mut bundle);
        holds(s, &mut bundle);
        place.close();
    });
}

/// The source is a directory of the mount, and the destination is in another volume.
#[test]
fn a_volume_within_a_volume_keeps_them() {
    sandbox::host(|s| {
        let place = Place::make(s);
        let outer = s.dir.join("outer");
        fs::create_dir_all(outer.join("inner")).expect("mkdir");
        for hook in [false, true] {
            let mut bundle = bundle(s);
            bundle
                .bind(&outer, "/mnt", &["rbind"])
                .bind(&place.path.join("volume"), "/mnt/inner", &["rbind"])
                .shell(&attack("/mnt/inner"));
            if hook {
                with_hook(&mut bundle);
            }
            let outcome = s.run(&bundle).ok();
            assert_eq!(outcome.stdout, "END\n", "hook: {hook}: {}", outcome.text());
        }
        place.close();
    });
}

/// A mount with mapped ids is cloned by the runtime, which alone may map them.
#[test]
fn an_idmapped_volume_keeps_them() {
    sandbox::host(|s| {
        if s.is_control("runc 1.1 has no idmapped mounts")
            || s.lacks_linux((6, 3), "id maps on tmpfs")
        {
            return;
        }
        let place = Place::make(s);
        for hook in [false, true] {
            let mut bundle = bundle(s);
            bundle.bind(&place.path, "/vol", &["rbind", "ridmap"]);
            if hook {
                with_hook(&mut bundle);
            }
            holds(s, &mut bundle);
        }
        place.close();
    });
}

/// The user namespace is another container's.
#[test]
fn a_volume_keeps_them_in_a_joined_user_namespace() {
    sandbox::host(|s| {
        let place = Place::make(s);
        let mut first = bundle(s);
        first.args(&["sleep", "1000"]);
        let first = s.started(&first);
        for hook in [false, true] {
            let mut second = s.bundle();
            prepare(s, &mut second);
            second.join("user", format!("/proc/{}/ns/user", first.pid()));
            if !s.subject.is_locule() {
                // runc 1.1 wants the maps of the namespace repeated.
                let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
                second
                    .set("/linux/uidMappings", map.clone())
                    .set("/linux/gidMappings", map);
            }
            second.bind(&place.path, "/vol", &["rbind"]);
            if hook {
                with_hook(&mut second);
            }
            holds(s, &mut second);
        }
        first.remove();
        place.close();
    });
}

/// The root is on a read-only mount of the host.
#[test]
fn a_root_on_a_read_only_mount_stays_read_only() {
    sandbox::host(|s| {
        for hook in [false, true] {
            let mut bundle = bundle(s);
            bundle.shell(
                "mount -o remount,bind,rw / && echo BROKEN; touch /made && echo BROKEN; echo END",
            );
            if hook {
                with_hook(&mut bundle);
            }
            let root = bundle.root();
            for folder in ["proc", "dev", "sys"] {
                fs::create_dir_all(root.join(folder)).expect("mkdir");
            }
            s.tool("mount", &["--bind", text(&root), text(&root)]);
            s.tool("mount", &["-o", "remount,bind,ro", text(&root)]);
            let outcome = s.run(&bundle);
            s.tool("umount", &[text(&root)]);
            let outcome = outcome.ok();
            assert_eq!(outcome.stdout, "END\n", "hook: {hook}: {}", outcome.text());
        }
    });
}

/// `rw` does not make writable what the host has mounted read-only: the kernel says no, and so does
/// the runtime.
#[test]
fn a_volume_that_is_read_only_cannot_be_asked_for_writable() {
    sandbox::host(|s| {
        let place = Place::make(s);
        for hook in [false, true] {
            let mut bundle = bundle(s);
            bundle
                .bind(&place.path, "/vol", &["rbind", "rw"])
                .shell("touch /vol/made && echo BROKEN");
            if hook {
                with_hook(&mut bundle);
            }
            let outcome = s
                .run(&bundle)
                .fails_with(&["/mounts/7", "locked in a user namespace"]);
            assert_eq!(outcome.stdout, "", "hook: {hook}: {}", outcome.text());
        }
        place.close();
    });
}

/// A bind mount without what is mounted below would show what that covers.
#[test]
fn a_volume_without_its_covers_is_refused() {
    sandbox::host(|s| {
        let place = Place::make(s);
        for hook in [false, true] {
            let mut bundle = bundle(s);
            bundle
                .bind(&place.path, "/vol", &[])
                .shell("cat /vol/over/secret");
            if hook {
                with_hook(&mut bundle);
            }
            let outcome = s
                .run(&bundle)
                .fails_with(&["/mounts/7", "use the option rbind"]);
            assert_eq!(outcome.stdout, "", "hook: {hook}: {}", outcome.text());
        }
        place.close();
    });
}

/// Without a user namespace the container's root is the host's, and may do to its own mounts what
/// it likes.
#[test]
fn without_a_user_namespace_nothing_is_locked() {
    sandbox::host(|s| {
        let place = Place::make(s);
        let mut bundle = s.bundle();
        bundle.capabilities(&["bounding", "permitted", "effective"], &["CAP_SYS_ADMIN"]);
        bundle
            .bind(&place.path, "/vol", &["rbind"])
            .shell("umount -l /vol/over && cat /vol/over/secret");
        s.run(&bundle).prints("SECRET");
        assert!(!fs::exists(place.path.join("over/secret")).expect("stat"));
        place.close();
    });
}
