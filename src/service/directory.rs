//! The stream directory: which loop owns which stream, and which loops have players of it.
//!
//! A pure state machine, one per process, touched on publish, play, stop and statistics only (N5).
//! Every transition returns the messages to send. Takeover rules, hold and epochs (N10) live here.
//!
//! ```text
//!              publish                    release(lost)
//!   Idle ------------------> Live(epoch) ---------------> Held(epoch)
//!     ^  <-- hold_expired --    |  ^------- publish ---------'
//!     '----- release(unpublished)'
//! ```
//!
//! INVARIANT: an entry that is idle and has no subscribers does not exist.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::key::StreamKey;
use super::message::{Ending, Epoch, LiveMessage, LoopId, Post, Subscriber, SubscriptionId};
use crate::limits::{TAKEOVER_PING_PONG_MS, TAKEOVER_SILENCE_MS, TAKEOVER_WAIT_MS};
use crate::time::Millis;

/// When a publisher may take a name that is in use (`--takeover`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takeover {
    /// From the same address, or when the current publisher is silent.
    Idle,
    /// At once.
    Always,
    /// Not while the current publisher is connected.
    Never,
}

/// Bounds of the directory; 0 is unlimited.
#[derive(Debug, Clone, Copy)]
pub struct DirectoryLimits {
    /// `--takeover`.
    pub takeover: Takeover,
    /// `--hold`, ms.
    pub hold_ms: u64,
    /// `--hold-always`.
    pub hold_always: bool,
    /// `--max-publishers`.
    pub publishers: usize,
    /// `--max-streams`: names with a publisher, a hold or waiting players.
    pub streams: usize,
}

/// What owners write per frame and others read at transitions: relaxed counters (N5). One for all
/// epochs of an entry, so that the timeline goes on: an owner emits nothing before its predecessor
/// has stopped.
#[derive(Debug, Default)]
pub struct Activity {
    last_media: AtomicU64,
    /// Greatest output timestamp + 1, 0 for none.
    greatest: AtomicU64,
}

impl Activity {
    /// The owner has emitted a frame.
    pub fn record(&self, timestamp: u32, now: Millis) {
        self.last_media.store(now.0, Relaxed);
        let newer = self.greatest().is_none_or(|greatest| is_after(timestamp, greatest));
        if newer {
            self.greatest.store(u64::from(timestamp) + 1, Relaxed);
        }
    }

    /// Greatest output timestamp so far, in serial order.
    #[must_use]
    pub fn greatest(&self) -> Option<u32> {
        u32::try_from(self.greatest.load(Relaxed).checked_sub(1)?).ok()
    }
}

/// Whether timestamp `a` is after `b` in serial number order (RFC 1982).
#[must_use]
pub fn is_after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Live { owner: LoopId, epoch: Epoch, address: IpAddr, since: Millis, took_over: bool },
    Held { epoch: Epoch },
}

#[derive(Debug)]
struct Entry {
    phase: Phase,
    activity: Arc<Activity>,
    subscribers: Vec<Subscriber>,
}

/// A publish that was granted.
#[derive(Debug)]
pub struct Granted {
    /// The new epoch.
    pub epoch: Epoch,
    /// Counters of this stream; the timeline goes on behind what they say.
    pub activity: Arc<Activity>,
    /// An old owner must hand over before anything is emitted.
    pub await_handover: bool,
    /// Loops with players of the stream.
    pub subscribers: Vec<Subscriber>,
    /// Messages to send.
    pub posts: Vec<Post>,
}

/// The answer to publish.
#[derive(Debug)]
pub enum PublishOutcome {
    /// The name is yours.
    Granted(Granted),
    /// In use; ask again soon with the same `asked` until it says something else.
    Wait,
    /// In use by a publisher that keeps it.
    InUse,
    /// `--max-publishers` or `--max-streams`.
    Full,
}

/// Whether somebody publishes a stream now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feed {
    /// Yes.
    Live,
    /// No, but the name is held for a publisher that was lost.
    Held,
    /// No.
    Idle,
}

