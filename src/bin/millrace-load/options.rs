//! Flags of the load: the table, and what is parsed and checked of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use millrace::cli::UsageError;

use crate::flags::{self, Flag, Given, flag, refused};
use crate::promises::Promises;
use crate::report::OWN_WAIT_MAX;

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    /// Load a server.
    Run(Box<Options>),
    /// Print this text.
    Print(String),
}

/// Every flag, parsed and checked.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Server.
    pub(crate) server: SocketAddr,
    /// Its process, where it is to be measured.
    pub(crate) server_pid: Option<u32>,
    /// `app` of connect.
    pub(crate) app: String,
    /// Stream name; with several publishers its beginning.
    pub(crate) stream: String,
    /// Streams that are published.
    pub(crate) publishers: usize,
    /// Players that read, spread over the streams.
    pub(crate) players: usize,
    /// Every so many players is verified; 0: none is.
    pub(crate) verify_every: usize,
    /// Time between two reads of those that are not verified, ms; 0: they parse everything.
    pub(crate) drain_ms: u64,
    /// Players that never read.
    pub(crate) stuck: usize,
    /// Players that read `slow_kbps` only.
    pub(crate) slow: usize,
    /// 1000 bits a second that a slow player reads.
    pub(crate) slow_kbps: u64,
    /// Connections that do connect and nothing more.
    pub(crate) idle: usize,
    /// Joins a second during the measured time.
    pub(crate) churn: usize,
    /// Joins that begin in one moment at the start of the measured time.
    pub(crate) storm: usize,
    /// Measured time, ms, from the moment when all peers have what they want.
    pub(crate) time_ms: u64,
    /// Bit rate of a synthetic source, 1000 bits a second.
    pub(crate) kbps: u64,
    /// Time between keyframes of a synthetic source, ms.
    pub(crate) gop_ms: u64,
    /// Published instead of the synthetic source.
    pub(crate) flv: Option<PathBuf>,
    /// Source addresses, 127.0.0.1 and up; 1: the kernel chooses.
    pub(crate) sources: usize,
    /// Largest TCP segment of every connection, bytes; 0: the kernel's choice.
    pub(crate) mss: u32,
    /// Connections opened a second.
    pub(crate) connect_rate: u64,
    /// Where the result goes as JSON; `-` is stdout.
    pub(crate) json: Option<PathBuf>,
    /// Where the result goes as CSV; `-` is stdout.
    pub(crate) csv: Option<PathBuf>,
    /// So long may this process wait for a CPU, percent of the measured time.
    pub(crate) waited_max: f64,
    /// No progress lines.
    pub(crate) quiet: bool,
    /// What must hold besides.
    pub(crate) promises: Promises,
}

const SERVER: &str = "Server";
const WHO: &str = "Who is there (flags may be combined)";
const WHAT: &str = "What is published";
const HOW: &str = "How";
const RESULT: &str = "Result";
const PROMISES: &str = "Promises: exit code 1 if one is broken";

