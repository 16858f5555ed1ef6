//! Flags of the floor.

use std::net::SocketAddr;

use millrace::cli::UsageError;

use crate::flags::{self, Flag, Given, flag};

/// When players get a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// At once.
    Each,
    /// Audio with the next video frame, or after `flush_ms`; video at once.
    Ride,
    /// With everything else of `merge_ms`.
    Merge,
    /// At once, as far as the kernel is concerned: TCP_NODELAY is off.
    Nagle,
}

/// Every flag, parsed and checked.
#[derive(Debug, Clone)]
pub(crate) struct FloorOptions {
    /// Address to listen on.
    pub(crate) listen: SocketAddr,
    /// When players get a frame.
    pub(crate) policy: Policy,
    /// Its name.
    pub(crate) policy_name: String,
    /// How long the policy merge collects, ms.
    pub(crate) merge_ms: u64,
    /// Longest time that audio waits for video, ms.
    pub(crate) flush_ms: u64,
    /// How long it runs, ms.
    pub(crate) time_ms: u64,
}

/// The table.
#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("Flags", ("listen", "ADDR:PORT"), "127.0.0.1:1935", "Address to listen on; port 0 is any.", "tests/floor.rs::bad_flags_of_the_floor_are_refused_in_one_sentence"),
    flag("Flags", ("policy", "WORD"), "ride", "each: a frame goes out at once; ride: audio with the next video frame; merge: everything of --merge-ms at once; nagle: as each, TCP_NODELAY off.", "tests/floor.rs::floor_and_server_write_the_same_for_the_same_policy"),
    flag("Flags", ("merge-ms", "N"), "40", "How long merge collects.", "tests/floor.rs::floor_and_server_write_the_same_for_the_same_policy"),
    flag("Flags", ("flush-ms", "N"), "40", "Longest time that audio waits for video.", "tests/floor.rs::the_floor_keeps_audio_for_video_but_not_for_ever"),
    flag("Flags", ("time", "TIME"), "600", "Ends after this time (seconds, or ms, s, m), or with SIGTERM.", "tests/floor.rs::the_floor_ends_by_time_or_signal_with_its_counters"),
    flag("Flags", ("help", ""), "", "Print this text.", "tests/load_flags.rs::help_of_every_mode_lists_its_flags"),
];

const USAGE: &str = "\
millrace-load floor: brings one stream to every player with as little work as the kernel allows,
to measure servers with. Prints its counters as JSON at the end and on SIGUSR1.

Usage: millrace-load floor [FLAGS]";

impl FloorOptions {
    /// Parses `args`, which begin behind the word `floor`; the text to print where that is asked.
    ///
    /// # Errors
    /// [`UsageError`]: one sentence that says what is wrong and what is allowed.
    pub(crate) fn parse(args: &[String]) -> Result<Result<Self, String>, UsageError> {
        let given = Given::parse(FLAGS, args)?;
        if given.has("help") {
            return Ok(Err(flags::help(USAGE, FLAGS)));
        }
        given.no_words()?;
        let policy = |text: &str| match text {
            "each" => Some(Policy::Each),
            "ride" => Some(Policy::Ride),
            "merge" => Some(Policy::Merge),
            "nagle" => Some(Policy::Nagle),
            _ => None,
        };
        let address = "an address and a port, such as 127.0.0.1:1935";
        Ok(Ok(Self {
            listen: given.value("listen", address, |text| text.parse().ok())?,
            policy: given.value("policy", "each, ride, merge or nagle", policy)?,
            policy_name: given.text("policy"),
            merge_ms: given.number("merge-ms", 1..=10_000)?,
            flush_ms: given.number("flush-ms", 0..=10_000)?,
            time_ms: given.time_ms("time", 100..=24 * 3600 * 1000)?,
        }))
    }
}
