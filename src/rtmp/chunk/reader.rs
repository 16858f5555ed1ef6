//! The chunk reader: resumes at any byte, yields body pieces borrowed from the input.

use super::MessageHeader;
use crate::rtmp::ProtocolError;

/// Longest message per kind, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct MessageLimits {
    /// Audio, video and aggregate (types 8, 9, 22) and everything unnamed.
    pub media: u32,
    /// Commands (17, 20) and shared objects (16, 19).
    pub command: u32,
    /// Data (15, 18).
    pub data: u32,
    /// Protocol and user control (1-6).
    pub control: u32,
}

/// Body bytes of a piece: normally borrowed; up to 4 inline after a mispredicted extended timestamp.
#[derive(Debug, Clone, Copy)]
pub enum PieceBytes<'a> {
    /// Borrowed from the input.
    Borrowed(&'a [u8]),
    /// Copied, because they straddled two inputs.
    Inline([u8; 4], u8),
}

impl std::ops::Deref for PieceBytes<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Inline(bytes, len) => bytes.get(..usize::from(*len)).unwrap_or(bytes),
        }
    }
}

/// Consecutive body bytes of one message.
#[derive(Debug, Clone, Copy)]
pub struct Piece<'a> {
    /// Index of the chunk stream, 0..CHUNK_STREAMS_MAX, stable for the connection: a key for
    /// whoever assembles bodies.
    pub slot: usize,
    /// The message they belong to.
    pub header: MessageHeader,
    /// Position of the first byte in the body.
    pub offset: u32,
    /// The bytes; empty only for a message of length 0.
    pub bytes: PieceBytes<'a>,
}

impl Piece<'_> {
    /// Whether this begins its message.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.offset == 0
    }
    /// Whether this completes its message.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.offset as usize + self.bytes.len() == self.header.length as usize
    }
}

/// See the module documentation.
#[derive(Debug)]
pub struct ChunkReader {}

impl ChunkReader {
    /// A reader at the first chunk, chunk size 128.
    #[must_use]
    pub fn new(limits: MessageLimits) -> Self {
        let _ = limits;
        todo!()
    }
    /// The next piece, or `None` when `input` is used up (it always is then: unfinished headers
    /// are kept inside). `input` is advanced.
    ///
    /// # Errors
    /// Any chunk-level [`ProtocolError`]; the reader must not be used afterwards.
    pub fn read<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, ProtocolError> {
        let _ = input;
        todo!()
    }
    /// The peer's Set Chunk Size (clamped to 0xFFFFFF; top bit masked). In force from the next chunk header.
    ///
    /// # Errors
    /// [`ProtocolError::ZeroChunkSize`].
    pub fn set_chunk_size(&mut self, size: u32) -> Result<(), ProtocolError> {
        let _ = size;
        todo!()
    }
    /// The peer's Abort: forgets the partial message on `csid`. Returns its slot if there was one.
    pub fn abort(&mut self, csid: u32) -> Option<usize> {
        let _ = csid;
        todo!()
    }
}
