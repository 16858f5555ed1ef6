//! Frames: one media message, already chunked for the wire, shared by everybody who sends it.
//!
//! Owns the wire image of a message: type-0 header (absolute timestamp, fixed csid per kind,
//! msid 1), then payload with a type-3 header after every chunk, the extended timestamp repeated.
//! No header depends on an earlier message, so every join, drop and skip point is valid and one
//! image serves every player, the log and later the recorder. Does not own order, caching or
//! sockets. Entry points: [`FrameBuilder`] (bytes -> frame), [`Frame::segments`] (frame -> wire).
//!
//! ```text
//!   segment 0                                      segment 1 (next when bytes arrive)
//!   | type-0 header | payload ... | c6 | payload | | payload ... | c6 | payload |
//! ```
//!
//! INVARIANT: a segment never moves or grows past its capacity, and its capacity is at most
//! 4 KiB, twice what has arrived, or what is at hand now (N9: nothing on a peer's word).

use std::sync::Arc;

use super::tag::{self, Tag};
use crate::budget::{Budget, Charge, OverBudget};
use crate::limits::{FRAME_SEGMENT_BYTES_MAX, FRAME_SEGMENT_BYTES_MIN};
use crate::rtmp::amf0;
use crate::rtmp::chunk::MessageHeader;
use crate::rtmp::chunk::header::{HEADER_BYTES_MAX, continuation_header, type_0_header};
use crate::rtmp::message::type_id;
use crate::rtmp::session::MediaKind;
use crate::rtmp::{Csid, Msid};

/// The message stream id in every shared image; servers answer the first createStream with 1.
pub const SHARED_MSID: Msid = Msid(1);

/// Bytes charged per frame beside its segments: the `Arc`, the struct, log entries.
const FRAME_OVERHEAD_BYTES: usize = size_of::<Frame>() + 64;

/// Bytes of a data message that hold its name: marker, length, name.
const DATA_NAME_PREFIX: usize = 3 + 256;

/// Prefix of a body that classification may need when it speaks of several tracks, in bytes: as
/// much as the smallest first segment holds, so that usually nothing has to be gathered.
const PREFIX_BYTES: usize = FRAME_SEGMENT_BYTES_MIN - HEADER_BYTES_MAX;

/// One media message, encoded once per process.
#[derive(Debug)]
pub struct Frame {
    header: MessageHeader,
    kind: MediaKind,
    tag: Tag,
    chunk_size: u32,
    data_frame: bool,
    /// Of a data frame: what it is called.
    name: Option<Box<[u8]>>,
    first: Vec<u8>,
    rest: Vec<Vec<u8>>,
    _charge: Charge,
}

impl Frame {
    /// Audio, video or data.
    #[must_use]
    pub fn kind(&self) -> MediaKind {
        self.kind
    }

    /// What the body is.
    #[must_use]
    pub fn tag(&self) -> &Tag {
        &self.tag
    }

    /// Outgoing timestamp, ms modulo 2^32.
    #[must_use]
    pub fn timestamp(&self) -> u32 {
        self.header.timestamp
    }

    /// Body length in bytes.
    #[must_use]
    pub fn payload_bytes(&self) -> usize {
        self.header.length as usize
    }

    /// Whether late joiners need this data message: onMetaData or a frame set by `@setDataFrame`.
    #[must_use]
    pub fn is_data_frame(&self) -> bool {
        self.data_frame
    }

    /// The name a data frame begins with, for telling data frames apart.
    #[must_use]
    pub fn data_name(&self) -> Option<&[u8]> {
        self.name.as_deref()
    }

    /// Bytes on the wire, headers included.
    #[must_use]
    pub fn wire_bytes(&self) -> usize {
        self.first.len() + self.rest.iter().map(Vec::len).sum::<usize>()
    }

    /// Bytes charged to the memory budget, overhead included.
    #[must_use]
    pub fn charged_bytes(&self) -> usize {
        self._charge.bytes()
    }

