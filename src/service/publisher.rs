//! One publisher on its own loop: unfinished messages, the timeline, what it has sent.
//!
//! Owns the way from body pieces to finished frames with output timestamps. Does not own the log
//! (see [`super::stream`]) or the name (see [`super::directory`]).

use std::sync::Arc;

use super::directory::{Activity, is_after};
use super::message::Epoch;
use crate::budget::{Budget, OverBudget};
use crate::limits::{TIMELINE_JUMP_MS, TIMELINE_SETTLE_MS};
use crate::media::frame::{Frame, FrameBuilder};
use crate::rtmp::Msid;
use crate::rtmp::session::{MediaKind, MediaPiece};
use crate::time::Millis;

/// A connection of this loop: slab slot and generation (N6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    slot: u32,
    /// Generation of the slot.
    pub generation: u32,
}

impl ConnectionId {
    /// The connection in a slot. 8 bytes, because every list of a loop has one for each player.
    #[must_use]
    pub fn new(slot: usize, generation: u32) -> Self {
        debug_assert!(u32::try_from(slot).is_ok(), "descriptors are fewer");
        Self { slot: u32::try_from(slot).unwrap_or(u32::MAX), generation }
    }

    /// Slot in the loop's slab.
    #[must_use]
    pub fn slot(self) -> usize {
        self.slot as usize
    }
}

/// See the module documentation.
#[derive(Debug)]
pub struct Publisher {
    /// Its connection.
    pub connection: ConnectionId,
    /// Its message stream.
    pub msid: Msid,
    /// Slot of the local stream.
    pub stream: usize,
    /// Its epoch.
    pub epoch: Epoch,
    /// When the last media message began or went on.
    pub last_media: Millis,
    /// Body bytes received.
    pub bytes: u64,
    /// Audio and video messages received.
    pub frames: u64,
    /// Counters that the directory and a successor read.
    pub activity: Arc<Activity>,
    /// Known once the first media message has come.
    timeline: Option<Timeline>,
    partials: Vec<(usize, FrameBuilder)>,
    chunk_size: u32,
    budget: Arc<Budget>,
}

/// How the timestamps of one epoch become those of the stream.
#[derive(Debug, Clone, Copy)]
struct Timeline {
    /// Added to every timestamp (modulo 2^32), audio and video alike.
    offset: u32,
    /// First timestamp behind the epoch before; nothing of a new epoch's beginning comes earlier.
    floor: Option<u32>,
}

impl Timeline {
    /// Behind `greatest`, for an epoch whose first message says `first`. A source whose clock went
    /// on while it was away keeps its own timestamps.
    fn new(greatest: Option<u32>, first: u32) -> Self {
        let Some(greatest) = greatest else { return Self { offset: 0, floor: None } };
        let floor = greatest.wrapping_add(1);
        let goes_on = first.wrapping_sub(floor) < TIMELINE_JUMP_MS;
        let offset = if goes_on { 0 } else { floor.wrapping_sub(first) };
        Self { offset, floor: Some(floor) }
    }

    /// The output timestamp. Where audio begins earlier than video (or the reverse), the first
    /// messages wait at the floor: a player's time does not go back.
    fn place(&mut self, timestamp: u32) -> u32 {
        let out = timestamp.wrapping_add(self.offset);
        let Some(floor) = self.floor else { return out };
        if is_after(out, floor.wrapping_add(TIMELINE_SETTLE_MS)) {
            self.floor = None;
        }
        if floor.wrapping_sub(out) <= TIMELINE_SETTLE_MS { floor } else { out }
    }
}

/// What a publisher needs to know of its process.
#[derive(Debug, Clone)]
pub struct PublisherSetup {
    /// Outgoing chunk size in bytes.
    pub chunk_size: u32,
    /// Memory budget.
    pub budget: Arc<Budget>,
}

