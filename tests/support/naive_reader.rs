//! A chunk reader as simple as can be: all bytes are there, state is a map, nothing is fast. What
//! the real one is compared with.

use std::collections::BTreeMap;

use millrace::rtmp::ProtocolError::{self, *};

/// csid, timestamp, message type id, msid, body.
pub type Message = (u32, u32, u8, u32, Vec<u8>);

#[derive(Default, Clone)]
struct Stream {
    timestamp: u32,
    delta: u32,
    /// The last extended timestamp, while it is in force.
    extended: Option<u32>,
    length: u32,
    kind: u8,
    msid: u32,
    after_type_0: bool,
    /// The unfinished body.
    body: Option<Vec<u8>>,
}

#[derive(PartialEq)]
enum Repeats {
    Unknown(u32),
    Yes,
    No,
}

/// The messages of `bytes` from the start, and what ended them.
pub struct NaiveReader<'a> {
    bytes: &'a [u8],
    at: usize,
    chunk_size: usize,
    streams: BTreeMap<u32, Stream>,
    repeats: Repeats,
    max: fn(u8) -> u32,
    /// What was read.
    pub messages: Vec<Message>,
}

impl<'a> NaiveReader<'a> {
    /// `max`: the longest message of a type.
    pub fn new(bytes: &'a [u8], max: fn(u8) -> u32) -> Self {
        let (streams, messages) = (BTreeMap::new(), Vec::new());
        Self { bytes, at: 0, chunk_size: 128, streams, repeats: Repeats::Unknown(0), max, messages }
    }

