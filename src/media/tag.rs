//! Classification of audio and video bodies: legacy FLV and Enhanced RTMP v1/v2.

use crate::rtmp::session::MediaKind;
use crate::rtmp::wire::{u16_be, u24_be};

/// What a body is, as far as fan-out needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagClass {
    /// Codec configuration (video SequenceStart/MPEG2TSSequenceStart, audio SequenceStart); cached
    /// for joiners.
    SequenceHeader,
    /// Video keyframe (random access point).
    Keyframe,
    /// Any other coded video frame, also opaque bodies that nobody understands.
    InterFrame,
    /// Audio frame (also silence, i.e. an empty body, and unknown audio).
    AudioFrame,
    /// Audio MultichannelConfig: cached for joiners, sent after the sequence header.
    MultichannelConfig,
    /// Video Metadata packet (colorInfo): cached for joiners, sent after the sequence header.
    ColorInfo,
    /// End of sequence.
    SequenceEnd,
    /// Video command frame (frame type 5).
    Command,
}

/// Codec, for statistics and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Legacy FLV CodecID or SoundFormat.
    Legacy(u8),
    /// Enhanced RTMP.
    FourCc([u8; 4]),
    /// Not decodable or none (silence).
    Unknown,
}

/// The tracks a body speaks of, as a set of track ids 0-255. Bodies without multitrack: {0}.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrackSet(pub [u64; 4]);

/// The classification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tag {
    /// Kind of body.
    pub class: TagClass,
    /// Codec of the first track named.
    pub codec: Codec,
    /// Tracks.
    pub tracks: TrackSet,
    /// Composition time in ms of the first track, 0 where the format has none.
    pub composition_time_ms: i32,
    /// Where the codec data begins in the body; 0 if unknown (several tracks, opaque).
    pub payload_offset: usize,
}

impl TrackSet {
    /// The set of one track.
    #[must_use]
    pub fn single(id: u8) -> Self {
        let mut set = Self::default();
        set.insert(id);
        set
    }

    /// Adds a track.
    pub fn insert(&mut self, id: u8) {
        if let Some(word) = self.0.get_mut(usize::from(id / 64)) {
            *word |= 1 << (id % 64);
        }
    }

    /// Whether the track is in the set.
    #[must_use]
    pub fn contains(&self, id: u8) -> bool {
        self.0.get(usize::from(id / 64)).is_some_and(|word| word >> (id % 64) & 1 == 1)
    }

    /// The lowest track, if there is any.
    #[must_use]
    pub fn first(&self) -> Option<u8> {
        (0..=u8::MAX).find(|&id| self.contains(id))
    }

    /// Whether every track of this set is in `other`.
    #[must_use]
    pub fn is_subset_of(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(own, others)| own & !others == 0)
    }
}

impl Tag {
    /// Whether late joiners need it before their first frame.
    #[must_use]
    pub fn is_init(&self) -> bool {
        use TagClass::{ColorInfo, MultichannelConfig, SequenceHeader};
        matches!(self.class, SequenceHeader | MultichannelConfig | ColorInfo)
    }

    fn new(class: TagClass, codec: Codec, tracks: TrackSet, payload_offset: usize) -> Self {
        Self { class, codec, tracks, composition_time_ms: 0, payload_offset }
    }

    fn opaque(class: TagClass) -> Self {
        Self::new(class, Codec::Unknown, TrackSet::single(0), 0)
    }
}

const FRAME_TYPE_KEY: u8 = 1;
const FRAME_TYPE_GENERATED_KEY: u8 = 4;
const FRAME_TYPE_COMMAND: u8 = 5;
const LEGACY_AVC: u8 = 7;
/// HEVC under the id of Chinese CDNs, laid out as AVC.
const LEGACY_HEVC: u8 = 12;
const LEGACY_AAC: u8 = 10;
const SOUND_FORMAT_ENHANCED: u8 = 9;
const PACKET_MULTITRACK_VIDEO: u8 = 6;
const PACKET_MULTITRACK_AUDIO: u8 = 5;
const PACKET_MODEX: u8 = 7;
/// LIMIT: ModEx blocks of one body; each is at least 3 bytes, so a chain is work for nothing.
const MODEX_MAX: usize = 8;

/// Classifies a video body from its first bytes (all of it, or a prefix of some 4 KiB).
#[must_use]
pub fn classify_video(body: &[u8]) -> Tag {
    let Some(&first) = body.first() else { return Tag::opaque(TagClass::InterFrame) };
    if first & 0x80 != 0 {
        // QUIRK: DJI firmware sets bit 7 by accident; what names no codec is an opaque frame.
        return enhanced_video(body).unwrap_or(Tag::opaque(TagClass::InterFrame));
    }
    let (frame_type, codec) = (first >> 4, first & 0x0F);
    if frame_type == FRAME_TYPE_COMMAND {
        return Tag::new(TagClass::Command, Codec::Legacy(codec), TrackSet::single(0), 1);
    }
    let is_key = matches!(frame_type, FRAME_TYPE_KEY | FRAME_TYPE_GENERATED_KEY);
    let frame = if is_key { TagClass::Keyframe } else { TagClass::InterFrame };
    if !matches!(codec, LEGACY_AVC | LEGACY_HEVC) {
        return Tag::new(frame, Codec::Legacy(codec), TrackSet::single(0), 1);
    }
    let class = match body.get(1) {
        Some(0) => TagClass::SequenceHeader,
        Some(2) => TagClass::SequenceEnd,
        Some(_) => frame,
        None => TagClass::InterFrame,
    };
    let mut tag = Tag::new(class, Codec::Legacy(codec), TrackSet::single(0), 5);
    tag.composition_time_ms = signed_24(body, 2);
    tag
}