    /// The wire image in order.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        std::iter::once(self.first.as_slice()).chain(self.rest.iter().map(Vec::as_slice))
    }

    /// The type-0 header of the image with another message stream id, and its length in bytes:
    /// whoever plays on that msid sends it in place of the first bytes of the image.
    #[must_use]
    pub fn patched_header(&self, msid: Msid) -> ([u8; HEADER_BYTES_MAX], usize) {
        type_0_header(&MessageHeader { msid, ..self.header })
    }

    /// The body in contiguous pieces, chunk headers left out.
    pub fn payload(&self) -> impl Iterator<Item = &[u8]> {
        let header = type_0_header(&self.header).1;
        let continuation = continuation_header(self.header.csid, self.header.timestamp).1;
        let chunk = self.chunk_size as usize;
        let mut skip = header;
        let mut chunk_left = chunk;
        self.segments().flat_map(move |mut segment| {
            let mut pieces = Vec::new();
            while !segment.is_empty() {
                let skipped = skip.min(segment.len());
                skip -= skipped;
                segment = segment.get(skipped..).unwrap_or_default();
                let (piece, after) = segment.split_at(chunk_left.min(segment.len()));
                if !piece.is_empty() {
                    pieces.push(piece);
                }
                chunk_left -= piece.len();
                segment = after;
                if chunk_left == 0 {
                    (skip, chunk_left) = (continuation, chunk);
                }
            }
            pieces
        })
    }

    /// Whether both bodies are equal.
    #[must_use]
    pub fn payload_equals(&self, other: &Self) -> bool {
        self.header.length == other.header.length
            && self.payload().flatten().eq(other.payload().flatten())
    }

    /// The same body with another timestamp: sequence headers are re-stamped for joiners, once
    /// per GOP and loop.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn restamped(&self, timestamp: u32, budget: &Arc<Budget>) -> Result<Self, OverBudget> {
        let mut builder =
            FrameBuilder::begin(self.kind, timestamp, self.header.length, self.chunk_size, budget);
        for piece in self.payload() {
            builder.append(piece)?;
        }
        if self.data_frame {
            builder = builder.data_frame()?;
        }
        Ok(builder.finish())
    }
}

/// Builds a [`Frame`] from body bytes as they arrive.
#[derive(Debug)]
pub struct FrameBuilder {
    frame: Frame,
    chunk_left: u32,
    wire_left: usize,
}

impl FrameBuilder {
    /// Begins a message of `length` body bytes. Reserves nothing yet.
    #[must_use]
    pub fn begin(
        kind: MediaKind,
        timestamp: u32,
        length: u32,
        chunk_size: u32,
        budget: &Arc<Budget>,
    ) -> Self {
        let header = MessageHeader { length, ..shared_header(kind, timestamp) };
        let continuations = length.saturating_sub(1) / chunk_size;
        let wire_left = type_0_header(&header).1
            + length as usize
            + continuations as usize * continuation_header(header.csid, timestamp).1;
        let frame = Frame {
            header,
            kind,
            tag: tag::classify(kind, &[]),
            chunk_size,
            data_frame: false,
            name: None,
            first: Vec::new(),
            rest: Vec::new(),
            _charge: Charge::empty(budget),
        };
        Self { frame, chunk_left: chunk_size, wire_left }
    }

    /// Bytes held so far, capacity included.
    #[must_use]
    pub fn charged_bytes(&self) -> usize {
        self.frame._charge.bytes()
    }