    /// Reads all there is.
    pub fn read(&mut self) -> Result<(), ProtocolError> {
        while self.chunk()?.is_some() {}
        Ok(())
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at + count)?;
        self.at += count;
        Some(taken)
    }

    fn number(&mut self, bytes: usize) -> Option<u32> {
        Some(self.take(bytes)?.iter().fold(0, |value, &byte| value << 8 | u32::from(byte)))
    }

    /// One chunk, as far as its bytes are there; `None` at the end.
    fn chunk(&mut self) -> Result<Option<()>, ProtocolError> {
        let Some((csid, stream)) = self.header()? else { return Ok(None) };
        let mut stream = stream;
        let mut body = stream.body.take().unwrap_or_default();
        let wanted = self.chunk_size.min(stream.length as usize - body.len());
        let there = wanted.min(self.bytes.len() - self.at);
        body.extend_from_slice(self.take(there).unwrap());
        if body.len() == stream.length as usize {
            self.finish(csid, &stream, body)?;
        } else {
            stream.body = Some(body);
        }
        self.streams.insert(csid, stream);
        Ok((there == wanted).then_some(()))
    }

    fn finish(&mut self, csid: u32, stream: &Stream, body: Vec<u8>) -> Result<(), ProtocolError> {
        let value = body.get(..4).map(|bytes| u32::from_be_bytes(bytes.try_into().unwrap()));
        match (stream.kind, value) {
            (1, Some(size)) if size << 1 == 0 => return Err(ZeroChunkSize),
            (1, Some(size)) => self.chunk_size = (size & 0x7FFF_FFFF) as usize,
            (2, Some(aborted)) => {
                if let Some(stream) = self.streams.get_mut(&aborted) {
                    stream.body = None;
                }
            }
            _ => {}
        }
        self.messages.push((csid, stream.timestamp, stream.kind, stream.msid, body));
        Ok(())
    }

    /// A whole header, applied; `None` when its bytes are not all there.
    fn header(&mut self) -> Result<Option<(u32, Stream)>, ProtocolError> {
        let Some((chunk_type, csid, known)) = self.basic() else { return Ok(None) };
        let mut stream = known.clone().unwrap_or_default();
        let (mut field, mut length, mut kind, mut msid) = (0, None, None, None);
        let mut parse = || -> Option<()> {
            if chunk_type < 3 {
                field = self.number(3)?;
            }
            if chunk_type < 2 {
                (length, kind) = (Some(self.number(3)?), Some(self.take(1)?[0]));
            }
            if chunk_type == 0 {
                msid = Some(self.number(4)?.swap_bytes());
            }
            Some(())
        };
        if parse().is_none() {
            return Ok(None);
        }
        let peeks = stream.extended.is_some() && self.repeats != Repeats::No;
        let extended = if chunk_type < 3 { field == 0xFF_FFFF } else { peeks };
        let extended = match extended.then(|| self.number(4)) {
            Some(None) => return Ok(None),
            Some(value) => value,
            None => None,
        };
        if known.is_none() && chunk_type > 1 {
            return Err(MissingMessageHeader { csid, chunk_type });
        }
        if known.is_none() && self.streams.len() == 64 {
            return Err(TooManyChunkStreams);
        }
        if chunk_type == 3 {
            self.type_3(&mut stream, extended);
        } else if stream.body.is_some() {
            if chunk_type == 0 || length.is_some_and(|length| length != stream.length) {
                return Err(MessageInterrupted { csid });
            }
        } else {
            stream.length = length.unwrap_or(stream.length);
            stream.kind = kind.unwrap_or(stream.kind);
            stream.extended = extended;
            let value = extended.unwrap_or(field);
            if let Some(msid) = msid {
                stream = Stream { timestamp: value, msid, after_type_0: true, ..stream };
            } else {
                let is_absolute = extended.is_some_and(|value| {
                    value > 3_600_000 && value.abs_diff(stream.timestamp) <= 10_000
                });
                stream.delta =
                    if is_absolute { value.wrapping_sub(stream.timestamp) } else { value };
                stream.timestamp = stream.timestamp.wrapping_add(stream.delta);
                stream.after_type_0 = false;
            }
        }
        let max = (self.max)(stream.kind);
        if stream.body.is_none() && stream.length > max {
            return Err(MessageTooLong { message_type: stream.kind, length: stream.length, max });
        }
        Ok(Some((csid, stream)))
    }

    fn basic(&mut self) -> Option<(u8, u32, Option<Stream>)> {
        let first = self.take(1)?[0];
        let csid = match first & 0x3F {
            0 => 64 + self.number(1)?,
            1 => {
                let [low, high] = self.take(2)?.try_into().unwrap();
                64 + u32::from(u16::from_le_bytes([low, high]))
            }
            csid => u32::from(csid),
        };
        Some((first >> 6, csid, self.streams.get(&csid).cloned()))
    }

    /// Continues a message or begins one like the last; `field` may be a repeated timestamp.
    fn type_3(&mut self, stream: &mut Stream, field: Option<u32>) {
        let mut absolute = None;
        if let Some(field) = field {
            let ahead = field.wrapping_sub(stream.timestamp);
            let begins = stream.body.is_none() && stream.after_type_0;
            let is_new = begins && (1..=65_535).contains(&ahead);
            let matches = stream.extended == Some(field);
            match self.repeats {
                Repeats::Yes => {}
                Repeats::Unknown(2) if matches => self.repeats = Repeats::Yes,
                Repeats::Unknown(count) if matches => self.repeats = Repeats::Unknown(count + 1),
                _ if is_new => {}
                _ => {
                    self.repeats = Repeats::No;
                    self.at -= 4;
                }
            }
            absolute = (is_new && self.repeats != Repeats::No).then_some(field);
        }
        if stream.body.is_some() {
            return;
        }
        if let Some(time) = absolute {
            (stream.timestamp, stream.extended) = (time, Some(time));
            return;
        }
        if stream.after_type_0 && stream.timestamp < 1000 {
            stream.delta = stream.timestamp;
        }
        stream.after_type_0 = false;
        stream.timestamp = stream.timestamp.wrapping_add(stream.delta);
    }
}
