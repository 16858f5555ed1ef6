//! What loops tell each other about live streams, and how they name things.
//!
//! INVARIANT (N6): a connection or a local stream is named outside its loop only by slot and
//! generation; a stale generation is ignored.
//! INVARIANT (N13): only [`LiveMessage::Frame`] may be lost.

use super::key::StreamKey;
use super::stream::{ArrivedFrame, Snapshot};

/// One event loop, 0-based.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LoopId(pub usize);

/// Rises with every publish of any stream; an older epoch of a stream is ignored (N10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

/// A subscription of a loop: the slot of its local stream, and a number that is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId {
    /// Slot of the local stream on the subscribing loop.
    pub slot: usize,
    /// Generation of that slot.
    pub generation: u64,
}

/// A loop that has players of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subscriber {
    /// The loop.
    pub on: LoopId,
    /// Its subscription.
    pub id: SubscriptionId,
}

/// How a publisher left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Lost: players are held for a while.
    Held,
    /// Unpublished, or the hold is over: players are told and closed.
    Final,
}

/// One message between loops.
#[derive(Debug)]
pub enum LiveMessage {
    /// To the owner: send me this stream.
    Subscribe {
        /// Stream.
        key: StreamKey,
        /// The owner's epoch as the directory knows it.
        epoch: Epoch,
        /// Who asks.
        subscriber: Subscriber,
    },
    /// To the owner: I have no players left.
    Unsubscribe {
        /// Stream.
        key: StreamKey,
        /// The owner's epoch as the directory knows it.
        epoch: Epoch,
        /// Who asks.
        subscriber: Subscriber,
    },
    /// To a subscriber: what you need to begin; frames follow.
    Snapshot {
        /// Whom it is for.
        id: SubscriptionId,
        /// The rest.
        snapshot: Snapshot,
    },
    /// To a subscriber: the next frame.
    Frame {
        /// Whom it is for.
        id: SubscriptionId,
        /// The rest.
        arrived: ArrivedFrame,
    },
    /// To a subscriber: the publisher has gone.
    Ended {
        /// Whom it is for.
        id: SubscriptionId,
        /// The epoch that ended.
        epoch: Epoch,
        /// Held or final.
        ending: Ending,
    },
    /// To the old owner: stop, another loop's publisher has the name.
    Evict {
        /// Stream.
        key: StreamKey,
        /// The epoch to end.
        epoch: Epoch,
        /// Whom to tell that it has ended.
        successor: LoopId,
        /// The successor's epoch.
        successor_epoch: Epoch,
    },
    /// To the new owner: the old one has emitted its last frame.
    Handover {
        /// Stream.
        key: StreamKey,
        /// The new owner's epoch.
        epoch: Epoch,
    },
}

impl LiveMessage {
    /// Whether it may be lost when a mailbox is full (N13).
    #[must_use]
    pub fn may_be_lost(&self) -> bool {
        matches!(self, Self::Frame { .. })
    }
}

/// A message and the loop it is for (which may be the sender's own).
#[derive(Debug)]
pub struct Post {
    /// Destination.
    pub to: LoopId,
    /// What to say.
    pub message: LiveMessage,
}
