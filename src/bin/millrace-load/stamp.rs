//! The stamp in every published body: which stream and frame it is, when it was sent, a checksum.
//!
//! ```text
//!   | tag header 1-16 | wrap | "MLST" | stream 8 | number 8 | sent 16 | checksum 16 | wrap | codec data
//!                             `-- STAMP_BYTES of ASCII, numbers in hexadecimal ----'
//! ```
//! It is text, so no start code can arise in it, and wrapped so that a decoder passes over it
//! ([`Wrap`]). The checksum (FNV-1a, 64 bits) covers the whole body but itself. Sequence numbers
//! count audio and video frames together, so they show order and gaps of the whole stream. The time
//! is the wall clock's, so that whoever plays may be another process of this machine.

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
    u32::try_from(checksum.0 & 0xFFFF_FFFF).unwrap_or(0)
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
        emit_digits(u64::from(self.stream), 8, body);
        emit_digits(u64::from(self.sequence), 8, body);
        emit_digits(self.sent_us, 16, body);
        let mut checksum = Checksum::default();
        checksum.update(body);
        checksum.update(after);
        checksum.update(data);
        emit_digits(checksum.0, 16, body);
        body.extend_from_slice(after);
        body.extend_from_slice(data);
    }
}

/// FNV-1a over bytes in any pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checksum(pub(crate) u64);

impl Default for Checksum {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
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
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

fn emit_digits(number: u64, count: u32, out: &mut Vec<u8>) {
    for place in (0..count).rev() {
        let digit = u8::try_from(number >> (4 * place) & 0xF).unwrap_or(0);
        out.push(if digit < 10 { b'0' + digit } else { b'A' + digit - 10 });
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
