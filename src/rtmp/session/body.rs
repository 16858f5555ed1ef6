//! Bodies of messages that are needed whole: commands, control, data, aggregates.
//!
//! A body that lies contiguous in the input is borrowed; else its pieces are gathered per chunk
//! stream. LIMIT: grows with the bytes that arrive, never by what the header announces, and every
//! byte is charged to the memory budget (N8, N9).

use std::sync::Arc;

use crate::budget::{Budget, Charge, OverBudget};
use crate::rtmp::chunk::{Piece, PieceBytes};

/// A complete, contiguous message body.
#[derive(Debug)]
pub enum Body<'a> {
    /// Contiguous in the input.
    Borrowed(&'a [u8]),
    /// Was assembled from several inputs or chunks; charged while it lives.
    Owned(Vec<u8>, Charge),
}

impl std::ops::Deref for Body<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Owned(bytes, _) => bytes,
        }
    }
}

impl Body<'_> {
    /// Types 15 and 17 begin with a format selector, 0: removed here. QUIRK: some encoders leave
    /// it out and begin with a string marker.
    #[must_use]
    pub fn without_selector(self) -> Self {
        match self {
            Self::Borrowed([0, rest @ ..]) => Self::Borrowed(rest),
            Self::Owned(mut bytes, charge) if bytes.first() == Some(&0) => {
                bytes.remove(0);
                Self::Owned(bytes, charge)
            }
            body => body,
        }
    }
}

#[derive(Debug)]
struct Partial {
    slot: usize,
    bytes: Vec<u8>,
    charge: Charge,
}

/// Unfinished bodies of one connection, by chunk-stream slot.
#[derive(Debug, Default)]
pub struct Partials {
    partials: Vec<Partial>,
}

impl Partials {
    /// Bytes held for the list of unfinished bodies.
    #[must_use]
    pub fn list_bytes(&self) -> usize {
        self.partials.capacity() * size_of::<Partial>()
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.partials.iter().map(|partial| partial.charge.bytes()).sum()
    }

    /// Forgets what has arrived on a slot.
    pub fn forget(&mut self, slot: usize) {
        self.partials.retain(|partial| partial.slot != slot);
    }

    /// Takes a piece; the body when it is complete.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn gather<'a>(
        &mut self,
        piece: &Piece<'a>,
        budget: &Arc<Budget>,
    ) -> Result<Option<Body<'a>>, OverBudget> {
        if piece.is_first() {
            self.forget(piece.slot);
            if let (true, PieceBytes::Borrowed(bytes)) = (piece.is_last(), piece.bytes) {
                return Ok(Some(Body::Borrowed(bytes)));
            }
            let charge = Charge::empty(budget);
            self.partials.push(Partial { slot: piece.slot, bytes: Vec::new(), charge });
        }
        let Some(at) = self.partials.iter().position(|partial| partial.slot == piece.slot) else {
            return Ok(None);
        };
        let Some(partial) = self.partials.get_mut(at) else { return Ok(None) };
        partial.append(&piece.bytes, piece.header.length as usize)?;
        if !piece.is_last() {
            return Ok(None);
        }
        let Partial { bytes, charge, .. } = self.partials.swap_remove(at);
        if self.partials.is_empty() {
            // Most connections have no second one: players would keep 208 bytes for nothing.
            self.partials = Vec::new();
        }
        Ok(Some(Body::Owned(bytes, charge)))
    }
}

impl Partial {
    fn append(&mut self, bytes: &[u8], length: usize) -> Result<(), OverBudget> {
        let needed = self.bytes.len() + bytes.len();
        if needed > self.bytes.capacity() {
            let capacity = (self.bytes.capacity() * 2).max(needed).min(length.max(needed));
            self.charge.resize(capacity)?;
            self.bytes.reserve_exact(capacity - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }
}
