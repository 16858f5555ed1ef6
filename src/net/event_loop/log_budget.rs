//! How many session lines a loop may log: an attack does not fill the disk.

use crate::limits::LOG_LINES_PER_SECOND;
use crate::time::Millis;

/// Session lines of one second.
#[derive(Debug, Default)]
pub(super) struct LogBudget {
    second: u64,
    lines: u32,
    suppressed: u64,
    reported: u64,
}

impl LogBudget {
    /// Whether one more line may be written now.
    pub(super) fn take(&mut self, now: Millis) -> bool {
        self.report(now);
        if self.second != now.0 / 1000 {
            self.second = now.0 / 1000;
            self.lines = 0;
        }
        self.lines = self.lines.saturating_add(1);
        let allowed = self.lines <= LOG_LINES_PER_SECOND;
        self.suppressed += u64::from(!allowed);
        allowed
    }

    /// Lines left out since the start.
    pub(super) fn suppressed(&self) -> u64 {
        self.suppressed
    }

    /// When [`LogBudget::report`] has something to say.
    pub(super) fn poll_timeout(&self) -> Option<Millis> {
        (self.suppressed > self.reported).then_some(Millis((self.second + 1) * 1000))
    }

    /// Says once the second is over how many of its lines were left out.
    pub(super) fn report(&mut self, now: Millis) {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            log::warn!("{} session lines were not logged", self.suppressed - self.reported);
            self.reported = self.suppressed;
        }
    }
}
