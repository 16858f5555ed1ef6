//! The flag table: one row is one flag, with its help and the test that sees its effect.

use std::fmt::Write;

/// One flag.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Group in `--help`.
    pub group: &'static str,
    /// Long name without dashes.
    pub name: &'static str,
    /// Name of its value; empty for a switch.
    pub value: &'static str,
    /// Default as the user would write it; empty for none.
    pub default: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// May be given more than once.
    pub repeatable: bool,
    /// File and function of the test that sees its effect.
    pub test: &'static str,
}

const fn flag(
    group: &'static str,
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
    test: &'static str,
) -> Flag {
    Flag { group, name, value, default, help, repeatable: false, test }
}

const NETWORK: &str = "Network";
const LOOPS: &str = "Loops";
const LIVE: &str = "Live streams";
const TIMES: &str = "Timeouts (seconds, or with ms, s, m; 0 is never)";
const LIMITS: &str = "Limits (0 is unlimited where not said otherwise)";
const OUTPUT: &str = "Output";
const OTHER: &str = "Other";

/// Every flag.
#[rustfmt::skip]
pub const FLAGS: &[Flag] = &[
    Flag { repeatable: true, ..flag(NETWORK, "listen", "ADDR:PORT", "[::]:1935", "Listen here; may be repeated; port 0 takes a free one.", "tests/flags_network.rs::listen_may_be_repeated_and_port_0_is_shown") },
    flag(NETWORK, "accept", "balance|reuseport", "balance", "One listener that hands connections to the least loaded loop, or one listener per loop.", "tests/flags_network.rs::accept_balance_spreads_and_reuseport_listens_per_loop"),
    flag(NETWORK, "backlog", "N", "4096", "Connections the kernel keeps before they are accepted.", "tests/flags_network.rs::backlog_is_what_the_kernel_shows"),
    flag(NETWORK, "nodelay", "on|off", "on", "Send at once (TCP_NODELAY).", "tests/flags_network.rs::nodelay_sends_small_writes_without_waiting_for_acknowledgements"),
    flag(NETWORK, "sndbuf", "BYTES", "0", "Kernel send buffer per connection; 0 is the kernel's choice.", "tests/flags_network.rs::socket_buffers_are_what_the_kernel_shows"),
    flag(NETWORK, "rcvbuf", "BYTES", "0", "Kernel receive buffer per connection; 0 is the kernel's choice.", "tests/flags_network.rs::socket_buffers_are_what_the_kernel_shows"),
    flag(NETWORK, "notsent-lowat", "BYTES", "128K", "Unsent bytes the kernel takes for one connection; 0 is the kernel's choice.", "tests/flags_network.rs::notsent_lowat_bounds_what_a_stuck_player_swallows"),
    flag(LOOPS, "loops", "N", "all CPUs", "Event loops.", "tests/flags_loops.rs::loops_and_pins_are_printed_and_run"),
    flag(LOOPS, "pin", "auto|off|LIST", "auto", "CPU of each loop, such as 0,2-3; auto pins when loops and CPUs are equal in number.", "tests/flags_loops.rs::loops_and_pins_are_printed_and_run"),
    flag(LOOPS, "ring-bytes", "BYTES", "64K", "Size of a read buffer.", "tests/flags_loops.rs::ring_bytes_decides_how_much_one_read_takes"),
    flag(LOOPS, "rings", "N", "256", "Read buffers per loop.", "tests/flags_loops.rs::rings_run_short_when_there_are_few"),
    flag(LOOPS, "turn-bytes", "BYTES", "256K", "Bytes read from one connection before others get their turn.", "tests/flags_loops.rs::turn_bytes_makes_more_turns"),
    flag(LOOPS, "flush-slice", "N", "256", "Connections written to before the loop looks at its sockets again.", "tests/flags_loops.rs::flush_slice_bounds_the_writes_of_a_turn"),
    flag(LOOPS, "wake", "turn|message", "turn", "Wake a sleeping loop once a turn for all its messages, or at once for each.", "tests/flags_loops.rs::wake_decides_how_often_a_sleeping_loop_is_woken"),
    flag(LOOPS, "mailbox", "N", "4096", "Messages between two loops that may wait.", "tests/flags_loops.rs::a_mailbox_of_one_still_carries_a_stream"),
    flag(LIVE, "chunk-size", "BYTES", "60000", "Chunk size for sending, 128 to 16777215.", "tests/flags_live.rs::chunk_size_is_announced"),
    flag(LIVE, "gop-cache", "gop|keyframe|off", "gop", "What a new player gets at once.", "tests/flags_live.rs::gop_cache_decides_what_a_joiner_gets"),
    flag(LIVE, "gop-bytes", "BYTES", "32M", "Largest log and cached GOP of one stream.", "tests/flags_live.rs::a_gop_over_its_cap_is_not_cached"),
    flag(LIVE, "gop-ms", "MS", "20000", "Longest cached GOP, in ms.", "tests/flags_live.rs::a_gop_over_its_cap_is_not_cached"),
    flag(LIVE, "max-lag-ms", "MS", "5000", "A player further behind jumps to the newest keyframe.", "tests/flags_live.rs::max_lag_moves_a_slow_player_forward"),
    flag(LIVE, "flush-ms", "MS", "40", "How long audio waits for video; 0 is not at all.", "tests/flags_live.rs::flush_ms_and_merge_ms_decide_how_many_writes_there_are"),
    flag(LIVE, "merge-ms", "MS", "0", "Collect video and audio this long before sending.", "tests/flags_live.rs::flush_ms_and_merge_ms_decide_how_many_writes_there_are"),
    flag(LIVE, "hold", "TIME", "10", "How long players are kept when a publisher is lost.", "tests/flags_live.rs::hold_keeps_players_for_so_long"),
    flag(LIVE, "hold-always", "", "", "Keep players also when the publisher has unpublished.", "tests/flags_live.rs::hold_always_keeps_players_after_an_unpublish"),
    flag(LIVE, "takeover", "idle|always|never", "idle", "Who may take a name in use: the same address or anybody when it is silent, anybody, nobody.", "tests/flags_live.rs::takeover_decides_who_gets_a_name"),
    flag(LIVE, "no-publisher", "wait|fail", "wait", "A player of a stream that nobody publishes waits or is refused.", "tests/live_join.rs::with_no_publisher_fail_a_player_is_refused_at_once"),
    flag(LIVE, "wait", "TIME", "30", "How long it waits.", "tests/live_join.rs::a_player_that_waited_long_enough_is_refused_and_closed"),
    Flag { repeatable: true, ..flag(LIVE, "app", "NAME", "", "Accept only this app; may be repeated.", "tests/flags_live.rs::an_unknown_app_is_refused") },
    flag(TIMES, "handshake-timeout", "TIME", "10", "For the handshake, and again for connect.", "tests/flags_times.rs::handshake_timeout_closes_silent_peers"),
    flag(TIMES, "idle-timeout", "TIME", "180", "For a connection that neither publishes nor plays.", "tests/flags_times.rs::idle_timeout_closes_idle_connections"),
    flag(TIMES, "publisher-timeout", "TIME", "30", "For a publisher that sends no media.", "tests/flags_times.rs::publisher_timeout_closes_silent_publishers"),
    flag(TIMES, "blocked-timeout", "TIME", "10", "For a peer that accepts no byte.", "tests/flags_times.rs::blocked_timeout_closes_stuck_players"),
    flag(TIMES, "ping-interval", "TIME", "30", "Silence of a publisher or player before a ping; dead after twice that.", "tests/flags_times.rs::ping_interval_pings_and_closes_the_dead"),
    flag(TIMES, "grace", "TIME", "10", "How long the end may take after SIGTERM or SIGINT; 0 is no time at all.", "tests/shutdown.rs::grace_bounds_the_end"),
    flag(LIMITS, "max-connections", "N", "nofile - 128", "Connections in all.", "tests/flags_limits.rs::connection_limits_refuse"),
    flag(LIMITS, "max-per-address", "N", "0", "Connections from one address.", "tests/flags_limits.rs::connection_limits_refuse"),
    flag(LIMITS, "max-publishers", "N", "0", "Publishers in all.", "tests/flags_limits.rs::stream_limits_refuse_with_a_status"),
    flag(LIMITS, "max-streams", "N", "0", "Stream names in use, those waited for included.", "tests/flags_limits.rs::stream_limits_refuse_with_a_status"),
    flag(LIMITS, "max-message", "BYTES", "8M", "Longest audio or video message, up to 16777215.", "tests/flags_limits.rs::max_message_closes_the_sender_of_a_longer_one"),
    flag(LIMITS, "memory", "BYTES", "70 % of RAM", "Memory for everything but the kernel's socket buffers.", "tests/flags_limits.rs::memory_bounds_what_is_taken_and_refuses_before_it_is_full"),
    flag(OUTPUT, "stats-interval", "TIME", "0", "Write statistics to stderr this often; SIGUSR1 writes them once.", "tests/flags_output.rs::statistics_come_by_interval_and_signal_in_both_formats"),
    flag(OUTPUT, "stats-format", "table|json", "table", "Form of the statistics.", "tests/flags_output.rs::statistics_come_by_interval_and_signal_in_both_formats"),
    flag(OUTPUT, "log", "FILTER", "info", "Log level or filter as in RUST_LOG, over which it wins.", "tests/flags_output.rs::log_wins_over_rust_log"),
    flag(OTHER, "check", "", "", "Tell what the host lacks for these flags; exit 0 if nothing, 1 otherwise.", "tests/check.rs::a_good_host_has_no_findings"),
    flag(OTHER, "demo", "", "", "Publish a built-in clip as live/demo.", "tests/demo.rs::demo_publishes_a_clip_that_rises_over_its_end"),
    flag(OTHER, "version", "", "", "Print the version.", "tests/flags_output.rs::version_and_help_are_printed"),
    flag(OTHER, "help", "", "", "Print this text.", "tests/flags_output.rs::version_and_help_are_printed"),
];

