//! What the floor reads: connections, their commands, and the publisher's media.
//!
//! The protocol is the library's [`ServerSession`]; here its events become answers and frames of
//! the ring. Nothing of this is done per player and frame.

use std::io::{self, Read};
use std::sync::Arc;

use millrace::budget::Budget;
use millrace::limits;
use millrace::media::frame::SHARED_MSID;
use millrace::media::metadata::{DataMessage, parse_data};
use millrace::media::tag::{self, TagClass};
use millrace::net::listener::SocketOptions;
use millrace::rtmp::Csid;
use millrace::rtmp::chunk::{MessageHeader, MessageLimits, writer::emit_message};
use millrace::rtmp::message::type_id;
use millrace::rtmp::session::{Event, MediaKind, MediaPiece, ServerSession, SessionConfig, Status};
use mio::{Interest, Token};

use crate::floor::{Floor, IDLE, Peer, WAITING};
use crate::floor_flags::Policy;

/// Bytes read at once, and reads of one peer in one turn.
const READ_BYTES: usize = 64 * 1024;
const READS: usize = 8;

/// What sessions share, and what is known of the stream.
pub(crate) struct Dialogue {
    session: Arc<SessionConfig>,
    budget: Arc<Budget>,
    buffer: Vec<u8>,
    publisher: Option<usize>,
    /// Unfinished bodies of audio and video.
    bodies: [Vec<u8>; 2],
    /// The newest frames that players need first: data, video, audio.
    headers: [Vec<u8>; 3],
}

impl Dialogue {
    /// Nobody publishes.
    pub(crate) fn new() -> Self {
        let session = SessionConfig {
            chunk_size: limits::CHUNK_SIZE_DEFAULT,
            limits: MessageLimits {
                media: limits::MESSAGE_BYTES_MAX,
                command: limits::COMMAND_BYTES_MAX,
                data: limits::DATA_BYTES_MAX,
                control: limits::CONTROL_BYTES_MAX,
            },
            handshake_timeout_ms: 0,
            idle_timeout_ms: 0,
            ping_interval_ms: 0,
        };
        Self {
            session: Arc::new(session),
            budget: Budget::new(usize::MAX / 2),
            buffer: vec![0; READ_BYTES],
            publisher: None,
            bodies: Default::default(),
            headers: Default::default(),
        }
    }
}