/// The answer to play.
#[derive(Debug)]
pub struct Subscribed {
    /// Whether somebody publishes.
    pub feed: Feed,
    /// This epoch and all before it are over: their end is none of this player's business.
    pub since: Epoch,
    /// To the owner, when the loop is new to it.
    pub post: Option<Post>,
}

/// The answer to the end of a publisher.
#[derive(Debug)]
pub struct Released {
    /// Held or final.
    pub ending: Ending,
    /// Messages to send.
    pub posts: Vec<Post>,
}

/// Who publishes.
#[derive(Debug, Clone, Copy)]
pub struct Claim {
    /// The publisher's loop.
    pub on: LoopId,
    /// Its address.
    pub address: IpAddr,
    /// When it asked first.
    pub asked: Millis,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Directory {
    limits: DirectoryLimits,
    entries: HashMap<StreamKey, Entry>,
    next_epoch: u64,
    publishers: usize,
}

impl Directory {
    /// Nothing published.
    #[must_use]
    pub fn new(limits: DirectoryLimits) -> Self {
        Self { limits, entries: HashMap::new(), next_epoch: 1, publishers: 0 }
    }

    /// Streams known: live, held, or waited for.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.entries.len()
    }

    /// Publishers in all.
    #[must_use]
    pub fn publishers(&self) -> usize {
        self.publishers
    }

    /// Somebody wants to publish `key`.
    pub fn publish(&mut self, key: &StreamKey, claim: Claim, now: Millis) -> PublishOutcome {
        let entry = self.entries.get(key);
        let mut evicted = None;
        if let Some(entry) = entry
            && let Phase::Live { owner, epoch, .. } = entry.phase
        {
            match self.contest(entry, claim, now) {
                Contest::Replace => evicted = Some((owner, epoch)),
                Contest::Wait => return PublishOutcome::Wait,
                Contest::Keep => return PublishOutcome::InUse,
            }
        } else {
            let publishers_full = full(self.limits.publishers, self.publishers);
            if publishers_full || entry.is_none() && full(self.limits.streams, self.entries.len()) {
                return PublishOutcome::Full;
            }
            self.publishers += 1;
        }
        PublishOutcome::Granted(self.grant(key, claim, evicted, now))
    }

    fn grant(
        &mut self,
        key: &StreamKey,
        claim: Claim,
        evicted: Option<(LoopId, Epoch)>,
        now: Millis,
    ) -> Granted {
        let epoch = Epoch(self.next_epoch);
        self.next_epoch += 1;
        let entry = self.entries.entry(key.clone()).or_insert_with(Entry::idle);
        entry.activity.last_media.store(now.0, Relaxed);
        entry.phase = Phase::Live {
            owner: claim.on,
            epoch,
            address: claim.address,
            since: now,
            took_over: evicted.is_some(),
        };
        let evict = |(owner, old)| Post {
            to: owner,
            message: LiveMessage::Evict {
                key: key.clone(),
                epoch: old,
                successor: claim.on,
                successor_epoch: epoch,
            },
        };
        Granted {
            epoch,
            activity: Arc::clone(&entry.activity),
            await_handover: evicted.is_some(),
            subscribers: entry.subscribers.clone(),
            posts: evicted.map(evict).into_iter().collect(),
        }
    }

    fn contest(&self, entry: &Entry, claim: Claim, now: Millis) -> Contest {
        let Phase::Live { address, since, took_over, .. } = entry.phase else {
            return Contest::Replace;
        };
        let last_media = Millis(entry.activity.last_media.load(Relaxed));
        let silent = now.since(last_media) >= TAKEOVER_SILENCE_MS;
        match self.limits.takeover {
            Takeover::Always => Contest::Replace,
            Takeover::Never => Contest::Keep,
            Takeover::Idle if silent => Contest::Replace,
            Takeover::Idle if address == claim.address => {
                let ping_pong = took_over && now.since(since) < TAKEOVER_PING_PONG_MS;
                if ping_pong { Contest::Keep } else { Contest::Replace }
            }
            Takeover::Idle if now.since(claim.asked) >= TAKEOVER_WAIT_MS => Contest::Keep,
            Takeover::Idle => Contest::Wait,
        }
    }

