//! Guests: players that come, get their first keyframe and leave. Churn is so many a second, a
//! storm is many in one moment.

use std::collections::VecDeque;
use std::io;

use crate::connections::Connections;
use crate::inbound::Inbound;
use crate::options::Options;
use crate::peer::{Role, State};
use crate::report::Report;
use crate::streams::Stream;

/// LIMIT: guests of the churn that are there at once; joins beyond have failed.
const CHURN_MAX: usize = 4096;
/// How long a join may take, µs.
const JOIN_WAIT_US: u64 = 10_000_000;
/// Guests opened in one call.
const BATCH: usize = 32;

/// See the module documentation.
pub(crate) struct Crowd {
    churn_per_second: u64,
    storm_left: usize,
    has_video: Option<bool>,
    /// When the measured time began, µs, while it lasts.
    began_us: Option<u64>,
    /// Joins of the churn begun, or failed for lack of room.
    churned: u64,
    guests: u64,
    /// Opened when, key; the earliest first. Those that have left may be among them.
    inside: VecDeque<(u64, usize)>,
    count: usize,
}

impl Crowd {
    /// Nobody yet.
    pub(crate) fn new(options: &Options, has_video: Option<bool>) -> Self {
        Self {
            churn_per_second: options.churn as u64,
            storm_left: options.storm,
            has_video,
            began_us: None,
            churned: 0,
            guests: 0,
            inside: VecDeque::new(),
            count: 0,
        }
    }

    /// The measured time begins.
    pub(crate) fn begin(&mut self, now_us: u64) {
        self.began_us = Some(now_us);
    }

    /// Nobody comes any more.
    pub(crate) fn end(&mut self) {
        self.began_us = None;
    }

    /// Whether nobody is inside.
    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// When there is something to do, µs.
    pub(crate) fn due_us(&self) -> Option<u64> {
        let expires = self.inside.front().map(|(opened_us, _)| opened_us + JOIN_WAIT_US);
        let comes = self.began_us.and_then(|began_us| {
            if self.storm_left > 0 {
                return Some(0);
            }
            let next = (self.churned + 1) * 1_000_000;
            (self.churn_per_second > 0).then(|| began_us + next.div_ceil(self.churn_per_second))
        });
        expires.into_iter().chain(comes).min()
    }

    /// Lets in some of those who are due, and gives up on those who wait too long; false when
    /// nobody else is due.
    pub(crate) fn turn(
        &mut self,
        connections: &mut Connections,
        streams: &[Stream],
        report: &mut Report,
        now_us: u64,
    ) -> bool {
        self.expire(connections, report, now_us);
        for _ in 0..BATCH {
            let Some(is_storm) = self.next_due(now_us) else { return false };
            if !is_storm && self.count >= CHURN_MAX {
                report.churn_failed += 1;
                let why = || format!("{CHURN_MAX} joins of the churn at once");
                report.first_failure.get_or_insert_with(why);
            } else if let Err(error) = self.open(connections, streams, is_storm, now_us) {
                fail(report, is_storm, &format!("cannot connect: {error}"));
            }
        }
        true
    }

    /// Whether a guest is due, and whether it belongs to the storm.
    fn next_due(&mut self, now_us: u64) -> Option<bool> {
        let began_us = self.began_us?;
        if self.storm_left > 0 {
            self.storm_left -= 1;
            return Some(true);
        }
        let due = self.churn_per_second.saturating_mul(now_us - began_us) / 1_000_000;
        let is_due = self.churned < due;
        self.churned += u64::from(is_due);
        is_due.then_some(false)
    }

    fn open(
        &mut self,
        connections: &mut Connections,
        streams: &[Stream],
        is_storm: bool,
        now_us: u64,
    ) -> io::Result<()> {
        let of = usize::try_from(self.guests).unwrap_or(0) % streams.len().max(1);
        self.guests += 1;
        let id = streams.get(of).map_or(0, |stream| stream.id);
        let inbound = Inbound::new(id, false, self.has_video);
        let key = connections.open(Role::Guest { is_storm }, of, Some(inbound), now_us)?;
        self.inside.push_back((now_us, key));
        self.count += 1;
        Ok(())
    }

    /// A guest that was read: it leaves if it has what it came for, or is lost.
    pub(crate) fn look_at(
        &mut self,
        connections: &mut Connections,
        key: usize,
        result: io::Result<()>,
        report: &mut Report,
    ) {
        let Some(peer) = connections.peers.get_mut(key) else { return };
        let Role::Guest { is_storm } = peer.role else { return };
        match (peer.join_us, result) {
            (Some(join_us), _) => {
                let joins = if is_storm { &mut report.storm } else { &mut report.churn };
                joins.add(join_us);
                report.bad_starts +=
                    u64::from(peer.inbound.as_ref().is_some_and(|it| it.tally.bad_start));
                peer.send_end();
                // It leaves in any case.
                let _ = peer.flush();
            }
            (None, Err(error)) => fail(report, is_storm, &error.to_string()),
            (None, Ok(())) => return,
        }
        self.count -= 1;
        connections.remove(key);
    }

    /// Those who wait too long have failed.
    pub(crate) fn expire(
        &mut self,
        connections: &mut Connections,
        report: &mut Report,
        now_us: u64,
    ) {
        while let Some(&(opened_us, key)) = self.inside.front() {
            let peer = connections.peers.get(key).filter(|peer| peer.opened_us == opened_us);
            let guest = peer.and_then(|peer| match peer.role {
                Role::Guest { is_storm } if peer.state == State::Starting => Some(is_storm),
                _ => None,
            });
            match guest {
                Some(_) if now_us < opened_us + JOIN_WAIT_US => return,
                Some(is_storm) => {
                    fail(report, is_storm, "no keyframe in 10 s");
                    self.count -= 1;
                    connections.remove(key);
                }
                None => {}
            }
            self.inside.pop_front();
        }
    }
}

fn fail(report: &mut Report, is_storm: bool, why: &str) {
    let (failed, name) = match is_storm {
        true => (&mut report.storm_failed, "storm"),
        false => (&mut report.churn_failed, "churn"),
    };
    *failed += 1;
    report.first_failure.get_or_insert_with(|| format!("a join of the {name}: {why}"));
}
