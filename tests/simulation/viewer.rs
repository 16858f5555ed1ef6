//! What a player receives, and every rule that it can check alone.

use millrace::media::log::GopMode;
use millrace::service::message::Epoch;
use millrace::service::publisher::ConnectionId;

use super::source::{Class, parse};
use crate::support::player_wire::{Heard, WireReader};

/// What is known of an encoder.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    pub key: usize,
    pub epoch: Epoch,
    /// Everything it has sent.
    pub sent: &'a [Class],
}

/// Epoch, encoder and version of a sequence header.
type Header = (Epoch, u16, u8);

/// One player.
#[derive(Debug)]
pub struct Viewer {
    pub on: usize,
    pub key: usize,
    pub slot: usize,
    pub connection: ConnectionId,
    /// It has come onto the flush list for everything in the log before this index.
    pub flushed: u64,
    /// Final ends of the stream before it joined.
    pub ends_before: usize,
    reader: WireReader,
    gop: GopMode,
    /// The newest encoder heard, and the place of its last message.
    pub serial: u16,
    epoch: Epoch,
    pub last_place: Option<usize>,
    key_seen: bool,
    keys: usize,
    video_header: Option<Header>,
    audio_header: Option<Header>,
    audio_timestamp: Option<u32>,
    video_timestamp: Option<u32>,
    /// Greatest timestamp of older epochs.
    floor: Option<u32>,
    greatest: Option<u32>,
}

impl Viewer {
    pub fn new(
        who: (usize, usize, usize),
        ends_before: usize,
        chunk_size: u32,
        gop: GopMode,
    ) -> Self {
        let (on, key, slot) = who;
        Self {
            on,
            key,
            slot,
            connection: ConnectionId::new(0, 0),
            flushed: 0,
            ends_before,
            reader: WireReader::new(chunk_size),
            gop,
            serial: 0,
            epoch: Epoch(0),
            last_place: None,
            key_seen: false,
            keys: 0,
            video_header: None,
            audio_header: None,
            audio_timestamp: None,
            video_timestamp: None,
            floor: None,
            greatest: None,
        }
    }

