//! The chunk layer: messages out of chunks and chunks out of messages (RTMP 1.0, 5.3).

pub mod header;
pub mod reader;
pub mod writer;

pub use header::{HEADER_BYTES_MAX, MessageHeader};
pub use reader::{ChunkReader, MessageLimits, Piece, PieceBytes};
pub use writer::ChunkWriter;
