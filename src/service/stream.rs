//! One live stream as one loop sees it: its log, its role, its players.
//!
//! Owns the rules of following another loop: snapshots, gaps, epochs. Does not own players'
//! cursors (they are in [`super::live::Live`]) or the directory.

use std::sync::Arc;

use super::key::StreamKey;
use super::message::{Epoch, LiveMessage, Post, Subscriber, SubscriptionId};
use crate::budget::{Budget, Charge};
use crate::media::frame::Frame;
use crate::media::log::{GopMode, LogLimits, StreamLog};
use crate::media::tag::TagClass;
use crate::rtmp::session::MediaKind;
use crate::time::Millis;

/// Bytes of a stream without its name and lists: itself, its entries in the maps of the loop and
/// the directory, its counters, its publisher, and a message about it on its way.
const STREAM_BYTES: usize = size_of::<LocalStream>() + 1024;

/// What this loop is to the stream.
#[derive(Debug)]
pub enum Role {
    /// No publisher is known here.
    Vacant,
    /// The publisher is on this loop.
    Owner(Owner),
    /// The publisher was here and was lost: this loop ends the hold.
    Holding,
    /// Frames come from another loop.
    Follower {
        /// Index of the next frame; another one is a gap.
        next_index: u64,
    },
}

/// The publisher's loop.
#[derive(Debug)]
pub struct Owner {
    /// Slot of the publisher.
    pub publisher: usize,
    /// Loops that follow (never this one).
    pub followers: Vec<Subscriber>,
}

/// See the module documentation.
#[derive(Debug)]
pub struct LocalStream {
    /// Name.
    pub key: StreamKey,
    /// What other loops call it.
    pub id: SubscriptionId,
    /// Newest frames.
    pub log: StreamLog,
    /// The newest epoch seen; frames of an older one are ignored (N10). 0: none yet.
    pub epoch: Epoch,
    /// This loop's part.
    pub role: Role,
    /// Player slots.
    pub players: Vec<usize>,
    /// The directory has this loop in its list.
    pub is_subscribed: bool,
    /// The owner was asked for a snapshot: until it or an ending comes, the subscription stays, so
    /// that at most one question is on its way however fast players come and go (N13).
    pub awaits_snapshot: bool,
    /// When players are to be flushed.
    pub due: Option<Millis>,
    /// What the stream holds beside frames; see [`LocalStream::settle`].
    pub charge: Option<Charge>,
}

impl LocalStream {
    /// A stream that nobody publishes yet.
    #[must_use]
    pub fn new(key: StreamKey, id: SubscriptionId, limits: LogLimits) -> Self {
        Self {
            key,
            id,
            log: StreamLog::new(limits),
            epoch: Epoch(0),
            role: Role::Vacant,
            players: Vec::new(),
            is_subscribed: false,
            awaits_snapshot: false,
            due: None,
            charge: None,
        }
    }

    /// Charges what the stream holds beside frames: itself, its name, the lists of its log and its
    /// players. Called after every append. Where the budget has no room the log is halved.
    pub fn settle(&mut self) {
        let lists = self.log.list_bytes() + self.players.capacity() * size_of::<usize>();
        let bytes = STREAM_BYTES + self.key.as_bytes().len() + lists;
        let Some(charge) = &mut self.charge else { return };
        if charge.resize(bytes).is_err() {
            self.log.cut(self.log.cuttable_bytes() / 2);
        }
    }

    /// Whether the publisher in this slot of this loop feeds it.
    #[must_use]
    pub fn is_owned_by(&self, publisher: usize) -> bool {
        matches!(&self.role, Role::Owner(owner) if owner.publisher == publisher)
    }

    /// Whether the name is held for the lost publisher of this epoch.
    #[must_use]
    pub fn holds(&self, epoch: Epoch) -> bool {
        self.epoch == epoch && matches!(self.role, Role::Holding)
    }

    /// The owner, if this loop is it.
    #[must_use]
    pub fn owner_mut(&mut self) -> Option<&mut Owner> {
        match &mut self.role {
            Role::Owner(owner) => Some(owner),
            Role::Vacant | Role::Holding | Role::Follower { .. } => None,
        }
    }

    /// Owner: appends `frame` and posts it to every follower.
    pub fn emit(&mut self, frame: &Arc<Frame>, now: Millis, posts: &mut Vec<Post>) {
        let index = self.log.head();
        self.log.append(frame, now);
        let resumes = is_resume_point(frame, &self.log);
        let Self { role: Role::Owner(owner), log, epoch, .. } = self else { return };
        if owner.followers.is_empty() {
            return;
        }
        let init = resumes.then(|| log.init_shared());
        for follower in &owner.followers {
            let arrived =
                ArrivedFrame { epoch: *epoch, index, frame: Arc::clone(frame), init: init.clone() };
            let message = LiveMessage::Frame { id: follower.id, arrived };
            posts.push(Post { to: follower.on, message });
        }
    }

