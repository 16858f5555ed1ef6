//! Deadlines of connections in ticks of 100 ms: one live entry per connection.
//!
//! Lazy: a deadline that moves later is found out when the old entry expires, so traffic never
//! touches the wheel. Deadlines five seconds away and more are rounded up to full seconds, so that
//! ten thousand idle connections cause at most one wake-up per second (N12); nearer ones, such as
//! the FIN a second after a stream's end, are met within a tick.

use std::collections::BTreeMap;

use crate::service::publisher::ConnectionId;
use crate::time::Millis;

const TICK_MS: u64 = 100;
const COARSE_TICKS: u64 = 10;
/// Deadlines this far away are rounded up to [`COARSE_TICKS`], ms.
const COARSE_FROM_MS: u64 = 5_000;

/// A point in time as the wheel counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

/// See the module documentation.
#[derive(Debug, Default)]
pub struct TimerWheel {
    slots: BTreeMap<Tick, Vec<ConnectionId>>,
}

impl TimerWheel {
    /// The tick at which a deadline is over. Always after `now`, so that whoever arms again while
    /// entries expire does not expire once more in the same turn.
    #[must_use]
    pub fn tick(deadline: Millis, now: Millis) -> Tick {
        let tick = deadline.0.div_ceil(TICK_MS).max(now.0 / TICK_MS + 1);
        if deadline.since(now) < COARSE_FROM_MS {
            return Tick(tick);
        }
        Tick(tick.div_ceil(COARSE_TICKS) * COARSE_TICKS)
    }

    /// Adds an entry.
    pub fn insert(&mut self, tick: Tick, connection: ConnectionId) {
        self.slots.entry(tick).or_default().push(connection);
    }

    /// When the next entry expires.
    #[must_use]
    pub fn next(&self) -> Option<Millis> {
        self.slots.first_key_value().map(|(tick, _)| Millis(tick.0 * TICK_MS))
    }

    /// Takes the entries of the oldest tick that is over.
    pub fn expired(&mut self, now: Millis) -> Option<(Tick, Vec<ConnectionId>)> {
        let first = self.slots.first_entry()?;
        if first.key().0 * TICK_MS > now.0 {
            return None;
        }
        Some(first.remove_entry())
    }
}

#[cfg(test)]
mod tests {
    use super::{Millis, TimerWheel};
    use crate::service::publisher::ConnectionId;

    #[test]
    fn a_deadline_that_is_over_expires_in_a_later_turn() {
        let connection = ConnectionId { slot: 0, generation: 1 };
        for now in [0, 399, 400, 401].map(Millis) {
            for deadline in [now, Millis(now.0 / 2)] {
                let mut wheel = TimerWheel::default();
                wheel.insert(TimerWheel::tick(deadline, now), connection);
                assert!(wheel.expired(now).is_none(), "deadline {deadline:?} at {now:?}");
                assert!(wheel.expired(now.plus(100)).is_some());
            }
        }
    }

    #[test]
    fn deadlines_of_seconds_share_the_ticks_of_full_seconds() {
        let now = Millis(123);
        for deadline in (6_001..=7_000).map(Millis) {
            assert_eq!(TimerWheel::tick(deadline, now), TimerWheel::tick(Millis(7_000), now));
        }
    }
}
