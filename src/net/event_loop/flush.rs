//! The flush pass: one vectored write per connection with everything pending.
//!
//! ```text
//!   | rest of the frame in flight | replies | frames of player 1 | frames of player 2 | ...
//!     never interrupted (N3)        only at message boundaries
//! ```
//!
//! INVARIANT (N3): at most one frame of a connection is partly written, and its rest comes first.

use std::io;

use arrayvec::ArrayVec;
use socket2::SockRef;

use super::batch::{Batch, Headers};
use super::input::socket_error;
use super::{EventLoop, find, push_flush, push_ready};
use crate::limits::{MESSAGE_STREAMS_MAX, STREAM_END_FIN_MS};
use crate::media::cursor::Place;
use crate::media::frame::SHARED_MSID;
use crate::net::connection::Connection;
use crate::rtmp::session::Status;
use crate::service::CloseReason;
use crate::service::live::Live;
use crate::service::publisher::ConnectionId;

/// What one write took and left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flushed {
    /// Everything pending is out.
    All,
    /// The socket took all it was offered, and more is pending.
    More,
    /// The socket is full.
    Blocked,
}

impl EventLoop {
    /// Players whose stream is due, then one slice of the flush list.
    pub(super) fn flush_due(&mut self) {
        let Self { live, connections, flush, .. } = self;
        live.take_due(self.now, |id| {
            if let Some(connection) = find(connections, id) {
                push_flush(flush, connection, id);
            }
        });
        for _ in 0..self.shared.config.flush_slice.min(self.flush.len()) {
            let Some(id) = self.flush.pop_front() else { break };
            self.flush_connection(id);
        }
        self.read_clock();
        self.settle_live();
    }

    /// Answers a handshake at once: 3 KB for each of a thousand who come in one turn would leave
    /// holes in the heap. The place on the flush list stays.
    pub(super) fn flush_handshake(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        if !connection.session.is_connected() && !connection.out.is_empty() {
            self.write(id);
        }
    }

    fn flush_connection(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.in_flush = false;
        self.write(id);
    }

    fn write(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.is_blocked {
            return;
        }
        let lag_ms = self.shared.live.lag_ms;
        for &slot in connection.players.iter() {
            let Some((player, log)) = self.live.player(slot) else { continue };
            let skips = player.cursor.skips();
            player.cursor.prepare(log, lag_ms, &self.shared.budget, self.now);
            self.counters.skips += u64::from(player.cursor.skips() - skips);
        }
        match write_pending(connection, &mut self.live) {
            Ok((0, Flushed::All)) => connection.blocked_since = None,
            Ok((written, flushed)) => {
                connection.bytes_out += written as u64;
                self.counters.bytes_out += written as u64;
                self.counters.writes += u64::from(written > 0);
                self.after_write(id, written, flushed);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                push_flush(&mut self.flush, connection, id);
            }
            Err(_) if !connection.publishers.is_empty() => return self.read_to_end(id),
            Err(error) => return self.close(id, socket_error(&error)),
        }
        self.finish_players(id);
        self.advance_closing(id);
    }

    /// The peer takes no more, but what it sent before it went still counts: frames, an unpublish.
    /// The read side closes at its end; should that not come, the connection counts as blocked.
    fn read_to_end(&mut self, id: ConnectionId) {
        let now = self.now;
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.is_blocked = true;
        connection.blocked_since = Some(now);
        connection.is_readable = true;
        connection.is_read_closed = true;
        push_ready(&mut self.ready, connection, id);
        self.arm(id);
    }

    fn after_write(&mut self, id: ConnectionId, written: usize, flushed: Flushed) {
        let now = self.now;
        let Some(connection) = find(&mut self.connections, id) else { return };
        if flushed == Flushed::Blocked {
            connection.is_blocked = true;
            if written > 0 || connection.blocked_since.is_none() {
                connection.blocked_since = Some(now);
            }
            return self.arm(id);
        }
        connection.blocked_since = None;
        if flushed == Flushed::More {
            push_flush(&mut self.flush, connection, id);
        }
        if connection.held.is_some() || connection.is_readable {
            // Input may have waited for room in the out queue.
            push_ready(&mut self.ready, connection, id);
        }
    }

    /// Players that have got their last frame: the stream has ended, or their duration is over.
    fn finish_players(&mut self, id: ConnectionId) {
        let mut ended = false;
        while let Some((slot, is_ending)) = self.finished_player(id) {
            ended |= is_ending;
            self.stop_player(id, slot);
        }
        if !ended {
            return;
        }
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.players.is_empty() && connection.publishers.is_empty() {
            let down = self.shutdown.is_some();
            let reason = if down { CloseReason::Shutdown } else { CloseReason::StreamEnded };
            // At the end of the process nobody publishes again: there is nothing to wait for.
            let fin_at = if down { self.now } else { self.now.plus(STREAM_END_FIN_MS) };
            self.close_after_flush(id, reason, fin_at);
        }
    }