impl Publisher {
    /// A publisher that has sent nothing yet.
    #[must_use]
    pub fn new(
        connection: ConnectionId,
        msid: Msid,
        stream: usize,
        granted: (Epoch, Arc<Activity>),
        setup: &PublisherSetup,
        now: Millis,
    ) -> Self {
        Self {
            connection,
            msid,
            stream,
            epoch: granted.0,
            last_media: now,
            bytes: 0,
            frames: 0,
            activity: granted.1,
            timeline: None,
            partials: Vec::new(),
            chunk_size: setup.chunk_size,
            budget: Arc::clone(&setup.budget),
        }
    }

    /// Takes body bytes; the frame when they complete it.
    ///
    /// # Errors
    /// [`OverBudget`]: nothing is kept of this message.
    pub fn piece(
        &mut self,
        piece: &MediaPiece<'_>,
        copied: &mut u64,
        now: Millis,
    ) -> Result<Option<Frame>, OverBudget> {
        self.last_media = now;
        self.bytes += piece.bytes.len() as u64;
        *copied += piece.bytes.len() as u64;
        if piece.is_first() {
            self.forget_partial(piece.slot);
            let builder = self.begin(piece.kind, piece.timestamp, piece.length);
            self.partials.push((piece.slot, builder));
        }
        let at = self.partials.iter().rposition(|(slot, _)| *slot == piece.slot);
        let Some((at, (_, builder))) = at.and_then(|at| Some((at, self.partials.get_mut(at)?)))
        else {
            return Ok(None);
        };
        if let Err(error) = builder.append(&piece.bytes) {
            self.forget_partial(piece.slot);
            return Err(error);
        }
        if !piece.is_last() {
            return Ok(None);
        }
        self.frames += 1;
        Ok(Some(self.partials.swap_remove(at).1.finish()))
    }

    /// A whole message: data, or a part of an aggregate.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn whole(
        &mut self,
        kind: MediaKind,
        timestamp: u32,
        body: &[u8],
        copied: &mut u64,
        now: Millis,
    ) -> Result<Frame, OverBudget> {
        self.last_media = now;
        self.bytes += body.len() as u64;
        *copied += body.len() as u64;
        self.frames += u64::from(kind != MediaKind::Data);
        let mut builder = self.begin(kind, timestamp, u32::try_from(body.len()).unwrap_or(0));
        builder.append(body)?;
        Ok(builder.finish())
    }

    /// A data frame that late joiners get too, with timestamp 0: ffmpeg takes onMetaData at any
    /// other time for a subtitle stream.
    ///
    /// # Errors
    /// [`OverBudget`].
    pub fn data_frame(&self, body: &[u8], copied: &mut u64) -> Result<Frame, OverBudget> {
        *copied += body.len() as u64;
        let length = u32::try_from(body.len()).unwrap_or(0);
        let mut builder =
            FrameBuilder::begin(MediaKind::Data, 0, length, self.chunk_size, &self.budget);
        builder.append(body)?;
        Ok(builder.data_frame()?.finish())
    }

    /// Forgets the unfinished message on a chunk-stream slot (Abort).
    pub fn forget_partial(&mut self, slot: usize) {
        self.partials.retain(|(at, _)| *at != slot);
    }

    /// Bytes held by unfinished messages.
    #[must_use]
    pub fn partial_bytes(&self) -> usize {
        let list = self.partials.capacity() * size_of::<(usize, FrameBuilder)>();
        list + self.partials.iter().map(|(_, builder)| builder.charged_bytes()).sum::<usize>()
    }

    /// The first media message fixes one offset for audio and video: behind the timeline of the
    /// epoch before, if there was one.
    fn begin(&mut self, kind: MediaKind, timestamp: u32, length: u32) -> FrameBuilder {
        let first = || Timeline::new(self.activity.greatest(), timestamp);
        let mut timeline = self.timeline.unwrap_or_else(first);
        let timestamp = timeline.place(timestamp);
        if kind != MediaKind::Data {
            self.timeline = Some(timeline);
        }
        FrameBuilder::begin(kind, timestamp, length, self.chunk_size, &self.budget)
    }
}
