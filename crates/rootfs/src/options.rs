//! The words of `mounts[].options`.
//!
//! One table says what each word means; `features` prints its names. A word that is not in the
//! table is data for the file system. Words of one family (ro and rw; noatime, relatime and
//! strictatime) replace each other: the last wins. `atime`, `norelatime` and `nostrictatime` take
//! back only the word that they negate. Source: runtime-spec config.md#linux-mount-options and
//! mount(8).

use kernel::mount::{Depth, Follow, MountAttr, Propagation};
use spec::container::Container;
use std::ffi::{CStr, CString, NulError};

/// What one word does.
#[derive(Debug, Clone, Copy)]
enum Effect {
    /// Sets and clears attributes of the mount.
    Attr(Depth, MountAttr, MountAttr),
    /// Sets a flag of a new superblock. A bind mount shares the superblock of its source, so for it
    /// the word has no effect.
    Superblock(&'static CStr),
    /// Changes the propagation type once the mount is made.
    Propagate(Depth, Propagation),
    /// Binds.
    Bind(Depth),
    /// Changes the mount that is there.
    Remount,
    /// Copies what is below into the tmpfs.
    CopyUp,
    /// Maps ids.
    IdMap(Depth),
    /// Makes a link like the source, if that is one.
    CopySymlink,
    /// The source may be a link itself.
    SourceNoFollow,
    /// The destination may be a link itself.
    DestinationNoFollow,
    /// No effect: the kernel's default, or a word without a bit in the mount API.
    Nothing,
}

const NONE: MountAttr = MountAttr::empty();

const fn set(depth: Depth, attr: MountAttr) -> Effect {
    Effect::Attr(depth, attr, NONE)
}

const fn clear(depth: Depth, attr: MountAttr) -> Effect {
    Effect::Attr(depth, NONE, attr)
}

/// A value of the field of access times; the kernel's default is relatime.
const fn atime(depth: Depth, value: MountAttr) -> Effect {
    Effect::Attr(depth, value, MountAttr::ATIME)
}

const TOP: Depth = Depth::Top;
const TREE: Depth = Depth::Tree;

/// Every word, in the order of the alphabet.
const WORDS: &[(&str, Effect)] = &[
    ("async", Effect::Superblock(c"async")),
    ("atime", clear(TOP, MountAttr::NOATIME)),
    ("bind", Effect::Bind(TOP)),
    ("copy-symlink", Effect::CopySymlink),
    ("defaults", Effect::Nothing),
    ("dest-nofollow", Effect::DestinationNoFollow),
    ("dev", clear(TOP, MountAttr::NODEV)),
    ("diratime", clear(TOP, MountAttr::NODIRATIME)),
    ("dirsync", Effect::Superblock(c"dirsync")),
    ("exec", clear(TOP, MountAttr::NOEXEC)),
    ("idmap", Effect::IdMap(TOP)),
    // Not a parameter of a superblock: each file system decides it.
    ("iversion", Effect::Nothing),
    ("lazytime", Effect::Superblock(c"lazytime")),
    // Whether the kernel logs complaints of a mount: mount(2) only.
    ("loud", Effect::Nothing),
    ("mand", Effect::Superblock(c"mand")),
    ("noatime", atime(TOP, MountAttr::NOATIME)),
    ("nodev", set(TOP, MountAttr::NODEV)),
    ("nodiratime", set(TOP, MountAttr::NODIRATIME)),
    ("noexec", set(TOP, MountAttr::NOEXEC)),
    ("noiversion", Effect::Nothing),
    ("nolazytime", Effect::Superblock(c"nolazytime")),
    ("nomand", Effect::Superblock(c"nomand")),
    ("norelatime", clear(TOP, NONE)),
    ("nostrictatime", clear(TOP, MountAttr::STRICTATIME)),
    ("nosuid", set(TOP, MountAttr::NOSUID)),
    ("nosymfollow", set(TOP, MountAttr::NOSYMFOLLOW)),
    ("private", Effect::Propagate(TOP, Propagation::Private)),
    // rasync, rdirsync, rmand, rnomand, rsync: flags of superblocks, which no recursive change can
    // reach.
    ("rasync", Effect::Nothing),
    ("ratime", clear(TREE, MountAttr::NOATIME)),
    ("rbind", Effect::Bind(TREE)),
    ("rdev", clear(TREE, MountAttr::NODEV)),
    ("rdiratime", clear(TREE, MountAttr::NODIRATIME)),
    ("rdirsync", Effect::Nothing),
    ("relatime", atime(TOP, NONE)),
    ("remount", Effect::Remount),
    ("rexec", clear(TREE, MountAttr::NOEXEC)),
    ("ridmap", Effect::IdMap(TREE)),
    ("rmand", Effect::Nothing),
    ("rnoatime", atime(TREE, MountAttr::NOATIME)),
    ("rnodev", set(TREE, MountAttr::NODEV)),
    ("rnodiratime", set(TREE, MountAttr::NODIRATIME)),
    ("rnoexec", set(TREE, MountAttr::NOEXEC)),
    ("rnomand", Effect::Nothing),
    ("rnorelatime", clear(TREE, NONE)),
    ("rnostrictatime", clear(TREE, MountAttr::STRICTATIME)),
    ("rnosuid", set(TREE, MountAttr::NOSUID)),
    ("rnosymfollow", set(TREE, MountAttr::NOSYMFOLLOW)),
    ("ro", set(TOP, MountAttr::RDONLY)),
    ("rprivate", Effect::Propagate(TREE, Propagation::Private)),
    ("rrelatime", atime(TREE, NONE)),
    ("rro", set(TREE, MountAttr::RDONLY)),
    ("rrw", clear(TREE, MountAttr::RDONLY)),
    ("rshared", Effect::Propagate(TREE, Propagation::Shared)),
    ("rslave", Effect::Propagate(TREE, Propagation::Slave)),
    ("rstrictatime", atime(TREE, MountAttr::STRICTATIME)),
    ("rsuid", clear(TREE, MountAttr::NOSUID)),
    ("rsymfollow", clear(TREE, MountAttr::NOSYMFOLLOW)),
    ("rsync", Effect::Nothing),
    (
        "runbindable",
        Effect::Propagate(TREE, Propagation::Unbindable),
    ),
    ("rw", clear(TOP, MountAttr::RDONLY)),
    ("shared", Effect::Propagate(TOP, Propagation::Shared)),
    ("silent", Effect::Nothing),
    ("slave", Effect::Propagate(TOP, Propagation::Slave)),
    ("src-nofollow", Effect::SourceNoFollow),
    ("strictatime", atime(TOP, MountAttr::STRICTATIME)),
    ("suid", clear(TOP, MountAttr::NOSUID)),
    ("symfollow", clear(TOP, MountAttr::NOSYMFOLLOW)),
    ("sync", Effect::Superblock(c"sync")),
    ("tmpcopyup", Effect::CopyUp),
    (
        "unbindable",
        Effect::Propagate(TOP, Propagation::Unbindable),
    ),
];

/// The name of every word that the table knows, sorted: what `features` lists as mount options.
pub fn option_names() -> impl Iterator<Item = &'static str> {
    WORDS.iter().map(|(name, _)| *name)
}

