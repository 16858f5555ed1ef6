//! FLV tags, borrowed from a slice, and tags appended to a buffer.
//!
//! For the demo clip, the load generator and tests. FLV 10.1, E.2 to E.4: an 11-byte tag header
//! (type, u24 size, u24 timestamp, its bits 24-31, u24 stream id), the body, and the u32 size of it
//! all. Owns no files.

use crate::rtmp::message::type_id;
use crate::rtmp::session::MediaKind;
use crate::rtmp::wire::{u24_be, u32_be};

/// One FLV tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlvTag<'a> {
    /// 8 audio, 9 video, 18 script.
    pub tag_type: u8,
    /// ms.
    pub timestamp: u32,
    /// Body.
    pub body: &'a [u8],
}

impl FlvTag<'_> {
    /// Audio, video or data; `None`: something that is not sent.
    #[must_use]
    pub fn kind(&self) -> Option<MediaKind> {
        match self.tag_type {
            type_id::AUDIO => Some(MediaKind::Audio),
            type_id::VIDEO => Some(MediaKind::Video),
            type_id::DATA_AMF0 => Some(MediaKind::Data),
            _ => None,
        }
    }
}

const TAG_HEADER_BYTES: usize = 11;

/// The tags of a whole FLV file in order; stops at the first truncated one. `None` if `file` is
/// not FLV.
pub fn tags(file: &[u8]) -> Option<impl Iterator<Item = FlvTag<'_>>> {
    if !file.starts_with(b"FLV\x01") {
        return None;
    }
    let data_offset = u32_be(file, 5)? as usize;
    let mut rest = file.get(data_offset.checked_add(4)?..)?;
    Some(std::iter::from_fn(move || {
        let size = u24_be(rest, 1)? as usize;
        let timestamp = u24_be(rest, 4)? | u32::from(*rest.get(7)?) << 24;
        let body = rest.get(TAG_HEADER_BYTES..TAG_HEADER_BYTES + size)?;
        let tag = FlvTag { tag_type: rest.first()? & 0x1F, timestamp, body };
        rest = rest.get(TAG_HEADER_BYTES + size + 4..).unwrap_or_default();
        Some(tag)
    }))
}

/// Appends a file header (flags audio, video) and the first PreviousTagSize.
pub fn emit_header(has_audio: bool, has_video: bool, out: &mut Vec<u8>) {
    let flags = u8::from(has_audio) << 2 | u8::from(has_video);
    out.extend_from_slice(&[b'F', b'L', b'V', 1, flags, 0, 0, 0, 9, 0, 0, 0, 0]);
}

/// Appends one tag and its PreviousTagSize. A body above 2^24 - 1 bytes is cut.
pub fn emit_tag(tag_type: u8, timestamp: u32, body: &[u8], out: &mut Vec<u8>) {
    let size = u32::try_from(body.len()).unwrap_or(u32::MAX).min(0x00FF_FFFF);
    let [_, size_bytes @ ..] = size.to_be_bytes();
    let [high, time @ ..] = timestamp.to_be_bytes();
    out.push(tag_type);
    out.extend_from_slice(&size_bytes);
    out.extend_from_slice(&time);
    out.extend_from_slice(&[high, 0, 0, 0]);
    out.extend_from_slice(body.get(..size as usize).unwrap_or(body));
    out.extend_from_slice(&(size + 11).to_be_bytes());
}
