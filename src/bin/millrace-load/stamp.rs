//! The stamp in every published body: which frame it is, when it was sent, and a checksum.
//!
//! ```text
//!   | tag header 1-16 | magic 4 | sequence 4 | sent 8 | checksum 8 | codec data ... |
//!                      `-- STAMP_BYTES, all big-endian ----------'
//! ```
//! The checksum (FNV-1a, 64 bits) covers the whole body but itself and the magic. Sequence numbers
//! count audio and video frames together, so they show order and gaps of the whole stream.

use millrace::rtmp::wire::u32_be;

const MAGIC: u32 = 0x4D4C_5354;

/// Bytes of a stamp.
pub(crate) const STAMP_BYTES: usize = 24;

/// Longest tag header that a stamp may follow.
pub(crate) const TAG_HEADER_BYTES_MAX: usize = 16;

/// So many bytes of a body tell everything but its checksum.
pub(crate) const HEAD_BYTES: usize = TAG_HEADER_BYTES_MAX + STAMP_BYTES;

/// The contents of a stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Number of the frame, from 0, modulo 2^32.
    pub(crate) sequence: u32,
    /// When it was sent, µs of the process's clock.
    pub(crate) sent_us: u64,
    /// What the body's checksum must be.
    pub(crate) checksum: u64,
}

impl Stamp {
    /// Reads the stamp at `at`; `None`: there is none.
    pub(crate) fn parse(body: &[u8], at: usize) -> Option<Self> {
        if u32_be(body, at)? != MAGIC {
            return None;
        }
        let sequence = u32_be(body, at + 4)?;
        Some(Self { sequence, sent_us: u64_be(body, at + 8)?, checksum: u64_be(body, at + 16)? })
    }
}

/// Appends tag header, stamp and codec data to `body`, which is empty.
pub(crate) fn emit(
    tag_header: &[u8],
    sequence: u32,
    sent_us: u64,
    data: &[u8],
    body: &mut Vec<u8>,
) {
    let mut checksum = Checksum::begin(tag_header, sequence, sent_us);
    checksum.update(data);
    body.extend_from_slice(tag_header);
    body.extend_from_slice(&MAGIC.to_be_bytes());
    body.extend_from_slice(&sequence.to_be_bytes());
    body.extend_from_slice(&sent_us.to_be_bytes());
    body.extend_from_slice(&checksum.0.to_be_bytes());
    body.extend_from_slice(data);
}

/// FNV-1a over bytes in any pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Checksum(pub(crate) u64);

impl Checksum {
    /// Of everything before the codec data.
    pub(crate) fn begin(tag_header: &[u8], sequence: u32, sent_us: u64) -> Self {
        let mut checksum = Self(0xCBF2_9CE4_8422_2325);
        checksum.update(tag_header);
        checksum.update(&sequence.to_be_bytes());
        checksum.update(&sent_us.to_be_bytes());
        checksum
    }

    /// The next bytes.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

fn u64_be(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from(u32_be(bytes, at)?) << 32 | u64::from(u32_be(bytes, at + 4)?))
}
