use super::*;
use crate::resources;
use dbus::fake::{FakeBus, Reaction};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

const JOB: &str = "/org/freedesktop/systemd1/job/7";

/// A scope of the systemd behind `bus`, whose group is at `path`.
fn scope(bus: &FakeBus, path: &str) -> Scope {
    Scope {
        unit: Unit {
            name: "x.scope".to_owned(),
            instance: Instance::System,
            bus: bus.address().to_string(),
            sub_group: None,
        },
        path: path.to_owned(),
        version: 257,
        base: base("words".to_owned(), "system.slice"),
        annotated: Vec::new(),
        limits: Vec::new(),
    }
}

fn done() -> Vec<Reaction> {
    let body = vec![
        Value::U32(7),
        Value::Path(JOB.to_owned()),
        Value::text("x.scope"),
        Value::text("done"),
    ];
    vec![
        Reaction::Reply(vec![Value::Path(JOB.to_owned())]),
        Reaction::Signal(
            "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager",
            "JobRemoved",
            body,
        ),
    ]
}

/// Closes at the first start, and reacts to the second by `second`.
fn begins_anew(second: impl Fn() -> Vec<Reaction> + Send + 'static) -> FakeBus {
    let mut is_first = true;
    FakeBus::reacting(move |message| match &*message.header.member {
        "StartTransientUnit" if std::mem::replace(&mut is_first, false) => vec![Reaction::Close],
        "StartTransientUnit" => second(),
        "GetUnit" => vec![Reaction::Reply(vec![Value::Path("/u".to_owned())])],
        "Get" => vec![Reaction::Reply(vec![Value::variant(Value::text("active"))])],
        _ => vec![Reaction::Reply(vec![])],
    })
}

#[test]
fn a_systemd_that_begins_anew_is_asked_again() {
    let bus = begins_anew(done);
    scope(&bus, "/nowhere").start(&Bus::default(), 1).unwrap();
}

#[test]
fn a_unit_that_was_made_before_is_told_by_its_process() {
    let exists = || {
        vec![Reaction::Error(
            "org.freedesktop.systemd1.UnitExists",
            "there",
        )]
    };
    let pid = i32::try_from(std::process::id()).unwrap();
    let text = read_proc("self/cgroup").unwrap();
    let (_controllers, own) = text.lines().find_map(membership).unwrap();
    let bus = begins_anew(exists);
    scope(&bus, own).start(&Bus::default(), pid).unwrap();
    let bus = begins_anew(exists);
    let error = scope(&bus, "/nowhere")
        .start(&Bus::default(), pid)
        .unwrap_err();
    assert!(matches!(error, Error::UnitExists { .. }), "{error}");
}

#[test]
fn an_annotation_wins_over_what_every_scope_has() {
    let bus = FakeBus::reacting(|message| match &*message.header.member {
        "StartTransientUnit" => {
            let body = format!("{:?}", message.body().unwrap());
            assert_eq!(body.matches("CollectMode").count(), 1, "{body}");
            assert!(body.contains("\"inactive\""), "{body}");
            done()
        }
        _ => vec![Reaction::Reply(vec![])],
    });
    let mut scope = scope(&bus, "/nowhere");
    scope.annotated = vec![Property::new("CollectMode", Value::text("inactive"))];
    scope.start(&Bus::default(), 1).unwrap();
}

/// systemd writes its limits again at every daemon-reload.
#[test]
fn an_annotation_does_not_change_what_the_configuration_limits() {
    let bus = FakeBus::reacting(|message| panic!("{message:?}"));
    let mut scope = scope(&bus, "/nowhere");
    let number = |name: &str, value| Property::new(name, Value::U64(value));
    scope.annotated = vec![
        number("MemoryMax", u64::MAX),
        number("MemoryMaxScale", u64::MAX),
        number("TasksMax", 7),
        Property::new("DevicePolicy", Value::text("auto")),
    ];
    let limits = resources::limits(0, "memory.max", "1", "");
    let devices = Devices::lower_v2(&spec::container::Resources::default());
    scope.limit(&limits, Some(&devices));
    let sent: Vec<_> = scope.properties().collect();
    let of = |name: &str| {
        let mut found = sent.iter().filter(|property| property.name == name);
        let value = found.next().map(|property| property.value.clone());
        assert_eq!(found.next(), None, "{name} once");
        value
    };
    assert_eq!(of("MemoryMax"), Some(Value::U64(1)));
    assert_eq!(of("TasksMax"), Some(Value::U64(7)));
    assert_eq!(of("DevicePolicy"), Some(Value::text("strict")));
    let at = |name: &str| sent.iter().position(|property| property.name == name);
    assert!(at("MemoryMaxScale") < at("MemoryMax"));
}

