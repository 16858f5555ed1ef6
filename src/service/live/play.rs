//! Players of this loop: join, wait, leave.

use super::{Live, PlayAnswer, Player};
use crate::budget::Charge;
use crate::limits::MEMORY_REFUSE_PERCENT;
use crate::media::cursor::Cursor;
use crate::rtmp::Msid;
use crate::rtmp::session::Status;
use crate::service::directory::{Directory, Feed, Subscribed};
use crate::service::key::StreamKey;
use crate::service::message::Subscriber;
use crate::service::publisher::ConnectionId;
use crate::service::stream::Role;
use crate::time::Millis;

/// Bytes of a player: itself and its list of frames that come before the log.
const PLAYER_BYTES: usize = size_of::<Player>() + 256;

impl Live {
    /// A connection wants to play.
    pub fn play(
        &mut self,
        directory: &mut Directory,
        key: &StreamKey,
        who: (ConnectionId, Msid),
        duration_ms: Option<u32>,
        now: Millis,
    ) -> PlayAnswer {
        if self.budget().is_at(MEMORY_REFUSE_PERCENT) {
            return PlayAnswer::Refused(Status::PlayFailed, "Server memory is full.");
        }
        let slot = self.stream_slot(key);
        let Some(subscribed) = self.subscribe(directory, slot) else {
            self.remove_if_unused(slot);
            return PlayAnswer::Refused(Status::PlayFailed, "Too many streams.");
        };
        let mut charge = Charge::empty(self.budget());
        if charge.resize(PLAYER_BYTES).is_err() {
            self.leave(directory, slot);
            return PlayAnswer::Refused(Status::PlayFailed, "Server memory is full.");
        }
        if subscribed.feed == Feed::Idle && !self.config.wait_for_publisher {
            self.leave(directory, slot);
            return PlayAnswer::Refused(Status::PlayStreamNotFound, "No such stream.");
        }
        let is_fed = subscribed.feed == Feed::Live;
        let epoch = self.streams.get(slot).map(|stream| stream.epoch);
        let is_over = !is_fed || epoch <= Some(subscribed.since);
        if is_over && self.streams.get(slot).is_some_and(|stream| stream.log.has_keyframe()) {
            // The log shows what is over, other loops have not told yet: only those who were there
            // before may still start in it.
            self.start_players(slot, now);
            if let Some(stream) = self.streams.get_mut(slot) {
                stream.log.close_gop();
            }
        }
        let Some(stream) = self.streams.get_mut(slot) else {
            return PlayAnswer::Refused(Status::PlayStreamNotFound, "No such stream.");
        };
        let cursor = Cursor::join(&stream.log, duration_ms);
        let player = Player {
            connection: who.0,
            msid: who.1,
            stream: slot,
            cursor,
            since: subscribed.since,
            waits_until: (!is_fed).then_some(now.plus(self.config.wait_ms)),
            is_ending: false,
            bytes: 0,
            charge,
        };
        let player = self.players.insert(player);
        stream.players.push(player);
        stream.settle();
        PlayAnswer::Accepted(player)
    }

    /// A player leaves.
    pub fn stop(&mut self, directory: &mut Directory, player: usize) {
        let Some(gone) = self.players.try_remove(player) else { return };
        let Some(stream) = self.streams.get_mut(gone.stream) else { return };
        stream.players.retain(|&slot| slot != player);
        if stream.players.is_empty() {
            self.leave(directory, gone.stream);
        }
    }

    /// Makes sure that the directory knows this loop's interest, and asks it what is true now:
    /// endings and takeovers may still be on their way to this loop. `None`: too many streams.
    fn subscribe(&mut self, directory: &mut Directory, slot: usize) -> Option<Subscribed> {
        let stream = self.streams.get_mut(slot)?;
        if !stream.is_subscribed {
            // Mail for an older subscription of this stream is not for this one.
            stream.id.generation = self.next_generation;
            self.next_generation += 1;
        }
        let subscriber = Subscriber { on: self.id, id: stream.id };
        let mut subscribed = directory.subscribe(&stream.key, subscriber)?;
        stream.is_subscribed = true;
        if let Some(post) = subscribed.post.take().filter(|post| post.to != self.id) {
            stream.awaits_snapshot = true;
            self.posts.push(post);
        }
        Some(subscribed)
    }

    /// The last player of a local stream has left, or what it waited for has come too late.
    pub(super) fn leave(&mut self, directory: &mut Directory, slot: usize) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        if !stream.players.is_empty() || stream.awaits_snapshot {
            return;
        }
        if stream.is_subscribed {
            stream.is_subscribed = false;
            let me = self.id;
            let posts = directory.unsubscribe(&stream.key, me, stream.id);
            self.posts.extend(posts.into_iter().filter(|post| post.to != me));
        }
        if matches!(stream.role, Role::Follower { .. }) {
            stream.role = Role::Vacant;
        }
        self.remove_if_unused(slot);
    }
}
