//! The chunk writer: whole messages, never interleaved.
//!
//! [`emit_message`] is stateless (type 0 and continuations): every reply of the server.
//! [`ChunkWriter`] compresses headers (types 0-3) as publishers do: the client role and tests.

use super::MessageHeader;
use super::header::{EXTENDED, HeaderBytes, continuation_header, type_0_header};
use super::stream::is_taken_for_absolute;
use crate::limits::{CHUNK_SIZE_INITIAL, CHUNK_SIZE_MAX, CHUNK_STREAMS_MAX};
use crate::rtmp::Csid;

/// Longest body in bytes: its length has 24 bits.
const BODY_BYTES_MAX: usize = 0x00FF_FFFF;

/// Appends one message as type 0 plus type-3 continuations. Stateless, so any message may be
/// left out before or after it. `header.length` is taken from `body`.
pub fn emit_message(header: &MessageHeader, body: &[u8], chunk_size: u32, out: &mut Vec<u8>) {
    let (body, length) = fit(body);
    let (bytes, len) = type_0_header(&MessageHeader { length, ..*header });
    out.extend_from_slice(bytes.get(..len).unwrap_or(&bytes));
    emit_body(header.csid, header.timestamp, body, chunk_size, out);
}

/// The body and its length; what a 24-bit length cannot say is cut off.
fn fit(body: &[u8]) -> (&[u8], u32) {
    let body = body.get(..BODY_BYTES_MAX).unwrap_or(body);
    (body, u32::try_from(body.len()).unwrap_or(0))
}

/// Appends `body`, a type-3 header between chunks. `field`: what an extended timestamp repeats.
fn emit_body(csid: Csid, field: u32, body: &[u8], chunk_size: u32, out: &mut Vec<u8>) {
    let (bytes, len) = continuation_header(csid, field);
    for (index, chunk) in body.chunks(chunk_size.max(1) as usize).enumerate() {
        if index > 0 {
            out.extend_from_slice(bytes.get(..len).unwrap_or(&bytes));
        }
        out.extend_from_slice(chunk);
    }
}

/// What the last header of a chunk stream said.
#[derive(Debug, Clone, Copy)]
struct Last {
    header: MessageHeader,
    /// Delta of the last type 1 or 2; `None` after type 0.
    delta: Option<u32>,
}

/// A writer that compresses headers (types 0-3) like real publishers: for the client role and
/// tests.
#[derive(Debug)]
pub struct ChunkWriter {
    chunk_size: u32,
    last: Vec<Last>,
}

impl Default for ChunkWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl ChunkWriter {
    /// Chunk size 128.
    #[must_use]
    pub fn new() -> Self {
        Self { chunk_size: CHUNK_SIZE_INITIAL, last: Vec::new() }
    }

    /// Our Set Chunk Size is on the wire: later chunks have this size.
    pub fn set_chunk_size(&mut self, size: u32) {
        self.chunk_size = size.clamp(1, CHUNK_SIZE_MAX);
    }

    /// Appends one message with the shortest legal header (type 0 on a backward timestamp step).
    pub fn emit(&mut self, header: &MessageHeader, body: &[u8], out: &mut Vec<u8>) {
        let (body, length) = fit(body);
        let header = MessageHeader { length, ..*header };
        let last = self.last.iter().position(|last| last.header.csid == header.csid);
        let previous = last.and_then(|at| self.last.get(at).copied());
        let (field, delta) = match previous {
            Some(last) if is_delta_possible(&last.header, &header) => {
                let delta = header.timestamp.wrapping_sub(last.header.timestamp);
                emit_delta_header(&last, &header, delta, out);
                (delta, Some(delta))
            }
            _ => {
                let (bytes, len) = type_0_header(&header);
                out.extend_from_slice(bytes.get(..len).unwrap_or(&bytes));
                (header.timestamp, None)
            }
        };
        emit_body(header.csid, field, body, self.chunk_size, out);
        let now = Last { header, delta };
        if let Some(slot) = last.and_then(|at| self.last.get_mut(at)) {
            *slot = now;
        } else if self.last.len() < CHUNK_STREAMS_MAX {
            self.last.push(now);
        }
    }
}

fn is_delta_possible(last: &MessageHeader, next: &MessageHeader) -> bool {
    let delta = next.timestamp.wrapping_sub(last.timestamp);
    last.msid == next.msid && delta < 1 << 31 && !is_taken_for_absolute(delta, last.timestamp)
}

fn emit_delta_header(last: &Last, next: &MessageHeader, delta: u32, out: &mut Vec<u8>) {
    let same_message =
        last.header.length == next.length && last.header.message_type == next.message_type;
    // Right after type 0 readers disagree on the delta of type 3, unless both readings are 0.
    let repeats = match last.delta {
        Some(old) => old == delta,
        None => delta == 0 && last.header.timestamp == 0,
    };
    let chunk_type = match (same_message, repeats) {
        (false, _) => 1,
        (true, false) => 2,
        (true, true) => 3,
    };
    let mut bytes = HeaderBytes::basic(chunk_type, next.csid);
    if chunk_type <= 2 {
        bytes.put_u24(delta.min(EXTENDED));
    }
    if chunk_type == 1 {
        bytes.put_u24(next.length);
        bytes.put(&[next.message_type]);
    }
    if delta >= EXTENDED {
        bytes.put(&delta.to_be_bytes());
    }
    out.extend_from_slice(bytes.as_slice());
}
