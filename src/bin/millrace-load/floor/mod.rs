//! The floor: the least that one thread of this kernel needs to bring a stream to many players.
//!
//! A bare loop to measure servers with, under the same load and policy. Media become wire frames in
//! a [`Ring`] of buffers that are made at the start and used again and again; a pass makes one
//! vectored write per player straight from them, with one list of slices for all players at the
//! same place. Nothing is allocated, queued or copied per player.
//!
//! One stream of one publisher, on message stream 1; a player begins at the next keyframe and stays;
//! no pings, no timeouts, no GOP cache. Flags, set-up, counters: [`setup`]. Entry point: [`run`].

mod setup;

use std::collections::BTreeMap;
use std::io::{self, IoSlice, Read, Write};
use std::sync::{Arc, atomic::AtomicBool, atomic::Ordering::Relaxed};
use std::time::{Duration, Instant};

use arrayvec::ArrayVec;
use millrace::limits::{CHUNK_SIZE_DEFAULT, POLL_EVENTS, WRITE_SLICES_MAX};
use millrace::media::metadata::{DataMessage, parse_data};
use millrace::media::{frame::shared_header, tag, tag::TagClass};
use millrace::rtmp::chunk::writer::emit_message;
use millrace::rtmp::session::{Event, MediaKind, ServerSession};
use millrace::{budget::Budget, time::Millis};
use mio::{Events, Interest, Poll, Token, net::TcpListener, net::TcpStream};
use slab::Slab;
use socket2::SockRef;

use setup::Counters;
pub(crate) use setup::Options;

const LISTENER: Token = Token(usize::MAX);
const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);
const FRAMES: usize = 1024;
/// Places of a peer that no frame is due for: it plays nothing; it waits for a keyframe.
const IDLE: usize = usize::MAX;
const WAITING: usize = usize::MAX - 1;

pub(crate) struct Floor {
    options: Options,
    poll: Poll,
    listener: TcpListener,
    now: Millis,
    peers: Slab<Peer>,
    ring: Ring,
    /// When all frames of the ring become sendable.
    due: Millis,
    /// Unfinished bodies; the newest frames that players need first: data, video, audio from behind.
    bodies: BTreeMap<MediaKind, Vec<u8>>,
    headers: BTreeMap<MediaKind, Vec<u8>>,
    counters: Counters,
}

/// One connection. It gets `out`, then the frames from `next` on.
struct Peer {
    stream: TcpStream,
    session: Box<ServerSession>,
    /// Replies and headers; before them the rest of a frame that the socket took a part of.
    out: Vec<u8>,
    next: usize,
    is_blocked: bool,
}

/// Wire frames by number; the newest [`FRAMES`] before `head` are there, those before `sendable`
/// may go out.
struct Ring {
    frames: Vec<Vec<u8>>,
    head: usize,
    sendable: usize,
}

/// Says where on stderr, and serves for `--time` or until SIGTERM; prints its counters then, and on
/// SIGUSR1.
///
/// # Errors
/// What the kernel says.
#[allow(clippy::disallowed_methods, reason = "this program's time zero")]
pub(crate) fn run(mut floor: Floor) -> io::Result<()> {
    let (end, report) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&end))?;
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&report))?;
    writeln!(io::stderr(), "listening on {}", floor.address()?)?;
    let (mut events, mut buffer) = (Events::with_capacity(POLL_EVENTS), vec![0; 64 * 1024]);
    let clock = Instant::now();
    while !end.load(Relaxed) && floor.now.0 < floor.options.time_ms {
        // A signal that comes right before the sleep is seen within a second.
        let wait = floor.due.0.min(floor.options.time_ms).saturating_sub(floor.now.0).min(1000);
        match floor.poll.poll(&mut events, Some(Duration::from_millis(wait))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        floor.now = Millis(u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX));
        floor.turn(&events, &mut buffer)?;
        if report.swap(false, Relaxed) {
            floor.print()?;
        }
    }
    floor.print()
}

