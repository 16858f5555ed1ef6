//! Classification of audio and video bodies: legacy FLV and Enhanced RTMP v1/v2.

use crate::rtmp::session::MediaKind;

/// What a body is, as far as fan-out needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagClass {
    /// Codec configuration (video SequenceStart/MPEG2TSSequenceStart, audio SequenceStart); cached for joiners.
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

/// Classifies a video body from its first bytes (all of it, or a prefix of >= 4096 bytes).
#[must_use]
pub fn classify_video(body: &[u8]) -> Tag {
    let _ = body;
    todo!()
}

/// Classifies an audio body from its first bytes.
#[must_use]
pub fn classify_audio(body: &[u8]) -> Tag {
    let _ = body;
    todo!()
}

/// Classifies by kind; data bodies are [`TagClass::AudioFrame`]-like and never asked for.
#[must_use]
pub fn classify(kind: MediaKind, body: &[u8]) -> Tag {
    match kind {
        MediaKind::Video => classify_video(body),
        MediaKind::Audio | MediaKind::Data => classify_audio(body),
    }
}