impl Floor {
    /// Accepts everybody who waits.
    pub(crate) fn accept(&mut self) -> io::Result<()> {
        let nodelay = self.options.policy != Policy::Nagle;
        let options = SocketOptions { nodelay, sndbuf: 0, rcvbuf: 0, notsent_lowat: 128 * 1024 };
        while let Ok((mut stream, _)) = self.listener.accept() {
            // A peer that is gone already has no options.
            let _ = options.apply(&stream);
            let token = Token(self.peers.vacant_key());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, token, interest)?;
            let (config, budget) = (&self.dialogue.session, &self.dialogue.budget);
            let session = ServerSession::new(Arc::clone(config), Arc::clone(budget), self.now);
            self.peers.insert(Peer {
                stream,
                session: Box::new(session),
                out: Vec::new(),
                next: IDLE,
                is_blocked: false,
            });
        }
        Ok(())
    }

    pub(crate) fn close(&mut self, slot: usize) {
        self.peers.try_remove(slot);
        let publisher = &mut self.dialogue.publisher;
        publisher.take_if(|publisher| *publisher == slot);
    }

    /// Reads what one peer has sent. A short read means empty, unless FIN is behind it.
    pub(crate) fn read(&mut self, slot: usize, until_end: bool) {
        let mut buffer = std::mem::take(&mut self.dialogue.buffer);
        let mut reads = 0;
        let is_open = loop {
            let Some(peer) = self.peers.get_mut(slot) else { break true };
            let count = match peer.stream.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break true,
                Err(_) | Ok(0) => break false,
                Ok(count) => count,
            };
            if self.converse(slot, buffer.get(..count).unwrap_or_default()).is_none() {
                break false;
            }
            if count < buffer.len() && !until_end {
                break true;
            }
            reads += 1;
            if reads == READS {
                self.ready.push(slot);
                break true;
            }
        };
        self.dialogue.buffer = buffer;
        if !is_open {
            self.close(slot);
        }
    }

    /// `None`: the peer has to go.
    fn converse(&mut self, slot: usize, mut input: &[u8]) -> Option<()> {
        loop {
            let Peer { session, out, next, .. } = self.peers.get_mut(slot)?;
            let dialogue = &mut self.dialogue;
            match session.handle_input(&mut input, out, self.now).ok()? {
                None => return input.is_empty().then_some(()),
                Some(Event::Connect { .. }) => session.accept_connect(out),
                Some(Event::Publish { msid, .. }) if dialogue.publisher.is_none() => {
                    session.accept_publish(msid, out);
                    dialogue.publisher = Some(slot);
                    dialogue.headers = Default::default();
                }
                Some(Event::Publish { msid, .. }) => {
                    session.reject_publish(msid, Status::PublishBadName, "One stream.", out);
                }
                Some(Event::Play { msid, .. }) if msid == SHARED_MSID => {
                    session.accept_play(msid, out);
                    *next = WAITING;
                }
                Some(Event::Play { msid, .. }) => {
                    session.reject_play(msid, Status::PlayFailed, "One message stream.", out);
                }
                Some(Event::Unpublish { .. }) => dialogue.publisher = None,
                Some(Event::StopPlay { .. }) => *next = IDLE,
                Some(Event::Pause { paused, .. }) => *next = if paused { IDLE } else { WAITING },
                Some(Event::Media(piece)) => self.media(&piece),
                Some(Event::Data { body, .. }) => match parse_data(&body).ok()? {
                    DataMessage::Metadata(body) => self.frame(MediaKind::Data, 0, &body),
                    DataMessage::DataFrame { body, .. } => self.frame(MediaKind::Data, 0, body),
                    DataMessage::Forward(_) | DataMessage::Clear { .. } | DataMessage::Drop => {}
                },
                Some(Event::Disconnect) => return None,
                Some(
                    Event::Aggregate { .. }
                    | Event::MediaAborted { .. }
                    | Event::ReceiveAudio { .. }
                    | Event::ReceiveVideo { .. },
                ) => {}
            }
        }
    }

    fn media(&mut self, piece: &MediaPiece<'_>) {
        let [audio, video] = &mut self.dialogue.bodies;
        let body = if piece.kind == MediaKind::Audio { audio } else { video };
        if piece.is_first() {
            body.clear();
        }
        body.extend_from_slice(&piece.bytes);
        if piece.is_last() {
            let whole = std::mem::take(body);
            self.frame(piece.kind, piece.timestamp, &whole);
            let [audio, video] = &mut self.dialogue.bodies;
            *(if piece.kind == MediaKind::Audio { audio } else { video }) = whole;
        }
    }

    /// Puts a message into the ring, as a frame that players get when the policy says so.
    fn frame(&mut self, kind: MediaKind, timestamp: u32, body: &[u8]) {
        let (csid, message_type) = match kind {
            MediaKind::Data => (Csid(5), type_id::DATA_AMF0),
            MediaKind::Audio => (Csid(6), type_id::AUDIO),
            MediaKind::Video => (Csid(7), type_id::VIDEO),
        };
        let header = MessageHeader { csid, timestamp, length: 0, message_type, msid: SHARED_MSID };
        let number = self.ring.head;
        let Some(wire) = self.ring.push() else { return };
        emit_message(&header, body, limits::CHUNK_SIZE_DEFAULT, wire);
        let tag = tag::classify(kind, body);
        let [data, video, audio] = &mut self.dialogue.headers;
        if tag.is_init() || kind == MediaKind::Data {
            let place = match kind {
                MediaKind::Data => data,
                MediaKind::Video => video,
                MediaKind::Audio => audio,
            };
            place.clone_from(wire);
        } else if tag.class == TagClass::Keyframe || video.is_empty() {
            for (_, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.next == WAITING) {
                peer.next = number;
                self.dialogue.headers.iter().for_each(|frame| peer.out.extend_from_slice(frame));
            }
        }
        self.counters.frames += 1;
        let wait = match (self.options.policy, kind) {
            (Policy::Merge, _) => self.options.merge_ms,
            (Policy::Ride, MediaKind::Audio) => self.options.flush_ms,
            (Policy::Each | Policy::Nagle | Policy::Ride, _) => 0,
        };
        let due = self.now.plus(wait);
        self.due = Some(self.due.map_or(due, |old| old.min(due)));
    }
}
