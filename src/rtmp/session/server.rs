//! The server role.

use std::sync::Arc;

use super::event::Event;
use crate::budget::Budget;
use crate::rtmp::chunk::MessageLimits;
use crate::rtmp::{Msid, ProtocolError};
use crate::time::Millis;

/// What all server sessions of a process share.
#[derive(Debug, Clone)]
pub struct SessionConfig {
    /// Outgoing chunk size in bytes; 128 sends no Set Chunk Size.
    pub chunk_size: u32,
    /// Message limits.
    pub limits: MessageLimits,
    /// From accept to C2, and again from there to connect, ms.
    pub handshake_timeout_ms: u64,
    /// A connection that neither publishes nor plays and sends no command for this long is closed; 0: never.
    pub idle_timeout_ms: u64,
    /// Ping after this long without a byte from the peer, ms; dead after twice that; 0: never.
    pub ping_interval_ms: u64,
}

/// Why [`ServerSession::handle_timeout`] ends a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// Handshake not finished in time.
    Handshake,
    /// No connect in time.
    FirstCommand,
    /// Neither publishing nor playing.
    Idle,
    /// No byte after a ping.
    Ping,
}

/// onStatus and _error codes the owner may send (5.10 of the command reference).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// NetConnection.Connect.Rejected, error.
    ConnectRejected,
    /// NetConnection.Connect.InvalidApp, error.
    ConnectInvalidApp,
    /// NetConnection.Connect.AppShutdown, error.
    ConnectAppShutdown,
    /// NetStream.Publish.BadName, error.
    PublishBadName,
    /// NetStream.Publish.Rejected, error (limits, shutdown, memory).
    PublishRejected,
    /// NetStream.Unpublish.Success, status.
    UnpublishSuccess,
    /// NetStream.Play.StreamNotFound, error.
    PlayStreamNotFound,
    /// NetStream.Play.Failed, error (limits, memory).
    PlayFailed,
    /// NetStream.Play.PublishNotify, status.
    PlayPublishNotify,
    /// NetStream.Play.UnpublishNotify, status; preceded by Stream EOF.
    PlayUnpublishNotify,
    /// NetStream.Play.Complete as onPlayStatus, then NetStream.Play.Stop (duration reached).
    PlayStop,
}

/// See the module documentation.
#[derive(Debug)]
pub struct ServerSession {}

impl ServerSession {
    /// A session waiting for C0.
    #[must_use]
    pub fn new(config: Arc<SessionConfig>, budget: Arc<Budget>, now: Millis) -> Self {
        let _ = (config, budget, now);
        todo!()
    }
    /// Consumes `input` up to and including the next event; replies are appended to `out`.
    /// `None`: all input is used up.
    ///
    /// # Errors
    /// What the peer did wrong; flush `out` and close.
    pub fn handle_input<'a>(
        &mut self,
        input: &mut &'a [u8],
        out: &mut Vec<u8>,
        now: Millis,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let _ = (input, out, now);
        todo!()
    }
    /// When [`ServerSession::handle_timeout`] wants to be called; `None`: not before more input.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        todo!()
    }
    /// Sends a ping, or says that the connection must end.
    ///
    /// # Errors
    /// The deadline that passed.
    pub fn handle_timeout(&mut self, now: Millis, out: &mut Vec<u8>) -> Result<(), Timeout> {
        let _ = (now, out);
        todo!()
    }
    /// Window Acknowledgement Size, Set Peer Bandwidth, Set Chunk Size, Stream Begin 0, `_result`.
    pub fn accept_connect(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }
    /// `_error`; the owner then flushes and closes.
    pub fn reject_connect(&mut self, status: Status, description: &str, out: &mut Vec<u8>) {
        let _ = (status, description, out);
    }
    /// Publish.Start.
    pub fn accept_publish(&mut self, msid: Msid, out: &mut Vec<u8>) {
        let _ = (msid, out);
    }
    /// onStatus error; the stream is idle again.
    pub fn reject_publish(
        &mut self,
        msid: Msid,
        status: Status,
        description: &str,
        out: &mut Vec<u8>,
    ) {
        let _ = (msid, status, description, out);
    }
    /// Stream Begin, Play.Reset, Play.Start, RtmpSampleAccess.
    pub fn accept_play(&mut self, msid: Msid, out: &mut Vec<u8>) {
        let _ = (msid, out);
    }
    /// onStatus error; the stream is idle again.
    pub fn reject_play(
        &mut self,
        msid: Msid,
        status: Status,
        description: &str,
        out: &mut Vec<u8>,
    ) {
        let _ = (msid, status, description, out);
    }
    /// Sends `status` on `msid`; UnpublishSuccess, PlayUnpublishNotify and PlayStop also make the stream idle.
    pub fn notify(&mut self, msid: Msid, status: Status, out: &mut Vec<u8>) {
        let _ = (msid, status, out);
    }
    /// Whether connect has been accepted.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        todo!()
    }
    /// Whether any stream publishes or plays.
    #[must_use]
    pub fn is_active(&self) -> bool {
        todo!()
    }
    /// Bytes held by unfinished command and data messages (for the eviction of the largest).
    #[must_use]
    pub fn partial_bytes(&self) -> usize {
        todo!()
    }
}
