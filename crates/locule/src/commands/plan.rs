//! `plan`: what `create` or `exec` would do, from the same value that they carry out. `facts`: what
//! that of `create` depends on.

#![expect(
    clippy::disallowed_methods,
    reason = "files of the caller on the host; nothing is made"
)]

use super::{Env, exec};
use crate::args::{self, PlanFormat, Rootless};
use crate::error::{Error, print};
use crate::exit::ExitCode;
use launch::{Facts, Keyring, Plan, Request};
use serde_json::{Value, json};
use spec::load::{self, Host, Loaded};
use std::fs;
use std::io;
use std::path::{self, Path};

/// Prints the plan.
pub(crate) fn run(args: &args::Plan, env: &Env) -> Result<ExitCode, Error> {
    let (plan, warnings) = match args.exec {
        true => exec::plan(&args.process, env)?,
        false => of_bundle(args, env)?,
    };
    print(&match args.format {
        PlanFormat::Text => {
            let warnings = warnings
                .iter()
                .map(|warning| format!("warning: {warning}\n"));
            format!("{}{plan}", warnings.collect::<String>())
        }
        PlanFormat::Json => {
            let mut answer = plan.to_json();
            if let Value::Object(rooms) = &mut answer {
                rooms.insert("warnings".to_owned(), json!(warnings));
            }
            serde_json::to_string_pretty(&answer)? + "\n"
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// What `create` would do, and the warnings.
fn of_bundle(args: &args::Plan, env: &Env) -> Result<(Box<Plan>, Vec<String>), Error> {
    let facts = args.facts.as_deref().map(read).transpose()?;
    let mut loaded = load(args, facts.as_ref())?;
    env.annotate(&mut loaded.container);
    let rootless = match (env.rootless_option, &facts) {
        (Rootless::Auto, Some(facts)) => !facts.caller.is_host_root(),
        _ => env.rootless,
    };
    let id = args.id();
    let request = Request {
        container: &loaded.container,
        id: &id,
        manager: env.cgroup_manager,
        pivot: rootfs::Pivot::PivotRoot,
        keyring: Keyring::New,
        keep_fds: 0,
        listen_fds: 0,
        rootless,
    };
    let facts = match facts {
        Some(facts) => facts,
        None => Facts::probe_for(&request)?.0,
    };
    let (plan, warnings) = Plan::lower(&request, &facts)?;
    let loaded = loaded.warnings.iter().map(ToString::to_string);
    Ok((plan, loaded.chain(warnings).collect()))
}

/// Logs the warnings of a plan that is about to be carried out, and with `--log-level debug` its
/// lines.
pub(super) fn log(plan: &Plan, warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if tracing::enabled!(tracing::Level::DEBUG) {
        for line in plan.to_string().lines() {
            tracing::debug!("{line}");
        }
    }
}

/// Prints the facts.
pub(crate) fn facts(_: &args::Facts, _: &Env) -> Result<ExitCode, Error> {
    print(&(serde_json::to_string_pretty(&Facts::probe()?)? + "\n"))?;
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<Facts, Error> {
    let failed = |source| Error::Facts {
        path: path.to_owned(),
        source,
    };
    let text = fs::read(path).map_err(failed)?;
    serde_json::from_slice(&text).map_err(|error| failed(io::Error::other(error)))
}

/// For another host only the given facts count.
fn load(args: &args::Plan, facts: Option<&Facts>) -> Result<Loaded, Error> {
    let name = args.config.as_deref().unwrap_or(Path::new(load::CONFIG));
    if facts.is_none() {
        return Ok(load::load(&args.bundle, name)?);
    }
    let config = args.bundle.join(name);
    let failed = |source| Error::Facts {
        path: config.clone(),
        source,
    };
    let bundle = path::absolute(&args.bundle).map_err(failed)?;
    let bytes = fs::read(&config).map_err(failed)?;
    load::parse(&bytes, &bundle, Host::Ignore).map_err(|report| failed(io::Error::other(report)))
}
