use super::*;
use crate::fake::{FakeBus, Reaction};
use std::os::unix::net::UnixListener;
use std::path::Path;

const SHORT: Duration = Duration::from_millis(200);
const LONG: Duration = Duration::from_secs(10);

const PING: Call<'_> = Call {
    destination: "org.example",
    path: "/a",
    interface: "org.example.Peer",
    member: "Ping",
    body: &[],
};

fn open(bus: &FakeBus, peer: Peer) -> Result<Connection, Error> {
    Connection::open(&bus.address(), peer, Deadline::after(LONG))
}

/// The message of the error of a call of `Ping`.
fn failure(bus: &FakeBus, within: Duration) -> String {
    let mut connection = open(bus, Peer::Direct).unwrap();
    let error = connection.call(&PING, Deadline::after(within));
    error.unwrap_err().to_string()
}

#[test]
fn a_call_gives_its_reply_and_not_that_of_another() {
    let bus = FakeBus::reacting(|message| {
        let mut stray = Header::new(Kind::Reply, 90);
        stray.reply_to = message.header.serial + 1;
        vec![
            Reaction::Raw(Message::encode(stray, &[Value::text("stray")])),
            Reaction::Raw(Message::encode(Header::new(Kind::Other(9), 91), &[])),
            Reaction::Reply(vec![Value::text(message.header.member.clone())]),
        ]
    });
    let mut connection = open(&bus, Peer::Direct).unwrap();
    let reply = connection.call(&PING, Deadline::after(LONG)).unwrap();
    assert_eq!(reply, [Value::text("Ping")]);
    assert_eq!(
        connection.peer_pid().unwrap(),
        i32::try_from(std::process::id()).unwrap()
    );
}

#[test]
fn a_bus_is_greeted_and_asked_for_signals() {
    let bus = FakeBus::reacting(|message| match &*message.header.member {
        "Hello" => vec![Reaction::Reply(vec![Value::text(":1.1")])],
        "AddMatch" => {
            assert_eq!(message.header.destination, "org.freedesktop.DBus");
            vec![
                Reaction::Signal("/x", "org.example", "Other", vec![]),
                Reaction::Signal("/x", "org.example", "Told", vec![Value::U32(0)]),
                Reaction::Reply(vec![]),
                Reaction::Signal("/x", "org.example", "Told", vec![Value::U32(1)]),
            ]
        }
        other => panic!("{other}"),
    });
    let mut connection = open(&bus, Peer::Bus).unwrap();
    let deadline = Deadline::after(LONG);
    // It was sent before the subscription, so it does not count.
    connection.listen("org.example", "Told", deadline).unwrap();
    let signal = connection.next_signal("Told", deadline).unwrap();
    assert_eq!((&*signal.path, &*signal.body), ("/x", &[Value::U32(1)][..]));
}

/// The default policy of a system bus lets every user send signals to all clients.
#[test]
fn on_a_bus_a_signal_of_somebody_else_is_passed_over() {
    let bus = FakeBus::reacting(|message| {
        let said = |kind, serial, sender: &str, body: &[Value]| {
            let mut header = Header::new(kind, serial);
            header.reply_to = message.header.serial;
            if kind == Kind::Signal {
                header.reply_to = 0;
                header.path = "/x".to_owned();
                header.interface = "org.example".to_owned();
                header.member = "Told".to_owned();
            }
            header.sender = sender.to_owned();
            Reaction::Raw(Message::encode(header, body))
        };
        match &*message.header.member {
            "Ping" => vec![
                said(Kind::Signal, 1, ":1.66", &[Value::U32(66)]),
                said(Kind::Reply, 2, ":1.2", &[]),
                said(Kind::Signal, 3, ":1.66", &[Value::U32(66)]),
                said(Kind::Signal, 4, ":1.2", &[Value::U32(2)]),
            ],
            _ => vec![said(Kind::Reply, 5, "org.freedesktop.DBus", &[])],
        }
    });
    let mut connection = open(&bus, Peer::Bus).unwrap();
    let deadline = Deadline::after(LONG);
    connection.listen("org.example", "Told", deadline).unwrap();
    connection.call(&PING, deadline).unwrap();
    let signal = connection.next_signal("Told", deadline).unwrap();
    assert_eq!(signal.body, [Value::U32(2)]);
}

#[test]
fn signals_between_a_call_and_its_reply_are_kept() {
    let bus = FakeBus::reacting(|_message| {
        vec![
            Reaction::Signal("/x", "org.example", "Told", vec![Value::U32(1)]),
            Reaction::Reply(vec![]),
        ]
    });
    let mut connection = open(&bus, Peer::Direct).unwrap();
    let deadline = Deadline::after(LONG);
    connection.listen("org.example", "Told", deadline).unwrap();
    connection.call(&PING, deadline).unwrap();
    let signal = connection.next_signal("Told", deadline).unwrap();
    assert_eq!(signal.body, [Value::U32(1)]);
}

