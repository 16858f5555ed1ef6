//! What one player gets: order, gaps, first frame, latency, and the checksum where it is checked.

use millrace::media::tag::{self, TagClass};
use millrace::rtmp::session::{MediaKind, MediaPiece};

use crate::stamp::{Checksum, HEAD_BYTES, STAMP_BYTES, Stamp, TAG_HEADER_BYTES_MAX};
use crate::summary::Latencies;

/// Counters of one player.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Audio and video messages, sequence headers included.
    pub(crate) messages: u64,
    /// Their body bytes.
    pub(crate) bytes: u64,
    /// Places where sequence numbers do not follow each other.
    pub(crate) gaps: u64,
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
    checks_bytes: bool,
    has_video: bool,
    message: Message,
    /// Sequence number of the last frame.
    last: Option<u32>,
    last_timestamp: u32,
    /// Counters.
    pub(crate) tally: Tally,
}

/// Time of arrival, and from when on latencies count, both µs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival {
    /// Now.
    pub(crate) now_us: u64,
    /// Frames sent before are not measured.
    pub(crate) measured_from_us: Option<u64>,
}

impl Inbound {
    /// A player that has got nothing yet.
    pub(crate) fn new(checks_bytes: bool, has_video: bool) -> Self {
        let message =
            Message { head: [0; HEAD_BYTES], head_len: 0, stamp: None, checksum: Checksum(0) };
        let tally = Tally::default();
        Self { checks_bytes, has_video, message, last: None, last_timestamp: 0, tally }
    }

    /// Sequence number of the last frame it has got whole.
    pub(crate) fn last(&self) -> Option<u32> {
        self.last
    }

    /// Takes body bytes. The server sends message by message, so pieces of one follow each other.
    pub(crate) fn take(
        &mut self,
        piece: &MediaPiece<'_>,
        arrival: Arrival,
        latencies: &mut Latencies,
    ) {
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
            self.finish(piece, arrival, latencies);
        }
    }

    fn finish(&mut self, piece: &MediaPiece<'_>, arrival: Arrival, latencies: &mut Latencies) {
        self.tally.messages += 1;
        self.tally.bytes += u64::from(piece.length);
        let head = self.message.head.get(..self.message.head_len).unwrap_or_default();
        let tag = tag::classify(piece.kind, head);
        if tag.is_init() {
            return;
        }
        let Some(stamp) = self.message.stamp else {
            self.tally.corrupt += 1;
            return;
        };
        if self.checks_bytes {
            self.tally.verified += 1;
            self.tally.corrupt += u64::from(stamp.checksum != self.message.checksum.0);
        }
        self.follow(stamp.sequence, tag.class, piece.timestamp);
        if arrival.measured_from_us.is_some_and(|from| stamp.sent_us >= from) {
            latencies.add(arrival.now_us.saturating_sub(stamp.sent_us));
        }
    }

    fn follow(&mut self, sequence: u32, class: TagClass, timestamp: u32) {
        match self.last {
            None => self.tally.bad_start = self.has_video && class != TagClass::Keyframe,
            Some(last) => {
                self.tally.gaps += u64::from(sequence != last.wrapping_add(1));
                let is_backward = timestamp.wrapping_sub(self.last_timestamp) >= 1 << 31;
                self.tally.backward += u64::from(is_backward);
            }
        }
        self.last = Some(sequence);
        self.last_timestamp = timestamp;
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
        let at = tag::classify(kind, head).payload_offset;
        if at == 0 || at > TAG_HEADER_BYTES_MAX {
            return;
        }
        let Some(stamp) = Stamp::parse(head, at) else { return };
        let (tag_header, rest) = head.split_at(at);
        self.checksum = Checksum::begin(tag_header, stamp.sequence, stamp.sent_us);
        self.checksum.update(rest.get(STAMP_BYTES..).unwrap_or_default());
        self.stamp = Some(stamp);
    }
}

#[cfg(test)]
mod tests {
    use millrace::rtmp::Msid;
    use millrace::rtmp::chunk::PieceBytes;

    use super::*;
    use crate::stamp;

    const KEY: [u8; 5] = [0x17, 1, 0, 0, 0];
    const INTER: [u8; 5] = [0x27, 1, 0, 0, 0];

    fn body(tag_header: &[u8], sequence: u32) -> Vec<u8> {
        let mut body = Vec::new();
        stamp::emit(tag_header, sequence, 5, b"codec data of a frame", &mut body);
        body
    }

    /// Feeds a body cut at `cut`, as a message with `timestamp`.
    fn feed(inbound: &mut Inbound, body: &[u8], timestamp: u32, cut: usize) {
        let arrival = Arrival { now_us: 7, measured_from_us: None };
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
            inbound.take(&piece, arrival, &mut Latencies::default());
            offset += u32::try_from(bytes.len()).unwrap();
        }
    }

    fn faults(tally: &Tally) -> (u64, u64, u64, bool) {
        (tally.gaps, tally.corrupt, tally.backward, tally.bad_start)
    }

    #[test]
    fn a_whole_stream_has_no_fault_at_any_cut() {
        for cut in 0..body(&KEY, 0).len() {
            let mut inbound = Inbound::new(true, true);
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
            let mut inbound = Inbound::new(true, true);
            feed(&mut inbound, &bad, 0, 0);
            let Tally { corrupt, bad_start, .. } = inbound.tally;
            // A byte of the tag header may also make it look like another kind of frame.
            assert!(corrupt > 0 || bad_start || inbound.last().is_none(), "byte {at}");
            assert!(corrupt > 0 || at < 2, "byte {at}");
        }
    }

    #[test]
    fn a_missing_frame_is_a_gap_for_every_player() {
        let mut inbound = Inbound::new(false, true);
        feed(&mut inbound, &body(&KEY, 0), 0, 0);
        feed(&mut inbound, &body(&INTER, 2), 66, 0);
        assert_eq!(faults(&inbound.tally), (1, 0, 0, false));
    }

    #[test]
    fn a_timestamp_that_goes_back_is_seen() {
        let mut inbound = Inbound::new(false, true);
        feed(&mut inbound, &body(&KEY, 0), 40, 0);
        feed(&mut inbound, &body(&INTER, 1), 39, 0);
        assert_eq!(faults(&inbound.tally), (0, 0, 1, false));
    }

    #[test]
    fn a_stream_that_begins_with_an_inter_frame_is_seen() {
        let mut inbound = Inbound::new(false, true);
        feed(&mut inbound, &body(&INTER, 0), 0, 0);
        assert_eq!(faults(&inbound.tally), (0, 0, 0, true));
    }
}
