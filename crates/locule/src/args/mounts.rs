//! Options of `mounts`.

use clap::Args;
use std::path::Path;

/// `mounts`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(
    override_usage = "locule mounts (add|remove) ID FILE\n       locule mounts list ID",
    after_help = "Example:\n  locule mounts add box1 mounts.json; locule mounts list box1; locule mounts remove box1 mounts.json\n\n\
        FILE has a list like `mounts` of a configuration, of bind mounts and mounts of type tmpfs. All of its \
        mounts are added, or none. `remove` takes away only what `add` has made, the last one at a destination \
        first. `list` prints the destinations as JSON."
)]
pub(crate) struct Mounts {
    /// What to do, the container's name in the state directory, and the list of mounts
    #[arg(value_name = "ACTION ID [FILE]")]
    words: Vec<String>,
}

impl Mounts {
    /// What to do, as typed.
    pub(crate) fn action(&self) -> &str {
        super::word(&self.words, 0)
    }

    /// The container's name, as typed.
    pub(crate) fn id(&self) -> &str {
        super::word(&self.words, 1)
    }

    /// The list of mounts.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.words.get(2).map(Path::new)
    }
}
