//! The client role: the demo publisher, the load generator, tests, and later the relay.

use super::event::{Body, MediaKind, MediaPiece};
use crate::rtmp::ProtocolError;
use crate::time::Millis;

/// What the client does once connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientRole {
    /// connect, then stay idle.
    Idle,
    /// releaseStream, FCPublish, createStream, publish(name, "live").
    Publish {
        /// Stream name.
        name: Vec<u8>,
    },
    /// createStream, play(name, -2000), SetBufferLength.
    Play {
        /// Stream name.
        name: Vec<u8>,
    },
}

/// How the client presents itself.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// `app`.
    pub app: Vec<u8>,
    /// `tcUrl`.
    pub tc_url: Vec<u8>,
    /// flashVer.
    pub flash_ver: Vec<u8>,
    /// Digest handshake or plain.
    pub digest: bool,
    /// Chunk size for sending (Set Chunk Size is sent before connect when it is not 128).
    pub chunk_size: u32,
    /// What to do.
    pub role: ClientRole,
}

/// What a client session tells its owner.
#[derive(Debug)]
pub enum ClientEvent<'a> {
    /// connect succeeded.
    Connected,
    /// Publish.Start or Play.Start arrived.
    Started,
    /// Any other onStatus or _error: its code and whether its level is error.
    Status {
        /// `code`.
        code: Vec<u8>,
        /// Level "error".
        is_error: bool,
    },
    /// User control Stream EOF.
    StreamEof,
    /// Audio or video body bytes.
    Media(MediaPiece<'a>),
    /// A complete data message (RtmpSampleAccess included).
    Data {
        /// ms.
        timestamp: u32,
        /// AMF0 values.
        body: Body<'a>,
    },
}

/// See the module documentation.
#[derive(Debug)]
pub struct ClientSession {}

impl ClientSession {
    /// Starts the handshake: C0 C1 are appended to `out`.
    #[must_use]
    pub fn start(config: ClientConfig, seed: u64, out: &mut Vec<u8>) -> Self {
        let _ = (config, seed, out);
        todo!()
    }
    /// Consumes `input` up to and including the next event; answers (C2, commands, acknowledgements,
    /// pongs) are appended to `out`. `None`: all input is used up.
    ///
    /// # Errors
    /// What the server did wrong.
    pub fn handle_input<'a>(
        &mut self,
        input: &mut &'a [u8],
        out: &mut Vec<u8>,
        now: Millis,
    ) -> Result<Option<ClientEvent<'a>>, ProtocolError> {
        let _ = (input, out, now);
        todo!()
    }
    /// Appends one media or data message of the publisher.
    pub fn send_media(&mut self, kind: MediaKind, timestamp: u32, body: &[u8], out: &mut Vec<u8>) {
        let _ = (kind, timestamp, body, out);
    }
    /// Appends FCUnpublish and deleteStream (publisher) or deleteStream (player).
    pub fn send_end(&mut self, out: &mut Vec<u8>) {
        let _ = out;
    }
}
