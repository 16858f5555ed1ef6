//! One connection of a loop: socket, session, and what waits to be read or written.
//!
//! Owns its buffers and flags. What happens to it is decided in [`super::event_loop`].

use std::net::IpAddr;
use std::sync::Arc;

use mio::net::TcpStream;
use socket2::SockRef;

use super::out_queue::OutQueue;
use super::player_slots::PlayerSlots;
use super::ring::Ring;
use super::slots::Slot;
use super::timer_wheel::{Tick, Timed};
use crate::budget::{Charge, OverBudget};
use crate::media::cursor::Pending;
use crate::media::frame::Frame;
use crate::rtmp::Msid;
use crate::rtmp::session::ServerSession;
use crate::service::publisher::ConnectionId;
use crate::service::{CloseReason, StreamKey};
use crate::time::Millis;

/// A publish that waits for a decision of the directory.
#[derive(Debug)]
pub struct PendingPublish {
    /// Message stream.
    pub msid: Msid,
    /// Stream.
    pub key: StreamKey,
    /// When it was asked for.
    pub asked: Millis,
    /// The name is ours, the predecessor still has to hand over.
    pub granted: bool,
}

/// Input that arrived behind a publish that waits; it does not pin a ring.
#[derive(Debug)]
pub struct Held {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Charged to the budget.
    pub charge: Charge,
}

/// A connection on its way out: the peer gets what is queued, then FIN, then a moment to read it.
#[derive(Debug, Clone, Copy)]
pub struct Closing {
    /// Why.
    pub reason: CloseReason,
    /// When FIN may be sent at the earliest.
    pub fin_at: Millis,
    /// When the socket is closed whatever the peer does.
    pub drop_at: Millis,
    /// FIN has been sent.
    pub fin_sent: bool,
}

/// The rest of a frame whose player has left in the middle of it: the socket still needs it (N3).
#[derive(Debug)]
pub struct Rest {
    /// The frame.
    pub frame: Arc<Frame>,
    /// Wire bytes of it that were accepted.
    pub offset: usize,
    /// The message stream it belongs to.
    pub msid: Msid,
}

impl Rest {
    /// What is left to write.
    #[must_use]
    pub fn pending(&self) -> Pending<'_> {
        Pending { frame: &self.frame, offset: self.offset }
    }

    /// Its part of the frame's bytes.
    fn charged_bytes(&self) -> usize {
        self.frame.charged_bytes() / Arc::strong_count(&self.frame).max(1)
    }
}

/// See the module documentation.
#[derive(Debug)]
pub struct Connection {
    /// The socket, non-blocking.
    pub stream: TcpStream,
    /// The protocol state; apart, so that what a write touches lies close together.
    pub session: Box<ServerSession>,
    /// Own outgoing bytes.
    pub out: OutQueue,
    /// Goes before everything else.
    pub rest: Option<Box<Rest>>,
    /// Leased while unread bytes are in it.
    pub ring: Option<Ring>,
    /// Input behind an unanswered publish.
    pub held: Option<Box<Held>>,
    /// Unanswered publish.
    pub pending: Option<Box<PendingPublish>>,
    /// Player slots, by message stream.
    pub players: PlayerSlots,
    /// Publisher slots, by message stream.
    pub publishers: Vec<(Msid, usize)>,
    /// `app` of connect.
    pub app: Box<[u8]>,
    /// Peer.
    pub address: IpAddr,
    /// The number in logs and statistics.
    pub session_id: u64,
    /// Generation of the slab slot (N6).
    pub generation: u32,
    /// The kernel may have more to read.
    pub is_readable: bool,
    /// The last event said read-closed or error: read until the end shows.
    pub is_read_closed: bool,
    /// On the ready list.
    pub in_ready: bool,
    /// On the flush list.
    pub in_flush: bool,
    /// The socket takes no more; the next writable event tells.
    pub is_blocked: bool,
    /// Since when it has accepted nothing.
    pub blocked_since: Option<Millis>,
    /// On its way out.
    pub closing: Option<Box<Closing>>,
    /// The live entry in the timer wheel.
    pub timer: Option<Tick>,
    /// What the session and the lists here hold, messages not counted.
    pub charge: Charge,
    /// Accepted at.
    pub opened: Millis,
    /// Socket bytes in.
    pub bytes_in: u64,
    /// Socket bytes out.
    pub bytes_out: u64,
}

impl Slot for Connection {
    fn generation(&self) -> u32 {
        self.generation
    }
}

impl Timed for Connection {
    fn timer(&mut self) -> &mut Option<Tick> {
        &mut self.timer
    }
}

impl Connection {
    /// Whether input may be fed to the session now.
    #[must_use]
    pub fn takes_input(&self, out_queue_max: usize) -> bool {
        self.pending.is_none() && self.out.unsent().len() <= out_queue_max
    }

    /// Charges what has grown since the last call.
    ///
    /// # Errors
    /// [`OverBudget`]: the connection must end.
    pub fn settle(&mut self) -> Result<(), OverBudget> {
        let publishers = self.publishers.capacity() * size_of::<(Msid, usize)>();
        let bytes =
            self.session.state_bytes() + self.players.heap_bytes() + publishers + self.app.len();
        self.charge.resize(bytes)
    }

    /// Bytes of the budget that it holds, its streams not counted.
    #[must_use]
    pub fn charged_bytes(&self) -> usize {
        let held = self.held.as_ref().map_or(0, |held| held.charge.bytes());
        let rest = self.rest.as_ref().map_or(0, |rest| rest.charged_bytes());
        held + rest + self.charge.bytes() + self.out.charged_bytes() + self.session.partial_bytes()
    }

    /// Its name outside the loop.
    #[must_use]
    pub fn id(&self, slot: usize) -> ConnectionId {
        ConnectionId::new(slot, self.generation)
    }

    /// Acknowledge at once.
    ///
    /// QUIRK: libavformat and rtmp2src write their commands in small pieces with Nagle's algorithm
    /// on: each waits for the acknowledgement of the one before, which the kernel delays by 40 ms.
    /// Test: `tests/startup.rs::small_writes_are_acknowledged_at_once_until_media_starts`.
    pub fn acknowledge_at_once(&self) {
        // A failure costs 40 ms of start-up time, nothing else.
        let _ = SockRef::from(&self.stream).set_tcp_quickack(true);
    }
}