    /// Copies body bytes to their final place: the only copy of media in user space.
    ///
    /// # Errors
    /// [`OverBudget`]; the builder is then useless.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), OverBudget> {
        if self.frame.first.capacity() == 0 {
            let (header, len) = type_0_header(&self.frame.header);
            self.put(header.get(..len).unwrap_or_default(), bytes.len())?;
        }
        while !bytes.is_empty() {
            if self.chunk_left == 0 {
                let header = self.frame.header;
                let (continuation, len) = continuation_header(header.csid, header.timestamp);
                self.put(continuation.get(..len).unwrap_or_default(), bytes.len())?;
                self.chunk_left = self.frame.chunk_size;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.chunk_left as usize));
            self.put(now, later.len())?;
            self.chunk_left -= u32::try_from(now.len()).unwrap_or(0);
            bytes = later;
        }
        Ok(())
    }

    /// Marks a complete data message that late joiners need. Its name is read once, here: every
    /// data frame that follows is compared with it.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn data_frame(mut self) -> Result<Self, OverBudget> {
        self.frame.name = read_name(&self.frame);
        let charge = &mut self.frame._charge;
        charge.resize(charge.bytes() + self.frame.name.as_ref().map_or(0, |name| name.len()))?;
        self.frame.data_frame = true;
        Ok(self)
    }

    /// The finished frame; the caller has appended exactly `length` bytes.
    #[must_use]
    pub fn finish(mut self) -> Frame {
        debug_assert_eq!(self.wire_left, 0, "a frame is finished when its last byte is there");
        self.frame.tag = classify(&self.frame);
        self.frame
    }

    /// Appends wire bytes; `at_hand` more payload bytes are known to follow right now.
    fn put(&mut self, mut bytes: &[u8], at_hand: usize) -> Result<(), OverBudget> {
        while !bytes.is_empty() {
            let segment = self.frame.rest.last_mut().unwrap_or(&mut self.frame.first);
            let room = segment.capacity() - segment.len();
            if room == 0 {
                self.grow(bytes.len() + at_hand)?;
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(room));
            segment.extend_from_slice(now);
            self.wire_left = self.wire_left.saturating_sub(now.len());
            bytes = later;
        }
        Ok(())
    }

    /// Adds a segment for at most what is left of the message.
    fn grow(&mut self, at_hand: usize) -> Result<(), OverBudget> {
        let arrived = self.frame.wire_bytes();
        let headers = HEADER_BYTES_MAX + at_hand / self.frame.chunk_size as usize * 7;
        let wanted = (at_hand + headers)
            .max(arrived * 2)
            .clamp(FRAME_SEGMENT_BYTES_MIN, FRAME_SEGMENT_BYTES_MAX);
        let size = wanted.min(self.wire_left);
        let charge = &mut self.frame._charge;
        let overhead =
            if charge.bytes() == 0 { FRAME_OVERHEAD_BYTES } else { size_of::<Vec<u8>>() };
        charge.resize(charge.bytes() + size + overhead)?;
        let segment = Vec::with_capacity(size);
        if self.frame.first.capacity() == 0 {
            self.frame.first = segment;
        } else {
            self.frame.rest.push(segment);
        }
        Ok(())
    }
}

/// The message header of every image of `kind`, its length left open.
#[must_use]
pub fn shared_header(kind: MediaKind, timestamp: u32) -> MessageHeader {
    let (csid, message_type) = match kind {
        MediaKind::Audio => (Csid(6), type_id::AUDIO),
        MediaKind::Video => (Csid(7), type_id::VIDEO),
        MediaKind::Data => (Csid(5), type_id::DATA_AMF0),
    };
    MessageHeader { csid, timestamp, length: 0, message_type, msid: SHARED_MSID }
}

/// Classifies from the first contiguous piece, or from a gathered prefix where that is too short.
fn classify(frame: &Frame) -> Tag {
    let header = type_0_header(&frame.header).1;
    let end = frame.first.len().min(header + frame.chunk_size as usize);
    let first = frame.first.get(header..end).unwrap_or_default();
    if first.len() == frame.payload_bytes() || first.len() >= PREFIX_BYTES {
        return tag::classify(frame.kind, first);
    }
    let mut prefix = Vec::with_capacity(PREFIX_BYTES.min(frame.payload_bytes()));
    for piece in frame.payload() {
        let room = PREFIX_BYTES - prefix.len();
        prefix.extend_from_slice(piece.get(..room.min(piece.len())).unwrap_or_default());
    }
    tag::classify(frame.kind, &prefix)
}

/// The string at the beginning of a data message.
fn read_name(frame: &Frame) -> Option<Box<[u8]>> {
    let body: Vec<u8> = frame.payload().flatten().copied().take(DATA_NAME_PREFIX).collect();
    match amf0::Reader::new(&body).next() {
        Ok(Some(amf0::Value::String(name))) => Some(name.into()),
        _ => None,
    }
}
