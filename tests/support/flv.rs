//! FLV recordings of real clients: what is in them, and whether it is what was published.

use std::collections::HashSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use millrace::media::flv::{FlvTag, tags};

const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
/// How far the first frames of two tracks may be apart where a player joins, ms.
const JOIN_SPREAD_MS: i64 = 150;

/// What a tag is, judged here independently of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Codec configuration, or the channels of an audio track.
    Header,
    /// Colour information: ffmpeg makes its own when it publishes and when it records.
    Colour,
    Keyframe,
    Frame,
    /// End of sequence: muxers add it, some players drop it, it carries nothing.
    End,
}

/// Tag type and number of the track within it.
type Track = (u8, u8);

/// One audio or video tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    track: Track,
    role: Role,
    timestamp: u32,
    len: usize,
    hash: u64,
}

/// The audio and video tags of a file.
pub struct Recording {
    headers: Vec<Packet>,
    has_colour: bool,
    frames: Vec<Packet>,
    headers_come_first: bool,
}

/// What a comparison has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// Equal video frames.
    pub video: usize,
    /// Equal audio frames.
    pub audio: usize,
    /// Timestamp of the first of them as it was published, ms.
    pub from_ms: u32,
    /// From the first to the last of them, ms.
    pub length_ms: u32,
    /// What is added to all timestamps, ms.
    pub offset_ms: i64,
}

impl Recording {
    /// Reads a file.
    pub fn read(path: &Path) -> Self {
        let file = fs::read(path).unwrap();
        let tags = tags(&file).unwrap_or_else(|| panic!("{} is no FLV file", path.display()));
        let mut recording = Self {
            headers: Vec::new(),
            has_colour: false,
            frames: Vec::new(),
            headers_come_first: true,
        };
        for tag in tags.filter(|tag| matches!(tag.tag_type, AUDIO | VIDEO)) {
            let packet = packet(&tag);
            match packet.role {
                Role::Header => {
                    recording.headers.push(packet);
                    let seen = recording.frames.iter().any(|frame| frame.track == packet.track);
                    recording.headers_come_first &= !seen;
                }
                Role::Colour => recording.has_colour = true,
                Role::Keyframe | Role::Frame => recording.frames.push(packet),
                Role::End => {}
            }
        }
        recording
    }

    /// Frames published before `ms`.
    pub fn frames_before(&self, ms: u32) -> usize {
        self.frames.iter().filter(|frame| frame.timestamp < ms).count()
    }

    /// Number of frames.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    fn of_track(&self, track: Track) -> Vec<Packet> {
        self.frames.iter().filter(|frame| frame.track == track).copied().collect()
    }

    fn tracks(&self) -> HashSet<Track> {
        self.frames.iter().map(|frame| frame.track).collect()
    }
}

/// Whether `received` is `sent` from a keyframe on: the same headers before the frames, then the
/// same frames of each track to the end, all timestamps moved by the same time. `lost` frames may
/// be missing at the end.
pub fn compare(sent: &Recording, received: &Recording, lost: usize) -> Result<Compared, String> {
    let set = |packets: &[Packet]| -> HashSet<(Track, u64)> {
        packets.iter().map(|packet| (packet.track, packet.hash)).collect()
    };
    if set(&sent.headers) != set(&received.headers) || !received.headers_come_first {
        return Err(format!("headers {:?}, sent {:?}", received.headers, sent.headers));
    }
    if sent.has_colour != received.has_colour {
        return Err(format!("colour information: {}", received.has_colour));
    }
    if sent.tracks() != received.tracks() {
        return Err(format!("tracks {:?}, sent {:?}", received.tracks(), sent.tracks()));
    }
    let mut left = lost;
    let mut starts = Vec::new();
    let mut offsets = HashSet::new();
    let mut compared = Compared { video: 0, audio: 0, from_ms: 0, length_ms: 0, offset_ms: 0 };
    for track in sent.tracks() {
        let (wanted, got) = (sent.of_track(track), received.of_track(track));
        let (start, missing) = tail(&wanted, &got, left)
            .ok_or_else(|| format!("track {track:?}: {}", first_difference(&wanted, &got)))?;
        left -= missing;
        let wanted = &wanted[start..];
        if track.0 == VIDEO && wanted[0].role != Role::Keyframe {
            return Err(format!("track {track:?} begins with {:?}, no keyframe", got[0]));
        }
        let offset = |(a, b): (&Packet, &Packet)| i64::from(b.timestamp) - i64::from(a.timestamp);
        offsets.extend(wanted.iter().zip(&got).map(offset));
        starts.push(i64::from(wanted[0].timestamp));
        let length_ms = wanted[got.len() - 1].timestamp - wanted[0].timestamp;
        compared.length_ms = compared.length_ms.max(length_ms);
        *if track.0 == VIDEO { &mut compared.video } else { &mut compared.audio } += got.len();
    }
    let (first, last) = (*starts.iter().min().unwrap(), *starts.iter().max().unwrap());
    if last - first > JOIN_SPREAD_MS {
        return Err(format!("the tracks begin at {starts:?} ms"));
    }
    compared.from_ms = u32::try_from(first).unwrap();
    let mut offsets = offsets.into_iter();
    compared.offset_ms = offsets.next().unwrap();
    match offsets.next() {
        Some(other) => Err(format!("timestamps move by {} and {other}", compared.offset_ms)),
        None => Ok(compared),
    }
}

