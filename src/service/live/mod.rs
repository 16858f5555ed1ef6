//! Live streams on one loop: publish, play, fan-out, takeover, hold.
//!
//! Owns this loop's local streams, publishers and players, and turns events of connections and
//! messages of other loops into [`Action`]s for the loop and [`Post`]s for other loops. Pure: no
//! sockets, no clock, no lock; the directory is passed in where a transition needs it (N5).
//!
//! Entry points: connections call `publish`, `media`, `data`, `unpublish`, `play`, `stop`; the
//! mailbox calls [`Live::handle`]; the loop takes [`Live::posts`], [`Live::actions`] and the
//! players to flush ([`Live::take_due`]) once per turn.

mod fanout;
mod memory;
mod play;
mod publish;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use slab::Slab;

use super::directory::Directory;
use super::key::StreamKey;
use super::message::{Epoch, LoopId, Post, SubscriptionId};
use super::publisher::{ConnectionId, Publisher, PublisherSetup};
use super::stream::{LocalStream, Role};
use crate::budget::{Budget, Charge};
use crate::limits::SLOTS_RESERVED;
use crate::media::cursor::Cursor;
use crate::media::log::{LogLimits, StreamLog};
use crate::rtmp::Msid;
use crate::rtmp::session::{MediaKind, Status};
use crate::time::Millis;

/// What all loops share about live streams.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    /// Log and GOP bounds.
    pub log: LogLimits,
    /// Audio waits for video at most this long, ms.
    pub flush_ms: u64,
    /// Video and audio are collected this long, ms; 0: video goes out at once.
    pub merge_ms: u64,
    /// A slower player is moved to the newest keyframe, ms.
    pub lag_ms: u64,
    /// `--hold`, ms.
    pub hold_ms: u64,
    /// A player of a stream that nobody publishes waits (`--no-publisher wait`).
    pub wait_for_publisher: bool,
    /// How long it waits, ms.
    pub wait_ms: u64,
    /// Chunk size and budget for frames.
    pub setup: PublisherSetup,
}

/// What the loop must do on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The publish that waited for a handover may be answered now.
    PublishReady(ConnectionId, Msid),
    /// Another publisher took the name before this one was answered: refuse it and close.
    PublishRefused(ConnectionId, Msid),
    /// Another publisher took the name: tell the one of this epoch and close.
    PublisherEvicted(ConnectionId, Epoch),
    /// Tell a player something.
    Notify(ConnectionId, Msid, Status),
    /// Something changed for this player: flush it.
    Flush(ConnectionId),
}

/// The answer to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishAnswer {
    /// Accepted; publisher slot.
    Ready(usize),
    /// Accepted, but the answer and the input must wait for [`Action::PublishReady`].
    AwaitHandover(usize),
    /// Ask again soon: the current publisher may be dead.
    Wait,
    /// Refused.
    Refused(Status, &'static str),
}

/// The answer to play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlayAnswer {
    /// Accepted; player slot.
    Accepted(usize),
    /// Refused.
    Refused(Status, &'static str),
}

/// One player.
#[derive(Debug)]
pub struct Player {
    /// Its connection.
    pub connection: ConnectionId,
    /// Its message stream.
    pub msid: Msid,
    /// Slot of the local stream.
    pub stream: usize,
    /// Its place in the log.
    pub cursor: Cursor,
    /// Endings of this epoch and of all before it came before this player.
    pub since: Epoch,
    /// While nobody publishes: when it gives up.
    pub waits_until: Option<Millis>,
    /// The publisher has ended; close when the rest is out.
    pub is_ending: bool,
    /// Wire bytes of media sent.
    pub bytes: u64,
    /// Its place in the lists of the loop.
    pub charge: Charge,
}

/// A publish on this loop whose predecessor has not handed over yet.
#[derive(Debug)]
struct Awaited {
    key: StreamKey,
    epoch: Epoch,
    /// Who has taken over from it meanwhile.
    successor: Option<(LoopId, Epoch)>,
    /// Whether (and how: explicitly?) its publisher has left meanwhile.
    left: Option<bool>,
}

