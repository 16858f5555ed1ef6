//! The `millrace` binary: command line, host facts, and the start of the server.
#![forbid(unsafe_code)]

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use millrace::budget::Budget;
use millrace::cli::config::{GopCache, Pin, TakeoverRule};
use millrace::cli::{Command, Config, FixedMemory, Host, UnitBytes};
use millrace::host;
use millrace::limits::POLL_EVENTS;
use millrace::media::log::{GopMode, LogLimits};
use millrace::net::connection::Connection;
use millrace::net::demo;
use millrace::net::event_loop::{EventLoop, Message};
use millrace::net::listener::SocketOptions;
use millrace::net::log_writer::LogWriter;
use millrace::net::server::{self, ServerConfig, Shared};
use millrace::net::supervisor::Supervisor;
use millrace::rtmp::chunk::MessageLimits;
use millrace::rtmp::session::{ServerSession, SessionConfig};
use millrace::service::directory::{DirectoryLimits, Takeover};
use millrace::service::key::normal_app;
use millrace::service::live::LiveConfig;
use millrace::service::publisher::PublisherSetup;

/// Why the process ends with another code than 0: one sentence and the code (see `--help`).
type Failure = (String, u8);

fn main() -> ExitCode {
    #[allow(clippy::disallowed_methods, reason = "the process's time zero")]
    let clock = Instant::now();
    let args: Vec<String> = std::env::args_os().skip(1).map(lossy).collect();
    let host = host::facts();
    let ended = match Config::parse(&args, &host) {
        Ok(Command::Print(text)) => print(&text),
        Ok(Command::Check(config)) => check(&config, &host),
        Ok(Command::Run(config)) => run(&config, &host, clock),
        Err(error) => Err((error.to_string(), 2)),
    };
    let Err((what, code)) = ended else { return ExitCode::SUCCESS };
    // If stderr is gone the exit code has to do.
    let _ = writeln!(io::stderr(), "millrace: {what}");
    ExitCode::from(code)
}

/// No flag takes other bytes than UTF-8; what is shown of them in the error need not be exact.
fn lossy(arg: std::ffi::OsString) -> String {
    arg.to_string_lossy().into_owned()
}

fn print(text: &str) -> Result<(), Failure> {
    io::stdout().write_all(text.as_bytes()).map_err(|e| (format!("cannot write: {e}"), 1))
}

fn check(config: &Config, host: &Host) -> Result<(), Failure> {
    memory(config)?;
    let findings = host::check(config, host);
    for finding in &findings {
        print(&format!("{finding}\n"))?;
    }
    match findings.len() {
        0 => {
            let (connections, loops) = (config.max_connections, config.loops);
            print(&format!("nothing is missing for {connections} connections, {loops} loops\n"))
        }
        1 => Err(("the host lacks something".into(), 1)),
        count => Err((format!("the host lacks {count} things"), 1)),
    }
}

/// The fixed part, and what is left for everything variable.
fn memory(config: &Config) -> Result<(FixedMemory, usize), Failure> {
    let fixed = config.fixed_memory(UnitBytes {
        event_loop: size_of::<EventLoop>() + POLL_EVENTS * size_of::<mio::event::Event>(),
        letter: size_of::<Message>(),
        connection: size_of::<Connection>() + size_of::<ServerSession>(),
    });
    let variable = config.variable_memory(fixed).map_err(|error| (error.to_string(), 2))?;
    Ok((fixed, variable))
}

fn run(config: &Config, host: &Host, clock: Instant) -> Result<(), Failure> {
    let (fixed, variable) = memory(config)?;
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| (format!("cannot {what}: {error}"), 1)
    };
    let mut log = LogWriter::start().map_err(failed("start logging"))?;
    let filter = config.log.clone().or_else(|| std::env::var("RUST_LOG").ok());
    log.install(filter.as_deref().unwrap_or("info"));
    server::exit_on_panic();
    let supervisor = Supervisor::start(log.clone()).map_err(failed("catch signals"))?;
    if let Err(error) = host::raise_nofile() {
        log::warn!("cannot raise the limit of open files: {error}");
    }
    let shared = Arc::new(shared(config, variable));
    let bound = server::bind(&shared.config).map_err(|error| (error.to_string(), 1))?;
    for address in &bound.addresses {
        log.announce(&format!("listening on {address}"));
    }
    log.announce(&start_line(config, fixed, variable));
    log.announce(&host::kernel_memory(config));
    for finding in host::shortages(config, host) {
        log::warn!("{finding}");
    }
    if config.demo
        && let Some(&address) = bound.addresses.first()
    {
        demo::start(address).map_err(failed("start the demo"))?;
    }
    let ended = server::run(&shared, bound, supervisor, clock);
    log.drain();
    ended.map_err(|error| (error.to_string(), 1))
}

fn start_line(config: &Config, fixed: FixedMemory, variable: usize) -> String {
    let pins = match &config.pin {
        Pin::To(cpus) => format!("pinned to CPUs {cpus:?}"),
        Pin::Off(why) => format!("not pinned ({why})"),
    };
    let limit = |count: usize| if count == 0 { "unlimited".into() } else { count.to_string() };
    format!(
        "{} loops {pins}; limits: {} connections, {} per address, {} publishers, {} streams, \
         {} bytes per message; memory {} bytes: fixed {fixed}, variable {variable}",
        config.loops,
        config.max_connections,
        limit(config.max_per_address),
        limit(config.max_publishers),
        limit(config.max_streams),
        config.max_message,
        config.memory
    )
}

fn shared(config: &Config, variable: usize) -> Shared {
    let session = SessionConfig {
        chunk_size: config.chunk_size,
        limits: MessageLimits { media: config.max_message, ..MessageLimits::default() },
        handshake_timeout_ms: config.handshake_timeout_ms,
        idle_timeout_ms: config.idle_timeout_ms,
        ping_interval_ms: config.ping_interval_ms,
    };
    let live = LiveConfig {
        log: LogLimits {
            gop: match config.gop_cache {
                GopCache::Gop => GopMode::Gop,
                GopCache::Keyframe => GopMode::Keyframe,
                GopCache::Off => GopMode::Off,
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
        setup: PublisherSetup { chunk_size: config.chunk_size, budget: Budget::new(variable) },
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
    let app = |app: &String| normal_app(app.as_bytes());
    ServerConfig {
        listen: config.listen.clone(),
        loops: config.loops,
        pins: match &config.pin {
            Pin::To(cpus) => Some(cpus.clone()),
            Pin::Off(_) => None,
        },
        reuseport: config.reuseport,
        backlog: config.backlog,
        socket: SocketOptions {
            nodelay: config.nodelay,
            sndbuf: config.sndbuf,
            rcvbuf: config.rcvbuf,
            notsent_lowat: config.notsent_lowat,
        },
        rings: config.rings,
        ring_bytes: config.ring_bytes,
        turn_bytes: config.turn_bytes,
        flush_slice: config.flush_slice,
        wake_at_once: config.wake_at_once,
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
