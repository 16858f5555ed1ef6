//! Commands of sessions: connect, publish, play, and what ends them.

use std::sync::Arc;

use super::{EventLoop, find, push_flush, push_ready};
use crate::media::log::StreamLog;
use crate::net::connection::{PendingPublish, Rest};
use crate::rtmp::Msid;
use crate::rtmp::session::{PlayRequest, Status};
use crate::service::directory::Claim;
use crate::service::key::normal_app;
use crate::service::live::{PlayAnswer, Player, PublishAnswer};
use crate::service::publisher::ConnectionId;
use crate::service::{CloseReason, StreamKey};

impl EventLoop {
    pub(super) fn handle_connect(&mut self, id: ConnectionId, app: &[u8]) {
        let apps = &self.shared.config.apps;
        let is_known = apps.is_empty() || apps.contains(&normal_app(app));
        let is_ending = self.shutdown.is_some();
        let Some(connection) = find(&mut self.connections, id) else { return };
        let out = connection.out.buffer();
        let (status, text) = if is_ending {
            (Status::ConnectAppShutdown, "Shutting down.")
        } else if !is_known {
            (Status::ConnectInvalidApp, "No such app.")
        } else {
            connection.app = app.into();
            connection.session.accept_connect(out);
            // The idle deadline may come before the one for connect.
            return self.arm(id);
        };
        connection.session.reject_connect(status, text, out);
        self.close_after_flush(id, CloseReason::Refused(text), self.now);
    }

    pub(super) fn handle_publish(&mut self, id: ConnectionId, msid: Msid, name: &[u8]) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        match StreamKey::new(&connection.app, name) {
            Ok(key) => {
                let asked = self.now;
                self.try_publish(id, PendingPublish { msid, key, asked, granted: false });
            }
            Err(_) => self.refuse_publish(id, msid, Status::PublishBadName, "Bad stream name."),
        }
    }

    /// Asks the directory; the answer may be to ask again.
    pub(super) fn try_publish(&mut self, id: ConnectionId, mut pending: PendingPublish) {
        let shared = Arc::clone(&self.shared);
        let Some(connection) = find(&mut self.connections, id) else { return };
        let claim = Claim { on: self.id, address: connection.address, asked: pending.asked };
        let (msid, now) = (pending.msid, self.now);
        // The lock is given back before the answer is acted on: a refusal may end another publish.
        let answer =
            self.live.publish(&mut shared.directory(), &pending.key, (id, msid), claim, now);
        match answer {
            PublishAnswer::Ready(slot) => {
                connection.publishers.push((msid, slot));
                self.publish_ready_on(id, msid, &pending.key);
            }
            PublishAnswer::AwaitHandover(slot) => {
                connection.publishers.push((msid, slot));
                pending.granted = true;
                connection.pending = Some(Box::new(pending));
            }
            PublishAnswer::Wait => {
                connection.pending = Some(Box::new(pending));
                self.arm(id);
            }
            PublishAnswer::Refused(status, text) => self.refuse_publish(id, msid, status, text),
        }
    }

    /// The predecessor has handed over.
    pub(super) fn publish_ready(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        if let Some(pending) = connection.pending.take() {
            self.publish_ready_on(id, pending.msid, &pending.key);
        }
    }

    fn publish_ready_on(&mut self, id: ConnectionId, msid: Msid, key: &StreamKey) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        if self.log_lines.take(self.now) {
            log::info!("session {} publishes {key}", connection.session_id);
        }
        connection.session.accept_publish(msid, connection.out.buffer());
        push_ready(&mut self.ready, connection, id);
        self.settle_out(id);
        self.arm(id);
    }

    /// Another publisher has taken the name before this one was answered.
    pub(super) fn publish_overtaken(&mut self, id: ConnectionId, msid: Msid) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        if connection.pending.take_if(|pending| pending.msid == msid).is_some() {
            self.refuse_publish(id, msid, Status::PublishBadName, "Stream name is in use.");
        }
    }

    fn refuse_publish(&mut self, id: ConnectionId, msid: Msid, status: Status, text: &'static str) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.session.reject_publish(msid, status, text, connection.out.buffer());
        self.close_after_flush(id, CloseReason::Refused(text), self.now);
    }

    pub(super) fn handle_play(&mut self, id: ConnectionId, msid: Msid, request: &PlayRequest) {
        let shared = Arc::clone(&self.shared);
        let now = self.now;
        let Some(connection) = find(&mut self.connections, id) else { return };
        let answer = match StreamKey::new(&connection.app, &request.name) {
            Ok(key) => {
                if self.log_lines.take(now) {
                    log::info!("session {} plays {key}", connection.session_id);
                }
                let duration = duration_ms(request);
                self.live.play(&mut shared.directory(), &key, (id, msid), duration, now)
            }
            Err(_) => PlayAnswer::Refused(Status::PlayStreamNotFound, "Bad stream name."),
        };
        match answer {
            PlayAnswer::Accepted(slot) => {
                connection.players.push(slot);
                connection.session.accept_play(msid, connection.out.buffer());
                push_flush(&mut self.flush, connection, id);
                self.arm(id);
            }
            PlayAnswer::Refused(status, text) => {
                connection.session.reject_play(msid, status, text, connection.out.buffer());
                self.close_after_flush(id, CloseReason::Refused(text), now);
            }
        }
    }

    pub(super) fn handle_unpublish(&mut self, id: ConnectionId, msid: Msid) {
        let shared = Arc::clone(&self.shared);
        let Some(slot) = self.publisher_slot(id, msid) else { return };
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.publishers.retain(|&(_, other)| other != slot);
        self.live.unpublish(&mut shared.directory(), slot, true, self.now);
        self.arm(id);
    }

    pub(super) fn handle_stop_play(&mut self, id: ConnectionId, msid: Msid) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        let live = &self.live;
        let of_msid = |slot: &usize| live.playing(*slot).is_some_and(|(p, _)| p.msid == msid);
        let Some(&slot) = connection.players.iter().find(|slot| of_msid(slot)) else { return };
        self.stop_player(id, slot);
        self.arm(id);
    }

    /// Takes a player off its connection. The rest of a frame that is partly written stays (N3).
    pub(super) fn stop_player(&mut self, id: ConnectionId, slot: usize) {
        let shared = Arc::clone(&self.shared);
        let Some(connection) = find(&mut self.connections, id) else { return };
        connection.players.remove(slot);
        if let Some((player, _)) = self.live.player(slot)
            && let Some((frame, offset)) = player.cursor.take_in_flight()
        {
            connection.rest = Some(Box::new(Rest { frame, offset, msid: player.msid }));
        }
        self.live.stop(&mut shared.directory(), slot);
        self.arm(id);
    }

    pub(super) fn with_player(
        &mut self,
        id: ConnectionId,
        msid: Msid,
        change: impl FnOnce(&mut Player, &StreamLog),
    ) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        for &slot in connection.players.iter() {
            if let Some((player, log)) = self.live.player(slot)
                && player.msid == msid
            {
                change(player, log);
                return push_flush(&mut self.flush, connection, id);
            }
        }
    }
}

/// Play duration in ms; absent, negative and not a number play to the end.
fn duration_ms(request: &PlayRequest) -> Option<u32> {
    let duration = request.duration.filter(|ms| *ms >= 0.0)?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates; the value is not negative"
    )]
    let duration = duration as u32;
    Some(duration.max(1))
}
