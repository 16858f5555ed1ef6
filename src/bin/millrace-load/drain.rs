//! Players that are read by the clock: drained ones, whose bytes are counted and thrown away,
//! verified ones, and slow ones, which read so much a second.
//!
//! Verified players are read as late as the drained ones, for who reads at once also acknowledges at
//! once, and a server that waits for that would look better than it is. Events tell when
//! something has come for them ([`Peer::note_arrival`]).
//!
//! A drained player parses until its stream's reference knows the frame where it stopped
//! ([`crate::streams`]); then its socket is polled no more. Within each `--drain-ms` all are read
//! once, in slices of [`SLICE_US`], so that they neither hold up the publishers nor all
//! acknowledge in one moment.

use crate::connections::Connections;
use crate::options::Options;
use crate::peer::{Peer, Sinks, State};
use crate::streams::Stream;

/// Time between two slices of a round, µs: with 1 ms 1000 players took a fifth more CPU, with one
/// slice a round no less, but publishers were later.
const SLICE_US: u64 = 5_000;
/// Players read in one call.
const BATCH: usize = 32;
/// A server hears of a player at least this often, µs: it pings who is silent, and nobody here
/// reads the ping.
const ALIVE_US: u64 = 4_000_000;
/// A slow player may catch up so much, µs.
const SLOW_CARRY_US: u64 = 1_000_000;

/// See the module documentation.
pub(crate) struct Drain {
    round_us: u64,
    slow_bytes_per_second: u64,
    /// Have begun to play, and parse until their reference knows their last frame.
    parsing: Vec<usize>,
    readers: Vec<Reader>,
    /// The next to read, and how many are left of the slice.
    at: usize,
    left: usize,
    /// Readers times µs since they were read.
    credit: u64,
    /// When the last slice began and the next begins, µs.
    begun_us: u64,
    slice_us: u64,
}

/// A player that is read by the clock.
#[derive(Debug)]
struct Reader {
    key: usize,
    pace: Pace,
    /// When it said something last, µs.
    spoke_us: u64,
}

#[derive(Debug)]
enum Pace {
    /// Everything. Its received bytes less this are comparable with the reference's positions.
    All { ahead: u64 },
    /// Everything, and it is parsed.
    Parsed,
    /// What the time since this allows, µs.
    Slow { since_us: u64 },
}

