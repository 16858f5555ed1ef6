//! The player slots of one connection: mostly one, which then lies in the connection itself, where
//! the write for it finds it without another look at memory.

use std::ops::{Deref, DerefMut};

/// See the module documentation. Reads as a slice.
#[derive(Debug, Clone)]
pub enum PlayerSlots {
    /// One.
    One([usize; 1]),
    /// None, or as many as there are.
    Many(Vec<usize>),
}

impl Default for PlayerSlots {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl PlayerSlots {
    /// Adds a slot behind all others.
    pub fn push(&mut self, slot: usize) {
        match self {
            Self::Many(slots) if slots.is_empty() => *self = Self::One([slot]),
            Self::Many(slots) => slots.push(slot),
            Self::One([first]) => *self = Self::Many(vec![*first, slot]),
        }
    }

    /// Takes a slot out.
    pub fn remove(&mut self, slot: usize) {
        match self {
            Self::One([only]) if *only == slot => *self = Self::default(),
            Self::One(_) => {}
            Self::Many(slots) => slots.retain(|other| *other != slot),
        }
    }

    /// Bytes held beside the connection.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::One(_) => 0,
            Self::Many(slots) => slots.capacity() * size_of::<usize>(),
        }
    }
}

impl Deref for PlayerSlots {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        match self {
            Self::One(slot) => slot,
            Self::Many(slots) => slots,
        }
    }
}

impl DerefMut for PlayerSlots {
    fn deref_mut(&mut self) -> &mut [usize] {
        match self {
            Self::One(slot) => slot,
            Self::Many(slots) => slots,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_keep_their_order_however_many_there_are() {
        let mut slots = PlayerSlots::default();
        assert!(slots.is_empty());
        for count in 1..=5 {
            slots.push(count);
            assert_eq!(*slots, (1..=count).collect::<Vec<_>>()[..]);
            assert_eq!(slots.heap_bytes() > 0, count > 1);
        }
        slots.rotate_left(1);
        slots.remove(3);
        assert_eq!(*slots, [2, 4, 5, 1]);
        for slot in [9, 4, 5, 1, 2] {
            slots.remove(slot);
        }
        assert!(slots.is_empty());
        slots.push(7);
        slots.remove(9);
        assert_eq!(*slots, [7]);
        slots.remove(7);
        assert!(slots.is_empty());
    }
}
