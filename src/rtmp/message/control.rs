//! Protocol control and user control messages (RTMP 1.0, 5.4 and 7.1.7): csid 2, msid 0.

use super::type_id;
use crate::limits::CHUNK_SIZE_INITIAL;
use crate::rtmp::chunk::MessageHeader;
use crate::rtmp::chunk::writer::emit_message;
use crate::rtmp::{Csid, Msid};

/// User control events.
pub mod event {
    /// Playback of a message stream begins.
    pub const STREAM_BEGIN: u16 = 0;
    /// Playback of a message stream is over.
    pub const STREAM_EOF: u16 = 1;
    /// The player's buffer: u32 msid, u32 ms.
    pub const SET_BUFFER_LENGTH: u16 = 3;
    /// Answer with the same u32.
    pub const PING_REQUEST: u16 = 6;
    /// The answer.
    pub const PING_RESPONSE: u16 = 7;
}

/// Appends a control message. No body is longer than the smallest chunk size in use.
pub fn emit(message_type: u8, body: &[u8], out: &mut Vec<u8>) {
    let header =
        MessageHeader { csid: Csid(2), timestamp: 0, length: 0, message_type, msid: Msid(0) };
    emit_message(&header, body, CHUNK_SIZE_INITIAL, out);
}

/// Appends a control message that is one u32.
pub fn emit_u32(message_type: u8, value: u32, out: &mut Vec<u8>) {
    emit(message_type, &value.to_be_bytes(), out);
}

/// Appends Set Peer Bandwidth with limit type 2 (dynamic).
pub fn emit_peer_bandwidth(window: u32, out: &mut Vec<u8>) {
    let [a, b, c, d] = window.to_be_bytes();
    emit(type_id::SET_PEER_BANDWIDTH, &[a, b, c, d, 2], out);
}

/// Appends a user control event with one u32.
pub fn emit_event(event: u16, value: u32, out: &mut Vec<u8>) {
    let [high, low] = event.to_be_bytes();
    let [a, b, c, d] = value.to_be_bytes();
    emit(type_id::USER_CONTROL, &[high, low, a, b, c, d], out);
}

/// Appends Set Buffer Length.
pub fn emit_buffer_length(msid: Msid, buffer_ms: u32, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(10);
    body.extend_from_slice(&event::SET_BUFFER_LENGTH.to_be_bytes());
    body.extend_from_slice(&msid.0.to_be_bytes());
    body.extend_from_slice(&buffer_ms.to_be_bytes());
    emit(type_id::USER_CONTROL, &body, out);
}
