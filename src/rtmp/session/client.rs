//! The client role: the demo publisher, the load generator, tests, and later the relay.
//!
//! ```text
//!   C0 C1 -> S0 S1 S2 -> C2 connect -> _result -> releaseStream FCPublish createStream -> _result
//!         -> publish | play SetBufferLength -> onStatus -> media
//! ```

use std::sync::Arc;

use super::body::{Body, Partials};
use super::event::{MediaKind, MediaPiece};
use crate::budget::Budget;
use crate::limits::{
    ACK_WINDOW, CHUNK_SIZE_INITIAL, CLIENT_PARTIAL_BYTES_MAX, CONTROL_BYTES_MAX, DATA_BYTES_MAX,
};
use crate::rtmp::amf0::{Reader, Value};
use crate::rtmp::chunk::{ChunkReader, ChunkWriter, MessageHeader, MessageLimits, Piece};
use crate::rtmp::handshake::ClientHandshake;
use crate::rtmp::message::command::{Route, emit};
use crate::rtmp::message::control::{self, event};
use crate::rtmp::message::type_id;
use crate::rtmp::wire::{u16_be, u32_be};
use crate::rtmp::{Csid, Msid, ProtocolError};

/// What the client does once connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientRole {
    /// connect, then stay idle.
    Idle,
    /// releaseStream, FCPublish, createStream, publish(name, "live").
    Publish {
        /// Stream name.
        name: Vec<u8>,
    },
    /// createStream, play(name, -2000), SetBufferLength.
    Play {
        /// Stream name.
        name: Vec<u8>,
    },
}

/// How the client presents itself.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `app`.
    pub app: Vec<u8>,
    /// `tcUrl`.
    pub tc_url: Vec<u8>,
    /// flashVer.
    pub flash_ver: Vec<u8>,
    /// Digest handshake or plain.
    pub digest: bool,
    /// Chunk size for sending (Set Chunk Size is sent before connect when it is not 128).
    pub chunk_size: u32,
    /// What to do.
    pub role: ClientRole,
}

/// What a client session tells its owner.
#[derive(Debug)]
pub enum ClientEvent<'a> {
    /// connect succeeded.
    Connected,
    /// Publish.Start or Play.Start arrived.
    Started,
    /// Any other onStatus or _error: its code and whether its level is error.
    Status {
        /// `code`.
        code: Vec<u8>,
        /// Level "error".
        is_error: bool,
    },
    /// User control Stream EOF.
    StreamEof,
    /// Audio or video body bytes.
    Media(MediaPiece<'a>),
    /// A complete data message (RtmpSampleAccess included).
    Data {
        /// ms.
        timestamp: u32,
        /// AMF0 values.
        body: Body<'a>,
    },
}

const CONNECT: f64 = 1.0;
const CREATE_STREAM: f64 = 4.0;

/// See the module documentation.
#[derive(Debug)]
pub struct ClientSession {
    config: Arc<ClientConfig>,
    handshake: Option<Box<ClientHandshake>>,
    reader: ChunkReader,
    writer: ChunkWriter,
    partials: Partials,
    budget: Arc<Budget>,
    msid: Msid,
    received: u32,
    acknowledged: u32,
    ack_window: u32,
    media_bytes: u64,
    /// Bytes since the last piece: of a header that may be unfinished.
    header_bytes: usize,
}

impl ClientSession {
    /// Starts the handshake: C0 C1 are appended to `out`.
    #[must_use]
    pub fn start(config: Arc<ClientConfig>, seed: u64, out: &mut Vec<u8>) -> Self {
        let handshake = ClientHandshake::start(config.digest, seed, out);
        let limits = MessageLimits {
            media: 0x00FF_FFFF,
            command: DATA_BYTES_MAX,
            data: DATA_BYTES_MAX,
            control: CONTROL_BYTES_MAX,
        };
        Self {
            config,
            handshake: Some(Box::new(handshake)),
            reader: ChunkReader::new(limits),
            writer: ChunkWriter::new(),
            partials: Partials::default(),
            budget: Budget::new(CLIENT_PARTIAL_BYTES_MAX),
            msid: Msid(0),
            received: 0,
            acknowledged: 0,
            ack_window: ACK_WINDOW,
            media_bytes: 0,
            header_bytes: 0,
        }
    }