impl Floor {
    fn turn(&mut self, events: &Events, buffer: &mut [u8]) -> io::Result<()> {
        for event in events {
            let slot = event.token().0;
            if event.token() == LISTENER {
                self.accept()?;
            } else if event.is_readable() && self.read(slot, buffer).is_none() {
                self.peers.try_remove(slot);
            } else if let Some(peer) = self.peers.get_mut(slot) {
                peer.is_blocked &= !event.is_writable();
                if peer.send(&self.ring, (IDLE, &[]), &mut self.counters).is_none() {
                    self.peers.remove(slot);
                }
            }
        }
        let Self { peers, ring, counters, .. } = self;
        if self.due <= self.now || ring.head - ring.sendable > FRAMES / 4 {
            self.due = Millis(u64::MAX);
            let place = std::mem::replace(&mut ring.sendable, ring.head);
            let slices = ring.slices(&[], place);
            peers.retain(|_, peer| peer.send(ring, (place, &slices), counters).is_some());
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        while let Ok((mut stream, _)) = self.listener.accept() {
            // A peer that is gone already has no options.
            let _ = self.options.socket().apply(&stream);
            self.poll.registry().register(&mut stream, Token(self.peers.vacant_key()), BOTH)?;
            let session = ServerSession::new(Arc::default(), Budget::new(1 << 28), self.now);
            let (session, out) = (Box::new(session), Vec::new());
            self.peers.insert(Peer { stream, session, out, next: IDLE, is_blocked: false });
        }
        Ok(())
    }

    /// Reads once; the kernel tells anew what is left. `None`: the peer has to go.
    fn read(&mut self, slot: usize, buffer: &mut [u8]) -> Option<()> {
        let stream = &mut self.peers.get_mut(slot)?.stream;
        let count = match stream.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Some(()),
            count => count.ok().filter(|count| *count > 0)?,
        };
        self.poll.registry().reregister(stream, Token(slot), BOTH).ok()?;
        let mut input = buffer.get(..count)?;
        loop {
            let Peer { session, out, next, .. } = self.peers.get_mut(slot)?;
            match session.handle_input(&mut input, out, self.now).ok()? {
                None => return input.is_empty().then_some(()),
                Some(Event::Connect { .. }) => session.accept_connect(out),
                Some(Event::Publish { msid, .. }) => {
                    session.accept_publish(msid, out);
                    self.headers.clear();
                }
                Some(Event::Play { msid, .. }) => {
                    session.accept_play(msid, out);
                    *next = WAITING;
                }
                Some(Event::Media(piece)) => {
                    let mut body = std::mem::take(self.bodies.entry(piece.kind).or_default());
                    body.truncate(piece.offset as usize);
                    body.extend_from_slice(&piece.bytes);
                    if piece.is_last() {
                        self.push(piece.kind, piece.timestamp, &body);
                    }
                    self.bodies.insert(piece.kind, body);
                }
                Some(Event::Data { body, .. }) => match parse_data(&body).ok()? {
                    DataMessage::Metadata(body) => self.push(MediaKind::Data, 0, &body),
                    DataMessage::DataFrame { body, .. } => self.push(MediaKind::Data, 0, body),
                    DataMessage::Forward(_) | DataMessage::Clear { .. } | DataMessage::Drop => {}
                },
                // Nobody who measures pauses, mutes, aggregates or aborts; FIN tells an end too.
                Some(_) => {}
            }
        }
    }

    /// Puts a message into the ring, as a frame that players get when the policy says so.
    fn push(&mut self, kind: MediaKind, timestamp: u32, body: &[u8]) {
        let number = self.ring.head;
        let Some(frame) = self.ring.frames.get_mut(number % FRAMES) else { return };
        self.ring.head += 1;
        frame.clear();
        emit_message(&shared_header(kind, timestamp), body, CHUNK_SIZE_DEFAULT, frame);
        let tag = tag::classify(kind, body);
        if tag.is_init() || kind == MediaKind::Data {
            self.headers.insert(kind, frame.clone());
        } else if tag.class == TagClass::Keyframe || !self.headers.contains_key(&MediaKind::Video) {
            for (_, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.next == WAITING) {
                peer.next = number;
                self.headers.values().rev().for_each(|header| peer.out.extend_from_slice(header));
            }
        }
        self.due = self.due.min(self.now.plus(self.options.wait_ms(kind)));
    }
}

impl Ring {
    fn frame(&self, number: usize) -> &[u8] {
        self.frames.get(number % FRAMES).map_or(&[], Vec::as_slice)
    }

    /// `out` and the frames from `next` on, as much as one write takes.
    fn slices<'a>(&'a self, out: &'a [u8], next: usize) -> ArrayVec<IoSlice<'a>, WRITE_SLICES_MAX> {
        let frames = (next..self.sendable).map(|number| self.frame(number));
        let parts = Some(out).filter(|out| !out.is_empty()).into_iter().chain(frames);
        parts.map(IoSlice::new).take(WRITE_SLICES_MAX).collect()
    }
}

impl Peer {
    /// Writes what is pending. `shared`: a place, and the slices from there on.
    fn send(&mut self, ring: &Ring, shared: (usize, &[IoSlice]), sum: &mut Counters) -> Option<()> {
        while !self.is_blocked && (self.next < ring.sendable || !self.out.is_empty()) {
            if self.next < ring.head.saturating_sub(FRAMES) {
                (self.next, sum.skips) = (WAITING, sum.skips + 1);
                continue;
            }
            let sent = match (self.next, self.out.as_slice()) {
                (next, []) if next == shared.0 => write(&self.stream, shared.1),
                (next, out) => write(&self.stream, &ring.slices(out, next)),
            };
            let mut written = match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                sent => sent.ok()?,
            };
            sum.writes += usize::from(written > 0);
            sum.bytes += written;
            self.is_blocked = written == 0;
            written -= self.out.drain(..written.min(self.out.len())).len();
            while written > 0 {
                let frame = ring.frame(self.next);
                self.out.extend_from_slice(frame.get(written..).unwrap_or_default());
                written = written.saturating_sub(frame.len());
                self.next += 1;
            }
            self.is_blocked |= !self.out.is_empty();
        }
        Some(())
    }
}

fn write(stream: &TcpStream, slices: &[IoSlice]) -> io::Result<usize> {
    let socket = SockRef::from(stream);
    // Not writev: that goes by way of the file layer and costs a twentieth more.
    if let [slice] = slices { socket.send(slice) } else { socket.send_vectored(slices) }
}
