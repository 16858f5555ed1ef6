//! Counters of bytes and of writes, and the rates between two reports made of them.

use std::iter::Sum;

/// Bytes in both directions, and the bit rates made of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes in since the start.
    pub bytes_in: u64,
    /// Bytes out since the start.
    pub bytes_out: u64,
    /// kbit/s in since the report before.
    pub in_kbps: u64,
    /// kbit/s out since the report before.
    pub out_kbps: u64,
}

impl Traffic {
    /// Bytes so far, no rates yet.
    #[must_use]
    pub fn new(bytes_in: u64, bytes_out: u64) -> Self {
        Self { bytes_in, bytes_out, ..Self::default() }
    }

    /// Sets the rates over `ms` since `then`.
    pub(super) fn set_rates(&mut self, then: Self, ms: u64) {
        let rate = |now: u64, then: u64| now.saturating_sub(then).saturating_mul(8) / ms;
        self.in_kbps = rate(self.bytes_in, then.bytes_in);
        self.out_kbps = rate(self.bytes_out, then.bytes_out);
    }
}

/// Write calls that carried bytes, and the rates made of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Writes {
    /// Since the start.
    pub count: u64,
    /// Writes a second since the report before.
    pub per_s: u64,
    /// Writes since the report before, and their bytes.
    recent: (u64, u64),
}

impl Writes {
    /// Writes so far, no rates yet.
    #[must_use]
    pub fn new(count: u64) -> Self {
        Self { count, ..Self::default() }
    }

    /// Sets the rates over `ms` since `then`, in which `bytes` were written.
    pub(super) fn set_rates(&mut self, then: Self, bytes: u64, ms: u64) {
        let count = self.count.saturating_sub(then.count);
        self.per_s = count.saturating_mul(1000) / ms;
        self.recent = (count, bytes);
    }

    /// Bytes per write since the report before; 0 without a write.
    pub(super) fn bytes_per_write(&self) -> u64 {
        let (count, bytes) = self.recent;
        bytes / count.max(1)
    }
}

impl Sum for Writes {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, one| Self {
            count: sum.count + one.count,
            per_s: sum.per_s + one.per_s,
            recent: (sum.recent.0 + one.recent.0, sum.recent.1 + one.recent.1),
        })
    }
}
