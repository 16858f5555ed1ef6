//! The members of a run: players, slow and stuck ones, idle connections, opened in this order.
//!
//! Player `i` plays stream `i` modulo the streams, so the first of each stream come first: the
//! references, which parse everything. Of each stream's players every K-th is verified.

use std::io;

use crate::connections::Connections;
use crate::inbound::Inbound;
use crate::options::Options;
use crate::peer::Role;
use crate::report::Report;
use crate::streams::Stream;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Members {
    streams: usize,
    players: usize,
    verify_every: usize,
    are_drained: bool,
    slow: usize,
    stuck: usize,
    idle: usize,
    has_video: Option<bool>,
    opened: usize,
}

impl Members {
    /// Those that are asked for; `has_video`: our own source has.
    pub(crate) fn new(options: &Options, has_video: bool) -> Self {
        let Options { players, verify_every, slow, stuck, idle, publishers, .. } = *options;
        Self {
            streams: publishers.max(1),
            players,
            verify_every,
            are_drained: options.drain_ms > 0,
            slow,
            stuck,
            idle,
            has_video: (publishers > 0).then_some(has_video),
            opened: 0,
        }
    }

    /// Whether a stream is expected to begin with a keyframe; `None`: if it has video.
    pub(crate) fn has_video(&self) -> Option<bool> {
        self.has_video
    }

    /// How many there are in all.
    pub(crate) fn count(&self) -> usize {
        self.players + self.slow + self.stuck + self.idle
    }

    /// How many have been opened, or could not be.
    pub(crate) fn opened(&self) -> usize {
        self.opened
    }

    /// Whether some are not opened.
    pub(crate) fn are_left(&self) -> bool {
        self.opened < self.count()
    }

    /// Role, number of its stream, and whether it is verified.
    fn member(&self, index: usize) -> (Role, usize, bool) {
        let of = index % self.streams;
        if index < self.players {
            let place = index / self.streams;
            let is_verified = self.verify_every > 0 && place.is_multiple_of(self.verify_every);
            let is_reference = place == 0;
            let parses = is_reference || is_verified || !self.are_drained;
            let role = if parses { Role::Player { is_reference } } else { Role::Drained };
            return (role, of, is_verified);
        }
        let role = match index - self.players {
            rest if rest < self.slow => Role::Slow,
            rest if rest < self.slow + self.stuck => Role::Stuck,
            _ => Role::Idle,
        };
        (role, of, false)
    }

    /// Opens the next; its key.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn open_next(
        &mut self,
        connections: &mut Connections,
        streams: &[Stream],
        now_us: u64,
    ) -> io::Result<usize> {
        let (role, of, is_verified) = self.member(self.opened);
        self.opened += 1;
        let is_player = matches!(role, Role::Player { .. } | Role::Drained);
        let stream = streams.get(of).filter(|_| is_player);
        let inbound = stream.map(|it| Inbound::new(it.id, is_verified, self.has_video));
        connections.open(role, of, inbound, now_us)
    }

    /// A report with nothing but what is asked for.
    pub(crate) fn report(&self, options: &Options) -> Report {
        let members = || (0..self.players).map(|index| self.member(index));
        Report {
            publishers: options.publishers,
            players: self.players,
            verified: members().filter(|(_, _, is_verified)| *is_verified).count(),
            drained: members().filter(|(role, ..)| *role == Role::Drained).count(),
            stuck: self.stuck,
            slow: self.slow,
            idle: self.idle,
            waited_max: options.waited_max,
            kbps: options.flv.is_none().then_some(options.kbps),
            ..Report::default()
        }
    }
}
