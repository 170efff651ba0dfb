//! Messages of rtnetlink(7) as values: a fixed part that depends on the type, then attributes.
//!
//! The frame around a message, and the form of the attributes, come from the crate
//! netlink-packet-core.

use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLA_TYPE_MASK, NetlinkDeserializable, NetlinkHeader,
    NetlinkPayload, NetlinkSerializable, Nla, NlasIterator, Parseable,
};

/// RTM_NEWLINK.
pub(crate) const NEW_LINK: u16 = 16;
/// RTM_GETLINK.
pub(crate) const GET_LINK: u16 = 18;
/// RTM_SETLINK.
pub(crate) const SET_LINK: u16 = 19;
/// RTM_NEWADDR.
pub(crate) const NEW_ADDRESS: u16 = 20;
/// RTM_GETADDR.
pub(crate) const GET_ADDRESS: u16 = 22;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    /// RTM_*.
    pub(crate) kind: u16,
    /// `struct ifinfomsg` or `struct ifaddrmsg`.
    pub(crate) fixed: Vec<u8>,
    /// IFLA_* or IFA_*.
    pub(crate) attributes: Vec<DefaultNla>,
}

impl Message {
    /// The bytes of an attribute.
    pub(crate) fn attribute(&self, kind: u16) -> Option<Vec<u8>> {
        // The kind comes with the flags that say what the bytes are.
        let is_it = |found: &&DefaultNla| found.kind() & NLA_TYPE_MASK == kind;
        let found = self.attributes.iter().find(is_it)?;
        let mut value = vec![0; found.value_len()];
        found.emit_value(&mut value);
        Some(value)
    }

    /// The attributes within an attribute, each with its kind: none if the message does not have
    /// it,
    /// `None` if it is cut.
    pub(crate) fn nested(&self, kind: u16) -> Option<Vec<(u16, Vec<u8>)>> {
        let bytes = self.attribute(kind).unwrap_or_default();
        let found = NlasIterator::new(bytes.as_slice()).map(|found| {
            let found = found.ok()?;
            Some((found.kind(), found.value().to_owned()))
        });
        found.collect()
    }

    /// Four bytes of the fixed part, as a number.
    pub(crate) fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.fixed.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }
}

impl From<Message> for NetlinkPayload<Message> {
    fn from(message: Message) -> Self {
        Self::InnerMessage(message)
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        self.kind
    }

    fn buffer_len(&self) -> usize {
        self.fixed.len() + self.attributes.as_slice().buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let (fixed, attributes) = buffer.split_at_mut(self.fixed.len());
        fixed.copy_from_slice(&self.fixed);
        self.attributes.as_slice().emit(attributes);
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let length = match header.message_type {
            NEW_LINK => 16,
            NEW_ADDRESS => 8,
            other => return Err(format!("type {other} is unknown").into()),
        };
        let Some((fixed, rest)) = payload.split_at_checked(length) else {
            return Err("it is too short".into());
        };
        let attributes = NlasIterator::new(rest).map(|found| DefaultNla::parse(&found?));
        Ok(Self {
            kind: header.message_type,
            fixed: fixed.to_owned(),
            attributes: attributes.collect::<Result<_, _>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use netlink_packet_core::{NLA_F_NESTED, NetlinkMessage};

    fn bytes(message: Message) -> Vec<u8> {
        let mut framed = NetlinkMessage::new(NetlinkHeader::default(), message.into());
        framed.finalize();
        let mut bytes = vec![0; framed.buffer_len()];
        framed.serialize(&mut bytes);
        bytes
    }

    #[test]
    fn a_message_survives_its_journey() {
        let message = Message {
            kind: NEW_ADDRESS,
            fixed: vec![2, 24, 0x80, 0, 7, 0, 0, 0],
            attributes: vec![
                DefaultNla::new(2, vec![10, 98, 0, 2]),
                DefaultNla::new(3, vec![9]),
            ],
        };
        let bytes = bytes(message.clone());
        // 16 bytes of header, 8 of the fixed part, 8 and 8 of padded attributes.
        assert_eq!(bytes.len(), 40);
        let back = NetlinkMessage::<Message>::deserialize(&bytes).unwrap();
        assert_eq!(back.payload, NetlinkPayload::InnerMessage(message.clone()));
        assert_eq!(message.word(4), Some(u32::from_ne_bytes([7, 0, 0, 0])));
        assert_eq!(message.attribute(3), Some(vec![9]));
        assert_eq!((message.word(5), message.attribute(4)), (None, None));
    }

    #[test]
    fn attributes_lie_within_attributes() {
        // A length, a kind, and the name with its NUL byte, padded.
        let inner = [
            [8, 0, 53, 0, b'e', b't', b'h', 0],
            [5, 0, 53, 0, 0, 0, 0, 0],
        ]
        .concat();
        let message = |bytes: &[u8]| Message {
            kind: NEW_LINK,
            fixed: vec![0; 16],
            attributes: vec![DefaultNla::new(NLA_F_NESTED | 52, bytes.to_vec())],
        };
        let names = vec![(53, b"eth\0".to_vec()), (53, vec![0])];
        assert_eq!(message(&inner).nested(52), Some(names));
        assert_eq!(message(&inner).nested(51), Some(Vec::new()));
        assert_eq!(message(&inner[..6]).nested(52), None);
    }

    #[test]
    fn a_message_that_is_cut_is_refused() {
        let message = Message {
            kind: NEW_LINK,
            fixed: vec![0; 16],
            attributes: vec![DefaultNla::new(3, b"eth0\0".to_vec())],
        };
        let whole = bytes(message);
        for length in 1..whole.len() - 3 {
            let mut cut = whole[..length].to_vec();
            if let Some(place) = cut.get_mut(..4) {
                place.copy_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
            }
            // What ends right behind the fixed part is whole again.
            let is_whole = NetlinkMessage::<Message>::deserialize(&cut).is_ok();
            assert_eq!(is_whole, length == 32, "{length}");
        }
    }
}
