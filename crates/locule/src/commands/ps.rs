//! `ps`: the processes of a container.
//!
//! The cgroup and its sub-groups say which processes these are. The host's `ps` prints them. Its
//! standard error is used for an error message only.

use super::list::array;
use super::{Env, own_group};
use crate::args::{self, ListFormat};
use crate::error::{Error, print};
use crate::exit::ExitCode;
use crate::face::Processes;
use crate::state::Lock;
use std::ffi::OsStr;
use std::process::{Command, Stdio};

/// Prints the processes of one container.
pub(crate) fn run(args: &args::Ps, env: &Env) -> Result<ExitCode, Error> {
    let (entry, record, _) = env.look_up(&args.id(), Lock::None)?;
    let pids = own_group(&record, entry.id(), "list the processes of")?.pids()?;
    match args.format {
        ListFormat::Json => print(&array(&pids, env.face)?)?,
        ListFormat::Table => print(&match env.face.processes {
            Processes::Listed => table(&listing(&args.options())?, &pids)?,
            Processes::Numbered => numbers(&pids),
        })?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A heading and the process ids.
fn numbers(pids: &[i32]) -> String {
    let lines = pids.iter().map(|pid| format!("{pid}\n"));
    ["PID\n".to_owned()].into_iter().chain(lines).collect()
}

/// What the host's `ps` prints.
fn listing(options: &[&OsStr]) -> Result<String, Error> {
    let output = Command::new("ps")
        .args(options)
        .stdin(Stdio::null())
        .output()
        .map_err(Error::Ps)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let text = spec::quote::visible(text.lines().next().unwrap_or("no message"));
        let status = output.status;
        return Err(Error::PsFailed { status, text });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The heading and the lines of `listing` that are about `pids`. A line without a process id ("-")
/// is a thread of the process above it.
fn table(listing: &str, pids: &[i32]) -> Result<String, Error> {
    let odd = |reason: String| Error::PsOdd { reason };
    let mut lines = listing.lines();
    let heading = lines
        .next()
        .ok_or_else(|| odd("its output is empty".to_owned()))?;
    let column = heading
        .split_whitespace()
        .position(|name| name == "PID")
        .ok_or_else(|| odd(format!("its heading is {heading:?}")))?;
    let mut kept = format!("{heading}\n");
    let mut is_ours = false;
    for line in lines {
        let Some(field) = line.split_whitespace().nth(column) else {
            continue;
        };
        if field != "-" {
            let pid = field.parse().map_err(|_no_number| {
                odd(format!("column {} of {line:?} is not a number", column + 1))
            })?;
            is_ours = pids.contains(&pid);
        }
        if is_ours {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "UID          PID    PPID CMD\n\
        root           1       0 /sbin/init 17\n\
        42            17       1 sleep 1\n\
        root         170      17 sh -c 1\n";

    #[test]
    fn the_heading_and_the_lines_of_the_processes_are_kept() {
        assert_eq!(
            table(LISTING, &[17, 170, 5]).unwrap(),
            "UID          PID    PPID CMD\n\
             42            17       1 sleep 1\n\
             root         170      17 sh -c 1\n"
        );
        assert_eq!(
            table(LISTING, &[]).unwrap(),
            "UID          PID    PPID CMD\n"
        );
    }

    #[test]
    fn numbers_stand_below_a_heading() {
        assert_eq!(numbers(&[5, 70]), "PID\n5\n70\n");
    }

    #[test]
    fn a_thread_belongs_to_the_process_above_it() {
        let listing = "  PID TTY CMD\n    7 ?   a\n    - -   -\n    8 ?   b\n    - -   -\n";
        let kept = table(listing, &[8]).unwrap();
        assert_eq!(kept, "  PID TTY CMD\n    8 ?   b\n    - -   -\n");
    }

    #[test]
    fn output_without_process_ids_is_refused_by_its_line() {
        for (listing, words) in [
            ("", "its output is empty"),
            ("COMMAND\nsleep\n", "its heading is \"COMMAND\""),
            ("COMMAND PID\na b 7\n", "column 2 of \"a b 7\""),
        ] {
            let told = table(listing, &[7]).unwrap_err().to_string();
            assert!(told.contains(words), "{told}");
        }
    }

    #[test]
    fn what_the_hosts_ps_refuses_is_told() {
        let told = listing(&[OsStr::new("--frobnicate")]).unwrap_err();
        assert!(matches!(told, Error::PsFailed { .. }), "{told}");
        assert!(told.to_string().contains("exit status"), "{told}");
    }
}
