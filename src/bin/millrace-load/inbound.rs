//! What one player gets: order, gaps, first frame, latency, and the checksum where it is checked.
//!
//! Frames follow each other by sequence number, modulo 2^32, from the first one that came. Beside
//! the highest number so far a window remembers which of the [`WINDOW`] numbers up to it came:
//!
//! ```text
//!   came:   5 6 . 8 9        next 10: in order       next 12: 10 and 11 are gaps
//!               ^ a gap      next 7: reordered, and no gap any more     next 8: reordered
//! ```
//! - *gap*: a frame that never came, each counted once.
//! - *reordered*: a frame whose number is not above the highest: late, or repeated.
//! - *corrupt*: a body without a stamp or with a wrong checksum. Nothing in it is believed but that
//!   it is there, so it stands for the frame that was due, and tells no latency.
//! - *backward*: a timestamp below that of the frame before; frames that are reordered do not count.

use millrace::media::tag::{self, TagClass};
use millrace::rtmp::session::{MediaKind, MediaPiece};

use crate::latency::Samples;
use crate::stamp::{Checksum, HEAD_BYTES, Stamp, TAG_HEADER_BYTES_MAX, Wrap};

/// So far back a late frame still closes the gap that it left.
const WINDOW: u32 = u128::BITS;

/// A stream that goes on for so long without any video has none, ms of its timestamps.
const VIDEO_WAIT_MS: u32 = 2_000;

/// Counters of one player.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Audio and video messages, sequence headers included.
    pub(crate) messages: u64,
    /// Their body bytes.
    pub(crate) bytes: u64,
    /// Frames that never came.
    pub(crate) gaps: u64,
    /// Frames that came late or again.
    pub(crate) reordered: u64,
    /// Bodies that are not what was sent.
    pub(crate) corrupt: u64,
    /// Bodies whose checksum was compared.
    pub(crate) verified: u64,
    /// Timestamps below the one before.
    pub(crate) backward: u64,
    /// The first frame was not a keyframe.
    pub(crate) bad_start: bool,
}

/// The message that is arriving.
#[derive(Debug)]
struct Message {
    head: [u8; HEAD_BYTES],
    head_len: usize,
    stamp: Option<Stamp>,
    checksum: Checksum,
}

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Inbound {
    stream: u32,
    checks_bytes: bool,
    /// `None`: nobody knows yet.
    has_video: Option<bool>,
    begun_us: Option<u64>,
    /// First frame of a stream without video so far: timestamp, and when it came, µs.
    first: Option<(u32, u64)>,
    message: Message,
    /// Highest sequence number so far.
    last: Option<u32>,
    /// Bit n: the frame n below `last` came, or is before the first.
    came: u128,
    last_timestamp: u32,
    /// Counters.
    pub(crate) tally: Tally,
}

/// When bytes came, µs of [`crate::clock::Clock`].
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Arrival {
    /// In the socket, as the kernel tells, or when they were read.
    pub(crate) at_us: u64,
    /// When this program saw that they are there.
    pub(crate) seen_us: u64,
    /// Whether the kernel has told.
    pub(crate) is_kernel: bool,
    /// Frames sent before are not measured.
    pub(crate) measured_from_us: Option<u64>,
}

impl Inbound {
    /// A player of the stream with this id that has got nothing yet. `has_video`: it has to begin
    /// with a keyframe; `None`: if there is video.
    pub(crate) fn new(stream: u32, checks_bytes: bool, has_video: Option<bool>) -> Self {
        let checksum = Checksum::default();
        let message = Message { head: [0; HEAD_BYTES], head_len: 0, stamp: None, checksum };
        let tally = Tally::default();
        Self {
            stream,
            checks_bytes,
            has_video,
            begun_us: None,
            first: None,
            message,
            last: None,
            came: u128::MAX,
            last_timestamp: 0,
            tally,
        }
    }

    /// Highest sequence number that it has got.
    pub(crate) fn last(&self) -> Option<u32> {
        self.last
    }

    /// When it got a keyframe, or a frame of a stream without video, µs.
    pub(crate) fn begun_us(&self) -> Option<u64> {
        self.begun_us
    }

