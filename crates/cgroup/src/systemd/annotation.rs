//! `org.systemd.property.NAME`: properties of the scope that the configuration sets.

use dbus::Value;
use spec::diagnostic::escape;
use spec::{Code, Diagnostic};
use std::collections::BTreeMap;

use super::gvariant;
use super::property::Property;

const PREFIX: &str = "org.systemd.property.";

/// The sub-group of the scope that the container runs in; absent or empty: none.
const SUB_GROUP: &str = "run.oci.systemd.subgroup";

/// Properties that would put other processes into the container, or move the container elsewhere.
const RESERVED: &[&str] = &["PIDs", "PIDFDs", "Slice", "Delegate"];

/// Properties that start or stop other units, or change the host: see [systemd.unit(5)]. The other
/// dependencies are about the order, or about an end of the scope itself. `RefuseManualStop` would
/// keep `delete` from stopping the scope.
///
/// [systemd.unit(5)]: https://man7.org/linux/man-pages/man5/systemd.unit.5.html
const OUTSIDE: &[&str] = &[
    "BindsTo",
    "BoundBy",
    "ConflictedBy",
    "Conflicts",
    "ConsistsOf",
    "JoinsNamespaceOf",
    "NFTSet",
    "OnFailure",
    "OnFailureOf",
    "OnSuccess",
    "OnSuccessOf",
    "PropagatesReloadTo",
    "PropagatesStopTo",
    "RebootArgument",
    "RefuseManualStop",
    "RequiredBy",
    "Requires",
    "RequiresMountsFor",
    "RequiresOverridable",
    "RequisiteOf",
    "TriggeredBy",
    "Triggers",
    "UpheldBy",
    "Upholds",
    "WantedBy",
    "Wants",
    "WantsMountsFor",
];

/// Whether a property acts on more than the scope. Those whose names end with `Action` can end the
/// host: `SuccessAction`, `JobTimeoutAction`.
fn acts_outside(name: &str) -> bool {
    OUTSIDE.contains(&name) || name.ends_with("Action")
}

fn pointer(key: &str) -> String {
    format!("/annotations/{}", escape(key))
}

fn problem(code: Code, key: &str, message: String) -> Diagnostic {
    Diagnostic::new(code, pointer(key), message)
}

/// The properties that `annotations` set.
///
/// # Errors
/// An invalid name, a malformed value, or a property that the runtime sets itself; each with the
/// pointer of the annotation.
pub(crate) fn properties(
    annotations: &BTreeMap<String, String>,
) -> Result<Vec<Property>, Diagnostic> {
    let named = annotations.iter().filter_map(|(key, text)| {
        let name = key.strip_prefix(PREFIX)?;
        Some((key, name, text))
    });
    named
        .map(|(key, name, text)| property(key, name, text))
        .collect()
}

fn property(key: &str, name: &str, text: &str) -> Result<Property, Diagnostic> {
    if name.len() < 3 || !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        let message = format!(
            "{name:?} is not the name of a property: a name has at least three characters, all of them letters"
        );
        return Err(problem(Code::Range, key, message));
    }
    if RESERVED.contains(&name) {
        let message = format!("the property {name} is the runtime's own");
        return Err(problem(Code::Conflict, key, message));
    }
    if acts_outside(name) {
        let message = format!(
            "the property {name} acts on other units or on the host; an annotation can only change the container's scope"
        );
        return Err(problem(Code::Unsupported, key, message)
            .hint("give it to a unit of your own, or to the slice in linux.cgroupsPath"));
    }
    let value = gvariant::parse(text).map_err(|why| {
        let message = format!("{text:?} is not a value: {why}");
        problem(Code::Syntax, key, message)
            .hint("write it as GVariant text: 'word', true, uint64 5, ['a.service']")
    })?;
    let (name, value) = match seconds(name) {
        None => (name.to_owned(), value),
        Some(stem) => match microseconds(&value) {
            Some(value) => (format!("{stem}USec"), Value::U64(value)),
            None => {
                let message = format!(
                    "{text:?} is not a number of seconds that can be expressed in microseconds"
                );
                return Err(problem(Code::Range, key, message));
            }
        },
    };
    Ok(Property {
        name,
        value,
        pointer: pointer(key),
    })
}

/// The name without `Sec`, as in `TimeoutStopSec`; `None` for other names, such as
/// `TimeoutStopUSec`.
fn seconds(name: &str) -> Option<&str> {
    let stem = name.strip_suffix("Sec")?;
    stem.ends_with(|letter: char| letter.is_ascii_lowercase())
        .then_some(stem)
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "the range is looked at before"
)]
fn microseconds(value: &Value) -> Option<u64> {
    const MILLION: u64 = 1_000_000;
    let whole = match value {
        Value::Byte(number) => u64::from(*number),
        Value::U16(number) => u64::from(*number),
        Value::U32(number) => u64::from(*number),
        Value::U64(number) => *number,
        Value::I16(number) => u64::try_from(*number).ok()?,
        Value::I32(number) => u64::try_from(*number).ok()?,
        Value::I64(number) => u64::try_from(*number).ok()?,
        Value::Double(number) => {
            let scaled = number * MILLION as f64;
            return (scaled >= 0.0 && scaled < u64::MAX as f64).then_some(scaled as u64);
        }
        _ => return None,
    };
    whole.checked_mul(MILLION)
}