/// Which attributes are set and which are cleared; the others stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) set: MountAttr,
    pub(crate) clear: MountAttr,
}

impl Attributes {
    /// Whether nothing changes.
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn take(&mut self, set: MountAttr, clear: MountAttr) {
        if set.union(clear).intersects(MountAttr::ATIME) {
            // One field with one value: the kernel requires that it is cleared as a whole when it
            // changes.
            self.set.remove(clear);
            self.clear.insert(MountAttr::ATIME);
            self.set.insert(set);
        } else {
            self.set.remove(clear);
            self.clear.remove(set);
            self.set.insert(set);
            self.clear.insert(clear);
        }
    }
}

/// One parameter of a file system, as fsconfig(2) expects it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Param {
    pub(crate) key: CString,
    pub(crate) value: Option<CString>,
}

impl Param {
    /// `key` or `key=value`.
    pub(crate) fn parse(word: &str) -> Result<Self, NulError> {
        let (key, value) = match word.split_once('=') {
            Some((key, value)) => (key, Some(CString::new(value)?)),
            None => (word, None),
        };
        Ok(Self {
            key: CString::new(key)?,
            value,
        })
    }

    pub(crate) fn new(key: &CStr, value: impl Into<CString>) -> Self {
        Self {
            key: key.into(),
            value: Some(value.into()),
        }
    }

