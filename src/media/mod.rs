//! What message bodies mean: FLV and Enhanced RTMP tags, metadata, frames, the stream log.

pub mod flv;
pub mod metadata;
pub mod tag;
