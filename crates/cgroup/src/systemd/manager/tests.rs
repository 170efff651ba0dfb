use super::*;
use dbus::fake::{FakeBus, Reaction};
use dbus::{Header, Kind, Message};
use kernel::errno::chain;
use std::sync::{Arc, Mutex};
use std::time::Instant;

const JOB: &str = "/org/freedesktop/systemd1/job/7";

/// The members that were called.
type Log = Arc<Mutex<Vec<String>>>;

/// A systemd that reacts by `react` and logs the calls.
fn systemd(
    mut react: impl FnMut(&str, &Message) -> Vec<Reaction> + Send + 'static,
) -> (FakeBus, Log) {
    let log = Log::default();
    let calls = Arc::clone(&log);
    let bus = FakeBus::reacting(move |message| {
        let member = &*message.header.member;
        calls.lock().unwrap().push(member.to_owned());
        react(member, message)
    });
    (bus, log)
}

/// As patient as in use: a busy machine may need a second for the tests' own bus.
fn manager(bus: &FakeBus) -> Manager {
    Manager::at(&bus.address(), PATIENCE)
}

fn removed(job: &str, result: &str) -> Reaction {
    let body = vec![
        Value::U32(7),
        Value::Path(job.to_owned()),
        Value::text("x.scope"),
        Value::text(result),
    ];
    Reaction::Signal(PATH, MANAGER, "JobRemoved", body)
}

fn job() -> Reaction {
    Reaction::Reply(vec![Value::Path(JOB.to_owned())])
}

fn limit(pointer: &str) -> Property {
    Property {
        name: "MemoryMax".to_owned(),
        value: Value::U64(1),
        pointer: pointer.to_owned(),
    }
}

/// Answers questions about a unit in `state`.
fn in_state(member: &str, state: &str) -> Vec<Reaction> {
    match member {
        "GetUnit" => vec![Reaction::Reply(vec![Value::Path("/u".to_owned())])],
        "Get" => vec![Reaction::Reply(vec![Value::variant(Value::text(state))])],
        "ResetFailedUnit" => vec![Reaction::Reply(vec![])],
        other => panic!("{other}"),
    }
}

#[test]
fn a_unit_is_started_when_its_own_job_is_done() {
    let (bus, log) = systemd(|_member, message| {
        let body = message.body().unwrap();
        assert_eq!(body[0], Value::text("x.scope"));
        assert_eq!(body[1], Value::text("replace"));
        assert_eq!(body[2], pairs(&[limit("")]));
        assert_eq!(message.header.signature, "ssa(sv)a(sa(sv))");
        // The end of another job, and of this job before the answer: both happen.
        vec![
            removed("/org/freedesktop/systemd1/job/6", "failed"),
            removed(JOB, "done"),
            job(),
        ]
    });
    manager(&bus).start("x.scope", &[limit("")]).unwrap();
    assert_eq!(*log.lock().unwrap(), ["StartTransientUnit"]);
}

#[test]
fn a_failed_job_is_told_with_its_result() {
    for result in ["failed", "timeout", "canceled", "dependency"] {
        let (bus, _log) = systemd(move |_member, _message| vec![job(), removed(JOB, result)]);
        let error = manager(&bus).start("x.scope", &[]).unwrap_err();
        let text = chain(&error);
        assert!(
            text.contains("\"x.scope\"") && text.contains(result),
            "{text}"
        );
    }
}

#[test]
fn a_job_without_an_end_is_given_up_at_the_deadline() {
    let (bus, _log) = systemd(|_member, _message| vec![job()]);
    let start = Duration::from_secs(2);
    let mut manager = Manager::at(&bus.address(), Patience { start, ..PATIENCE });
    let begin = Instant::now();
    let text = chain(&manager.start("x.scope", &[]).unwrap_err());
    assert!(begin.elapsed() >= start);
    assert!(
        text.contains("did not answer within 2s (the start of the unit)"),
        "{text}"
    );
    assert!(text.contains(&bus.address().to_string()), "{text}");
}