    pub(crate) fn flag(key: &CStr) -> Self {
        Self {
            key: key.into(),
            value: None,
        }
    }

    pub(crate) fn is(&self, key: &CStr) -> bool {
        self.key.as_c_str() == key
    }
}

/// Splits options as mount(2) does: at commas, except commas in quotes and commas after a
/// backslash, which overlay uses for a comma in a path. A label without quotes stays whole.
fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let is_bare_label = ["context=", "fscontext=", "defcontext=", "rootcontext="]
        .iter()
        .any(|key| {
            word.strip_prefix(key)
                .is_some_and(|value| !value.starts_with('"'))
        });
    let (mut quoted, mut escaped) = (false, false);
    word.split(move |letter: char| {
        let parts = letter == ',' && !quoted && !escaped && !is_bare_label;
        quoted ^= letter == '"';
        escaped = letter == '\\' && !escaped;
        parts
    })
    .filter(|piece| !piece.is_empty())
}

/// All options of one mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// `bind` or `rbind`.
    pub(crate) bind: Option<Depth>,
    /// `remount`.
    pub(crate) remount: bool,
    /// Whether a flag of the mount itself or of its superblock is named, to be set or cleared.
    pub(crate) names_flags: bool,
    /// Changes of the mount itself.
    pub(crate) top: Attributes,
    /// Changes of it and all below.
    pub(crate) tree: Attributes,
    /// Changes of propagation, in order.
    pub(crate) propagation: Vec<(Depth, Propagation)>,
    /// Flags of the superblock.
    pub(crate) superblock: Vec<Param>,
    /// Words that the table does not know, with their index.
    pub(crate) data: Vec<(usize, Param)>,
    /// `tmpcopyup`.
    pub(crate) copy_up: bool,
    /// `idmap` or `ridmap`.
    pub(crate) id_map: Option<Depth>,
    /// `copy-symlink`.
    pub(crate) copy_symlink: bool,
    /// `src-nofollow`.
    pub(crate) source: Follow,
    /// `dest-nofollow`.
    pub(crate) destination: Follow,
}

impl Options {
    /// The attributes that a new mount has.
    pub(crate) fn attributes(&self) -> MountAttr {
        self.top
            .set
            .difference(self.tree.clear)
            .union(self.tree.set)
    }
}

/// Whether a mount of the type `cgroup` or `cgroup2` is writable.
pub fn has_writable_cgroup(container: &Container) -> bool {
    let mut mounts = container.mounts.iter().filter(|mount| mount.is_cgroup());
    mounts.any(|mount| is_writable(&mount.options))
}

fn is_writable(words: &[String]) -> bool {
    read(words).is_ok_and(|options| !options.attributes().contains(MountAttr::RDONLY))
}