#[test]
fn no_other_unit_than_a_scope_is_stopped() {
    let bus = FakeBus::reacting(|message| panic!("{message:?}"));
    for name in ["ssh.service", "x.slice", "a/b.scope", "", "x.scope\n"] {
        let mut unit = scope(&bus, "/").unit;
        unit.name = name.to_owned();
        assert_eq!(unit.stop(), Remover::Runtime);
        assert!(
            matches!(unit.check(), Err(Error::NoScope { .. })),
            "{name:?}"
        );
    }
}

#[test]
fn a_systemd_that_begins_anew_is_asked_to_stop_again() {
    let stops = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&stops);
    let bus = FakeBus::reacting(move |message| match &*message.header.member {
        "StopUnit" if counter.fetch_add(1, Ordering::Relaxed) == 0 => vec![Reaction::Close],
        "StopUnit" => done(),
        _ => vec![Reaction::Reply(vec![])],
    });
    assert_eq!(scope(&bus, "/").unit.stop(), Remover::Runtime);
    assert_eq!(stops.load(Ordering::Relaxed), 2);
}

/// systemd does not change the policy of an existing unit, and refuses the whole call.
#[test]
fn an_update_does_not_tell_what_only_a_new_unit_takes() {
    let bus = FakeBus::reacting(|message| {
        let body = format!("{:?}", message.body().unwrap());
        assert!(!body.contains("OOMPolicy"), "{body}");
        match &*message.header.member {
            "Get" if body.contains("Version") => {
                vec![Reaction::Reply(vec![Value::variant(Value::text("257"))])]
            }
            "Get" => vec![Reaction::Reply(vec![Value::variant(Value::U64(1))])],
            "GetUnit" => vec![Reaction::Reply(vec![Value::Path("/u".to_owned())])],
            "SetUnitProperties" => {
                assert!(body.contains("MemoryMax"), "{body}");
                vec![Reaction::Reply(vec![])]
            }
            _ => vec![Reaction::Reply(vec![])],
        }
    });
    let unit = scope(&bus, "/").unit;
    let files = ["memory.max", "memory.oom.group"];
    let limits = files
        .map(|file| resources::limits(0, file, "1", ""))
        .concat();
    let told = Told::tell(&unit, &limits).unwrap();
    assert_eq!(told.former, [Property::new("MemoryMax", Value::U64(1))]);
}

/// systemd adds to a list. Without the empty list the new limit of a device would stay.
#[test]
fn a_list_is_emptied_before_its_former_entries_return() {
    let list = |entries: &[(&str, u64)]| {
        let pair = |(path, value): &(&str, u64)| {
            Value::Struct(vec![Value::text(*path), Value::U64(*value)])
        };
        Value::Array("(st)".to_owned(), entries.iter().map(pair).collect())
    };
    let former = list(&[("/dev/block/8:16", 9)]);
    let before = former.clone();
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    let bus = FakeBus::reacting(move |message| {
        let body = message.body().unwrap();
        let value = match &*message.header.member {
            "Get" if format!("{body:?}").contains("Version") => Value::text("257"),
            "Get" if format!("{body:?}").contains("MemoryMax") => Value::U64(5),
            "Get" => before.clone(),
            "GetUnit" => return vec![Reaction::Reply(vec![Value::Path("/u".to_owned())])],
            "SetUnitProperties" => {
                heard.lock().unwrap().push(body);
                return vec![Reaction::Reply(vec![])];
            }
            _ => return vec![Reaction::Reply(vec![])],
        };
        vec![Reaction::Reply(vec![Value::variant(value)])]
    });
    let unit = scope(&bus, "/").unit;
    let lines = [("memory.max", "1"), ("io.max", "8:0 rbps=5")];
    let limits = lines
        .map(|(file, line)| resources::limits(0, file, line, ""))
        .concat();
    Told::tell(&unit, &limits).unwrap().take_back();
    let pair = |(name, value): (&str, Value)| {
        Value::Struct(vec![Value::text(name), Value::variant(value)])
    };
    let name = "IOReadBandwidthMax";
    let expected = [
        ("MemoryMax", Value::U64(5)),
        (name, list(&[])),
        (name, former),
    ];
    let expected = Value::Array("(sv)".to_owned(), expected.map(pair).to_vec());
    let last = told.lock().unwrap().pop().unwrap();
    assert_eq!(last.last(), Some(&expected));
}

#[test]
fn a_unit_survives_its_json_form() {
    let bus = FakeBus::closing();
    let mut unit = scope(&bus, "/").unit;
    unit.sub_group = Some("inner".to_owned());
    let text = serde_json::to_string(&unit).unwrap();
    assert_eq!(serde_json::from_str::<Unit>(&text).unwrap(), unit);
}

#[test]
fn a_path_is_told_below_its_unit() {
    let bus = FakeBus::reacting(|_message| Vec::new());
    let unit = scope(&bus, "/").unit;
    assert_eq!(unit.below("/user.slice/x.scope"), "");
    assert_eq!(unit.below("/user.slice/x.scope/a/x.scope"), "/a/x.scope");
    assert_eq!(unit.below("/user.slice/ax.scope/a"), "");
}
