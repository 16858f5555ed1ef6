//! RTMP sessions, sans-IO: the server's and the client's state machine.

pub mod client;
pub mod event;
pub mod server;

pub use client::{ClientConfig, ClientEvent, ClientRole, ClientSession};
pub use event::{Body, Event, MediaKind, MediaPiece, PlayRequest, PublishKind};
pub use server::{ServerSession, SessionConfig, Status, Timeout};
