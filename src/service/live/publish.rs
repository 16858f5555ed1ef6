//! Publishers of this loop: grant, media, end, takeover.

use std::sync::Arc;

use super::{Action, Awaited, Hold, Live, PublishAnswer};
use crate::budget::OverBudget;
use crate::limits::MEMORY_REFUSE_PERCENT;
use crate::media::frame::Frame;
use crate::media::metadata::{DataMessage, parse_data};
use crate::rtmp::Msid;
use crate::rtmp::session::{MediaKind, MediaPiece, Status};
use crate::service::directory::{Claim, Directory, Granted, PublishOutcome};
use crate::service::key::StreamKey;
use crate::service::message::{Ending, Epoch, LiveMessage, LoopId, Post, Subscriber};
use crate::service::publisher::{ConnectionId, Publisher};
use crate::service::stream::{Owner, Role};
use crate::time::Millis;

impl Live {
    /// A connection wants to publish.
    pub fn publish(
        &mut self,
        directory: &mut Directory,
        key: &StreamKey,
        who: (ConnectionId, Msid),
        claim: Claim,
        now: Millis,
    ) -> PublishAnswer {
        if self.budget().is_at(MEMORY_REFUSE_PERCENT) {
            return PublishAnswer::Refused(Status::PublishRejected, "Server memory is full.");
        }
        match directory.publish(key, claim, now) {
            PublishOutcome::Granted(granted) => self.granted(key, who, granted, now),
            PublishOutcome::Wait => PublishAnswer::Wait,
            PublishOutcome::InUse => {
                PublishAnswer::Refused(Status::PublishBadName, "Stream name is in use.")
            }
            PublishOutcome::Full => {
                PublishAnswer::Refused(Status::PublishRejected, "Too many publishers or streams.")
            }
        }
    }

    fn granted(
        &mut self,
        key: &StreamKey,
        who: (ConnectionId, Msid),
        granted: Granted,
        now: Millis,
    ) -> PublishAnswer {
        self.posts.extend(granted.posts);
        let slot = self.stream_slot(key);
        let grant = (granted.epoch, granted.activity);
        let publisher = Publisher::new(who.0, who.1, slot, grant, &self.config.setup, now);
        let publisher = self.publishers.insert(publisher);
        self.evict_local(slot);
        let me = self.id;
        if let Some(stream) = self.streams.get_mut(slot) {
            let followers = granted.subscribers.into_iter().filter(|s| s.on != me).collect();
            stream.begin_epoch(granted.epoch);
            stream.role = Role::Owner(Owner { publisher, followers });
        }
        self.announce(slot);
        let epoch = granted.epoch;
        if granted.await_handover {
            self.awaited.push(Awaited { key: key.clone(), epoch, successor: None, left: None });
            return PublishAnswer::AwaitHandover(publisher);
        }
        self.greet_followers(slot);
        PublishAnswer::Ready(publisher)
    }

    /// Body bytes of an audio or video message.
    ///
    /// # Errors
    /// [`OverBudget`]: the memory budget is full.
    pub fn media(
        &mut self,
        publisher: usize,
        piece: &MediaPiece<'_>,
        now: Millis,
    ) -> Result<(), OverBudget> {
        let Some(sender) = self.publishers.get_mut(publisher) else { return Ok(()) };
        if let Some(frame) = sender.piece(piece, &mut self.copied, now)? {
            self.emit(publisher, frame, now);
        }
        Ok(())
    }

    /// A whole audio or video message (a part of an aggregate).
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn whole(
        &mut self,
        publisher: usize,
        kind: MediaKind,
        timestamp: u32,
        body: &[u8],
        now: Millis,
    ) -> Result<(), OverBudget> {
        let Some(sender) = self.publishers.get_mut(publisher) else { return Ok(()) };
        let frame = sender.whole(kind, timestamp, body, &mut self.copied, now)?;
        self.emit(publisher, frame, now);
        Ok(())
    }

