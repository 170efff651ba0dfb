//! Bundles: a configuration that tests change, and a busybox root file system for each bundle.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Map, Value, json};

use crate::config;
use crate::sandbox::Sandbox;

/// A bundle directory. The configuration is written when the bundle is handed to the runtime.
#[derive(Debug)]
pub struct Bundle {
    /// The directory, absolute.
    pub path: PathBuf,
    /// `config.json`, free to change.
    pub config: Value,
    /// The bytes to write instead of `config`, for a test that needs an invalid configuration.
    pub raw: Option<Vec<u8>>,
}

impl Bundle {
    /// Makes the directory `path` with a root file system and the default configuration.
    pub fn make(sandbox: &Sandbox, path: PathBuf) -> Bundle {
        let root = path.join("rootfs");
        for folder in ["bin", "dev", "etc", "proc", "sys", "tmp", "mnt", "home"] {
            fs::create_dir_all(root.join(folder)).expect("root file system");
        }
        fs::set_permissions(root.join("tmp"), Permissions::from_mode(0o1777)).expect("chmod");
        fs::copy(busybox(), root.join("bin/busybox")).expect("busybox");
        for applet in applets() {
            symlink("busybox", root.join("bin").join(applet)).expect("applet");
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\n";
        fs::write(root.join("etc/passwd"), passwd).expect("passwd");
        fs::write(root.join("etc/group"), "root:x:0:\nuser:x:1000:\n").expect("group");
        for given in [&path, &root] {
            sandbox.give(given);
        }
        for folder in ["bin", "dev", "etc", "proc", "sys", "tmp", "mnt", "home"] {
            sandbox.give(&root.join(folder));
        }
        Bundle {
            config: config::default(sandbox),
            path,
            raw: None,
        }
    }

    /// The root file system.
    pub fn root(&self) -> PathBuf {
        self.path.join("rootfs")
    }

    /// Sets the value at a JSON pointer; objects on the way are made, `-` appends to a list.
    pub fn set(&mut self, pointer: &str, value: Value) -> &mut Self {
        let mut at = &mut self.config;
        for token in pointer.split('/').skip(1) {
            let key = token.replace("~1", "/").replace("~0", "~");
            if at.is_null() {
                *at = if key == "-" {
                    Value::Array(Vec::new())
                } else {
                    Value::Object(Map::new())
                };
            }
            at = step(at, &key);
        }
        *at = value;
        self
    }

    /// Removes the member at a JSON pointer.
    pub fn remove(&mut self, pointer: &str) -> &mut Self {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        let parent = self.config.pointer_mut(parent).expect("the parent");
        parent.as_object_mut().expect("an object").remove(key);
        self
    }

    /// `process.args`.
    pub fn args(&mut self, args: &[&str]) -> &mut Self {
        self.set("/process/args", json!(args))
    }

    /// `process.args` as a script of the container's shell.
    pub fn shell(&mut self, script: &str) -> &mut Self {
        self.args(&["sh", "-c", script])
    }

    /// Appends to `mounts`.
    pub fn mount(&mut self, mount: Value) -> &mut Self {
        self.set("/mounts/-", mount)
    }

    /// Appends a bind mount of a host path.
    pub fn bind(&mut self, source: &Path, destination: &str, options: &[&str]) -> &mut Self {
        let mut all = vec!["bind"];
        all.extend(options);
        self.mount(
            json!({ "destination": destination, "type": "bind", "source": source, "options": all }),
        )
    }

    /// Removes the mount on `destination`.
    pub fn unmount(&mut self, destination: &str) -> &mut Self {
        let mounts = self.config["mounts"].as_array_mut().expect("mounts");
        mounts.retain(|mount| mount["destination"] != destination);
        self
    }

    /// Asks for a new namespace of `kind`.
    pub fn namespace(&mut self, kind: &str) -> &mut Self {
        self.inherit(kind)
            .set("/linux/namespaces/-", json!({ "type": kind }))
    }

    /// Asks for the namespace of `kind` that `path` names.
    pub fn join(&mut self, kind: &str, path: impl AsRef<Path>) -> &mut Self {
        let entry = json!({ "type": kind, "path": path.as_ref() });
        self.inherit(kind).set("/linux/namespaces/-", entry)
    }

    /// Asks for no namespace of `kind`.
    pub fn inherit(&mut self, kind: &str) -> &mut Self {
        let list = self.config["linux"]["namespaces"]
            .as_array_mut()
            .expect("namespaces");
        list.retain(|entry| entry["type"] != kind);
        self
    }

    /// A new user namespace; maps are (container id, host id, size) for uids and gids alike.
    pub fn user_namespace(&mut self, maps: &[(u32, u32, u32)]) -> &mut Self {
        let maps: Vec<_> = maps
            .iter()
            .map(|(c, h, n)| json!({ "containerID": c, "hostID": h, "size": n }))
            .collect();
        self.namespace("user");
        self.set("/linux/uidMappings", json!(maps))
            .set("/linux/gidMappings", json!(maps))
    }

    /// Puts the same names in the given sets of `process.capabilities`; the other sets are empty.
    pub fn capabilities(&mut self, sets: &[&str], names: &[&str]) -> &mut Self {
        self.set("/process/capabilities", json!({}));
        for set in sets {
            self.set(&format!("/process/capabilities/{set}"), json!(names));
        }
        self
    }

    /// `process.user.uid` and `gid`.
    pub fn user(&mut self, uid: u32, gid: u32) -> &mut Self {
        self.set("/process/user", json!({ "uid": uid, "gid": gid }))
    }

    /// `root.readonly` = false.
    pub fn writable(&mut self) -> &mut Self {
        self.set("/root/readonly", json!(false))
    }

    /// Writes a file below the root file system, with its parents.
    pub fn file(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> PathBuf {
        let path = self.root().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        fs::write(&path, content).expect("write");
        fs::set_permissions(&path, Permissions::from_mode(mode)).expect("chmod");
        path
    }

    /// Writes `config.json` and returns the directory.
    pub fn write(&self) -> &Path {
        let bytes = match &self.raw {
            Some(raw) => raw.clone(),
            None => serde_json::to_vec_pretty(&self.config).expect("JSON"),
        };
        fs::write(self.path.join("config.json"), bytes).expect("config.json");
        &self.path
    }
}

/// The member `key` of a list or an object, made if it is not there.
fn step<'a>(at: &'a mut Value, key: &str) -> &'a mut Value {
    match at {
        Value::Array(list) => {
            let index = if key == "-" {
                list.len()
            } else {
                key.parse().expect("an index")
            };
            if index == list.len() {
                list.push(Value::Null);
            }
            &mut list[index]
        }
        Value::Object(map) => map.entry(key).or_insert(Value::Null),
        other => panic!("{other} has no member {key}"),
    }
}

/// The static busybox of the host.
pub fn busybox() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        let places = [
            "/bin/busybox",
            "/usr/bin/busybox",
            "/usr/bin/busybox-static",
        ];
        let found = places
            .iter()
            .map(PathBuf::from)
            .find(|place| place.is_file());
        found.expect("package busybox-static")
    })
}

fn applets() -> &'static [String] {
    static NAMES: OnceLock<Vec<String>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let output = Command::new(busybox())
            .arg("--list")
            .output()
            .expect("busybox --list");
        let text = String::from_utf8_lossy(&output.stdout);
        text.lines()
            .filter(|name| *name != "busybox")
            .map(str::to_owned)
            .collect()
    })
}
