//! One player's place in a stream log: no queue of its own, about 130 bytes.
//!
//! Owns where a player stands, what it wants, and every rule about where it may start, skip and
//! end. Does not write: the owner asks for the pending bytes ([`Cursor::in_flight`], then
//! [`Cursor::ahead`]), writes some of them and says how many were accepted ([`Cursor::advance`]),
//! or that all were ([`Cursor::arrive`]).
//!
//! INVARIANT (N3): what a player is sent is whole messages in order; a gap begins after a whole
//! message and ends on a resume point (a keyframe; any audio frame where there is no video).

use std::sync::Arc;

use super::frame::Frame;
use super::log::{Entry, GopMode, StreamLog};
use super::tag::TagClass;
use crate::budget::Budget;
use crate::rtmp::session::MediaKind;
use crate::time::Millis;

/// What a player has asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wants {
    audio: bool,
    video: bool,
    paused: bool,
}

/// Frames that come before the log: the init set, and the cached keyframe in that mode.
#[derive(Debug, Clone)]
struct Prefix {
    frames: Arc<[Arc<Frame>]>,
    next: usize,
}

/// Where in its prefix and log a cursor is; what [`Walk`] changes while it looks ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    prefix_next: usize,
    next: u64,
    /// A keyframe has been passed: inter frames are decodable.
    key_seen: bool,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Cursor {
    place: Place,
    prefix: Option<Prefix>,
    in_flight: Option<(Arc<Frame>, usize)>,
    /// Waiting for a resume point at or after `place.next` when false.
    started: bool,
    wants: Wants,
    init_generation: Option<u32>,
    /// Extra lag allowed while the burst of a join drains, ms.
    burst_ms: u64,
    /// Frames from this index on belong to nobody (the publisher has ended).
    end: Option<u64>,
    duration_ms: Option<u32>,
    first_timestamp: u32,
    skips: u32,
    skipped_frames: u64,
}

/// Pending bytes of one frame: all from `offset` on.
#[derive(Debug, Clone, Copy)]
pub struct Pending<'a> {
    /// The frame.
    pub frame: &'a Arc<Frame>,
    /// Wire bytes of it that were accepted already.
    pub offset: usize,
}

/// The frames that lie before a cursor, in order.
#[derive(Debug)]
pub struct Walk<'a> {
    cursor: &'a Cursor,
    log: &'a StreamLog,
    place: Place,
}

impl Walk<'_> {
    /// Behind the last frame that this walk gave.
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Pending<'a>;

    fn next(&mut self) -> Option<Pending<'a>> {
        let (frame, place) = self.cursor.step(self.place, self.log)?;
        self.place = place;
        Some(Pending { frame, offset: 0 })
    }
}

impl Cursor {
    /// A player that joins now: at the cached GOP, at the cached keyframe, or waiting.
    #[must_use]
    pub fn join(log: &StreamLog, duration_ms: Option<u32>) -> Self {
        let next = log.gop_start().unwrap_or(log.head());
        Self {
            place: Place { prefix_next: 0, next, key_seen: false },
            prefix: None,
            in_flight: None,
            started: false,
            wants: Wants { audio: true, video: true, paused: false },
            init_generation: None,
            burst_ms: 0,
            end: None,
            duration_ms,
            first_timestamp: 0,
            skips: 0,
            skipped_frames: 0,
        }
    }

