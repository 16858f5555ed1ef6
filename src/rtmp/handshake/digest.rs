//! The digest form of the handshake: where digests lie in C1 and S1, and how they are made.
//!
//! Flash Player 9.0.124 and later shows H.264 only after it; ffmpeg signs too. HMAC-SHA-256 with
//! keys that are public since 2009: it proves nothing, it only has to be right.
//!
//! ```text
//!   C1, S1:  | time 4 | version 4 | block of 764 | block of 764 |
//!   schema 0: key block first, digest block second; schema 1: the other way round
//!   digest block: | offset 4 | ... | digest 32 at (sum of the offset bytes) mod 728 | ... |
//! ```

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::PACKET_BYTES;

/// Bytes of a digest.
pub(super) const DIGEST_BYTES: usize = 32;

/// `Genuine Adobe Flash Player 001` and the tail that both keys share.
pub(super) const PLAYER_KEY: &[u8; 62] = b"Genuine Adobe Flash Player 001\
\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
\x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";

/// `Genuine Adobe Flash Media Server 001` and the same tail.
pub(super) const SERVER_KEY: &[u8; 68] = b"Genuine Adobe Flash Media Server 001\
\xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
\x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";

/// The part of [`PLAYER_KEY`] that signs C1.
pub(super) const PLAYER_TEXT: usize = 30;
/// The part of [`SERVER_KEY`] that signs S1.
pub(super) const SERVER_TEXT: usize = 36;

/// Which block comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Schema {
    /// Key, then digest.
    KeyFirst,
    /// Digest, then key: Flash, ffmpeg and librtmp for plain RTMP.
    DigestFirst,
}

/// HMAC-SHA-256 over the concatenation of `parts`.
pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST_BYTES] {
    // Any key length is valid for HMAC; without a key there is no digest to compare with.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; DIGEST_BYTES] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

/// Where the digest of `packet` lies.
pub(super) fn position(packet: &[u8], schema: Schema) -> usize {
    let offset_at = match schema {
        Schema::KeyFirst => 772,
        Schema::DigestFirst => 8,
    };
    let offset = packet.get(offset_at..offset_at + 4).unwrap_or_default();
    offset.iter().map(|&b| usize::from(b)).sum::<usize>() % 728 + offset_at + 4
}

/// The digest that `packet` should have at `at`: over all other bytes.
pub(super) fn digest(packet: &[u8], at: usize, key: &[u8]) -> [u8; DIGEST_BYTES] {
    let before = packet.get(..at).unwrap_or_default();
    let after = packet.get(at + DIGEST_BYTES..PACKET_BYTES).unwrap_or_default();
    hmac(key, &[before, after])
}

/// The digest of a packet and its schema, if it has a valid one.
pub(super) fn find(packet: &[u8], key: &[u8]) -> Option<(Schema, [u8; DIGEST_BYTES])> {
    [Schema::KeyFirst, Schema::DigestFirst].into_iter().find_map(|schema| {
        let at = position(packet, schema);
        let expected = digest(packet, at, key);
        (packet.get(at..at + DIGEST_BYTES)? == expected).then_some((schema, expected))
    })
}

/// Writes the digest of `packet` into it.
pub(super) fn sign(packet: &mut [u8], schema: Schema, key: &[u8]) -> [u8; DIGEST_BYTES] {
    let at = position(packet, schema);
    let signature = digest(packet, at, key);
    if let Some(target) = packet.get_mut(at..at + DIGEST_BYTES) {
        target.copy_from_slice(&signature);
    }
    signature
}
