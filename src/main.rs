//! The `millrace` binary: command line, host facts, and the start of the server.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use millrace::cli::config::{GopCache, Pin, TakeoverRule};
use millrace::cli::{Command, Config, Host};
use millrace::net::log_writer::LogWriter;
use millrace::net::server::{self, Ended, ServerConfig, Shared};
use millrace::net::{connection, event_loop, listener};
use millrace::rtmp::chunk::MessageLimits;
use millrace::rtmp::session::SessionConfig;
use millrace::service::directory::{DirectoryLimits, Takeover};
use millrace::service::live::LiveConfig;
use millrace::service::publisher::PublisherSetup;
use millrace::{budget, host, limits, media, service};

/// Exit codes: 0 ended in order, 1 could not start or `--check` found something, 2 bad flags,
/// 70 internal failure, 130 and 143 a second SIGINT or SIGTERM.
fn main() -> ExitCode {
    #[allow(clippy::disallowed_methods, reason = "the process's time zero")]
    let clock = Instant::now();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let host = host::facts();
    match Config::parse(&args, &host) {
        Ok(Command::Print(text)) => print(&text),
        Ok(Command::Check(config)) => check(&config, &host),
        Ok(Command::Run(config)) => run(&config, clock),
        Err(error) => complain(&error.to_string(), 2),
    }
}

fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// One sentence to stderr.
fn complain(what: &str, code: u8) -> ExitCode {
    // If stderr is gone the exit code has to do.
    let _ = writeln!(io::stderr(), "millrace: {what}");
    ExitCode::from(code)
}

fn check(config: &Config, host: &Host) -> ExitCode {
    let findings = host::check(config, host);
    for finding in &findings {
        if print(&format!("{finding}\n")) != ExitCode::SUCCESS {
            break;
        }
    }
    if findings.is_empty() { print("nothing is missing\n") } else { ExitCode::FAILURE }
}

fn run(config: &Config, clock: Instant) -> ExitCode {
    let connection_bytes = size_of::<connection::Connection>();
    let fixed = config.fixed_memory(connection_bytes, size_of::<event_loop::Message>());
    let variable = match config.variable_memory(&fixed) {
        Ok(variable) => variable,
        Err(error) => return complain(&error.to_string(), 2),
    };
    let log = match start_logging(config) {
        Ok(log) => log,
        Err(error) => return complain(&format!("cannot start logging: {error}"), 1),
    };
    server::exit_on_panic();
    if let Err(error) = host::raise_nofile() {
        log::warn!("cannot raise the limit of open files: {error}");
    }
    let shared = Arc::new(shared(config, variable));
    let bound = match server::bind(&shared.config) {
        Ok(bound) => bound,
        Err(error) => {
            log.drain();
            return complain(&error.to_string(), 1);
        }
    };
    for address in &bound.addresses {
        log::info!("listening on {address}");
    }
    log::info!("{}", start_line(config, fixed.total(), variable));
    if config.demo
        && let Some(&address) = bound.addresses.first()
        && let Err(error) = millrace::net::demo::start(address)
    {
        log::error!("the demo cannot be started: {error}");
    }
    let ended = server::run(&shared, bound, log.clone(), clock);
    log.drain();
    match ended {
        Ok(Ended::Gracefully) => ExitCode::SUCCESS,
        Ok(Ended::BySecondSignal(signal)) => {
            ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
        }
        Err(error) => complain(&error.to_string(), 1),
    }
}

fn start_line(config: &Config, fixed: usize, variable: usize) -> String {
    let pins = match &config.pin {
        Pin::To(cpus) => format!("pinned to {cpus:?}"),
        Pin::Off(why) => format!("not pinned ({why})"),
    };
    format!(
        "{} loops {pins}; at most {} connections; memory {} bytes: {fixed} fixed, {variable} \
         variable, kernel socket buffers not counted",
        config.loops, config.max_connections, config.memory
    )
}

fn start_logging(config: &Config) -> io::Result<LogWriter> {
    let writer = LogWriter::start()?;
    let mut builder = env_logger::Builder::new();
    let filter = config.log.clone().or_else(|| std::env::var("RUST_LOG").ok());
    builder.parse_filters(filter.as_deref().unwrap_or("info"));
    builder.format(|line, record| {
        let now = line_time();
        writeln!(line, "{now} {:<5} {}", record.level(), record.args())
    });
    builder.target(env_logger::Target::Pipe(Box::new(writer.clone())));
    builder.init();
    Ok(writer)
}

/// UTC, as 2026-01-31T12:34:56.789Z.
fn line_time() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    host::utc(now.unwrap_or_default())
}

fn shared(config: &Config, variable: usize) -> Shared {
    let session = SessionConfig {
        chunk_size: config.chunk_size,
        limits: MessageLimits {
            media: config.max_message,
            command: limits::COMMAND_BYTES_MAX,
            data: limits::DATA_BYTES_MAX,
            control: limits::CONTROL_BYTES_MAX,
        },
        handshake_timeout_ms: config.handshake_timeout_ms,
        idle_timeout_ms: config.idle_timeout_ms,
        ping_interval_ms: config.ping_interval_ms,
    };
    let live = LiveConfig {
        log: media::log::LogLimits {
            gop: match config.gop_cache {
                GopCache::Gop => media::log::GopMode::Gop,
                GopCache::Keyframe => media::log::GopMode::Keyframe,
                GopCache::Off => media::log::GopMode::Off,
            },
            bytes: config.gop_bytes,
            gop_ms: config.gop_ms,
            lag_ms: config.max_lag_ms,
        },
        flush_ms: config.flush_ms,
        merge_ms: config.merge_ms,
        lag_ms: config.max_lag_ms,
        hold_ms: config.hold_ms,
        wait_for_publisher: config.wait_for_publisher,
        wait_ms: config.wait_ms,
        setup: PublisherSetup {
            chunk_size: config.chunk_size,
            budget: budget::Budget::new(variable),
        },
    };
    let directory = DirectoryLimits {
        takeover: match config.takeover {
            TakeoverRule::Idle => Takeover::Idle,
            TakeoverRule::Always => Takeover::Always,
            TakeoverRule::Never => Takeover::Never,
        },
        hold_ms: config.hold_ms,
        hold_always: config.hold_always,
        publishers: config.max_publishers,
        streams: config.max_streams,
    };
    Shared::new(server_config(config), session, live, directory)
}

fn server_config(config: &Config) -> ServerConfig {
    let app = |app: &String| service::key::normal_app(app.as_bytes());
    ServerConfig {
        listen: config.listen.clone(),
        loops: config.loops,
        pins: match &config.pin {
            Pin::To(cpus) => Some(cpus.clone()),
            Pin::Off(_) => None,
        },
        reuseport: config.reuseport,
        backlog: config.backlog,
        socket: listener::SocketOptions {
            nodelay: config.nodelay,
            sndbuf: config.sndbuf,
            rcvbuf: config.rcvbuf,
            notsent_lowat: config.notsent_lowat,
        },
        rings: config.rings,
        ring_bytes: config.ring_bytes,
        turn_bytes: config.turn_bytes,
        mailbox: config.mailbox,
        max_connections: config.max_connections,
        max_per_address: config.max_per_address,
        apps: config.apps.iter().map(app).collect(),
        blocked_timeout_ms: config.blocked_timeout_ms,
        publisher_timeout_ms: config.publisher_timeout_ms,
        grace_ms: config.grace_ms,
        stats_interval_ms: config.stats_interval_ms,
        stats_json: config.stats_json,
    }
}
