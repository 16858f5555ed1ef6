//! The chunk writer: whole messages, never interleaved.

use super::MessageHeader;

/// Appends one message as type 0 plus type-3 continuations. Stateless, so any message may be
/// left out before or after it. `header.length` is taken from `body`.
pub fn emit_message(header: &MessageHeader, body: &[u8], chunk_size: u32, out: &mut Vec<u8>) {
    let _ = (header, body, chunk_size, out);
    todo!()
}

/// A writer that compresses headers (types 0-3) like real publishers: for the client role and tests.
#[derive(Debug)]
pub struct ChunkWriter {}

impl ChunkWriter {
    /// Chunk size 128.
    #[must_use]
    pub fn new() -> Self {
        todo!()
    }
    /// Our Set Chunk Size is on the wire: later chunks have this size.
    pub fn set_chunk_size(&mut self, size: u32) {
        let _ = size;
        todo!()
    }
    /// Appends one message with the shortest legal header (type 0 on a backward timestamp step).
    pub fn emit(&mut self, header: &MessageHeader, body: &[u8], out: &mut Vec<u8>) {
        let _ = (header, body, out);
        todo!()
    }
}
