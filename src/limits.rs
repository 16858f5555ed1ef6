//! Every bound and default, in one place, each with its cost and the test that hits it.
//!
//! Owns numbers only; knows no other layer. Flags override the ones marked with a flag.

/// Outgoing chunk size in bytes (`--chunk-size`). Large chunks let one write carry a frame.
pub const CHUNK_SIZE_DEFAULT: u32 = 60_000;
/// Largest chunk size in force in either direction: a message is never longer (24-bit length).
/// Test: tests/chunk_vectors.rs::a_chunk_size_above_0xffffff_acts_as_that
pub const CHUNK_SIZE_MAX: u32 = 0x00FF_FFFF;
/// Chunk size of both directions before any Set Chunk Size (RTMP 1.0, 5.4.1).
pub const CHUNK_SIZE_INITIAL: u32 = 128;
/// LIMIT: chunk streams per connection; per-csid state is memory a peer controls: 44 bytes each,
/// 2.8 KB per connection, charged.
/// Test: tests/protocol_errors.rs::the_sixty_fifth_chunk_stream_is_refused
pub const CHUNK_STREAMS_MAX: usize = 64;
/// LIMIT: message streams per connection (createStream): 16 bytes each, charged; as many streams,
/// publishers or players may hang on one connection.
/// Test: tests/session_commands.rs::the_seventeenth_message_stream_is_refused_and_the_session_goes_on
pub const MESSAGE_STREAMS_MAX: usize = 16;
/// LIMIT: longest audio, video or aggregate message in bytes (`--max-message`). Unfinished ones
/// cost what has arrived, at most twice that or 4 KiB; one per chunk stream.
/// Test: tests/protocol_errors.rs::a_message_is_refused_by_the_length_it_announces
pub const MESSAGE_BYTES_MAX: u32 = 8 * 1024 * 1024;
/// LIMIT: longest command message (types 17, 20) in bytes. Unfinished ones cost what has arrived,
/// at most twice that.
/// Test: tests/protocol_errors.rs::a_message_is_refused_by_the_length_it_announces
pub const COMMAND_BYTES_MAX: u32 = 64 * 1024;
/// LIMIT: longest data message (types 15, 18) in bytes. Costs as a command does.
/// Test: tests/protocol_errors.rs::a_message_is_refused_by_the_length_it_announces
pub const DATA_BYTES_MAX: u32 = 1024 * 1024;
/// LIMIT: longest control message (types 1-6) in bytes; every defined one has at most 46.
/// Test: tests/protocol_errors.rs::a_message_is_refused_by_the_length_it_announces
pub const CONTROL_BYTES_MAX: u32 = 256;
/// Window Acknowledgement Size and Set Peer Bandwidth that we announce (0x2625A0).
pub const ACK_WINDOW: u32 = 2_500_000;
/// LIMIT: AMF0 nesting; deeper values are refused, so the parser's stack is bounded.
/// Test: tests/protocol_errors.rs::amf_values_nest_32_deep_and_no_deeper
pub const AMF_DEPTH_MAX: usize = 32;
/// LIMIT: AMF0 values per message.
/// Test: tests/protocol_errors.rs::a_message_has_4096_amf_values_and_no_more
pub const AMF_ELEMENTS_MAX: usize = 4096;
/// LIMIT: length of an AMF0 property name in bytes.
/// Test: tests/protocol_errors.rs::an_amf_property_name_has_1024_bytes_and_no_more
pub const AMF_KEY_BYTES_MAX: usize = 1024;
/// LIMIT: `app` of connect in bytes.
/// Test: tests/protocol_errors.rs::names_have_their_length_and_no_control_characters
pub const APP_BYTES_MAX: usize = 256;
/// LIMIT: `tcUrl` of connect in bytes.
/// Test: tests/protocol_errors.rs::names_have_their_length_and_no_control_characters
pub const TC_URL_BYTES_MAX: usize = 4096;
/// LIMIT: stream name of publish and play in bytes.
/// Test: tests/protocol_errors.rs::names_have_their_length_and_no_control_characters
pub const STREAM_NAME_BYTES_MAX: usize = 1024;
/// Smallest segment of a frame that is still arriving, in bytes.
pub const FRAME_SEGMENT_BYTES_MIN: usize = 4 * 1024;
/// LIMIT: largest segment of a frame in bytes; growth never moves bytes. So much more than has
/// arrived an unfinished message may hold.
/// Test: tests/limits.rs::a_frame_reserves_nothing_on_a_peers_word
pub const FRAME_SEGMENT_BYTES_MAX: usize = 64 * 1024;
/// LIMIT: frames kept for joiners before the keyframe (sequence headers, data frames) per stream:
/// 512 bytes of list, and twice the frames (as they came, and re-stamped) on each loop.
/// Test: tests/limits.rs::what_is_kept_for_joiners_is_bounded_in_number_and_bytes
pub const INIT_FRAMES_MAX: usize = 64;
/// LIMIT: bytes of frames kept for joiners before the keyframe, per stream. No cut of logs takes
/// them away, only the end of their publisher.
/// Test: tests/limits.rs::what_is_kept_for_joiners_is_bounded_in_number_and_bytes
pub const INIT_BYTES_MAX: usize = 1024 * 1024;
/// LIMIT: frames in one stream log: 24 bytes of list and some 300 bytes beside the payload each, so
/// a flood of empty frames costs 11 MB per stream and loop, charged.
/// Test: tests/limits.rs::a_log_keeps_so_many_frames_and_no_more
pub const LOG_FRAMES_MAX: usize = 32 * 1024;
/// A publisher that sent nothing for this long may be replaced from another address, ms.
pub const TAKEOVER_SILENCE_MS: u64 = 2_000;
/// How long a publisher from another address waits for the current one to fall silent, ms.
pub const TAKEOVER_WAIT_MS: u64 = 2_500;
/// A publisher that took over itself and is sending is safe from its own address for this long, ms.
pub const TAKEOVER_PING_PONG_MS: u64 = 10_000;
/// A source that comes back this far ahead of where it was went on meanwhile, ms; else it began
/// anew.
pub const TIMELINE_JUMP_MS: u32 = 3_600_000;
/// Audio and video of a source begin at most this far apart, ms.
pub const TIMELINE_SETTLE_MS: u32 = 10_000;
/// One in so many bytes of `--memory` is left to the allocator, which cannot give back free blocks
/// between used ones.
pub const MEMORY_ALLOCATOR_PART: usize = 8;
/// From this share of the memory budget on, the largest logs shrink.
/// Test: tests/memory.rs::at_80_percent_the_largest_logs_are_cut_and_small_ones_are_not
pub const MEMORY_SHRINK_PERCENT: usize = 80;
/// From this share of the memory budget on, publishers and players are refused.
/// Test: tests/memory.rs::at_95_percent_newcomers_are_refused_with_a_status
pub const MEMORY_REFUSE_PERCENT: usize = 95;
/// From this share of the memory budget on, the connection that holds most is closed, of whatever
/// loop. Not at 100 %: that would hit whoever asks next. What is left must hold one read of each
/// loop (`--ring-bytes`) and a segment begun for it, or whoever asks is hit all the same.
/// Test: tests/memory.rs::at_98_percent_the_largest_holder_of_all_loops_goes
pub const MEMORY_EVICT_PERCENT: usize = 98;
const _: () = assert!(MEMORY_SHRINK_PERCENT < MEMORY_REFUSE_PERCENT);
const _: () = assert!(MEMORY_REFUSE_PERCENT < MEMORY_EVICT_PERCENT && MEMORY_EVICT_PERCENT < 100);
/// Of a full budget, logs may keep this share; each log is sure of its fair part of it.
/// Test: tests/memory.rs::at_80_percent_the_largest_logs_are_cut_and_small_ones_are_not
pub const MEMORY_LOGS_PERCENT: usize = 50;
/// While memory is short, logs are cut and holders looked for at most this often per loop, ms: a
/// full budget must not become a full CPU.
pub const MEMORY_RELIEF_MS: u64 = 20;
/// While the budget is full and nobody holds enough to be closed, loops wait this long for each
/// other's logs to be cut before they read on, ms.
/// Test: tests/memory.rs::at_80_percent_the_largest_logs_are_cut_and_small_ones_are_not
pub const MEMORY_IN_VAIN_MS: u64 = 200;
/// Connections that one look for the largest holders remembers: 1.5 KiB per loop.
pub const MEMORY_HOLDERS: usize = 64;
/// LIMIT: how long a loop reads less because another loop's mailbox is more than half full, ms. A
/// flood of tiny frames on one loop then makes no gaps in the streams of others.
/// Test: tests/mailbox.rs::a_crowded_mailbox_slows_its_senders_for_a_second_at_most
pub const CROWDED_MS_MAX: u64 = 1_000;
/// LIMIT: letters that wait in a loop for one other loop's mailbox, or to be sorted into mailboxes
/// in this turn: with so many, the loop reads nothing more. Some 200 bytes each, 800 KB per pair of
/// loops, and what the last connection's turn and the answers to that loop's letters add.
/// Test: tests/mailbox.rs::two_loops_full_for_each_other_read_nothing_and_drain
pub const LETTERS_PENDING_MAX: usize = 4096;
/// Readiness events taken from one poll.
pub const POLL_EVENTS: usize = 1024;
/// Mailbox messages handled in one turn.
pub const MAIL_PER_TURN: usize = 4096;
/// Connections accepted in one turn.
pub const ACCEPTS_PER_TURN: usize = 128;
/// Pause after accept failed for want of descriptors, ms.
/// Test: tests/descriptors.rs::a_server_out_of_descriptors_serves_on_and_accepts_later
pub const ACCEPT_RETRY_MS: u64 = 100;
/// Generations of slab slots wrap here, so that a token never equals a listener's.
/// Test: tests/turns.rs::a_token_carries_slot_and_generation_and_is_never_a_listeners
pub const GENERATION_MAX: u32 = 0x7FFF_FFFF;
/// LIMIT: session log lines per second and loop.
/// Test: tests/output.rs::session_lines_are_limited_and_the_rest_is_counted
pub const LOG_LINES_PER_SECOND: u32 = 100;
/// LIMIT: log lines waiting for stderr; the channel takes 32 bytes for each from the start.
/// Test: tests/output.rs::log_lines_beyond_the_queue_are_dropped_and_counted
pub const LOG_LINES_QUEUED: usize = 8192;
/// LIMIT: bytes of log lines and statistics waiting for stderr.
/// Test: tests/fatal.rs::what_waits_for_stderr_is_bounded_in_bytes
pub const LOG_BYTES_QUEUED: usize = 4 * 1024 * 1024;
/// Connections read before players are flushed again; the others stay on the ready list.
/// Test: tests/turns.rs::more_readers_than_a_turn_takes_all_get_theirs
pub const READS_PER_TURN: usize = 256;
/// LIMIT: events handled for one connection in one turn; a flood of empty messages costs others so
/// many of them, not a whole ring.
/// Test: tests/turns.rs::tiny_messages_beyond_a_turn_are_handled_in_later_turns
pub const MESSAGES_PER_TURN: usize = 1024;
/// LIMIT: messages taken out of one aggregate, the rest is dropped. One of 8 MiB may hold half a
/// million empty ones, which would be frames and mail before anybody else gets a turn.
/// Test: tests/regressions.rs::an_aggregate_is_split_into_1024_messages_and_no_more
pub const AGGREGATE_MESSAGES_MAX: usize = 1024;
/// LIMIT: own outgoing bytes of a connection above which its input waits: with the replies to the
/// last command at most twice that as capacity, charged.
/// Test: tests/bounds.rs::replies_that_a_peer_does_not_read_stop_its_input
pub const OUT_QUEUE_BYTES_MAX: usize = 64 * 1024;
/// A publish that waits asks again after this long, ms. Whenever it does, the connection leaves an
/// entry of 16 bytes in the timer wheel until the deadline that it had before: at most ten each
/// second, 29 KB in the three minutes of the longest default deadline, not charged.
pub const PUBLISH_RETRY_MS: u64 = 100;
/// How long a peer that gets a last message may take to read it, ms.
pub const CLOSE_LINGER_MS: u64 = 3_000;
/// FIN follows the end of a stream after this long, ms.
pub const STREAM_END_FIN_MS: u64 = 1_000;
/// Connections flushed before the loop looks at its sockets again (`--flush-slice`).
/// Test: tests/flags_loops.rs::flush_slice_bounds_the_writes_of_a_turn
pub const FLUSH_SLICE_WRITES: usize = 256;
/// Slices in one vectored write: 1 KiB of stack.
/// Test: tests/turns.rs::a_write_takes_so_many_slices_and_bytes_and_the_rest_follows
pub const WRITE_SLICES_MAX: usize = 64;
/// Frames with a header of their own (players on another message stream than 1) in one write:
/// 512 bytes of stack.
/// Test: tests/live_streams.rs::a_player_on_another_msid_gets_the_same_bytes_with_its_own_msid
pub const WRITE_HEADERS_MAX: usize = 16;
/// Bytes offered in one vectored write, give or take one frame segment.
/// Test: tests/turns.rs::a_write_takes_so_many_slices_and_bytes_and_the_rest_follows
pub const WRITE_BYTES_MAX: usize = 256 * 1024;
/// How long the main thread waits for a loop's report, ms.
pub const REPORT_WAIT_MS: u64 = 1_000;
/// How long after `--grace` a loop that has not ended is a failure, ms.
pub const END_OVERDUE_MS: u64 = 2_000;
/// LIMIT: addresses to listen on (`--listen`); each is a token of every loop's poll.
/// Test: tests/usage.rs::wrong_values_say_what_is_wrong_and_what_is_allowed
pub const LISTENERS_MAX: usize = 256;
/// How long the last line of a process that fails may take, ms.
/// Test: tests/fatal.rs::a_stderr_that_nobody_reads_does_not_keep_a_failed_process
pub const FATAL_LINE_MS: u64 = 500;
/// Exit code of an internal failure.
pub const EXIT_FATAL: i32 = 70;
/// LIMIT: smallest acknowledgement window taken from a peer; a window of 1 would cost us a message
/// per byte.
/// Test: tests/session_flow.rs::without_a_window_2_500_000_bytes_are_assumed_and_a_tiny_one_is_not_believed
pub const ACK_WINDOW_MIN: u32 = 4096;
/// LIMIT: bytes of unfinished messages that a client session holds.
/// Test: tests/session_flow.rs::a_client_holds_4_mib_of_unfinished_messages_and_no_more
pub const CLIENT_PARTIAL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Connections below which `--check` finds the limit of open files too low, where
/// `--max-connections` does not say what is wanted.
pub const CONNECTIONS_EXPECTED: usize = 1_000;
/// Slots for connections and for players that a loop reserves at its start: 5 MB and 3 MB of
/// address space, memory only where they are used. A list that grows is copied, and leaves a hole
/// of half its size.
pub const SLOTS_RESERVED: usize = 16_384;
/// Descriptors that `--max-connections` leaves for everything else, at least.
pub const DESCRIPTORS_RESERVED: usize = 128;
/// LIMIT: loops (`--loops`). Test: tests/usage.rs::wrong_values_say_what_is_wrong_and_what_is_allowed
pub const LOOPS_MAX: usize = 1024;
/// Bytes of one stream's log (`--gop-bytes`).
pub const GOP_BYTES: u64 = 32 * 1024 * 1024;
/// Longest cached GOP, ms (`--gop-ms`).
pub const GOP_MS: u64 = 20_000;
/// Lag at which a player is moved forward, ms (`--max-lag-ms`).
pub const LAG_MS: u64 = 5_000;
/// How long audio waits for video, ms (`--flush-ms`).
pub const FLUSH_MS: u64 = 40;

