//! Ring buffers for reading, preallocated per loop and leased per turn.
//!
//! A connection holds a ring only from a read until the parser has used everything up; it keeps it
//! over a turn only when the work budget stopped the parser and other rings are free. So an idle or
//! slow peer pins nothing (N12), a busy one takes no ring from others, and no ring is ever
//! allocated after start.
//!
//! ```text
//!   0      head        tail       capacity
//!   | free | unread... | free      |      readable: head..tail; with a wrap: head..end, 0..tail
//! ```

use std::io::{self, IoSliceMut, Read};

/// One ring buffer.
#[derive(Debug)]
pub struct Ring {
    bytes: Box<[u8]>,
    head: usize,
    len: usize,
}

impl Ring {
    fn new(capacity: usize) -> Self {
        Self { bytes: vec![0; capacity].into_boxed_slice(), head: 0, len: 0 }
    }

    /// Whether nothing is unread.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether there is no room to read into.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len == self.bytes.len()
    }

    /// Unread bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The unread bytes up to the wrap.
    #[must_use]
    pub fn readable(&self) -> &[u8] {
        let end = (self.head + self.len).min(self.bytes.len());
        self.bytes.get(self.head..end).unwrap_or_default()
    }

    /// Marks `count` bytes of [`Ring::readable`] as read.
    pub fn consume(&mut self, count: usize) {
        self.len -= count.min(self.len);
        self.head = if self.len == 0 { 0 } else { (self.head + count) % self.bytes.len() };
    }

    /// One vectored read into all free room. Returns the bytes read; 0 is the end of the stream.
    ///
    /// # Errors
    /// What the reader says.
    pub fn fill(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        let tail = self.head + self.len;
        let capacity = self.bytes.len();
        let read = if tail < capacity {
            let (before, after) = self.bytes.split_at_mut(tail);
            let wrapped = before.get_mut(..self.head).unwrap_or_default();
            reader.read_vectored(&mut [IoSliceMut::new(after), IoSliceMut::new(wrapped)])?
        } else {
            let free = self.bytes.get_mut(tail - capacity..self.head).unwrap_or_default();
            reader.read(free)?
        };
        self.len += read;
        Ok(read)
    }
}

/// The rings of one loop.
#[derive(Debug)]
pub struct RingPool {
    free: Vec<Ring>,
    total: usize,
    exhausted: u64,
}

impl RingPool {
    /// Allocates `count` rings of `capacity` bytes: the only allocation of rings there is.
    #[must_use]
    pub fn new(count: usize, capacity: usize) -> Self {
        let free = (0..count).map(|_| Ring::new(capacity)).collect();
        Self { free, total: count, exhausted: 0 }
    }

    /// A ring: one is always free, because nobody keeps the last one over a turn.
    pub fn lease(&mut self) -> Option<Ring> {
        debug_assert!(!self.free.is_empty(), "whoever keeps a ring leaves one for others");
        self.free.pop()
    }

    /// Whether another connection would find a ring now; else the shortage is counted.
    pub fn has_spare(&mut self) -> bool {
        self.exhausted += u64::from(self.free.is_empty());
        !self.free.is_empty()
    }

    /// Takes a ring back, whatever is left in it.
    pub fn give_back(&mut self, mut ring: Ring) {
        ring.consume(ring.len);
        self.free.push(ring);
        debug_assert!(self.free.len() <= self.total, "rings come from this pool only");
    }

    /// How often the last ring had to be given back with work left in it.
    #[must_use]
    pub fn exhausted(&self) -> u64 {
        self.exhausted
    }
}
