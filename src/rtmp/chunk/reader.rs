//! The chunk reader: resumes at any byte, yields body pieces borrowed from the input.
//!
//! Owns the state of every chunk stream of one connection and the bytes of an unfinished header
//! (at most 18). Never holds body bytes: who assembles them keys them by [`Piece::slot`]. Rules:
//! RTMP 1.0, 5.3, and what real senders do beside it (the `QUIRK:` comments).
//!
//! ```text
//!   input:  | header | body of chunk .......... | header | body ...
//!   yields:            Piece{slot, offset, ..}             Piece{..}
//! ```
//!
//! INVARIANT: `read` uses up its whole input before it returns `None`.

use super::HEADER_BYTES_MAX;
use super::header::EXTENDED;
use super::piece::{MessageLimits, Piece, PieceBytes};
use super::stream::ChunkStream;
use crate::limits::{CHUNK_SIZE_INITIAL, CHUNK_SIZE_MAX, CHUNK_STREAMS_MAX};
use crate::rtmp::ProtocolError;
use crate::rtmp::wire::{u24_be, u32_be};

/// A type-3 start may carry a new absolute extended timestamp this far ahead, ms.
const TYPE_3_ABSOLUTE_WINDOW_MS: u32 = 65_535;
/// So many repeated extended timestamps in a row prove that the peer repeats them.
const REPEATS_PROVEN: u8 = 3;

/// Whether the peer repeats extended timestamps in type-3 headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeats {
    /// Not known; so many matches in a row.
    Unknown(u8),
    Yes,
    No,
}

/// See the module documentation.
#[derive(Debug)]
pub struct ChunkReader {
    limits: MessageLimits,
    chunk_size: u32,
    streams: Vec<ChunkStream>,
    header: [u8; HEADER_BYTES_MAX],
    header_len: u8,
    /// Bytes taken for an extended timestamp that belong to what follows, from an earlier input.
    pushback: [u8; 4],
    pushback_len: u8,
    repeats: Repeats,
    /// Stream and bytes left of the chunk whose body comes next.
    body: Option<(usize, u32)>,
}

/// The parts of a header, once it is complete.
#[derive(Debug, Clone, Copy)]
struct Parsed {
    chunk_type: u8,
    csid: u32,
    /// Bytes of the basic header.
    basic: usize,
}

impl ChunkReader {
    /// A reader at the first chunk, chunk size 128.
    #[must_use]
    pub fn new(limits: MessageLimits) -> Self {
        Self {
            limits,
            chunk_size: CHUNK_SIZE_INITIAL,
            streams: Vec::new(),
            header: [0; HEADER_BYTES_MAX],
            header_len: 0,
            pushback: [0; 4],
            pushback_len: 0,
            repeats: Repeats::Unknown(0),
            body: None,
        }
    }

    /// The next piece, or `None` when `input` is used up (it always is then: unfinished headers
    /// are kept inside). `input` is advanced.
    ///
    /// # Errors
    /// Any chunk-level [`ProtocolError`]; the reader must not be used afterwards.
    pub fn read<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, ProtocolError> {
        loop {
            if let Some((slot, left)) = self.body {
                return Ok(self.read_body(slot, left, input));
            }
            let Some(parsed) = self.collect_header(input) else { return Ok(None) };
            let slot = self.stream_slot(&parsed)?;
            self.apply(slot, &parsed)?;
            self.header_len = 0;
            if let Some(empty) = self.begin_chunk(slot) {
                return Ok(Some(empty));
            }
        }
    }

    /// The peer's Set Chunk Size (clamped to 0xFFFFFF; top bit masked). In force from the next
    /// chunk header, also for messages already begun.
    ///
    /// # Errors
    /// [`ProtocolError::ZeroChunkSize`].
    pub fn set_chunk_size(&mut self, size: u32) -> Result<(), ProtocolError> {
        match size & 0x7FFF_FFFF {
            0 => Err(ProtocolError::ZeroChunkSize),
            size => {
                self.chunk_size = size.min(CHUNK_SIZE_MAX);
                Ok(())
            }
        }
    }

    /// Bytes held for the chunk streams seen so far.
    #[must_use]
    pub fn state_bytes(&self) -> usize {
        self.streams.capacity() * size_of::<ChunkStream>()
    }

    /// The peer's Abort: forgets the partial message on `csid`. Returns its slot if there was one.
    pub fn abort(&mut self, csid: u32) -> Option<usize> {
        let slot = self.streams.iter().position(|stream| stream.csid == csid)?;
        let stream = self.streams.get_mut(slot)?;
        std::mem::take(&mut stream.in_message).then_some(slot)
    }

