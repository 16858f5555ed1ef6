//! The chunk layer: messages out of chunks and chunks out of messages (RTMP 1.0, 5.3).

pub mod header;
mod piece;
pub mod reader;
mod stream;
pub mod writer;

pub use header::{HEADER_BYTES_MAX, MessageHeader};
pub use piece::{MessageLimits, Piece, PieceBytes};
pub use reader::ChunkReader;
pub use writer::ChunkWriter;
