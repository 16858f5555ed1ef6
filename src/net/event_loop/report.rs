//! What a loop tells about itself.

use crossbeam_channel::Sender;

use super::EventLoop;
use crate::service::publisher::ConnectionId;
use crate::service::stats::{LoopReport, PlayerReport, StreamReport};

impl EventLoop {
    /// Answers the main thread; it waits for a bounded time, so nothing blocks here.
    pub(super) fn send_report(&mut self, to: &Sender<LoopReport>) {
        if to.try_send(self.report()).is_err() {
            log::debug!("nobody waits for the report of loop {}", self.id.0);
        }
    }

    fn report(&self) -> LoopReport {
        let counters = &self.counters;
        LoopReport {
            id: self.id.0,
            connections: self.connections.len(),
            publishers: self.live.publishers().count(),
            players: self.live.players().count(),
            accepted: counters.accepted,
            bytes_in: counters.bytes_in,
            bytes_out: counters.bytes_out,
            writes: counters.writes,
            turns: counters.turns,
            wakeups: counters.wakeups,
            skips: counters.skips,
            lost_frames: self.outbox.lost(),
            rings_exhausted: self.rings.exhausted(),
            payload_bytes_copied: self.live.copied,
            closes: counters.closes,
            streams: self.stream_reports(),
        }
    }

    fn stream_reports(&self) -> Vec<StreamReport> {
        let session = |id: ConnectionId| {
            let connection = self.connections.get(id.slot);
            connection.filter(|c| c.generation == id.generation).map(|c| c.session_id)
        };
        let mut reports = Vec::new();
        for stream in self.live.streams() {
            let publisher = self.live.publishers().find(|p| p.stream == stream.id.slot);
            let players = self.live.players().filter(|(p, _)| p.stream == stream.id.slot);
            let player = |(player, _): (&crate::service::live::Player, _)| PlayerReport {
                session: session(player.connection).unwrap_or(0),
                bytes_out: player.bytes,
                lag_ms: player.cursor.lag_ms(&stream.log, self.now),
                skips: player.cursor.skips(),
                skipped_frames: player.cursor.skipped_frames(),
            };
            reports.push(StreamReport {
                key: stream.key.to_string(),
                publisher: publisher.and_then(|p| session(p.connection)),
                bytes_in: publisher.map_or(0, |p| p.bytes),
                frames_in: publisher.map_or(0, |p| p.frames),
                log_bytes: stream.log.bytes(),
                players: players.map(player).collect(),
            });
        }
        reports
    }
}
