//! What the floor reads: connections, their commands, and the publisher's media.
//!
//! The protocol is the library's [`ServerSession`]; here its events become answers and frames of
//! the ring. Nothing of this is done per player and frame.

use std::io::{self, Read};
use std::sync::Arc;

use millrace::limits;
use millrace::media::frame::SHARED_MSID;
use millrace::media::metadata::{DataMessage, parse_data};
use millrace::media::tag::{self, TagClass};
use millrace::net::listener::SocketOptions;
use millrace::rtmp::Csid;
use millrace::rtmp::chunk::{MessageHeader, writer::emit_message};
use millrace::rtmp::message::type_id;
use millrace::rtmp::session::{Event, MediaKind, MediaPiece, ServerSession};
use mio::{Interest, Token};

use super::{Floor, IDLE, Peer, WAITING};

/// Reads of one peer in one turn.
const READS: usize = 8;

impl Floor {
    /// Accepts everybody who waits.
    pub(super) fn accept(&mut self) -> io::Result<()> {
        let nodelay = self.options.policy != "nagle";
        let options = SocketOptions { nodelay, sndbuf: 0, rcvbuf: 0, notsent_lowat: 128 * 1024 };
        while let Ok((mut stream, _)) = self.listener.accept() {
            // A peer that is gone already has no options.
            let _ = options.apply(&stream);
            let token = Token(self.peers.vacant_key());
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, token, interest)?;
            let (config, budget) = (Arc::clone(&self.session), Arc::clone(&self.budget));
            let session = Box::new(ServerSession::new(config, budget, self.now));
            let out = Vec::new();
            self.peers.insert(Peer { stream, session, out, next: IDLE, is_blocked: false });
        }
        Ok(())
    }

    /// Reads what one peer has sent; `None`: it has to go. A short read means empty, unless FIN is
    /// behind it.
    pub(super) fn read(&mut self, slot: usize, until_end: bool) -> Option<()> {
        for _ in 0..READS {
            let mut buffer = std::mem::take(&mut self.buffer);
            let read = self.peers.get_mut(slot)?.stream.read(&mut buffer);
            let input = read.as_ref().ok().and_then(|count| buffer.get(..*count));
            let heard = input.map(|input| self.converse(slot, input));
            let is_short = input.is_some_and(|input| input.len() < buffer.len());
            self.buffer = buffer;
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(()),
                Err(_) | Ok(0) => return None,
                Ok(_) => heard??,
            }
            if is_short && !until_end {
                return Some(());
            }
        }
        // There may be more, which the kernel tells anew.
        let interest = Interest::READABLE | Interest::WRITABLE;
        let stream = &mut self.peers.get_mut(slot)?.stream;
        self.poll.registry().reregister(stream, Token(slot), interest).ok()
    }

    /// `None`: the peer has to go.
    fn converse(&mut self, slot: usize, mut input: &[u8]) -> Option<()> {
        loop {
            let Peer { session, out, next, .. } = self.peers.get_mut(slot)?;
            match session.handle_input(&mut input, out, self.now).ok()? {
                None => return input.is_empty().then_some(()),
                Some(Event::Connect { .. }) => session.accept_connect(out),
                Some(Event::Publish { msid, .. }) => {
                    session.accept_publish(msid, out);
                    self.headers = Default::default();
                }
                Some(Event::Play { msid, .. }) => {
                    session.accept_play(msid, out);
                    *next = WAITING;
                }
                Some(Event::Media(piece)) => self.media(&piece),
                Some(Event::Data { body, .. }) => match parse_data(&body).ok()? {
                    DataMessage::Metadata(body) => self.frame(MediaKind::Data, 0, &body),
                    DataMessage::DataFrame { body, .. } => self.frame(MediaKind::Data, 0, body),
                    DataMessage::Forward(_) | DataMessage::Clear { .. } | DataMessage::Drop => {}
                },
                // What nobody does who measures, and the end, which FIN tells as well.
                Some(_) => {}
            }
        }
    }

    fn media(&mut self, piece: &MediaPiece<'_>) {
        let is_audio = piece.kind == MediaKind::Audio;
        let [audio, video] = &mut self.bodies;
        let mut body = std::mem::take(if is_audio { audio } else { video });
        if piece.is_first() {
            body.clear();
        }
        body.extend_from_slice(&piece.bytes);
        if piece.is_last() {
            self.frame(piece.kind, piece.timestamp, &body);
        }
        let [audio, video] = &mut self.bodies;
        *(if is_audio { audio } else { video }) = body;
    }

    /// Puts a message into the ring, as a frame that players get when the policy says so.
    fn frame(&mut self, kind: MediaKind, timestamp: u32, body: &[u8]) {
        let [data, video, audio] = &mut self.headers;
        let has_video = !video.is_empty();
        let (csid, message_type, place, wait) = match kind {
            MediaKind::Data => (Csid(5), type_id::DATA_AMF0, data, self.options.video_ms),
            MediaKind::Audio => (Csid(6), type_id::AUDIO, audio, self.options.audio_ms),
            MediaKind::Video => (Csid(7), type_id::VIDEO, video, self.options.video_ms),
        };
        let header = MessageHeader { csid, timestamp, length: 0, message_type, msid: SHARED_MSID };
        let number = self.ring.head;
        let Some(wire) = self.ring.push() else { return };
        emit_message(&header, body, limits::CHUNK_SIZE_DEFAULT, wire);
        let tag = tag::classify(kind, body);
        if tag.is_init() || kind == MediaKind::Data {
            place.clone_from(wire);
        } else if tag.class == TagClass::Keyframe || !has_video {
            for (_, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.next == WAITING) {
                peer.next = number;
                self.headers.iter().for_each(|frame| peer.out.extend_from_slice(frame));
            }
        }
        self.frames += 1;
        let due = self.now.plus(wait);
        self.due = Some(self.due.map_or(due, |old| old.min(due)));
    }
}
