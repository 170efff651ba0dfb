//! Completion for shells and man pages, from the one definition of the command line.
//!
//! Made by a test, so that nothing of the generators is in the program: `just pages` keeps what the
//! test has made and checked. With LOCULE_PAGES in the environment that is the directory for it.

use super::definition::shown;
use clap::Command;
use clap_complete::{Shell, generate_to};
use std::path::{Path, PathBuf};
use std::{env, fs, process};

/// Where the pages go, and whether they stay.
struct Pages {
    directory: PathBuf,
    stay: bool,
}

impl Pages {
    /// Makes everything below `name` in a directory of the test's, or the one that the environment
    /// names.
    fn make(name: &str) -> Self {
        let given = env::var_os("LOCULE_PAGES").map(PathBuf::from);
        let own = env::temp_dir().join(format!("locule-pages-{}", process::id()));
        let directory = given.clone().unwrap_or(own).join(name);
        fs::create_dir_all(&directory).unwrap();
        Self {
            directory,
            stay: given.is_some(),
        }
    }

    fn read(&self, name: &str) -> String {
        let path = self.directory.join(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if !self.stay {
            let _nothing_more_to_do = fs::remove_dir_all(&self.directory);
            // Not while the other test has files there.
            let _not_empty = self.directory.parent().map(fs::remove_dir);
        }
    }
}

/// Every command that is shown, with the words that lead to it: `locule`, `seccomp`, `lint`.
fn commands(command: &Command, above: &[String]) -> Vec<(Vec<String>, Command)> {
    let words = [above, &[command.get_name().to_owned()]].concat();
    let below = command.get_subcommands().filter(|c| !c.is_hide_set());
    let below: Vec<_> = below.flat_map(|c| commands(c, &words)).collect();
    [vec![(words, command.clone())], below].concat()
}

/// The long options of a command that are shown.
fn options(command: &Command) -> impl Iterator<Item = &str> {
    let shown = command
        .get_arguments()
        .filter(|option| !option.is_hide_set());
    shown.filter_map(|option| option.get_long())
}

#[test]
fn there_is_a_man_page_for_every_command_with_every_option() {
    let pages = Pages::make("man");
    clap_mangen::generate_to(shown(), &pages.directory).unwrap();
    let all = commands(&shown(), &[]);
    assert!(all.len() > 20, "{}", all.len());
    for (words, command) in &all {
        // In roff a hyphen that is to be copied is written with a backslash.
        let page = pages
            .read(&format!("{}.1", words.join("-")))
            .replace("\\-", "-");
        for option in options(command) {
            assert!(
                page.contains(&format!("--{option}")),
                "{words:?}: --{option}"
            );
        }
        assert!(page.contains("Example"), "{words:?}");
    }
    let made = fs::read_dir(&pages.directory).unwrap().count();
    assert!(pages.stay || made == all.len(), "{made} pages");
}

#[test]
fn shells_complete_every_command_and_option() {
    let pages = Pages::make("completion");
    let all = commands(&shown(), &[]);
    for (shell, file, mark) in [
        (Shell::Bash, "locule.bash", "--"),
        (Shell::Zsh, "_locule", "--"),
        (Shell::Fish, "locule.fish", "-l "),
    ] {
        generate_to(shell, &mut shown(), "locule", &pages.directory).unwrap();
        let text = pages.read(file);
        for (words, command) in &all {
            assert!(text.contains(&words[words.len() - 1]), "{file}: {words:?}");
            for option in options(command) {
                let option = format!("{mark}{option}");
                assert!(text.contains(&option), "{file}: {words:?} {option}");
            }
        }
    }
    let file = pages.directory.join("locule.bash");
    assert_eq!(completed(&file, "locule fea"), ["features"]);
    assert_eq!(
        completed(&file, "locule create --pid"),
        ["--pid-file", "--pidfd-socket"]
    );
    assert_eq!(completed(&file, "locule seccomp li"), ["lint"]);
    assert!(completed(&file, "locule ini").is_empty());
}

/// What bash offers for the last word of a line.
fn completed(file: &Path, line: &str) -> Vec<String> {
    let script = "source \"$0\"; COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); \
        _locule locule \"${COMP_WORDS[COMP_CWORD]}\" \"${COMP_WORDS[COMP_CWORD - 1]}\"; \
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let bash = process::Command::new("bash")
        .args(["-c", script])
        .arg(file)
        .arg(line)
        .output()
        .unwrap();
    let complaints = String::from_utf8_lossy(&bash.stderr);
    assert!(bash.status.success(), "{complaints}");
    let offered = String::from_utf8_lossy(&bash.stdout);
    let mut offered: Vec<_> = offered
        .lines()
        .filter(|w| !w.is_empty())
        .map(str::to_owned)
        .collect();
    offered.sort_unstable();
    offered
}
