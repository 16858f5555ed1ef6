//! The handshake state machines of both roles.

mod digest;

use super::ProtocolError;

/// The server's side: C0 C1 in, S0 S1 S2 out, C2 swallowed.
#[derive(Debug)]
pub struct ServerHandshake {}

/// The client's side: C0 C1 out, S0 S1 S2 in, C2 out.
#[derive(Debug)]
pub struct ClientHandshake {}

impl ServerHandshake {
    /// Waits for C0.
    #[must_use]
    pub fn new() -> Self {
        todo!()
    }
    /// Consumes handshake bytes from the front of `input` (advances the slice, leaves what
    /// follows C2), appends S0 S1 S2 to `out` in one piece as soon as C1 is complete.
    /// Returns whether the handshake is done (C2 swallowed).
    ///
    /// # Errors
    /// [`ProtocolError::UnsupportedVersion`] on the first byte, with nothing written.
    pub fn handle_input(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, ProtocolError> {
        let _ = (input, out);
        todo!()
    }
}

impl ClientHandshake {
    /// Appends C0 C1 to `out`. `digest`: sign C1 (schema 1, version 9.0.124.2), else plain.
    #[must_use]
    pub fn start(digest: bool, seed: u64, out: &mut Vec<u8>) -> Self {
        let _ = (digest, seed, out);
        todo!()
    }
    /// Consumes S0 S1 S2 from the front of `input`, appends C2 once S1 is complete. Returns whether done.
    ///
    /// # Errors
    /// [`ProtocolError::UnsupportedVersion`] when S0 is not 3.
    pub fn handle_input(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, ProtocolError> {
        let _ = (input, out);
        todo!()
    }
}
