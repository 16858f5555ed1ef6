//! Policy: who may publish what, who plays it, and what happens when somebody leaves.
//!
//! Answers with values ([`live::Action`], [`message::Post`]) and never calls up; knows no sockets,
//! threads or clocks. Entry points: [`directory::Directory`] (one per process: which loop owns
//! which stream), [`live::Live`] (one per loop: logs, publishers, players),
//! [`key::StreamKey`] (names as clients split them).

pub mod close_reason;
pub mod directory;
pub mod key;
pub mod live;
pub mod message;
pub mod publisher;
pub mod stats;
pub mod stream;
pub mod traffic;

pub use close_reason::CloseReason;
pub use key::StreamKey;