    /// Consumes `input` up to and including the next event; answers (C2, commands,
    /// acknowledgements, pongs) are appended to `out`. `None`: all input is used up.
    ///
    /// # Errors
    /// What the server did wrong.
    pub fn handle_input<'a>(
        &mut self,
        input: &mut &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<ClientEvent<'a>>, ProtocolError> {
        let before = input.len();
        let event = self.next_event(input, out);
        self.skip_input(before - input.len(), out);
        event
    }

    /// Counts bytes that were received but are not to be parsed, because the owner threw them away;
    /// an acknowledgement that is due is appended to `out`. What they held is lost, so no later
    /// input can be parsed either.
    pub fn skip_input(&mut self, bytes: usize, out: &mut Vec<u8>) {
        // Modulo 2^32, as an acknowledgement counts.
        let bytes = u32::try_from(bytes & 0xFFFF_FFFF).unwrap_or(0);
        self.received = self.received.wrapping_add(bytes);
        if self.received.wrapping_sub(self.acknowledged) >= self.ack_window / 2 {
            self.acknowledge(out);
        }
    }

    /// Appends an acknowledgement of everything received, due or not: a sign of life.
    pub fn acknowledge(&mut self, out: &mut Vec<u8>) {
        self.acknowledged = self.received;
        control::emit_u32(type_id::ACKNOWLEDGEMENT, self.received, out);
    }

    /// Bytes of the audio, video and data messages parsed so far, as they were on the wire: chunk
    /// headers count, control and command messages do not.
    #[must_use]
    pub fn media_bytes(&self) -> u64 {
        self.media_bytes
    }

    fn next_event<'a>(
        &mut self,
        input: &mut &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<ClientEvent<'a>>, ProtocolError> {
        if let Some(handshake) = &mut self.handshake {
            if !handshake.handle_input(input, out)? {
                return Ok(None);
            }
            self.handshake = None;
            self.send_connect(out);
        }
        while let Some(piece) = self.next_piece(input)? {
            if let Some(event) = self.handle_piece(&piece, out)? {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn next_piece<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, ProtocolError> {
        let before = input.len();
        let piece = self.reader.read(input)?;
        self.header_bytes += before - input.len();
        if let Some(piece) = &piece {
            let bytes = std::mem::take(&mut self.header_bytes);
            let is_media = matches!(
                piece.header.message_type,
                type_id::AUDIO | type_id::VIDEO | type_id::DATA_AMF0 | type_id::DATA_AMF3
            );
            self.media_bytes += if is_media { bytes as u64 } else { 0 };
        }
        Ok(piece)
    }

    fn handle_piece<'a>(
        &mut self,
        piece: &Piece<'a>,
        out: &mut Vec<u8>,
    ) -> Result<Option<ClientEvent<'a>>, ProtocolError> {
        let MessageHeader { timestamp, length, msid, message_type, .. } = piece.header;
        let kind = match message_type {
            type_id::AUDIO => MediaKind::Audio,
            type_id::VIDEO => MediaKind::Video,
            _ => {
                let Some(body) = self.partials.gather(piece, &self.budget)? else {
                    return Ok(None);
                };
                return self.handle_message(&piece.header, body, out);
            }
        };
        let Piece { slot, offset, bytes, .. } = *piece;
        Ok(Some(ClientEvent::Media(MediaPiece {
            msid,
            kind,
            timestamp,
            length,
            slot,
            offset,
            bytes,
        })))
    }

    fn handle_message<'a>(
        &mut self,
        header: &MessageHeader,
        body: Body<'a>,
        out: &mut Vec<u8>,
    ) -> Result<Option<ClientEvent<'a>>, ProtocolError> {
        let timestamp = header.timestamp;
        match header.message_type {
            type_id::COMMAND_AMF0 => self.handle_command(&body, out),
            type_id::COMMAND_AMF3 => self.handle_command(&body.without_selector(), out),
            type_id::DATA_AMF0 => Ok(Some(ClientEvent::Data { timestamp, body })),
            type_id::DATA_AMF3 => {
                Ok(Some(ClientEvent::Data { timestamp, body: body.without_selector() }))
            }
            control => self.handle_control(control, &body, out),
        }
    }

    fn handle_control(
        &mut self,
        message_type: u8,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<ClientEvent<'static>>, ProtocolError> {
        let Some(value) = u32_be(body, 0) else { return Ok(None) };
        match message_type {
            type_id::SET_CHUNK_SIZE => self.reader.set_chunk_size(value)?,
            type_id::ABORT => {
                // A media message that begins anew on the slot is told by its first piece.
                if let Some(slot) = self.reader.abort(value) {
                    self.partials.forget(slot);
                }
            }
            type_id::WINDOW_ACK_SIZE if value > 0 => self.ack_window = value,
            type_id::USER_CONTROL => match (u16_be(body, 0), u32_be(body, 2)) {
                (Some(event::PING_REQUEST), Some(time)) => {
                    control::emit_event(event::PING_RESPONSE, time, out);
                }
                (Some(event::STREAM_EOF), _) => return Ok(Some(ClientEvent::StreamEof)),
                _ => {}
            },
            _ => {}
        }
        Ok(None)
    }

    fn handle_command<'a>(
        &mut self,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Option<ClientEvent<'a>>, ProtocolError> {
        let mut reader = Reader::new(body);
        let name = reader.next()?.and_then(|value| value.string()).unwrap_or_default();
        let transaction = reader.next()?.and_then(|value| value.number()).unwrap_or(0.0);
        let (_, information) = (reader.next()?, reader.next()?);
        match name {
            b"_result" if transaction == CONNECT => {
                self.send_create_stream(out);
                Ok(Some(ClientEvent::Connected))
            }
            b"_result" if transaction == CREATE_STREAM => {
                let id = information.and_then(|value| value.number()).unwrap_or(1.0);
                let ids = (1..=16).map(Msid);
                self.msid = ids.into_iter().find(|msid| f64::from(msid.0) == id).unwrap_or(Msid(1));
                self.send_start(out);
                Ok(None)
            }
            b"onStatus" | b"_error" => Ok(Some(status_event(information))),
            _ => Ok(None),
        }
    }

    fn send_connect(&mut self, out: &mut Vec<u8>) {
        if self.config.chunk_size != CHUNK_SIZE_INITIAL {
            control::emit_u32(type_id::SET_CHUNK_SIZE, self.config.chunk_size, out);
            self.writer.set_chunk_size(self.config.chunk_size);
        }
        let config = Arc::clone(&self.config);
        emit(self.route(Msid(0)), out, |writer| {
            writer.string(b"connect").number(CONNECT).object().text("app", &config.app);
            if matches!(config.role, ClientRole::Publish { .. }) {
                writer.text("type", b"nonprivate");
            }
            writer.text("flashVer", &config.flash_ver).text("tcUrl", &config.tc_url).end();
        });
    }

    fn send_create_stream(&mut self, out: &mut Vec<u8>) {
        control::emit_u32(type_id::WINDOW_ACK_SIZE, ACK_WINDOW, out);
        let route = self.route(Msid(0));
        if let ClientRole::Publish { name } = &self.config.role {
            for (transaction, command) in [(2.0, "releaseStream"), (3.0, "FCPublish")] {
                emit(route, out, |writer| {
                    writer.string(command.as_bytes()).number(transaction).null().string(name);
                });
            }
        }
        if self.config.role != ClientRole::Idle {
            emit(route, out, |writer| {
                writer.string(b"createStream").number(CREATE_STREAM).null();
            });
        }
    }

    fn send_start(&mut self, out: &mut Vec<u8>) {
        let route = self.route(self.msid);
        match &self.config.role {
            ClientRole::Idle => {}
            ClientRole::Publish { name } => emit(route, out, |writer| {
                writer.string(b"publish").number(5.0).null().string(name).string(b"live");
            }),
            ClientRole::Play { name } => {
                emit(route, out, |writer| {
                    writer.string(b"play").number(5.0).null().string(name).number(-2000.0);
                });
                control::emit_buffer_length(self.msid, 3000, out);
            }
        }
    }

    /// Appends one media or data message of the publisher.
    pub fn send_media(&mut self, kind: MediaKind, timestamp: u32, body: &[u8], out: &mut Vec<u8>) {
        let (csid, message_type) = match kind {
            MediaKind::Audio => (Csid(4), type_id::AUDIO),
            MediaKind::Video => (Csid(6), type_id::VIDEO),
            MediaKind::Data => (Csid(4), type_id::DATA_AMF0),
        };
        let header = MessageHeader { csid, timestamp, length: 0, message_type, msid: self.msid };
        self.writer.emit(&header, body, out);
    }

    /// Appends FCUnpublish and deleteStream (publisher) or deleteStream (player).
    pub fn send_end(&mut self, out: &mut Vec<u8>) {
        let route = self.route(Msid(0));
        if let ClientRole::Publish { name } = &self.config.role {
            emit(route, out, |writer| {
                writer.string(b"FCUnpublish").number(6.0).null().string(name);
            });
        }
        emit(route, out, |writer| {
            writer.string(b"deleteStream").number(7.0).null().number(f64::from(self.msid.0));
        });
    }

    fn route(&self, msid: Msid) -> Route {
        Route { msid, ..Route::command(self.config.chunk_size) }
    }
}

fn status_event(information: Option<Value<'_>>) -> ClientEvent<'static> {
    let text = |name| match information {
        Some(Value::Object(object)) => object.find(name).and_then(|value| value.string()),
        _ => None,
    };
    match text("code").unwrap_or_default() {
        b"NetStream.Publish.Start" | b"NetStream.Play.Start" => ClientEvent::Started,
        code => {
            ClientEvent::Status { code: code.to_vec(), is_error: text("level") == Some(b"error") }
        }
    }
}