/// A name that this loop holds for a publisher that was lost.
#[derive(Debug, Clone, Copy)]
struct Hold {
    until: Millis,
    slot: usize,
    epoch: Epoch,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Live {
    id: LoopId,
    config: LiveConfig,
    streams: Slab<LocalStream>,
    by_key: HashMap<StreamKey, usize>,
    publishers: Slab<Publisher>,
    players: Slab<Player>,
    next_generation: u64,
    /// Streams whose players wait to be flushed, by time: as `LocalStream::due` says.
    due: BTreeSet<(Millis, usize)>,
    /// In order of time, because every hold takes as long.
    holding: VecDeque<Hold>,
    awaited: Vec<Awaited>,
    /// For other loops (and for this one), in order.
    pub posts: Vec<Post>,
    /// For this loop's connections, in order.
    pub actions: Vec<Action>,
    /// Payload bytes copied into frames since the start.
    pub copied: u64,
}

impl Live {
    /// Nothing published, nobody plays.
    #[must_use]
    pub fn new(id: LoopId, config: LiveConfig) -> Self {
        Self {
            id,
            config,
            streams: Slab::new(),
            by_key: HashMap::new(),
            publishers: Slab::new(),
            players: Slab::with_capacity(SLOTS_RESERVED),
            next_generation: 1,
            due: BTreeSet::new(),
            holding: VecDeque::new(),
            awaited: Vec::new(),
            posts: Vec::new(),
            actions: Vec::new(),
            copied: 0,
        }
    }

    fn budget(&self) -> &Arc<Budget> {
        &self.config.setup.budget
    }

    /// Whether nothing that was decided waits to be carried out.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.posts.is_empty() && self.actions.is_empty()
    }

    /// The publisher in a slot.
    #[must_use]
    pub fn publisher(&self, slot: usize) -> Option<&Publisher> {
        self.publishers.get(slot)
    }

    /// The player in a slot, with the log it reads.
    pub fn player(&mut self, slot: usize) -> Option<(&mut Player, &mut StreamLog)> {
        let player = self.players.get_mut(slot)?;
        let stream = self.streams.get_mut(player.stream)?;
        Some((player, &mut stream.log))
    }

    /// As [`Live::player`], to look at.
    #[must_use]
    pub fn playing(&self, slot: usize) -> Option<(&Player, &StreamLog)> {
        let player = self.players.get(slot)?;
        let stream = self.streams.get(player.stream)?;
        Some((player, &stream.log))
    }

    /// When the player in a slot gives up waiting for a publisher.
    #[must_use]
    pub fn player_waits_until(&self, slot: usize) -> Option<Millis> {
        self.players.get(slot)?.waits_until
    }

    /// Local streams, for statistics and tests.
    pub fn streams(&self) -> impl Iterator<Item = &LocalStream> {
        self.streams.iter().map(|(_, stream)| stream)
    }

    /// Publishers of this loop, for statistics.
    pub fn publishers(&self) -> impl Iterator<Item = &Publisher> {
        self.publishers.iter().map(|(_, publisher)| publisher)
    }

    /// Players of this loop with their logs, for statistics.
    pub fn players(&self) -> impl Iterator<Item = (&Player, &LocalStream)> {
        let stream = |player: &Player| self.streams.get(player.stream);
        self.players.iter().filter_map(move |(_, player)| Some((player, stream(player)?)))
    }

