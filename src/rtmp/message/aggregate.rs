//! Aggregate messages (type 22): split on ingest, never sent (RTMP 1.0, 7.1.6).
//!
//! ```text
//!   | type 1 | length 3 | timestamp 3 | its bits 24-31 1 | msid 3 | body | length + 11, 4 | ...
//! ```

use crate::rtmp::wire::{u24_be, u32_be};

/// One sub-message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubMessage<'a> {
    /// Message type id.
    pub message_type: u8,
    /// Rebased: aggregate timestamp + (own - first), ms modulo 2^32.
    pub timestamp: u32,
    /// Body.
    pub body: &'a [u8],
}

const HEADER_BYTES: usize = 11;

/// The sub-messages of `body`; stops at the first inconsistent length.
pub fn split(body: &[u8], timestamp: u32) -> impl Iterator<Item = SubMessage<'_>> {
    let mut rest = body;
    let mut first = None;
    std::iter::from_fn(move || {
        let length = u24_be(rest, 1)? as usize;
        let own = u24_be(rest, 4)? | u32::from(*rest.get(7)?) << 24;
        let end = HEADER_BYTES + length;
        let body = rest.get(HEADER_BYTES..end)?;
        if u32_be(rest, end)? as usize != end {
            return None;
        }
        let base = *first.get_or_insert(own);
        let timestamp = timestamp.wrapping_add(own.wrapping_sub(base));
        let message = SubMessage { message_type: *rest.first()?, timestamp, body };
        rest = rest.get(end + 4..)?;
        Some(message)
    })
}
