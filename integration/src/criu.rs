//! A program in the place of CRIU, and images that CRIU could have written.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::bundle::Bundle;
use crate::runtime::{Container, Outcome};
use crate::sandbox::Sandbox;

/// A program in the place of CRIU.
#[derive(Debug)]
pub struct Criu<'a> {
    s: &'a Sandbox,
    /// The directory of the program.
    pub bin: PathBuf,
    log: PathBuf,
}

impl<'a> Criu<'a> {
    /// Makes the program.
    pub fn make(s: &'a Sandbox) -> Self {
        let bin = s.dir.join("criu-bin");
        fs::create_dir(&bin).expect("bin");
        let program = bin.join("criu");
        fs::write(&program, include_str!("../tests/criu.py")).expect("criu");
        fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("chmod");
        let log = s.dir.join("criu-log");
        Self { s, bin, log }
    }

    /// The runtime's command line with this CRIU in PATH.
    pub fn command(&self, mode: &str) -> Command {
        let mut command = self.s.command();
        command.env("PATH", path(&self.bin));
        command.env("CRIU_LOG", &self.log).env("CRIU_MODE", mode);
        command
    }

    /// `checkpoint` of a container.
    pub fn checkpoint(&self, mode: &str, container: &Container<'_>, options: &[&str]) -> Outcome {
        let mut command = self.command(mode);
        command.arg("checkpoint").args(options).arg(&container.id);
        self.s.finish(command, None)
    }

    /// All requests, and the answers to notices.
    pub fn heard(&self) -> Vec<Value> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let parsed = log.lines().map(serde_json::from_str);
        parsed.collect::<Result<_, _>>().expect("JSON")
    }

    /// The last request of this type, with its options.
    #[track_caller]
    pub fn request(&self, kind: &str) -> Value {
        let of_kind = |entry: &Value| entry["type"] == kind && entry["options"].is_object();
        let heard = self.heard();
        let found = heard.iter().rfind(|entry| of_kind(entry));
        found
            .unwrap_or_else(|| panic!("{kind} in {heard:?}"))
            .clone()
    }
}

/// PATH with this directory before the others.
pub fn path(first: &Path) -> String {
    format!(
        "{}:{}",
        first.display(),
        env::var("PATH").unwrap_or_default()
    )
}

/// One mount of an image.
#[derive(Debug, Clone, Copy)]
pub struct ImageMount<'a> {
    /// The kind of its file system, by CRIU's number.
    pub kind: u8,
    /// Its mount point.
    pub point: &'a str,
    /// The name that it has if CRIU does not make it.
    pub name: Option<&'a str>,
    /// Its flags, by the numbers of mount(2).
    pub flags: u8,
    /// Which part of its file system it shows.
    pub root: &'a str,
    /// The point of an earlier mount of the same file system.
    pub like: Option<&'a str>,
    /// The point of the mount that it is in, if that is not the nearest above it.
    pub parent: Option<&'a str>,
    /// The number of its master.
    pub master: u8,
}

impl<'a> ImageMount<'a> {
    /// The root.
    pub const ROOT: ImageMount<'static> = ImageMount {
        kind: 0,
        point: "/",
        name: None,
        flags: 0,
        root: "/",
        like: None,
        parent: None,
        master: 0,
    };

    /// A mount that CRIU makes.
    pub fn made(kind: u8, point: &'a str, flags: u8) -> Self {
        Self {
            kind,
            point,
            flags,
            ..Self::ROOT
        }
    }

    /// A mount of this name.
    pub fn external(point: &'a str, name: &'a str, is_read_only: bool) -> Self {
        Self {
            point,
            name: Some(name),
            flags: is_read_only.into(),
            ..Self::ROOT
        }
    }

    /// Its message in an image that has `all`.
    fn message(&self, all: &[ImageMount<'_>]) -> Vec<u8> {
        let text = |field: u8, text: &str| {
            let length = u8::try_from(text.len()).expect("short");
            // Fields from 16 on have a key of two bytes.
            let key = match field {
                0..16 => vec![field << 3 | 2],
                _ => vec![(field << 3 | 2) | 0x80, field >> 4],
            };
            [&key[..], &[length], text.as_bytes()].concat()
        };
        let number = |index: usize| u8::try_from(index + 1).expect("few");
        let of = |point: &str| all.iter().position(|mount| mount.point == point);
        let own = all.iter().position(|mount| std::ptr::eq(mount, self));
        let own = number(own.expect("of the image"));
        let above = Path::new(self.point).ancestors().skip(1);
        let nearest = above.filter_map(Path::to_str).find_map(of);
        let parent = self.parent.map_or(nearest, of).map_or(99, number);
        let device = self.like.and_then(of).map_or(own, number);
        let name = self.name.map(|name| text(18, name)).unwrap_or_default();
        [
            &[1 << 3, self.kind, 2 << 3, own, 3 << 3, device][..],
            &[4 << 3, parent, 5 << 3, self.flags, 11 << 3, self.master],
            &text(6, self.root),
            &text(7, self.point),
            &[17 << 3 | 0x80, 17 >> 4, 0],
            &name,
        ]
        .concat()
    }
}