#[test]
fn a_refusal_gives_name_and_sentence() {
    let bus = FakeBus::reacting(|_message| vec![Reaction::Error("org.example.No", "not today")]);
    assert_eq!(failure(&bus, LONG), "not today (org.example.No)");
}

#[test]
fn a_bus_that_says_nothing_is_named_at_the_deadline() {
    for greeting in [&b""[..], b"DATA\r\n", b"DATA\r\nOK 1"] {
        let bus = FakeBus::saying(greeting);
        let begin = Instant::now();
        let error = Connection::open(&bus.address(), Peer::Direct, Deadline::after(SHORT));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("did not answer within 200ms (greeting)"),
            "{error}"
        );
        assert!(error.contains(&bus.address().to_string()), "{error}");
        assert!(begin.elapsed() >= SHORT && begin.elapsed() < LONG);
    }
    let bus = FakeBus::saying(b"OK 1\r\n");
    let error = failure(&bus, SHORT);
    assert!(
        error.contains("did not answer within 200ms (Ping)"),
        "{error}"
    );
}

/// Unwanted signals without a pause: there is always something to read.
#[test]
fn a_bus_that_tells_without_end_is_given_up_at_the_deadline() {
    let mut header = Header::new(Kind::Signal, 1);
    header.path = "/x".to_owned();
    header.interface = "org.example".to_owned();
    header.member = "Noise".to_owned();
    let noise = Message::encode(header, &[]).repeat(1000);
    let bus = FakeBus::reacting(move |_message| vec![Reaction::Endless(noise.clone())]);
    let begin = Instant::now();
    let error = failure(&bus, SHORT);
    assert!(
        error.contains("did not answer within 200ms (Ping)"),
        "{error}"
    );
    assert!(begin.elapsed() < LONG);
}

/// A stopped process accepts no connection: its queue fills, and connect(2) would block.
#[test]
fn a_bus_whose_queue_is_full_is_named_at_the_deadline() {
    let path = std::env::temp_dir().join(format!("locule-full-{}", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    let mut waiting = Vec::new();
    while let Ok(fd) = socket::connect_stream(path.as_os_str().as_encoded_bytes(), false) {
        waiting.push(fd);
    }
    let address = Address::of_path(&path);
    let error = Connection::open(&address, Peer::Direct, Deadline::after(SHORT));
    std::fs::remove_file(&path).unwrap();
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("did not answer within 200ms (connecting)"),
        "{error}"
    );
    drop(listener);
}

#[test]
fn a_bus_that_closes_early_is_told() {
    let bus = FakeBus::closing();
    let error = open(&bus, Peer::Direct).unwrap_err().to_string();
    assert!(error.contains("closed the connection"), "{error}");
    let bus = FakeBus::reacting(|_message| vec![Reaction::Close]);
    let error = failure(&bus, LONG);
    assert!(error.contains("closed the connection (Ping)"), "{error}");
    // In the middle of a message.
    let bus = FakeBus::reacting(|message| {
        let mut header = Header::new(Kind::Reply, 1);
        header.reply_to = message.header.serial;
        let mut bytes = Message::encode(header, &[Value::text("word")]);
        bytes.truncate(bytes.len() - 3);
        vec![Reaction::Raw(bytes), Reaction::Close]
    });
    let error = failure(&bus, LONG);
    assert!(error.contains("closed the connection (Ping)"), "{error}");
}

#[test]
fn garbage_is_told() {
    for garbage in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0; 64], &[0xff; 64]] {
        let bus = FakeBus::reacting(move |_message| vec![Reaction::Raw(garbage.to_vec())]);
        let error = failure(&bus, LONG);
        assert!(error.contains("sent an invalid message"), "{error}");
    }
    let bus = FakeBus::saying(&[b'x'; 2000]);
    let error = open(&bus, Peer::Direct).unwrap_err().to_string();
    assert!(error.contains("greeting is too long"), "{error}");
}

#[test]
fn who_is_not_let_in_is_told() {
    let bus = FakeBus::saying(b"REJECTED EXTERNAL\r\n");
    let error = open(&bus, Peer::Direct).unwrap_err().to_string();
    assert!(error.contains("refuses this user"), "{error}");
    assert!(error.contains("REJECTED EXTERNAL"), "{error}");
}

#[test]
fn nobody_listens() {
    let address = Address::of_path(Path::new("/nonexistent/bus"));
    let error = Connection::open(&address, Peer::Bus, Deadline::after(LONG)).unwrap_err();
    assert!(matches!(
        error,
        Error::Connect {
            source: Errno::ENOENT,
            ..
        }
    ));
}
