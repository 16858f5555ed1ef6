//! The AMF0 writer: appends to an outgoing buffer, no tree in between.

/// Appends AMF0 values to a buffer.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Writer<'a> {
    /// Appends to `out`.
    pub fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    /// 00, bit for bit.
    pub fn number(&mut self, value: f64) -> &mut Self {
        self.put(&[0x00]).put(&value.to_be_bytes())
    }

    /// 01.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        self.put(&[0x01, u8::from(value)])
    }

    /// 02, or 0c above 65535 bytes.
    pub fn string(&mut self, value: &[u8]) -> &mut Self {
        match (u16::try_from(value.len()), u32::try_from(value.len())) {
            (Ok(len), _) => self.put(&[0x02]).put(&len.to_be_bytes()).put(value),
            (_, Ok(len)) => self.put(&[0x0c]).put(&len.to_be_bytes()).put(value),
            _ => self.null(),
        }
    }

    /// 05.
    pub fn null(&mut self) -> &mut Self {
        self.put(&[0x05])
    }

    /// 06.
    pub fn undefined(&mut self) -> &mut Self {
        self.put(&[0x06])
    }

    /// 03: then properties by `key` + value, then `end`.
    pub fn object(&mut self) -> &mut Self {
        self.put(&[0x03])
    }

    /// 08 with a count hint: then as `object`.
    pub fn ecma_array(&mut self, count: u32) -> &mut Self {
        self.put(&[0x08]).put(&count.to_be_bytes())
    }

    /// 0a: then `count` values, no end.
    pub fn strict_array(&mut self, count: u32) -> &mut Self {
        self.put(&[0x0a]).put(&count.to_be_bytes())
    }

    /// A property name (a name above 65535 bytes is cut).
    pub fn key(&mut self, name: &[u8]) -> &mut Self {
        let len = u16::try_from(name.len()).unwrap_or(u16::MAX);
        self.put(&len.to_be_bytes()).put(name.get(..usize::from(len)).unwrap_or(name))
    }

    /// A property whose value is a string.
    pub fn text(&mut self, name: &str, value: &[u8]) -> &mut Self {
        self.key(name.as_bytes()).string(value)
    }

    /// Bytes that are AMF0 already.
    pub fn raw(&mut self, encoded: &[u8]) -> &mut Self {
        self.put(encoded)
    }

    /// 00 00 09.
    pub fn end(&mut self) -> &mut Self {
        self.put(&[0, 0, 9])
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.out.extend_from_slice(bytes);
        self
    }
}
