//! `list`: all containers of the state directory.
//!
//! An entry that cannot be read is skipped with a message: one damaged directory must not hide the
//! others.

#![expect(
    clippy::disallowed_methods,
    reason = "the state root's existence, on the host"
)]

use super::Env;
use super::state::Report;
use crate::args::{self, ListFormat};
use crate::error::{Error, print};
use crate::state::{self, Access, ContainerId, Lock, Record, Store};
use crate::status::{Status, observe};
use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::process::ExitCode;

/// One line of the list.
#[derive(Debug)]
struct Listed {
    record: Record,
    status: Status,
    owner: String,
}

/// Prints the list.
pub(crate) fn run(args: &args::List, env: &Env) -> Result<ExitCode, Error> {
    let store = env.store(Access::Look)?;
    if env.root.is_some() && !store.exists() {
        return Err(Error::NoRoot {
            path: store.path().to_owned(),
        });
    }
    let ids = store.ids()?;
    if args.quiet {
        print(
            &ids.iter()
                .fold(String::new(), |text, id| text + id.as_str() + "\n"),
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let users = users(&fs::read_to_string("/etc/passwd").unwrap_or_default());
    let mut listed = Vec::new();
    for id in &ids {
        match look(&store, id) {
            Ok((record, status)) => listed.push(Listed {
                owner: match users.get(&record.owner) {
                    Some(name) => name.clone(),
                    None => format!("#{}", record.owner),
                },
                record,
                status,
            }),
            // Deleted since its name was read.
            Err(Error::State(state::Error::Absent { .. })) => {}
            Err(error) => {
                tracing::error!(
                    code = error.code(),
                    "container {id} is skipped: {}",
                    error.chain()
                );
            }
        }
    }
    match args.format {
        ListFormat::Json => print(&json(&listed)?)?,
        ListFormat::Table => print(&table(&listed))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn look(store: &Store, id: &ContainerId) -> Result<(Record, Status), Error> {
    let entry = store.container(id, Lock::None)?;
    let mut record = entry.record()?;
    let status = observe(&entry, &mut record)?.status;
    Ok((record, status))
}

/// User names by id, as /etc/passwd has them; the first line of an id counts.
fn users(passwd: &str) -> HashMap<u32, String> {
    let mut users = HashMap::new();
    for line in passwd.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(Ok(uid))) = (fields.next(), fields.nth(1).map(str::parse)) {
            users.entry(uid).or_insert_with(|| name.to_owned());
        }
    }
    users
}

/// One array on one line.
fn json(listed: &[Listed]) -> Result<String, Error> {
    let reports: Vec<_> = listed
        .iter()
        .map(|one| Report::new(&one.record, one.status, &one.owner))
        .collect();
    Ok(serde_json::to_string(&reports)? + "\n")
}

/// Columns are at least 12 characters wide, with at least 3 spaces between them. Programs rely on
/// this.
fn table(listed: &[Listed]) -> String {
    const LEAST: usize = 12;
    const BETWEEN: usize = 3;
    let heading = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = listed.iter().map(|one| {
        let report = Report::new(&one.record, one.status, &one.owner);
        [
            report.id.to_owned(),
            report.pid.to_string(),
            report.status.to_owned(),
            crate::log::visible(&report.bundle.display().to_string()),
            report.created.to_owned(),
            one.owner.clone(),
        ]
    });
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count() + BETWEEN)
            .fold(LEAST, usize::max)
    };
    let widths: Vec<_> = (0..5).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
            // The last column has no padding.
            let width = widths.get(column).copied().unwrap_or(0);
            // Writing to a string does not fail.
            let _ = write!(text, "{cell:<width$}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn listed(id: &str, status: Status) -> Listed {
        let mut record = testing::record(id);
        record.set_process(4711, 1);
        Listed {
            record,
            status,
            owner: "root".to_owned(),
        }
    }

    #[test]
    fn an_empty_table_is_a_heading_of_twelve_wide_columns() {
        assert_eq!(
            table(&[]),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        );
    }

    #[test]
    fn columns_grow_with_their_content() {
        assert_eq!(
            table(&[
                listed("a-rather-long-name", Status::Running),
                listed("b", Status::Stopped)
            ]),
            "ID                   PID         STATUS      BUNDLE      CREATED                          OWNER\n\
             a-rather-long-name   4711        running     /b          2026-01-02T03:04:05.000000006Z   root\n\
             b                    0           stopped     /b          2026-01-02T03:04:05.000000006Z   root\n"
        );
    }

    #[test]
    fn json_is_one_array_on_one_line() {
        assert_eq!(json(&[]).unwrap(), "[]\n");
        let text = json(&[listed("a", Status::Paused), listed("b", Status::Created)]).unwrap();
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value[0]["status"], "paused");
        assert_eq!(value[1]["owner"], "root");
        assert_eq!(value[1]["pid"], 4711);
    }

    #[test]
    fn user_names_come_from_the_first_line_of_an_id() {
        let users = users("root:x:0:0::/:/bin/sh\ntoor:x:0:0\n\nbad\nx:y:z\nu:x:1000:1000:::\n");
        assert_eq!(users.get(&0).unwrap(), "root");
        assert_eq!(users.get(&1000).unwrap(), "u");
        assert_eq!(users.len(), 2);
    }
}
