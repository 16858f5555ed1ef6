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
    /// 00.
    pub fn number(&mut self, value: f64) -> &mut Self {
        let _ = value;
        let _ = &self.out;
        todo!()
    }
    /// 01.
    pub fn boolean(&mut self, value: bool) -> &mut Self {
        let _ = value;
        todo!()
    }
    /// 02, or 0c above 65535 bytes.
    pub fn string(&mut self, value: &[u8]) -> &mut Self {
        let _ = value;
        todo!()
    }
    /// 05.
    pub fn null(&mut self) -> &mut Self {
        todo!()
    }
    /// 06.
    pub fn undefined(&mut self) -> &mut Self {
        todo!()
    }
    /// 03: then properties by `key` + value, then `end`.
    pub fn object(&mut self) -> &mut Self {
        todo!()
    }
    /// 08 with a count hint: then as `object`.
    pub fn ecma_array(&mut self, count: u32) -> &mut Self {
        let _ = count;
        todo!()
    }
    /// 0a: then `count` values, no end.
    pub fn strict_array(&mut self, count: u32) -> &mut Self {
        let _ = count;
        todo!()
    }
    /// A property name (a name above 65535 bytes is cut).
    pub fn key(&mut self, name: &[u8]) -> &mut Self {
        let _ = name;
        todo!()
    }
    /// 00 00 09.
    pub fn end(&mut self) -> &mut Self {
        todo!()
    }
}
