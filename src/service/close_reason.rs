//! Why a connection ended: the only list, also the statistics key and the word in the log line.

use std::{fmt, io};

use crate::rtmp::ProtocolError;
use crate::rtmp::session::Timeout;

/// Why a connection was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer closed its side.
    PeerClosed,
    /// The socket failed (reset, broken pipe, ...): the OS error number.
    Socket(i32),
    /// The peer broke the protocol.
    Protocol(ProtocolError),
    /// A session deadline passed.
    Timeout(Timeout),
    /// A publisher sent no media for `--publisher-timeout`.
    PublisherSilent,
    /// A peer accepted no byte for `--blocked-timeout`.
    Blocked,
    /// Another publisher took the name.
    TakenOver,
    /// connect, publish or play was refused, with the sentence that the peer was sent.
    Refused(&'static str),
    /// The stream has ended and the player was told.
    StreamEnded,
    /// The peer asked to disconnect.
    Disconnect,
    /// More connections than `--max-connections`.
    TooManyConnections,
    /// More connections from one address than `--max-per-address`.
    TooManyFromAddress,
    /// The memory budget was full: this connection held most, or asked for more.
    OutOfMemory,
    /// The server shuts down.
    Shutdown,
}

/// How many kinds of reason there are, for counters indexed by [`CloseReason::index`].
pub const CLOSE_REASONS: usize = 14;

impl CloseReason {
    /// 0..[`CLOSE_REASONS`], by kind.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::PeerClosed => 0,
            Self::Socket(_) => 1,
            Self::Protocol(_) => 2,
            Self::Timeout(_) => 3,
            Self::PublisherSilent => 4,
            Self::Blocked => 5,
            Self::TakenOver => 6,
            Self::Refused(_) => 7,
            Self::StreamEnded => 8,
            Self::Disconnect => 9,
            Self::TooManyConnections => 10,
            Self::TooManyFromAddress => 11,
            Self::OutOfMemory => 12,
            Self::Shutdown => 13,
        }
    }

    /// The statistics key of an index.
    #[must_use]
    pub fn name(index: usize) -> &'static str {
        const NAMES: [&str; CLOSE_REASONS] = [
            "peer_closed",
            "socket",
            "protocol",
            "timeout",
            "publisher_silent",
            "blocked",
            "taken_over",
            "refused",
            "stream_ended",
            "disconnect",
            "too_many_connections",
            "too_many_from_address",
            "out_of_memory",
            "shutdown",
        ];
        NAMES.get(index).copied().unwrap_or("unknown")
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::name(self.index());
        match self {
            Self::Socket(code) => write!(f, "{name} ({})", io::Error::from_raw_os_error(*code)),
            Self::Refused(text) => write!(f, "{name} ({})", text.trim_end_matches('.')),
            Self::Protocol(error) => write!(f, "{name} ({error:?})"),
            Self::Timeout(timeout) => write!(f, "{name} ({timeout:?})"),
            _ => f.write_str(name),
        }
    }
}