impl Drain {
    /// None yet.
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            round_us: options.drain_ms.max(SLICE_US / 1000) * 1000,
            slow_bytes_per_second: options.slow_kbps * 125,
            parsing: Vec::new(),
            readers: Vec::new(),
            at: 0,
            left: 0,
            credit: 0,
            begun_us: 0,
            slice_us: 0,
        }
    }

    /// A player to be drained has its first keyframe.
    pub(crate) fn add(&mut self, key: usize) {
        self.parsing.push(key);
        self.slice_us = self.slice_us.min(self.begun_us + SLICE_US);
    }

    /// A player that is parsed plays; from now on it is read by the clock.
    pub(crate) fn add_parsed(&mut self, peer: &mut Peer, key: usize) {
        peer.is_clocked = true;
        self.readers.push(Reader { key, pace: Pace::Parsed, spoke_us: 0 });
    }

    /// A slow player plays; from now on it is read by the clock only.
    pub(crate) fn add_slow(&mut self, connections: &mut Connections, key: usize, now_us: u64) {
        connections.silence(key);
        let pace = Pace::Slow { since_us: now_us };
        self.readers.push(Reader { key, pace, spoke_us: now_us });
    }

    /// When there is something to do, µs.
    pub(crate) fn due_us(&self) -> Option<u64> {
        let has_work = !(self.readers.is_empty() && self.parsing.is_empty());
        has_work.then_some(if self.left > 0 { 0 } else { self.slice_us })
    }

    /// Begins the slice that is due; players that are not parsed any more, if there are such.
    pub(crate) fn begin_slice(
        &mut self,
        connections: &mut Connections,
        streams: &[Stream],
        now_us: u64,
    ) -> usize {
        if self.left > 0 || now_us < self.slice_us {
            return 0;
        }
        let before = self.readers.len();
        self.switch(connections, streams, now_us);
        let since_us = if self.slice_us == 0 { 0 } else { now_us - self.begun_us };
        let readers = self.readers.len() as u64;
        // Whoever is late leaves rounds out.
        self.credit = (self.credit + readers * since_us).min(readers * self.round_us);
        let share = self.credit / self.round_us;
        self.credit -= share * self.round_us;
        self.left = usize::try_from(share).unwrap_or(usize::MAX);
        // A few readers are not looked at more often than they are read.
        let few_us = match self.parsing.is_empty() {
            true => self.round_us.checked_div(readers).unwrap_or(0),
            false => 0,
        };
        self.begun_us = now_us;
        self.slice_us = now_us + SLICE_US.max(few_us).min(self.round_us);
        self.readers.len() - before
    }

    /// Reads some players of the slice; false when it is done. Lost connections go to `lost`.
    pub(crate) fn read_some(
        &mut self,
        connections: &mut Connections,
        sinks: &mut Sinks<'_>,
        lost: &mut Vec<(usize, std::io::Error)>,
        now_us: u64,
    ) -> bool {
        for _ in 0..BATCH.min(self.left) {
            self.left -= 1;
            if self.at >= self.readers.len() {
                self.at = 0;
            }
            let Some(reader) = self.readers.get_mut(self.at) else { break };
            match reader.read(connections, self.slow_bytes_per_second, sinks, now_us) {
                Ok(()) => self.at += 1,
                Err(error) => {
                    lost.push((reader.key, error));
                    self.readers.swap_remove(self.at);
                }
            }
        }
        self.left > 0
    }

    /// Stops parsing those whose last frame is known to their reference.
    fn switch(&mut self, connections: &mut Connections, streams: &[Stream], now_us: u64) {
        let readers = &mut self.readers;
        self.parsing.retain(|&key| {
            let Some(peer) = connections.peers.get_mut(key) else { return false };
            if peer.state == State::Closed {
                return false;
            }
            let stream = streams.get(peer.of);
            let ahead = peer.mark.zip(stream).and_then(|((sequence, received), stream)| {
                Some(received.wrapping_sub(stream.position(sequence)?))
            });
            let Some(ahead) = ahead else { return true };
            peer.is_drained = true;
            connections.silence(key);
            readers.push(Reader { key, pace: Pace::All { ahead }, spoke_us: now_us });
            false
        });
    }

    /// Whether every drained player has what its reference had at the end of its stream.
    pub(crate) fn are_complete(&self, connections: &Connections, streams: &[Stream]) -> bool {
        self.readers.iter().all(|reader| reader.missing(connections, streams) == Some(0))
    }

    /// Drained players that are connected and got fewer bytes than they must have.
    pub(crate) fn short(&self, connections: &Connections, streams: &[Stream]) -> usize {
        let missing = self.readers.iter().map(|reader| reader.missing(connections, streams));
        missing.filter(|missing| *missing != Some(0)).count()
    }
}

impl Reader {
    fn read(
        &mut self,
        connections: &mut Connections,
        bytes_per_second: u64,
        sinks: &mut Sinks<'_>,
        now_us: u64,
    ) -> std::io::Result<()> {
        let Connections { peers, receiver, .. } = connections;
        let Some(peer) = peers.get_mut(self.key) else { return Ok(()) };
        let limit = match &mut self.pace {
            Pace::Parsed if peer.state == State::Closed => return Ok(()),
            Pace::Parsed => return peer.read(receiver, false, &|| now_us, sinks),
            Pace::All { .. } => usize::MAX,
            Pace::Slow { since_us } => {
                *since_us = (*since_us).max(now_us.saturating_sub(SLOW_CARRY_US));
                let bytes = bytes_per_second * (now_us - *since_us) / 1_000_000;
                usize::try_from(bytes).unwrap_or(usize::MAX)
            }
        };
        if limit == 0 {
            return Ok(());
        }
        let is_silent = now_us.saturating_sub(self.spoke_us) >= ALIVE_US;
        if is_silent {
            self.spoke_us = now_us;
        }
        let count = peer.discard(receiver, limit, is_silent)?;
        if let Pace::Slow { since_us } = &mut self.pace {
            *since_us += count as u64 * 1_000_000 / bytes_per_second;
        }
        Ok(())
    }

    /// Bytes that a drained player lacks; `None`: its reference did not get so far.
    fn missing(&self, connections: &Connections, streams: &[Stream]) -> Option<u64> {
        let Pace::All { ahead } = self.pace else { return Some(0) };
        let Some(peer) = connections.peers.get(self.key) else { return Some(0) };
        let due = streams.get(peer.of)?.end_position()?.wrapping_add(ahead);
        // Both may have begun anywhere: what counts is their distance.
        let missing = due.wrapping_sub(peer.received);
        Some(if missing < 1 << 63 { missing } else { 0 })
    }
}
