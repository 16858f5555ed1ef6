//! The memory sum: what the process takes at start, by part.

use std::fmt;

/// Bytes of what there is one of per loop, mailbox message and connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnitBytes {
    /// A loop with its buffers, without rings and mailbox.
    pub event_loop: usize,
    /// A place in a mailbox.
    pub letter: usize,
    /// A connection with its session.
    pub connection: usize,
}

/// Memory that is taken at start and never given back, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedMemory {
    /// The loops themselves.
    pub loops: usize,
    /// Read buffers of all loops.
    pub rings: usize,
    /// Mailboxes of all loops.
    pub mailboxes: usize,
    /// Slab entries of all connections.
    pub connections: usize,
    /// What the allocator is left with: it cannot give back free blocks between used ones. Under
    /// attack the process was 1.36 times as large as what was charged.
    pub allocator: usize,
}

impl FixedMemory {
    /// The sum.
    #[must_use]
    pub fn total(&self) -> usize {
        let parts = [self.loops, self.rings, self.mailboxes, self.connections, self.allocator];
        parts.into_iter().fold(0, usize::saturating_add)
    }
}

impl fmt::Display for FixedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { loops, rings, mailboxes, connections, allocator } = self;
        write!(
            f,
            "{} bytes (loops {loops}, rings {rings}, mailboxes {mailboxes}, connections \
             {connections}, allocator {allocator})",
            self.total()
        )
    }
}