    /// Owner: what a new follower begins with. Where the budget has no room for the list of its
    /// frames, it begins with the next keyframe.
    #[must_use]
    pub fn snapshot(&self, id: SubscriptionId) -> LiveMessage {
        let log = &self.log;
        let gop = match log.gop_mode() {
            GopMode::Gop => log.gop_start().map(|start| log.tail(start)),
            GopMode::Keyframe | GopMode::Off => None,
        };
        let mut charge = self.charge.as_ref().map(Charge::sibling);
        let list = |gop: &Arc<[Arc<Frame>]>| std::mem::size_of_val::<[_]>(gop);
        let gop = gop.filter(|gop| charge.as_mut().is_none_or(|c| c.resize(list(gop)).is_ok()));
        let snapshot = Snapshot {
            _charge: charge,
            epoch: self.epoch,
            next_index: log.head(),
            has_video: log.has_video(),
            init: log.init().frames().into(),
            gop: gop.unwrap_or_default(),
            key_frame: log.key_frame().cloned(),
        };
        LiveMessage::Snapshot { id, snapshot }
    }

    /// Follower: a snapshot arrived. False when it is stale.
    pub fn adopt_snapshot(&mut self, snapshot: Snapshot, now: Millis) -> bool {
        let Snapshot { epoch, next_index, has_video, init, gop, key_frame, _charge } = snapshot;
        if epoch <= self.epoch {
            return false;
        }
        self.begin_epoch(epoch);
        self.log.adopt_init(&init, has_video);
        for frame in gop.iter() {
            self.log.append(frame, now);
        }
        if let Some(frame) = key_frame {
            self.log.adopt_key_frame(frame);
        }
        self.role = Role::Follower { next_index };
        true
    }

    /// Follower: a frame arrived. False when it is stale, comes before its epoch's snapshot, or
    /// lies in a gap. What ends a gap brings the headers that this log does not know yet.
    pub fn adopt_frame(
        &mut self,
        arrived: ArrivedFrame,
        budget: &Arc<Budget>,
        now: Millis,
    ) -> bool {
        let ArrivedFrame { epoch, index, frame, init } = arrived;
        let Role::Follower { next_index } = self.role else { return false };
        if epoch != self.epoch {
            return false;
        }
        if next_index != index {
            let Some(init) = init else { return false };
            for header in init.iter().filter(|header| !Arc::ptr_eq(header, &frame)) {
                self.log.append_missing(header, frame.timestamp(), budget, now);
            }
        }
        self.log.append(&frame, now);
        self.role = Role::Follower { next_index: index + 1 };
        true
    }

    /// A new publisher begins: nobody joins at the old one's frames.
    pub fn begin_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.log.forget_publisher();
    }
}

/// The contents of [`LiveMessage::Snapshot`].
#[derive(Debug)]
pub struct Snapshot {
    /// Publisher's epoch.
    pub epoch: Epoch,
    /// Index that the next frame will have.
    pub next_index: u64,
    /// Whether any video came in this epoch.
    pub has_video: bool,
    /// Init frames as they came.
    pub init: Arc<[Arc<Frame>]>,
    /// The cached GOP, oldest first.
    pub gop: Arc<[Arc<Frame>]>,
    /// The cached keyframe.
    pub key_frame: Option<Arc<Frame>>,
    /// For the list of frames: many snapshots may be on their way.
    pub _charge: Option<Charge>,
}

/// The contents of [`LiveMessage::Frame`].
#[derive(Debug)]
pub struct ArrivedFrame {
    /// Publisher's epoch.
    pub epoch: Epoch,
    /// The owner's index.
    pub index: u64,
    /// The frame.
    pub frame: Arc<Frame>,
    /// Current init frames as they came, on resume points.
    pub init: Option<Arc<[Arc<Frame>]>>,
}

/// Whether a gap may end here: a keyframe, or any audio frame where there is no video.
fn is_resume_point(frame: &Frame, log: &StreamLog) -> bool {
    match frame.kind() {
        MediaKind::Video => log.opens_gop(frame),
        MediaKind::Audio => !log.has_video() && frame.tag().class == TagClass::AudioFrame,
        MediaKind::Data => false,
    }
}
