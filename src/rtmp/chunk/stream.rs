//! One chunk stream: what its last header said, and what timestamps of later headers mean.

use super::MessageHeader;
use crate::rtmp::{Csid, Msid};

/// A type-3 header right after type 0 means "+ that timestamp" only below this, ms.
const SMALL_FIRST_TIMESTAMP: u32 = 1_000;
/// An extended delta that jumps further than this may be an absolute timestamp, ms.
const SUSPICIOUS_JUMP_MS: u32 = 3_600_000;
/// It is one if it lies this close to the current timestamp, ms.
const ABSOLUTE_WINDOW_MS: u32 = 10_000;
/// Whether an extended delta behind `timestamp` is read as an absolute timestamp. Our writer never
/// sends such a delta.
pub(super) fn is_taken_for_absolute(delta: u32, timestamp: u32) -> bool {
    delta > SUSPICIOUS_JUMP_MS && delta.abs_diff(timestamp) <= ABSOLUTE_WINDOW_MS
}

/// What is remembered of one chunk stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkStream {
    pub(super) csid: u32,
    pub(super) timestamp: u32,
    /// Last delta of type 1 or 2.
    pub(super) delta: u32,
    /// The last extended timestamp field, in force while `is_extended`.
    pub(super) extended: u32,
    pub(super) length: u32,
    pub(super) received: u32,
    pub(super) msid: u32,
    pub(super) message_type: u8,
    pub(super) is_extended: bool,
    /// The last header with a timestamp was of type 0.
    pub(super) after_type_0: bool,
    pub(super) in_message: bool,
}

impl ChunkStream {
    pub(super) fn new(csid: u32) -> Self {
        Self {
            csid,
            timestamp: 0,
            delta: 0,
            extended: 0,
            length: 0,
            received: 0,
            msid: 0,
            message_type: 0,
            is_extended: false,
            after_type_0: false,
            in_message: false,
        }
    }

    pub(super) fn header(&self) -> MessageHeader {
        MessageHeader {
            csid: Csid(self.csid),
            timestamp: self.timestamp,
            length: self.length,
            message_type: self.message_type,
            msid: Msid(self.msid),
        }
    }

    /// Type 1 or 2: a delta, extended or not.
    pub(super) fn advance(&mut self, field: u32, extended: Option<u32>) {
        let delta = match extended {
            // QUIRK: old SRS writes the absolute time into the extended field of types 1, 2.
            Some(raw) if is_taken_for_absolute(raw, self.timestamp) => {
                raw.wrapping_sub(self.timestamp)
            }
            Some(raw) => raw,
            None => field,
        };
        self.delta = delta;
        self.timestamp = self.timestamp.wrapping_add(delta);
    }

    /// Type 3 as the start of a message.
    pub(super) fn repeat_delta(&mut self) {
        // SPEC: 5.3.1.2.4, the delta after type 0 is its timestamp. Senders mean it only when
        // that is small: a jump of T at a large T is never what was meant.
        if self.after_type_0 && self.timestamp < SMALL_FIRST_TIMESTAMP {
            self.delta = self.timestamp;
        }
        self.after_type_0 = false;
        self.timestamp = self.timestamp.wrapping_add(self.delta);
    }
}
