//! Messages: a header of fields and a body of values.

use crate::decode::{Decoder, Order};
use crate::encode::Encoder;
use crate::signature::Signature;
use crate::value::signatures;
use crate::{Malformed, Value};

/// The length of the part of a header that has the length of the message.
pub(crate) const PREFIX: usize = 16;

/// The longest message that is accepted: far longer than any answer that this client needs, and
/// short enough for memory.
const LONGEST: usize = 4 << 20;

/// The longest body that is decoded.
const LONGEST_BODY: usize = 256 << 10;

/// The version of the protocol.
const PROTOCOL: u8 = 1;

/// The kind of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Calls a method.
    Call,
    /// Returns the result of a call.
    Reply,
    /// Returns an error for a call.
    Error,
    /// A signal.
    Signal,
    /// From a later protocol version; ignored.
    Other(u8),
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Self::Call => 1,
            Self::Reply => 2,
            Self::Error => 3,
            Self::Signal => 4,
            Self::Other(number) => number,
        }
    }

    fn of(number: u8) -> Result<Self, Malformed> {
        Ok(match number {
            0 => return Err(Malformed("a message is of kind 0")),
            1 => Self::Call,
            2 => Self::Reply,
            3 => Self::Error,
            4 => Self::Signal,
            other => Self::Other(other),
        })
    }
}

/// The header of a message. Absent fields are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The kind.
    pub kind: Kind,
    /// The sender's serial number.
    pub serial: u32,
    /// The serial number of the message that it answers; 0 for none.
    pub reply_to: u32,
    /// The object.
    pub path: String,
    /// The method's or signal's interface.
    pub interface: String,
    /// The method or signal.
    pub member: String,
    /// The name of the error.
    pub error: String,
    /// The receiver.
    pub destination: String,
    /// The sender: the bus fills it in, so a client cannot use the name of another.
    pub sender: String,
    /// The types of the body.
    pub signature: String,
}

impl Header {
    /// A header without fields.
    pub fn new(kind: Kind, serial: u32) -> Self {
        Self {
            kind,
            serial,
            reply_to: 0,
            path: String::new(),
            interface: String::new(),
            member: String::new(),
            error: String::new(),
            destination: String::new(),
            sender: String::new(),
            signature: String::new(),
        }
    }

    /// The fields that are present, by number.
    fn fields(&self) -> Vec<Value> {
        let text = |number: u8, text: &String, kind: fn(String) -> Value| {
            (!text.is_empty()).then(|| (number, kind(text.clone())))
        };
        let fields = [
            text(1, &self.path, Value::Path),
            text(2, &self.interface, Value::Str),
            text(3, &self.member, Value::Str),
            text(4, &self.error, Value::Str),
            (self.reply_to != 0).then_some((5, Value::U32(self.reply_to))),
            text(6, &self.destination, Value::Str),
            text(7, &self.sender, Value::Str),
            text(8, &self.signature, Value::Signature),
        ];
        let field =
            |(number, value)| Value::Struct(vec![Value::Byte(number), Value::variant(value)]);
        fields.into_iter().flatten().map(field).collect()
    }

    fn set(&mut self, number: u8, value: Value) -> Result<(), Malformed> {
        match (number, value) {
            (1, Value::Path(path)) => self.path = path,
            (2, Value::Str(text)) => self.interface = text,
            (3, Value::Str(text)) => self.member = text,
            (4, Value::Str(text)) => self.error = text,
            (5, Value::U32(serial)) => self.reply_to = serial,
            (6, Value::Str(text)) => self.destination = text,
            (7, Value::Str(text)) => self.sender = text,
            (8, Value::Signature(text)) => self.signature = text,
            (1..=8, _) => return Err(Malformed("a field of the header has a wrong type")),
            // The number of descriptors, and fields of later versions.
            (_, _) => {}
        }
        Ok(())
    }
}

/// A message as it was received; its body is decoded on demand.
#[derive(Debug)]
pub struct Message {
    /// The header.
    pub header: Header,
    order: Order,
    body: Vec<u8>,
}

fn order(byte: u8) -> Result<Order, Malformed> {
    match byte {
        b'l' => Ok(Order::Little),
        b'B' => Ok(Order::Big),
        _ => Err(Malformed("a message has no byte order")),
    }
}

/// The length of the whole message, given its first bytes `prefix`.
pub(crate) fn length(prefix: &[u8; PREFIX]) -> Result<usize, Malformed> {
    let mut decoder = Decoder::new(prefix, order(prefix[0])?);
    if prefix[3] != PROTOCOL {
        return Err(Malformed("a message is of another version of the protocol"));
    }
    decoder.u32()?;
    let body = u64::from(decoder.u32()?);
    decoder.u32()?;
    let fields = u64::from(decoder.u32()?);
    let whole = PREFIX as u64 + fields.next_multiple_of(8) + body;
    match usize::try_from(whole) {
        Ok(whole) if whole <= LONGEST => Ok(whole),
        _ => Err(Malformed("a message is longer than 4 MiB")),
    }
}

impl Message {
    /// The bytes of a message with these values.
    pub fn encode(mut header: Header, body: &[Value]) -> Vec<u8> {
        header.signature = signatures(body);
        let mut encoded = Encoder::default();
        encoded.values(body);
        let length = u32::try_from(encoded.0.len()).unwrap_or(u32::MAX);
        let mut message = Encoder(vec![b'l', header.kind.number(), 0, PROTOCOL]);
        message.u32(length);
        message.u32(header.serial);
        message.value(&Value::Array("(yv)".to_owned(), header.fields()));
        message.align(8);
        message.0.extend_from_slice(&encoded.0);
        message.0
    }

    /// Reads one whole message.
    ///
    /// # Errors
    /// Anything that the specification does not permit, including bytes after the message.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let prefix = bytes
            .first_chunk::<PREFIX>()
            .ok_or(Malformed("a message is shorter than its header"))?;
        if length(prefix)? != bytes.len() {
            return Err(Malformed("the length of a message differs from its header"));
        }
        let order = order(prefix[0])?;
        let mut decoder = Decoder::new(bytes, order);
        let shape = Signature::parse("yyyyuua(yv)")?;
        let values = decoder.values(&shape)?;
        decoder.align(8)?;
        let body = bytes.get(decoder.at()..).unwrap_or_default().to_vec();
        let (Some(Value::U32(serial)), Some(Value::Array(_, fields))) =
            (values.get(5), values.get(6))
        else {
            return Err(Malformed("a header lacks a required field"));
        };
        let mut header = Header::new(Kind::of(prefix[1])?, *serial);
        for field in fields {
            if let Value::Struct(parts) = field
                && let [Value::Byte(number), Value::Variant(value)] = &parts[..]
            {
                header.set(*number, (**value).clone())?;
            }
        }
        Signature::parse(&header.signature)?;
        Ok(Self {
            header,
            order,
            body,
        })
    }

    /// The values of the body.
    ///
    /// # Errors
    /// They do not have the types of the header's signature.
    pub fn body(&self) -> Result<Vec<Value>, Malformed> {
        if self.body.len() > LONGEST_BODY {
            return Err(Malformed("a body is longer than 256 KiB"));
        }
        let mut decoder = Decoder::new(&self.body, self.order);
        let values = decoder.values(&Signature::parse(&self.header.signature)?)?;
        if decoder.is_done() {
            Ok(values)
        } else {
            Err(Malformed("a body is longer than its values"))
        }
    }
}

#[cfg(test)]
mod tests;