    /// A player that has got its last frame, and whether its stream has ended; it has been told.
    fn finished_player(&mut self, id: ConnectionId) -> Option<(usize, bool)> {
        let connection = find(&mut self.connections, id)?;
        let live = &self.live;
        let finished = connection.players.iter().find_map(|&slot| {
            let (player, log) = live.playing(slot)?;
            player.cursor.is_finished(log).then_some((slot, player.msid, player.is_ending))
        });
        let (slot, msid, is_ending) = finished?;
        let status = if is_ending { Status::PlayUnpublishNotify } else { Status::PlayStop };
        connection.session.notify(msid, status, connection.out.buffer(), self.now);
        self.settle_out(id);
        Some((slot, is_ending))
    }
}

/// One vectored write of what a connection has pending. Returns the bytes accepted.
fn write_pending(connection: &mut Connection, live: &mut Live) -> io::Result<(usize, Flushed)> {
    let mut offered = Offered::default();
    let (written, flushed) = {
        let mut headers = Headers::default();
        if goes_elsewhere(connection, live) {
            headers.make_room();
        }
        let mut batch = Batch::new(&mut headers);
        offered.gather(connection, live, &mut batch);
        if batch.bytes() == 0 {
            return Ok((0, Flushed::All));
        }
        // Not writev: that goes by way of the file layer and costs a twentieth more than sendmsg.
        let socket = SockRef::from(&connection.stream);
        let sent = match batch.slices() {
            [slice] => socket.send(slice),
            slices => socket.send_vectored(slices),
        };
        match sent {
            Ok(written) if written < batch.bytes() => (written, Flushed::Blocked),
            Ok(written) if batch.is_cut() => (written, Flushed::More),
            Ok(written) => (written, Flushed::All),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => (0, Flushed::Blocked),
            Err(error) => return Err(error),
        }
    };
    offered.accept(connection, live, written);
    if flushed != Flushed::All && connection.players.len() > 1 {
        // Several players share the socket: the next write begins with another one.
        connection.players.rotate_left(1);
    }
    Ok((written, flushed))
}

/// Whether frames go to another msid than the one they are encoded for.
fn goes_elsewhere(connection: &Connection, live: &Live) -> bool {
    let mut players = connection.players.iter().filter_map(|&slot| live.playing(slot));
    players.any(|(player, _)| player.msid != SHARED_MSID)
        || connection.rest.as_ref().is_some_and(|rest| rest.msid != SHARED_MSID)
}

/// What one write offers, in its order: bytes of each part.
#[derive(Debug, Default)]
struct Offered {
    /// Of the frame in flight, whether its player is still there or not.
    in_flight: usize,
    replies: usize,
    /// Bytes of the frames of each player, by its place in the connection; and where they end, if
    /// all of them fitted.
    frames: ArrayVec<(usize, Option<Place>), MESSAGE_STREAMS_MAX>,
}

impl Offered {
    fn gather<'a>(&mut self, connection: &'a Connection, live: &'a Live, batch: &mut Batch<'a>) {
        let players = || connection.players.iter().filter_map(|&slot| live.playing(slot));
        if let Some(rest) = &connection.rest {
            self.in_flight += batch.push_frame(rest.pending(), rest.msid);
        }
        for (player, _) in players() {
            if let Some(pending) = player.cursor.in_flight() {
                self.in_flight += batch.push_frame(pending, player.msid);
            }
        }
        self.replies = batch.push(connection.out.unsent());
        for (player, log) in players().take(MESSAGE_STREAMS_MAX) {
            let before = batch.bytes();
            let mut ahead = player.cursor.ahead(log);
            while !batch.is_cut()
                && let Some(pending) = ahead.next()
            {
                batch.push_frame(pending, player.msid);
            }
            let end = (!batch.is_cut()).then_some(ahead.place());
            self.frames.push((batch.bytes() - before, end));
        }
    }

    /// The socket took the first `written` bytes.
    fn accept(&self, connection: &mut Connection, live: &mut Live, mut written: usize) {
        let mut part = |offered: usize| {
            let accepted = offered.min(written);
            written -= accepted;
            accepted
        };
        let in_flight = part(self.in_flight);
        if in_flight > 0 {
            Self::accept_in_flight(connection, live, in_flight);
        }
        connection.out.consume(part(self.replies));
        for (&slot, &(offered, end)) in connection.players.iter().zip(&self.frames) {
            let Some((player, log)) = live.player(slot) else { continue };
            let accepted = part(offered);
            match end {
                Some(place) if accepted == offered && accepted > 0 => player.cursor.arrive(place),
                _ => player.cursor.advance(log, accepted),
            }
            player.bytes += accepted as u64;
        }
    }

    fn accept_in_flight(connection: &mut Connection, live: &mut Live, accepted: usize) {
        if let Some(rest) = &mut connection.rest {
            rest.offset += accepted;
        }
        connection.rest.take_if(|rest| rest.offset >= rest.frame.wire_bytes());
        for &slot in connection.players.iter() {
            if let Some((player, log)) = live.player(slot)
                && player.cursor.is_mid_frame()
            {
                player.cursor.advance(log, accepted);
                player.bytes += accepted as u64;
            }
        }
    }
}