    /// Body bytes of the current chunk, as many as are there.
    fn read_body<'a>(&mut self, slot: usize, left: u32, input: &mut &'a [u8]) -> Option<Piece<'a>> {
        let wanted = left as usize;
        let bytes = if self.pushback_len > 0 {
            self.take_pushback(wanted)
        } else if input.is_empty() {
            return None;
        } else {
            let (bytes, rest) = input.split_at(wanted.min(input.len()));
            *input = rest;
            PieceBytes::Borrowed(bytes)
        };
        let taken = u32::try_from(bytes.len()).unwrap_or(left);
        let stream = self.streams.get_mut(slot)?;
        let piece = Piece { slot, header: stream.header(), offset: stream.received, bytes };
        stream.received += taken;
        stream.in_message = stream.received < stream.length;
        self.body = (taken < left).then_some((slot, left - taken));
        Some(piece)
    }

    fn take_pushback<'a>(&mut self, wanted: usize) -> PieceBytes<'a> {
        let len = usize::from(self.pushback_len).min(wanted);
        let bytes = self.pushback;
        self.pushback.rotate_left(len);
        let len = u8::try_from(len).unwrap_or(self.pushback_len);
        self.pushback_len -= len;
        PieceBytes::Inline(bytes, len)
    }

    /// Takes bytes until the header is complete; `None` when the input ends first.
    fn collect_header(&mut self, input: &mut &[u8]) -> Option<Parsed> {
        loop {
            let needed = self.header_needed();
            let have = usize::from(self.header_len);
            if have >= needed {
                return self.parse_basic();
            }
            let from_pushback = self.pushback_len > 0;
            let byte = if from_pushback { self.pushback[0] } else { *input.first()? };
            if from_pushback {
                self.take_pushback(1);
            } else {
                *input = input.get(1..).unwrap_or_default();
            }
            *self.header.get_mut(have)? = byte;
            self.header_len += 1;
        }
    }

    /// How long the header is, as far as its bytes so far tell.
    fn header_needed(&self) -> usize {
        let Some(parsed) = self.parse_basic() else {
            return match (self.header_len, self.header[0] & 0x3F) {
                (0, _) => 1,
                (_, 0) => 2,
                _ => 3,
            };
        };
        let message = parsed.basic + message_header_bytes(parsed.chunk_type);
        if usize::from(self.header_len) < message {
            return message;
        }
        let extended = match parsed.chunk_type {
            3 => {
                self.repeats != Repeats::No && self.find(parsed.csid).is_some_and(|s| s.is_extended)
            }
            _ => u24_be(&self.header, parsed.basic) == Some(EXTENDED),
        };
        message + if extended { 4 } else { 0 }
    }

    /// The basic header, if its bytes are there.
    fn parse_basic(&self) -> Option<Parsed> {
        let [first, second, third, ..] = self.header;
        let (csid, basic) = match first & 0x3F {
            0 => (u32::from(second) + 64, 2),
            1 => (u32::from(second) + 256 * u32::from(third) + 64, 3),
            csid => (u32::from(csid), 1),
        };
        let complete = usize::from(self.header_len) >= basic;
        complete.then_some(Parsed { chunk_type: first >> 6, csid, basic })
    }

    fn find(&self, csid: u32) -> Option<&ChunkStream> {
        self.streams.iter().find(|stream| stream.csid == csid)
    }

    /// The slot of the chunk stream, made if the header may be its first.
    fn stream_slot(&mut self, parsed: &Parsed) -> Result<usize, ProtocolError> {
        let (csid, chunk_type) = (parsed.csid, parsed.chunk_type);
        if let Some(slot) = self.streams.iter().position(|stream| stream.csid == csid) {
            return Ok(slot);
        }
        // QUIRK: librtmp begins csid 2 with type 1 (`42 000000 000006 04`); what is missing is 0.
        if chunk_type > 1 {
            return Err(ProtocolError::MissingMessageHeader { csid, chunk_type });
        }
        if self.streams.len() == CHUNK_STREAMS_MAX {
            return Err(ProtocolError::TooManyChunkStreams);
        }
        // Most connections have two or three, and a list would begin with room for four.
        self.streams.reserve_exact(1);
        self.streams.push(ChunkStream::new(csid));
        Ok(self.streams.len() - 1)
    }

    /// Applies a complete header to its chunk stream.
    fn apply(&mut self, slot: usize, parsed: &Parsed) -> Result<(), ProtocolError> {
        let header = self.header;
        let at = parsed.basic;
        let end = at + message_header_bytes(parsed.chunk_type);
        let extended = (usize::from(self.header_len) > end).then(|| u32_be(&header, end)).flatten();
        if parsed.chunk_type == 3 {
            return self.apply_type_3(slot, extended);
        }
        let Some(stream) = self.streams.get_mut(slot) else { return Ok(()) };
        let field = u24_be(&header, at).unwrap_or(0);
        let length = u24_be(&header, at + 3).filter(|_| parsed.chunk_type <= 1);
        let same_length = length.is_none_or(|length| length == stream.length);
        if stream.in_message {
            // QUIRK: some senders continue a message with type 1 or 2; the delta counts once.
            if parsed.chunk_type == 0 || !same_length {
                return Err(ProtocolError::MessageInterrupted { csid: parsed.csid });
            }
            return Ok(());
        }
        if let (Some(length), Some(&message_type)) = (length, header.get(at + 6)) {
            stream.length = length;
            stream.message_type = message_type;
        }
        stream.is_extended = extended.is_some();
        stream.extended = extended.unwrap_or(0);
        if parsed.chunk_type == 0 {
            stream.timestamp = extended.unwrap_or(field);
            stream.msid = u32_be(&header, at + 7).unwrap_or(0).swap_bytes();
        } else {
            stream.advance(field, extended);
        }
        stream.after_type_0 = parsed.chunk_type == 0;
        self.begin_message(slot)
    }

    /// Type 3: the next chunk of a message, or a message whose header equals the last one.
    fn apply_type_3(&mut self, slot: usize, field: Option<u32>) -> Result<(), ProtocolError> {
        let Some(stream) = self.streams.get(slot).copied() else { return Ok(()) };
        let ahead = field.map_or(0, |field| field.wrapping_sub(stream.timestamp));
        let is_absolute = !stream.in_message
            && stream.after_type_0
            && ahead > 0
            && ahead <= TYPE_3_ABSOLUTE_WINDOW_MS;
        if let Some(field) = field {
            let present = self.is_repeated(field == stream.extended, is_absolute);
            if !present {
                self.unread_field(field);
            }
        }
        if stream.in_message {
            return Ok(());
        }
        let Some(stream) = self.streams.get_mut(slot) else { return Ok(()) };
        match field {
            Some(field) if is_absolute && self.repeats != Repeats::No => {
                stream.timestamp = field;
                stream.extended = field;
            }
            _ => stream.repeat_delta(),
        }
        self.begin_message(slot)
    }

    /// Whether a peeked field is an extended timestamp; remembers what the peer does.
    fn is_repeated(&mut self, matches: bool, is_absolute: bool) -> bool {
        match self.repeats {
            Repeats::Yes => true,
            Repeats::No => false,
            Repeats::Unknown(count) if matches => {
                let proven = count + 1 >= REPEATS_PROVEN;
                self.repeats = if proven { Repeats::Yes } else { Repeats::Unknown(count + 1) };
                true
            }
            Repeats::Unknown(_) if is_absolute => true,
            Repeats::Unknown(_) => {
                // QUIRK: librtmp of 2012, OBS before 2024: no repetition, these bytes are body.
                self.repeats = Repeats::No;
                false
            }
        }
    }

    /// Gives four peeked bytes back: they are read again as body or header. Happens once per peer.
    fn unread_field(&mut self, field: u32) {
        debug_assert_eq!(self.pushback_len, 0, "at most one field is peeked at a time");
        self.pushback = field.to_be_bytes();
        self.pushback_len = 4;
    }

    fn begin_message(&mut self, slot: usize) -> Result<(), ProtocolError> {
        let limits = self.limits;
        let Some(stream) = self.streams.get_mut(slot) else { return Ok(()) };
        let max = limits.of(stream.message_type);
        if stream.length > max {
            let (message_type, length) = (stream.message_type, stream.length);
            return Err(ProtocolError::MessageTooLong { message_type, length, max });
        }
        stream.received = 0;
        stream.in_message = true;
        Ok(())
    }

    /// The header is done: its chunk's body comes next. A message of length 0 is complete.
    fn begin_chunk<'a>(&mut self, slot: usize) -> Option<Piece<'a>> {
        let stream = self.streams.get_mut(slot)?;
        if stream.length == 0 {
            stream.in_message = false;
            let bytes = PieceBytes::Borrowed(&[]);
            return Some(Piece { slot, header: stream.header(), offset: 0, bytes });
        }
        self.body = Some((slot, self.chunk_size.min(stream.length - stream.received)));
        None
    }
}

const fn message_header_bytes(chunk_type: u8) -> usize {
    match chunk_type {
        0 => 11,
        1 => 7,
        2 => 3,
        _ => 0,
    }
}