    /// A data message. Malformed ones are dropped.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn data(
        &mut self,
        publisher: usize,
        timestamp: u32,
        body: &[u8],
        now: Millis,
    ) -> Result<(), OverBudget> {
        let Some(sender) = self.publishers.get_mut(publisher) else { return Ok(()) };
        let frame = match parse_data(body) {
            Ok(DataMessage::Metadata(body)) => sender.data_frame(&body, &mut self.copied)?,
            Ok(DataMessage::DataFrame { body, .. }) => sender.data_frame(body, &mut self.copied)?,
            Ok(DataMessage::Forward(body)) => {
                sender.whole(MediaKind::Data, timestamp, body, &mut self.copied, now)?
            }
            Ok(DataMessage::Clear { name }) => {
                let stream = sender.stream;
                if let Some(stream) = self.streams.get_mut(stream) {
                    stream.log.clear_data_frame(name);
                }
                return Ok(());
            }
            Ok(DataMessage::Drop) | Err(_) => return Ok(()),
        };
        self.emit(publisher, frame, now);
        Ok(())
    }

    /// Abort: forgets the unfinished message on a chunk-stream slot.
    pub fn abort(&mut self, publisher: usize, slot: usize) {
        if let Some(sender) = self.publishers.get_mut(publisher) {
            sender.forget_partial(slot);
        }
    }

    /// The publisher leaves: explicitly (players are told) or lost (players are held).
    pub fn unpublish(
        &mut self,
        directory: &mut Directory,
        publisher: usize,
        unpublished: bool,
        now: Millis,
    ) {
        let Some(gone) = self.publishers.try_remove(publisher) else { return };
        let stream = self.streams.get_mut(gone.stream);
        // One that was evicted owns nothing any more.
        let Some(stream) = stream.filter(|stream| stream.is_owned_by(publisher)) else { return };
        stream.role = Role::Vacant;
        if let Some(awaited) = self.awaited.iter_mut().find(|a| a.epoch == gone.epoch) {
            awaited.left = Some(unpublished);
            self.remove_if_unused(gone.stream);
            return;
        }
        let key = stream.key.clone();
        self.release(directory, &key, gone.epoch, unpublished, now);
    }

    /// Another loop's publisher takes over from `epoch`.
    pub(super) fn handle_evict(
        &mut self,
        key: &StreamKey,
        epoch: Epoch,
        successor: (LoopId, Epoch),
    ) {
        let owned = self.by_key.get(key).copied();
        if let Some(slot) =
            owned.filter(|&slot| self.streams.get(slot).map(|s| s.epoch) == Some(epoch))
        {
            self.evict_local(slot);
            self.remove_if_unused(slot);
        }
        match self.awaited.iter_mut().find(|awaited| awaited.epoch == epoch) {
            Some(awaited) => awaited.successor = Some(successor),
            None => self.hand_over(key.clone(), successor),
        }
    }

    /// The predecessor of `epoch` has emitted its last frame.
    pub(super) fn handle_handover(
        &mut self,
        directory: &mut Directory,
        key: &StreamKey,
        epoch: Epoch,
        now: Millis,
    ) {
        let Some(at) = self.awaited.iter().position(|awaited| awaited.epoch == epoch) else {
            return;
        };
        let awaited = self.awaited.swap_remove(at);
        if let Some(successor) = awaited.successor {
            self.hand_over(awaited.key, successor);
        } else if let Some(unpublished) = awaited.left {
            self.release(directory, key, epoch, unpublished, now);
        } else if let Some(owner) = self.owned(key, epoch).and_then(|stream| stream.owner_mut()) {
            // One that was evicted here has a successor whose name is still on its way.
            let publisher = owner.publisher;
            let Some(sender) = self.publishers.get(publisher) else { return };
            self.actions.push(Action::PublishReady(sender.connection, sender.msid));
            self.greet_followers(sender.stream);
        }
    }

    /// Loops with players learn of a new publisher before it has sent anything: waiting players
    /// are told at once, and its first frame is no gap.
    fn greet_followers(&mut self, slot: usize) {
        let Some(stream) = self.streams.get(slot) else { return };
        let Role::Owner(owner) = &stream.role else { return };
        let greet =
            |follower: &Subscriber| Post { to: follower.on, message: stream.snapshot(follower.id) };
        self.posts.extend(owner.followers.iter().map(greet));
    }

    fn hand_over(&mut self, key: StreamKey, (to, epoch): (LoopId, Epoch)) {
        self.posts.push(Post { to, message: LiveMessage::Handover { key, epoch } });
    }

    /// Ends the publisher of a local stream, if there is one; its connection is told. Its slot
    /// stays until the connection gives it back: nobody else's media gets under its number.
    fn evict_local(&mut self, slot: usize) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let Some(owner) = stream.owner_mut() else { return };
        let old = owner.publisher;
        stream.role = Role::Vacant;
        let Some(old) = self.publishers.get(old) else { return };
        let is_answered = !self.awaited.iter().any(|awaited| awaited.epoch == old.epoch);
        self.actions.push(if is_answered {
            Action::PublisherEvicted(old.connection, old.epoch)
        } else {
            Action::PublishRefused(old.connection, old.msid)
        });
    }

    fn release(
        &mut self,
        directory: &mut Directory,
        key: &StreamKey,
        epoch: Epoch,
        unpublished: bool,
        now: Millis,
    ) {
        let released = directory.release(key, epoch, unpublished);
        let slot = self.stream_slot(key);
        if let Some(released) = released {
            self.posts.extend(released.posts);
            if let Some(stream) = self.streams.get_mut(slot)
                && released.ending == Ending::Held
            {
                stream.epoch = epoch;
                stream.role = Role::Holding;
                let until = now.plus(self.config.hold_ms);
                self.holding.push_back(Hold { until, slot, epoch });
                self.forget_holds();
            }
        }
        self.remove_if_unused(slot);
    }

    fn emit(&mut self, publisher: usize, frame: Frame, now: Millis) {
        let Some(sender) = self.publishers.get(publisher) else { return };
        let (slot, kind) = (sender.stream, frame.kind());
        let stream = self.streams.get_mut(slot);
        // One that was evicted may go on sending until its connection knows.
        let Some(stream) = stream.filter(|stream| stream.is_owned_by(publisher)) else { return };
        if kind != MediaKind::Data {
            sender.activity.record(frame.timestamp(), now);
        }
        stream.emit(&Arc::new(frame), now, &mut self.posts);
        self.schedule(slot, kind, now);
    }
}
