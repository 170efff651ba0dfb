//! `hooks`: the six lists. Source: config.md#posix-platform-hooks.

use crate::container::{Hook, Hooks};
use crate::diagnostic::Code;
use crate::reader::Value;
use crate::validate::process::environment;

/// Reads `hooks`.
pub(crate) fn read(value: &Value<'_>) -> Hooks {
    value
        .object(|o| Hooks {
            prestart: o.list("prestart", hook),
            create_runtime: o.list("createRuntime", hook),
            create_container: o.list("createContainer", hook),
            start_container: o.list("startContainer", hook),
            poststart: o.list("poststart", hook),
            poststop: o.list("poststop", hook),
        })
        .unwrap_or_default()
}

fn hook(value: &Value<'_>) -> Option<Hook> {
    value.object(|o| {
        let path = o.required("path").and_then(|v| v.absolute());
        let mut args = o.texts("args");
        let env = o.get("env").is_some().then(|| environment(o));
        let timeout = o.get("timeout").and_then(|v| timeout(&v));
        let path = path?;
        if args.is_empty() {
            args = path.to_str().map(str::to_owned).into_iter().collect();
        }
        Some(Hook {
            path,
            args,
            env,
            timeout,
        })
    })?
}

fn timeout(value: &Value<'_>) -> Option<u32> {
    let seconds = value.number(i64::MIN..=i64::from(u32::MAX))?;
    if seconds < 1 {
        let message = format!("the timeout is {seconds} seconds, expected at least 1");
        return value.refuse_hint(Code::Range, message, "leave `timeout` out for no limit");
    }
    u32::try_from(seconds).ok()
}