/// The getopts parser of the table.
#[must_use]
pub fn options() -> getopts::Options {
    let mut options = getopts::Options::new();
    for flag in FLAGS {
        match (flag.value, flag.repeatable) {
            ("", _) => options.optflag("", flag.name, flag.help),
            (value, true) => options.optmulti("", flag.name, flag.help, value),
            (value, false) => options.optopt("", flag.name, flag.help, value),
        };
    }
    options
}

/// The text of `--help`: flags by group, at most 100 columns.
#[must_use]
pub fn help() -> String {
    let mut text = String::from("millrace: an RTMP edge server\n\nUsage: millrace [FLAGS]\n");
    let mut group = "";
    for flag in FLAGS {
        if flag.group != group {
            group = flag.group;
            let _ = write!(text, "\n{group}:\n");
        }
        let _ = writeln!(text, "{}", format!("  --{} {}", flag.name, flag.value).trim_end());
        let default = match flag.default {
            "" => String::new(),
            default => format!(" [{default}]"),
        };
        for line in wrap(&format!("{}{default}", flag.help), 88) {
            let _ = writeln!(text, "          {line}");
        }
    }
    text.push_str(AFTER_FLAGS);
    text
}

/// What `--help` says besides flags.
const AFTER_FLAGS: &str = "
Sizes take K, M, G (binary). Times are seconds, or a number with ms, s or m. As a timeout 0 is
never, as a limit it is unlimited.

Signals:
  SIGTERM, SIGINT  refuse new sessions, tell publishers and players, end within --grace;
                   the second one ends at once
  SIGUSR1          write statistics to stderr
  SIGHUP           nothing

Exit codes:
  0         ended in order; --check found nothing
  1         cannot start, such as a port in use; --check found something
  2         wrong flags
  70        internal failure
  130, 143  ended at once by a second SIGINT, SIGTERM
";

/// The README's list of flags.
#[must_use]
pub fn readme_table() -> String {
    let mut text = String::from("| flag | default | effect |\n|---|---|---|\n");
    for flag in FLAGS {
        let value = if flag.value.is_empty() { String::new() } else { format!(" {}", flag.value) };
        let value = value.replace('|', "\\|");
        let _ = writeln!(text, "| `--{}{value}` | {} | {} |", flag.name, flag.default, flag.help);
    }
    text
}

/// Lines of `text` that are at most `width` wide, where no word is longer.
#[must_use]
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.last().map_or(0, String::len);
        if last > 0 && last + 1 + word.len() > width {
            lines.push(String::new());
        }
        if let Some(line) = lines.last_mut() {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}
