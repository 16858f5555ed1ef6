//! The AMF0 reader: borrows strings, skips what nobody asks for, recursion bounded.

use crate::rtmp::ProtocolError;

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
    pub fn next(&mut self) -> Result<Option<Value<'a>>, ProtocolError> {
        let _ = (&self.rest, &self.elements);
        todo!()
    }
    /// Bytes not read yet.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Object<'a> {
    /// The first property called `name` (exact bytes).
    #[must_use]
    pub fn find(&self, name: &str) -> Option<Value<'a>> {
        let _ = name;
        todo!()
    }
    /// All properties in order (the object was validated when read, so this cannot fail).
    pub fn properties(&self) -> impl Iterator<Item = (&'a [u8], Value<'a>)> + use<'a> {
        std::iter::empty()
    }
}

impl<'a> Value<'a> {
    /// The number, if it is one.
    #[must_use]
    pub fn number(&self) -> Option<f64> {
        if let Self::Number(n) = self { Some(*n) } else { None }
    }
    /// The string's bytes, if it is one.
    #[must_use]
    pub fn string(&self) -> Option<&'a [u8]> {
        if let Self::String(s) = self { Some(s) } else { None }
    }
}
