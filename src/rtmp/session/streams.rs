//! The message streams of a connection: which exist, and what each of them does.
//!
//! Owns ids and uses; knows no command. LIMIT: `MESSAGE_STREAMS_MAX` streams, ids from 1 to that.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::limits::MESSAGE_STREAMS_MAX;
use crate::rtmp::Msid;

/// Largest message stream id we give out.
const MSID_MAX: u32 = 16;
const _: () = assert!(MSID_MAX as usize == MESSAGE_STREAMS_MAX);

/// What a message stream does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Idle,
    Publishing,
    Playing,
}

#[derive(Debug)]
struct MessageStream {
    msid: Msid,
    used: Use,
    /// Of the name it publishes or published, query left out: names are told apart, not kept.
    name: u64,
}

/// See the module documentation.
#[derive(Debug, Default)]
pub(super) struct MessageStreams {
    streams: Vec<MessageStream>,
}

impl MessageStreams {
    /// createStream: the lowest free id.
    pub(super) fn create(&mut self) -> Option<Msid> {
        let msid = (1..=MSID_MAX).map(Msid).find(|&msid| self.find(msid).is_none())?;
        self.add(msid);
        Some(msid)
    }

    /// The stream that publish or play on `msid` means. QUIRK: some encoders publish on msid 0, and
    /// librtmp may play again on a stream it has deleted.
    pub(super) fn usable(&mut self, msid: Msid) -> Option<Msid> {
        let msid = Msid(msid.0.max(1));
        if self.find(msid).is_none() {
            if msid.0 > MSID_MAX {
                return None;
            }
            self.add(msid);
        }
        Some(msid)
    }

    /// Bytes held for the list.
    pub(super) fn list_bytes(&self) -> usize {
        self.streams.capacity() * size_of::<MessageStream>()
    }

    /// deleteStream.
    pub(super) fn delete(&mut self, msid: Msid) {
        self.streams.retain(|stream| stream.msid != msid);
    }

    /// The stream whose id is this number.
    pub(super) fn numbered(&self, id: f64) -> Option<Msid> {
        self.streams.iter().map(|stream| stream.msid).find(|msid| f64::from(msid.0) == id)
    }

    /// What the stream does; one that does not exist is idle.
    pub(super) fn use_of(&self, msid: Msid) -> Use {
        self.find(msid).map_or(Use::Idle, |stream| stream.used)
    }

    pub(super) fn set_use(&mut self, msid: Msid, used: Use) {
        if let Some(stream) = self.find_mut(msid) {
            stream.used = used;
        }
    }

    /// The stream asks to publish `name`.
    pub(super) fn set_name(&mut self, msid: Msid, name: &[u8]) {
        if let Some(stream) = self.find_mut(msid) {
            stream.name = hash(name);
        }
    }

    /// The stream on `msid` if it is used so; on msid 0 (librtmp, GStreamer, and media of the
    /// node-media-server relay) the first that is.
    pub(super) fn in_use(&self, msid: Msid, used: Use) -> Option<Msid> {
        let mut all = self.streams.iter().filter(|stream| stream.used == used);
        all.find(|stream| stream.msid == msid || msid == Msid(0)).map(|stream| stream.msid)
    }

    /// The stream that publishes `name`, or the only one that publishes: encoders name it
    /// differently when they leave.
    pub(super) fn publishing(&self, name: &[u8]) -> Option<Msid> {
        let publishing = || self.streams.iter().filter(|stream| stream.used == Use::Publishing);
        let named = publishing().find(|stream| stream.name == hash(name));
        let only = || publishing().next().filter(|_| publishing().count() == 1);
        named.or_else(only).map(|stream| stream.msid)
    }

    /// Whether any stream publishes or plays.
    pub(super) fn is_active(&self) -> bool {
        self.streams.iter().any(|stream| stream.used != Use::Idle)
    }

    fn add(&mut self, msid: Msid) {
        // Most connections have one, and a list would begin with room for four.
        self.streams.reserve_exact(1);
        self.streams.push(MessageStream { msid, used: Use::Idle, name: 0 });
    }

    fn find(&self, msid: Msid) -> Option<&MessageStream> {
        self.streams.iter().find(|stream| stream.msid == msid)
    }

    fn find_mut(&mut self, msid: Msid) -> Option<&mut MessageStream> {
        self.streams.iter_mut().find(|stream| stream.msid == msid)
    }
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.split(|&b| b == b'?').next().hash(&mut hasher);
    hasher.finish()
}
