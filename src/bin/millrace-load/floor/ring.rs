//! The floor's ring of wire frames, and what one write offers of it.

use std::io::IoSlice;
use std::ops::Range;

use millrace::limits::WRITE_SLICES_MAX;

/// Frames in the ring, and the bytes each has room for before its buffer must grow.
pub(super) const FRAMES: u64 = 1024;
const FRAME_BYTES: usize = 32 * 1024;

/// Wire frames by number; the newest [`FRAMES`] are there.
pub(super) struct Ring {
    frames: Vec<Vec<u8>>,
    /// Number of the next frame.
    pub(super) head: u64,
    /// Players get the frames before this one.
    pub(super) sendable: u64,
}

/// What one write offers.
pub(super) struct Offer<'a> {
    slices: [IoSlice<'a>; WRITE_SLICES_MAX],
    len: usize,
    pub(super) bytes: usize,
    /// Its frames, by number.
    pub(super) frames: Range<u64>,
}

impl Ring {
    /// No frame, and room for all.
    pub(super) fn new() -> Self {
        let frames = (0..FRAMES).map(|_| Vec::with_capacity(FRAME_BYTES)).collect();
        Self { frames, head: 0, sendable: 0 }
    }

    /// A frame that is there.
    pub(super) fn frame(&self, number: u64) -> &[u8] {
        self.frames.get(index(number)).map_or(&[], Vec::as_slice)
    }

    /// Whether a frame was there and is no more.
    pub(super) fn has_lost(&self, number: u64) -> bool {
        number + FRAMES < self.head
    }

    /// The buffer of the next frame, which is in the ring from now on.
    pub(super) fn push(&mut self) -> Option<&mut Vec<u8>> {
        let buffer = self.frames.get_mut(index(self.head))?;
        self.head += 1;
        buffer.clear();
        Some(buffer)
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number % FRAMES).unwrap_or(0)
}

impl<'a> Offer<'a> {
    /// `first` and the frames from `next` on, as much as one write takes.
    pub(super) fn new(ring: &'a Ring, first: &'a [u8], next: u64) -> Self {
        let slices = [IoSlice::new(&[]); WRITE_SLICES_MAX];
        let mut offer = Self { slices, len: 0, bytes: 0, frames: next..next };
        offer.push(first);
        while offer.frames.end < ring.sendable && offer.len < WRITE_SLICES_MAX {
            offer.push(ring.frame(offer.frames.end));
            offer.frames.end += 1;
        }
        offer
    }

    fn push(&mut self, bytes: &'a [u8]) {
        if let Some(slice) = self.slices.get_mut(self.len).filter(|_| !bytes.is_empty()) {
            *slice = IoSlice::new(bytes);
            self.len += 1;
            self.bytes += bytes.len();
        }
    }

    /// What to write.
    pub(super) fn slices(&self) -> &[IoSlice<'a>] {
        self.slices.get(..self.len).unwrap_or_default()
    }
}
