//! onStatus and its relatives: codes, levels, and the exact order of their fields.
//!
//! ffmpeg skips exactly two values after the name, so onStatus is string, number, null, object.

use super::command::{Route, emit};
use crate::rtmp::Msid;

/// Codes that the owner of a session may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The application refused the connection, error.
    ConnectRejected,
    /// Unknown app, error.
    ConnectInvalidApp,
    /// Shutting down, error.
    ConnectAppShutdown,
    /// Name in use or refused, error.
    PublishBadName,
    /// A limit, memory or shutdown, error.
    PublishRejected,
    /// The publisher has ended.
    UnpublishSuccess,
    /// No such stream, error.
    PlayStreamNotFound,
    /// A limit or memory, error.
    PlayFailed,
    /// A publisher has appeared.
    PlayPublishNotify,
    /// The publisher has gone; Stream EOF comes before it.
    PlayUnpublishNotify,
    /// The duration asked for is over: onPlayStatus Complete, then Stop.
    PlayStop,
}

impl Status {
    /// The code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::ConnectRejected => "NetConnection.Connect.Rejected",
            Self::ConnectInvalidApp => "NetConnection.Connect.InvalidApp",
            Self::ConnectAppShutdown => "NetConnection.Connect.AppShutdown",
            Self::PublishBadName => "NetStream.Publish.BadName",
            Self::PublishRejected => "NetStream.Publish.Rejected",
            Self::UnpublishSuccess => "NetStream.Unpublish.Success",
            Self::PlayStreamNotFound => "NetStream.Play.StreamNotFound",
            Self::PlayFailed => "NetStream.Play.Failed",
            Self::PlayPublishNotify => "NetStream.Play.PublishNotify",
            Self::PlayUnpublishNotify => "NetStream.Play.UnpublishNotify",
            Self::PlayStop => "NetStream.Play.Stop",
        }
    }
}

/// Appends onStatus on a message stream.
pub fn emit_status(
    msid: Msid,
    level: &str,
    code: &str,
    description: &[u8],
    chunk_size: u32,
    out: &mut Vec<u8>,
) {
    emit(Route::status(msid, chunk_size), out, |writer| {
        writer.string(b"onStatus").number(0.0).null().object();
        writer.text("level", level.as_bytes()).text("code", code.as_bytes());
        writer.text("description", description).end();
    });
}

/// Appends `name` 0 null {code, description}: onFCPublish, onFCUnpublish, onFCSubscribe.
pub fn emit_fc(name: &str, code: &str, stream: &[u8], chunk_size: u32, out: &mut Vec<u8>) {
    emit(Route::command(chunk_size), out, |writer| {
        writer.string(name.as_bytes()).number(0.0).null().object();
        writer.text("level", b"status").text("code", code.as_bytes());
        writer.text("description", stream).end();
    });
}
