//! The end of a connection: one function closes, with one reason.

use std::io::ErrorKind;
use std::net::Shutdown;
use std::sync::Arc;

use super::{EventLoop, find, push_flush, push_ready};
use crate::limits::CLOSE_LINGER_MS;
use crate::net::connection::{Closing, Connection};
use crate::rtmp::Msid;
use crate::rtmp::session::Status;
use crate::service::CloseReason;
use crate::service::message::Epoch;
use crate::service::publisher::ConnectionId;
use crate::time::Millis;

impl EventLoop {
    /// Closes at once. The only place where a connection ends.
    pub(super) fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        self.leave_streams(id);
        if find(&mut self.connections, id).is_none() {
            return;
        }
        let connection = self.connections.remove(id.slot());
        let reason = connection.closing.as_ref().map_or(reason, |closing| closing.reason);
        if let Some(ring) = connection.ring {
            self.rings.give_back(ring);
        }
        self.count_close(reason);
        self.shared.dismiss(connection.address);
        self.publish_load();
        if self.log_lines.take(self.now) {
            let (session, seconds) = (connection.session_id, self.now.since(connection.opened));
            let (bytes_in, bytes_out) = (connection.bytes_in, connection.bytes_out);
            log::info!(
                "session {session} closed: {reason}; {bytes_in} bytes in, {bytes_out} bytes out, \
                 {}.{:03} s",
                seconds / 1000,
                seconds % 1000
            );
        }
    }

    /// Lets the peer read what is queued: flush, FIN not before `fin_at`, close soon after. Its
    /// streams and names are given up now.
    pub(super) fn close_after_flush(
        &mut self,
        id: ConnectionId,
        reason: CloseReason,
        fin_at: Millis,
    ) {
        self.leave_streams(id);
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.closing.is_some() {
            return;
        }
        let drop_at = fin_at.plus(CLOSE_LINGER_MS);
        connection.closing = Some(Box::new(Closing { reason, fin_at, drop_at, fin_sent: false }));
        connection.pending = None;
        connection.held = None;
        connection.blocked_since = None;
        push_flush(&mut self.flush, connection, id);
        push_ready(&mut self.ready, connection, id);
        self.settle_out(id);
        self.arm(id);
    }

    /// After a flush: FIN when everything is out and its time has come.
    pub(super) fn advance_closing(&mut self, id: ConnectionId) {
        let now = self.now;
        let Some(connection) = find(&mut self.connections, id) else { return };
        let Some(closing) = &mut connection.closing else { return };
        let is_flushed = connection.out.is_empty() && connection.rest.is_none();
        if is_flushed && !closing.fin_sent && closing.fin_at <= now {
            closing.fin_sent = true;
            closing.drop_at = now.plus(CLOSE_LINGER_MS);
            if connection.stream.shutdown(Shutdown::Write).is_err() {
                let reason = closing.reason;
                return self.close(id, reason);
            }
        }
        self.arm(id);
    }

    /// A deadline of a closing connection.
    pub(super) fn closing_timeout(&mut self, id: ConnectionId) {
        let now = self.now;
        let Some(connection) = find(&mut self.connections, id) else { return };
        let Some(closing) = &connection.closing else { return };
        if closing.drop_at <= now {
            let reason = closing.reason;
            return self.close(id, reason);
        }
        self.advance_closing(id);
    }

    /// Reads and throws away what a closing peer still sends, so that FIN does not become RST.
    pub(super) fn discard_input(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        let Some(mut ring) = connection.ring.take().or_else(|| self.rings.lease()) else {
            return push_ready(&mut self.ready, connection, id);
        };
        ring.consume(ring.len());
        let filled = ring.fill(&mut connection.stream);
        let (ended, again) = match filled.map_err(|error| error.kind()) {
            Ok(0) => (true, false),
            Ok(_) | Err(ErrorKind::Interrupted) => (false, true),
            Err(ErrorKind::WouldBlock) => (false, false),
            Err(_) => (true, false),
        };
        if again {
            push_ready(&mut self.ready, connection, id);
        }
        self.rings.give_back(ring);
        if ended {
            self.close(id, CloseReason::PeerClosed);
        }
    }

    /// Another publisher has taken the name.
    pub(super) fn publisher_evicted(&mut self, id: ConnectionId, epoch: Epoch) {
        let Self { connections, live, .. } = self;
        let Some(connection) = find(connections, id) else { return };
        let is_it = |slot: usize| live.publisher(slot).is_some_and(|p| p.epoch == epoch);
        let evicted = connection.publishers.iter().find(|&&(_, slot)| is_it(slot));
        let Some(&(msid, _)) = evicted else { return };
        let out = connection.out.buffer();
        connection.session.notify(msid, Status::UnpublishSuccess, out, self.now);
        self.close_after_flush(id, CloseReason::TakenOver, self.now);
    }

    /// Shutdown: publishers and players get their status, then everybody is closed.
    pub(super) fn end_for_shutdown(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.closing.is_some() {
            return;
        }
        let publishing: Vec<Msid> = connection.publishers.iter().map(|&(msid, _)| msid).collect();
        let refusal = (Status::PublishRejected, "Shutting down.");
        for msid in publishing {
            end_publisher(connection, msid, refusal, self.now);
        }
        if let Some(waiting) = connection.pending.as_ref().map(|pending| pending.msid) {
            end_publisher(connection, waiting, refusal, self.now);
        }
        let players = std::mem::take(&mut connection.players);
        for &slot in players.iter() {
            let Some((player, log)) = self.live.player(slot) else { continue };
            player.cursor.end_here(log);
            player.is_ending = true;
        }
        // The names are given up now; players stay until everything before the end is out.
        self.leave_streams(id);
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.players = players;
        if connection.players.is_empty() {
            return self.close_after_flush(id, CloseReason::Shutdown, self.now);
        }
        push_flush(&mut self.flush, connection, id);
    }

    /// The grace time is over: whoever is still there goes without more words.
    pub(super) fn close_all(&mut self) {
        let ids: Vec<ConnectionId> = self.connections.iter().map(|(s, c)| c.id(s)).collect();
        for id in ids {
            self.close(id, CloseReason::Shutdown);
        }
    }

    /// Gives up names and subscriptions; a publisher that goes this way was lost.
    fn leave_streams(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.publishers.is_empty() && connection.players.is_empty() {
            return;
        }
        let publishers = std::mem::take(&mut connection.publishers);
        let players = connection.players.clone();
        let shared = Arc::clone(&self.shared);
        for (_, slot) in publishers {
            self.live.unpublish(&mut shared.directory(), slot, false, self.now);
        }
        for &slot in players.iter() {
            self.stop_player(id, slot);
        }
    }

    pub(super) fn count_close(&mut self, reason: CloseReason) {
        if let Some(count) = self.counters.closes.get_mut(reason.index()) {
            *count += 1;
        }
    }
}

/// Tells a publisher that its publish is over, or refuses one that has not been answered yet.
fn end_publisher(connection: &mut Connection, msid: Msid, refusal: (Status, &str), now: Millis) {
    let out = connection.out.buffer();
    match connection.pending.take_if(|pending| pending.msid == msid) {
        Some(_) => connection.session.reject_publish(msid, refusal.0, refusal.1, out),
        None => connection.session.notify(msid, Status::UnpublishSuccess, out, now),
    }
}