/// The sub-group of the scope that the container will run in.
///
/// # Errors
/// It is not a single name.
pub(crate) fn sub_group(
    annotations: &BTreeMap<String, String>,
) -> Result<Option<String>, Diagnostic> {
    let Some(name) = annotations.get(SUB_GROUP).filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let is_name = crate::name::components(name).is_ok_and(|names| names == [name.as_str()]);
    // A name with a dot may be the name of a file.
    if is_name && !name.contains('.') {
        return Ok(Some(name.clone()));
    }
    let message =
        format!("{name:?} is not the name of a group: expected a name without slashes and dots");
    Err(problem(Code::Path, SUB_GROUP, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn one(name: &str, text: &str) -> Result<(String, Value), Diagnostic> {
        let found = properties(&of(&[(&format!("{PREFIX}{name}"), text), ("a.b", "?")]))?;
        let [found] = &found[..] else {
            panic!("{found:?}");
        };
        Ok((found.name.clone(), found.value.clone()))
    }

    #[test]
    fn what_engines_send_becomes_properties() {
        let table = [
            ("KillSignal", "15", "KillSignal", Value::I32(15)),
            (
                "TimeoutStopUSec",
                "uint64 10000000",
                "TimeoutStopUSec",
                Value::U64(10_000_000),
            ),
            (
                "CollectMode",
                "'inactive-or-failed'",
                "CollectMode",
                Value::text("inactive-or-failed"),
            ),
            (
                "DefaultDependencies",
                "true",
                "DefaultDependencies",
                Value::Bool(true),
            ),
            (
                "After",
                "['crio.service']",
                "After",
                Value::texts(["crio.service"]),
            ),
        ];
        for (given, text, name, value) in table {
            assert_eq!(one(given, text).unwrap(), (name.to_owned(), value));
        }
    }

    #[test]
    fn seconds_become_microseconds() {
        for (text, value) in [
            ("15", 15_000_000),
            ("uint64 15", 15_000_000),
            ("byte 1", 1_000_000),
            ("1.5", 1_500_000),
            ("int16 2", 2_000_000),
        ] {
            let found = one("TimeoutStopSec", text).unwrap();
            assert_eq!(
                found,
                ("TimeoutStopUSec".to_owned(), Value::U64(value)),
                "{text}"
            );
        }
        assert_eq!(one("USec", "1").unwrap().0, "USec");
        for text in [
            "-1",
            "'15'",
            "-0.1",
            "uint64 18446744073709551615",
            "1e300",
            "true",
        ] {
            let error = one("TimeoutStopSec", text).unwrap_err();
            assert_eq!(
                error.pointer,
                "/annotations/org.systemd.property.TimeoutStopSec"
            );
            assert!(error.message.contains("not a number of seconds"), "{error}");
        }
    }

    #[test]
    fn bad_annotations_are_refused_with_their_pointer() {
        for (name, text, told) in [
            ("KillSignal", "fifteen", "is not a value"),
            ("KillSignal", "", "is missing"),
            ("AB", "1", "not the name of a property"),
            ("A_B", "1", "not the name of a property"),
            ("", "1", "not the name of a property"),
            ("PIDs", "@au [1]", "the runtime's own"),
            ("Slice", "'a.slice'", "the runtime's own"),
            ("SuccessAction", "'poweroff-force'", "acts on other units"),
            ("JobTimeoutAction", "'reboot'", "acts on other units"),
            ("Conflicts", "['ssh.service']", "acts on other units"),
            ("Wants", "['poweroff.target']", "acts on other units"),
            ("ConsistsOf", "['ssh.service']", "acts on other units"),
            ("PropagatesStopTo", "['ssh.service']", "acts on other units"),
            ("RefuseManualStop", "true", "acts on other units"),
        ] {
            let error = one(name, text).unwrap_err();
            assert_eq!(error.pointer, format!("/annotations/{PREFIX}{name}"));
            assert!(error.message.contains(told), "{error}");
        }
        let error = one("a/b", "1").unwrap_err();
        assert_eq!(error.pointer, "/annotations/org.systemd.property.a~1b");
    }

    #[test]
    fn a_sub_group_is_one_name() {
        let given = |name| sub_group(&of(&[(SUB_GROUP, name)]));
        assert_eq!(sub_group(&of(&[])).unwrap(), None);
        assert_eq!(given("").unwrap(), None);
        assert_eq!(given("container").unwrap().as_deref(), Some("container"));
        for name in ["..", ".", "a/b", "/a", "a/", "cgroup.procs", "a\nb"] {
            assert!(given(name).is_err(), "{name:?}");
        }
    }
}
