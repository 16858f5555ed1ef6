//! What is known of each live stream: its name, and where its frames end on the wire.
//!
//! The *reference* of a stream is its first player: it parses everything. Its positions tell what a
//! drained player, whose bytes nobody looks at, must have got:
//!
//! ```text
//!   reference   | frame 7 | frame 8 | ping | frame 9 | frame 10 |      media bytes, pings left out
//!                         ^ 4000                              ^ 9000
//!   drained     parses to here, then only counts: 5000 bytes must follow until frame 10 has come
//! ```
//! All that a drained player gets is counted, so a missing frame is seen unless the control
//! messages it got meanwhile (a ping of 18 bytes in 30 s) are as long as the frame.
//! LIMIT: [`POSITIONS_MAX`] positions of a stream are kept: a player stops parsing at a frame that
//! is among them, or goes on parsing.

use std::collections::VecDeque;

use crate::stamp::stream_id;

/// Some 20 s of a synthetic stream; 16 bytes each.
const POSITIONS_MAX: usize = 1500;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Name.
    pub(crate) name: String,
    /// What its stamps call it.
    pub(crate) id: u32,
    /// Sequence number and wire position of the reference's frames, the newest last.
    positions: VecDeque<(u32, u64)>,
    /// The frame with which everything is there, once no more count, and where it ended.
    end: Option<(u32, Option<u64>)>,
}

impl Stream {
    /// The streams of a run: `name` when it is one, else `name-0` and up.
    pub(crate) fn all(name: &str, count: usize) -> Vec<Self> {
        let name = |index| if count > 1 { format!("{name}-{index}") } else { name.to_owned() };
        (0..count.max(1)).map(|index| Self::new(name(index))).collect()
    }

    fn new(name: String) -> Self {
        Self { id: stream_id(&name), name, positions: VecDeque::new(), end: None }
    }

    /// The reference has got a frame; `media_bytes` with it.
    pub(crate) fn add(&mut self, sequence: u32, media_bytes: u64) {
        if self.positions.len() == POSITIONS_MAX {
            self.positions.pop_front();
        }
        self.positions.push_back((sequence, media_bytes));
        if let Some((end, at @ None)) = &mut self.end
            && *end == sequence
        {
            *at = Some(media_bytes);
        }
    }

    /// Where the reference's frame with this number ended.
    pub(crate) fn position(&self, sequence: u32) -> Option<u64> {
        self.positions.iter().rev().find(|frame| frame.0 == sequence).map(|frame| frame.1)
    }

    /// Nobody needs a frame after this one; `None`: after the reference's last.
    pub(crate) fn end_at(&mut self, sequence: Option<u32>) {
        let newest = self.positions.back().map(|frame| frame.0);
        self.end = sequence.or(newest).map(|sequence| (sequence, self.position(sequence)));
    }

    /// Frames that a player which parses lacks at its end; 0 as long as nothing ends. One that has
    /// not begun lacks one.
    pub(crate) fn missing(&self, last: Option<u32>) -> u32 {
        match (self.end, last) {
            (Some((end, _)), Some(last)) => {
                let missing = end.wrapping_sub(last);
                if missing < 1 << 31 { missing } else { 0 }
            }
            (Some(_), None) => 1,
            (None, _) => 0,
        }
    }

    /// Nothing more comes: where the reference does not know the end, it has to do with what it got.
    pub(crate) fn settle(&mut self) {
        let newest = self.positions.back().map(|frame| frame.1);
        if let Some((_, at @ None)) = &mut self.end {
            *at = newest;
        }
    }

    /// Where the last frame that counts ended; `None`: the reference has not got it.
    pub(crate) fn end_position(&self) -> Option<u64> {
        self.end.and_then(|(_, position)| position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_late_frames_are_kept_and_bounded() {
        let mut stream = Stream::all("s", 1).remove(0);
        for frame in 0..5000_u32 {
            stream.add(u32::MAX.wrapping_add(frame), u64::from(frame) * 10);
        }
        assert_eq!(stream.position(4998), Some(49_990));
        assert_eq!(stream.position(7), None);
        assert_eq!(stream.positions.len(), POSITIONS_MAX);
    }

    #[test]
    fn the_end_is_where_the_reference_gets_its_frame() {
        let mut stream = Stream::all("s", 1).remove(0);
        stream.add(u32::MAX, 100);
        assert_eq!(stream.missing(None), 0, "as long as nothing ends");
        stream.end_at(Some(1));
        assert_eq!(stream.end_position(), None);
        let missing = [Some(u32::MAX), Some(0), Some(1), Some(2), None];
        assert_eq!(missing.map(|last| stream.missing(last)), [2, 1, 0, 0, 1]);
        stream.add(0, 200);
        stream.add(1, 300);
        stream.add(2, 400);
        assert_eq!(stream.end_position(), Some(300));
        stream.end_at(None);
        assert_eq!(stream.end_position(), Some(400), "the reference's last");
        stream.end_at(Some(9));
        assert_eq!(stream.end_position(), None);
        stream.settle();
        assert_eq!(stream.end_position(), Some(400), "as far as the reference came");
    }

    #[test]
    fn one_stream_has_the_bare_name() {
        let names = |count| Stream::all("s", count).into_iter().map(|s| s.name).collect::<Vec<_>>();
        assert_eq!(names(1), ["s"]);
        assert_eq!(names(0), ["s"]);
        assert_eq!(names(2), ["s-0", "s-1"]);
        assert_ne!(stream_id("s-0"), stream_id("s-1"));
    }
}
