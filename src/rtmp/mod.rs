//! The protocol core, sans-IO: bytes and `now` in, bytes and events out.

pub mod amf0;
pub mod chunk;
pub mod error;
pub mod handshake;
pub mod message;
pub mod session;
pub mod wire;

pub use error::ProtocolError;

/// Chunk stream id, 2–65 599 (RTMP 1.0, 5.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Csid(pub u32);

/// Message stream id; 0 is the connection itself (RTMP 1.0, 5.3.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Msid(pub u32);
