//! Names of connections: slab slot and generation, also inside mio tokens (N6).
//!
//! INVARIANT: a slot that is used again has another generation, so whoever still knows the old
//! name (an event, a timer, a message from another loop) finds nobody.

use mio::Token;
use slab::Slab;

use crate::service::publisher::ConnectionId;

/// What lives in a slot and knows its generation.
pub trait Slot {
    /// The generation it was put there with.
    fn generation(&self) -> u32;
}

/// The connection a token stands for.
#[must_use]
pub fn connection_id(token: Token) -> ConnectionId {
    let generation = u32::try_from(token.0 >> 32).unwrap_or(0);
    ConnectionId::new(token.0 & 0xFFFF_FFFF, generation)
}

/// The token of a connection.
#[must_use]
pub fn token(id: ConnectionId) -> Token {
    Token(id.slot() | (id.generation as usize) << 32)
}

/// Who is called `id`, if it is still there.
pub fn find<T: Slot>(slots: &mut Slab<T>, id: ConnectionId) -> Option<&mut T> {
    slots.get_mut(id.slot()).filter(|slot| slot.generation() == id.generation)
}
