//! The floor: the least that one thread of this kernel needs to bring a stream to many players.
//!
//! A bare loop to measure servers with, under the same load and policy. Media become wire frames in
//! a [`Ring`] of buffers that are made at the start and used again and again; a pass makes one
//! vectored write per player straight from them, with one list of slices for all players at the
//! same place. Nothing is allocated, queued or copied per player.
//!
//! One stream; a player begins at the next keyframe; no pings, no timeouts, no GOP cache. What is
//! said before media flow is in [`crate::floor_dialogue`]. Entry point: [`run`].

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use millrace::limits::POLL_EVENTS;
use millrace::net::listener;
use millrace::rtmp::session::ServerSession;
use millrace::time::Millis;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::SockRef;

use crate::floor_dialogue::Dialogue;
use crate::floor_flags::FloorOptions;
use crate::floor_report::Counters;
use crate::floor_ring::{FRAMES, Offer, Ring};

const LISTENER: Token = Token(usize::MAX);
/// Places of a peer that no frame is due for: it plays nothing; it waits for a keyframe.
pub(crate) const IDLE: u64 = u64::MAX;
pub(crate) const WAITING: u64 = u64::MAX - 1;

/// See the module documentation.
pub(crate) struct Floor {
    pub(crate) options: FloorOptions,
    pub(crate) poll: Poll,
    pub(crate) listener: TcpListener,
    clock: Instant,
    pub(crate) now: Millis,
    pub(crate) peers: Slab<Peer>,
    /// Peers that may have more to read.
    pub(crate) ready: Vec<usize>,
    pub(crate) ring: Ring,
    /// When all frames of the ring become sendable.
    pub(crate) due: Option<Millis>,
    pub(crate) dialogue: Dialogue,
    pub(crate) counters: Counters,
}

/// One connection. It gets `out`, then the frames from `next` on.
pub(crate) struct Peer {
    pub(crate) stream: TcpStream,
    pub(crate) session: Box<ServerSession>,
    /// Replies and headers; before them the rest of a frame that the socket took a part of.
    pub(crate) out: Vec<u8>,
    pub(crate) next: u64,
    pub(crate) is_blocked: bool,
}

/// Runs for `--time`, or until SIGTERM; prints its counters then, and on SIGUSR1.
///
/// # Errors
/// What the kernel says.
pub(crate) fn run(options: FloorOptions) -> io::Result<()> {
    // Without it fewer players fit, which the first refused one tells.
    let _ = millrace::host::raise_nofile();
    let (end, report) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&end))?;
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&report))?;
    let mut floor = Floor::new(options)?;
    let mut events = Events::with_capacity(POLL_EVENTS);
    while !end.load(Relaxed) && floor.now.0 < floor.options.time_ms {
        floor.turn(&mut events)?;
        if report.swap(false, Relaxed) {
            floor.print()?;
        }
    }
    floor.print()
}

impl Floor {
    fn new(options: FloorOptions) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = listener::bind(options.listen, 4096, false)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        writeln!(io::stderr(), "listening on {}", listener.local_addr()?)?;
        #[allow(clippy::disallowed_methods, reason = "this program's time zero")]
        let clock = Instant::now();
        Ok(Self {
            options,
            poll,
            listener,
            clock,
            now: Millis(0),
            peers: Slab::new(),
            ready: Vec::new(),
            ring: Ring::new(),
            due: None,
            dialogue: Dialogue::new(),
            counters: Counters::default(),
        })
    }

    fn print(&mut self) -> io::Result<()> {
        let players = self.peers.iter().filter(|(_, peer)| peer.next != IDLE).count();
        let line = self.counters.json(&self.options.policy_name, players, self.now);
        writeln!(io::stdout(), "{line}")
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let end = Millis(self.options.time_ms);
        let next = self.due.map_or(end, |due| due.min(end));
        // A signal that comes right before the sleep is seen within a second.
        let wait = if self.ready.is_empty() { next.since(self.now).min(1000) } else { 0 };
        match self.poll.poll(events, Some(Duration::from_millis(wait))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.now = Millis(u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX));
        if let Some(slot) = self.ready.pop() {
            self.read(slot, true);
        }
        for event in events.iter() {
            if event.token() == LISTENER {
                self.accept()?;
                continue;
            }
            let slot = event.token().0;
            let Some(peer) = self.peers.get_mut(slot) else { continue };
            peer.is_blocked &= !event.is_writable();
            let is_closed = event.is_read_closed() || event.is_error();
            if event.is_readable() || is_closed {
                self.read(slot, is_closed);
            }
            self.flush(slot);
        }
        let is_much = self.ring.head - self.ring.sendable > FRAMES / 4;
        if is_much || self.due.is_some_and(|due| due <= self.now) {
            self.due = None;
            self.pass();
        }
        Ok(())
    }

    /// Every player gets what the ring has, in one write.
    fn pass(&mut self) {
        let Self { peers, ring, counters, .. } = self;
        ring.sendable = ring.head;
        let ring = &*ring;
        let mut shared = Offer::new(ring, &[], IDLE);
        peers.retain(|_, peer| {
            let is_due = !peer.is_blocked && (peer.next < ring.sendable || !peer.out.is_empty());
            !is_due || peer.send(ring, &mut shared, counters).is_ok()
        });
    }

    fn flush(&mut self, slot: usize) {
        let Self { peers, ring, counters, .. } = self;
        let Some(peer) = peers.get_mut(slot).filter(|peer| !peer.is_blocked) else { return };
        let mut shared = Offer::new(ring, &[], IDLE);
        if peer.send(ring, &mut shared, counters).is_err() {
            self.close(slot);
        }
    }
}

impl Peer {
    /// Writes what is pending. `shared` is what the last player at a whole frame was offered.
    fn send<'a>(
        &mut self,
        ring: &'a Ring,
        shared: &mut Offer<'a>,
        counters: &mut Counters,
    ) -> io::Result<()> {
        while !self.is_blocked {
            if self.next < WAITING && ring.has_lost(self.next) {
                self.next = WAITING;
                counters.skips += 1;
            }
            let own;
            let offer = if self.out.is_empty() {
                if shared.frames.start != self.next {
                    *shared = Offer::new(ring, &[], self.next);
                }
                &*shared
            } else {
                own = Offer::new(ring, &self.out, self.next);
                &own
            };
            let (bytes, end) = (offer.bytes, offer.frames.end);
            if bytes == 0 {
                return Ok(());
            }
            // Not writev: that goes by way of the file layer and costs a twentieth more.
            let socket = SockRef::from(&self.stream);
            let sent = match offer.slices() {
                [slice] => socket.send(slice),
                slices => socket.send_vectored(slices),
            };
            let written = match sent {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                written => written?,
            };
            counters.add_write(written);
            self.is_blocked = written < bytes;
            if self.is_blocked {
                self.accept(ring, written);
            } else {
                self.out.clear();
                self.next = end;
            }
        }
        Ok(())
    }

    /// The socket took only `written` bytes of an offer.
    fn accept(&mut self, ring: &Ring, mut written: usize) {
        written -= self.out.drain(..written.min(self.out.len())).len();
        while written > 0 {
            let frame = ring.frame(self.next);
            self.out.extend_from_slice(frame.get(written..).unwrap_or_default());
            written -= written.min(frame.len());
            self.next += 1;
        }
    }
}
