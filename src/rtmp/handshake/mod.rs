//! The handshake state machines of both roles (RTMP 1.0, 5.2, and the digest form beside it).
//!
//! Owns C0-C2 and S0-S2, in any fragmentation; bytes behind C2 or S2 stay in the input. Nothing a
//! peer sends is verified beyond what decides the form: ffmpeg's own C2 would fail.
//!
//! ```text
//!   C0 != 3                                  refused at the first byte (RTMPE, HTTP, TLS)
//!   C1[4..8] = 0, or no valid digest         plain: S1[4..8] = 0, S2 = C1
//!   valid digest in schema 0 or 1            digest: S1 in the same schema, hashed S2
//! ```

mod digest;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::LazyLock;

use super::ProtocolError;
use digest::{DIGEST_BYTES, PLAYER_KEY, PLAYER_TEXT, SERVER_KEY, SERVER_TEXT, Schema};

/// Bytes of C1, S1, C2 and S2.
const PACKET_BYTES: usize = 1536;
const VERSION: u8 = 3;
/// QUIRK: ffmpeg as a player verifies S1 when its byte 4 is 3 or more; below, it does not.
const SERVER_VERSION: [u8; 4] = [1, 0, 5, 4];
const FLASH_VERSION: [u8; 4] = [9, 0, 0x7c, 2];
/// Bytes of the digest form's third block that are not its signature.
const RANDOM_BYTES: usize = PACKET_BYTES - DIGEST_BYTES;

/// S1 does not depend on the client, so it is made once per process: one per form.
struct Prepared {
    plain: Vec<u8>,
    key_first: Vec<u8>,
    digest_first: Vec<u8>,
    random: Vec<u8>,
}

static PREPARED: LazyLock<Prepared> = LazyLock::new(|| {
    let seed = RandomState::new().build_hasher().finish();
    let signed = |schema| {
        let mut packet = noise(seed ^ 1, SERVER_VERSION);
        digest::sign(&mut packet, schema, server_text());
        packet
    };
    let mut random = noise(seed ^ 2, SERVER_VERSION);
    random.truncate(RANDOM_BYTES);
    Prepared {
        plain: noise(seed, [0; 4]),
        key_first: signed(Schema::KeyFirst),
        digest_first: signed(Schema::DigestFirst),
        random,
    }
});

fn server_text() -> &'static [u8] {
    SERVER_KEY.get(..SERVER_TEXT).unwrap_or(SERVER_KEY)
}

fn player_text() -> &'static [u8] {
    PLAYER_KEY.get(..PLAYER_TEXT).unwrap_or(PLAYER_KEY)
}

/// A packet with time 0, `version` and bytes that look random (nobody relies on more): xorshift.
fn noise(seed: u64, version: [u8; 4]) -> Vec<u8> {
    let mut state = seed | 1;
    let mut packet = vec![0; 4];
    packet.extend_from_slice(&version);
    while packet.len() < PACKET_BYTES {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        packet.extend_from_slice(&state.to_be_bytes());
    }
    packet
}

/// The server's side: C0 C1 in, S0 S1 S2 out, C2 swallowed.
#[derive(Debug, Default)]
pub struct ServerHandshake {
    /// C0 and C1 as they arrive; empty once answered.
    received: Vec<u8>,
    is_answered: bool,
    c2_bytes: usize,
}

impl ServerHandshake {
    /// Waits for C0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes held, for the memory budget.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.received.capacity()
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
        if !self.is_answered {
            if let (true, Some(&version)) = (self.received.is_empty(), input.first())
                && version != VERSION
            {
                return Err(ProtocolError::UnsupportedVersion { version });
            }
            take(&mut self.received, 1 + PACKET_BYTES, input);
            if self.received.len() < 1 + PACKET_BYTES {
                return Ok(false);
            }
            let received = std::mem::take(&mut self.received);
            answer(received.get(1..).unwrap_or_default(), out);
            self.is_answered = true;
        }
        let skipped = (PACKET_BYTES - self.c2_bytes).min(input.len());
        *input = input.get(skipped..).unwrap_or_default();
        self.c2_bytes += skipped;
        Ok(self.c2_bytes == PACKET_BYTES)
    }
}

