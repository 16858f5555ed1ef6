//! A crooked RTMP server: relays one publisher's frames to its players, and spoils some of them.
//!
//! [`Plan`] says what is spoiled, how often and for whom, so that a test knows exactly what the
//! load generator has to report. Faults begin when the planned number of players has begun: they
//! are counted in frames, not in time. Blocking sockets, a thread per connection; every wait is
//! bounded, and all threads are over when the server is dropped.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use millrace::budget::Budget;
use millrace::media::tag::{self, TagClass};
use millrace::rtmp::chunk::{MessageHeader, writer::emit_message};
use millrace::rtmp::message::type_id;
use millrace::rtmp::session::{Event, MediaKind, MediaPiece, ServerSession};
use millrace::rtmp::{Csid, Msid};
use millrace::time::Millis;

use super::session::config;

const CHUNK_SIZE: u32 = 4096;
const CONNECTIONS_MAX: usize = 64;
/// How long a connection lives at most.
const LIFE: Duration = Duration::from_secs(120);
/// Between two looks whether the server is over.
const TICK: Duration = Duration::from_millis(10);

/// What the server does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The frame is left out.
    Drop,
    /// The frame comes after the next one.
    Swap,
    /// The last byte of the frame is wrong.
    Flip,
    /// The frame, and so whatever is behind it, waits.
    Delay(Duration),
    /// The frame comes twice.
    Repeat,
    /// The frame's timestamp is a second too early.
    GoBack,
    /// The connection ends.
    Close,
    /// Bytes that are no RTMP.
    Garbage,
    /// No play is answered.
    NoPlay,
    /// No connection but the first, the publisher's, is answered.
    Mute,
    /// No connection is answered.
    Deaf,
}

/// One fault, when, and for whom.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What.
    pub fault: Fault,
    /// One frame in so many, at least 2.
    pub every: u64,
    /// So often in all.
    pub times: u64,
    /// Once so many players have begun.
    pub players: usize,
    /// Only for the player at 127.0.0.N.
    pub only: Option<u8>,
}

struct Frame {
    kind: MediaKind,
    timestamp: u32,
    body: Vec<u8>,
}

struct Player {
    stream: TcpStream,
    msid: Msid,
    has_begun: bool,
    is_victim: bool,
}

struct Hub {
    plan: Plan,
    headers: Vec<Frame>,
    players: Vec<Player>,
    /// Frames since all players have begun, and faults.
    counted: u64,
    injected: u64,
    /// The frame that comes too late.
    held: Option<Frame>,
}

/// The hub, and whether the server is over.
type Shared = (Mutex<Hub>, AtomicBool);

/// See the module documentation.
pub struct Crooked {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

impl Crooked {
    /// Listens on a free port of 127.0.0.1.
    pub fn start(plan: Plan) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (headers, players) = (Vec::new(), Vec::new());
        let hub = Hub { plan, headers, players, counted: 0, injected: 0, held: None };
        let shared = Arc::new((Mutex::new(hub), AtomicBool::new(false)));
        let of_all = Arc::clone(&shared);
        let acceptor = Some(thread::spawn(move || accept(&listener, &of_all)));
        Self { address, shared, acceptor }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Faults so far, each for all its victims.
    pub fn injected(&self) -> u64 {
        self.shared.0.lock().unwrap().injected
    }
}

impl Drop for Crooked {
    fn drop(&mut self) {
        self.shared.1.store(true, Ordering::Relaxed);
        let ended = self.acceptor.take().map(JoinHandle::join);
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "a thread panicked");
    }
}

fn accept(listener: &TcpListener, shared: &Shared) {
    listener.set_nonblocking(true).unwrap();
    let mut accepted = 0;
    thread::scope(|scope| {
        while !shared.1.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok((stream, peer)) if accepted < CONNECTIONS_MAX => {
                    accepted += 1;
                    let is_first = accepted == 1;
                    scope.spawn(move || serve(&stream, peer.ip(), is_first, shared));
                }
                _ => thread::park_timeout(TICK),
            }
        }
    });
}

