//! `linux.intelRdt`: groups of resctrl. Source: config-linux.md#intelrdt.

use crate::container::IntelRdt;
use crate::diagnostic::Code;
use crate::quote::quote;
use crate::reader::Value;
use crate::validate::given;

/// The directories of the file system that are no groups.
const RESERVED: [&str; 3] = ["info", "mon_groups", "mon_data"];
/// NAME_MAX of linux/limits.h.
const LENGTH: usize = 255;

/// Reads `linux.intelRdt`.
pub(super) fn read(value: &Value<'_>) -> Option<IntelRdt> {
    value.object(|o| {
        // Version 1.3 of the specification has removed them; no runtime has done anything with
        // them.
        o.ignore(&["enableCMT", "enableMBM"]);
        IntelRdt {
            clos_id: given(o, "closID").and_then(|v| clos_id(&v)),
            l3_cache_schema: given(o, "l3CacheSchema").and_then(|v| l3_cache(&v)),
            mem_bw_schema: given(o, "memBwSchema").and_then(|v| memory(&v)),
            schemata: o.list("schemata", |item| line(item).map(str::to_owned)),
            monitoring: o.flag("enableMonitoring").unwrap_or_default(),
        }
    })
}

fn clos_id(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    let fault = match text {
        "/" => None,
        "." | ".." => Some("it leads to another directory"),
        _ if text.contains('/') => Some("it contains `/`; only \"/\" alone means the root group"),
        _ if text.chars().any(char::is_control) => Some("it contains control characters"),
        _ if text.len() > LENGTH => Some("it has more than 255 bytes"),
        _ if RESERVED.contains(&text) => Some("resctrl has a directory with this name"),
        _ => None,
    };
    if let Some(fault) = fault {
        let message = format!("{} cannot be the name of a group: {fault}", quote(text));
        return value.refuse(Code::Range, message);
    }
    Some(text.to_owned())
}

/// "The value SHOULD start with `L3:` and SHOULD NOT contain newlines": with code and data
/// prioritization there are two lines.
fn l3_cache(value: &Value<'_>) -> Option<String> {
    let text = value.text()?;
    for line in text.lines() {
        if !line.trim_start().starts_with("L3") {
            let message = format!("{} does not begin with `L3`", quote(line));
            value.warn(Code::UnknownValue, message);
        }
    }
    Some(text.to_owned())
}

fn memory(value: &Value<'_>) -> Option<String> {
    let text = line(value)?;
    if !text.starts_with("MB:") {
        let message = format!("{} does not begin with `MB:`", quote(text));
        return value.refuse(Code::Range, message);
    }
    Some(text.to_owned())
}

/// One line for the file `schemata`.
fn line<'v>(value: &Value<'v>) -> Option<&'v str> {
    let text = value.filled()?;
    if text.contains('\n') {
        let message = format!("{} contains a newline", quote(text));
        return value.refuse(Code::Range, message);
    }
    Some(text)
}
