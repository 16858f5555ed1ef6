//! Deadlines of connections, of live streams, and of the shutdown.

use std::sync::Arc;

use super::{EventLoop, find};
use crate::limits::{PUBLISH_RETRY_MS, TAKEOVER_WAIT_MS};
use crate::net::connection::Connection;
use crate::net::timer_wheel::TimerWheel;
use crate::rtmp::session::Status;
use crate::service::CloseReason;
use crate::service::live::Live;
use crate::service::publisher::ConnectionId;
use crate::time::Millis;

impl EventLoop {
    /// Makes sure that the wheel wakes the connection at its next deadline at the latest.
    pub(super) fn arm(&mut self, id: ConnectionId) {
        let config = &self.shared.config;
        let Some(connection) = find(&mut self.connections, id) else { return };
        let timeouts = (config.blocked_timeout_ms, config.publisher_timeout_ms);
        let Some(deadline) = next_deadline(connection, &self.live, timeouts, self.now) else {
            return;
        };
        let tick = TimerWheel::tick(deadline, self.now);
        if connection.timer.is_none_or(|armed| tick < armed) {
            connection.timer = Some(tick);
            self.timers.insert(tick, id);
        }
    }

    pub(super) fn run_timers(&mut self) {
        self.log_lines.report(self.now);
        while let Some(ids) = self.timers.expired(&mut self.connections, self.now) {
            for id in ids {
                self.connection_timeout(id);
                self.arm(id);
            }
        }
        if self.live.poll_timeout().is_some_and(|at| at <= self.now) {
            let shared = Arc::clone(&self.shared);
            self.live.handle_timeout(&mut shared.directory(), self.now);
        }
    }

    fn connection_timeout(&mut self, id: ConnectionId) {
        let now = self.now;
        let blocked_ms = self.shared.config.blocked_timeout_ms;
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.closing.is_some() {
            return self.closing_timeout(id);
        }
        let blocked = connection.blocked_since.is_some_and(|since| now.since(since) >= blocked_ms);
        if blocked && blocked_ms > 0 {
            return self.close(id, CloseReason::Blocked);
        }
        if let Err(timeout) = connection.session.handle_timeout(now, connection.out.buffer()) {
            return self.close_after_flush(id, CloseReason::Timeout(timeout), now);
        }
        if !connection.out.is_empty() {
            self.settle_out(id);
        }
        self.pending_timeout(id);
        self.publisher_timeout(id);
        self.player_timeout(id);
    }

    /// Asks the directory again for a publish that waits.
    fn pending_timeout(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        let Some(pending) = connection.pending.take_if(|pending| !pending.granted) else { return };
        self.try_publish(id, *pending);
    }

    fn publisher_timeout(&mut self, id: ConnectionId) {
        let limit = self.shared.config.publisher_timeout_ms;
        let Some(connection) = find(&mut self.connections, id) else { return };
        let live = &self.live;
        let silent = |slot: usize| {
            live.publisher(slot).is_some_and(|p| self.now.since(p.last_media) >= limit)
        };
        if limit > 0 && connection.publishers.iter().any(|&(_, slot)| silent(slot)) {
            self.close_after_flush(id, CloseReason::PublisherSilent, self.now);
        }
    }

    /// Players that have waited for a publisher long enough.
    fn player_timeout(&mut self, id: ConnectionId) {
        let now = self.now;
        let Some(connection) = find(&mut self.connections, id) else { return };
        let mut refused = None;
        for &slot in connection.players.iter() {
            let Some((player, _)) = self.live.player(slot) else { continue };
            if player.waits_until.is_some_and(|until| until <= now) {
                let (msid, status) = (player.msid, Status::PlayStreamNotFound);
                let (text, out) = ("No such stream.", connection.out.buffer());
                connection.session.reject_play(msid, status, text, out);
                refused = Some(text);
            }
        }
        if let Some(text) = refused {
            self.close_after_flush(id, CloseReason::Refused(text), now);
        }
    }
}

/// The earliest deadline of a connection; asked often, allocates nothing. `timeouts`: blocked and
/// publisher, ms, 0 for never.
fn next_deadline(
    connection: &Connection,
    live: &Live,
    timeouts: (u64, u64),
    now: Millis,
) -> Option<Millis> {
    if let Some(closing) = &connection.closing {
        return Some(if closing.fin_at > now { closing.fin_at } else { closing.drop_at });
    }
    let (blocked_ms, publisher_ms) = timeouts;
    let blocked = connection.blocked_since.filter(|_| blocked_ms > 0);
    let pending = connection.pending.as_ref().filter(|pending| !pending.granted);
    let own = [
        connection.session.poll_timeout(),
        blocked.map(|since| since.plus(blocked_ms)),
        pending.map(|p| now.plus(PUBLISH_RETRY_MS).min(p.asked.plus(TAKEOVER_WAIT_MS))),
    ];
    let publishing = connection.publishers.iter().filter(|_| publisher_ms > 0);
    let silent = publishing.filter_map(|&(_, at)| live.publisher(at));
    let silent = silent.map(|publisher| publisher.last_media.plus(publisher_ms));
    let waiting = connection.players.iter().filter_map(|&at| live.player_waits_until(at));
    own.into_iter().flatten().chain(silent).chain(waiting).min()
}
