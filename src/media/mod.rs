//! What message bodies mean: FLV and Enhanced RTMP tags, metadata, frames, the stream log.
//!
//! Bytes and values only: no sockets, threads, clocks or files (N7). Entry points:
//! [`frame::FrameBuilder`] (body -> shared wire image), [`log::StreamLog`] (what a loop keeps of a
//! stream), [`cursor::Cursor`] (one player's place in it), [`tag`] (what a body is).

pub mod clip;
pub mod cursor;
pub mod flv;
pub mod frame;
pub mod init;
pub mod log;
pub mod metadata;
pub mod tag;