/// The table.
#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag(SERVER, ("server", "ADDR:PORT"), "127.0.0.1:1935", "The only address that is talked to.", "tests/load_flags.rs::server_is_the_only_address_that_is_talked_to"),
    flag(SERVER, ("server-pid", "PID"), "", "Measure CPU, memory and context switches of this process too.", "tests/load_report.rs::the_servers_process_is_measured_where_its_number_is_given"),
    flag(SERVER, ("app", "NAME"), "live", "App.", "tests/load_flags.rs::app_and_stream_are_what_the_server_sees"),
    flag(SERVER, ("stream", "NAME"), "load", "Stream name; NAME-0, NAME-1, ... with several publishers.", "tests/load_flags.rs::app_and_stream_are_what_the_server_sees"),
    flag(WHO, ("publishers", "N"), "1; 0 with --idle alone", "Publishers, each of its own stream; 0: play what is there; whether it has video shows after 2 s at most.", "tests/load_who.rs::publishers_have_a_stream_each_over_which_players_are_spread"),
    flag(WHO, ("players", "N"), "100; 0 with --idle, --churn or --storm", "Players that read, spread over the streams.", "tests/load.rs::players_get_every_frame_beside_players_that_never_read"),
    flag(WHO, ("verify-every", "K"), "20", "Every K-th player checks every byte and takes latencies; 0: none does.", "tests/load_flags.rs::verify_every_decides_how_many_players_check_every_byte"),
    flag(WHO, ("drain-ms", "MS"), "30", "Players read this often, the others without looking; 0: all read at once and parse everything.", "tests/load_who.rs::drain_ms_0_parses_every_player"),
    flag(WHO, ("stuck", "N"), "0", "Players that never read.", "tests/load.rs::players_get_every_frame_beside_players_that_never_read"),
    flag(WHO, ("slow", "N"), "0", "Players that read --slow-kbps only.", "tests/load_who.rs::slow_players_read_slow_kbps"),
    flag(WHO, ("slow-kbps", "K"), "500", "What a slow player reads, 1000 bits a second.", "tests/load_who.rs::slow_players_read_slow_kbps"),
    flag(WHO, ("idle", "N"), "0", "Connections that connect and stay.", "tests/load.rs::idle_connections_connect_and_stay"),
    flag(WHO, ("churn", "N"), "0", "Joins a second while it is measured: join, first keyframe, leave.", "tests/load_who.rs::churn_joins_so_many_a_second_and_leaves"),
    flag(WHO, ("storm", "N"), "0", "So many joins in one moment when measuring begins.", "tests/load_who.rs::a_storm_begins_when_measuring_begins_and_leaves"),
    flag(WHAT, ("kbps", "N"), "1000", "Bit rate: 30 video and 43 audio frames a second share it.", "tests/load_flags.rs::kbps_is_the_rate_of_video_and_audio_together"),
    flag(WHAT, ("gop-ms", "N"), "2000", "Time between keyframes.", "tests/load_flags.rs::gop_ms_is_the_time_between_keyframes"),
    flag(WHAT, ("flv", "FILE"), "", "Publish this file again and again instead.", "tests/load.rs::an_flv_file_is_published_and_checked"),
    flag(HOW, ("time", "TIME"), "10", "Measured time once everybody is there (seconds, or ms, s, m).", "tests/load_flags.rs::time_is_how_long_it_is_measured"),
    flag(HOW, ("sources", "N"), "1", "Source addresses, 127.0.0.1 and up.", "tests/load_flags.rs::sources_are_the_addresses_that_connections_come_from"),
    flag(HOW, ("mss", "BYTES"), "0", "Largest TCP segment, such as 1448 on Ethernet; 0 is the kernel's choice: 65483 on loopback, where a server with Nagle's algorithm leaves most of its sending to whoever acknowledges.", "tests/load_flags.rs::mss_is_the_largest_segment_of_the_connections"),
    flag(HOW, ("connect-rate", "N"), "1000", "Connections opened a second.", "tests/load_flags.rs::connect_rate_is_how_fast_connections_are_opened"),
    flag(RESULT, ("json", "FILE"), "", "Write the result as one JSON object; - is stdout, which it has for itself then.", "tests/load_report.rs::json_and_csv_show_the_same_fields_and_values"),
    flag(RESULT, ("csv", "FILE"), "", "Write it as a CSV header and row; - as above.", "tests/load_report.rs::json_and_csv_show_the_same_fields_and_values"),
    flag(RESULT, ("quiet", ""), "", "No line of progress each second.", "tests/load_report.rs::a_line_of_progress_comes_each_second_unless_quiet"),
    flag(RESULT, ("waited-max", "PERCENT"), "10", "The run is invalid if this process waited longer for a CPU, in percent of the measured time.", "tests/load_report.rs::a_load_that_others_keep_from_its_cpu_is_invalid"),
    flag(PROMISES, ("expect-no-gap", ""), "", "No player misses a frame.", "tests/load_report.rs::a_gap_breaks_the_promise_that_there_is_none"),
    flag(PROMISES, ("expect-p99-ms", "N"), "", "Latency that 99 % of the video frames keep (of the audio frames where there is no video).", "tests/load_report.rs::a_promise_that_is_kept_is_0_and_one_that_is_broken_is_1"),
    flag(PROMISES, ("expect-p999-ms", "N"), "", "Latency that 99.9 % of them keep.", "tests/load_report.rs::a_promise_that_is_kept_is_0_and_one_that_is_broken_is_1"),
    flag(PROMISES, ("expect-max-ms", "N"), "", "Latency that every frame keeps, audio too.", "tests/load_report.rs::a_promise_that_is_kept_is_0_and_one_that_is_broken_is_1"),
    flag(PROMISES, ("expect-join-ms", "N"), "", "Time from connecting to the first keyframe that 99 % of the players keep.", "tests/load_report.rs::a_promise_that_is_kept_is_0_and_one_that_is_broken_is_1"),
    flag(PROMISES, ("expect-server-cpu", "PERCENT"), "", "CPU time of the server, in percent of one CPU; with --server-pid.", "tests/load_report.rs::a_promise_that_is_kept_is_0_and_one_that_is_broken_is_1"),
    flag("Other", ("help", ""), "", "Print this text.", "tests/load_flags.rs::help_of_every_mode_lists_its_flags"),
];

const USAGE: &str = "\
millrace-load: loads an RTMP server and checks what players get

Usage: millrace-load [FLAGS]
       millrace-load floor [FLAGS]   the least that delivery costs on this machine
       millrace-load plot [FLAGS]    a picture of CSV results
       millrace-load MODE --help

Exit codes: 0 good and valid; 1 a promise broken, a fault that no server may have, the load over
90 % of its core or kept waiting for it, or it could not run; 2 wrong flags.";

