//! Synthetic H.264 and AAC: grey pictures and silence that a decoder accepts, padded to any size.
//!
//! ```text
//!   video:  SEI (stamp) | SEI (padding) | slice        IDR: every macroblock DC; else all skipped
//!   audio:  data element (stamp) | data elements (padding) | channel pair without a line | END
//! ```
//! No padding byte is 0, so nothing in it looks like a start code. H.264 is baseline, CAVLC.

/// Width of the picture, pixels.
pub(crate) const WIDTH: u16 = 320;
/// Height, pixels.
pub(crate) const HEIGHT: u16 = 240;
const MACROBLOCKS: u32 = WIDTH as u32 / 16 * (HEIGHT as u32 / 16);

/// AudioSpecificConfig: AAC-LC, 44 100 Hz, two channels.
pub(crate) const AUDIO_CONFIG: [u8; 2] = [0x12, 0x10];
/// A channel pair of silence (no scale factor band in use), END, up to the byte.
const SILENCE: [u8; 6] = [0x21, 0, 0, 0, 0, 0x1C];
/// Least bytes of an SEI message of user data: its UUID.
const UUID_BYTES: usize = 16;

/// A slice of a whole picture, as a NAL unit with its length in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slice {
    /// A keyframe; neighbours differ in the number.
    Key {
        /// Counts keyframes.
        number: u64,
    },
    /// A frame that shows what the one before showed.
    Inter {
        /// Frames since the keyframe, from 1.
        number: u16,
    },
}

impl Slice {
    /// Appends it to `out`.
    pub(crate) fn emit(self, out: &mut Vec<u8>) {
        let mut bits = Bits::default();
        // first_mb_in_slice, slice_type (every slice of the picture is I, or P), PPS.
        match self {
            Self::Key { number } => {
                bits.golomb(0).golomb(7).golomb(0).put(0, 16);
                bits.golomb(u32::from(number % 2 == 1)); // idr_pic_id
                bits.put(0, 2); // dec_ref_pic_marking
            }
            // frame_num, no override of references, none reordered, none marked.
            Self::Inter { number } => {
                bits.golomb(0).golomb(5).golomb(0).put(u32::from(number), 16).put(0, 3);
            }
        }
        bits.golomb(0).golomb(1); // slice_qp_delta, no deblocking
        match self {
            // Intra 16x16 DC, chroma DC, no change of QP, no coefficient: 00100 1 1 1.
            Self::Key { .. } => (0..MACROBLOCKS).for_each(|_| {
                bits.put(0x27, 8);
            }),
            Self::Inter { .. } => {
                bits.golomb(MACROBLOCKS);
            }
        }
        let header = if matches!(self, Self::Key { .. }) { 0x65 } else { 0x41 };
        emit_nal(header, &bits.finish(), out);
    }
}

/// AVCDecoderConfigurationRecord.
pub(crate) fn avc_config() -> Vec<u8> {
    let (mut sequence, mut picture) = (Vec::new(), Vec::new());
    let mut bits = Bits::default();
    bits.put(0x42_C0_1E, 24).golomb(0).golomb(12); // baseline 3.0; 16 bits of frame_num
    bits.golomb(2).golomb(1).put(0, 1); // output in order of decoding; one reference
    bits.golomb(u32::from(WIDTH / 16 - 1)).golomb(u32::from(HEIGHT / 16 - 1));
    bits.put(0b1100, 4); // frames only, direct 8x8, no cropping, no VUI
    emit_nal(0x67, &bits.finish(), &mut sequence);
    let mut bits = Bits::default();
    bits.golomb(0).golomb(0).put(0, 2).golomb(0).golomb(0).golomb(0).put(0, 3);
    bits.golomb(0).golomb(0).golomb(0).put(0b100, 3); // QPs; deblocking is told in slices
    emit_nal(0x68, &bits.finish(), &mut picture);
    // NAL units with a length of 4 bytes, as here; the record's have 2.
    let [_, _, sequence @ ..] = &sequence[..] else { return Vec::new() };
    let [_, _, picture @ ..] = &picture[..] else { return Vec::new() };
    [&[1, 0x42, 0xC0, 0x1E, 0xFF, 0xE1], sequence, &[1], picture].concat()
}

/// Appends an SEI NAL unit of about `len` bytes; nothing where that is too short for one.
pub(crate) fn pad_video(len: usize, seed: u64, out: &mut Vec<u8>) {
    // NAL length, NAL header, payload type, size (a byte for each 255, and one), final 0x80.
    let size = len.saturating_sub(8) * 255 / 256;
    if size < UUID_BYTES {
        return;
    }
    let nal_bytes = size + size / 255 + 4;
    out.extend_from_slice(&u32::try_from(nal_bytes).unwrap_or(0).to_be_bytes());
    out.extend_from_slice(&[6, 5]);
    out.resize(out.len() + size / 255, 0xFF);
    out.push(u8::try_from(size % 255).unwrap_or(0));
    fill(seed, size, out);
    out.push(0x80);
}

