//! Messages of other loops: frames, snapshots, endings, subscriptions.

use std::sync::Arc;

use super::{Action, Live};
use crate::rtmp::session::MediaKind;
use crate::service::directory::Directory;
use crate::service::key::StreamKey;
use crate::service::message::{Ending, Epoch, LiveMessage, Post, Subscriber, SubscriptionId};
use crate::service::stream::{ArrivedFrame, LocalStream, Role, Snapshot};
use crate::time::Millis;

impl Live {
    /// One message from the mailbox, or from this loop to itself.
    pub fn handle(&mut self, message: LiveMessage, directory: &mut Directory, now: Millis) {
        match message {
            LiveMessage::Subscribe { key, epoch, subscriber } => {
                self.handle_subscribe(&key, epoch, subscriber);
            }
            LiveMessage::Unsubscribe { key, epoch, subscriber } => {
                if let Some(owner) = self.owned(&key, epoch).and_then(|stream| stream.owner_mut()) {
                    owner.followers.retain(|follower| *follower != subscriber);
                }
            }
            LiveMessage::Snapshot { id, snapshot } => {
                self.handle_snapshot(id, snapshot, now);
                self.question_answered(directory, id);
            }
            LiveMessage::Frame { id, arrived } => self.handle_frame(id, arrived, now),
            LiveMessage::Ended { id, epoch, ending } => {
                self.handle_ended(id, epoch, ending, now);
                self.question_answered(directory, id);
            }
            LiveMessage::Evict { key, epoch, successor, successor_epoch } => {
                self.handle_evict(&key, epoch, (successor, successor_epoch));
            }
            LiveMessage::Handover { key, epoch } => {
                self.handle_handover(directory, &key, epoch, now);
            }
        }
    }

    /// A snapshot or an ending has come: players may have left meanwhile.
    fn question_answered(&mut self, directory: &mut Directory, id: SubscriptionId) {
        let Some(stream) = self.stream_by_id(id) else { return };
        stream.awaits_snapshot = false;
        self.leave(directory, id.slot);
    }

    pub(super) fn owned(&mut self, key: &StreamKey, epoch: Epoch) -> Option<&mut LocalStream> {
        let slot = *self.by_key.get(key)?;
        self.streams.get_mut(slot).filter(|stream| stream.epoch == epoch)
    }

    fn handle_subscribe(&mut self, key: &StreamKey, epoch: Epoch, subscriber: Subscriber) {
        let awaits = self.awaited.iter().any(|awaited| awaited.epoch == epoch);
        let Some(stream) = self.owned(key, epoch) else { return };
        let Some(owner) = stream.owner_mut() else { return };
        owner.followers.retain(|follower| follower.on != subscriber.on);
        owner.followers.push(subscriber);
        if !awaits {
            let message = stream.snapshot(subscriber.id);
            self.posts.push(Post { to: subscriber.on, message });
        }
    }

    fn handle_snapshot(&mut self, id: SubscriptionId, snapshot: Snapshot, now: Millis) {
        let Some(stream) = self.stream_by_id(id) else { return };
        if stream.adopt_snapshot(snapshot, now) {
            self.announce(id.slot);
            self.schedule(id.slot, MediaKind::Video, now);
        }
    }

    /// A frame of a stream that another loop owns.
    pub fn handle_frame(&mut self, id: SubscriptionId, arrived: ArrivedFrame, now: Millis) {
        let budget = Arc::clone(self.budget());
        let Some(stream) = self.stream_by_id(id) else { return };
        let kind = arrived.frame.kind();
        if stream.adopt_frame(arrived, &budget, now) {
            self.schedule(id.slot, kind, now);
        }
    }

    fn handle_ended(&mut self, id: SubscriptionId, epoch: Epoch, ending: Ending, now: Millis) {
        if self.stream_by_id(id).is_none_or(|stream| epoch < stream.epoch) {
            return;
        }
        self.start_players(id.slot, now);
        let Self { streams, players, actions, .. } = self;
        let Some(stream) = streams.get_mut(id.slot) else { return };
        if epoch > stream.epoch || matches!(stream.role, Role::Follower { .. }) {
            stream.role = Role::Vacant;
        }
        stream.epoch = epoch;
        stream.log.close_gop();
        for &slot in &stream.players {
            let Some(player) = players.get_mut(slot) else { continue };
            match ending {
                Ending::Held => player.cursor.publisher_lost(&stream.log),
                Ending::Final if epoch <= player.since => {}
                Ending::Final => {
                    player.cursor.end_here(&stream.log);
                    player.is_ending = true;
                    actions.push(Action::Flush(player.connection));
                }
            }
        }
    }

    /// Players that joined in this very turn start before the keyframes are forgotten.
    pub(super) fn start_players(&mut self, slot: usize, now: Millis) {
        let Self { streams, players, config, .. } = self;
        let Some(stream) = streams.get_mut(slot) else { return };
        for &player in &stream.players {
            let Some(player) = players.get_mut(player) else { continue };
            player.cursor.prepare(&mut stream.log, config.lag_ms, &config.setup.budget, now);
        }
    }
}
