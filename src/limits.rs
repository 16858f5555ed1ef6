//! Every bound and default, in one place, each with its cost and the test that hits it.
//!
//! Owns numbers only; knows no other layer. Flags override the ones marked with a flag.

/// Outgoing chunk size in bytes (`--chunk-size`). Large chunks let one write carry a frame.
pub const CHUNK_SIZE_DEFAULT: u32 = 60_000;
/// Largest chunk size in force in either direction: a message is never longer (24-bit length).
pub const CHUNK_SIZE_MAX: u32 = 0x00FF_FFFF;
/// Chunk size of both directions before any Set Chunk Size (RTMP 1.0, 5.4.1).
pub const CHUNK_SIZE_INITIAL: u32 = 128;
/// LIMIT: chunk streams per connection; per-csid state is memory a peer controls.
pub const CHUNK_STREAMS_MAX: usize = 64;
/// LIMIT: message streams per connection (createStream).
pub const MESSAGE_STREAMS_MAX: usize = 16;
/// LIMIT: longest audio, video or aggregate message in bytes (`--max-message`).
pub const MESSAGE_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// LIMIT: longest command message (types 17, 20) in bytes.
pub const COMMAND_BYTES_MAX: u32 = 64 * 1024;
/// LIMIT: longest data message (types 15, 18) in bytes.
pub const DATA_BYTES_MAX: u32 = 1024 * 1024;
/// LIMIT: longest control message (types 1-6) in bytes; every defined one has at most 46.
pub const CONTROL_BYTES_MAX: u32 = 256;
/// Window Acknowledgement Size and Set Peer Bandwidth that we announce (0x2625A0).
pub const ACK_WINDOW: u32 = 2_500_000;
/// LIMIT: AMF0 nesting; deeper values are refused, so the parser's stack is bounded.
pub const AMF_DEPTH_MAX: usize = 32;
/// LIMIT: AMF0 values per message.
pub const AMF_ELEMENTS_MAX: usize = 4096;
/// LIMIT: length of an AMF0 property name in bytes.
pub const AMF_KEY_BYTES_MAX: usize = 1024;
/// LIMIT: `app` of connect in bytes.
pub const APP_BYTES_MAX: usize = 256;
/// LIMIT: `tcUrl` of connect in bytes.
pub const TC_URL_BYTES_MAX: usize = 4096;
/// LIMIT: stream name of publish and play in bytes.
pub const STREAM_NAME_BYTES_MAX: usize = 1024;
