//! Frames and logs made in memory.

use std::sync::Arc;

use millrace::budget::Budget;
use millrace::media::cursor::{Cursor, Pending};
use millrace::media::frame::{Frame, FrameBuilder};
use millrace::media::log::{GopMode, LogLimits, StreamLog};
use millrace::rtmp::session::MediaKind;
use millrace::time::Millis;

use super::player_wire::{Heard, WireReader};

/// Outgoing chunk size of these frames.
pub const CHUNK_SIZE: u32 = 60_000;

/// A budget that nobody fills.
pub fn budget() -> Arc<Budget> {
    Budget::new(1 << 40)
}

/// A frame of a body that came in one piece.
pub fn frame(kind: MediaKind, timestamp: u32, body: &[u8]) -> Arc<Frame> {
    frame_in_chunks(kind, timestamp, body, CHUNK_SIZE)
}

/// As [`frame`], in chunks of a given size.
pub fn frame_in_chunks(
    kind: MediaKind,
    timestamp: u32,
    body: &[u8],
    chunk_size: u32,
) -> Arc<Frame> {
    let length = u32::try_from(body.len()).unwrap();
    let mut builder = FrameBuilder::begin(kind, timestamp, length, chunk_size, &budget());
    builder.append(body).unwrap();
    Arc::new(builder.finish())
}

/// A data frame that late joiners get too.
pub fn data_frame(body: &[u8]) -> Arc<Frame> {
    let length = u32::try_from(body.len()).unwrap();
    let mut builder = FrameBuilder::begin(MediaKind::Data, 0, length, CHUNK_SIZE, &budget());
    builder.append(body).unwrap();
    Arc::new(builder.data_frame().unwrap().finish())
}

/// Generous limits with a GOP mode.
pub fn limits(gop: GopMode) -> LogLimits {
    LogLimits { gop, bytes: 32 << 20, gop_ms: 20_000, lag_ms: 5_000 }
}

/// Writes up to `room` bytes of what is pending, as the flush pass does; the bytes.
pub fn write(cursor: &mut Cursor, log: &StreamLog, room: usize) -> Vec<u8> {
    let image = |pending: Pending<'_>| {
        pending.frame.segments().flatten().copied().skip(pending.offset).collect::<Vec<u8>>()
    };
    let mut bytes = cursor.in_flight().map(image).unwrap_or_default();
    let in_flight = bytes.len();
    let mut ahead = cursor.ahead(log);
    while bytes.len() <= room
        && let Some(pending) = ahead.next()
    {
        bytes.extend(image(pending));
    }
    let place = ahead.place();
    if bytes.len() <= room && bytes.len() > in_flight {
        cursor.arrive(place);
    } else {
        bytes.truncate(room);
        cursor.advance(log, bytes.len());
    }
    bytes
}

/// A player with its log's way out: writes what is pending and reads it back.
pub struct Reader {
    /// The place in the log.
    pub cursor: Cursor,
    wire: WireReader,
}

impl Reader {
    /// Joins now.
    pub fn join(log: &StreamLog, duration_ms: Option<u32>) -> Self {
        Self { cursor: Cursor::join(log, duration_ms), wire: WireReader::new(CHUNK_SIZE) }
    }

    /// Prepares and takes up to `room` bytes; the messages that they complete.
    pub fn take(&mut self, log: &mut StreamLog, room: usize, now: Millis) -> Vec<Heard> {
        self.cursor.prepare(log, 5_000, &budget(), now);
        let bytes = write(&mut self.cursor, log, room);
        self.wire.take(&bytes)
    }

    /// Everything that is pending.
    pub fn all(&mut self, log: &mut StreamLog, now: Millis) -> Vec<Heard> {
        self.take(log, usize::MAX, now)
    }
}