/// Writes what `restore` reads of an image.
pub fn write_image(directory: &Path, mounts: &[ImageMount<'_>]) {
    fs::create_dir_all(directory).expect("image");
    let mut bytes = b"\x19CVT(9VU".to_vec();
    for message in mounts.iter().map(|mount| mount.message(mounts)) {
        bytes.extend(u32::try_from(message.len()).expect("short").to_le_bytes());
        bytes.extend(message);
    }
    fs::write(directory.join("mountpoints-12.img"), bytes).expect("mounts");
    fs::write(
        directory.join("descriptors.json"),
        r#"["", "pipe:[7]", ""]"#,
    )
    .expect("streams");
}

/// A bundle with a writable volume at /data and a read-only one at /read, and an image of it.
#[derive(Debug)]
pub struct Restorable {
    /// The bundle.
    pub bundle: Bundle,
    /// The names of /data and /read in the image.
    pub names: [String; 2],
    /// The directory of the image.
    pub image: PathBuf,
}

impl Restorable {
    /// Makes the bundle, and an image with its mounts.
    pub fn make(s: &Sandbox) -> Self {
        let mut bundle = s.bundle();
        for (name, option) in [("data", "rw"), ("read", "ro")] {
            let volume = s.dir.join(name);
            fs::create_dir_all(&volume).expect("volume");
            bundle.bind(&volume, &format!("/{name}"), &["bind", option]);
        }
        bundle.args(&["sleep", "1000"]);
        bundle.write();
        let names = ["data", "read"].map(|name| format!("mount-/{name}"));
        let image = s.dir.join(format!("image{}", s.id()));
        let this = Self {
            bundle,
            names,
            image,
        };
        this.mounts(&[]);
        this
    }

    /// Writes the image with the mounts of the configuration, and these.
    pub fn mounts(&self, more: &[ImageMount<'_>]) {
        let own = [
            ImageMount::ROOT,
            ImageMount::external("/data", &self.names[0], false),
            ImageMount::external("/read", &self.names[1], true),
        ];
        write_image(&self.image, &[&own, more].concat());
    }

    /// Adds volumes at these mount points. Returns their names.
    pub fn more(&mut self, s: &Sandbox, points: &[&str]) -> Vec<String> {
        let volume = s.dir.join("more");
        fs::create_dir(&volume).expect("volume");
        for point in points {
            self.bundle.bind(&volume, point, &["bind"]);
        }
        self.bundle.write();
        let names = points.iter().map(|point| format!("mount-{point}"));
        names.collect()
    }

    /// The command line of a restore under the name `id`.
    pub fn command(&self, criu: &Criu<'_>, mode: &str, options: &[&str], id: &str) -> Command {
        let mut command = criu.command(mode);
        command.arg("restore").args(options);
        command.arg("--bundle").arg(&self.bundle.path);
        command.arg("--image-path").arg(&self.image).arg(id);
        command
    }

    /// `restore`. One that fails must leave no container.
    pub fn restore(&self, s: &Sandbox, criu: &Criu<'_>, mode: &str, options: &[&str]) -> Outcome {
        let id = s.id();
        let outcome = s.finish(self.command(criu, mode, options, &id), Some(&self.bundle));
        if !outcome.status.success() {
            s.runtime(&["state", &id]).fails_with(&["does not exist"]);
        }
        outcome
    }
}
