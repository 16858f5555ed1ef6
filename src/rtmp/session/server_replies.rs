//! What the owner of a server session answers and announces.

use super::server::{Awaiting, ServerSession};
use super::streams::Use;
use crate::limits::{ACK_WINDOW, CHUNK_SIZE_INITIAL};
use crate::rtmp::Msid;
use crate::rtmp::amf0::Writer;
use crate::rtmp::message::command::{Route, emit};
use crate::rtmp::message::control::{self, event};
use crate::rtmp::message::status::{Status, emit_status};
use crate::rtmp::message::type_id;
use crate::time::Millis;

/// What connect's `_result` calls the server; some clients read features from this pattern.
const FMS_VERSION: &[u8] = b"FMS/3,5,7,7009";
/// Enhanced RTMP capsEx bits: multitrack 2, ModEx 4, nanosecond offset 8; `tests/enhanced.rs` shows
/// that all three pass. Reconnect 1 is not announced: nobody sends the request.
const CAPS_EX: f64 = 14.0;
/// FourCC info map: CanForward.
const CAN_FORWARD: f64 = 4.0;

impl ServerSession {
    /// Window Acknowledgement Size, Set Peer Bandwidth, Set Chunk Size, Stream Begin 0, `_result`.
    pub fn accept_connect(&mut self, out: &mut Vec<u8>) {
        let Some(Awaiting::Connect { transaction, object_encoding, is_enhanced }) =
            self.awaiting.take()
        else {
            return;
        };
        self.set_connected(ACK_WINDOW);
        control::emit_u32(type_id::WINDOW_ACK_SIZE, ACK_WINDOW, out);
        control::emit_peer_bandwidth(ACK_WINDOW, out);
        if self.config.chunk_size != CHUNK_SIZE_INITIAL {
            self.chunk_size = self.config.chunk_size;
            control::emit_u32(type_id::SET_CHUNK_SIZE, self.chunk_size, out);
        }
        control::emit_event(event::STREAM_BEGIN, 0, out);
        emit(Route::command(self.chunk_size), out, |writer| {
            writer.string(b"_result").number(transaction).object();
            writer.key(b"capabilities").number(31.0).text("fmsVer", FMS_VERSION);
            if is_enhanced {
                write_enhanced(writer);
            }
            writer.end().object().text("code", b"NetConnection.Connect.Success");
            writer.text("level", b"status").text("description", b"Connection succeeded.");
            if object_encoding != 0.0 {
                writer.key(b"objectEncoding").number(object_encoding);
            }
            writer.end();
        });
    }

    /// `_error`; the owner then flushes and closes.
    pub fn reject_connect(&mut self, status: Status, description: &str, out: &mut Vec<u8>) {
        let Some(Awaiting::Connect { transaction, .. }) = self.awaiting.take() else { return };
        emit(Route::command(self.chunk_size), out, |writer| {
            writer.string(b"_error").number(transaction).null().object();
            writer.text("level", b"error").text("code", status.code().as_bytes());
            writer.text("description", description.as_bytes()).end();
        });
    }

    /// Publish.Start.
    pub fn accept_publish(&mut self, msid: Msid, out: &mut Vec<u8>) {
        self.awaiting = None;
        self.streams.set_use(msid, Use::Publishing);
        let code = "NetStream.Publish.Start";
        emit_status(msid, "status", code, b"Started publishing stream.", self.chunk_size, out);
    }

    /// onStatus error; the stream is idle again.
    pub fn reject_publish(
        &mut self,
        msid: Msid,
        status: Status,
        description: &str,
        out: &mut Vec<u8>,
    ) {
        self.refuse(msid, status, description, out);
    }

    /// Stream Begin, Play.Reset, Play.Start, RtmpSampleAccess. librtmp throws away media that come
    /// before Play.Start.
    pub fn accept_play(&mut self, msid: Msid, out: &mut Vec<u8>) {
        let Some(Awaiting::Play { reset }) = self.awaiting.take() else { return };
        self.streams.set_use(msid, Use::Playing);
        let chunk_size = self.chunk_size;
        control::emit_event(event::STREAM_BEGIN, msid.0, out);
        if reset {
            let text = b"Playing and resetting stream.";
            emit_status(msid, "status", "NetStream.Play.Reset", text, chunk_size, out);
        }
        let text = b"Started playing stream.";
        emit_status(msid, "status", "NetStream.Play.Start", text, chunk_size, out);
        emit(Route::data(msid, chunk_size), out, |writer| {
            writer.string(b"|RtmpSampleAccess").boolean(true).boolean(true);
        });
    }

    /// onStatus error; the stream is idle again.
    pub fn reject_play(
        &mut self,
        msid: Msid,
        status: Status,
        description: &str,
        out: &mut Vec<u8>,
    ) {
        self.refuse(msid, status, description, out);
    }

    /// Sends `status` on `msid`; UnpublishSuccess, PlayUnpublishNotify and PlayStop also make the
    /// stream idle: from `now` on the connection has the idle time to do something else.
    pub fn notify(&mut self, msid: Msid, status: Status, out: &mut Vec<u8>, now: Millis) {
        let chunk_size = self.chunk_size;
        match status {
            Status::PlayPublishNotify => control::emit_event(event::STREAM_BEGIN, msid.0, out),
            Status::PlayUnpublishNotify => control::emit_event(event::STREAM_EOF, msid.0, out),
            Status::PlayStop => {
                control::emit_event(event::STREAM_EOF, msid.0, out);
                emit(Route::data(msid, chunk_size), out, |writer| {
                    writer.string(b"onPlayStatus").object().text("level", b"status");
                    writer.text("code", b"NetStream.Play.Complete").end();
                });
            }
            _ => {}
        }
        self.emit_notice(msid, status, out);
        if status != Status::PlayPublishNotify {
            self.streams.set_use(msid, Use::Idle);
            self.last_command = now;
        }
    }

    fn refuse(&mut self, msid: Msid, status: Status, description: &str, out: &mut Vec<u8>) {
        self.awaiting = None;
        self.streams.set_use(msid, Use::Idle);
        let (code, text) = (status.code(), description.as_bytes());
        emit_status(msid, "error", code, text, self.chunk_size, out);
    }

    pub(super) fn emit_notice(&self, msid: Msid, status: Status, out: &mut Vec<u8>) {
        let text: &[u8] = match status {
            Status::UnpublishSuccess => b"Stream is now unpublished.",
            Status::PlayPublishNotify => b"Stream is now published.",
            Status::PlayUnpublishNotify => b"Stream is now unpublished.",
            _ => b"Stopped playing stream.",
        };
        emit_status(msid, "status", status.code(), text, self.chunk_size, out);
    }
}

/// Every codec is forwarded; the capability bits are those of multitrack, ModEx and nano offsets.
fn write_enhanced(writer: &mut Writer<'_>) {
    writer.key(b"fourCcList").strict_array(1).string(b"*");
    for map in ["videoFourCcInfoMap", "audioFourCcInfoMap"] {
        writer.key(map.as_bytes()).object().key(b"*").number(CAN_FORWARD).end();
    }
    writer.key(b"capsEx").number(CAPS_EX);
}