    /// When [`Live::take_due`] or [`Live::handle_timeout`] has something to do.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Millis> {
        let due = self.due.first().map(|&(at, _)| at);
        due.into_iter().chain(self.holding.front().map(|hold| hold.until)).min()
    }

    /// Tells `flush` the connections of all players whose stream is due.
    pub fn take_due(&mut self, now: Millis, mut flush: impl FnMut(ConnectionId)) {
        while let Some(&(at, slot)) = self.due.first().filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, slot));
            let Some(stream) = self.streams.get_mut(slot) else { continue };
            stream.due = None;
            let players = stream.players.iter().filter_map(|&slot| self.players.get(slot));
            players.for_each(|player| flush(player.connection));
        }
    }

    /// Ends holds that are over.
    pub fn handle_timeout(&mut self, directory: &mut Directory, now: Millis) {
        while let Some(hold) = self.holding.front().copied().filter(|hold| hold.until <= now) {
            self.holding.pop_front();
            let Some(stream) = self.streams.get_mut(hold.slot) else { continue };
            if stream.holds(hold.epoch) {
                self.posts.extend(directory.hold_expired(&stream.key, hold.epoch));
                stream.role = Role::Vacant;
                self.remove_if_unused(hold.slot);
            }
        }
    }

    /// A name that is lost and published again quickly leaves holds that nobody waits for: they go
    /// when they are half of all, so that there are never more than two per stream.
    fn forget_holds(&mut self) {
        let Self { holding, streams, .. } = self;
        if holding.len() > 2 * streams.len() {
            holding.retain(|hold| {
                streams.get(hold.slot).is_some_and(|stream| stream.holds(hold.epoch))
            });
        }
    }

    /// Names held and holds that are over but not forgotten.
    #[must_use]
    pub fn holds(&self) -> usize {
        self.holding.len()
    }

    /// The local stream of `key`, made if there is none.
    fn stream_slot(&mut self, key: &StreamKey) -> usize {
        if let Some(&slot) = self.by_key.get(key) {
            return slot;
        }
        let vacant = self.streams.vacant_entry();
        let slot = vacant.key();
        let id = SubscriptionId { slot, generation: self.next_generation };
        self.next_generation += 1;
        let mut stream = LocalStream::new(key.clone(), id, self.config.log);
        stream.charge = Some(Charge::empty(&self.config.setup.budget));
        stream.settle();
        vacant.insert(stream);
        self.by_key.insert(key.clone(), slot);
        slot
    }

    /// The stream of a subscription that is not over.
    fn stream_by_id(&mut self, id: SubscriptionId) -> Option<&mut LocalStream> {
        self.streams.get_mut(id.slot).filter(|stream| stream.id == id && stream.is_subscribed)
    }

    fn remove_if_unused(&mut self, slot: usize) {
        let Some(stream) = self.streams.get(slot) else { return };
        let used = matches!(stream.role, Role::Owner(_) | Role::Holding);
        if !used && stream.players.is_empty() && !stream.is_subscribed {
            let stream = self.streams.remove(slot);
            self.by_key.remove(&stream.key);
            if let Some(at) = stream.due {
                self.due.remove(&(at, slot));
            }
        }
    }

    /// A frame of `kind` was appended: when do players get it? Video and data at once, audio with
    /// the next video or after `flush_ms`; with `merge_ms` everything waits that long.
    fn schedule(&mut self, slot: usize, kind: MediaKind, now: Millis) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        stream.settle();
        if stream.players.is_empty() {
            return;
        }
        let wait = match kind {
            _ if self.config.merge_ms > 0 => self.config.merge_ms,
            MediaKind::Audio => self.config.flush_ms,
            MediaKind::Video | MediaKind::Data => 0,
        };
        let at = now.plus(wait);
        if stream.due.is_some_and(|due| due <= at) {
            return;
        }
        if let Some(later) = stream.due.replace(at) {
            self.due.remove(&(later, slot));
        }
        self.due.insert((at, slot));
    }

    /// The stream has become live: players who were waiting are told.
    fn announce(&mut self, slot: usize) {
        let Some(stream) = self.streams.get(slot) else { return };
        for &player in &stream.players {
            let Some(player) = self.players.get_mut(player) else { continue };
            if player.since < stream.epoch && player.waits_until.take().is_some() {
                let status = Status::PlayPublishNotify;
                self.actions.push(Action::Notify(player.connection, player.msid, status));
            }
        }
    }
}
