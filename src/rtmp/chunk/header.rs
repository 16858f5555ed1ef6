//! Basic header, message header and extended timestamp: emit (RTMP 1.0, 5.3.1).
//!
//! ```text
//!   | fmt+csid 1-3 | timestamp 3 | length 3 | type 1 | msid 4 LE | extended timestamp 0/4 |
//! ```

use crate::rtmp::{Csid, Msid};

/// The header of one message, all fields resolved (never a delta).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageHeader {
    /// Chunk stream the message came on.
    pub csid: Csid,
    /// Absolute timestamp in ms, modulo 2^32.
    pub timestamp: u32,
    /// Body length in bytes, at most 0xFFFFFF.
    pub length: u32,
    /// Message type id.
    pub message_type: u8,
    /// Message stream id.
    pub msid: Msid,
}

/// Longest basic header + message header + extended timestamp in bytes.
pub const HEADER_BYTES_MAX: usize = 18;

/// In a 24-bit timestamp field: the extended timestamp follows.
pub const EXTENDED: u32 = 0x00FF_FFFF;

/// Bytes of a header as they are put together.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeaderBytes {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

impl HeaderBytes {
    /// The basic header: 1, 2 or 3 bytes by csid.
    pub(super) fn basic(chunk_type: u8, csid: Csid) -> Self {
        let mut header = Self { bytes: [0; HEADER_BYTES_MAX], len: 0 };
        let fmt = chunk_type << 6;
        // LIMIT: 65 599 is the largest csid there is; the writer's callers choose theirs.
        let above = csid.0.saturating_sub(64).min(0xFFFF);
        let [low, high, ..] = above.to_le_bytes();
        match csid.0 {
            0..=63 => header.put(&[fmt | low_byte(csid.0)]),
            64..=319 => header.put(&[fmt, low]),
            _ => header.put(&[fmt | 1, low, high]),
        }
        header
    }

    pub(super) fn put(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if let Some(target) = self.bytes.get_mut(self.len..end) {
            target.copy_from_slice(bytes);
            self.len = end;
        }
    }

    pub(super) fn put_u24(&mut self, value: u32) {
        let [_, bytes @ ..] = value.to_be_bytes();
        self.put(&bytes);
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

fn low_byte(value: u32) -> u8 {
    value.to_le_bytes()[0]
}

/// Emits the type-0 header of a message: basic, message header, extended timestamp if >= 0xFFFFFF.
/// Returns the bytes and how many of them count.
#[must_use]
pub fn type_0_header(header: &MessageHeader) -> ([u8; HEADER_BYTES_MAX], usize) {
    let mut bytes = HeaderBytes::basic(0, header.csid);
    bytes.put_u24(header.timestamp.min(EXTENDED));
    bytes.put_u24(header.length);
    bytes.put(&[header.message_type]);
    bytes.put(&header.msid.0.to_le_bytes());
    if header.timestamp >= EXTENDED {
        bytes.put(&header.timestamp.to_be_bytes());
    }
    (bytes.bytes, bytes.len)
}

/// Emits the type-3 continuation header for `csid`, with the extended timestamp repeated when
/// `timestamp` needs one: ffmpeg and rtmpdump lose the stream without the repetition.
#[must_use]
pub fn continuation_header(csid: Csid, timestamp: u32) -> ([u8; HEADER_BYTES_MAX], usize) {
    let mut bytes = HeaderBytes::basic(3, csid);
    if timestamp >= EXTENDED {
        bytes.put(&timestamp.to_be_bytes());
    }
    (bytes.bytes, bytes.len)
}
