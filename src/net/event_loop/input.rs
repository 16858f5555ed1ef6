//! From readable sockets to sessions, and from their events to live streams.

use std::io;

use super::{EventLoop, find, push_ready};
use crate::budget::{Charge, OverBudget};
use crate::limits::{
    AGGREGATE_MESSAGES_MAX, MESSAGES_PER_TURN, OUT_QUEUE_BYTES_MAX, READS_PER_TURN,
};
use crate::net::connection::Held;
use crate::net::ring::Ring;
use crate::rtmp::message::{aggregate, type_id};
use crate::rtmp::session::{Event, MediaKind};
use crate::rtmp::{Msid, ProtocolError};
use crate::service::CloseReason;
use crate::service::publisher::ConnectionId;

/// Why feeding a session stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fed {
    /// All input is used up.
    Drained,
    /// An answer or room in the out queue is missing: the rest waits outside the ring.
    Suspended,
    /// The turn's budget is used up: the rest waits in the ring while there are others.
    Budget,
    /// The connection is closed or closing.
    Gone,
}

impl EventLoop {
    /// Gives every connection on the ready list one turn, unless memory or another loop's mailbox
    /// is full: then the rest of the list waits a moment.
    pub(super) fn read_ready(&mut self) {
        self.memory.read_again = None;
        for _ in 0..self.ready.len().min(READS_PER_TURN) {
            // What the last connection sent is under way before the mailboxes are looked at.
            self.settle_live();
            if !self.may_read() {
                self.memory.read_again = Some(self.now.plus(1));
                return;
            }
            let Some(id) = self.ready.pop_front() else { return };
            let Some(connection) = find(&mut self.connections, id) else { continue };
            connection.in_ready = false;
            if connection.closing.is_some() {
                self.discard_input(id);
            } else {
                self.read(id);
                self.flush_handshake(id);
            }
        }
    }

    /// Reads and parses within the turn's budget; what is left goes on the ready list (N1).
    fn read(&mut self, id: ConnectionId) {
        let mut budget = self.shared.config.turn_bytes;
        loop {
            match self.parse(id) {
                Fed::Drained => {}
                Fed::Budget => return self.ready_again(id),
                Fed::Suspended | Fed::Gone => return self.return_ring(id),
            }
            let Some(connection) = find(&mut self.connections, id) else { return };
            if !connection.is_readable {
                break;
            }
            if budget == 0 || !self.may_read() {
                return self.ready_again(id);
            }
            let Some(connection) = find(&mut self.connections, id) else { return };
            let ring = connection.ring.take().or_else(|| self.rings.lease());
            let Some(mut ring) = ring else { return self.ready_again(id) };
            let filled = ring.fill(&mut connection.stream);
            let short = !ring.is_full();
            connection.ring = Some(ring);
            match filled {
                Ok(0) => return self.close(id, CloseReason::PeerClosed),
                Ok(read) => {
                    budget = budget.saturating_sub(read);
                    connection.bytes_in += read as u64;
                    self.counters.bytes_in += read as u64;
                    // A short read means empty, unless FIN is behind it: no second event tells.
                    connection.is_readable = !short || connection.is_read_closed;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    connection.is_readable = false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.close(id, socket_error(&error)),
            }
        }
        self.return_ring(id);
    }

    fn ready_again(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        push_ready(&mut self.ready, connection, id);
        self.return_ring(id);
    }

    /// Gives an empty ring back to the pool.
    fn return_ring(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        if let Some(ring) = connection.ring.take_if(|ring| ring.is_empty()) {
            self.rings.give_back(ring);
        }
    }

    /// Feeds what waits outside the ring, then the ring.
    fn parse(&mut self, id: ConnectionId) -> Fed {
        let Some(connection) = find(&mut self.connections, id) else { return Fed::Gone };
        if let Some(mut held) = connection.held.take() {
            let (used, fed) = self.feed(id, &held.bytes);
            held.bytes.drain(..used);
            if fed != Fed::Drained {
                if let Some(connection) = find(&mut self.connections, id) {
                    connection.held = Some(held);
                }
                return fed;
            }
        }
        let Some(connection) = find(&mut self.connections, id) else { return Fed::Gone };
        let Some(mut ring) = connection.ring.take() else { return Fed::Drained };
        let mut fed = Fed::Drained;
        while fed == Fed::Drained && !ring.is_empty() {
            let (used, result) = self.feed(id, ring.readable());
            ring.consume(used);
            fed = result;
        }
        self.keep_rest(id, ring, fed)
    }

    /// Puts the ring back to the connection, or its rest into a buffer that pins no ring: where the
    /// connection must wait, and where others would have to wait for the last ring.
    fn keep_rest(&mut self, id: ConnectionId, mut ring: Ring, fed: Fed) -> Fed {
        let connection = find(&mut self.connections, id).filter(|_| fed != Fed::Gone);
        let Some(connection) = connection else {
            self.rings.give_back(ring);
            return Fed::Gone;
        };
        let is_kept = match fed {
            _ if ring.is_empty() => true,
            Fed::Budget => self.rings.has_spare(),
            Fed::Drained => true,
            Fed::Suspended | Fed::Gone => false,
        };
        if is_kept {
            connection.ring = Some(ring);
            return fed;
        }
        let mut charge = Charge::empty(&self.shared.budget);
        let mut bytes = Vec::with_capacity(ring.len());
        let charged = charge.resize(ring.len());
        while !ring.is_empty() {
            bytes.extend_from_slice(ring.readable());
            ring.consume(ring.readable().len());
        }
        self.rings.give_back(ring);
        connection.held = Some(Box::new(Held { bytes, charge }));
        if charged.is_err() {
            self.close(id, CloseReason::OutOfMemory);
            return Fed::Gone;
        }
        fed
    }

    /// Feeds `input` to the session and handles its events. Returns the bytes used.
    fn feed(&mut self, id: ConnectionId, input: &[u8]) -> (usize, Fed) {
        let mut rest = input;
        let mut fed = Fed::Budget;
        let mut replied = false;
        let mut left = MESSAGES_PER_TURN;
        loop {
            let Some(connection) = find(&mut self.connections, id) else { return (0, Fed::Gone) };
            if connection.closing.is_some() {
                return (input.len(), Fed::Gone);
            }
            // The second event of an input is handled with the first: no input may follow it.
            let may_wait = !connection.session.has_queued_event();
            if may_wait && !connection.takes_input(OUT_QUEUE_BYTES_MAX) {
                fed = Fed::Suspended;
                break;
            }
            if may_wait && left == 0 {
                break;
            }
            left = left.saturating_sub(1);
            let out = connection.out.buffer();
            let event = connection.session.handle_input(&mut rest, out, self.now);
            replied |= !out.is_empty();
            match event {
                Ok(Some(event)) => self.handle_event(id, event),
                Ok(None) => {
                    fed = if rest.is_empty() { Fed::Drained } else { Fed::Suspended };
                    break;
                }
                Err(error) => {
                    self.protocol_error(id, error);
                    return (input.len(), Fed::Gone);
                }
            }
        }
        self.after_feed(id, replied);
        (input.len() - rest.len(), fed)
    }

    /// Queues replies; where there are none, acknowledges at once until media has started.
    fn after_feed(&mut self, id: ConnectionId, replied: bool) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.settle().is_err() {
            self.close(id, CloseReason::OutOfMemory);
        } else if replied || !connection.out.is_empty() {
            self.settle_out(id);
        } else if !connection.session.is_active() {
            connection.acknowledge_at_once();
        }
    }

