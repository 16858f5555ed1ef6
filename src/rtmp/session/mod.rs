//! RTMP sessions, sans-IO: the server's and the client's state machine.
//!
//! Owns handshake, chunk reading, command dialogue, acknowledgements, pings and session timers of
//! one connection. Bytes and `now` go in, replies are appended to the caller's buffer, and what
//! needs a decision comes out as an [`Event`]. Knows no socket and no other session.

pub mod body;
pub mod client;
pub mod event;
pub mod server;
mod server_commands;
mod server_replies;
mod streams;

pub use crate::rtmp::message::status::Status;
pub use body::Body;
pub use client::{ClientConfig, ClientEvent, ClientRole, ClientSession};
pub use event::{Event, MediaKind, MediaPiece, PlayRequest, PublishKind};
pub use server::{ServerSession, SessionConfig, Timeout};
