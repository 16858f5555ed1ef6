//! The floor: the least that one thread of this kernel needs to bring a stream to many players.
//!
//! A bare loop to measure servers with, under the same load and policy. Media become wire frames in
//! a [`Ring`] of buffers that are made at the start and used again and again; a pass makes one
//! vectored write per player straight from them, with one list of slices for all players at the
//! same place. Nothing is allocated, queued or copied per player.
//!
//! One stream of one publisher, on message stream 1; a player begins at the next keyframe and stays;
//! no pings, no timeouts, no GOP cache. What is said before media flow is in [`dialogue`]. Entry
//! point: [`run`].

mod dialogue;
mod ring;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use millrace::budget::Budget;
use millrace::cli::UsageError;
use millrace::limits;
use millrace::net::listener;
use millrace::rtmp::chunk::MessageLimits;
use millrace::rtmp::session::{ServerSession, SessionConfig};
use millrace::time::Millis;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use socket2::SockRef;

use crate::flags::{self, Flag, Given, flag};
use ring::{FRAMES, Offer, Ring};

const LISTENER: Token = Token(usize::MAX);
/// Places of a peer that no frame is due for: it plays nothing; it waits for a keyframe.
const IDLE: u64 = u64::MAX;
const WAITING: u64 = u64::MAX - 1;

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("Flags", ("listen", "ADDR:PORT"), "127.0.0.1:1935", "Address to listen on; port 0 is any.", "tests/floor.rs::bad_flags_of_the_floor_are_refused_in_one_sentence"),
    flag("Flags", ("policy", "WORD"), "ride", "each: a frame goes out at once; ride: audio with the next video frame; merge: everything of --merge-ms at once; nagle: as each, TCP_NODELAY off.", "tests/floor.rs::floor_and_server_write_the_same_for_the_same_policy"),
    flag("Flags", ("merge-ms", "N"), "40", "How long merge collects.", "tests/floor.rs::floor_and_server_write_the_same_for_the_same_policy"),
    flag("Flags", ("flush-ms", "N"), "40", "Longest time that audio waits for video.", "tests/floor.rs::the_floor_keeps_audio_for_video_but_not_for_ever"),
    flag("Flags", ("time", "TIME"), "600", "Ends after this time (seconds, or ms, s, m), or with SIGTERM.", "tests/floor.rs::the_floor_ends_by_time_or_signal_with_its_counters"),
    flag("Flags", ("help", ""), "", "Print this text.", "tests/load_flags.rs::help_of_every_mode_lists_its_flags"),
];

const USAGE: &str = "\
millrace-load floor: brings one stream to every player with as little work as the kernel allows,
to measure servers with. Prints its counters as JSON at the end and on SIGUSR1.

Usage: millrace-load floor [FLAGS]";

/// The flags, parsed and checked.
#[derive(Debug)]
pub(crate) struct Options {
    listen: SocketAddr,
    policy: String,
    /// How long audio waits for other frames; video and data.
    audio_ms: u64,
    video_ms: u64,
    time_ms: u64,
}

struct Floor {
    options: Options,
    poll: Poll,
    listener: TcpListener,
    clock: Instant,
    now: Millis,
    peers: Slab<Peer>,
    ring: Ring,
    /// When all frames of the ring become sendable.
    due: Option<Millis>,
    session: Arc<SessionConfig>,
    budget: Arc<Budget>,
    /// What is read into.
    buffer: Vec<u8>,
    /// Unfinished bodies of audio and video.
    bodies: [Vec<u8>; 2],
    /// The newest frames that players need first: data, video, audio.
    headers: [Vec<u8>; 3],
    /// Messages of the publisher.
    frames: u64,
    counters: Counters,
    /// Counters and time of the line before.
    printed: (Counters, Millis),
}

/// Since the start.
#[derive(Clone, Copy, Default)]
struct Counters {
    writes: u64,
    bytes: u64,
    /// Players that fell out of the ring.
    skips: u64,
}

/// One connection. It gets `out`, then the frames from `next` on.
struct Peer {
    stream: TcpStream,
    session: Box<ServerSession>,
    /// Replies and headers; before them the rest of a frame that the socket took a part of.
    out: Vec<u8>,
    next: u64,
    is_blocked: bool,
}

