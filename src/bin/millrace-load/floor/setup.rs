//! What stands around the floor's loop: flags, set-up, counters.
//!
//! Entry points: [`Options::parse`], [`Floor::new`], [`Floor::print`].

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;

use millrace::cli::UsageError;
use millrace::net::listener::{self, SocketOptions};
use millrace::rtmp::session::MediaKind;
use millrace::time::Millis;
use mio::{Interest, Poll};
use slab::Slab;

use super::{FRAMES, Floor, IDLE, LISTENER, Ring};
use crate::flags::{self, Flag, Given, flag};

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

/// The flags, parsed and checked.
#[derive(Debug)]
pub(crate) struct Options {
    listen: SocketAddr,
    policy: String,
    /// How long audio waits for other frames; video and data.
    audio_ms: u64,
    video_ms: u64,
    /// How long the floor runs.
    pub(super) time_ms: u64,
}

/// Since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counters {
    pub(super) writes: usize,
    pub(super) bytes: usize,
    /// Players that fell out of the ring.
    pub(super) skips: usize,
    /// `writes`, `bytes` and the time of the line before.
    printed: (usize, usize, Millis),
}

impl Options {
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
        let merge_ms = given.number("merge-ms", 1..=10_000)?;
        let flush_ms = given.number("flush-ms", 0..=10_000)?;
        let waits = |policy: &str| match policy {
            "each" | "nagle" => Some((0, 0)),
            "ride" => Some((flush_ms, 0)),
            "merge" => Some((merge_ms, merge_ms)),
            _ => None,
        };
        let (audio_ms, video_ms) = given.value("policy", "each, ride, merge or nagle", waits)?;
        let address = "an address and a port, such as 127.0.0.1:1935";
        Ok(Ok(Self {
            listen: given.value("listen", address, |text| text.parse().ok())?,
            policy: given.text("policy"),
            audio_ms,
            video_ms,
            time_ms: given.time_ms("time", 100..=24 * 3600 * 1000)?,
        }))
    }

    /// What the policy wants of an accepted socket.
    pub(super) fn socket(&self) -> SocketOptions {
        let nodelay = self.policy != "nagle";
        SocketOptions { nodelay, sndbuf: 0, rcvbuf: 0, notsent_lowat: 128 * 1024 }
    }

    /// How long a message of `kind` may wait for others, ms.
    pub(super) fn wait_ms(&self, kind: MediaKind) -> u64 {
        if kind == MediaKind::Audio { self.audio_ms } else { self.video_ms }
    }
}

impl Floor {
    /// Listens.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn new(options: Options) -> io::Result<Self> {
        // Without it fewer players fit, which the first refused one tells.
        let _ = millrace::host::raise_nofile();
        let mut listener = listener::bind(options.listen, 4096, false)?;
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        // Buffers that need not grow for usual frames.
        let frames = (0..FRAMES).map(|_| Vec::with_capacity(32 * 1024)).collect();
        Ok(Self {
            options,
            poll,
            listener,
            now: Millis(0),
            peers: Slab::new(),
            ring: Ring { frames, head: 0, sendable: 0 },
            due: Millis(u64::MAX),
            bodies: BTreeMap::new(),
            headers: BTreeMap::new(),
            counters: Counters::default(),
        })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// A line of JSON: totals since the start, rates since the line before.
    ///
    /// # Errors
    /// Stdout takes nothing.
    pub(super) fn print(&mut self) -> io::Result<()> {
        let (now, policy, frames) = (self.now, &self.options.policy, self.ring.head);
        let players = self.peers.iter().filter(|(_, peer)| peer.next != IDLE).count();
        let Counters { writes, bytes, skips, printed } = self.counters;
        self.counters.printed = (writes, bytes, now);
        let new = writes - printed.0;
        writeln!(
            io::stdout(),
            "{{\"policy\":\"{policy}\",\"at_ms\":{},\"players\":{players},\
             \"frames\":{frames},\"writes\":{writes},\"bytes_out\":{bytes},\"skips\":{skips},\
             \"writes_per_s\":{},\"bytes_per_write\":{}}}",
            now.0,
            new as u64 * 1000 / now.since(printed.2).max(1),
            (bytes - printed.1) / new.max(1),
        )
    }
}
