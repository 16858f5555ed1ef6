//! Millrace: an RTMP edge server. This page is its architecture.
//!
//! # Layers
//!
//! ```text
//! limits, time, budget <- rtmp <- media <- service <- net <- main      cli -> limits,  main -> cli
//! ```
//!
//! | layer | is | must not know |
//! |---|---|---|
//! | [`limits`] | every bound and default, each with its cost and the test that hits it | anything else |
//! | [`rtmp`] | the protocol, sans-IO: bytes and `now` in, bytes and events out | sockets, threads, clocks, files |
//! | [`media`] | what bodies mean: tags, frames, stream logs, players' cursors | as above |
//! | [`service`] | policy: who publishes and plays what; answers with values ([`service::live::Action`]) | as above |
//! | [`net`] | mio, sockets, threads, the clock | – |
//! | [`cli`] | flags to a checked [`cli::Config`] | everything but limits |
//!
//! Beside them stand [`budget`] and [`time`], plain values that every layer may use, and [`host`],
//! which reads the machine's facts for the binaries. `tests/tidy.rs` checks the imports.
//!
//! # The life of one video frame
//!
//! 1. Loop A's poll says that the publisher is readable. One vectored read into a ring leased from
//!    the loop's pool ([`net::ring`]), again until a short read or the turn's budget. A ring is kept
//!    over a turn only when a budget stopped the parser.
//! 2. [`rtmp::chunk::ChunkReader`] yields pieces of bodies, borrowed from the ring.
//!    [`rtmp::session::ServerSession`] turns them into events; media pieces pass through it.
//! 3. [`media::frame::FrameBuilder`] copies each piece once, to its final place in the wire image:
//!    type-0 header with absolute timestamp, continuation headers every `--chunk-size` bytes. No
//!    header depends on an earlier message, so the image serves every player at every place.
//!    Segments are allocated as bytes arrive, charged to the [`budget`], and never move.
//! 4. The publisher's loop appends the frame to its [`media::log::StreamLog`] and posts one `Arc`
//!    to each loop with players of this stream ([`net::mailbox`]); a loop is woken only if asleep,
//!    once a turn (`--wake`), before this loop writes to its own players.
//! 5. Each loop has its own log of the stream; a player is a [`media::cursor::Cursor`] into it,
//!    without a queue of its own.
//! 6. The stream stands in the loop's due set, ordered by time: video is due in its turn, audio
//!    waits for it up to `--flush-ms`, both wait with `--merge-ms`. When it is due its players go
//!    to the end of the flush list ([`service::live::Live::take_due`]).
//! 7. The flush ([`net::event_loop`]) takes a slice of the list (`--flush-slice` connections), then
//!    the loop looks at its sockets again: many players hold up no publisher. Each connection gets
//!    one `sendmsg` (`send` where it is one slice) of everything pending: the rest of the frame in
//!    flight, replies, frames. Under load turns get longer and writes merge by themselves.
//! 8. A player that lags finishes the frame in flight and goes on at the newest keyframe, changed
//!    sequence headers first.
//!
//! # Streams between loops
//!
//! The publisher's loop owns a stream. The [`service::directory`] (one mutex, touched on publish,
//! play, stop and statistics) maps a name to owner, epoch and subscribed loops; every transition
//! returns the messages to send. A subscribing loop gets one snapshot (headers and GOP) through the
//! owner, on the channel of the frames that follow. Each publish has an epoch; an older one is
//! ignored. After a takeover the old owner says when it has emitted its last frame; the new one
//! emits nothing before that, and its timeline goes on behind the old one's.
//!
//! # The load generator
//!
//! `millrace-load` (`src/bin/millrace-load`) is one thread on [`rtmp::session::ClientSession`], the
//! protocol that the server speaks. What it publishes carries stream, number, time and checksum, so
//! a verified player sees every gap, wrong byte and late frame; a drained one is only counted, and
//! must get as many bytes as one that parses. `tests/load_honesty.rs` commits each fault against
//! it. Its mode `floor` is the least that delivery costs, to measure servers with; it writes as the
//! server does (`tests/floor.rs::floor_and_server_write_the_same_for_the_same_policy`).
//!
//! # Invariants
//!
//! | | holds | shown by |
//! |---|---|---|
//! | N1 | what a budget leaves undone stays on the ready or the flush list | `tests/turns.rs::what_the_turn_budget_leaves_is_read_in_later_turns`, `tests/turns.rs::a_fin_behind_data_loses_none_of_it`, `tests/flags_loops.rs::flush_slice_bounds_the_writes_of_a_turn` |
//! | N2 | queued bytes put a connection on the flush list; only the flush writes | `tests/tidy.rs::only_the_flush_writes_to_a_connection` |
//! | N3 | a player gets whole messages in order; a gap ends on a resume point | `tests/simulation.rs::every_history_keeps_the_invariants`, `tests/stream_model.rs::log_and_player_do_what_the_naive_model_does` |
//! | N4 | no loop blocks, not even on the log | `tests/output.rs::a_stderr_that_nobody_reads_stops_nothing` |
//! | N5 | the directory is touched at transitions, never per frame | `tests/tidy.rs::the_directory_is_locked_at_transitions_only` |
//! | N6 | outside its loop a connection is {loop, slot, generation}; a stale one is ignored | `tests/turns.rs::a_stale_generation_finds_nobody` |
//! | N7 | time is an argument; the loop reads the clock after poll and flush slices only | `tests/turns.rs::the_clock_is_read_after_poll_and_after_a_flush_slice_only` |
//! | N8 | fixed memory is summed and printed, variable memory charged to one budget | `tests/memory.rs::what_is_charged_never_exceeds_the_budget`, `tests/memory.rs::at_98_percent_the_largest_holder_of_all_loops_goes` |
//! | N9 | nothing a peer sends panics, recurses without bound, or reserves memory on its word | `tests/fuzz.rs::every_target_survives_its_corpus_and_the_corpora_reach_every_protocol_error`, `tests/limits.rs::a_frame_reserves_nothing_on_a_peers_word` |
//! | N10 | an older epoch is ignored; a name is free when its publisher has gone | `tests/simulation.rs::every_history_keeps_the_invariants`, `tests/directory.rs::a_stale_release_does_nothing` |
//! | N11 | players' input is read for ever | `tests/live_wire.rs::what_a_player_sends_is_read_for_ever` |
//! | N12 | an idle loop wakes at most once a second; an idle connection holds no ring | `tests/idle.rs::an_idle_loop_wakes_once_a_second_at_most_and_its_connections_hold_no_ring` |
//! | N13 | only frames may be lost between loops; control waits its turn; nobody sleeps with mail | `tests/mailbox.rs::control_is_never_lost_and_keeps_its_order_in_a_mailbox_of_one`, `tests/flags_loops.rs::a_mailbox_of_one_still_carries_a_stream`, `tests/mailbox.rs::a_sleeper_never_misses_its_mail` |
//! | N14 | a panic or fatal poll error in any thread ends the process with 70 | `tests/fatal.rs::a_panic_in_any_thread_ends_the_process_with_exit_code_70`, `tests/fatal.rs::a_poll_that_fails_ends_the_process_with_exit_code_70` |
//!
//! # Decisions
//!
//! - At 98 % of the variable memory the connection that holds most on all loops goes, not at
//!   100 %: then the next allocation, whoever makes it, would be the one to fail. See [`limits`].
//! - While another loop's mailbox is more than half full a loop reads less, for a second at most:
//!   a flood of tiny frames would otherwise make gaps in other streams.
//! - A follower's log holds headers as they came; they are re-stamped where a player joins or a
//!   gap ends, not per keyframe.
//! - Deadlines of five seconds and more are rounded up to full seconds, so that thousands of idle
//!   connections share one wake-up ([`net::timer_wheel`]).
//! - Acknowledgements are forced (TCP_QUICKACK) until media starts: clients write their commands
//!   in small pieces with Nagle's algorithm on, each waiting for the acknowledgement of the last.
//! - Writes are `sendmsg` or `send`, not `writev`, which goes by way of the file layer and costs a
//!   twentieth more. The answer to a handshake goes out when it is read: 3 KB for each of a
//!   thousand who come in one turn would leave holes in the heap.
//! - What a write touches lies close together: the session is in a box of its own, the slot of the
//!   only player in the connection ([`net::player_slots`]), a connection's name has 8 bytes.
//! - publish or play on a message stream above 16 gets `NetStream.Failed`; the connection stays.
//!
//! Not taken: a queue per player (unbounded memory, an allocation per player and frame), relative
//! chunk headers shared between players (one drop desynchronises them), io_uring and async
//! runtimes, MSG_ZEROCOPY (dearer below 10 KB and on loopback).
#![forbid(unsafe_code)]

#[cfg(not(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"))))]
compile_error!("millrace runs on Linux 5.6 or later, on x86-64 and aarch64 only");

pub mod budget;
pub mod cli;
pub mod host;
pub mod limits;
pub mod media;
pub mod net;
pub mod rtmp;
pub mod service;
pub mod time;
