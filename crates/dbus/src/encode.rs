//! Encodes values as bytes, in little-endian order.

use crate::Value;
use crate::signature::alignment;

/// A growing buffer; alignment counts from its start.
#[derive(Debug, Default)]
pub(crate) struct Encoder(pub(crate) Vec<u8>);

impl Encoder {
    pub(crate) fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }

    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        self.align(N);
        self.0.extend_from_slice(&bytes);
    }

    pub(crate) fn u32(&mut self, number: u32) {
        self.put(number.to_le_bytes());
    }

    fn length(&mut self, length: usize) {
        // This program never sends anything close to 4 GiB.
        self.u32(u32::try_from(length).unwrap_or(u32::MAX));
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
    }

    fn signature(&mut self, signature: &str) {
        self.0
            .push(u8::try_from(signature.len()).unwrap_or(u8::MAX));
        self.0.extend_from_slice(signature.as_bytes());
        self.0.push(0);
    }

    pub(crate) fn values(&mut self, values: &[Value]) {
        values.iter().for_each(|value| self.value(value));
    }

    pub(crate) fn value(&mut self, value: &Value) {
        match value {
            Value::Byte(byte) => self.put([*byte]),
            Value::Bool(truth) => self.u32(u32::from(*truth)),
            Value::I16(number) => self.put(number.to_le_bytes()),
            Value::U16(number) => self.put(number.to_le_bytes()),
            Value::I32(number) => self.put(number.to_le_bytes()),
            Value::U32(number) | Value::Handle(number) => self.u32(*number),
            Value::I64(number) => self.put(number.to_le_bytes()),
            Value::U64(number) => self.put(number.to_le_bytes()),
            Value::Double(number) => self.put(number.to_le_bytes()),
            Value::Str(text) | Value::Path(text) => self.text(text),
            Value::Signature(text) => self.signature(text),
            Value::Array(element, items) => self.array(element, items),
            Value::Struct(fields) => {
                self.align(8);
                self.values(fields);
            }
            Value::Entry(key, value) => {
                self.align(8);
                self.value(key);
                self.value(value);
            }
            Value::Variant(value) => {
                self.signature(&value.signature());
                self.value(value);
            }
        }
    }

    /// The length counts from the first element, whose padding is not part of it.
    fn array(&mut self, element: &str, items: &[Value]) {
        self.u32(0);
        let place = self.0.len() - 4;
        self.align(alignment(element));
        let begin = self.0.len();
        self.values(items);
        let length = u32::try_from(self.0.len() - begin).unwrap_or(u32::MAX);
        self.0[place..place + 4].copy_from_slice(&length.to_le_bytes());
    }
}
