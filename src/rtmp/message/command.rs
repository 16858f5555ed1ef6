//! Command and data messages, written straight into an outgoing buffer.
//!
//! ```text
//!   out: ... | 12 bytes for the header | AMF0 values |     length known: header filled in,
//!        ... | type-0 header | 128 bytes | c3 | rest |     type-3 headers put in between
//! ```

use super::type_id;
use crate::rtmp::amf0::Writer;
use crate::rtmp::chunk::MessageHeader;
use crate::rtmp::chunk::header::{continuation_header, type_0_header};
use crate::rtmp::{Csid, Msid};

/// Results of commands of the connection.
pub const CSID_COMMAND: Csid = Csid(3);
/// Statuses and data of a message stream.
pub const CSID_STATUS: Csid = Csid(5);

/// Header of a type-0 message below 0xFFFFFF ms on a csid below 64.
const HEADER_BYTES: usize = 12;

/// Where a message goes.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Chunk stream, below 64.
    pub csid: Csid,
    /// Message stream.
    pub msid: Msid,
    /// Message type id.
    pub message_type: u8,
    /// Outgoing chunk size.
    pub chunk_size: u32,
}

impl Route {
    /// A command of the connection.
    #[must_use]
    pub fn command(chunk_size: u32) -> Self {
        let message_type = type_id::COMMAND_AMF0;
        Self { csid: CSID_COMMAND, msid: Msid(0), message_type, chunk_size }
    }

    /// A status of a message stream.
    #[must_use]
    pub fn status(msid: Msid, chunk_size: u32) -> Self {
        Self { csid: CSID_STATUS, msid, message_type: type_id::COMMAND_AMF0, chunk_size }
    }

    /// Data of a message stream.
    #[must_use]
    pub fn data(msid: Msid, chunk_size: u32) -> Self {
        Self { csid: CSID_STATUS, msid, message_type: type_id::DATA_AMF0, chunk_size }
    }
}

/// Appends one message whose values `write` appends.
pub fn emit(route: Route, out: &mut Vec<u8>, write: impl FnOnce(&mut Writer<'_>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEADER_BYTES]);
    let body = out.len();
    write(&mut Writer::new(out));
    let length = u32::try_from(out.len() - body).unwrap_or(0);
    let Route { csid, msid, message_type, chunk_size } = route;
    let header = MessageHeader { csid, timestamp: 0, length, message_type, msid };
    let (bytes, len) = type_0_header(&header);
    debug_assert_eq!(len, HEADER_BYTES, "command csids are below 64");
    if let Some(target) = out.get_mut(start..body) {
        target.copy_from_slice(bytes.get(..HEADER_BYTES).unwrap_or_default());
    }
    let (bytes, len) = continuation_header(csid, 0);
    let continuation = bytes.get(..len).unwrap_or_default();
    for index in (1..length.div_ceil(chunk_size.max(1))).rev() {
        let at = body + index as usize * chunk_size as usize;
        out.splice(at..at, continuation.iter().copied());
    }
}

/// Appends `_result` with `transaction` bit for bit, null, and what `write` appends.
pub fn emit_result(
    transaction: f64,
    chunk_size: u32,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Writer<'_>),
) {
    emit(Route::command(chunk_size), out, |writer| {
        write(writer.string(b"_result").number(transaction).null());
    });
}

/// Appends `_error` of a command that is not a connect.
pub fn emit_call_failed(transaction: f64, text: &str, chunk_size: u32, out: &mut Vec<u8>) {
    emit(Route::command(chunk_size), out, |writer| {
        writer.string(b"_error").number(transaction).null().object();
        writer.text("level", b"error").text("code", b"NetConnection.Call.Failed");
        writer.text("description", text.as_bytes()).end();
    });
}
