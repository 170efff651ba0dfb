//! `--regex` of `kill` and `delete`: one command for all containers whose names match.
//!
//! The pattern may match anywhere in a name, as with crun. A container that cannot be signalled or
//! deleted is reported, and the others follow.

use super::Env;
use crate::error::Error;
use crate::exit::ExitCode;
use crate::state::{Access, ContainerId};
use regex_lite::Regex;

/// Does `act` to each container whose name matches `pattern`, in the order of the names.
///
/// # Errors
/// [`Error::Pattern`]. Nothing was done then. What `act` answers is reported, and the status is 1.
pub(super) fn each(
    pattern: &str,
    env: &Env,
    act: impl Fn(&ContainerId) -> Result<(), Error>,
) -> Result<ExitCode, Error> {
    let names = compile(pattern)?;
    let mut ids = env.store(Access::Look)?.ids()?;
    ids.retain(|id| names.is_match(id.as_str()));
    if ids.is_empty() {
        tracing::warn!("--regex {pattern:?} matches no container");
    }
    let mut code = ExitCode::SUCCESS;
    for id in &ids {
        if let Err(error) = act(id) {
            crate::log::failure(env.face, error.code(), &error.chain());
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn compile(pattern: &str) -> Result<Regex, Error> {
    let refused = |reason| Error::Pattern {
        pattern: pattern.to_owned(),
        reason,
    };
    // An unset variable of a script must not match every container.
    if pattern.is_empty() {
        return Err(refused("it is empty; \".*\" matches every name".to_owned()));
    }
    Regex::new(pattern).map_err(|error| refused(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_anywhere_in_a_name() {
        for (pattern, name, matches) in [
            ("web", "my-web-1", true),
            ("^web", "my-web-1", false),
            ("^web-[0-9]+$", "web-12", true),
            ("^(a|b)$", "b", true),
            ("[[:digit:]]{2}", "a1", false),
            (".", "x", true),
        ] {
            let found = compile(pattern).map(|regex| regex.is_match(name));
            assert_eq!(found.ok(), Some(matches), "{pattern:?} {name:?}");
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        for pattern in ["", "(", "*", "a{2,1}", "[b-a]"] {
            let error = compile(pattern).unwrap_err().to_string();
            let named = format!("--regex {pattern:?}: ");
            assert!(
                error.starts_with(&named) && error.len() > named.len(),
                "{error}"
            );
        }
    }
}
