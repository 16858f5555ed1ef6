//! What live streams hold of the memory budget, and how they give it back (N8).
//!
//! Logs are cut to a common level: every log below it is left alone, those above share evenly what
//! is left. So a name that holds little is safe from names that hold much, however many they are.
//!
//! ```text
//!   log bytes   |   #                       |   .
//!               |   #   #         level ----|-- # --- . ----
//!               |   #   #   #     =>        |   #   #   #
//!               |   #   #   #   #           |   #   #   #   #
//! ```

use super::Live;
use crate::service::stream::{LocalStream, Role};

impl Live {
    /// Bytes of the logs whose frames come from this loop; those of followers are the same frames.
    #[must_use]
    pub fn log_bytes(&self) -> usize {
        let is_own = |stream: &&LocalStream| !matches!(stream.role, Role::Follower { .. });
        let streams = self.streams.iter().map(|(_, stream)| stream).filter(is_own);
        streams.map(|stream| stream.log.cuttable_bytes()).sum()
    }

    /// Cuts this loop's logs to `part` of `whole` of what they hold, the large ones only; gives up
    /// what is left of publishers that are gone.
    pub fn cut_logs(&mut self, part: usize, whole: usize) {
        for (_, stream) in &mut self.streams {
            if matches!(stream.role, Role::Vacant | Role::Holding) {
                stream.log.release();
                stream.settle();
            }
        }
        let mut sizes: Vec<usize> =
            self.streams.iter().map(|(_, stream)| stream.log.cuttable_bytes()).collect();
        let held: usize = sizes.iter().sum();
        let target = held as u128 * part as u128 / whole.max(1) as u128;
        let level = level(&mut sizes, usize::try_from(target).unwrap_or(usize::MAX));
        for (_, stream) in &mut self.streams {
            if stream.log.cuttable_bytes() > level {
                stream.log.cut(level);
                stream.settle();
            }
        }
    }

    /// Bytes that go when the publisher in a slot goes: unfinished messages, and the headers that
    /// no cut takes away. Logs do not count, they are cut.
    #[must_use]
    pub fn publisher_bytes(&self, slot: usize) -> usize {
        let Some(publisher) = self.publishers.get(slot) else { return 0 };
        let stream = self.streams.get(publisher.stream);
        publisher.partial_bytes() + stream.map_or(0, |stream| stream.log.init_bytes())
    }

    /// Bytes that go when the player in a slot goes: itself, its part of the frame in flight, and
    /// its part of the stream's own memory.
    #[must_use]
    pub fn player_bytes(&self, slot: usize) -> usize {
        let Some(player) = self.players.get(slot) else { return 0 };
        let stream = self.streams.get(player.stream);
        let shared = stream.map_or(0, |stream| {
            stream.charge.as_ref().map_or(0, |charge| charge.bytes()) / stream.players.len().max(1)
        });
        player.charge.bytes() + player.cursor.pinned_bytes() + shared
    }
}

/// The greatest level to which `sizes` can be cut so that their sum is at most `target`.
fn level(sizes: &mut [usize], target: usize) -> usize {
    sizes.sort_unstable();
    let mut left = target;
    for (index, &size) in sizes.iter().enumerate() {
        let share = left / (sizes.len() - index);
        if size > share {
            return share;
        }
        left -= size;
    }
    usize::MAX
}
