//! What a session tells its owner.

use super::body::Body;
use crate::rtmp::Msid;
use crate::rtmp::chunk::PieceBytes;

/// Audio, video or data: the three kinds of message that are fanned out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MediaKind {
    /// Message type 8.
    Audio,
    /// Message type 9.
    Video,
    /// Message type 18 (15 is unwrapped to it).
    Data,
}

/// Body bytes of one audio or video message, in order.
#[derive(Debug, Clone, Copy)]
pub struct MediaPiece<'a> {
    /// Publishing message stream (resolved: media on msid 0 belongs to the only publisher).
    pub msid: Msid,
    /// Audio or video.
    pub kind: MediaKind,
    /// Absolute, ms, modulo 2^32.
    pub timestamp: u32,
    /// Body length in bytes.
    pub length: u32,
    /// Chunk-stream slot: at most one message is unfinished per slot.
    pub slot: usize,
    /// Position of the first byte in the body; 0 starts a message.
    pub offset: u32,
    /// The bytes.
    pub bytes: PieceBytes<'a>,
}

impl MediaPiece<'_> {
    /// Whether this begins its message.
    #[must_use]
    pub fn is_first(&self) -> bool {
        self.offset == 0
    }
    /// Whether this completes its message.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.offset as usize + self.bytes.len() == self.length as usize
    }
}

/// Type argument of publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishKind {
    /// `live`, or no or an unknown type.
    Live,
    /// `record`.
    Record,
    /// `append` and `appendWithGap`.
    Append,
}

/// Arguments of play, as sent.
#[derive(Debug, Clone, PartialEq)]
pub struct PlayRequest {
    /// Stream name with its query, as sent.
    pub name: Vec<u8>,
    /// Start as sent; absent is -2000. -1 and -1000: live only; other negatives: any; >= 0: file at
    /// that ms.
    pub start: f64,
    /// Duration in ms as sent, if sent. > 0 applies to live too.
    pub duration: Option<f64>,
    /// Reset; absent is true.
    pub reset: bool,
}

/// What a server session asks its owner. Every variant marked *answer* stops the session: the owner
/// must call the named answer before it feeds more input (it may take its time).
#[derive(Debug)]
pub enum Event<'a> {
    /// connect. *Answer*: `accept_connect` or `reject_connect`.
    Connect {
        /// `app` as sent (may be empty; query, `_definst_` and slashes still in it).
        app: Vec<u8>,
        /// `tcUrl`, empty if absent.
        tc_url: Vec<u8>,
    },
    /// publish. *Answer*: `accept_publish` or `reject_publish`.
    Publish {
        /// Message stream.
        msid: Msid,
        /// Name with its query, as sent.
        name: Vec<u8>,
        /// live, record, append.
        kind: PublishKind,
    },
    /// play (or play2). *Answer*: `accept_play` or `reject_play`. A second play on a playing msid
    /// is preceded by `StopPlay`.
    Play {
        /// Message stream.
        msid: Msid,
        /// Arguments.
        request: PlayRequest,
    },
    /// The publisher ended its stream explicitly (FCUnpublish, closeStream, deleteStream,
    /// `publish(false)`); the session has answered already.
    Unpublish {
        /// Message stream.
        msid: Msid,
    },
    /// The player left its stream (closeStream, deleteStream, `play(false)`, another play).
    StopPlay {
        /// Message stream.
        msid: Msid,
    },
    /// pause or pauseRaw on a playing stream; the session has sent the notifications.
    Pause {
        /// Message stream.
        msid: Msid,
        /// true: stop sending; false: resume at a keyframe with sequence headers.
        paused: bool,
    },
    /// receiveAudio on a playing stream.
    ReceiveAudio {
        /// Message stream.
        msid: Msid,
        /// Wanted or not.
        on: bool,
    },
    /// receiveVideo on a playing stream.
    ReceiveVideo {
        /// Message stream.
        msid: Msid,
        /// Wanted or not.
        on: bool,
    },
    /// Audio or video body bytes from a publisher.
    Media(MediaPiece<'a>),
    /// A complete data message from a publisher, as type 18 (AMF3 selector stripped,
    /// `@setDataFrame` still in front).
    Data {
        /// Publishing message stream.
        msid: Msid,
        /// Absolute, ms, modulo 2^32.
        timestamp: u32,
        /// AMF0 values.
        body: Body<'a>,
    },
    /// A complete aggregate message from a publisher; split it with
    /// [`crate::rtmp::message::aggregate::split`].
    Aggregate {
        /// Publishing message stream.
        msid: Msid,
        /// Absolute, ms, modulo 2^32.
        timestamp: u32,
        /// FLV tags with back pointers.
        body: Body<'a>,
    },
    /// A partial audio or video message on this slot was aborted: forget it.
    MediaAborted {
        /// Chunk-stream slot.
        slot: usize,
    },
    /// The peer asked to end the connection (`disconnect`): flush and close.
    Disconnect,
}
