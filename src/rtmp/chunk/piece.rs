//! What the chunk reader yields: body bytes of a message, with its header; and its limits.

use super::MessageHeader;
use crate::limits::{COMMAND_BYTES_MAX, CONTROL_BYTES_MAX, DATA_BYTES_MAX, MESSAGE_BYTES_MAX};

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

impl Default for MessageLimits {
    fn default() -> Self {
        Self {
            media: MESSAGE_BYTES_MAX,
            command: COMMAND_BYTES_MAX,
            data: DATA_BYTES_MAX,
            control: CONTROL_BYTES_MAX,
        }
    }
}

impl MessageLimits {
    /// The limit for a message type id.
    pub(super) fn of(&self, message_type: u8) -> u32 {
        match message_type {
            1..=6 => self.control,
            15 | 18 => self.data,
            16 | 17 | 19 | 20 => self.command,
            _ => self.media,
        }
    }
}

/// Body bytes of a piece: normally borrowed; up to 4 inline after a mispredicted extended
/// timestamp.
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