    /// Whether a frame is partly written: nothing else may go to this socket before its rest.
    #[must_use]
    pub fn is_mid_frame(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Its part of the frames that it holds, in bytes: a player that does not read keeps the frame
    /// in flight and those of its prefix.
    #[must_use]
    pub fn pinned_bytes(&self) -> usize {
        let share = |frame: &Arc<Frame>| frame.charged_bytes() / Arc::strong_count(frame).max(1);
        let in_flight = self.in_flight.as_ref().map_or(0, |(frame, _)| share(frame));
        let prefix = self.prefix.as_ref().map_or(0, |Prefix { frames, .. }| {
            frames.iter().map(share).sum::<usize>() / Arc::strong_count(frames).max(1)
        });
        in_flight + prefix
    }

    /// The player leaves in the middle of a frame: that frame and the bytes of it that were
    /// accepted. Whoever owns the socket must still send the rest.
    pub fn take_in_flight(&mut self) -> Option<(Arc<Frame>, usize)> {
        self.in_flight.take()
    }

    /// How often this player was moved forward because it was too slow.
    #[must_use]
    pub fn skips(&self) -> u32 {
        self.skips
    }

    /// Frames it missed by that.
    #[must_use]
    pub fn skipped_frames(&self) -> u64 {
        self.skipped_frames
    }

    /// How old the next frame is, ms; 0 when there is none.
    #[must_use]
    pub fn lag_ms(&self, log: &StreamLog, now: Millis) -> u64 {
        if self.wants.paused || !self.started {
            return 0;
        }
        log.arrived(self.place.next.max(log.base())).map_or(0, |arrived| now.since(arrived))
    }

    /// Wire bytes from the next frame to the newest; 0 when nothing is being sent.
    #[must_use]
    pub fn lag_bytes(&self, log: &StreamLog) -> u64 {
        if self.wants.paused || !self.started {
            return 0;
        }
        log.bytes_from(self.place.next.max(log.base()))
    }

    /// pause: nothing is sent. Unpause: as a new join, headers and keyframe first.
    pub fn pause(&mut self, log: &StreamLog, paused: bool) {
        if self.wants.paused && !paused {
            self.place.next = log.gop_start().unwrap_or(log.head());
            self.started = false;
            self.init_generation = None;
        }
        self.wants.paused = paused;
    }

    /// receiveAudio, receiveVideo. Video comes back at the next keyframe.
    pub fn receive(&mut self, kind: MediaKind, on: bool) {
        match kind {
            MediaKind::Audio => self.wants.audio = on,
            MediaKind::Video => {
                self.place.key_seen &= on && self.wants.video;
                self.wants.video = on;
            }
            MediaKind::Data => {}
        }
    }

    /// The publisher has ended: what is in the log now is the last.
    pub fn end_here(&mut self, log: &StreamLog) {
        self.end.get_or_insert(log.head());
    }

    /// The publisher was lost and another may come: frames in the log still go out.
    pub fn publisher_lost(&mut self, log: &StreamLog) {
        if !self.started {
            self.place.next = log.head();
        }
    }

    /// Whether everything up to the end was sent, or the duration of play is over.
    #[must_use]
    pub fn is_finished(&self, log: &StreamLog) -> bool {
        if self.in_flight.is_some() {
            return false;
        }
        if self.end.is_some() && self.wants.paused {
            return true;
        }
        self.duration_over(log) || self.end.is_some() && self.ahead(log).next().is_none()
    }

    /// Decides where to go on before bytes are gathered: start at a resume point, or skip to the
    /// newest one when the lag is over `lag_ms`.
    pub fn prepare(&mut self, log: &mut StreamLog, lag_ms: u64, budget: &Arc<Budget>, now: Millis) {
        if self.wants.paused {
            return;
        }
        if self.started && self.prefix.is_none() {
            self.pass_unwanted(log);
            if self.place.next >= log.head() {
                self.init_generation = Some(log.init().generation());
                self.burst_ms = 0;
                return;
            }
        }
        let fell_off = self.place.next < log.base();
        let too_slow = self.started && self.lag_ms(log, now) > lag_ms + self.burst_ms;
        if self.started && (fell_off || too_slow) {
            self.skip(log);
        }
        if !self.started {
            self.try_start(log, budget, now);
        }
        debug_assert!(!self.started || self.place.next >= log.base());
    }

    /// Frames that this player does not want are behind it as soon as nothing lies before them:
    /// they are no lag, and the end of its duration may stand right after them.
    fn pass_unwanted(&mut self, log: &StreamLog) {
        while let Some(entry) = log.entry(self.place.next) {
            let is_end = self.end.is_some_and(|end| self.place.next >= end);
            let mut place = self.place;
            if is_end || self.is_over(&entry.frame) || self.passes(&mut place, entry, log) {
                return;
            }
            self.place = place;
        }
    }

    /// Moves `place` behind `entry`, the next one; whether this player takes it.
    fn passes(&self, place: &mut Place, entry: &Entry, log: &StreamLog) -> bool {
        place.next += 1;
        if self.wants.audio && self.wants.video && place.key_seen && !entry.begins_epoch {
            return true;
        }
        place.key_seen &= !entry.begins_epoch;
        place.key_seen |= log.opens_gop(&entry.frame);
        self.takes(&entry.frame, place.key_seen)
    }

    /// The rest of the frame in flight: before everything else.
    #[must_use]
    pub fn in_flight(&self) -> Option<Pending<'_>> {
        self.in_flight.as_ref().map(|(frame, offset)| Pending { frame, offset: *offset })
    }

    /// What to write behind the frame in flight, in order.
    #[must_use]
    pub fn ahead<'a>(&'a self, log: &'a StreamLog) -> Walk<'a> {
        Walk { cursor: self, log, place: self.place }
    }

    /// The socket accepted everything pending, up to the [`Walk::place`] of [`Cursor::ahead`].
    pub fn arrive(&mut self, place: Place) {
        self.in_flight = None;
        self.move_to(place);
    }

    /// The socket accepted `bytes` more of [`Cursor::in_flight`] and [`Cursor::ahead`].
    pub fn advance(&mut self, log: &StreamLog, mut bytes: usize) {
        if let Some((frame, offset)) = &mut self.in_flight {
            let left = frame.wire_bytes() - *offset;
            if bytes < left {
                *offset += bytes;
                return;
            }
            bytes -= left;
            self.in_flight = None;
        }
        while bytes > 0 {
            let Some((frame, place)) = self.step(self.place, log) else { break };
            if bytes < frame.wire_bytes() {
                self.in_flight = Some((Arc::clone(frame), bytes));
                bytes = 0;
            } else {
                bytes -= frame.wire_bytes();
            }
            self.move_to(place);
        }
        debug_assert_eq!(bytes, 0, "only pending bytes can be accepted");
    }

