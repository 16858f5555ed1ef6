//! The init set: what a player needs before its first frame.
//!
//! Owns the newest metadata, named data frames, and per (kind, class, tracks) the newest sequence
//! header, MultichannelConfig and colorInfo of one stream. Sent in this order: data, then the rest
//! as it came, so that a MultichannelConfig follows its header.
//!
//! QUIRK: ffmpeg 9 as a player turns a MultichannelConfig that comes before the video header into
//! an empty audio packet; ffmpeg as a publisher sends the video header first, so its own order is
//! kept. Test: `tests/clients.rs::av1_and_opus_reach_every_player_of_enhanced_rtmp`.
//!
//! Bounded by `INIT_FRAMES_MAX` and `INIT_BYTES_MAX`: what does not fit is still forwarded in
//! place, late joiners do not get it.

use std::sync::Arc;

use super::frame::Frame;
use super::tag::TagClass;
use crate::budget::Budget;
use crate::limits::{INIT_BYTES_MAX, INIT_FRAMES_MAX};
use crate::rtmp::session::MediaKind;

/// What a frame did to the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitChange {
    /// Not an init frame, or the same bytes again.
    None,
    /// Something that was not there before.
    Added,
    /// A different header for tracks that had one.
    Replaced,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub struct InitSet {
    frames: Vec<Arc<Frame>>,
    generation: u32,
    shared: Option<Arc<[Arc<Frame>]>>,
    stamped: Option<(u32, Arc<[Arc<Frame>]>)>,
}

impl InitSet {
    /// The empty set that follows `old`: its generation is newer, so that every player gets the
    /// new publisher's headers.
    #[must_use]
    pub fn next(old: &Self) -> Self {
        Self { generation: old.generation.wrapping_add(1), ..Self::default() }
    }

    /// Changes whenever the frames change; a player that has seen this generation needs no init.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// The frames as they came, in sending order.
    #[must_use]
    pub fn frames(&self) -> &[Arc<Frame>] {
        &self.frames
    }

    /// The frames as they came, for other loops: one list for all who ask before the next change.
    pub fn shared(&mut self) -> Arc<[Arc<Frame>]> {
        let frames = &self.frames;
        Arc::clone(self.shared.get_or_insert_with(|| frames.as_slice().into()))
    }

    /// Whether the same bytes stand in the same place already.
    #[must_use]
    pub fn knows(&self, frame: &Frame) -> bool {
        self.frames.iter().any(|old| same_place(old, frame) && old.payload_equals(frame))
    }

    /// Takes note of a frame of the stream.
    pub fn update(&mut self, frame: &Arc<Frame>) -> InitChange {
        if !is_init(frame) {
            return InitChange::None;
        }
        if self.knows(frame) {
            return InitChange::None;
        }
        let before = self.frames.len();
        self.frames.retain(|old| !supersedes(frame, old));
        let replaced = self.frames.len() < before && frame.kind() != MediaKind::Data;
        let bytes: usize = self.frames.iter().map(|frame| frame.payload_bytes()).sum();
        if self.frames.len() < INIT_FRAMES_MAX && bytes + frame.payload_bytes() <= INIT_BYTES_MAX {
            let at = self.frames.partition_point(|old| order(old) <= order(frame));
            self.frames.insert(at, Arc::clone(frame));
        }
        self.generation = self.generation.wrapping_add(1);
        self.forget_lists();
        if replaced { InitChange::Replaced } else { InitChange::Added }
    }

    /// The frames as `stamp` makes them, one list for all who join there.
    pub fn stamped(&mut self, timestamp: u32, budget: &Arc<Budget>) -> Arc<[Arc<Frame>]> {
        if let Some((at, frames)) = &self.stamped
            && *at == timestamp
        {
            return Arc::clone(frames);
        }
        let frames: Arc<[Arc<Frame>]> =
            self.frames.iter().map(|frame| stamp(frame, timestamp, budget)).collect();
        self.stamped = Some((timestamp, Arc::clone(&frames)));
        frames
    }

    /// Forgets the data frame called `name` (`@clearDataFrame`).
    pub fn clear_data_frame(&mut self, name: &[u8]) {
        self.frames
            .retain(|frame| frame.kind() != MediaKind::Data || frame.data_name() != Some(name));
        self.forget_lists();
    }

    fn forget_lists(&mut self) {
        self.shared = None;
        self.stamped = None;
    }
}

/// A media header stamped `timestamp`; data keeps its own (metadata 0). Where the budget has no
/// room for a copy, the header goes out with its own timestamp.
pub(super) fn stamp(frame: &Arc<Frame>, timestamp: u32, budget: &Arc<Budget>) -> Arc<Frame> {
    if frame.kind() == MediaKind::Data || frame.timestamp() == timestamp {
        return Arc::clone(frame);
    }
    frame.restamped(timestamp, budget).map_or_else(|_| Arc::clone(frame), Arc::new)
}

fn is_init(frame: &Frame) -> bool {
    match frame.kind() {
        MediaKind::Data => frame.is_data_frame(),
        MediaKind::Audio | MediaKind::Video => frame.tag().is_init(),
    }
}

/// Sending order; the sort is stable by arrival.
fn order(frame: &Frame) -> u8 {
    match frame.kind() {
        MediaKind::Data => 0,
        MediaKind::Audio | MediaKind::Video => 1,
    }
}

fn same_place(old: &Frame, new: &Frame) -> bool {
    old.kind() == new.kind()
        && match new.kind() {
            MediaKind::Data => old.data_name() == new.data_name(),
            MediaKind::Audio | MediaKind::Video => {
                old.tag().class == new.tag().class && old.tag().tracks == new.tag().tracks
            }
        }
}

/// Whether `new` makes `old` obsolete: the same place with at least the same tracks. A sequence
/// header also ends the MultichannelConfig and colorInfo of its tracks: they follow it anew.
fn supersedes(new: &Frame, old: &Frame) -> bool {
    if old.kind() != new.kind() {
        return false;
    }
    if new.kind() == MediaKind::Data {
        return old.data_name() == new.data_name();
    }
    old.tag().tracks.is_subset_of(&new.tag().tracks)
        && (old.tag().class == new.tag().class || new.tag().class == TagClass::SequenceHeader)
}