    /// Takes wire bytes. `sent` gives what the encoder with a serial number has sent.
    pub fn take<'a>(&mut self, bytes: &[u8], sent: impl Fn(u16) -> Told<'a>) {
        for heard in self.reader.take(bytes) {
            self.hear(&heard, &sent);
        }
    }

    /// Whether it has got whole messages only.
    pub fn is_at_boundary(&self) -> bool {
        self.reader.is_at_boundary()
    }

    fn hear<'a>(&mut self, heard: &Heard, sent: &impl Fn(u16) -> Told<'a>) {
        let (class, serial, version, place) = parse(heard.message_type, &heard.body);
        let Told { key, epoch, sent } = sent(serial);
        assert_eq!(key, self.key, "a frame of another stream");
        let older = epoch < self.epoch;
        assert!(
            !older,
            "a frame of an older epoch (N10): {serial} {place:?} after {}",
            self.serial
        );
        if epoch > self.epoch {
            (self.serial, self.epoch) = (serial, epoch);
            self.last_place = None;
            self.key_seen = false;
            self.keys = 0;
            self.floor = self.greatest;
        }
        match class {
            Class::VideoHeader => {
                self.video_header = newer(self.video_header, (epoch, serial, version));
                not_before(heard.timestamp, self.video_timestamp, "video header");
                self.check_floor(heard.timestamp);
                return self.follow(Class::VideoHeader, sent);
            }
            Class::AudioHeader => {
                self.audio_header = newer(self.audio_header, (epoch, serial, version));
                not_before(heard.timestamp, self.audio_timestamp, "audio header");
                self.check_floor(heard.timestamp);
                return self.follow(Class::AudioHeader, sent);
            }
            Class::Data if heard.body.starts_with(b"\x02\0\x0aonMetaData") => {
                assert_eq!(heard.timestamp, 0, "metadata has timestamp 0");
                return self.follow(Class::Data, sent);
            }
            Class::Data => return self.follow(Class::Data, sent),
            Class::Key | Class::Inter | Class::Audio => {}
        }
        let place = place.unwrap();
        assert_eq!(sent[place], class);
        self.check_order(class, place, sent);
        self.check_headers(class, version, &sent[..place]);
        self.check_time(class, heard.timestamp);
        self.last_place = Some(place);
        if class == Class::Key {
            self.key_seen = true;
            self.keys += 1;
        }
    }

    /// Headers and data in their place; those of a join or a gap stand outside the order.
    fn follow(&mut self, class: Class, sent: &[Class]) {
        let next = self.last_place.map_or(0, |last| last + 1);
        if sent.get(next) == Some(&class) && (self.last_place.is_some() || next == 0) {
            self.last_place = Some(next);
        }
    }

    /// N3: no gap but before a resume point; no inter frame without all that it needs.
    fn check_order(&self, class: Class, place: usize, sent: &[Class]) {
        let next = self.last_place.map_or(0, |last| last + 1);
        assert!(place >= next, "message {place} of {} again or late, after {next}", self.serial);
        let missed: Vec<Class> =
            sent[next..place].iter().copied().filter(|class| is_frame(*class)).collect();
        let has_video = sent[..place].iter().any(|class| is_video(*class));
        let from_cached_key = self.gop == GopMode::Keyframe && self.keys == 1;
        let is_fine = match class {
            Class::Key => true,
            _ if missed.is_empty() => true,
            Class::Audio if !has_video => true,
            Class::Audio if from_cached_key => true,
            Class::Audio => !self.key_seen && missed.iter().all(|class| *class == Class::Inter),
            _ => false,
        };
        assert!(is_fine, "gap before {class:?} {place} of {}: {missed:?}", self.serial);
        assert!(class != Class::Inter || self.key_seen, "an inter frame before any keyframe");
    }

    fn check_headers(&self, class: Class, version: u8, before: &[Class]) {
        let (header, wanted) = match class {
            Class::Audio => (self.audio_header, Class::AudioHeader),
            _ => (self.video_header, Class::VideoHeader),
        };
        if before.contains(&wanted) {
            let (_, serial, known) = header.expect("no frame before its header");
            assert_eq!(serial, self.serial, "the header of an older epoch");
            assert!(known == version, "{class:?} needs header {version}, has {known}");
        }
    }

    /// Nothing of an epoch comes before the end of the epochs before it.
    fn check_floor(&self, timestamp: u32) {
        if let Some(floor) = self.floor {
            assert!(is_after(timestamp, floor), "{timestamp} after an epoch that ended at {floor}");
        }
    }

    fn check_time(&mut self, class: Class, timestamp: u32) {
        let last = if class == Class::Audio {
            &mut self.audio_timestamp
        } else {
            &mut self.video_timestamp
        };
        not_before(timestamp, *last, "frame");
        *last = Some(timestamp);
        self.check_floor(timestamp);
        if self.greatest.is_none_or(|greatest| is_after(timestamp, greatest)) {
            self.greatest = Some(timestamp);
        }
    }
}

fn newer(old: Option<Header>, new: Header) -> Option<Header> {
    assert!(old.is_none_or(|old| new >= old), "an old header: {new:?} after {old:?}");
    Some(new)
}

fn not_before(timestamp: u32, last: Option<u32>, what: &str) {
    if let Some(last) = last {
        assert!(timestamp == last || is_after(timestamp, last), "{what}: {timestamp} after {last}");
    }
}

fn is_after(a: u32, b: u32) -> bool {
    a != b && a.wrapping_sub(b) < 1 << 31
}

fn is_frame(class: Class) -> bool {
    matches!(class, Class::Key | Class::Inter | Class::Audio)
}

fn is_video(class: Class) -> bool {
    matches!(class, Class::Key | Class::Inter | Class::VideoHeader)
}