#[test]
fn a_failed_unit_of_the_name_is_forgotten_first() {
    let mut is_there = true;
    let (bus, log) = systemd(move |member, _message| match member {
        "StartTransientUnit" if is_there => {
            vec![Reaction::Error(
                UNIT_EXISTS,
                "Unit x.scope was already loaded",
            )]
        }
        "StartTransientUnit" => vec![job(), removed(JOB, "done")],
        "ResetFailedUnit" => {
            is_there = false;
            in_state(member, "failed")
        }
        _ => in_state(member, "failed"),
    });
    manager(&bus).start("x.scope", &[]).unwrap();
    let calls = [
        "StartTransientUnit",
        "GetUnit",
        "Get",
        "ResetFailedUnit",
        "StartTransientUnit",
    ];
    assert_eq!(*log.lock().unwrap(), calls);
}

#[test]
fn a_living_unit_of_the_name_is_left_alone() {
    let (bus, log) = systemd(|member, _message| match member {
        "StartTransientUnit" => vec![Reaction::Error(UNIT_EXISTS, "there")],
        _ => in_state(member, "active"),
    });
    let error = manager(&bus).start("x.scope", &[]).unwrap_err();
    assert!(matches!(error, Error::UnitExists { .. }), "{error}");
    assert!(
        !log.lock()
            .unwrap()
            .iter()
            .any(|call| call.starts_with("Stop") || call.starts_with("Reset"))
    );
}

#[test]
fn a_unit_that_does_not_go_is_given_up() {
    let (bus, _log) = systemd(|member, _message| match member {
        "StartTransientUnit" => vec![Reaction::Error(UNIT_EXISTS, "there")],
        _ => in_state(member, "deactivating"),
    });
    let forget = Duration::from_millis(100);
    let mut manager = Manager::at(&bus.address(), Patience { forget, ..PATIENCE });
    let error = manager.start("x.scope", &[]).unwrap_err();
    assert!(error.to_string().contains("deactivating"), "{error}");
}

#[test]
fn a_refused_property_is_told_by_what_asks_for_it() {
    let table = [
        (
            "Value for MemoryMax is out of range",
            "/linux/resources/memory/limit: systemd refuses",
        ),
        ("Cannot set property MemoryMaximum", "systemd refuses"),
    ];
    for (answer, begin) in table {
        let (bus, _log) = systemd(move |_member, _message| {
            vec![Reaction::Error(
                "org.freedesktop.DBus.Error.InvalidArgs",
                answer,
            )]
        });
        let property = limit("/linux/resources/memory/limit");
        let property = std::slice::from_ref(&property);
        let started = manager(&bus).start("x.scope", property);
        let set = manager(&bus).set("x.scope", property);
        for error in [started, set] {
            let text = chain(&error.unwrap_err());
            assert!(text.starts_with(begin) && text.contains(answer), "{text}");
        }
    }
}

#[test]
fn a_unit_is_stopped_and_forgotten() {
    let (bus, log) = systemd(|member, _message| match member {
        "StopUnit" => vec![job(), removed(JOB, "done")],
        _ => in_state(member, "inactive"),
    });
    manager(&bus).stop("x.scope").unwrap();
    assert_eq!(*log.lock().unwrap(), ["StopUnit", "ResetFailedUnit"]);
    // A unit that no longer exists needs neither.
    let (bus, log) = systemd(|_member, _message| vec![Reaction::Error(NO_SUCH_UNIT, "not loaded")]);
    manager(&bus).stop("x.scope").unwrap();
    assert_eq!(*log.lock().unwrap(), ["StopUnit"]);
}

#[test]
fn a_stuck_stop_ends_at_its_deadline() {
    let (bus, _log) = systemd(|_member, _message| vec![]);
    let stop = Duration::from_millis(300);
    let mut manager = Manager::at(&bus.address(), Patience { stop, ..PATIENCE });
    let text = chain(&manager.stop("x.scope").unwrap_err());
    assert!(
        text.contains("did not answer within 300ms (StopUnit)"),
        "{text}"
    );
}

