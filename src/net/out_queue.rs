//! The outgoing bytes of one connection that are its own: replies, statuses, pings.
//!
//! Replies are written straight into it; media never passes through it. Empty, it holds no memory.
//!
//! ```text
//!   before:  | accepted by the socket | unsent |        accepted >= half
//!   after:   | unsent |
//! ```

use std::sync::Arc;

use crate::budget::{Budget, Charge, OverBudget};

/// See the module documentation.
#[derive(Debug)]
pub struct OutQueue {
    bytes: Vec<u8>,
    sent: usize,
    charge: Charge,
}

impl OutQueue {
    /// Empty.
    #[must_use]
    pub fn new(budget: &Arc<Budget>) -> Self {
        Self { bytes: Vec::new(), sent: 0, charge: Charge::empty(budget) }
    }

    /// Where replies are appended.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Charges what was appended.
    ///
    /// # Errors
    /// [`OverBudget`]: the connection must end.
    pub fn settle(&mut self) -> Result<(), OverBudget> {
        self.charge.resize(self.bytes.capacity())
    }

    /// Bytes charged to the budget.
    #[must_use]
    pub fn charged_bytes(&self) -> usize {
        self.charge.bytes()
    }

    /// Bytes not accepted by the socket yet.
    #[must_use]
    pub fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    /// Whether nothing is left to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    /// The socket accepted `count` bytes.
    pub fn consume(&mut self, count: usize) {
        self.sent += count;
        debug_assert!(self.sent <= self.bytes.len(), "only unsent bytes can be accepted");
        if self.is_empty() {
            self.bytes = Vec::new();
            self.sent = 0;
            // Shrinking a charge cannot fail.
            let _ = self.charge.resize(0);
        } else if self.sent >= self.bytes.len() / 2 {
            // A peer that never lets it run empty must not make it grow for ever.
            self.bytes.drain(..self.sent);
            self.sent = 0;
        }
    }
}
