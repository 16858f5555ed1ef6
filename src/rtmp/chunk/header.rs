//! Basic header, message header and extended timestamp: parse and emit (RTMP 1.0, 5.3.1).

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

/// Emits the type-0 header of a message: basic, message header, extended timestamp if >= 0xFFFFFF.
/// Returns the bytes and how many of them count.
#[must_use]
pub fn type_0_header(header: &MessageHeader) -> ([u8; HEADER_BYTES_MAX], usize) {
    let _ = header;
    todo!()
}

/// Emits the type-3 continuation header for `csid`, with the extended timestamp repeated when
/// `timestamp` needs one.
#[must_use]
pub fn continuation_header(csid: Csid, timestamp: u32) -> ([u8; 7], usize) {
    let _ = (csid, timestamp);
    todo!()
}