/// One connection, until its end, an error of the peer's, or the end of the server.
fn serve(stream: &TcpStream, address: IpAddr, is_first: bool, shared: &Shared) -> Option<()> {
    let (hub, is_over) = shared;
    stream.set_nodelay(true).ok()?;
    stream.set_read_timeout(Some(TICK)).ok()?;
    stream.set_write_timeout(Some(Duration::from_secs(5))).ok()?;
    let plan = hub.lock().unwrap().plan;
    let is_mute = plan.fault == Fault::Deaf || plan.fault == Fault::Mute && !is_first;
    let is_victim = plan.only.is_none_or(|n| address == IpAddr::from([127, 0, 0, n]));
    let budget = Budget::new(64 * 1024 * 1024);
    let mut session = ServerSession::new(config(CHUNK_SIZE), budget, Millis(0));
    let (mut buffer, mut out, mut bodies) = (vec![0; 256 * 1024], Vec::new(), HashMap::new());
    let began = Instant::now();
    while !is_over.load(Ordering::Relaxed) && began.elapsed() < LIFE {
        let mut input = match (&*stream).read(&mut buffer) {
            Ok(count @ 1..) => &buffer[..count],
            Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
            Ok(_) | Err(_) => return None,
        };
        while !is_mute
            && let Some(event) = session.handle_input(&mut input, &mut out, Millis(0)).ok()?
        {
            match event {
                Event::Connect { .. } => session.accept_connect(&mut out),
                Event::Publish { msid, .. } => session.accept_publish(msid, &mut out),
                Event::Play { msid, .. } if plan.fault != Fault::NoPlay => {
                    session.accept_play(msid, &mut out);
                    let stream = stream.try_clone().ok()?;
                    let mut hub = hub.lock().unwrap();
                    (&stream).write_all(&out).ok()?;
                    out.clear();
                    hub.players.push(Player { stream, msid, has_begun: false, is_victim });
                }
                Event::Media(piece) => {
                    if let Some(frame) = gather(&piece, &mut bodies) {
                        hub.lock().unwrap().relay(frame);
                    }
                }
                _ => {}
            }
        }
        // No frame comes in between.
        let _hub = hub.lock().unwrap();
        (&*stream).write_all(&out).ok()?;
        out.clear();
    }
    Some(())
}

fn gather(piece: &MediaPiece<'_>, bodies: &mut HashMap<usize, Vec<u8>>) -> Option<Frame> {
    let body = bodies.entry(piece.slot).or_default();
    body.extend_from_slice(&piece.bytes);
    let (kind, timestamp) = (piece.kind, piece.timestamp);
    piece.is_last().then(|| Frame { kind, timestamp, body: std::mem::take(body) })
}

impl Hub {
    fn relay(&mut self, frame: Frame) {
        let tag = tag::classify(frame.kind, &frame.body);
        if tag.is_init() {
            return self.headers.push(frame);
        }
        if tag.class == TagClass::Keyframe {
            for player in self.players.iter_mut().filter(|player| !player.has_begun) {
                self.headers.iter().for_each(|header| player.send(header));
                player.has_begun = true;
            }
        }
        let late = self.held.take();
        if self.is_due() {
            self.injected += 1;
            self.send(&frame, |player| !player.is_victim);
            self.spoil(frame);
        } else {
            self.send(&frame, |_| true);
        }
        if let Some(late) = late {
            self.send(&late, |player| player.is_victim);
        }
    }

    /// Whether this frame is one that the plan spoils.
    fn is_due(&mut self) -> bool {
        let begun = self.players.iter().filter(|player| player.has_begun).count();
        if begun < self.plan.players || self.injected == self.plan.times {
            return false;
        }
        self.counted += 1;
        self.counted.is_multiple_of(self.plan.every)
    }

    /// What the victims get instead of `frame`.
    fn spoil(&mut self, mut frame: Frame) {
        let mut times = 1;
        let victims = || self.players.iter().filter(|player| player.is_victim);
        match self.plan.fault {
            Fault::None | Fault::NoPlay | Fault::Mute | Fault::Deaf => {}
            Fault::Drop => times = 0,
            Fault::Repeat => times = 2,
            Fault::Swap => return self.held = Some(frame),
            Fault::Flip => *frame.body.last_mut().unwrap() ^= 1,
            Fault::GoBack => frame.timestamp = frame.timestamp.wrapping_sub(1000),
            Fault::Delay(time) => {
                let until = Instant::now() + time;
                while let Some(left) = until.checked_duration_since(Instant::now()) {
                    thread::park_timeout(left);
                }
            }
            Fault::Close => victims().for_each(|p| drop(p.stream.shutdown(Shutdown::Both))),
            Fault::Garbage => victims().for_each(|player| player.write(&[0xFF; 512])),
        }
        for _ in 0..times {
            self.send(&frame, |player| player.is_victim);
        }
    }

    fn send(&self, frame: &Frame, to: impl Fn(&Player) -> bool) {
        let players = self.players.iter().filter(|player| player.has_begun && to(player));
        players.for_each(|player| player.send(frame));
    }
}

impl Player {
    fn send(&self, frame: &Frame) {
        let (csid, message_type) = match frame.kind {
            MediaKind::Audio => (Csid(4), type_id::AUDIO),
            MediaKind::Video | MediaKind::Data => (Csid(6), type_id::VIDEO),
        };
        let (timestamp, msid) = (frame.timestamp, self.msid);
        let header = MessageHeader { csid, timestamp, length: 0, message_type, msid };
        let mut bytes = Vec::new();
        emit_message(&header, &frame.body, CHUNK_SIZE, &mut bytes);
        self.write(&bytes);
    }

    /// A player that is gone gets them or not.
    fn write(&self, bytes: &[u8]) {
        let _ = (&self.stream).write_all(bytes);
    }
}
