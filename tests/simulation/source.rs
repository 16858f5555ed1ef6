//! A simulated encoder, and the register of everything that encoders ever sent.

use millrace::rtmp::session::MediaKind;

use super::rng::Rng;
use crate::support::body;

/// What a message is, as its sender knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    Key,
    Inter,
    Audio,
    VideoHeader,
    AudioHeader,
    Data,
}

/// One message on its way into the server.
#[derive(Debug)]
pub struct Sent {
    pub kind: MediaKind,
    pub class: Class,
    pub timestamp: u32,
    pub body: Vec<u8>,
}

/// See the module documentation. Every message carries its encoder's serial number, the version of
/// the header that it needs and its place in the encoder's output.
#[derive(Debug)]
pub struct Source {
    serial: u16,
    has_audio: bool,
    has_video: bool,
    /// Classes of everything sent so far; its length is the next place.
    pub sent: Vec<Class>,
    version: u8,
    clock: u32,
    audio_clock: u32,
    frames_to_key: usize,
    gop_frames: usize,
    preamble: Vec<Class>,
    frame_bytes_max: usize,
}

impl Source {
    pub fn new(serial: u16, frame_bytes_max: usize, rng: &mut Rng) -> Self {
        let (has_audio, has_video) =
            rng.pick(&[(true, true), (true, true), (true, false), (false, true)]);
        let mut preamble = Vec::new();
        if has_video {
            preamble.push(Class::VideoHeader);
        }
        if has_audio {
            preamble.push(Class::AudioHeader);
        }
        if rng.chance(50) {
            // The first header fixes the offset of audio and video.
            preamble.reverse();
        }
        if rng.chance(60) {
            preamble.push(Class::Data);
        }
        let clock = rng.pick(&[0, 0, 0, 5_000, 0x00FF_FF00, 0x7FFF_FF00, 0xFFFF_FC00]) + 100;
        let starts_in_mid_gop = rng.chance(20);
        let gop_frames = 1 + rng.below(12);
        Self {
            serial,
            has_audio,
            has_video,
            sent: Vec::new(),
            version: 0,
            clock,
            audio_clock: clock - 100,
            frames_to_key: if starts_in_mid_gop { rng.below(4) } else { 0 },
            gop_frames,
            preamble,
            frame_bytes_max,
        }
    }

    /// The next message.
    pub fn next(&mut self, rng: &mut Rng) -> Sent {
        let class = self.preamble.pop().unwrap_or_else(|| self.choose(rng));
        self.send(class, rng)
    }

    /// A frame on which everybody can start: a keyframe, or audio where there is no video.
    pub fn resume_point(&mut self, rng: &mut Rng) -> Sent {
        if let Some(class) = self.preamble.pop() {
            return self.send(class, rng);
        }
        self.frames_to_key = 0;
        let class = if self.has_video { Class::Key } else { Class::Audio };
        self.send(class, rng)
    }

    /// Whether the encoder's headers are out.
    pub fn is_running(&self) -> bool {
        self.preamble.is_empty()
    }

    fn choose(&mut self, rng: &mut Rng) -> Class {
        match rng.below(100) {
            0..3 => return Class::Data,
            // New headers: the next video frame is a keyframe.
            3..6 => {
                self.version = self.version.wrapping_add(1);
                self.frames_to_key = 0;
                if self.has_video {
                    self.preamble.push(Class::VideoHeader);
                }
                return if self.has_audio { Class::AudioHeader } else { Class::Data };
            }
            // The same headers again.
            6..9 if self.has_video && self.frames_to_key == 0 => return Class::VideoHeader,
            _ => {}
        }
        if !self.has_video || self.has_audio && rng.chance(50) {
            return Class::Audio;
        }
        if self.frames_to_key == 0 { Class::Key } else { Class::Inter }
    }

    fn send(&mut self, class: Class, rng: &mut Rng) -> Sent {
        self.clock = self.clock.wrapping_add(1 + rng.below(40) as u32);
        let behind = self.clock.wrapping_sub(rng.below(60) as u32);
        if behind.wrapping_sub(self.audio_clock) < 1 << 31 {
            self.audio_clock = behind;
        }
        let place = self.sent.len() as u64;
        let number = u64::from(self.serial) << 48 | u64::from(self.version) << 40 | place;
        let len = 16 + rng.below(self.frame_bytes_max);
        let (kind, body) = match class {
            Class::Key => (MediaKind::Video, body::key(number, len)),
            Class::Inter => (MediaKind::Video, body::inter(number, len)),
            Class::Audio => (MediaKind::Audio, body::audio(number, len)),
            Class::VideoHeader => (MediaKind::Video, header(body::avc_header(0), number)),
            Class::AudioHeader => (MediaKind::Audio, header(body::aac_header(), number)),
            Class::Data => (MediaKind::Data, data(number, rng.chance(50))),
        };
        match class {
            Class::Key => self.frames_to_key = self.gop_frames - 1,
            Class::Inter => self.frames_to_key -= 1,
            Class::Audio | Class::VideoHeader | Class::AudioHeader | Class::Data => {}
        }
        self.sent.push(class);
        let is_audio = kind == MediaKind::Audio;
        let timestamp = if is_audio { self.audio_clock } else { self.clock };
        Sent { kind, class, timestamp, body }
    }
}

/// Same version, same bytes: the place is left out.
fn header(mut body: Vec<u8>, number: u64) -> Vec<u8> {
    body.extend_from_slice(&number.to_be_bytes()[..3]);
    body
}

fn data(number: u64, is_metadata: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = millrace::rtmp::amf0::Writer::new(&mut out);
    if is_metadata {
        writer.string(b"@setDataFrame").string(b"onMetaData").ecma_array(1);
        writer.key(b"number").number(f64::from_bits(number)).end();
    } else {
        writer.string(b"onTextData").number(f64::from_bits(number));
    }
    out
}

/// What a body that came out of the server says: class, serial, version, place (none: a header).
pub fn parse(message_type: u8, body: &[u8]) -> (Class, u16, u8, Option<usize>) {
    let (class, number) = match (message_type, body[0], body[1]) {
        (18, ..) if body.starts_with(b"\x02\0\x0aonMetaData") => {
            let value = &body[body.len() - 11..body.len() - 3];
            (Class::Data, u64::from_be_bytes(value.try_into().unwrap()))
        }
        (18, ..) => (Class::Data, u64::from_be_bytes(body[body.len() - 8..].try_into().unwrap())),
        (9, 0x17, 0) => (Class::VideoHeader, tail(body)),
        (8, 0xAF, 0) => (Class::AudioHeader, tail(body)),
        (9, 0x17, 1) => (Class::Key, body::number(body)),
        (9, 0x27, 1) => (Class::Inter, body::number(body)),
        (8, 0xAF, 1) => (Class::Audio, body::number(body)),
        other => panic!("nobody sent this: {other:?}"),
    };
    let is_header = matches!(class, Class::VideoHeader | Class::AudioHeader);
    let place = (!is_header).then_some((number & 0xFF_FFFF_FFFF) as usize);
    ((class), (number >> 48) as u16, (number >> 40) as u8, place)
}

fn tail(body: &[u8]) -> u64 {
    let [.., a, b, c] = body else { panic!("a header is longer") };
    u64::from_be_bytes([*a, *b, *c, 0, 0, 0, 0, 0])
}