#[test]
fn a_systemd_that_goes_away_or_raves_is_told() {
    let (bus, _log) = systemd(|_member, _message| vec![Reaction::Close]);
    let text = chain(&manager(&bus).start("x.scope", &[]).unwrap_err());
    assert!(text.contains("closed the connection"), "{text}");
    let (bus, _log) = systemd(|_member, _message| vec![Reaction::Raw(vec![b'?'; 99])]);
    let text = chain(&manager(&bus).start("x.scope", &[]).unwrap_err());
    assert!(text.contains("invalid message"), "{text}");
    // Answers of other types than the documented ones.
    let (bus, _log) = systemd(|_member, _message| vec![Reaction::Reply(vec![Value::U32(1)])]);
    let mut odd = manager(&bus);
    assert!(matches!(
        odd.start("x.scope", &[]),
        Err(Error::Unexpected { .. })
    ));
    assert!(matches!(odd.version(), Err(Error::Unexpected { .. })));
    assert!(matches!(odd.control_group(), Err(Error::Unexpected { .. })));
    assert!(matches!(
        odd.active_state("x"),
        Err(Error::Unexpected { .. })
    ));
}

#[test]
fn a_signal_of_another_shape_is_no_end_of_a_job() {
    let (bus, _log) = systemd(|_member, _message| {
        vec![
            job(),
            Reaction::Signal(PATH, MANAGER, "JobRemoved", vec![Value::text(JOB)]),
            removed(JOB, "done"),
        ]
    });
    manager(&bus).start("x.scope", &[]).unwrap();
}

#[test]
fn versions_are_read_in_every_spelling() {
    for (text, version) in [
        ("257.13-1~deb13u1", 257),
        ("249", 249),
        ("v255.4", 255),
        ("systemd 252", 252),
    ] {
        let (bus, _log) = systemd(move |_member, _message| {
            vec![Reaction::Reply(vec![Value::variant(Value::text(text))])]
        });
        assert_eq!(manager(&bus).version().unwrap(), version);
    }
}

#[test]
fn the_own_process_is_in_sight() {
    let (bus, _log) = systemd(|_member, _message| vec![]);
    manager(&bus).check_sight().unwrap();
}

/// Messages about other units have no effect, not even a malformed signal.
#[test]
fn strange_signals_are_passed_over() {
    let (bus, _log) = systemd(|_member, _message| {
        let mut header = Header::new(Kind::Signal, 5);
        header.path = "/x".to_owned();
        header.interface = "org.example".to_owned();
        header.member = "Changed".to_owned();
        let mut bytes = Message::encode(header, &[Value::text("word")]);
        let end = bytes.len() - 1;
        bytes[end] = b'!'; // no NUL at the end of its text
        vec![Reaction::Raw(bytes), job(), removed(JOB, "done")]
    });
    manager(&bus).start("x.scope", &[]).unwrap();
}

#[test]
fn a_process_is_attached_below_the_unit() {
    let (bus, _log) = systemd(|member, message| {
        assert_eq!(member, "AttachProcessesToUnit");
        let pids = Value::Array("u".to_owned(), vec![Value::U32(77)]);
        let body = [Value::text("x.scope"), Value::text("/below"), pids];
        assert_eq!(message.body().unwrap(), body);
        vec![Reaction::Reply(vec![])]
    });
    manager(&bus).attach("x.scope", "/below", 77).unwrap();
}

#[test]
fn a_refused_attachment_names_the_process_and_the_unit() {
    let (bus, _log) = systemd(|_member, _message| {
        let name = "org.freedesktop.DBus.Error.AccessDenied";
        vec![Reaction::Error(name, "not yours")]
    });
    let text = chain(&manager(&bus).attach("x.scope", "/a", 77).unwrap_err());
    for word in ["process 77", "\"x.scope/a\"", "not yours"] {
        assert!(text.contains(word), "{text}");
    }
}
