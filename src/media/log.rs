//! The stream log: the newest frames of one live stream on one loop, shared by all its players.
//!
//! Owns a deque of frames with a base index, the frames a joiner needs first (metadata, data
//! frames, sequence headers: the *init set*), and where a joiner may start. A player is a
//! [`super::cursor::Cursor`] into it. Does not know players, sockets or other loops.
//!
//! ```text
//!   base            gop_start         last_key      head
//!    |  ...          |  K P P A P ...  |  K P A      |
//!    '-- kept while younger than max lag, or part of the cached GOP --'
//! ```
//!
//! INVARIANT: indices rise by one; `gop_start` and `last_key` lie in the log or are `None`.
//! INVARIANT: no frame at or after `last_key` needs a sequence header older than the init set.

use std::collections::VecDeque;
use std::sync::Arc;

use super::frame::Frame;
use super::init::{InitChange, InitSet};
use super::tag::TagClass;
use crate::budget::Budget;
use crate::limits::LOG_FRAMES_MAX;
use crate::rtmp::session::MediaKind;
use crate::time::Millis;

/// What a joiner gets (`--gop-cache`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GopMode {
    /// The whole GOP from its keyframe.
    Gop,
    /// The newest keyframe at once, then audio, then video from the next keyframe.
    Keyframe,
    /// Nothing: media starts with the next keyframe.
    Off,
}

/// Bounds of one log.
#[derive(Debug, Clone, Copy)]
pub struct LogLimits {
    /// What joiners get.
    pub gop: GopMode,
    /// Most bytes in the log; also the cap of the cached GOP.
    pub bytes: u64,
    /// Longest cached GOP, ms.
    pub gop_ms: u64,
    /// How long frames are kept for slow players, ms.
    pub lag_ms: u64,
}

/// A frame in the log.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) frame: Arc<Frame>,
    /// Wire bytes of all frames of this log before this one.
    bytes_before: u64,
    arrived: Millis,
    /// The first frame of a publisher: inter frames after it need a keyframe of its own.
    pub(super) begins_epoch: bool,
}

/// See the module documentation.
#[derive(Debug)]
pub struct StreamLog {
    limits: LogLimits,
    entries: VecDeque<Entry>,
    base: u64,
    bytes_head: u64,
    /// Bytes of the memory budget that the frames in the log hold.
    charged: usize,
    gop_start: Option<u64>,
    last_key: Option<u64>,
    last_audio: Option<u64>,
    key_frame: Option<Arc<Frame>>,
    has_video: bool,
    /// The video track whose keyframes begin a GOP: 0, or the first seen while there is no 0.
    key_track: Option<u8>,
    /// The next frame is the first of its publisher.
    is_new_epoch: bool,
    /// Frames before this index need other headers than the current ones.
    headers_from: u64,
    init: InitSet,
}

impl StreamLog {
    /// An empty log.
    #[must_use]
    pub fn new(limits: LogLimits) -> Self {
        Self {
            limits,
            entries: VecDeque::new(),
            base: 0,
            bytes_head: 0,
            charged: 0,
            gop_start: None,
            last_key: None,
            last_audio: None,
            key_frame: None,
            has_video: false,
            key_track: None,
            is_new_epoch: true,
            headers_from: 0,
            init: InitSet::default(),
        }
    }