/// Appends the rest of a raw data block, of about `len` bytes.
pub(crate) fn pad_audio(len: usize, seed: u64, out: &mut Vec<u8>) {
    let mut left = len.saturating_sub(SILENCE.len());
    while left > 3 {
        let size = (left - 3).min(510);
        let (count, more) = (size.min(255), size.saturating_sub(255));
        out.extend_from_slice(&[0x81, u8::try_from(count).unwrap_or(0)]);
        if count == 255 {
            out.push(u8::try_from(more).unwrap_or(0));
        }
        fill(seed ^ left as u64, size, out);
        left -= size + 3;
    }
    out.extend_from_slice(&SILENCE);
}

/// Appends `len` bytes that depend on `seed` and on their place (xorshift), none of them 0.
fn fill(seed: u64, len: usize, out: &mut Vec<u8>) {
    let end = out.len() + len;
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while out.len() < end {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&(state | 0x0101_0101_0101_0101).to_be_bytes());
    }
    out.truncate(end);
}

/// A NAL unit: length, header, payload with emulation prevention (H.264 7.4.1).
fn emit_nal(header: u8, payload: &[u8], out: &mut Vec<u8>) {
    let at = out.len();
    out.extend_from_slice(&[0, 0, 0, 0, header]);
    let mut zeros = 0;
    for &byte in payload {
        if zeros == 2 && byte <= 3 {
            out.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        out.push(byte);
    }
    let len = u32::try_from(out.len() - at - 4).unwrap_or(0);
    if let Some(field) = out.get_mut(at..at + 4) {
        field.copy_from_slice(&len.to_be_bytes());
    }
}

/// Writes bits, the most significant first.
#[derive(Debug, Default)]
struct Bits {
    bytes: Vec<u8>,
    /// Bits that do not fill a byte yet, and how many.
    rest: (u32, u32),
}

impl Bits {
    /// The `count` low bits of `value`.
    fn put(&mut self, value: u32, count: u32) -> &mut Self {
        for place in (0..count).rev() {
            let (bits, have) = self.rest;
            self.rest = (bits << 1 | value >> place & 1, have + 1);
            if have == 7 {
                self.bytes.push(u8::try_from(self.rest.0).unwrap_or(0));
                self.rest = (0, 0);
            }
        }
        self
    }

    /// Exp-Golomb, unsigned (H.264 9.1); 0 is the same in the signed form.
    fn golomb(&mut self, value: u32) -> &mut Self {
        let bits = (value + 1).ilog2();
        self.put(0, bits).put(value + 1, bits + 1)
    }

    /// A 1 and zeros up to the byte.
    fn finish(mut self) -> Vec<u8> {
        self.put(1, 1);
        while self.rest.1 > 0 {
            self.put(0, 1);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NAL units with 4 bytes of length.
    fn nals(mut bytes: &[u8]) -> Vec<&[u8]> {
        let mut nals = Vec::new();
        while !bytes.is_empty() {
            let len = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
            nals.push(&bytes[4..4 + len]);
            bytes = &bytes[4 + len..];
        }
        nals
    }

    fn has_start_code(nal: &[u8]) -> bool {
        nal.windows(3).any(|three| three[0] == 0 && three[1] == 0 && three[2] < 3)
    }

    #[test]
    fn no_slice_and_no_padding_holds_a_start_code() {
        let mut bytes = Vec::new();
        for number in 0..3000 {
            Slice::Inter { number }.emit(&mut bytes);
        }
        Slice::Key { number: 0 }.emit(&mut bytes);
        Slice::Key { number: 1 }.emit(&mut bytes);
        pad_video(5000, 7, &mut bytes);
        let nals = nals(&bytes);
        assert_eq!(nals.len(), 3003);
        assert!(!nals.iter().any(|nal| has_start_code(nal)));
        assert_ne!(nals[3000], nals[3001], "neighbouring keyframes differ");
    }

    #[test]
    fn padding_has_the_length_that_is_wanted() {
        for len in [0, 24, 25, 30, 263, 264, 300, 1000, 70_000] {
            let (mut video, mut audio) = (Vec::new(), Vec::new());
            pad_video(len, 1, &mut video);
            pad_audio(len, 1, &mut audio);
            let least = if len < 25 { 0 } else { len - 2 };
            assert!((least..=len).contains(&video.len()), "{len}: {}", video.len());
            let audio_len = audio.len();
            assert!((len.saturating_sub(200)..=len.max(SILENCE.len())).contains(&audio_len));
            nals(&video);
        }
    }

    #[test]
    fn zeros_in_a_nal_unit_are_broken_up() {
        let mut out = Vec::new();
        emit_nal(0x41, &[0, 0, 0, 0, 0, 1, 0, 0, 4], &mut out);
        assert_eq!(out, [0, 0, 0, 12, 0x41, 0, 0, 3, 0, 0, 3, 0, 1, 0, 0, 4]);
    }

    #[test]
    fn numbers_are_written_in_exp_golomb() {
        let mut bits = Bits::default();
        // 1 010 00111 00000000100000001, then the final 1.
        bits.golomb(0).golomb(1).golomb(6).golomb(256);
        assert_eq!(bits.finish(), [0b1010_0011, 0b1000_0000, 0b0100_0000, 0b0110_0000]);
    }
}
