//! What a peer can do wrong: one enum for the whole protocol layer, facts in fields.

/// A peer broke the protocol in a way that ends its connection.
///
/// "Need more bytes" is not an error. Every variant has a test with the shortest bytes that
/// provoke it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProtocolError {
    /// C0 is not 3: RTMPE (6, 8, 9), HTTP (`P`, `G`), TLS (0x16) or rubbish.
    UnsupportedVersion {
        /// The byte received.
        version: u8,
    },
    /// The first chunk of a chunk stream is of type 2 or 3, so length and type are unknown.
    MissingMessageHeader {
        /// Chunk stream.
        csid: u32,
        /// Chunk type, 2 or 3.
        chunk_type: u8,
    },
    /// A new message header came inside an unfinished message of the same chunk stream.
    MessageInterrupted {
        /// Chunk stream.
        csid: u32,
    },
    /// More chunk streams than [`crate::limits::CHUNK_STREAMS_MAX`].
    TooManyChunkStreams,
    /// A message announces more bytes than its type may have.
    MessageTooLong {
        /// Message type id.
        message_type: u8,
        /// Announced length in bytes.
        length: u32,
        /// The limit in bytes.
        max: u32,
    },
    /// Set Chunk Size 0.
    ZeroChunkSize,
    /// An AMF0 value ends before its last byte.
    AmfTruncated,
    /// An AMF0 marker that is reserved or undefined, or another than the place demands.
    AmfMarker {
        /// The marker byte.
        marker: u8,
    },
    /// AMF0 nesting above [`crate::limits::AMF_DEPTH_MAX`].
    AmfTooDeep,
    /// More AMF0 values in a message than [`crate::limits::AMF_ELEMENTS_MAX`].
    AmfTooManyElements,
    /// An AMF0 property name above [`crate::limits::AMF_KEY_BYTES_MAX`].
    AmfKeyTooLong,
    /// A command other than connect came first.
    CommandBeforeConnect,
    /// connect came twice.
    SecondConnect,
    /// A name or URL above its limit in bytes, or with control characters.
    NameRefused,
    /// The memory budget has no room for what the peer sends.
    OverBudget,
}

impl From<crate::budget::OverBudget> for ProtocolError {
    fn from(_: crate::budget::OverBudget) -> Self {
        Self::OverBudget
    }
}
