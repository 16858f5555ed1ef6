//! The server role: from C0 to the last message, for one connection.
//!
//! Entry points: [`ServerSession::handle_input`] and [`ServerSession::handle_timeout`]; answers to
//! events are in `server_replies`, the dialogue of commands in `server_commands`.
//!
//! ```text
//!   Handshake --C2--> Connecting --connect--> Connected
//!   message stream:  idle -- publish/play, answered --> Publishing | Playing -- ... --> idle
//! ```
//!
//! INVARIANT: while an event waits for its answer, no input is consumed.

use std::sync::Arc;

use super::body::{Body, Partials};
use super::event::{Event, MediaKind, MediaPiece};
use super::streams::{MessageStreams, Use};
use crate::budget::{Budget, Charge};
use crate::limits::{
    ACK_WINDOW, ACK_WINDOW_MIN, CHUNK_SIZE_DEFAULT, CHUNK_SIZE_INITIAL, OUT_QUEUE_BYTES_MAX,
};
use crate::rtmp::ProtocolError;
use crate::rtmp::chunk::{ChunkReader, MessageHeader, MessageLimits, Piece};
use crate::rtmp::handshake::ServerHandshake;
use crate::rtmp::message::control::{self, event};
use crate::rtmp::message::type_id;
use crate::rtmp::wire::{u16_be, u32_be};
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
    /// A connection that neither publishes nor plays and sends no command for this long is
    /// closed, ms; 0: never.
    pub idle_timeout_ms: u64,
    /// A publisher or player is pinged after this long without a byte, and dead after twice
    /// that, ms; 0: never.
    pub ping_interval_ms: u64,
}

impl Default for SessionConfig {
    /// Default sizes, no deadlines.
    fn default() -> Self {
        Self {
            chunk_size: CHUNK_SIZE_DEFAULT,
            limits: MessageLimits::default(),
            handshake_timeout_ms: 0,
            idle_timeout_ms: 0,
            ping_interval_ms: 0,
        }
    }
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

#[derive(Debug)]
enum Phase {
    Handshake(Box<(ServerHandshake, Charge)>),
    /// Since when connect is waited for.
    Connecting(Millis),
    Connected,
}

/// The event that waits for its answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Awaiting {
    Connect { transaction: f64, object_encoding: f64, is_enhanced: bool },
    Publish,
    Play { reset: bool },
}

/// See the module documentation.
#[derive(Debug)]
pub struct ServerSession {
    pub(super) config: Arc<SessionConfig>,
    pub(super) budget: Arc<Budget>,
    phase: Phase,
    reader: ChunkReader,
    partials: Partials,
    pub(super) streams: MessageStreams,
    pub(super) awaiting: Option<Awaiting>,
    /// The second event of an input that caused two.
    pub(super) queued: Option<Box<Event<'static>>>,
    /// Outgoing chunk size in force.
    pub(super) chunk_size: u32,
    /// Bytes received, modulo 2^32.
    received: u32,
    acknowledged: u32,
    ack_window: u32,
    announced_window: u32,
    last_received: Millis,
    /// When the last command came or a stream was told that its use has ended.
    pub(super) last_command: Millis,
    is_pinged: bool,
}

impl ServerSession {
    /// A session waiting for C0.
    #[must_use]
    pub fn new(config: Arc<SessionConfig>, budget: Arc<Budget>, now: Millis) -> Self {
        let handshake = Box::new((ServerHandshake::new(), Charge::empty(&budget)));
        Self {
            reader: ChunkReader::new(config.limits),
            config,
            budget,
            phase: Phase::Handshake(handshake),
            partials: Partials::default(),
            streams: MessageStreams::default(),
            awaiting: None,
            queued: None,
            chunk_size: CHUNK_SIZE_INITIAL,
            received: 0,
            acknowledged: 0,
            ack_window: ACK_WINDOW,
            announced_window: 0,
            last_received: now,
            last_command: now,
            is_pinged: false,
        }
    }

    /// As if `received` bytes had been received and acknowledged: acknowledgements wrap at 2^32.
    #[must_use]
    pub fn with_received(mut self, received: u32) -> Self {
        self.received = received;
        self.acknowledged = received;
        self
    }

