//! The slices of one vectored write: bounded in number and bytes, borrowed from where they lie.

use std::io::IoSlice;
use std::slice::IterMut;

use arrayvec::ArrayVec;

use crate::limits::{WRITE_BYTES_MAX, WRITE_HEADERS_MAX, WRITE_SLICES_MAX};
use crate::media::cursor::Pending;
use crate::media::frame::SHARED_MSID;
use crate::rtmp::Msid;
use crate::rtmp::chunk::header::HEADER_BYTES_MAX;

/// A type-0 header and how many of its bytes count.
type Header = ([u8; HEADER_BYTES_MAX], usize);

/// Room for the headers of frames that go to another msid than the one they are encoded for.
#[derive(Debug, Default)]
pub(super) struct Headers(ArrayVec<Header, WRITE_HEADERS_MAX>);

impl Headers {
    /// Without room the first frame for another msid cuts the batch.
    pub(super) fn make_room(&mut self) {
        while self.0.try_push(([0; HEADER_BYTES_MAX], 0)).is_ok() {}
    }
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    slices: ArrayVec<IoSlice<'a>, WRITE_SLICES_MAX>,
    bytes: usize,
    headers: IterMut<'a, Header>,
    is_cut: bool,
}

impl<'a> Batch<'a> {
    pub(super) fn new(headers: &'a mut Headers) -> Self {
        Self { slices: ArrayVec::new(), bytes: 0, headers: headers.0.iter_mut(), is_cut: false }
    }

    /// What to write.
    pub(super) fn slices(&self) -> &[IoSlice<'a>] {
        &self.slices
    }

    /// Bytes in all slices.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Something did not fit: nothing may be added any more, and there is more to write.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// Adds bytes; returns how many: all, or none and the batch is cut.
    pub(super) fn push(&mut self, bytes: &'a [u8]) -> usize {
        if bytes.is_empty() || self.is_cut {
            return 0;
        }
        let has_room = self.bytes < WRITE_BYTES_MAX;
        if !has_room || self.slices.try_push(IoSlice::new(bytes)).is_err() {
            self.is_cut = true;
            return 0;
        }
        self.bytes += bytes.len();
        bytes.len()
    }

    /// Adds what is pending of a frame for a player on `msid`; returns the bytes that fitted.
    pub(super) fn push_frame(&mut self, pending: Pending<'a>, msid: Msid) -> usize {
        let (header, mut skip) = self.patched(&pending, msid);
        let mut pushed = self.push(header);
        for segment in pending.frame.segments() {
            let from = skip.min(segment.len());
            skip -= from;
            pushed += self.push(segment.get(from..).unwrap_or_default());
        }
        pushed
    }

    /// What goes in place of the first bytes of the frame, and how many bytes of it are not sent.
    ///
    /// ```text
    ///   | header for msid 1 | body ...        another msid: | its own header | body ...
    ///     ^ skip                                              shared from here ^ skip
    /// ```
    fn patched(&mut self, pending: &Pending<'a>, msid: Msid) -> (&'a [u8], usize) {
        if msid == SHARED_MSID {
            return (&[], pending.offset);
        }
        let Some(slot) = self.headers.next() else {
            self.is_cut = true;
            return (&[], pending.offset);
        };
        *slot = pending.frame.patched_header(msid);
        let (bytes, len) = &*slot;
        let rest = bytes.get(pending.offset.min(*len)..*len).unwrap_or_default();
        (rest, pending.offset.max(*len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_cut_at_so_many_slices_or_bytes() {
        let bytes = vec![0; WRITE_BYTES_MAX];
        for (len, count) in [(1, WRITE_SLICES_MAX), (WRITE_BYTES_MAX / 4, 4)] {
            let mut headers = Headers::default();
            let mut batch = Batch::new(&mut headers);
            assert!((0..count).all(|_| batch.push(&bytes[..len]) == len));
            assert!(!batch.is_cut(), "{count} slices of {len} bytes");
            assert_eq!((batch.push(&bytes[..1]), batch.is_cut()), (0, true));
            assert_eq!((batch.slices().len(), batch.bytes()), (count, count * len));
        }
    }
}
