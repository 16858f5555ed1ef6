//! What is published: synthetic frames of a fixed bit rate, or an FLV file again and again.

use millrace::media::clip::Clip;
use millrace::media::tag;
use millrace::rtmp::amf0::Writer;
use millrace::rtmp::session::MediaKind;

use crate::stamp::{self, STAMP_BYTES, TAG_HEADER_BYTES_MAX};

const VIDEO_FRAMES_PER_SECOND: u64 = 30;
const AUDIO_FRAMES_PER_SECOND: u64 = 43;
/// A keyframe is so many times as long as an inter frame.
const KEYFRAME_WEIGHT: u64 = 8;

/// A message that players need before the first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Audio, video, data.
    pub(crate) kind: MediaKind,
    /// Body.
    pub(crate) body: Vec<u8>,
}

/// An endless series of frames, each due at its time.
#[derive(Debug)]
pub(crate) struct Source<'a> {
    series: Series<'a>,
    sequence: u32,
    /// Codec data, reused.
    data: Vec<u8>,
}

#[derive(Debug)]
enum Series<'a> {
    Synthetic(Synthetic),
    Flv { clip: Clip<'a>, next: u64 },
}

/// Counters and sizes of a synthetic stream.
#[derive(Debug)]
struct Synthetic {
    video: u64,
    audio: u64,
    /// Video frames from keyframe to keyframe.
    gop: u64,
    inter_bytes: usize,
    audio_bytes: usize,
}

impl Synthetic {
    fn new(kbps: u64, gop_ms: u64) -> Self {
        let bytes_per_second = kbps * 1000 / 8;
        // AAC of 128 kb/s, but never more than a quarter of the whole.
        let audio = (bytes_per_second / 4).min(16_000);
        let gop = (gop_ms * VIDEO_FRAMES_PER_SECOND / 1000).max(1);
        let video_per_gop = (bytes_per_second - audio) * gop / VIDEO_FRAMES_PER_SECOND;
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Self {
            video: 0,
            audio: 0,
            gop,
            inter_bytes: size(video_per_gop / (gop - 1 + KEYFRAME_WEIGHT)),
            audio_bytes: size(audio / AUDIO_FRAMES_PER_SECOND),
        }
    }

    fn due_ms(&self) -> u64 {
        self.video_due().min(self.audio_due())
    }

    fn video_due(&self) -> u64 {
        self.video * 1000 / VIDEO_FRAMES_PER_SECOND
    }

    fn audio_due(&self) -> u64 {
        self.audio * 1000 / AUDIO_FRAMES_PER_SECOND
    }

    /// Kind, tag header and body length of the next frame.
    fn next(&mut self) -> (MediaKind, &'static [u8], usize) {
        if self.audio_due() < self.video_due() {
            self.audio += 1;
            return (MediaKind::Audio, &[0xAF, 1], self.audio_bytes);
        }
        let is_key = self.video.is_multiple_of(self.gop);
        self.video += 1;
        if is_key {
            let weight = usize::try_from(KEYFRAME_WEIGHT).unwrap_or(1);
            return (MediaKind::Video, &[0x17, 1, 0, 0, 0], self.inter_bytes * weight);
        }
        (MediaKind::Video, &[0x27, 1, 0, 0, 0], self.inter_bytes)
    }
}

impl<'a> Source<'a> {
    /// 30 AVC-like and 43 AAC-like frames a second, `kbps` in all, a keyframe every `gop_ms`.
    pub(crate) fn synthetic(kbps: u64, gop_ms: u64) -> Self {
        Self::new(Series::Synthetic(Synthetic::new(kbps, gop_ms)))
    }

    /// The frames of an FLV file, stamped; `None` if it is none or a frame cannot be stamped.
    pub(crate) fn flv(file: &'a [u8]) -> Option<Self> {
        let clip = Clip::parse(file)?;
        let fits = |at: usize| (1..=TAG_HEADER_BYTES_MAX).contains(&at);
        let can_be_stamped = clip.frames().iter().all(|frame| {
            let kind = frame.kind();
            kind.is_some_and(|kind| fits(tag::classify(kind, frame.body).payload_offset))
        });
        can_be_stamped.then(|| Self::new(Series::Flv { clip, next: 0 }))
    }

    fn new(series: Series<'a>) -> Self {
        Self { series, sequence: 0, data: Vec::new() }
    }

    /// Metadata and sequence headers.
    pub(crate) fn headers(&self) -> Vec<Header> {
        let Series::Flv { clip, .. } = &self.series else { return synthetic_headers() };
        let header = |tag: &millrace::media::flv::FlvTag<'_>| {
            Some(Header { kind: tag.kind()?, body: tag.body.to_vec() })
        };
        clip.headers().iter().filter_map(header).collect()
    }

    /// Whether a stream of it begins with a keyframe.
    pub(crate) fn has_video(&self) -> bool {
        match &self.series {
            Series::Synthetic(_) => true,
            Series::Flv { clip, .. } => {
                clip.frames().iter().any(|frame| frame.kind() == Some(MediaKind::Video))
            }
        }
    }

    /// When the next frame is due, ms after the first.
    pub(crate) fn due_ms(&self) -> u64 {
        match &self.series {
            Series::Synthetic(synthetic) => synthetic.due_ms(),
            Series::Flv { clip, next } => clip.due_ms(*next),
        }
    }

    /// Frames made so far, modulo 2^32: the sequence number of the next.
    pub(crate) fn sequence(&self) -> u32 {
        self.sequence
    }

    /// Puts the next frame into `body`, stamped with `now_us`; its kind and timestamp.
    pub(crate) fn next(&mut self, now_us: u64, body: &mut Vec<u8>) -> (MediaKind, u32) {
        let timestamp = u32::try_from(self.due_ms() & 0xFFFF_FFFF).unwrap_or(0);
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        body.clear();
        match &mut self.series {
            Series::Synthetic(synthetic) => {
                let (kind, tag_header, len) = synthetic.next();
                let len = len.saturating_sub(tag_header.len() + STAMP_BYTES);
                fill(u64::from(sequence), len, &mut self.data);
                stamp::emit(tag_header, sequence, now_us, &self.data, body);
                (kind, timestamp)
            }
            Series::Flv { clip, next } => {
                let frame = clip.frame(*next);
                *next += 1;
                let kind = frame.kind().unwrap_or(MediaKind::Data);
                let at = tag::classify(kind, frame.body).payload_offset;
                let (tag_header, data) = frame.body.split_at_checked(at).unwrap_or_default();
                stamp::emit(tag_header, sequence, now_us, data, body);
                (kind, timestamp)
            }
        }
    }
}

fn synthetic_headers() -> Vec<Header> {
    let mut metadata = Vec::new();
    let mut writer = Writer::new(&mut metadata);
    writer.string(b"@setDataFrame").string(b"onMetaData").ecma_array(2);
    writer.key(b"width").number(1280.0).key(b"height").number(720.0).end();
    let avc = vec![0x17, 0, 0, 0, 0, 1, 0x42, 0, 0x1E, 0xFF, 0xE1, 0, 0];
    vec![
        Header { kind: MediaKind::Data, body: metadata },
        Header { kind: MediaKind::Video, body: avc },
        Header { kind: MediaKind::Audio, body: vec![0xAF, 0, 0x12, 0x10] },
    ]
}

/// Makes `data` `len` bytes that depend on `seed` and on their place (xorshift).
fn fill(seed: u64, len: usize, data: &mut Vec<u8>) {
    data.clear();
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    while data.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        data.extend_from_slice(&state.to_be_bytes());
    }
    data.truncate(len);
}