/// Classifies an audio body from its first bytes.
#[must_use]
pub fn classify_audio(body: &[u8]) -> Tag {
    let Some(&first) = body.first() else { return Tag::opaque(TagClass::AudioFrame) };
    let format = first >> 4;
    if format == SOUND_FORMAT_ENHANCED {
        return enhanced_audio(body).unwrap_or(Tag::opaque(TagClass::AudioFrame));
    }
    // `af 00` without a configuration is useless to a joiner.
    let is_header = format == LEGACY_AAC && body.get(1) == Some(&0) && body.len() > 2;
    let class = if is_header { TagClass::SequenceHeader } else { TagClass::AudioFrame };
    let offset = if format == LEGACY_AAC { 2 } else { 1 };
    Tag::new(class, Codec::Legacy(format), TrackSet::single(0), offset)
}

/// Enhanced RTMP v2, video header. `None`: no known FourCC where one belongs.
fn enhanced_video(body: &[u8]) -> Option<Tag> {
    let first = *body.first()?;
    let frame_type = first >> 4 & 7;
    let (packet, at) = after_modex(body, first & 0x0F)?;
    // Metadata is told before the frame type: ffmpeg sends colorInfo with frame type 5.
    if packet != 4 && frame_type == FRAME_TYPE_COMMAND {
        return Some(Tag::opaque(TagClass::Command));
    }
    let tracks = tracks(body, at, packet, PACKET_MULTITRACK_VIDEO)?;
    let is_known =
        matches!(&tracks.fourcc, b"vp08" | b"vp09" | b"av01" | b"avc1" | b"hvc1" | b"vvc1");
    if !is_known {
        return None;
    }
    let is_key = matches!(frame_type, FRAME_TYPE_KEY | FRAME_TYPE_GENERATED_KEY);
    let class = match tracks.packet {
        0 | 5 => TagClass::SequenceHeader,
        2 => TagClass::SequenceEnd,
        4 => TagClass::ColorInfo,
        _ if is_key => TagClass::Keyframe,
        _ => TagClass::InterFrame,
    };
    let codec = Codec::FourCc(tracks.fourcc);
    let mut tag = Tag::new(class, codec, tracks.set, tracks.payload_offset);
    let has_time = matches!(&tracks.fourcc, b"avc1" | b"hvc1" | b"vvc1") && tracks.packet == 1;
    if has_time && tracks.payload_offset > 0 {
        tag.composition_time_ms = signed_24(body, tracks.payload_offset);
        tag.payload_offset += 3;
    }
    Some(tag)
}

/// Enhanced RTMP v2, audio header.
fn enhanced_audio(body: &[u8]) -> Option<Tag> {
    let (packet, at) = after_modex(body, *body.first()? & 0x0F)?;
    let tracks = tracks(body, at, packet, PACKET_MULTITRACK_AUDIO)?;
    let class = match tracks.packet {
        0 => TagClass::SequenceHeader,
        2 => TagClass::SequenceEnd,
        4 => TagClass::MultichannelConfig,
        _ => TagClass::AudioFrame,
    };
    let codec = Codec::FourCc(tracks.fourcc);
    Some(Tag::new(class, codec, tracks.set, tracks.payload_offset))
}

/// Skips ModEx blocks behind the first byte. Returns the packet type and where the rest begins.
fn after_modex(body: &[u8], mut packet: u8) -> Option<(u8, usize)> {
    let mut at = 1;
    for _ in 0..MODEX_MAX {
        if packet != PACKET_MODEX {
            return Some((packet, at));
        }
        let mut size = usize::from(*body.get(at)?) + 1;
        at += 1;
        if size == 256 {
            size = usize::from(u16_be(body, at)?) + 1;
            at += 2;
        }
        at += size;
        packet = *body.get(at)? & 0x0F;
        at += 1;
    }
    None
}

struct Tracks {
    packet: u8,
    fourcc: [u8; 4],
    set: TrackSet,
    payload_offset: usize,
}

/// Reads FourCC and track ids behind the packet type.
fn tracks(body: &[u8], mut at: usize, packet: u8, multitrack: u8) -> Option<Tracks> {
    if packet != multitrack {
        let set = TrackSet::single(0);
        return Some(Tracks { packet, fourcc: fourcc(body, at)?, set, payload_offset: at + 4 });
    }
    let byte = *body.get(at)?;
    at += 1;
    let (layout, packet) = (byte >> 4, byte & 0x0F);
    let first = fourcc(body, at)?;
    if layout != 2 {
        at += 4;
    }
    if layout == 0 {
        let set = TrackSet::single(*body.get(at)?);
        return Some(Tracks { packet, fourcc: first, set, payload_offset: at + 1 });
    }
    let mut set = TrackSet::default();
    loop {
        let id_at = if layout == 2 { at + 4 } else { at };
        let (Some(&id), Some(size)) = (body.get(id_at), u24_be(body, id_at + 1)) else { break };
        set.insert(id);
        at = id_at + 4 + size as usize;
    }
    Some(Tracks { packet, fourcc: first, set, payload_offset: 0 })
}

fn fourcc(body: &[u8], at: usize) -> Option<[u8; 4]> {
    body.get(at..at.checked_add(4)?)?.try_into().ok()
}

fn signed_24(body: &[u8], at: usize) -> i32 {
    let value = u24_be(body, at).unwrap_or(0);
    (value << 8).cast_signed() >> 8
}

/// Classifies by kind. Data bodies have no class of their own.
#[must_use]
pub fn classify(kind: MediaKind, body: &[u8]) -> Tag {
    match kind {
        MediaKind::Video => classify_video(body),
        MediaKind::Audio => classify_audio(body),
        MediaKind::Data => Tag::opaque(TagClass::AudioFrame),
    }
}
