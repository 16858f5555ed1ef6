//! What a loop does while memory is short (N8), and while another loop cannot keep up (N13).
//!
//! | used | what happens |
//! |---|---|
//! | 80 % | logs of all loops together are cut to half the budget, the largest first |
//! | 95 % | new publishers and players are refused with a status |
//! | 98 % | the connection that holds most, on whatever loop, is closed with `OutOfMemory` |
//! | 100 % | whoever asks for more is closed with `OutOfMemory` |
//!
//! A loop may close its own connections only. So every loop publishes what its largest holder
//! holds; the loop whose holder is the largest closes it, the others wait with reading. Nobody who
//! holds less than a quarter of the average is closed: logs, which are cut, are at most half.
//!
//! INVARIANT: a loop announces its next holder after it has closed the last one, so whoever sees
//! the announcement also sees the room that was made (release and acquire).
//! INVARIANT: a full budget costs at most one look at all connections and streams of a loop per
//! `MEMORY_RELIEF_MS`; in between, holders found by the last look are closed one by one.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use super::{EventLoop, find};
use crate::limits::{
    MEMORY_EVICT_PERCENT, MEMORY_HOLDERS, MEMORY_IN_VAIN_MS, MEMORY_LOGS_PERCENT, MEMORY_RELIEF_MS,
    MEMORY_SHRINK_PERCENT,
};
use crate::net::connection::Connection;
use crate::net::mailbox::Crowding;
use crate::net::server::Holdings;
use crate::service::CloseReason;
use crate::service::live::Live;
use crate::service::publisher::ConnectionId;
use crate::time::Millis;

/// What a loop remembers while memory is short.
#[derive(Debug, Default)]
pub(super) struct Shortage {
    /// Reading goes on then; `None`: now.
    pub(super) read_again: Option<Millis>,
    /// This loop has published holdings.
    is_announced: bool,
    /// When logs were cut last.
    relieved: Option<Millis>,
    /// They may be cut again then.
    pub(super) relieve_again: Option<Millis>,
    /// When all connections were looked at last.
    scanned: Option<Millis>,
    /// Holders found then, the largest last.
    holders: Vec<(usize, ConnectionId)>,
    /// Since when looks have found nobody, here and on other loops.
    in_vain_since: Option<Millis>,
    /// Cutting logs made room the last time: it may be done at once again, for until it is needed
    /// again half a budget has been filled.
    is_cutting_enough: bool,
    /// Another loop's mailbox is more than half full.
    crowding: Crowding,
}

impl EventLoop {
    /// Once per turn: this loop's part of what the memory budget demands.
    pub(super) fn relieve_memory(&mut self) {
        if !self.shared.budget.is_at(MEMORY_SHRINK_PERCENT) {
            self.memory.relieve_again = None;
            if std::mem::take(&mut self.memory.is_announced) {
                self.announce(0, 0);
                self.memory.holders.clear();
                self.memory.in_vain_since = None;
            }
            return;
        }
        match self.memory.relieved.map(|last| last.plus(MEMORY_RELIEF_MS)) {
            Some(next) if self.now < next => self.memory.relieve_again = Some(next),
            _ => {
                self.memory.relieve_again = None;
                self.memory.relieved = Some(self.now);
                self.cut_logs();
            }
        }
        if self.shared.budget.is_at(MEMORY_EVICT_PERCENT) {
            self.make_room();
        }
    }

    /// Whether input may be taken now.
    pub(super) fn may_read(&mut self) -> bool {
        if self.outbox.is_full() {
            return false;
        }
        if self.memory.crowding.waits(self.outbox.is_crowded(), self.now) {
            return false;
        }
        !self.shared.budget.is_at(MEMORY_EVICT_PERCENT) || self.make_room()
    }

    fn announce(&self, largest: usize, logs: usize) {
        if let Some(own) = self.shared.holdings().get(self.id.0) {
            own.largest.store(largest, Release);
            own.logs.store(logs, Relaxed);
        }
    }

    /// Logs of all loops share `MEMORY_LOGS_PERCENT` of the budget.
    fn cut_logs(&mut self) {
        let largest = self.memory.holders.last().map_or(0, |&(bytes, _)| bytes);
        self.memory.is_announced = true;
        self.announce(largest, self.live.log_bytes());
        let all: usize = self.shared.holdings().iter().map(|h| h.logs.load(Relaxed)).sum();
        let share = self.shared.budget.max() / 100 * MEMORY_LOGS_PERCENT;
        self.live.cut_logs(share, all.max(share));
        if all > share {
            // Loops that sleep have logs too.
            self.outbox.wake_all();
        }
    }

