//! A short FLV file as an endless stream: its headers once, its frames again and again.
//!
//! Timestamps rise over the end of the file: frame `n` of round `r` is due one period after the
//! same frame of round `r - 1`. For the demo clip and the load generator. Owns no file and no
//! clock.

use super::flv::{FlvTag, tags};
use super::tag::{TagClass, classify};
use crate::rtmp::session::MediaKind;

/// See the module documentation.
#[derive(Debug, Clone)]
pub struct Clip<'a> {
    headers: Vec<FlvTag<'a>>,
    frames: Vec<FlvTag<'a>>,
    period_ms: u64,
}

impl<'a> Clip<'a> {
    /// The clip in a whole FLV file; `None` if it is none or has no audio and video frame.
    #[must_use]
    pub fn parse(file: &'a [u8]) -> Option<Self> {
        let (mut headers, mut frames) = (Vec::new(), Vec::new());
        for tag in tags(file)? {
            match tag.kind() {
                Some(MediaKind::Data) => headers.push(tag),
                Some(kind) => {
                    let class = classify(kind, tag.body);
                    if class.is_init() {
                        headers.push(tag);
                    } else if class.class != TagClass::SequenceEnd {
                        frames.push(tag);
                    }
                }
                None => {}
            }
        }
        let first = frames.iter().map(|frame| frame.timestamp).min()?;
        for frame in &mut frames {
            frame.timestamp -= first;
        }
        let period = |kind| period_ms(&frames, kind);
        let period_ms = period(MediaKind::Video).max(period(MediaKind::Audio));
        Some(Self { headers, frames, period_ms })
    }

    /// Data messages and sequence headers, in the order of the file.
    #[must_use]
    pub fn headers(&self) -> &[FlvTag<'a>] {
        &self.headers
    }

    /// The frames of one round, the earliest at 0 ms.
    #[must_use]
    pub fn frames(&self) -> &[FlvTag<'a>] {
        &self.frames
    }

    /// How long one round takes, ms.
    #[must_use]
    pub fn period_ms(&self) -> u64 {
        self.period_ms
    }

    /// Frame number `index`, counted from 0 over all rounds, its timestamp modulo 2^32.
    #[must_use]
    pub fn frame(&self, index: u64) -> FlvTag<'a> {
        let [.., a, b, c, d] = self.due_ms(index).to_be_bytes();
        let (frame, _) = self.place(index);
        FlvTag { timestamp: u32::from_be_bytes([a, b, c, d]), ..frame }
    }

    /// When frame number `index` is due, ms after the first.
    #[must_use]
    pub fn due_ms(&self, index: u64) -> u64 {
        let (frame, round) = self.place(index);
        round * self.period_ms + u64::from(frame.timestamp)
    }

    /// The frame in the file, and how many rounds are over before it.
    fn place(&self, index: u64) -> (FlvTag<'a>, u64) {
        let count = self.frames.len() as u64;
        let at = usize::try_from(index % count).unwrap_or(0);
        let nothing = FlvTag { tag_type: 0, timestamp: 0, body: &[] };
        (self.frames.get(at).copied().unwrap_or(nothing), index / count)
    }
}

/// From the first frame of a kind to where the one after the last would be, ms.
fn period_ms(frames: &[FlvTag<'_>], kind: MediaKind) -> u64 {
    let times = frames.iter().filter(|frame| frame.kind() == Some(kind)).map(|f| f.timestamp);
    let (Some(first), Some(last)) = (times.clone().min(), times.clone().max()) else { return 0 };
    let (intervals, length) = (times.count() as u64 - 1, u64::from(last - first));
    // A single frame is shown for a second.
    length + length.checked_div(intervals).unwrap_or(1000)
}
