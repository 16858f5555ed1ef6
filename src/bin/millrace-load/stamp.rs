//! The stamp in every published body: which stream and frame it is, when it was sent, a checksum.
//!
//! ```text
//!   | tag header 1-16 | wrap | "MLST" | stream 8 | number 8 | sent 16 | checksum 16 | wrap | codec data
//!                             `-- STAMP_BYTES of ASCII, numbers in hexadecimal ----'
//! ```
//! It is text, so no start code can arise in it, and wrapped so that a decoder passes over it
//! ([`Wrap`]). The checksum (64 bits) covers the whole body but itself. Sequence numbers
//! count audio and video frames together, so they show order and gaps of the whole stream. The time
//! is the wall clock's, so that whoever plays may be another process of this machine.

use std::io::Write;

use millrace::media::tag::{Codec, Tag};
use millrace::rtmp::session::MediaKind;

const MAGIC: &[u8; 4] = b"MLST";
const CHECKSUM_DIGITS: usize = 16;
/// Bytes of a stamp.
pub(crate) const STAMP_BYTES: usize = MAGIC.len() + 8 + 8 + 16 + CHECKSUM_DIGITS;
/// Longest tag header that a stamp may follow.
pub(crate) const TAG_HEADER_BYTES_MAX: usize = 16;
/// So many bytes of a body tell everything but its checksum.
pub(crate) const HEAD_BYTES: usize = TAG_HEADER_BYTES_MAX + SEI.len() + STAMP_BYTES;

/// NAL length, SEI, user_data_unregistered (H.264 D.1.7), size, UUID; a trailing 0x80 ends it.
const SEI: &[u8; 23] = b"\0\0\0\x48\x06\x05\x44millrace-load-01";
const _: () = assert!(SEI[3] as usize == SEI.len() - 4 + STAMP_BYTES + 1);
const _: () = assert!(SEI[6] as usize == 16 + STAMP_BYTES);
/// An AAC data stream element (ISO 14496-3, 4.4.2.1): id, tag 0, byte-aligned, size.
const DATA_ELEMENT: &[u8; 2] = b"\x81\x34";
const _: () = assert!(DATA_ELEMENT[1] as usize == STAMP_BYTES);

/// What is around a stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrap {
    /// H.264: an SEI NAL unit of its own.
    Sei,
    /// AAC: a data stream element.
    DataElement,
    /// Any other codec: nothing; the body cannot be decoded.
    Nothing,
}

/// The contents of a stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// [`stream_id`] of the stream's name.
    pub(crate) stream: u32,
    /// Number of the frame, from 0, modulo 2^32.
    pub(crate) sequence: u32,
    /// When it was sent, µs of the wall clock.
    pub(crate) sent_us: u64,
    /// What the body's checksum must be.
    pub(crate) checksum: u64,
}

/// What the stamps of a stream call it.
pub(crate) fn stream_id(name: &str) -> u32 {
    let mut checksum = Checksum::default();
    checksum.update(name.as_bytes());
    u32::try_from(checksum.value() & 0xFFFF_FFFF).unwrap_or(0)
}

impl Wrap {
    /// How stamps lie in a body of this kind.
    pub(crate) fn of(kind: MediaKind, tag: &Tag) -> Self {
        match (kind, tag.codec) {
            (MediaKind::Video, Codec::Legacy(7)) => Self::Sei,
            (MediaKind::Audio, Codec::Legacy(10)) => Self::DataElement,
            _ => Self::Nothing,
        }
    }

    fn around(self) -> (&'static [u8], &'static [u8]) {
        match self {
            Self::Sei => (SEI, b"\x80"),
            Self::DataElement => (DATA_ELEMENT, b""),
            Self::Nothing => (b"", b""),
        }
    }
}

impl Stamp {
    /// Reads the stamp behind a tag header of `at` bytes; also where its checksum begins.
    pub(crate) fn parse(body: &[u8], at: usize, wrap: Wrap) -> Option<(Self, usize)> {
        let at = at + wrap.around().0.len();
        let text = body.get(at..at + STAMP_BYTES)?.strip_prefix(MAGIC)?;
        let number = |from: usize, to: usize| digits(text.get(from..to)?);
        let stamp = Self {
            stream: u32::try_from(number(0, 8)?).ok()?,
            sequence: u32::try_from(number(8, 16)?).ok()?,
            sent_us: number(16, 32)?,
            checksum: number(32, 48)?,
        };
        Some((stamp, at + STAMP_BYTES - CHECKSUM_DIGITS))
    }

