//! The time of this program: wall-clock µs that never step back.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Counts on from the wall clock at its making, so that its times can be compared with those of
/// other processes and of the kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began: Instant,
    began_us: u64,
}

impl Clock {
    /// Reads the wall clock.
    #[allow(clippy::disallowed_methods, reason = "this program's only clock")]
    pub(crate) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let began_us = u64::try_from(since.as_micros()).unwrap_or(u64::MAX);
        Self { began: Instant::now(), began_us }
    }

    /// µs since 1970.
    pub(crate) fn now_us(&self) -> u64 {
        let elapsed = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.began_us.saturating_add(elapsed)
    }
}
