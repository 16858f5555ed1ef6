//! The AMF0 reader: borrows strings, skips what nobody asks for.
//!
//! LIMIT: nesting `AMF_DEPTH_MAX` (so recursion is bounded), `AMF_ELEMENTS_MAX` values per
//! message, `AMF_KEY_BYTES_MAX` per property name; an announced count reserves nothing.

use super::amf3;
use crate::limits::{AMF_DEPTH_MAX, AMF_ELEMENTS_MAX, AMF_KEY_BYTES_MAX};
use crate::rtmp::ProtocolError;
use crate::rtmp::wire::{u16_be, u32_be};

/// One AMF0 value. Composite values are returned as their encoded span and walked with
/// [`Object::properties`]; strings are bytes (old encoders send GBK or Latin-1).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// 00. The raw 8 bytes matter for echoing: compare with `to_bits`.
    Number(f64),
    /// 01.
    Boolean(bool),
    /// 02 and 0c.
    String(&'a [u8]),
    /// 03, 08 (ECMA array) and 10 (typed object).
    Object(Object<'a>),
    /// 05.
    Null,
    /// 06.
    Undefined,
    /// 07: index of a composite value of this message; never followed.
    Reference(u16),
    /// 0a: the encoded elements.
    StrictArray {
        /// Declared number of elements (checked against the bytes present).
        count: u32,
        /// Their encoding.
        body: &'a [u8],
    },
    /// 0b, ms since 1970 UTC.
    Date(f64),
    /// 0d.
    Unsupported,
    /// 0f.
    Xml(&'a [u8]),
    /// 11: one AMF3 value; its encoding after the marker.
    Amf3(&'a [u8]),
}

/// An object, ECMA array or typed object: validated, borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Object<'a> {
    /// 3 object, 8 ECMA array, 0x10 typed object.
    pub marker: u8,
    /// Class name of a typed object, else empty.
    pub class: &'a [u8],
    /// Encoded key-value pairs without the end marker.
    pub body: &'a [u8],
}

/// Reads the values of one message body in order.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    elements: usize,
}

const MARKER_OBJECT_END: u8 = 9;

impl<'a> Reader<'a> {
    /// A reader at the first value of `body`.
    #[must_use]
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body, elements: 0 }
    }

    /// The next value, or `None` at the end of the body.
    ///
    /// # Errors
    /// The `Amf*` variants of [`ProtocolError`].
    #[allow(clippy::should_implement_trait, reason = "fallible, so not an iterator")]
    pub fn next(&mut self) -> Result<Option<Value<'a>>, ProtocolError> {
        if self.rest.is_empty() { Ok(None) } else { self.value(0).map(Some) }
    }

    /// Bytes not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn value(&mut self, depth: usize) -> Result<Value<'a>, ProtocolError> {
        self.elements += 1;
        if self.elements > AMF_ELEMENTS_MAX {
            return Err(ProtocolError::AmfTooManyElements);
        }
        let &[marker] = self.take_array::<1>()?;
        Ok(match marker {
            0x00 => Value::Number(self.number()?),
            0x01 => Value::Boolean(self.take_array::<1>()? != &[0]),
            0x02 => Value::String(self.short_string()?),
            0x03 | 0x08 | 0x10 => Value::Object(self.object(marker, depth)?),
            0x05 => Value::Null,
            0x06 => Value::Undefined,
            0x07 => Value::Reference(u16::from_be_bytes(*self.take_array()?)),
            0x0a => self.strict_array(depth)?,
            0x0b => {
                let date = self.number()?;
                self.take(2)?;
                Value::Date(date)
            }
            0x0c => Value::String(self.long_string()?),
            0x0d => Value::Unsupported,
            0x0f => Value::Xml(self.long_string()?),
            0x11 => {
                let encoded = self.rest;
                self.rest = amf3::skip(encoded)?;
                Value::Amf3(consumed(encoded, self.rest))
            }
            _ => return Err(ProtocolError::AmfMarker { marker }),
        })
    }

    fn object(&mut self, marker: u8, depth: usize) -> Result<Object<'a>, ProtocolError> {
        let depth = deeper(depth)?;
        let class = if marker == 0x10 { self.short_string()? } else { &[] };
        if marker == 0x08 {
            // The count is a hint: encoders write 0 or nonsense.
            self.take(4)?;
        }
        let body = self.rest;
        loop {
            let before = self.rest;
            if before.is_empty() {
                // QUIRK: some encoders leave the end marker out at the end of a message.
                return Ok(Object { marker, class, body });
            }
            let key = self.short_string()?;
            if key.is_empty() && self.rest.first() == Some(&MARKER_OBJECT_END) {
                self.take(1)?;
                return Ok(Object { marker, class, body: consumed(body, before) });
            }
            if key.len() > AMF_KEY_BYTES_MAX {
                return Err(ProtocolError::AmfKeyTooLong);
            }
            self.value(depth)?;
        }
    }

    fn strict_array(&mut self, depth: usize) -> Result<Value<'a>, ProtocolError> {
        let depth = deeper(depth)?;
        let count = u32::from_be_bytes(*self.take_array()?);
        let body = self.rest;
        // Every value is at least one byte: a count beyond that is a lie.
        if count as usize > body.len() {
            return Err(ProtocolError::AmfTruncated);
        }
        for _ in 0..count {
            self.value(depth)?;
        }
        Ok(Value::StrictArray { count, body: consumed(body, self.rest) })
    }

    fn number(&mut self) -> Result<f64, ProtocolError> {
        Ok(f64::from_be_bytes(*self.take_array()?))
    }

    fn short_string(&mut self) -> Result<&'a [u8], ProtocolError> {
        let len = u16_be(self.rest, 0).ok_or(ProtocolError::AmfTruncated)?;
        self.take(2)?;
        self.take(usize::from(len))
    }

    fn long_string(&mut self) -> Result<&'a [u8], ProtocolError> {
        let len = u32_be(self.rest, 0).ok_or(ProtocolError::AmfTruncated)?;
        self.take(4)?;
        self.take(len as usize)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], ProtocolError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(ProtocolError::AmfTruncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Result<&'a [u8; N], ProtocolError> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(ProtocolError::AmfTruncated)?;
        self.rest = rest;
        Ok(taken)
    }
}