    /// Appends tag header, this stamp and codec data to `body`, which is empty; the checksum is
    /// made here.
    pub(crate) fn emit(self, tag_header: &[u8], wrap: Wrap, data: &[u8], body: &mut Vec<u8>) {
        let (before, after) = wrap.around();
        body.extend_from_slice(tag_header);
        body.extend_from_slice(before);
        body.extend_from_slice(MAGIC);
        let Self { stream, sequence, sent_us, .. } = self;
        // Writing to memory does not fail, here and below.
        let _ = write!(body, "{stream:08X}{sequence:08X}{sent_us:016X}");
        let mut checksum = Checksum::default();
        checksum.update(body);
        checksum.update(after);
        checksum.update(data);
        let _ = write!(body, "{:016X}", checksum.value());
        body.extend_from_slice(after);
        body.extend_from_slice(data);
    }
}

/// A hash of bytes in any pieces, made of words of 8 bytes, each multiplied in as in FNV. Every
/// step can be undone, so one changed word always changes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checksum {
    hash: u64,
    /// Bytes that do not fill a word yet, and how many.
    rest: (u64, u32),
}

impl Default for Checksum {
    fn default() -> Self {
        Self { hash: 0xCBF2_9CE4_8422_2325, rest: (0, 0) }
    }
}

impl Checksum {
    /// Of the head of a body whose own checksum begins at `at`.
    pub(crate) fn of_head(head: &[u8], at: usize) -> Self {
        let mut checksum = Self::default();
        checksum.update(head.get(..at).unwrap_or(head));
        checksum.update(head.get(at + CHECKSUM_DIGITS..).unwrap_or_default());
        checksum
    }

    /// The next bytes.
    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while self.rest.1 > 0
            && let Some((&byte, more)) = bytes.split_first()
        {
            self.add_byte(byte);
            bytes = more;
        }
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.add_word(u64::from_be_bytes(*word));
        }
        rest.iter().for_each(|&byte| self.add_byte(byte));
    }

    /// The checksum.
    pub(crate) fn value(mut self) -> u64 {
        let (word, count) = self.rest;
        self.add_word(word ^ u64::from(count) << 56);
        self.hash
    }

    fn add_byte(&mut self, byte: u8) {
        let (word, count) = self.rest;
        self.rest = (word << 8 | u64::from(byte), count + 1);
        if self.rest.1 == 8 {
            self.add_word(self.rest.0);
            self.rest = (0, 0);
        }
    }

    fn add_word(&mut self, word: u64) {
        // Rotated, since a product carries nothing downwards.
        self.hash = (self.hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
}

/// The number; each value has one form only.
fn digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |number, &byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp =
        Stamp { stream: 0, sequence: 0x0102_0304, sent_us: 1_700_000_000_000_000, checksum: 0 };

    #[test]
    fn a_stamp_is_read_as_it_was_written_in_every_wrap() {
        for wrap in [Wrap::Sei, Wrap::DataElement, Wrap::Nothing] {
            let mut body = Vec::new();
            STAMP.emit(&[0x17, 1, 0, 0, 0], wrap, b"codec data", &mut body);
            let (stamp, at) = Stamp::parse(&body, 5, wrap).unwrap();
            assert_eq!(Stamp { checksum: 0, ..stamp }, STAMP);
            assert_eq!(stamp.checksum, Checksum::of_head(&body, at).value());
            assert_eq!(Stamp::parse(&body[..at], 5, wrap), None, "cut off");
        }
    }

    #[test]
    fn a_stamp_holds_no_start_code() {
        let mut body = Vec::new();
        let nothing = Stamp { stream: 0, sequence: 0, sent_us: 0, checksum: 0 };
        nothing.emit(&[], Wrap::Sei, b"", &mut body);
        let nal = &body[4..];
        assert_eq!(usize::from(body[3]), nal.len(), "the length in front");
        assert!(!nal.windows(2).any(|pair| pair == [0, 0]), "{nal:02x?}");
    }

    #[test]
    fn a_checksum_is_the_same_in_all_pieces_and_another_with_any_bit() {
        let bytes: Vec<u8> = (0..40).collect();
        let of = |bytes: &[u8]| {
            let mut checksum = Checksum::default();
            checksum.update(bytes);
            checksum.value()
        };
        for cut in 0..bytes.len() {
            let mut checksum = Checksum::default();
            checksum.update(&bytes[..cut]);
            checksum.update(&bytes[cut..cut + 1]);
            checksum.update(&bytes[cut + 1..]);
            assert_eq!(checksum.value(), of(&bytes), "cut at {cut}");
            assert_ne!(of(&bytes[..cut]), of(&bytes), "{cut} bytes");
            for bit in 0..8 {
                let mut other = bytes.clone();
                other[cut] ^= 1 << bit;
                assert_ne!(of(&other), of(&bytes));
                // The same bit again, a word on: neither undoes the other.
                let next = (cut + 8) % other.len();
                other[next] ^= 1 << bit;
                assert_ne!(of(&other), of(&bytes));
            }
        }
    }

    #[test]
    fn a_number_has_one_form() {
        assert_eq!(digits(b"00FF"), Some(255));
        assert_eq!((digits(b"00ff"), digits(b"+0FF")), (None, None));
    }
}