    /// Takes body bytes. The server sends message by message, so pieces of one follow each other.
    pub(crate) fn take(&mut self, piece: &MediaPiece<'_>, arrival: Arrival, samples: &mut Samples) {
        if piece.is_first() {
            self.message.head_len = 0;
            self.message.stamp = None;
        }
        let body_len = piece.length as usize;
        let mut bytes: &[u8] = &piece.bytes;
        let head_wanted = body_len.min(HEAD_BYTES);
        if self.message.head_len < head_wanted {
            let (now, later) = bytes.split_at(bytes.len().min(head_wanted - self.message.head_len));
            bytes = later;
            if self.message.collect(now) == head_wanted {
                self.message.parse(piece.kind, head_wanted);
            }
        }
        if self.checks_bytes && self.message.stamp.is_some() {
            self.message.checksum.update(bytes);
        }
        if piece.is_last() {
            self.finish(piece, arrival, samples);
        }
    }

    fn finish(&mut self, piece: &MediaPiece<'_>, arrival: Arrival, samples: &mut Samples) {
        self.tally.messages += 1;
        self.tally.bytes += u64::from(piece.length);
        if piece.kind == MediaKind::Video {
            self.has_video.get_or_insert(true);
        }
        let head = self.message.head.get(..self.message.head_len).unwrap_or_default();
        let tag = tag::classify(piece.kind, head);
        // QUIRK: nginx with `wait_video on` begins with an audio message of no bytes; a frame that has
        // lost all of its bytes is a gap. Test: `tests/load_foreign.rs`.
        if tag.is_init() || piece.length == 0 {
            return;
        }
        self.tally.verified += u64::from(self.checks_bytes);
        let is_good = |stamp: &Stamp| {
            let is_whole = !self.checks_bytes || stamp.checksum == self.message.checksum.value();
            is_whole && stamp.stream == self.stream
        };
        let stamp = self.message.stamp.filter(is_good);
        let Some(stamp) = stamp else {
            self.tally.corrupt += 1;
            if let Some(last) = self.last {
                self.advance(last.wrapping_add(1));
            }
            return;
        };
        if tag.class == TagClass::Keyframe || self.has_video == Some(false) {
            self.begun_us.get_or_insert(arrival.at_us);
        }
        self.follow(stamp.sequence, tag.class, piece.timestamp);
        self.wait_for_video(piece.timestamp, arrival.at_us);
        if self.checks_bytes && arrival.measured_from_us.is_some_and(|from| stamp.sent_us >= from) {
            let rides = self.has_video != Some(false) && piece.kind == MediaKind::Audio;
            samples.add(stamp.sent_us, rides, arrival);
        }
    }

    /// Without video it has begun with its first frame.
    fn wait_for_video(&mut self, timestamp: u32, at_us: u64) {
        if self.has_video.is_some() {
            return;
        }
        let (from, from_us) = *self.first.get_or_insert((timestamp, at_us));
        if (VIDEO_WAIT_MS..1 << 31).contains(&timestamp.wrapping_sub(from)) {
            self.has_video = Some(false);
            self.begun_us = Some(from_us);
            self.tally.bad_start = false;
        }
    }

    fn follow(&mut self, sequence: u32, class: TagClass, timestamp: u32) {
        match self.last {
            None => {
                self.tally.bad_start = self.has_video != Some(false) && class != TagClass::Keyframe;
                self.last = Some(sequence);
            }
            Some(last) if last.wrapping_sub(sequence) < 1 << 31 => {
                self.tally.reordered += 1;
                return self.close_gap(last.wrapping_sub(sequence));
            }
            Some(_) => {
                let is_backward = timestamp.wrapping_sub(self.last_timestamp) >= 1 << 31;
                self.tally.backward += u64::from(is_backward);
                self.advance(sequence);
            }
        }
        self.last_timestamp = timestamp;
    }

    /// A frame above the highest came; those between are gaps until they come.
    fn advance(&mut self, sequence: u32) {
        let step = sequence.wrapping_sub(self.last.unwrap_or(sequence));
        self.came = self.came.checked_shl(step).unwrap_or(0) | 1;
        self.tally.gaps += u64::from(step.saturating_sub(1));
        self.last = Some(sequence);
    }

    /// A frame came that is `back` below the highest.
    fn close_gap(&mut self, back: u32) {
        if back < WINDOW {
            let bit = 1 << back;
            self.tally.gaps -= u64::from(self.came & bit == 0);
            self.came |= bit;
        }
    }
}

impl Message {
    /// Keeps bytes of the head; its length so far.
    fn collect(&mut self, bytes: &[u8]) -> usize {
        let end = self.head_len + bytes.len();
        if let Some(target) = self.head.get_mut(self.head_len..end) {
            target.copy_from_slice(bytes);
            self.head_len = end;
        }
        self.head_len
    }

