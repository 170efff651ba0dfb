//! Look-ups and made paths against the pathrs crate, in trees full of links.

use super::{Age, Form, LINKS_INSIDE, NO_LINKS, RootFd, make};
use kernel::Errno;
use kernel::path::{self, OpenFlags};
use proptest::prelude::*;
use std::fs::{self, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A directory of its own for each case, removed afterwards.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let name = format!("locule-root-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("root")).unwrap();
        fs::create_dir_all(path.join("host/inner")).unwrap();
        Self(path)
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// One file to make; it is left out if it cannot be made (its parent is a file).
#[derive(Debug, Clone)]
enum Plant {
    Directory(String),
    File(String),
    Link(String, String),
}

/// A path of few names, so that they meet often.
fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(prop_oneof!["[abc]", Just("..".to_owned()), "[abc]"], 1..5)
        .prop_map(|names| names.join("/"))
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        path(),
        path().prop_map(|path| format!("/{path}")),
        Just("../../../../host".to_owned()),
        Just("/../host".to_owned()),
        Just(".".to_owned()),
    ]
}

fn name() -> impl Strategy<Value = String> {
    proptest::collection::vec("[abc]", 1..4).prop_map(|names| names.join("/"))
}

fn plants() -> impl Strategy<Value = Vec<Plant>> {
    let plant = prop_oneof![
        name().prop_map(Plant::Directory),
        name().prop_map(Plant::File),
        (name(), text()).prop_map(|(name, text)| Plant::Link(name, text)),
        (name(), text()).prop_map(|(name, text)| Plant::Link(name, text)),
    ];
    proptest::collection::vec(plant, 0..12)
}

fn plant(root: &Path, plants: &[Plant]) {
    let sound = |path: &Path| {
        // Planting must not follow links itself.
        path.ancestors()
            .skip(1)
            .take_while(|ancestor| *ancestor != root)
            .all(|ancestor| !ancestor.is_symlink())
    };
    for plant in plants {
        let (Plant::Directory(name) | Plant::File(name) | Plant::Link(name, _)) = plant;
        let path = root.join(name);
        if !sound(&path) || path.is_symlink() {
            continue;
        }
        let _ = fs::create_dir_all(path.parent().unwrap());
        let _ = match plant {
            Plant::Directory(_) => fs::create_dir(&path),
            Plant::File(_) => fs::write(&path, ""),
            Plant::Link(_, text) => symlink(text, &path),
        };
    }
}

fn open(path: &Path) -> OwnedFd {
    let path = crate::path::c_path(path).unwrap();
    let flags = OpenFlags::PATH | OpenFlags::DIRECTORY;
    path::open(&path, flags).unwrap()
}

fn identity(fd: &OwnedFd) -> (u64, u64) {
    let stat = kernel::fs::stat(fd.as_fd());
    stat.map(|stat| (stat.device, stat.inode)).unwrap()
}

/// Everything below a directory with its kind, links not followed.
fn listing(directory: &Path) -> Vec<String> {
    let mut list = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        list.push(format!("{:?} {kind:?}", entry.path()));
        if kind.is_dir() {
            list.extend(listing(&entry.path()));
        }
    }
    list.sort();
    list
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn look_ups_agree_with_pathrs(plants in plants(), path in path()) {
        let scratch = Scratch::new();
        plant(&scratch.root(), &plants);
        let root = RootFd::new(open(&scratch.root()));
        let c_path = crate::path::c_path(Path::new(&path)).unwrap();
        let ours = root.open(&c_path, OpenFlags::PATH);
        let oracle = pathrs::Root::open(scratch.root()).unwrap().resolve(&path);
        match (ours, oracle) {
            (Ok(ours), Ok(oracle)) => {
                prop_assert_eq!(identity(&ours), identity(&OwnedFd::from(oracle)));
            }
            (Err(_), Err(_)) => {}
            (ours, oracle) => prop_assert!(false, "{ours:?} against {oracle:?}"),
        }
    }

    #[test]
    fn made_directories_agree_with_pathrs(plants in plants(), path in name()) {
        let (ours, theirs) = (Scratch::new(), Scratch::new());
        plant(&ours.root(), &plants);
        plant(&theirs.root(), &plants);
        let root = open(&ours.root());
        let c_path = crate::path::c_path(Path::new(&path)).unwrap();
        let flags = OpenFlags::DIRECTORY;
        let made = make(root.as_fd(), &c_path, Form::Directory, flags, LINKS_INSIDE);
        let oracle = pathrs::Root::open(theirs.root()).unwrap();
        let permissions = Permissions::from_mode(0o755);
        // pathrs stops at a dangling link; this code follows it inside the root.
        if oracle.mkdir_all(&path, &permissions).is_ok() {
            prop_assert!(made.is_ok(), "{made:?}");
            let relative = |scratch: &Scratch| -> Vec<String> {
                let prefix = scratch.0.display().to_string();
                listing(&scratch.0).iter().map(|line| line.replace(&prefix, "")).collect()
            };
            prop_assert_eq!(relative(&ours), relative(&theirs));
        }
        if let Ok((fd, _)) = made {
            // The path now leads to what was made, as the other crate sees it.
            let handle = pathrs::Root::open(ours.root()).unwrap().resolve(&path).unwrap();
            prop_assert_eq!(identity(&fd), identity(&OwnedFd::from(handle)));
        }
        prop_assert_eq!(listing(&ours.0.join("host")).len(), 1);
        prop_assert_eq!(std::fs::read_dir(&ours.0).unwrap().count(), 2);
    }

    #[test]
    fn no_link_is_followed_where_none_may_be(plants in plants(), path in name()) {
        let scratch = Scratch::new();
        plant(&scratch.root(), &plants);
        let root = open(&scratch.root());
        let c_path = crate::path::c_path(Path::new(&path)).unwrap();
        let flags = OpenFlags::DIRECTORY;
        let made = make(root.as_fd(), &c_path, Form::Directory, flags, NO_LINKS);
        if let Ok((fd, _)) = made {
            let real = scratch.root().join(&path);
            prop_assert_eq!(std::fs::canonicalize(&real).unwrap(), std::fs::canonicalize(scratch.root()).unwrap().join(&path));
            prop_assert_eq!(identity(&fd), identity(&open(&real)));
        }
    }
}

#[test]
fn a_path_longer_than_the_kernel_takes_is_an_error() {
    let scratch = Scratch::new();
    let root = open(&scratch.root());
    let path = std::ffi::CString::new("a/".repeat(3000)).unwrap();
    let made = make(
        root.as_fd(),
        &path,
        Form::Directory,
        OpenFlags::empty(),
        LINKS_INSIDE,
    );
    assert_eq!(made.unwrap_err().errno, Errno::ENAMETOOLONG);
}

#[test]
fn missing_files_are_made_with_their_directories() {
    let scratch = Scratch::new();
    let root = open(&scratch.root());
    let flags = OpenFlags::empty();
    let (_, age) = make(root.as_fd(), c"a/b/c", Form::File, flags, NO_LINKS).unwrap();
    assert_eq!(age, Age::New);
    let (_, age) = make(root.as_fd(), c"a/b/c", Form::File, flags, NO_LINKS).unwrap();
    assert_eq!(age, Age::Old);
    assert!(scratch.root().join("a/b/c").is_file());
}
