use super::*;
use proptest::prelude::*;

/// A call that another program sends: Hello, from a recorded connection.
const HELLO: &[u8] = b"l\x01\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x6e\x00\x00\x00\
\x01\x01o\x00\x15\x00\x00\x00/org/freedesktop/DBus\x00\x00\x00\
\x06\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00\
\x02\x01s\x00\x14\x00\x00\x00org.freedesktop.DBus\x00\x00\x00\x00\
\x03\x01s\x00\x05\x00\x00\x00Hello\x00\x00\x00";

fn signal(body: &[Value]) -> Vec<u8> {
    let mut header = Header::new(Kind::Signal, 7);
    header.path = "/a/b".to_owned();
    header.interface = "org.example".to_owned();
    header.member = "Told".to_owned();
    Message::encode(header, body)
}

#[test]
fn a_call_of_another_maker_is_read() {
    let message = Message::decode(HELLO).unwrap();
    assert_eq!(message.header.kind, Kind::Call);
    assert_eq!(message.header.member, "Hello");
    assert_eq!(message.header.destination, "org.freedesktop.DBus");
    assert_eq!(message.header.serial, 1);
    assert_eq!(message.body().unwrap(), []);
}

#[test]
fn the_other_byte_order_is_read() {
    let bytes = b"B\x02\x00\x01\x00\x00\x00\x08\x00\x00\x00\x05\x00\x00\x00\x10\
\x05\x01u\x00\x00\x00\x00\x03\x08\x01g\x00\x02uu\x00\
\x00\x00\x00\x01\x00\x01\x00\x00";
    let message = Message::decode(bytes).unwrap();
    assert_eq!((message.header.serial, message.header.reply_to), (5, 3));
    assert_eq!(message.body().unwrap(), [Value::U32(1), Value::U32(65536)]);
}

#[test]
fn values_come_back_as_they_went() {
    let body = [
        Value::Byte(1),
        Value::Bool(true),
        Value::I16(-2),
        Value::U16(3),
        Value::Double(0.5),
        Value::texts(["a", "", "ä"]),
        Value::Array("(tt)".to_owned(), Vec::new()),
        Value::Array(
            "{sv}".to_owned(),
            vec![Value::Entry(
                Box::new(Value::text("k")),
                Box::new(Value::variant(Value::U64(u64::MAX))),
            )],
        ),
        Value::Struct(vec![Value::Path("/x".to_owned()), Value::bytes(&[1, 2])]),
        Value::variant(Value::Array(
            "ax".to_owned(),
            vec![Value::Array("x".to_owned(), vec![Value::I64(-1)])],
        )),
        Value::Signature("a{sv}".to_owned()),
    ];
    let message = Message::decode(&signal(&body)).unwrap();
    assert_eq!(message.body().unwrap(), body);
    assert_eq!(message.header.member, "Told");
}

/// Each is the signal above with one error.
#[test]
fn malformed_messages_are_told_by_what_is_wrong() {
    let good = signal(&[Value::text("word"), Value::Bool(true)]);
    let body = good.len() - 16; // length, "word", its NUL and padding, the truth value
    let with = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let table: [(&str, Vec<u8>); 12] = [
        ("no byte order", with(0, b'x')),
        ("kind 0", with(1, 0)),
        ("another version", with(3, 2)),
        ("longer than 4 MiB", with(7, 1)),
        ("longer than 4 MiB", with(15, 1)),
        ("differs from its header", with(4, 15)),
        ("wrong type", with(18, b's')),
        ("first NUL", with(body + 5, 0)),
        ("first NUL", with(body + 8, 1)),
        ("padding", with(body + 9, 1)),
        ("not UTF-8", with(body + 4, 0xff)),
        ("neither 0 nor 1", with(body + 12, 2)),
    ];
    for (told, bytes) in table {
        let error = Message::decode(&bytes).and_then(|message| message.body());
        let error = error.unwrap_err().to_string();
        assert!(error.contains(told), "{error:?} instead of {told:?}");
    }
    for cut in 0..good.len() {
        assert!(Message::decode(&good[..cut]).is_err(), "{cut}");
    }
}

#[test]
fn depth_has_an_end() {
    let mut deep = Value::Byte(0);
    for _ in 0..100 {
        deep = Value::variant(deep);
    }
    let message = Message::decode(&signal(&[deep])).unwrap();
    assert!(message.body().unwrap_err().to_string().contains("too deep"));
}

#[test]
fn a_large_message_is_refused_before_it_is_read() {
    let mut prefix = [0; PREFIX];
    prefix.copy_from_slice(&HELLO[..PREFIX]);
    prefix[12..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(length(&prefix).is_err());
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u8>().prop_map(Value::Byte),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::I64),
        any::<u16>().prop_map(Value::U16),
        "[a-zä]{0,9}".prop_map(Value::Str),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            inner.clone().prop_map(Value::variant),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
            (inner, 0_usize..4).prop_map(|(value, count)| {
                let signature = value.signature();
                Value::Array(signature, vec![value; count])
            }),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_comes_back(values in proptest::collection::vec(any_value(), 0..4)) {
        prop_assume!(crate::value::signatures(&values).len() < 200);
        let message = Message::decode(&signal(&values)).unwrap();
        prop_assert_eq!(message.body().unwrap(), values);
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(message) = Message::decode(&bytes) {
            let _either = message.body();
        }
    }

    /// Closer to a real message: a valid message with some bytes changed.
    #[test]
    fn damaged_messages_are_messages_or_errors(
        values in proptest::collection::vec(any_value(), 0..4),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = signal(&values);
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(message) = Message::decode(&bytes) {
            let _either = message.body();
        }
    }
}