    /// The publisher of `epoch` has gone. `None`: that epoch is not the current one.
    pub fn release(
        &mut self,
        key: &StreamKey,
        epoch: Epoch,
        unpublished: bool,
    ) -> Option<Released> {
        let limits = self.limits;
        let entry = self.entries.get_mut(key)?;
        if !matches!(entry.phase, Phase::Live { epoch: current, .. } if current == epoch) {
            return None;
        }
        self.publishers -= 1;
        let held = limits.hold_ms > 0 && (!unpublished || limits.hold_always);
        let ending = if held { Ending::Held } else { Ending::Final };
        let posts = entry.ended(epoch, ending);
        match ending {
            Ending::Held => entry.phase = Phase::Held { epoch },
            Ending::Final => self.make_idle(key),
        }
        Some(Released { ending, posts })
    }

    /// The hold of `epoch` is over; the messages to send (none when somebody publishes again).
    pub fn hold_expired(&mut self, key: &StreamKey, epoch: Epoch) -> Vec<Post> {
        let Some(entry) = self.entries.get_mut(key) else { return Vec::new() };
        if entry.phase != (Phase::Held { epoch }) {
            return Vec::new();
        }
        let posts = entry.ended(epoch, Ending::Final);
        self.make_idle(key);
        posts
    }

    /// A player of `key` on a loop. `None`: `--max-streams`.
    pub fn subscribe(&mut self, key: &StreamKey, subscriber: Subscriber) -> Option<Subscribed> {
        if !self.entries.contains_key(key) && full(self.limits.streams, self.entries.len()) {
            return None;
        }
        let newest = Epoch(self.next_epoch - 1);
        let entry = self.entries.entry(key.clone()).or_insert_with(Entry::idle);
        let is_new = !entry.subscribers.contains(&subscriber);
        if is_new {
            entry.subscribers.retain(|old| old.on != subscriber.on);
            entry.subscribers.push(subscriber);
        }
        let before = |epoch: Epoch| Epoch(epoch.0 - 1);
        Some(match entry.phase {
            Phase::Idle => Subscribed { feed: Feed::Idle, since: newest, post: None },
            Phase::Held { epoch } => {
                Subscribed { feed: Feed::Held, since: before(epoch), post: None }
            }
            Phase::Live { owner, epoch, .. } => {
                let message = LiveMessage::Subscribe { key: key.clone(), epoch, subscriber };
                let post = is_new.then_some(Post { to: owner, message });
                Subscribed { feed: Feed::Live, since: before(epoch), post }
            }
        })
    }

    /// A loop has no player of `key` left.
    pub fn unsubscribe(&mut self, key: &StreamKey, on: LoopId, id: SubscriptionId) -> Vec<Post> {
        let Some(entry) = self.entries.get_mut(key) else { return Vec::new() };
        let subscriber = Subscriber { on, id };
        entry.subscribers.retain(|old| *old != subscriber);
        match entry.phase {
            Phase::Idle if entry.subscribers.is_empty() => {
                self.entries.remove(key);
                Vec::new()
            }
            Phase::Idle | Phase::Held { .. } => Vec::new(),
            Phase::Live { owner, epoch, .. } => {
                let message = LiveMessage::Unsubscribe { key: key.clone(), epoch, subscriber };
                vec![Post { to: owner, message }]
            }
        }
    }

    fn make_idle(&mut self, key: &StreamKey) {
        let Some(entry) = self.entries.get_mut(key) else { return };
        entry.phase = Phase::Idle;
        if entry.subscribers.is_empty() {
            self.entries.remove(key);
        }
    }
}

enum Contest {
    Replace,
    Wait,
    Keep,
}

impl Entry {
    fn idle() -> Self {
        Self { phase: Phase::Idle, activity: Arc::default(), subscribers: Vec::new() }
    }

    fn ended(&self, epoch: Epoch, ending: Ending) -> Vec<Post> {
        let post = |subscriber: &Subscriber| Post {
            to: subscriber.on,
            message: LiveMessage::Ended { id: subscriber.id, epoch, ending },
        };
        self.subscribers.iter().map(post).collect()
    }
}

fn full(limit: usize, now: usize) -> bool {
    limit > 0 && now >= limit
}
