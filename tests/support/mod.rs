//! What several test files share: vectors, a server process, a client over a real socket, bodies.
#![allow(dead_code, unused_imports, unreachable_pub, reason = "each test file uses its own part")]

pub mod body;
pub mod client;
pub mod clips;
pub mod crooked;
pub mod flv;
pub mod frames;
pub mod load;
pub mod naive_reader;
pub mod player_wire;
pub mod programs;
pub mod server;
pub mod session;
pub mod wire;

use std::time::{Duration, Instant};

pub use client::{Client, Got, Message};
pub use server::{LOOPS, Server};
pub use wire::{Arrival, Packet, Wire, connect_from};

use serde_json::Value;

/// How long anything that should happen at once may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A vector file of `tests/vectors`, parsed.
pub fn vectors(file: &str) -> Value {
    let path = format!("{}/tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The bytes of a lower-case hex string.
pub fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// Asks `probe` again and again until it answers; panics with `what` after [`PATIENCE`].
pub fn eventually<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < deadline, "in {PATIENCE:?} not seen: {what}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

/// Whether an error of a read with a timeout only says that nothing has come. A process that is
/// stopped and goes on (a frozen container, a debugger) finds its reads interrupted.
pub fn is_silence(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// What `ss` (package iproute2) shows for `filter`, one socket a line.
pub fn ss(flags: &str, filter: &str) -> Vec<String> {
    let output = std::process::Command::new("ss").arg(flags).arg(filter).output().unwrap();
    assert!(output.status.success(), "ss {flags} {filter}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}