/// Reads the words in order.
///
/// # Errors
/// The index of a word with a NUL byte in it.
pub(crate) fn read(words: &[String]) -> Result<Options, usize> {
    let mut options = Options {
        bind: None,
        remount: false,
        names_flags: false,
        top: Attributes::default(),
        tree: Attributes::default(),
        propagation: Vec::new(),
        superblock: Vec::new(),
        data: Vec::new(),
        copy_up: false,
        id_map: None,
        copy_symlink: false,
        source: Follow::Yes,
        destination: Follow::Yes,
    };
    for (index, word) in words.iter().enumerate() {
        let Some((_, effect)) = WORDS.iter().find(|(name, _)| name == word) else {
            for piece in pieces(word) {
                let param = Param::parse(piece).map_err(|_nul| index)?;
                options.data.push((index, param));
            }
            continue;
        };
        options.names_flags |=
            matches!(effect, Effect::Attr(Depth::Top, ..) | Effect::Superblock(_));
        match *effect {
            Effect::Attr(Depth::Top, set, clear) => options.top.take(set, clear),
            Effect::Attr(Depth::Tree, set, clear) => options.tree.take(set, clear),
            Effect::Superblock(key) => options.superblock.push(Param::flag(key)),
            Effect::Propagate(depth, kind) => options.propagation.push((depth, kind)),
            // `rbind` and `bind`, in any order, are recursive.
            Effect::Bind(depth) if options.bind != Some(Depth::Tree) => options.bind = Some(depth),
            Effect::Bind(_) => {}
            Effect::Remount => options.remount = true,
            Effect::CopyUp => options.copy_up = true,
            Effect::IdMap(depth) => options.id_map = Some(depth),
            Effect::CopySymlink => options.copy_symlink = true,
            Effect::SourceNoFollow => options.source = Follow::No,
            Effect::DestinationNoFollow => options.destination = Follow::No,
            Effect::Nothing => {}
        }
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn the_table_is_sorted_and_says_each_word_once() {
        let names: Vec<_> = option_names().collect();
        let mut sorted = names.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(names, sorted);
    }

    #[test]
    fn the_last_word_says_whether_a_mount_is_writable() {
        for (list, writable) in [
            (&[][..], true),
            (&["ro"], false),
            (&["ro", "rw"], true),
            (&["rw", "ro"], false),
            (&["rro"], false),
            (&["ro", "rrw"], true),
        ] {
            assert_eq!(is_writable(&words(list)), writable, "{list:?}");
        }
    }

    /// config.md#linux-mount-options, and what the other runtimes add.
    #[test]
    fn every_word_of_the_specification_is_known() {
        let wanted = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud \
            mand noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime \
            nostrictatime nosuid nosymfollow private ratime rbind rdev rdiratime relatime remount \
            rexec rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid \
            rnosymfollow ro rprivate rrelatime rro rrw rshared rslave rstrictatime rsuid rsymfollow \
            runbindable rw shared silent slave strictatime suid symfollow sync tmpcopyup unbindable \
            idmap ridmap copy-symlink src-nofollow dest-nofollow rsync rasync rdirsync rmand rnomand";
        for word in wanted.split_whitespace() {
            assert!(option_names().any(|name| name == word), "{word}");
        }
        assert_eq!(option_names().count(), wanted.split_whitespace().count());
    }

    #[test]
    fn clearing_the_time_field_is_a_change() {
        let options = read(&words(&["rrelatime"])).unwrap();
        assert_eq!(options.tree.clear, MountAttr::ATIME);
        assert_eq!(options.tree.set, MountAttr::empty());
        assert!(options.top.is_empty());
    }

    #[test]
    fn a_negated_time_takes_back_only_its_own_word() {
        for (list, expected) in [
            (&["strictatime", "norelatime"][..], MountAttr::STRICTATIME),
            (&["strictatime", "atime"], MountAttr::STRICTATIME),
            (&["noatime", "norelatime"], MountAttr::NOATIME),
            (&["noatime", "nostrictatime"], MountAttr::NOATIME),
            (&["noatime", "atime"], NONE),
            (&["strictatime", "nostrictatime"], NONE),
            (&["strictatime", "noatime"], MountAttr::NOATIME),
            (&["noatime", "relatime"], NONE),
        ] {
            let options = read(&words(list)).unwrap();
            assert_eq!(options.attributes(), expected, "{list:?}");
            let recursive: Vec<_> = list.iter().map(|word| format!("r{word}")).collect();
            let options = read(&recursive).unwrap();
            assert_eq!(options.tree.set, expected, "{recursive:?}");
            assert_eq!(options.tree.clear, MountAttr::ATIME, "{recursive:?}");
        }
    }

    #[test]
    fn propagation_keeps_its_order() {
        let options = read(&words(&["rslave", "shared"])).unwrap();
        let expected = [(TREE, Propagation::Slave), (TOP, Propagation::Shared)];
        assert_eq!(options.propagation, expected);
    }

    #[test]
    fn unknown_words_are_data_with_their_index() {
        let options = read(&words(&["ro", "size=64k", "newinstance"])).unwrap();
        assert_eq!(options.data[0].0, 1);
        assert_eq!(options.data[0].1, Param::parse("size=64k").unwrap());
        assert_eq!(options.data[1].1, Param::flag(c"newinstance"));
        assert_eq!(read(&words(&["ro", "a\0b"])), Err(1));
    }

    #[test]
    fn one_word_may_hold_several_options() {
        for (word, expected) in [
            (
                "size=1m,nr_inodes=10",
                &["size=1m", "nr_inodes=10"] as &[&str],
            ),
            (",newinstance,,", &["newinstance"]),
            (
                r"lowerdir=/a\,b:/c,upperdir=/u",
                &[r"lowerdir=/a\,b:/c", "upperdir=/u"],
            ),
            (
                r"upperdir=/a\\,workdir=/w",
                &[r"upperdir=/a\\", "workdir=/w"],
            ),
            (
                r#"context="a:s0:c1,c2",mode=700"#,
                &[r#"context="a:s0:c1,c2""#, "mode=700"],
            ),
            ("context=a:s0:c1,c2", &["context=a:s0:c1,c2"]),
        ] {
            assert_eq!(pieces(word).collect::<Vec<_>>(), expected, "{word}");
        }
        let data = read(&words(&["ro", "size=1m,mode=700"])).unwrap().data;
        assert_eq!(data[1], (1, Param::parse("mode=700").unwrap()));
    }

    /// The family of a word: its bit, or the field of access times. The three words that negate a
    /// time are no members.
    fn family(word: &str) -> &str {
        match word {
            "ro" | "rw" => "ro",
            "suid" | "nosuid" => "suid",
            "dev" | "nodev" => "dev",
            "exec" | "noexec" => "exec",
            "diratime" | "nodiratime" => "diratime",
            "symfollow" | "nosymfollow" => "symfollow",
            _ => "atime",
        }
    }

    const PLAIN: [&str; 15] = [
        "ro",
        "rw",
        "suid",
        "nosuid",
        "dev",
        "nodev",
        "exec",
        "noexec",
        "diratime",
        "nodiratime",
        "symfollow",
        "nosymfollow",
        "noatime",
        "relatime",
        "strictatime",
    ];

    proptest! {
        #[test]
        fn the_last_word_of_a_family_wins(
            list in proptest::collection::vec(proptest::sample::select(PLAIN.to_vec()), 0..20),
            recursive in any::<bool>(),
        ) {
            let spelled = |word: &str| match (recursive, word) {
                (false, _) => word.to_owned(),
                (true, _) => format!("r{word}"),
            };
            let all: Vec<_> = list.iter().map(|word| spelled(word)).collect();
            let last: Vec<_> = list
                .iter()
                .enumerate()
                .filter(|(index, word)| {
                    list[index + 1..].iter().all(|later| family(later) != family(word))
                })
                .map(|(_, word)| spelled(word))
                .collect();
            let (all, last) = (read(&all).unwrap(), read(&last).unwrap());
            prop_assert_eq!(all.top, last.top);
            prop_assert_eq!(all.tree, last.tree);
            // No attribute is both set and cleared, except the field of access times.
            let both = all.top.set.intersection(all.top.clear);
            prop_assert!(MountAttr::ATIME.contains(both));
        }
    }
}