    fn protocol_error(&mut self, id: ConnectionId, error: ProtocolError) {
        let reason = CloseReason::Protocol(error);
        match error {
            ProtocolError::UnsupportedVersion { .. } => self.close(id, reason),
            ProtocolError::OverBudget => self.close(id, CloseReason::OutOfMemory),
            _ => self.close_after_flush(id, reason, self.now),
        }
    }

    fn handle_event(&mut self, id: ConnectionId, event: Event<'_>) {
        match event {
            Event::Media(piece) => {
                let Some(slot) = self.publisher_slot(id, piece.msid) else { return };
                let result = self.live.media(slot, &piece, self.now);
                self.check_memory(id, result);
            }
            Event::Data { msid, timestamp, body } => {
                let Some(slot) = self.publisher_slot(id, msid) else { return };
                let result = self.live.data(slot, timestamp, &body, self.now);
                self.check_memory(id, result);
            }
            Event::Aggregate { msid, timestamp, body } => {
                self.handle_aggregate(id, msid, timestamp, &body);
            }
            Event::MediaAborted { slot } => {
                let Some(connection) = find(&mut self.connections, id) else { return };
                for &(_, publisher) in &connection.publishers {
                    self.live.abort(publisher, slot);
                }
            }
            Event::Connect { app, .. } => self.handle_connect(id, &app),
            Event::Publish { msid, name, kind: _ } => self.handle_publish(id, msid, &name),
            Event::Play { msid, request } => self.handle_play(id, msid, &request),
            Event::Unpublish { msid } => self.handle_unpublish(id, msid),
            Event::StopPlay { msid } => self.handle_stop_play(id, msid),
            Event::Pause { msid, paused } => {
                self.with_player(id, msid, |player, log| player.cursor.pause(log, paused));
            }
            Event::ReceiveAudio { msid, on } => {
                self.with_player(id, msid, |player, _| player.cursor.receive(MediaKind::Audio, on));
            }
            Event::ReceiveVideo { msid, on } => {
                self.with_player(id, msid, |player, _| player.cursor.receive(MediaKind::Video, on));
            }
            Event::Disconnect => self.close_after_flush(id, CloseReason::Disconnect, self.now),
        }
    }

    pub(super) fn publisher_slot(&mut self, id: ConnectionId, msid: Msid) -> Option<usize> {
        let connection = find(&mut self.connections, id)?;
        connection.publishers.iter().find(|(at, _)| *at == msid).map(|&(_, slot)| slot)
    }

    fn handle_aggregate(&mut self, id: ConnectionId, msid: Msid, timestamp: u32, body: &[u8]) {
        let Some(slot) = self.publisher_slot(id, msid) else { return };
        for part in aggregate::split(body, timestamp).take(AGGREGATE_MESSAGES_MAX) {
            let kind = match part.message_type {
                type_id::AUDIO => MediaKind::Audio,
                type_id::VIDEO => MediaKind::Video,
                type_id::DATA_AMF0 => {
                    let result = self.live.data(slot, part.timestamp, part.body, self.now);
                    self.check_memory(id, result);
                    continue;
                }
                _ => continue,
            };
            let result = self.live.whole(slot, kind, part.timestamp, part.body, self.now);
            self.check_memory(id, result);
        }
    }

    fn check_memory(&mut self, id: ConnectionId, result: Result<(), OverBudget>) {
        if result.is_err() {
            self.close(id, CloseReason::OutOfMemory);
        }
    }
}

/// What a failed read or write means.
pub(super) fn socket_error(error: &io::Error) -> CloseReason {
    CloseReason::Socket(error.raw_os_error().unwrap_or(0))
}
