//! Messages above the chunk layer: type ids, and the bytes of everything a session sends.
//!
//! Owns emitting of control, user control, command and status messages straight into an outgoing
//! buffer, and splitting of aggregates. Knows no state; see [`super::session`].

pub mod aggregate;
pub mod command;
pub mod control;
pub mod status;

/// Message type ids (RTMP 1.0, 5.4 and 7.1).
pub mod type_id {
    /// Set Chunk Size.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort Message.
    pub const ABORT: u8 = 2;
    /// Acknowledgement.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User Control.
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size ("ServerBW" in old notes).
    pub const WINDOW_ACK_SIZE: u8 = 5;
    /// Set Peer Bandwidth ("ClientBW" in old notes).
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    /// Audio.
    pub const AUDIO: u8 = 8;
    /// Video.
    pub const VIDEO: u8 = 9;
    /// Data, AMF3 form.
    pub const DATA_AMF3: u8 = 15;
    /// Shared object, AMF3 form.
    pub const SHARED_OBJECT_AMF3: u8 = 16;
    /// Command, AMF3 form.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data, AMF0.
    pub const DATA_AMF0: u8 = 18;
    /// Shared object, AMF0.
    pub const SHARED_OBJECT_AMF0: u8 = 19;
    /// Command, AMF0 ("Invoke" in old notes).
    pub const COMMAND_AMF0: u8 = 20;
    /// Aggregate.
    pub const AGGREGATE: u8 = 22;
}
