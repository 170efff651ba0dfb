use super::*;
use dbus::fake::{FakeBus, Reaction};

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
        properties: base("words".to_owned(), "system.slice"),
        annotated: Vec::new(),
        manager: RefCell::new(None),
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
    scope(&bus, "/nowhere").start(1).unwrap();
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
    let text = read_text("/proc/self/cgroup").unwrap();
    let (_controllers, own) = text.lines().find_map(membership).unwrap();
    let bus = begins_anew(exists);
    scope(&bus, own).start(pid).unwrap();
    let bus = begins_anew(exists);
    let error = scope(&bus, "/nowhere").start(pid).unwrap_err();
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
    scope.start(1).unwrap();
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
fn a_unit_survives_its_json_form() {
    let bus = FakeBus::closing();
    let mut unit = scope(&bus, "/").unit;
    unit.sub_group = Some("inner".to_owned());
    let text = serde_json::to_string(&unit).unwrap();
    assert_eq!(serde_json::from_str::<Unit>(&text).unwrap(), unit);
}