    /// Reads the stamp and begins the checksum.
    fn parse(&mut self, kind: MediaKind, len: usize) {
        let head = self.head.get(..len).unwrap_or_default();
        let tag = tag::classify(kind, head);
        let at = tag.payload_offset;
        if at == 0 || at > TAG_HEADER_BYTES_MAX {
            return;
        }
        let Some((stamp, at)) = Stamp::parse(head, at, Wrap::of(kind, &tag)) else { return };
        self.checksum = Checksum::of_head(head, at);
        self.stamp = Some(stamp);
    }
}

#[cfg(test)]
mod tests {
    use millrace::rtmp::Msid;
    use millrace::rtmp::chunk::PieceBytes;

    use super::*;
    use crate::stamp::{STAMP_BYTES, stream_id};

    const KEY: [u8; 5] = [0x17, 1, 0, 0, 0];
    const INTER: [u8; 5] = [0x27, 1, 0, 0, 0];

    fn body(tag_header: &[u8], sequence: u32) -> Vec<u8> {
        let stamp = Stamp { stream: stream_id("s"), sequence, sent_us: 5, checksum: 0 };
        let kind = if tag_header[0] == 0xAF { MediaKind::Audio } else { MediaKind::Video };
        let wrap = Wrap::of(kind, &tag::classify(kind, tag_header));
        let mut body = Vec::new();
        stamp.emit(tag_header, wrap, b"codec data of a frame", &mut body);
        body
    }

    fn player(checks_bytes: bool) -> Inbound {
        Inbound::new(stream_id("s"), checks_bytes, Some(true))
    }

    /// Feeds a body cut at `cut`, as a message with `timestamp`.
    fn feed(inbound: &mut Inbound, body: &[u8], timestamp: u32, cut: usize) {
        let arrival = Arrival { at_us: 1000 * u64::from(timestamp), ..Arrival::default() };
        let mut offset = 0;
        for bytes in [&body[..cut], &body[cut..]] {
            if bytes.is_empty() {
                continue;
            }
            let kind = if body[0] == 0xAF { MediaKind::Audio } else { MediaKind::Video };
            let piece = MediaPiece {
                msid: Msid(1),
                kind,
                timestamp,
                length: u32::try_from(body.len()).unwrap(),
                slot: 0,
                offset,
                bytes: PieceBytes::Borrowed(bytes),
            };
            inbound.take(&piece, arrival, &mut Samples::default());
            offset += u32::try_from(bytes.len()).unwrap();
        }
    }

    fn faults(tally: &Tally) -> (u64, u64, u64, bool) {
        (tally.gaps, tally.corrupt, tally.backward, tally.bad_start)
    }

    /// Gaps, reordered, backward after frames with these numbers, each with its number as its
    /// timestamp.
    fn order(numbers: &[u32]) -> (u64, u64, u64) {
        let mut inbound = player(false);
        for &number in numbers {
            feed(&mut inbound, &body(&KEY, number), number, 0);
        }
        let Tally { gaps, reordered, backward, .. } = inbound.tally;
        (gaps, reordered, backward)
    }

    #[test]
    fn late_and_repeated_frames_are_reordered_and_only_missing_ones_are_gaps() {
        assert_eq!(order(&[1, 2, 4, 5]), (1, 0, 0));
        assert_eq!(order(&[1, 2, 6]), (3, 0, 0));
        assert_eq!(order(&[1, 3, 2, 4]), (0, 1, 0), "swapped");
        assert_eq!(order(&[1, 4, 3, 2, 5]), (0, 2, 0), "turned round");
        assert_eq!(order(&[1, 2, 2, 3]), (0, 1, 0), "repeated");
        assert_eq!(order(&[1, 3, 3, 2, 2, 4]), (0, 3, 0), "swapped, each repeated");
        assert_eq!(order(&[5, 4, 6]), (0, 1, 0), "from before the first: no gap was there");
        assert_eq!(order(&[u32::MAX, 1, 0, 2]), (0, 1, 0), "where numbers wrap");
        let far = WINDOW + 1;
        assert_eq!(order(&[1, far, 2]), (u64::from(far) - 3, 1, 0), "the window's far end");
        assert_eq!(order(&[1, far + 1, 2]), (u64::from(far) - 1, 1, 0), "beyond the window");
    }

    #[test]
    fn a_corrupt_frame_keeps_its_place() {
        for at in [30, 50, 5 + 24 + STAMP_BYTES] {
            let mut inbound = player(true);
            let mut bad = body(&INTER, 1);
            bad[at] ^= 0x40;
            feed(&mut inbound, &body(&KEY, 0), 0, 0);
            feed(&mut inbound, &bad, 33, 0);
            feed(&mut inbound, &body(&INTER, 2), 66, 0);
            assert_eq!(faults(&inbound.tally), (0, 1, 0, false), "byte {at}");
            assert_eq!((inbound.tally.reordered, inbound.last()), (0, Some(2)));
        }
    }

