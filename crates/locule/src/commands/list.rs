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
use crate::exit::ExitCode;
use crate::face::{Array, Face};
use crate::state::{self, Access, ContainerId, Lock, Record, Store};
use crate::status::{Status, observe};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

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
    let users = Users::read();
    let mut listed = Vec::new();
    for id in &ids {
        match look(&store, id) {
            Ok((record, status)) => listed.push(Listed {
                owner: users.name(record.owner),
                record,
                status,
            }),
            // Deleted since its name was read.
            Err(Error::State(state::Error::Absent { .. })) => {}
            Err(error) => {
                let subject = match &error {
                    // Names the container.
                    Error::State(_) => String::new(),
                    _ => format!("container {id}: "),
                };
                let (code, chain) = (error.code(), error.chain());
                tracing::error!(code, "skipped: {subject}{chain}");
            }
        }
    }
    match args.format {
        ListFormat::Json => print(&json(&listed, env.face)?)?,
        ListFormat::Table => print(&table(&listed, env.face))?,
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
#[derive(Debug)]
pub(super) struct Users(BTreeMap<u32, String>);

impl Users {
    /// Those of this host.
    pub(super) fn read() -> Self {
        Self::of(&fs::read_to_string("/etc/passwd").unwrap_or_default())
    }

    fn of(passwd: &str) -> Self {
        let mut users = BTreeMap::new();
        for line in passwd.lines() {
            let mut fields = line.split(':');
            if let (Some(name), Some(Ok(uid))) = (fields.next(), fields.nth(1).map(str::parse)) {
                users.entry(uid).or_insert_with(|| name.to_owned());
            }
        }
        Self(users)
    }

    /// The name, or the id after a `#`.
    pub(super) fn name(&self, uid: u32) -> String {
        self.0
            .get(&uid)
            .cloned()
            .unwrap_or_else(|| format!("#{uid}"))
    }
}

/// One array.
fn json(listed: &[Listed], face: &Face) -> Result<String, Error> {
    if listed.is_empty() {
        return Ok(format!("{}\n", face.list.empty));
    }
    let reports: Vec<_> = listed
        .iter()
        .map(|one| Report::new(&one.record, one.status, &one.owner, &face.state))
        .collect();
    array(&reports, face)
}

/// A JSON array, as `face` prints it.
pub(super) fn array(values: &impl Serialize, face: &Face) -> Result<String, Error> {
    let text = match face.array {
        Array::Line => serde_json::to_string(values),
        Array::Lines => serde_json::to_string_pretty(values),
    };
    Ok(text? + "\n")
}

/// Programs rely on the headings, the least widths and the spaces between columns.
fn table(listed: &[Listed], face: &Face) -> String {
    let columns = &face.list.columns;
    let heading = columns.map(|(heading, _)| heading.to_owned());
    let rows = listed.iter().map(|one| {
        let report = Report::new(&one.record, one.status, &one.owner, &face.state);
        [
            report.id.to_owned(),
            report.pid.map_or_else(String::new, |pid| pid.to_string()),
            report.status.to_owned(),
            spec::quote::visible(&report.bundle.display().to_string()),
            report.created.to_owned(),
            one.owner.clone(),
        ]
    });
    let rows: Vec<_> = [heading].into_iter().chain(rows).collect();
    let width = |column: usize, least: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count() + face.list.between)
            .fold(least, usize::max)
    };
    // The last column has no padding.
    let padded = columns.iter().take(columns.len() - 1).enumerate();
    let widths: Vec<_> = padded
        .map(|(column, (_, least))| width(column, *least))
        .collect();
    let mut text = String::new();
    for row in &rows {
        for (column, cell) in row.iter().enumerate() {
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
    use crate::face::{named, own};
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
            table(&[], own()),
            "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"
        );
    }

    #[test]
    fn columns_grow_with_their_content() {
        assert_eq!(
            table(
                &[
                    listed("a-rather-long-name", Status::Running),
                    listed("b", Status::Stopped)
                ],
                own()
            ),
            "ID                   PID         STATUS      BUNDLE      CREATED                          OWNER\n\
             a-rather-long-name   4711        running     /b          2026-01-02T03:04:05.000000006Z   root\n\
             b                    0           stopped     /b          2026-01-02T03:04:05.000000006Z   root\n"
        );
    }

    #[test]
    fn json_is_one_array_on_one_line() {
        assert_eq!(json(&[], own()).unwrap(), "[]\n");
        let text = json(
            &[listed("a", Status::Paused), listed("b", Status::Created)],
            own(),
        )
        .unwrap();
        assert_eq!(text.lines().count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value[0]["status"], "paused");
        assert_eq!(value[1]["owner"], "root");
        assert_eq!(value[1]["pid"], 4711);
    }

    #[test]
    fn faces_have_their_own_tables() {
        let all = [listed("b", Status::Stopped)];
        let text = table(&all, named("crun").unwrap());
        let (heading, line) = text.split_once('\n').unwrap();
        assert_eq!(
            heading,
            "NAME PID       STATUS   BUNDLE PATH                             \
             CREATED                        OWNER"
        );
        assert!(
            line.starts_with("b    0         stopped  /b       "),
            "{line}"
        );
        let text = table(&all, named("youki").unwrap());
        assert_eq!(
            text,
            "ID  PID  STATUS   BUNDLE  CREATED                         CREATOR\n\
             b        stopped  /b      2026-01-02T03:04:05.000000006Z  root\n"
        );
        assert_eq!(json(&[], named("runc").unwrap()).unwrap(), "null\n");
    }

    #[test]
    fn user_names_come_from_the_first_line_of_an_id() {
        let users =
            Users::of("root:x:0:0::/:/bin/sh\ntoor:x:0:0\n\nbad\nx:y:z\nu:x:1000:1000:::\n");
        assert_eq!(users.name(0), "root");
        assert_eq!(users.name(1000), "u");
        assert_eq!(users.name(7), "#7");
    }
}