/// Whether `received` is the beginning of `sent`, then all of `sent` with later timestamps: a
/// publisher that was lost, and its successor with the same clip. `lost` as for [`compare`].
/// Returns the frames of the first publisher.
pub fn compare_succession(
    sent: &Recording,
    received: &Recording,
    lost: usize,
) -> Result<usize, String> {
    let (mut before, mut left) = (0, lost);
    let mut offsets = HashSet::new();
    for track in sent.tracks() {
        let (wanted, got) = (sent.of_track(track), received.of_track(track));
        let found = (0..=left).find_map(|missing| {
            let whole = wanted.len().checked_sub(missing)?;
            let (first, second) = got.split_at(got.len().checked_sub(whole)?);
            let same = |a: &[Packet], b: &[Packet]| a.iter().zip(b).all(|(a, b)| a.hash == b.hash);
            let all = first.len() <= wanted.len() && same(&wanted, first) && same(&wanted, second);
            all.then_some((first, second, missing))
        });
        let Some((first, second, missing)) = found else {
            return Err(format!("track {track:?}: {}", first_difference(&wanted, &got)));
        };
        left -= missing;
        before += first.len();
        let moved = first.iter().zip(&wanted).find(|(a, b)| a.timestamp != b.timestamp);
        if let Some((got, sent)) = moved {
            return Err(format!("timestamps of the first publisher: {got:?}, sent {sent:?}"));
        }
        if !got.is_sorted_by_key(|frame| frame.timestamp) {
            return Err(format!("track {track:?}: timestamps fall"));
        }
        offsets.extend(second.iter().zip(&wanted).map(|(a, b)| a.timestamp - b.timestamp));
    }
    match offsets.len() {
        1 => Ok(before),
        _ => Err(format!("timestamps of the second publisher move by {offsets:?}")),
    }
}

/// Where in `wanted` the frames `got` begin, and how many are missing at the end.
fn tail(wanted: &[Packet], got: &[Packet], lost: usize) -> Option<(usize, usize)> {
    let found = (0..=lost).find_map(|missing| {
        let end = wanted.len().checked_sub(missing)?;
        let start = end.checked_sub(got.len())?;
        let same = wanted[start..end].iter().zip(got).all(|(a, b)| a.hash == b.hash);
        same.then_some((start, missing))
    })?;
    (!got.is_empty()).then_some(found)
}

fn first_difference(wanted: &[Packet], got: &[Packet]) -> String {
    let numbers = format!("{} frames of {}", got.len(), wanted.len());
    let Some(first) = got.first() else { return numbers };
    let Some(start) = wanted.iter().position(|frame| frame.hash == first.hash) else {
        return format!("{numbers}; the first, {first:?}, was never sent");
    };
    let differs = wanted[start..].iter().zip(got).position(|(a, b)| a.hash != b.hash);
    match differs {
        Some(at) => format!(
            "{numbers}; frame {at} from the join on is {:?}, sent was {:?}",
            got[at],
            wanted[start + at]
        ),
        None => format!("{numbers}, from frame {start} on: it ends early or late"),
    }
}

fn packet(tag: &FlvTag<'_>) -> Packet {
    let mut hasher = DefaultHasher::new();
    tag.body.hash(&mut hasher);
    let (role, number) = role(tag.tag_type, tag.body);
    Packet {
        track: (tag.tag_type, number),
        role,
        timestamp: tag.timestamp,
        len: tag.body.len(),
        hash: hasher.finish(),
    }
}

/// Role and track number of a body, as far as the programs used here make them.
fn role(tag_type: u8, body: &[u8]) -> (Role, u8) {
    let byte = |at: usize| body.get(at).copied().unwrap_or(0);
    let (upper, lower) = (byte(0) >> 4, byte(0) & 15);
    let is_enhanced = if tag_type == VIDEO { upper & 8 != 0 } else { upper == 9 };
    let frame = if tag_type == VIDEO && upper & 7 == 1 { Role::Keyframe } else { Role::Frame };
    if !is_enhanced {
        let has_packet_type = if tag_type == VIDEO { matches!(lower, 7 | 12) } else { upper == 10 };
        return match (has_packet_type, byte(1)) {
            (true, 0) => (Role::Header, 0),
            (true, 2) if tag_type == VIDEO => (Role::End, 0),
            _ => (frame, 0),
        };
    }
    let is_multitrack = lower == if tag_type == VIDEO { 6 } else { 5 };
    // One track per body: type, FourCC, track number.
    let (packet_type, number) = if is_multitrack { (byte(1) & 15, byte(6)) } else { (lower, 0) };
    match packet_type {
        4 if tag_type == VIDEO => (Role::Colour, number),
        0 | 4 => (Role::Header, number),
        2 => (Role::End, number),
        _ => (frame, number),
    }
}
