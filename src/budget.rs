//! The memory budget (N8): every variable allocation is charged when made and released on drop.
//!
//! One [`Budget`] per process, shared by all loops; relaxed atomics, one addition per charge.
//! INVARIANT: the bytes charged never exceed the budget. What happens on the way there (logs are
//! cut, newcomers refused, the largest holder closed) is decided in `net::event_loop::memory`.

use std::cmp::Ordering;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A byte budget shared by every loop of the process.
#[derive(Debug)]
pub struct Budget {
    max: usize,
    used: AtomicUsize,
    peak: AtomicUsize,
}

/// The budget has no room for the bytes asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OverBudget {
    /// Bytes that were asked for.
    pub bytes: usize,
}

impl Budget {
    /// A budget of `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicUsize::new(0), peak: AtomicUsize::new(0) })
    }

    /// The most bytes that may be charged.
    #[must_use]
    pub fn max(&self) -> usize {
        self.max
    }

    /// Bytes charged now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }

    /// The most bytes that were ever charged at one time.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.peak.load(Relaxed)
    }

    /// Whether at least `percent` of the budget are used.
    #[must_use]
    pub fn is_at(&self, percent: usize) -> bool {
        self.used().saturating_mul(100) >= self.max.saturating_mul(percent)
    }

    /// Adds `bytes` unless that goes above `max`: one too large does not make others fail.
    fn try_add(&self, bytes: usize) -> Result<(), OverBudget> {
        let fits = |used: usize| used.checked_add(bytes).filter(|&after| after <= self.max);
        let Ok(before) = self.used.fetch_update(Relaxed, Relaxed, fits) else {
            return Err(OverBudget { bytes });
        };
        let after = before + bytes;
        if after > self.peak.load(Relaxed) {
            self.peak.fetch_max(after, Relaxed);
        }
        Ok(())
    }
}

/// Bytes taken from a [`Budget`]; given back on drop.
#[derive(Debug)]
pub struct Charge {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Charge {
    /// A charge of nothing, to be changed by [`Charge::resize`].
    #[must_use]
    pub fn empty(budget: &Arc<Budget>) -> Self {
        Self { budget: Arc::clone(budget), bytes: 0 }
    }

    /// A charge of nothing on the same budget.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self::empty(&self.budget)
    }

    /// Bytes held by this charge.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Changes the charge to `bytes` in all; one comparison when it is that already.
    ///
    /// # Errors
    /// [`OverBudget`] when the growth does not fit; the charge is then unchanged.
    pub fn resize(&mut self, bytes: usize) -> Result<(), OverBudget> {
        match bytes.cmp(&self.bytes) {
            Ordering::Equal => return Ok(()),
            Ordering::Greater => self.budget.try_add(bytes - self.bytes)?,
            Ordering::Less => {
                self.budget.used.fetch_sub(self.bytes - bytes, Relaxed);
            }
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Relaxed);
    }
}
