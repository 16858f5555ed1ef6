//! What is published: synthetic frames of a fixed bit rate, or an FLV file again and again.

use millrace::media::clip::Clip;
use millrace::media::flv::FlvTag;
use millrace::media::tag;
use millrace::rtmp::amf0::Writer;
use millrace::rtmp::session::MediaKind;

use crate::codec::{self, Slice};
use crate::stamp::{STAMP_BYTES, Stamp, TAG_HEADER_BYTES_MAX, Wrap};

const VIDEO_FRAMES_PER_SECOND: u64 = 30;
const AUDIO_FRAMES_PER_SECOND: u64 = 43;
/// A keyframe is so many times as long as an inter frame.
const KEYFRAME_WEIGHT: u64 = 8;
/// Tag header, SEI around the stamp, slice: what a synthetic body holds beside padding, about.
const VIDEO_OVERHEAD: usize = 5 + 24 + STAMP_BYTES;
/// Tag header and data element.
const AUDIO_OVERHEAD: usize = 4 + STAMP_BYTES;

/// A message that players need before the first frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    /// Audio, video, data.
    pub(crate) kind: MediaKind,
    /// Body.
    pub(crate) body: Vec<u8>,
}

/// An endless series of frames, each due at its time.
#[derive(Debug, Clone)]
pub(crate) struct Source<'a> {
    series: Series<'a>,
    stream: u32,
    sequence: u32,
    /// Codec data, reused.
    data: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Series<'a> {
    Synthetic(Synthetic),
    Flv { clip: Clip<'a>, next: u64 },
}

/// Counters and sizes of a synthetic stream.
#[derive(Debug, Clone)]
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

    /// Puts the codec data of the next frame behind its stamp into `data`; its kind and tag header.
    fn next(&mut self, seed: u64, data: &mut Vec<u8>) -> (MediaKind, &'static [u8]) {
        if self.audio_due() < self.video_due() {
            self.audio += 1;
            codec::pad_audio(self.audio_bytes.saturating_sub(AUDIO_OVERHEAD), seed, data);
            return (MediaKind::Audio, &[0xAF, 1]);
        }
        let (gops, in_gop) = (self.video / self.gop, self.video % self.gop);
        self.video += 1;
        let (slice, weight, tag_header) = match u16::try_from(in_gop) {
            Ok(0) | Err(_) => (Slice::Key { number: gops }, KEYFRAME_WEIGHT, &[0x17, 1, 0, 0, 0]),
            Ok(number) => (Slice::Inter { number }, 1, &[0x27, 1, 0, 0, 0]),
        };
        slice.emit(data);
        let slice_bytes = std::mem::take(data);
        let wanted = self.inter_bytes * usize::try_from(weight).unwrap_or(1);
        let padding = wanted.saturating_sub(VIDEO_OVERHEAD + slice_bytes.len());
        codec::pad_video(padding, seed, data);
        data.extend_from_slice(&slice_bytes);
        (MediaKind::Video, tag_header)
    }
}

impl<'a> Source<'a> {
    /// 30 H.264 and 43 AAC frames a second, `kbps` in all, a keyframe every `gop_ms`.
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
        Self { series, stream: 0, sequence: 0, data: Vec::new() }
    }

    /// The same from its beginning for the stream with this id.
    pub(crate) fn for_stream(&self, stream: u32) -> Self {
        Self { stream, ..self.clone() }
    }

    /// Metadata and sequence headers.
    pub(crate) fn headers(&self) -> Vec<Header> {
        let Series::Flv { clip, .. } = &self.series else { return synthetic_headers() };
        let header = |tag: &FlvTag<'_>| Some(Header { kind: tag.kind()?, body: tag.body.to_vec() });
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
        self.data.clear();
        let stamp = Stamp { stream: self.stream, sequence, sent_us: now_us, checksum: 0 };
        match &mut self.series {
            Series::Synthetic(synthetic) => {
                let (kind, tag_header) = synthetic.next(u64::from(sequence), &mut self.data);
                let wrap = Wrap::of(kind, &tag::classify(kind, tag_header));
                stamp.emit(tag_header, wrap, &self.data, body);
                (kind, timestamp)
            }
            Series::Flv { clip, next } => {
                let frame = clip.frame(*next);
                *next += 1;
                let kind = frame.kind().unwrap_or(MediaKind::Data);
                let tag = tag::classify(kind, frame.body);
                let (tag_header, data) =
                    frame.body.split_at_checked(tag.payload_offset).unwrap_or_default();
                stamp.emit(tag_header, Wrap::of(kind, &tag), data, body);
                (kind, timestamp)
            }
        }
    }
}

fn synthetic_headers() -> Vec<Header> {
    let mut metadata = Vec::new();
    let mut writer = Writer::new(&mut metadata);
    writer.string(b"@setDataFrame").string(b"onMetaData").ecma_array(2);
    let (width, height) = (f64::from(codec::WIDTH), f64::from(codec::HEIGHT));
    writer.key(b"width").number(width).key(b"height").number(height).end();
    let video = [&[0x17, 0, 0, 0, 0][..], &codec::avc_config()].concat();
    let audio = [&[0xAF, 0][..], &codec::AUDIO_CONFIG].concat();
    vec![
        Header { kind: MediaKind::Data, body: metadata },
        Header { kind: MediaKind::Video, body: video },
        Header { kind: MediaKind::Audio, body: audio },
    ]
}