    /// Closes the largest holders until there is room. False: there is none yet, but there will be.
    fn make_room(&mut self) -> bool {
        let last = self.memory.scanned;
        let may_scan = last.is_none_or(|last| self.now.since(last) >= MEMORY_RELIEF_MS);
        if may_scan || self.memory.is_cutting_enough {
            self.cut_logs();
            self.memory.is_cutting_enough = !self.shared.budget.is_at(MEMORY_EVICT_PERCENT);
        }
        if may_scan && !self.memory.is_cutting_enough {
            self.scan_holders();
        }
        while self.shared.budget.is_at(MEMORY_EVICT_PERCENT) {
            let Some(&(bytes, id)) = self.memory.holders.last() else {
                self.outbox.wake_all();
                return self.has_waited_in_vain();
            };
            if !self.is_everybody_heard() || self.largest_elsewhere() > bytes {
                self.outbox.wake_all();
                return false;
            }
            if !self.shared.budget.is_at(MEMORY_EVICT_PERCENT) {
                // Another loop has made room before it announced its next holder.
                return true;
            }
            self.memory.holders.pop();
            // It may have let go of most since the look.
            if let Some(connection) = find(&mut self.connections, id)
                && held_bytes(connection, &self.live) >= bytes / 2
            {
                self.close(id, CloseReason::OutOfMemory);
            }
            self.announce_largest();
        }
        true
    }

    /// Finds the connections that hold most.
    fn scan_holders(&mut self) {
        self.memory.scanned = Some(self.now);
        let least = self.shared.budget.used() / self.shared.connections().max(1) / 4;
        let mut heap = BinaryHeap::with_capacity(MEMORY_HOLDERS + 1);
        for (slot, connection) in &self.connections {
            let bytes = held_bytes(connection, &self.live);
            if bytes > least {
                heap.push(Reverse((bytes, connection.id(slot))));
            }
            if heap.len() > MEMORY_HOLDERS {
                heap.pop();
            }
        }
        self.memory.holders.clear();
        while let Some(Reverse(holder)) = heap.pop() {
            self.memory.holders.push(holder);
        }
        self.memory.is_announced = true;
        self.announce_largest();
        if let Some(own) = self.shared.holdings().get(self.id.0) {
            own.scanned.store(self.now.0, Relaxed);
        }
        if self.memory.holders.is_empty() && self.largest_elsewhere() == 0 {
            self.memory.in_vain_since.get_or_insert(self.now);
            self.live.cut_logs(1, 2);
        } else {
            self.memory.in_vain_since = None;
        }
    }

    /// Nobody is to be closed: logs of other loops are still to be cut, which takes them a turn.
    /// If that has not helped for long, reading goes on all the same, so that nothing hangs.
    fn has_waited_in_vain(&self) -> bool {
        let since = self.memory.in_vain_since;
        since.is_some_and(|since| self.now.since(since) >= MEMORY_IN_VAIN_MS)
    }

    /// Whether what other loops say of their holders is of now.
    fn is_everybody_heard(&self) -> bool {
        let is_fresh = |holdings: &Holdings| {
            let scanned = Millis(holdings.scanned.load(Relaxed));
            self.now.since(scanned) <= 2 * MEMORY_RELIEF_MS
        };
        self.shared.holdings().iter().all(is_fresh)
    }

    /// This loop has ended: nobody needs to wait for what it says.
    pub(super) fn leave_holdings(&self) {
        self.announce(0, 0);
        if let Some(own) = self.shared.holdings().get(self.id.0) {
            own.scanned.store(u64::MAX, Relaxed);
        }
    }

    fn announce_largest(&self) {
        let largest = self.memory.holders.last().map_or(0, |&(bytes, _)| bytes);
        if let Some(own) = self.shared.holdings().get(self.id.0) {
            own.largest.store(largest, Release);
        }
    }

    fn largest_elsewhere(&self) -> usize {
        let others = self.shared.holdings().iter().enumerate().filter(|(on, _)| *on != self.id.0);
        others.map(|(_, holdings)| holdings.largest.load(Acquire)).max().unwrap_or(0)
    }
}

/// Bytes of the budget that closing the connection gives back.
fn held_bytes(connection: &Connection, live: &Live) -> usize {
    let publishers = connection.publishers.iter().map(|&(_, slot)| live.publisher_bytes(slot));
    let players = connection.players.iter().map(|&slot| live.player_bytes(slot));
    connection.charged_bytes() + publishers.sum::<usize>() + players.sum::<usize>()
}