    /// Consumes `input` up to and including the next event; replies are appended to `out`.
    /// `None`: all input is used up, an answer is missing, or `out` is full
    /// (`OUT_QUEUE_BYTES_MAX`).
    ///
    /// # Errors
    /// What the peer did wrong; flush `out` and close.
    pub fn handle_input<'a>(
        &mut self,
        input: &mut &'a [u8],
        out: &mut Vec<u8>,
        now: Millis,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        if let Some(event) = self.queued.take() {
            return Ok(Some(*event));
        }
        if self.awaiting.is_some() {
            return Ok(None);
        }
        let before = input.len();
        if before > 0 {
            self.last_received = now;
            self.is_pinged = false;
        }
        let event = self.next_event(input, out, now);
        let used = u32::try_from(before - input.len()).unwrap_or(u32::MAX);
        self.received = self.received.wrapping_add(used);
        self.acknowledge(out);
        event
    }

    fn next_event<'a>(
        &mut self,
        input: &mut &'a [u8],
        out: &mut Vec<u8>,
        now: Millis,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        if let Phase::Handshake(handshake) = &mut self.phase {
            let (handshake, charge) = handshake.as_mut();
            let is_done = handshake.handle_input(input, out)?;
            charge.resize(handshake.buffered_bytes())?;
            if !is_done {
                return Ok(None);
            }
            self.phase = Phase::Connecting(now);
        }
        // LIMIT: replies are longer than commands; the rest waits until they are sent.
        while out.len() <= OUT_QUEUE_BYTES_MAX {
            let Some(piece) = self.reader.read(input)? else { break };
            if let Some(event) = self.handle_piece(&piece, out, now)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn handle_piece<'a>(
        &mut self,
        piece: &Piece<'a>,
        out: &mut Vec<u8>,
        now: Millis,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let header = piece.header;
        let kind = match header.message_type {
            type_id::AUDIO => MediaKind::Audio,
            type_id::VIDEO => MediaKind::Video,
            type_id::DATA_AMF0 | type_id::DATA_AMF3 | type_id::AGGREGATE
                if self.streams.in_use(header.msid, Use::Publishing).is_none() =>
            {
                return Ok(None);
            }
            type_id::SET_CHUNK_SIZE..=type_id::SET_PEER_BANDWIDTH
            | type_id::DATA_AMF3
            | type_id::COMMAND_AMF3
            | type_id::DATA_AMF0
            | type_id::COMMAND_AMF0
            | type_id::AGGREGATE => {
                return match self.partials.gather(piece, &self.budget)? {
                    Some(body) => self.handle_message(&header, body, out, now),
                    None => Ok(None),
                };
            }
            // Unknown types and shared objects: read and dropped. Closing broke encoders.
            _ => return Ok(None),
        };
        let Some(msid) = self.streams.in_use(header.msid, Use::Publishing) else { return Ok(None) };
        Ok(Some(Event::Media(MediaPiece {
            msid,
            kind,
            timestamp: header.timestamp,
            length: header.length,
            slot: piece.slot,
            offset: piece.offset,
            bytes: piece.bytes,
        })))
    }

    fn handle_message<'a>(
        &mut self,
        header: &MessageHeader,
        body: Body<'a>,
        out: &mut Vec<u8>,
        now: Millis,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        let timestamp = header.timestamp;
        match header.message_type {
            type_id::COMMAND_AMF0 => self.handle_command(header, &body, out, now),
            type_id::COMMAND_AMF3 => {
                self.handle_command(header, &body.without_selector(), out, now)
            }
            type_id::DATA_AMF0 | type_id::DATA_AMF3 => {
                let Some(msid) = self.streams.in_use(header.msid, Use::Publishing) else {
                    return Ok(None);
                };
                let is_amf3 = header.message_type == type_id::DATA_AMF3;
                let body = if is_amf3 { body.without_selector() } else { body };
                Ok(Some(Event::Data { msid, timestamp, body }))
            }
            type_id::AGGREGATE => {
                let Some(msid) = self.streams.in_use(header.msid, Use::Publishing) else {
                    return Ok(None);
                };
                Ok(Some(Event::Aggregate { msid, timestamp, body }))
            }
            control => self.handle_control(control, &body, out),
        }
    }

    /// Short payloads are ignored, longer ones read as far as they are defined.
    fn handle_control(
        &mut self,
        message_type: u8,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<Event<'static>>, ProtocolError> {
        let Some(value) = u32_be(body, 0) else { return Ok(None) };
        match message_type {
            type_id::SET_CHUNK_SIZE => self.reader.set_chunk_size(value)?,
            type_id::ABORT => {
                let Some(slot) = self.reader.abort(value) else { return Ok(None) };
                self.partials.forget(slot);
                return Ok(Some(Event::MediaAborted { slot }));
            }
            type_id::WINDOW_ACK_SIZE if value > 0 => self.ack_window = value.max(ACK_WINDOW_MIN),
            type_id::SET_PEER_BANDWIDTH if body.len() >= 5 && value != self.announced_window => {
                self.announced_window = value;
                control::emit_u32(type_id::WINDOW_ACK_SIZE, value, out);
            }
            type_id::USER_CONTROL => {
                if let (Some(event::PING_REQUEST), Some(time)) = (u16_be(body, 0), u32_be(body, 2))
                {
                    control::emit_event(event::PING_RESPONSE, time, out);
                }
            }
            _ => {}
        }
        Ok(None)
    }

    /// Acknowledges at half the window, modulo 2^32. Never before the handshake is over.
    fn acknowledge(&mut self, out: &mut Vec<u8>) {
        let unacknowledged = self.received.wrapping_sub(self.acknowledged);
        if unacknowledged < self.ack_window / 2 || matches!(self.phase, Phase::Handshake(_)) {
            return;
        }
        self.acknowledged = self.received;
        control::emit_u32(type_id::ACKNOWLEDGEMENT, self.received, out);
    }

    /// When [`ServerSession::handle_timeout`] wants to be called; `None`: not before more input.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        self.deadline().map(|(at, _)| at)
    }

    /// Sends a ping, or says that the connection must end.
    ///
    /// # Errors
    /// The deadline that passed.
    pub fn handle_timeout(&mut self, now: Millis, out: &mut Vec<u8>) -> Result<(), Timeout> {
        match self.deadline() {
            Some((at, timeout)) if at <= now => {
                if timeout != Timeout::Ping || self.is_pinged {
                    return Err(timeout);
                }
                self.is_pinged = true;
                let [.., a, b, c, d] = now.0.to_be_bytes();
                control::emit_event(event::PING_REQUEST, u32::from_be_bytes([a, b, c, d]), out);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The next deadline. A connection that is not in use is not pinged: it ends by the idle
    /// deadline anyway, and ten thousand of them must not wake the loop.
    fn deadline(&self) -> Option<(Millis, Timeout)> {
        let config = &self.config;
        match self.phase {
            Phase::Handshake(_) => {
                Some((self.last_command.plus(config.handshake_timeout_ms), Timeout::Handshake))
            }
            Phase::Connecting(since) => {
                Some((since.plus(config.handshake_timeout_ms), Timeout::FirstCommand))
            }
            Phase::Connected if self.is_active() => {
                let intervals = if self.is_pinged { 2 } else { 1 };
                let at = self.last_received.plus(config.ping_interval_ms.saturating_mul(intervals));
                (config.ping_interval_ms > 0).then_some((at, Timeout::Ping))
            }
            Phase::Connected => {
                let at = self.last_command.plus(config.idle_timeout_ms);
                (config.idle_timeout_ms > 0).then_some((at, Timeout::Idle))
            }
        }
    }

    /// Whether an event is left that needs no more input.
    #[must_use]
    pub fn has_queued_event(&self) -> bool {
        self.queued.is_some()
    }

    /// Whether connect has been accepted.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self.phase, Phase::Connected)
    }

    /// Whether any stream publishes or plays.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.streams.is_active()
    }

    /// Bytes held beside messages: chunk streams, message streams, the handshake's state.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        let handshake = match &self.phase {
            Phase::Handshake(handshake) => size_of_val(handshake.as_ref()),
            Phase::Connecting(_) | Phase::Connected => 0,
        };
        handshake
            + self.streams.list_bytes()
            + self.reader.state_bytes()
            + self.partials.list_bytes()
    }

    /// Bytes held by the handshake and by unfinished command and data messages.
    #[must_use]
    pub fn partial_bytes(&self) -> usize {
        let handshake = match &self.phase {
            Phase::Handshake(handshake) => handshake.1.bytes(),
            Phase::Connecting(_) | Phase::Connected => 0,
        };
        handshake + self.partials.bytes()
    }

    pub(super) fn set_connected(&mut self, announced_window: u32) {
        self.phase = Phase::Connected;
        self.announced_window = announced_window;
    }
}