    fn move_to(&mut self, place: Place) {
        self.place = place;
        if let Some(prefix) = &mut self.prefix {
            prefix.next = place.prefix_next;
            if prefix.next >= prefix.frames.len() {
                self.prefix = None;
                self.place.prefix_next = 0;
            }
        }
    }

    /// The frame after `place`, and the place behind it. Where none follows, frames that the player
    /// does not want are not passed either: it may want them later.
    fn step<'a>(&'a self, mut place: Place, log: &'a StreamLog) -> Option<(&'a Arc<Frame>, Place)> {
        if self.wants.paused || !self.started {
            return None;
        }
        if let Some(frame) = self.prefix.as_ref().and_then(|p| p.frames.get(place.prefix_next)) {
            place.prefix_next += 1;
            return Some((frame, place));
        }
        while self.end.is_none_or(|end| place.next < end) {
            let entry = log.entry(place.next)?;
            if self.is_over(&entry.frame) {
                break;
            }
            if self.passes(&mut place, entry, log) {
                return Some((&entry.frame, place));
            }
        }
        None
    }

    fn takes(&self, frame: &Frame, key_seen: bool) -> bool {
        match frame.kind() {
            MediaKind::Data => true,
            MediaKind::Audio => self.wants.audio || frame.tag().is_init(),
            MediaKind::Video if frame.tag().is_init() => true,
            MediaKind::Video => self.wants.video && key_seen,
        }
    }

    fn is_over(&self, frame: &Frame) -> bool {
        let Some(limit) = self.duration_ms else { return false };
        let played = frame.timestamp().wrapping_sub(self.first_timestamp);
        frame.kind() != MediaKind::Data && played >= limit && played < 1 << 31
    }

    fn duration_over(&self, log: &StreamLog) -> bool {
        let is_counted = self.duration_ms.is_some() && self.started && self.prefix.is_none();
        is_counted && log.frame(self.place.next).is_some_and(|frame| self.is_over(frame))
    }

    /// Gives up everything between here and the newest resume point.
    fn skip(&mut self, log: &StreamLog) {
        let from = self.place.next;
        let newest = if self.needs_key(log) { log.last_key() } else { log.last_audio() };
        self.place.next = newest.filter(|&newer| newer > from).unwrap_or(log.head());
        self.started = false;
        self.skips += 1;
        self.skipped_frames += self.place.next - from;
    }

    fn try_start(&mut self, log: &mut StreamLog, budget: &Arc<Budget>, now: Millis) {
        self.place.next = self.place.next.max(log.base());
        let cached = log.key_frame().filter(|_| self.init_generation.is_none()).cloned();
        if let Some(key) = cached
            && log.gop_mode() == GopMode::Keyframe
        {
            let mut frames = log.init_frames(key.timestamp(), budget).to_vec();
            self.first_timestamp = key.timestamp();
            frames.push(key);
            self.start(log, log.head(), frames.into(), now);
            self.place.key_seen = false;
            return;
        }
        let Some(index) = self.resume_point(log) else { return };
        let Some(timestamp) = log.frame(index).map(|frame| frame.timestamp()) else { return };
        if self.init_generation.is_none() {
            self.first_timestamp = timestamp;
        }
        let stale = self.init_generation != Some(log.init().generation()) || self.prefix.is_some();
        let frames = if stale { log.init_frames(timestamp, budget) } else { Arc::default() };
        self.start(log, index, frames, now);
    }

    fn start(&mut self, log: &StreamLog, next: u64, frames: Arc<[Arc<Frame>]>, now: Millis) {
        self.burst_ms = log.arrived(next).map_or(0, |arrived| now.since(arrived));
        self.place = Place { prefix_next: 0, next, key_seen: false };
        self.prefix = (!frames.is_empty()).then_some(Prefix { frames, next: 0 });
        self.init_generation = Some(log.init().generation());
        self.started = true;
    }

    /// Whether this player starts at keyframes only; else at any audio frame.
    fn needs_key(&self, log: &StreamLog) -> bool {
        log.has_video() && self.wants.video
    }

    /// Where to start at or after `place.next`.
    fn resume_point(&self, log: &StreamLog) -> Option<u64> {
        if self.needs_key(log) {
            return log.last_key().filter(|&key| key >= self.place.next);
        }
        let is_audio = |frame: &Arc<Frame>| {
            frame.kind() == MediaKind::Audio && frame.tag().class == TagClass::AudioFrame
        };
        let from = self.place.next.max(log.headers_from());
        // Without this look, players who wait would search the whole log at every frame.
        log.last_audio().filter(|&newest| newest >= from)?;
        (from..log.head()).find(|&index| log.frame(index).is_some_and(is_audio))
    }
}
