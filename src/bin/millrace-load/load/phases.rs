//! The phases of a run: when each ends, and what begins then.
//!
//! ```text
//!   Publishing -> Gathering -> Measuring -> Leaving -> Settling -> report
//!   until all     until all    --time       until no   until every player has
//!   are accepted  have begun                guest is   the last frame
//! ```                                       inside
//! While guests leave the streams go on, for a guest of a server without a cache begins with the
//! next keyframe; what is measured by time has ended, latencies go on.
//! A phase that takes too long ends, so a run does whatever the server does; what is missing then
//! shows in the report.

use std::io::{self, Write};

use super::Load;
use crate::error::LoadError;

/// How long the publishers, and beyond its due time the last connection, may take to begin, µs.
pub(super) const START_WAIT_US: u64 = 30_000_000;
/// How long guests may take to leave, and then players to get the last frame, µs.
const SETTLE_WAIT_US: u64 = 10_000_000;
/// If nobody gets anything for so long after the last frame, it will not come, µs.
const QUIET_US: u64 = 2_000_000;

/// See the module documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Publishing,
    Gathering,
    Measuring,
    Leaving,
    Settling,
}

impl Load<'_> {
    /// Moves on when a phase is over; true at the end.
    pub(super) fn next_phase(&mut self) -> Result<bool, LoadError> {
        let now_us = self.clock.now_us();
        let is_late = now_us >= self.phase_us.1;
        match self.phase {
            Phase::Publishing => {
                if self.report.failed > 0 || is_late {
                    let why = self.report.first_failure.take();
                    return Err(LoadError::NoPublisher(why.unwrap_or("no answer".into())));
                }
                let have_all_come = self.publishers.count() == self.options.publishers;
                if have_all_come && self.awaited == 0 {
                    self.publishers.begin(&mut self.connections, now_us);
                    let opening_us = self.options.opening_us(self.members.count());
                    self.enter(Phase::Gathering, START_WAIT_US + opening_us);
                }
            }
            Phase::Gathering => {
                if self.is_publisher_lost {
                    return Ok(true);
                }
                let is_everybody_there = !self.members.are_left() && self.awaited == 0;
                if is_everybody_there || is_late {
                    self.begin_measuring(now_us)?;
                }
            }
            Phase::Measuring if is_late || self.is_publisher_lost => {
                self.end_measuring()?;
                self.probe_deaf();
                self.enter(Phase::Leaving, SETTLE_WAIT_US);
            }
            Phase::Leaving if self.crowd.is_empty() || is_late || self.is_publisher_lost => {
                self.end_streams();
                self.heard = (0, now_us);
                self.enter(Phase::Settling, SETTLE_WAIT_US);
            }
            Phase::Measuring | Phase::Leaving => {}
            Phase::Settling => {
                let bytes = self.connections.receiver.bytes;
                if bytes != self.heard.0 {
                    self.heard = (bytes, now_us);
                }
                let is_quiet = now_us >= self.heard.1 + QUIET_US;
                return Ok(is_late || is_quiet || self.is_settled());
            }
        }
        Ok(false)
    }

    fn enter(&mut self, phase: Phase, wait_us: u64) {
        let now_us = self.clock.now_us();
        self.phase = phase;
        self.phase_us = (now_us, now_us + wait_us);
    }

    fn begin_measuring(&mut self, now_us: u64) -> Result<(), LoadError> {
        self.measured_from_us = Some(now_us);
        // Whoever waits for it is told.
        match self.options.has_stdout() {
            true => self.progress.tell("everybody is there"),
            false => writeln!(io::stdout(), "everybody is there")?,
        }
        self.meters.begin()?;
        self.bytes_before = self.connections.receiver.bytes;
        self.crowd.begin(now_us);
        self.enter(Phase::Measuring, self.options.time_ms * 1000);
        Ok(())
    }

    fn end_measuring(&mut self) -> Result<(), LoadError> {
        self.report.time_us = self.clock.now_us() - self.phase_us.0;
        self.report.bytes = self.connections.receiver.bytes - self.bytes_before;
        (self.report.load, self.report.server) = self.meters.sample()?;
        self.crowd.end();
        Ok(())
    }

    fn end_streams(&mut self) {
        self.publishers.end();
        for (of, stream) in self.streams.iter_mut().enumerate() {
            stream.end_at(self.publishers.last_sequence(of));
        }
    }
}