fn deeper(depth: usize) -> Result<usize, ProtocolError> {
    if depth < AMF_DEPTH_MAX { Ok(depth + 1) } else { Err(ProtocolError::AmfTooDeep) }
}

/// What of `before` has been read when `after` is left.
fn consumed<'a>(before: &'a [u8], after: &[u8]) -> &'a [u8] {
    before.get(..before.len() - after.len()).unwrap_or_default()
}

impl<'a> Object<'a> {
    /// The first property called `name` (exact bytes).
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Value<'a>> {
        self.properties().find_map(|(key, value)| (key == name.as_bytes()).then_some(value))
    }

    /// All properties in order. The object was validated when it was read, so nothing is missing.
    pub fn properties(&self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> + use<'a> {
        self.spans().map(|(key, value, _)| (key, value))
    }

    /// As [`Object::properties`], with the bytes of key and value as they stand in the message.
    pub fn spans(&self) -> impl Iterator<Item = (&'a [u8], Value<'a>, &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.body);
        std::iter::from_fn(move || {
            let before = reader.rest;
            let key = reader.short_string().ok()?;
            let value = reader.value(0).ok()?;
            Some((key, value, consumed(before, reader.rest)))
        })
    }
}

impl<'a> Value<'a> {
    /// The number, if it is one (AMF3 integers and doubles too).
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Amf3(encoded) => amf3::number(encoded),
            _ => None,
        }
    }

    /// The string's bytes, if it is one (AMF3 too).
    #[must_use]
    pub fn string(&self) -> Option<&'a [u8]> {
        match self {
            Self::String(bytes) => Some(bytes),
            Self::Amf3(encoded) => amf3::string(encoded),
            _ => None,
        }
    }

    /// The truth value, if it is one (AMF3 too).
    #[must_use]
    pub fn boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(value) => Some(*value),
            Self::Amf3([2]) => Some(false),
            Self::Amf3([3]) => Some(true),
            _ => None,
        }
    }
}