    /// Index of the next frame to come.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// Index of the oldest frame still there.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Wire bytes held.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes_head - self.entries.front().map_or(self.bytes_head, |e| e.bytes_before)
    }

    /// Where a joiner of this stream starts: the cached GOP's keyframe.
    #[must_use]
    pub fn gop_start(&self) -> Option<u64> {
        self.gop_start
    }

    /// The newest keyframe that needs no other headers than the current ones.
    #[must_use]
    pub fn last_key(&self) -> Option<u64> {
        self.last_key
    }

    /// The newest audio frame, a sequence header is none.
    #[must_use]
    pub fn last_audio(&self) -> Option<u64> {
        self.last_audio
    }

    /// Nobody may start before this index: frames there need other headers than the current ones.
    #[must_use]
    pub fn headers_from(&self) -> u64 {
        self.headers_from
    }

    /// The newest keyframe for [`GopMode::Keyframe`], kept beyond the log's window.
    #[must_use]
    pub fn key_frame(&self) -> Option<&Arc<Frame>> {
        self.key_frame.as_ref()
    }

    /// What joiners get.
    #[must_use]
    pub fn gop_mode(&self) -> GopMode {
        self.limits.gop
    }

    /// Whether any video came since the stream (re)started.
    #[must_use]
    pub fn has_video(&self) -> bool {
        self.has_video
    }

    /// Whether `frame` is a keyframe at which a player may start. In a stream of several video
    /// tracks the other tracks' keyframes are not: they come after the main track's own.
    #[must_use]
    pub fn opens_gop(&self, frame: &Frame) -> bool {
        let tag = frame.tag();
        let is_main = |track| tag.tracks.contains(0) || tag.tracks.contains(track);
        tag.class == TagClass::Keyframe
            && frame.kind() == MediaKind::Video
            && self.key_track.is_none_or(is_main)
    }

    /// What comes before the first frame.
    #[must_use]
    pub fn init(&self) -> &InitSet {
        &self.init
    }

    /// The frame at `index`, if it is in the log.
    #[must_use]
    pub fn frame(&self, index: u64) -> Option<&Arc<Frame>> {
        self.entry(index).map(|entry| &entry.frame)
    }

    /// Whether the frame at `index` is the first of its publisher.
    #[must_use]
    pub fn begins_epoch(&self, index: u64) -> bool {
        self.entry(index).is_some_and(|entry| entry.begins_epoch)
    }

    /// When the frame at `index` arrived on this loop.
    #[must_use]
    pub fn arrived(&self, index: u64) -> Option<Millis> {
        self.entry(index).map(|entry| entry.arrived)
    }

    /// Wire bytes from `index` to the head.
    #[must_use]
    pub fn bytes_from(&self, index: u64) -> u64 {
        self.bytes_head - self.entry(index).map_or(self.bytes_head, |entry| entry.bytes_before)
    }

    /// Frames from `index` to the head, cloned: what another loop's log starts with.
    #[must_use]
    pub fn tail(&self, index: u64) -> Arc<[Arc<Frame>]> {
        let skip = usize::try_from(index.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.entries.iter().skip(skip).map(|entry| Arc::clone(&entry.frame)).collect()
    }

    /// Appends a frame and drops what nobody may need any more.
    pub fn append(&mut self, frame: &Arc<Frame>, now: Millis) {
        self.has_video |= frame.kind() == MediaKind::Video;
        if self.init.update(frame) == InitChange::Replaced {
            // Frames before this one need the old header: nobody may join there any more.
            self.forget_keyframes();
            self.headers_from = self.head();
        }
        if frame.kind() == MediaKind::Audio && frame.tag().class == TagClass::AudioFrame {
            self.last_audio = Some(self.head());
        }
        if self.opens_gop(frame) {
            let tracks = frame.tag().tracks;
            self.key_track =
                if tracks.contains(0) { Some(0) } else { self.key_track.or(tracks.first()) };
            self.last_key = Some(self.head());
            match self.limits.gop {
                GopMode::Gop => self.gop_start = self.last_key,
                GopMode::Keyframe => self.key_frame = Some(Arc::clone(frame)),
                GopMode::Off => {}
            }
        }
        let entry = Entry {
            frame: Arc::clone(frame),
            bytes_before: self.bytes_head,
            arrived: now,
            begins_epoch: std::mem::take(&mut self.is_new_epoch),
        };
        self.bytes_head += frame.wire_bytes() as u64;
        self.charged += frame.charged_bytes();
        self.entries.push_back(entry);
        self.trim(now);
        self.invariants();
    }

    /// Whether somebody may start at what is in the log.
    #[must_use]
    pub fn has_keyframe(&self) -> bool {
        self.gop_start.is_some() || self.last_key.is_some() || self.key_frame.is_some()
    }

    /// The publisher has gone: nobody joins at its frames any more; players drain what is there.
    pub fn close_gop(&mut self) {
        self.forget_keyframes();
    }

    /// A new publisher: its headers replace all old ones.
    pub fn forget_publisher(&mut self) {
        self.forget_keyframes();
        self.has_video = false;
        self.key_track = None;
        self.is_new_epoch = true;
        self.headers_from = self.head();
        self.init = InitSet::next(&self.init);
    }

    /// Takes over the init set of another loop's log (its frames come as a snapshot).
    pub fn adopt_init(&mut self, frames: &[Arc<Frame>], has_video: bool) {
        self.has_video |= has_video;
        for frame in frames {
            if self.init.update(frame) == InitChange::Replaced {
                self.forget_keyframes();
            }
        }
    }

    /// Takes over the cached keyframe of another loop's log.
    pub fn adopt_key_frame(&mut self, frame: Arc<Frame>) {
        self.key_frame = Some(frame);
    }

    /// Appends an init frame that this log does not know yet, re-stamped: it stands right before
    /// the frame with `timestamp` that ends a gap.
    pub fn append_missing(
        &mut self,
        header: &Arc<Frame>,
        timestamp: u32,
        budget: &Arc<Budget>,
        now: Millis,
    ) {
        if !self.init.knows(header) {
            self.append(&super::init::stamp(header, timestamp, budget), now);
        }
    }

    /// Bytes of the memory budget that cutting can give back: frames, and the cached keyframe.
    #[must_use]
    pub fn cuttable_bytes(&self) -> usize {
        self.charged + self.key_frame.as_ref().map_or(0, |frame| frame.charged_bytes())
    }

    /// Bytes of the memory budget that stay with the stream: the init set.
    #[must_use]
    pub fn init_bytes(&self) -> usize {
        self.init.frames().iter().map(|frame| frame.charged_bytes()).sum()
    }

    /// Bytes of the list of frames itself.
    #[must_use]
    pub fn list_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>()
    }

    /// Memory is short: drops the oldest frames until at most `bytes` are left, and the cached GOP
    /// or keyframe with them. The newest frame stays: players are just getting it.
    pub fn cut(&mut self, bytes: usize) {
        if self.cuttable_bytes() > bytes {
            self.key_frame = None;
        }
        while self.charged > bytes && self.entries.len() > 1 && self.pop() {}
        if self.entries.capacity() > 4 * self.entries.len() {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// Memory is short and nobody publishes: the next publisher brings its own headers.
    pub fn release(&mut self) {
        self.cut(0);
        self.forget_publisher();
    }

    /// The init frames as they came, for other loops.
    pub fn init_shared(&mut self) -> Arc<[Arc<Frame>]> {
        self.init.shared()
    }

    /// The init frames stamped with `timestamp` (metadata with 0), shared by all who join there.
    pub fn init_frames(&mut self, timestamp: u32, budget: &Arc<Budget>) -> Arc<[Arc<Frame>]> {
        self.init.stamped(timestamp, budget)
    }

    /// `@clearDataFrame`: later joiners do not get the data frame called `name`.
    pub fn clear_data_frame(&mut self, name: &[u8]) {
        self.init.clear_data_frame(name);
    }

    pub(super) fn entry(&self, index: u64) -> Option<&Entry> {
        self.entries.get(usize::try_from(index.checked_sub(self.base)?).ok()?)
    }

    fn forget_keyframes(&mut self) {
        self.gop_start = None;
        self.last_key = None;
        self.key_frame = None;
    }

    fn trim(&mut self, now: Millis) {
        let gop_age = self.gop_start.and_then(|start| self.arrived(start));
        if gop_age.is_some_and(|arrived| now.since(arrived) > self.limits.gop_ms) {
            self.gop_start = None;
        }
        while let Some(oldest) = self.entries.front() {
            let needed = self.gop_start.is_some_and(|start| self.base >= start)
                || now.since(oldest.arrived) <= self.limits.lag_ms;
            let fits = self.bytes() <= self.limits.bytes && self.entries.len() <= LOG_FRAMES_MAX;
            if needed && fits || self.entries.len() == 1 {
                break;
            }
            self.pop();
        }
    }

    /// Drops the oldest frame; false when there is none.
    fn pop(&mut self) -> bool {
        let popped = self.entries.pop_front();
        self.charged -= popped.as_ref().map_or(0, |entry| entry.frame.charged_bytes());
        let popped = popped.is_some();
        self.base += u64::from(popped);
        let base = self.base;
        self.gop_start = self.gop_start.filter(|&start| start >= base);
        self.last_key = self.last_key.filter(|&key| key >= base);
        self.last_audio = self.last_audio.filter(|&audio| audio >= base);
        popped
    }

    fn invariants(&self) {
        debug_assert!(self.gop_start.is_none_or(|start| self.entry(start).is_some()));
        debug_assert!(self.last_key.is_none_or(|key| self.entry(key).is_some()));
        debug_assert!(self.gop_start.is_none() || self.gop_start <= self.last_key);
    }
}
