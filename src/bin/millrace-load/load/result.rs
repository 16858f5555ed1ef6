//! What a run tells while it lasts and at its end.

use std::io;

use super::Load;
use crate::peer::{Peer, Role, State};
use crate::progress::Now;
use crate::report::Report;
use crate::streams::Stream;

/// How long a reset by the server may be on its way, µs.
const RESET_WAIT_US: u64 = 200_000;

impl Load<'_> {
    /// Whether everybody has everything, or is gone.
    pub(super) fn is_settled(&self) -> bool {
        let is_settled = |peer: &Peer| match (&peer.inbound, self.streams.get(peer.of)) {
            (Some(inbound), Some(stream)) if peer.is_parsing() => {
                stream.missing(inbound.last()) == 0
            }
            _ => true,
        };
        let have_deaf = self.options.slow + self.options.stuck > 0;
        let may_reset = have_deaf && self.clock.now_us() < self.phase_us.0 + RESET_WAIT_US;
        !may_reset
            && self.drain.are_complete(&self.connections, &self.streams)
            && self.connections.peers.iter().all(|(_, peer)| is_settled(peer))
    }

    /// Lets those that do not read say something: those that the server has closed are reset.
    pub(super) fn probe_deaf(&mut self) {
        let peers = self.connections.peers.iter_mut();
        let speak = |(key, peer): (usize, &mut Peer)| Some((key, peer.speak().err()?));
        let gone: Vec<_> = peers.filter(|(_, peer)| peer.is_deaf()).filter_map(speak).collect();
        for (key, error) in gone {
            self.close(key, &error);
        }
    }

    pub(super) fn show_progress(&mut self) -> io::Result<()> {
        let now_us = self.clock.now_us() - self.began_us;
        if !self.progress.is_due(now_us) {
            return Ok(());
        }
        let p99_ms = self.report.samples.latencies.quantile_ms(0.99);
        let bytes = self.connections.receiver.bytes;
        let mut now = Now { now_us, p99_ms, bytes, ..Now::default() };
        for (_, peer) in &self.connections.peers {
            if let Some(inbound) = &peer.inbound {
                now.players += usize::from(peer.state == State::Begun);
                now.gaps += inbound.tally.gaps;
            }
        }
        self.progress.show(now, &mut self.meters)
    }

    pub(super) fn finish(mut self) -> Report {
        // Whoever is inside has failed.
        self.crowd.expire(&mut self.connections, &mut self.report, u64::MAX);
        self.streams.iter_mut().for_each(Stream::settle);
        for (_, peer) in &self.connections.peers {
            self.report.failed += u64::from(peer.state == State::Starting);
            self.report.put_out += u64::from(peer.is_deaf() && peer.is_reset());
            let is_player = peer.inbound.is_some();
            if let Some(join_us) = peer.join_us.filter(|_| is_player || peer.role == Role::Idle) {
                self.report.joined += 1;
                if is_player {
                    self.report.joins.add(join_us);
                }
            }
            let Some(inbound) = &peer.inbound else { continue };
            self.report.add(&inbound.tally);
            if let Some(stream) = self.streams.get(peer.of).filter(|_| peer.is_parsing()) {
                self.report.tally.gaps += u64::from(stream.missing(inbound.last()));
            }
        }
        let short = self.drain.short(&self.connections, &self.streams);
        self.report.short_players = short as u64;
        self.report.frames_sent = self.publishers.frames_sent;
        self.report.publisher_late_us = self.publishers.late_us;
        if self.report.samples.unstamped > 0 {
            self.report.read_resolution_us = self.turn_us;
        }
        self.publishers.leave(&mut self.connections);
        self.report
    }
}
