//! Deadlines of connections in ticks of 100 ms: one live entry per connection.
//!
//! Lazy: a deadline that moves later is found out when the old entry expires, so traffic never
//! touches the wheel. Deadlines five seconds away and more are rounded up to full seconds, so that
//! ten thousand idle connections cause at most one wake-up per second (N12); nearer ones, such as
//! the FIN a second after a stream's end, are met within a tick.

use std::collections::BTreeMap;

use slab::Slab;

use super::slots::{Slot, find};
use crate::service::publisher::ConnectionId;
use crate::time::Millis;

const TICK_MS: u64 = 100;
const COARSE_TICKS: u64 = 10;
/// Deadlines this far away are rounded up to [`COARSE_TICKS`], ms.
const COARSE_FROM_MS: u64 = 5_000;

/// A point in time as the wheel counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(u64);

/// What has a deadline in the wheel.
pub trait Timed: Slot {
    /// Its live entry, `None` where there is none.
    fn timer(&mut self) -> &mut Option<Tick>;
}

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

    /// Takes the entries of the oldest tick that is over; `None`: there is none. Returns those whose
    /// live entry it was, and takes that from them: whoever has gone, or is armed for another tick
    /// by now, is not met.
    pub fn expired<T: Timed>(
        &mut self,
        slots: &mut Slab<T>,
        now: Millis,
    ) -> Option<Vec<ConnectionId>> {
        let first = self.slots.first_entry()?;
        if first.key().0 * TICK_MS > now.0 {
            return None;
        }
        let (tick, mut connections) = first.remove_entry();
        connections.retain(|&id| {
            let timer = find(slots, id).map(Timed::timer);
            timer.is_some_and(|timer| timer.take_if(|armed| *armed == tick).is_some())
        });
        Some(connections)
    }
}

#[cfg(test)]
mod tests {
    use super::{Millis, Slab, Slot, Tick, Timed, TimerWheel};
    use crate::service::publisher::ConnectionId;

    struct Tenant {
        generation: u32,
        timer: Option<Tick>,
    }

    impl Slot for Tenant {
        fn generation(&self) -> u32 {
            self.generation
        }
    }

    impl Timed for Tenant {
        fn timer(&mut self) -> &mut Option<Tick> {
            &mut self.timer
        }
    }

    /// Somebody in a free slot who is armed for `deadline`.
    fn moves_in(
        slots: &mut Slab<Tenant>,
        wheel: &mut TimerWheel,
        generation: u32,
        deadline: u64,
    ) -> ConnectionId {
        let tick = TimerWheel::tick(Millis(deadline), Millis(0));
        let slot = slots.insert(Tenant { generation, timer: Some(tick) });
        let id = ConnectionId::new(slot, generation);
        wheel.insert(tick, id);
        id
    }

    #[test]
    fn a_deadline_that_is_over_expires_in_a_later_turn() {
        for now in [0, 399, 400, 401].map(Millis) {
            for deadline in [now, Millis(now.0 / 2)] {
                let (mut wheel, mut slots) = (TimerWheel::default(), Slab::new());
                let tick = TimerWheel::tick(deadline, now);
                let slot = slots.insert(Tenant { generation: 1, timer: Some(tick) });
                let id = ConnectionId::new(slot, 1);
                wheel.insert(tick, id);
                let expired = wheel.expired(&mut slots, now);
                assert!(expired.is_none(), "deadline {deadline:?} at {now:?}");
                assert_eq!(wheel.expired(&mut slots, now.plus(100)), Some(vec![id]));
            }
        }
    }

    #[test]
    fn a_slot_used_again_is_not_met_by_its_predecessors_timer() {
        // The successor is armed for a later tick, and for the same one.
        for deadline in [400, 200] {
            let (mut wheel, mut slots) = (TimerWheel::default(), Slab::new());
            let first = moves_in(&mut slots, &mut wheel, 1, 200);
            slots.remove(first.slot());
            let second = moves_in(&mut slots, &mut wheel, 2, deadline);
            assert_eq!(second.slot(), first.slot());
            let mut met = Vec::new();
            for now in [200, 300, 400, 500].map(Millis) {
                while let Some(ids) = wheel.expired(&mut slots, now) {
                    met.extend(ids.into_iter().map(|id| (id, now.0)));
                }
            }
            assert_eq!(met, [(second, deadline)], "at its own deadline, once");
            assert_eq!(slots[second.slot()].timer, None);
        }
    }

    #[test]
    fn an_entry_that_was_replaced_by_an_earlier_one_is_not_met() {
        let (mut wheel, mut slots) = (TimerWheel::default(), Slab::new());
        let id = moves_in(&mut slots, &mut wheel, 1, 900);
        let tick = TimerWheel::tick(Millis(300), Millis(0));
        slots[id.slot()].timer = Some(tick);
        wheel.insert(tick, id);
        assert_eq!(wheel.expired(&mut slots, Millis(300)), Some(vec![id]));
        let tick = TimerWheel::tick(Millis(1500), Millis(300));
        slots[id.slot()].timer = Some(tick);
        wheel.insert(tick, id);
        assert_eq!(wheel.expired(&mut slots, Millis(900)), Some(Vec::new()));
        assert_eq!(wheel.expired(&mut slots, Millis(1500)), Some(vec![id]));
    }

    #[test]
    fn deadlines_of_seconds_share_the_ticks_of_full_seconds() {
        let now = Millis(123);
        for deadline in (6_001..=7_000).map(Millis) {
            assert_eq!(TimerWheel::tick(deadline, now), TimerWheel::tick(Millis(7_000), now));
        }
    }
}