impl Options {
    /// Parses `args`, which begin behind the word `floor`; the text to print where that is asked.
    ///
    /// # Errors
    /// [`UsageError`]: one sentence that says what is wrong and what is allowed.
    pub(crate) fn parse(args: &[String]) -> Result<Result<Self, String>, UsageError> {
        let given = Given::parse(FLAGS, args)?;
        if given.has("help") {
            return Ok(Err(flags::help(USAGE, FLAGS)));
        }
        given.no_words()?;
        let merge_ms = given.number("merge-ms", 1..=10_000)?;
        let flush_ms = given.number("flush-ms", 0..=10_000)?;
        let waits = |policy: &str| match policy {
            "each" | "nagle" => Some((0, 0)),
            "ride" => Some((flush_ms, 0)),
            "merge" => Some((merge_ms, merge_ms)),
            _ => None,
        };
        let (audio_ms, video_ms) = given.value("policy", "each, ride, merge or nagle", waits)?;
        let address = "an address and a port, such as 127.0.0.1:1935";
        Ok(Ok(Self {
            listen: given.value("listen", address, |text| text.parse().ok())?,
            policy: given.text("policy"),
            audio_ms,
            video_ms,
            time_ms: given.time_ms("time", 100..=24 * 3600 * 1000)?,
        }))
    }
}

/// Runs for `--time`, or until SIGTERM; prints its counters then, and on SIGUSR1.
///
/// # Errors
/// What the kernel says.
pub(crate) fn run(options: Options) -> io::Result<()> {
    // Without it fewer players fit, which the first refused one tells.
    let _ = millrace::host::raise_nofile();
    let (end, report) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    signal_hook::flag::register(signal_hook::consts::SIGTERM, Arc::clone(&end))?;
    signal_hook::flag::register(signal_hook::consts::SIGUSR1, Arc::clone(&report))?;
    let mut floor = Floor::new(options)?;
    let mut events = Events::with_capacity(limits::POLL_EVENTS);
    while !end.load(Relaxed) && floor.now.0 < floor.options.time_ms {
        floor.turn(&mut events)?;
        if report.swap(false, Relaxed) {
            floor.print()?;
        }
    }
    floor.print()
}

impl Floor {
    fn new(options: Options) -> io::Result<Self> {
        let poll = Poll::new()?;
        let mut listener = listener::bind(options.listen, 4096, false)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        writeln!(io::stderr(), "listening on {}", listener.local_addr()?)?;
        #[allow(clippy::disallowed_methods, reason = "this program's time zero")]
        let clock = Instant::now();
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
        Ok(Self {
            options,
            poll,
            listener,
            clock,
            now: Millis(0),
            peers: Slab::new(),
            ring: Ring::new(),
            due: None,
            session: Arc::new(session),
            budget: Budget::new(usize::MAX / 2),
            buffer: vec![0; 64 * 1024],
            bodies: Default::default(),
            headers: Default::default(),
            frames: 0,
            counters: Counters::default(),
            printed: (Counters::default(), Millis(0)),
        })
    }

    /// A line of JSON: totals since the start, rates since the line before.
    fn print(&mut self) -> io::Result<()> {
        let Counters { writes, bytes, skips } = self.counters;
        let (before, at) = std::mem::replace(&mut self.printed, (self.counters, self.now));
        let new = writes - before.writes;
        writeln!(
            io::stdout(),
            "{{\"policy\":\"{}\",\"at_ms\":{},\"players\":{},\"frames\":{},\"writes\":{writes},\
             \"bytes_out\":{bytes},\"skips\":{skips},\"writes_per_s\":{},\"bytes_per_write\":{}}}",
            self.options.policy,
            self.now.0,
            self.peers.iter().filter(|(_, peer)| peer.next != IDLE).count(),
            self.frames,
            new * 1000 / self.now.since(at).max(1),
            (bytes - before.bytes) / new.max(1),
        )
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let end = Millis(self.options.time_ms);
        let next = self.due.map_or(end, |due| due.min(end));
        // A signal that comes right before the sleep is seen within a second.
        let wait = next.since(self.now).min(1000);
        match self.poll.poll(events, Some(Duration::from_millis(wait))) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.now = Millis(u64::try_from(self.clock.elapsed().as_millis()).unwrap_or(u64::MAX));
        for event in events.iter() {
            if event.token() == LISTENER {
                self.accept()?;
                continue;
            }
            let slot = event.token().0;
            let Some(peer) = self.peers.get_mut(slot) else { continue };
            peer.is_blocked &= !event.is_writable();
            let is_closed = event.is_read_closed() || event.is_error();
            let is_due = event.is_readable() || is_closed;
            if (is_due && self.read(slot, is_closed).is_none()) || self.flush(slot).is_err() {
                self.peers.try_remove(slot);
            }
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

    fn flush(&mut self, slot: usize) -> io::Result<()> {
        let Self { peers, ring, counters, .. } = self;
        let Some(peer) = peers.get_mut(slot) else { return Ok(()) };
        peer.send(ring, &mut Offer::new(ring, &[], IDLE), counters)
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
            counters.writes += u64::from(written > 0);
            counters.bytes += written as u64;
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