/// Most connections of one kind.
const PEERS_MAX: u64 = 1_000_000;
/// LIMIT: a run is bounded in time, ms.
const TIME_MS_MAX: u64 = 24 * 3600 * 1000;
/// Most that a promise may be, ms or percent.
const PROMISE_MAX: f64 = 1e6;

impl Options {
    /// Parses `args` (without the program's name).
    ///
    /// # Errors
    /// [`UsageError`]: one sentence that says what is wrong and what is allowed.
    pub(crate) fn parse(args: &[String]) -> Result<Command, UsageError> {
        let given = Given::parse(FLAGS, args)?;
        if given.has("help") {
            return Ok(Command::Print(flags::help(USAGE, FLAGS)));
        }
        given.no_words()?;
        let options = Self::build(&given)?;
        options.check()?;
        Ok(Command::Run(Box::new(options)))
    }

    fn build(given: &Given) -> Result<Self, UsageError> {
        let peers = |name| given.count(name, PEERS_MAX);
        let (idle, churn, storm) = (peers("idle")?, peers("churn")?, peers("storm")?);
        let (stuck, slow) = (peers("stuck")?, peers("slow")?);
        // Players and publishers that nobody asked for do not stand beside these.
        let players = match given.has("players") {
            true => peers("players")?,
            false if idle + churn + storm > 0 => 0,
            false => 100,
        };
        let is_idle_only = idle > 0 && players + stuck + slow + churn + storm == 0;
        let publishers = match given.has("publishers") {
            true => given.count("publishers", 10_000)?,
            false => usize::from(!is_idle_only),
        };
        let server = "an address and a port, such as 127.0.0.1:1935";
        Ok(Self {
            server: given.value("server", server, |text| text.parse().ok())?,
            server_pid: server_pid(given)?,
            app: given.text("app"),
            stream: given.text("stream"),
            publishers,
            players,
            verify_every: peers("verify-every")?,
            drain_ms: given.number("drain-ms", 0..=1000)?,
            stuck,
            slow,
            slow_kbps: given.number("slow-kbps", 1..=1_000_000)?,
            idle,
            churn,
            storm,
            time_ms: given.time_ms("time", 100..=TIME_MS_MAX)?,
            kbps: given.number("kbps", 100..=1_000_000)?,
            gop_ms: given.number("gop-ms", 100..=60_000)?,
            flv: given.path("flv"),
            sources: usize::try_from(given.number("sources", 1..=200)?).unwrap_or(1),
            mss: mss(given)?,
            connect_rate: given.number("connect-rate", 1..=1_000_000)?,
            json: given.path("json"),
            csv: given.path("csv"),
            waited_max: given.decimal("waited-max", 0.0..=1000.0)?.unwrap_or(OWN_WAIT_MAX),
            quiet: given.has("quiet"),
            promises: promises(given)?,
        })
    }

    /// Whether a form of the result for programs has stdout for itself.
    pub(crate) fn has_stdout(&self) -> bool {
        [&self.json, &self.csv].into_iter().flatten().any(|path| is_stdout(path))
    }

    /// How long it takes to open so many connections, µs.
    pub(crate) fn opening_us(&self, connections: usize) -> u64 {
        connections as u64 * 1_000_000 / self.connect_rate
    }

    /// Flags that do not fit to each other.
    fn check(&self) -> Result<(), UsageError> {
        let is_local = matches!(self.server.ip(), IpAddr::V4(ip) if ip.is_loopback());
        if self.sources > 1 && !is_local {
            let allowed = format!("1 where the server is not on {}/8", Ipv4Addr::new(127, 0, 0, 0));
            return Err(refused("sources", &self.sources.to_string(), &allowed));
        }
        if let (Some(percent), None) = (self.promises.server_cpu, self.server_pid) {
            let allowed = "it together with --server-pid";
            return Err(refused("expect-server-cpu", &percent.to_string(), allowed));
        }
        Ok(())
    }
}

/// Whether a file's name stands for stdout.
pub(crate) fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

fn server_pid(given: &Given) -> Result<Option<u32>, UsageError> {
    if !given.has("server-pid") {
        return Ok(None);
    }
    let pid = given.number("server-pid", 1..=u64::from(u32::MAX))?;
    Ok(u32::try_from(pid).ok())
}

fn mss(given: &Given) -> Result<u32, UsageError> {
    let allowed = "0 or a number from 536 to 32767";
    given.value("mss", allowed, |text| {
        text.parse().ok().filter(|mss| matches!(mss, 0 | 536..=32767))
    })
}

fn promises(given: &Given) -> Result<Promises, UsageError> {
    let most = |name| given.decimal(name, 0.0..=PROMISE_MAX);
    Ok(Promises {
        no_gap: given.has("expect-no-gap"),
        p99_ms: most("expect-p99-ms")?,
        p999_ms: most("expect-p999-ms")?,
        max_ms: most("expect-max-ms")?,
        join_ms: most("expect-join-ms")?,
        server_cpu: most("expect-server-cpu")?,
    })
}