/// Appends S0 S1 S2 for `c1`.
fn answer(c1: &[u8], out: &mut Vec<u8>) {
    let has_version = c1.get(4..8).is_some_and(|version| version != [0; 4]);
    let signed = if has_version { digest::find(c1, player_text()) } else { None };
    out.push(VERSION);
    match signed {
        Some((schema, c1_digest)) => {
            out.extend_from_slice(match schema {
                Schema::KeyFirst => &PREPARED.key_first,
                Schema::DigestFirst => &PREPARED.digest_first,
            });
            let key = digest::hmac(SERVER_KEY, &[&c1_digest]);
            out.extend_from_slice(&PREPARED.random);
            out.extend_from_slice(&digest::hmac(&key, &[&PREPARED.random]));
        }
        None => {
            out.extend_from_slice(&PREPARED.plain);
            out.extend_from_slice(c1);
        }
    }
}

/// Moves bytes from the front of `input` to `target` until that has `len`. Grows by what arrives.
fn take(target: &mut Vec<u8>, len: usize, input: &mut &[u8]) {
    let (now, later) = input.split_at(input.len().min(len - target.len().min(len)));
    target.extend_from_slice(now);
    *input = later;
}

/// The client's side: C0 C1 out, S0 S1 S2 in, C2 out.
#[derive(Debug)]
pub struct ClientHandshake {
    is_digest: bool,
    received: Vec<u8>,
    is_answered: bool,
    s2_bytes: usize,
}

impl ClientHandshake {
    /// Appends C0 C1 to `out`. `digest`: sign C1 (schema 1, version 9.0.124.2), else plain.
    #[must_use]
    pub fn start(digest: bool, seed: u64, out: &mut Vec<u8>) -> Self {
        let mut c1 = noise(seed, if digest { FLASH_VERSION } else { [0; 4] });
        if digest {
            digest::sign(&mut c1, Schema::DigestFirst, player_text());
        }
        out.push(VERSION);
        out.extend_from_slice(&c1);
        Self { is_digest: digest, received: Vec::new(), is_answered: false, s2_bytes: 0 }
    }

    /// Consumes S0 S1 S2 from the front of `input`, appends C2 once S1 is complete. Returns whether
    /// done.
    ///
    /// # Errors
    /// [`ProtocolError::UnsupportedVersion`] when S0 is not 3.
    pub fn handle_input(
        &mut self,
        input: &mut &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, ProtocolError> {
        if !self.is_answered {
            if let (true, Some(&version)) = (self.received.is_empty(), input.first())
                && version != VERSION
            {
                return Err(ProtocolError::UnsupportedVersion { version });
            }
            take(&mut self.received, 1 + PACKET_BYTES, input);
            if self.received.len() < 1 + PACKET_BYTES {
                return Ok(false);
            }
            let received = std::mem::take(&mut self.received);
            self.acknowledge(received.get(1..).unwrap_or_default(), out);
            self.is_answered = true;
        }
        let skipped = (PACKET_BYTES - self.s2_bytes).min(input.len());
        *input = input.get(skipped..).unwrap_or_default();
        self.s2_bytes += skipped;
        Ok(self.s2_bytes == PACKET_BYTES)
    }

    /// Appends C2: signed where S1 is, else S1 again.
    fn acknowledge(&self, s1: &[u8], out: &mut Vec<u8>) {
        let signed = if self.is_digest { digest::find(s1, server_text()) } else { None };
        let Some((_, s1_digest)) = signed else { return out.extend_from_slice(s1) };
        let key = digest::hmac(PLAYER_KEY, &[&s1_digest]);
        out.extend_from_slice(&PREPARED.random);
        out.extend_from_slice(&digest::hmac(&key, &[&PREPARED.random]));
    }
}