    #[test]
    fn a_whole_stream_has_no_fault_at_any_cut() {
        for cut in 0..body(&KEY, 0).len() {
            let mut inbound = player(true);
            feed(&mut inbound, &[0x17, 0, 0, 0, 0, 1], 0, 0);
            feed(&mut inbound, &body(&KEY, u32::MAX), 0, cut);
            feed(&mut inbound, &body(&[0xAF, 1], 0), 0, cut.min(40));
            feed(&mut inbound, &body(&INTER, 1), 33, cut);
            assert_eq!(faults(&inbound.tally), (0, 0, 0, false), "cut {cut}");
            assert_eq!((inbound.tally.messages, inbound.tally.verified), (4, 3));
            assert_eq!(inbound.last(), Some(1));
        }
    }

    #[test]
    fn every_wrong_byte_is_seen_by_a_player_that_checks() {
        let good = body(&KEY, 3);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x40;
            let mut inbound = player(true);
            feed(&mut inbound, &bad, 0, 0);
            let Tally { corrupt, bad_start, .. } = inbound.tally;
            // A byte of the tag header may also make it look like another kind of frame.
            assert!(corrupt > 0 || bad_start || inbound.last().is_none(), "byte {at}");
            assert!(corrupt > 0 || at < 2, "byte {at}");
        }
    }

    #[test]
    fn a_frame_of_another_stream_is_corrupt() {
        let mut inbound = Inbound::new(stream_id("other"), false, Some(true));
        feed(&mut inbound, &body(&KEY, 0), 0, 0);
        assert_eq!((inbound.tally.corrupt, inbound.begun_us()), (1, None));
    }

    #[test]
    fn a_player_has_begun_with_the_first_keyframe_and_without_video_with_any_frame() {
        let mut inbound = player(false);
        for (header, begun) in [(&[0xAF, 1][..], false), (&INTER, false), (&KEY, true)] {
            feed(&mut inbound, &body(header, u32::from(begun)), 0, 0);
            assert_eq!(inbound.begun_us().is_some(), begun, "{header:02x?}");
        }
        let mut inbound = Inbound::new(stream_id("s"), false, Some(false));
        feed(&mut inbound, &body(&[0xAF, 1], 0), 0, 0);
        assert!(inbound.begun_us().is_some());
    }

    #[test]
    fn a_stream_that_shows_no_video_for_2_s_began_with_its_first_frame() {
        let audio = |sequence| body(&[0xAF, 1], sequence);
        let begun_us = |has_video: Option<bool>, header: Option<[u8; 5]>| {
            let mut inbound = Inbound::new(stream_id("s"), false, has_video);
            for sequence in 0..=20 {
                let timestamp = 50 + 100 * sequence;
                if let Some(header) = header.filter(|_| sequence == 10) {
                    feed(&mut inbound, &header, timestamp, 0);
                }
                assert_eq!(inbound.begun_us(), None, "before {timestamp}");
                feed(&mut inbound, &audio(sequence), timestamp, 0);
            }
            assert_eq!(inbound.tally.bad_start, inbound.begun_us().is_none());
            inbound.begun_us()
        };
        assert_eq!(begun_us(None, None), Some(50_000));
        assert_eq!(begun_us(None, Some([0x17, 0, 0, 0, 0])), None, "there is video");
        assert_eq!(begun_us(Some(true), None), None, "there must be video");
    }

    #[test]
    fn a_missing_frame_is_a_gap_for_every_player() {
        let mut inbound = player(false);
        feed(&mut inbound, &body(&KEY, 0), 0, 0);
        feed(&mut inbound, &body(&INTER, 2), 66, 0);
        assert_eq!(faults(&inbound.tally), (1, 0, 0, false));
    }

    #[test]
    fn a_timestamp_that_goes_back_is_seen() {
        let mut inbound = player(false);
        feed(&mut inbound, &body(&KEY, 0), 40, 0);
        feed(&mut inbound, &body(&INTER, 1), 39, 0);
        assert_eq!(faults(&inbound.tally), (0, 0, 1, false));
    }

    #[test]
    fn a_stream_that_begins_with_an_inter_frame_is_seen() {
        let mut inbound = player(false);
        feed(&mut inbound, &body(&INTER, 0), 0, 0);
        assert_eq!(faults(&inbound.tally), (0, 0, 0, true));
    }
}
