//! What a loop tells about itself.

use std::collections::HashMap;

use crossbeam_channel::Sender;

use super::EventLoop;
use crate::limits::REPORT_STREAMS_MAX;
use crate::service::live::Player;
use crate::service::publisher::ConnectionId;
use crate::service::stats::{LoopReport, PlayerReport, StreamReport, Traffic, Writes};
use crate::service::stream::LocalStream;

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
            traffic: Traffic::new(counters.bytes_in, counters.bytes_out),
            writes: Writes::new(counters.writes),
            turns: counters.turns,
            wakeups: counters.wakeups,
            wakes: self.outbox.wakes(),
            skips: counters.skips,
            lost_frames: self.outbox.lost(),
            rings_exhausted: self.rings.exhausted(),
            payload_bytes_copied: self.live.copied,
            log_lines_suppressed: self.log_lines.suppressed(),
            streams_omitted: self.live.streams().skip(REPORT_STREAMS_MAX).count() as u64,
            closes: counters.closes,
            streams: self.stream_reports(),
        }
    }

    /// One pass over streams, publishers and players each: a report is no reason for a gap.
    fn stream_reports(&self) -> Vec<StreamReport> {
        let mut reports: HashMap<usize, StreamReport> = HashMap::new();
        for stream in self.live.streams().take(REPORT_STREAMS_MAX) {
            let report = StreamReport {
                key: stream.key.to_string(),
                log_bytes: stream.log.bytes(),
                ..StreamReport::default()
            };
            reports.insert(stream.id.slot, report);
        }
        for publisher in self.live.publishers() {
            let Some(report) = reports.get_mut(&publisher.stream) else { continue };
            report.publisher = self.session_id(publisher.connection);
            report.traffic.bytes_in = publisher.bytes;
            report.frames_in = publisher.frames;
        }
        for (player, stream) in self.live.players() {
            let Some(report) = reports.get_mut(&player.stream) else { continue };
            report.traffic.bytes_out += player.bytes;
            report.players.push(self.player_report(player, stream));
        }
        let mut reports: Vec<StreamReport> = reports.into_values().collect();
        reports.sort_by(|a, b| a.key.cmp(&b.key));
        reports
    }

    fn player_report(&self, player: &Player, stream: &LocalStream) -> PlayerReport {
        PlayerReport {
            session: self.session_id(player.connection).unwrap_or(0),
            traffic: Traffic::new(0, player.bytes),
            lag_ms: player.cursor.lag_ms(&stream.log, self.now),
            lag_bytes: player.cursor.lag_bytes(&stream.log),
            skips: player.cursor.skips(),
            skipped_frames: player.cursor.skipped_frames(),
        }
    }

    fn session_id(&self, id: ConnectionId) -> Option<u64> {
        let connection = self.connections.get(id.slot())?;
        (connection.generation == id.generation).then_some(connection.session_id)
    }
}