// What depends on each other.
const _: () =
    assert!(CHUNK_SIZE_INITIAL <= CHUNK_SIZE_DEFAULT && CHUNK_SIZE_DEFAULT <= CHUNK_SIZE_MAX);
const _: () = assert!(MESSAGE_BYTES_MAX <= CHUNK_SIZE_MAX, "a length has 24 bits");
const _: () = assert!(CONTROL_BYTES_MAX < COMMAND_BYTES_MAX && COMMAND_BYTES_MAX < DATA_BYTES_MAX);
const _: () = assert!(DATA_BYTES_MAX <= MESSAGE_BYTES_MAX);
const _: () = assert!(APP_BYTES_MAX + TC_URL_BYTES_MAX < COMMAND_BYTES_MAX as usize);
const _: () = assert!(STREAM_NAME_BYTES_MAX < COMMAND_BYTES_MAX as usize);
const _: () = assert!(FRAME_SEGMENT_BYTES_MIN <= FRAME_SEGMENT_BYTES_MAX);
const _: () = assert!(INIT_BYTES_MAX >= DATA_BYTES_MAX as usize, "one data frame always fits");
const _: () = assert!(CLIENT_PARTIAL_BYTES_MAX >= DATA_BYTES_MAX as usize);
const _: () = assert!(ACK_WINDOW_MIN <= ACK_WINDOW);
const _: () = assert!(TAKEOVER_SILENCE_MS < TAKEOVER_WAIT_MS, "silence shows while one waits");
const _: () = assert!(PUBLISH_RETRY_MS < TAKEOVER_WAIT_MS);
const _: () = assert!(MEMORY_LOGS_PERCENT < MEMORY_SHRINK_PERCENT, "cutting logs must help");
/// LIMIT: streams that one loop's part of a report lists; the others are counted. Names are a
/// peer's choice, a line of them all would be made in a turn: 100 MB for a million.
/// Test: tests/output.rs::a_report_lists_4096_streams_of_a_loop_and_counts_the_rest
pub const REPORT_STREAMS_MAX: usize = 4096;
