//! Failures that end the whole process (N14), each in a process of its own: this test file starts
//! itself again with `MILLRACE_CHILD` set to what the child shall do.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use millrace::budget::Budget;
use millrace::limits::{EXIT_FATAL, LOG_BYTES_QUEUED};
use millrace::media::log::{GopMode, LogLimits};
use millrace::net::listener::SocketOptions;
use millrace::net::log_writer::{LogWriter, lines_lost};
use millrace::net::server::{self, ServerConfig, Shared};
use millrace::net::supervisor::Supervisor;
use millrace::rtmp::session::SessionConfig;
use millrace::service::directory::{DirectoryLimits, Takeover};
use millrace::service::live::LiveConfig;
use millrace::service::publisher::PublisherSetup;

const PATIENCE: Duration = Duration::from_secs(20);

/// Not a test of its own: what the child does.
#[test]
fn the_child_does_what_it_is_told() {
    match std::env::var("MILLRACE_CHILD").as_deref() {
        Ok("panic") => panic_in_a_thread(false),
        Ok("panic, stderr full") => panic_in_a_thread(true),
        Ok("poll") => lose_the_poll(),
        Ok("log") => fill_the_log(),
        _ => {}
    }
}

fn child(what: &str, stderr: Stdio) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_child_does_what_it_is_told", "--nocapture"]);
    command.env("MILLRACE_CHILD", what).env_remove("RUST_BACKTRACE");
    command.stdout(Stdio::piped()).stderr(stderr).spawn().unwrap()
}

fn end(child: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if Instant::now() >= deadline {
            child.kill().unwrap();
            panic!("the process lives on");
        }
        thread::park_timeout(Duration::from_millis(10));
    }
}

fn panic_in_a_thread(is_stderr_full: bool) {
    server::exit_on_panic();
    if is_stderr_full {
        thread::spawn(|| std::io::stderr().write_all(&vec![b'x'; 4 << 20]));
        thread::park_timeout(Duration::from_millis(200));
    }
    let thread = thread::spawn(|| panic!("a bug"));
    let _ = thread.join();
    thread::park_timeout(PATIENCE);
}

#[test]
fn a_panic_in_any_thread_ends_the_process_with_exit_code_70() {
    let mut child = child("panic", Stdio::piped());
    assert_eq!(end(&mut child).code(), Some(EXIT_FATAL));
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("fatal: panicked at tests/fatal.rs"), "{text}");
    assert!(text.contains("a bug"), "{text}");
}

#[test]
fn a_stderr_that_nobody_reads_does_not_keep_a_failed_process() {
    let mut child = child("panic, stderr full", Stdio::piped());
    assert_eq!(end(&mut child).code(), Some(EXIT_FATAL));
}

/// A server whose loop finds its epoll descriptor closed.
fn lose_the_poll() {
    server::exit_on_panic();
    let config = ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        loops: 1,
        pins: None,
        reuseport: false,
        backlog: 16,
        socket: SocketOptions { nodelay: true, sndbuf: 0, rcvbuf: 0, notsent_lowat: 0 },
        rings: 1,
        ring_bytes: 4096,
        turn_bytes: 4096,
        flush_slice: 256,
        wake_at_once: false,
        mailbox: 16,
        max_connections: 16,
        max_per_address: 0,
        apps: Vec::new(),
        blocked_timeout_ms: 0,
        publisher_timeout_ms: 0,
        grace_ms: 1000,
        stats_interval_ms: 0,
        stats_json: false,
    };
    let bound = server::bind(&config).unwrap();
    let address = bound.addresses[0];
    let shared = Arc::new(shared(config));
    let log = LogWriter::start().unwrap();
    let supervisor = Supervisor::start(log).unwrap();
    #[allow(clippy::disallowed_methods, reason = "the server's time zero")]
    let clock = Instant::now();
    thread::spawn(move || server::run(&shared, bound, supervisor, clock));
    // It works: RTMPE is closed at once.
    let mut peer = TcpStream::connect(address).unwrap();
    peer.write_all(&[6]).unwrap();
    let _ = peer.read(&mut [0; 1]);
    for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        let is_epoll = std::fs::read_link(entry.path())
            .is_ok_and(|target| target.to_string_lossy().contains("eventpoll"));
        if is_epoll {
            let number = entry.file_name().to_str().unwrap().parse().unwrap();
            // SAFETY: not ours, which is the point: what the loop polls is gone when this drops.
            drop(unsafe { OwnedFd::from_raw_fd(number) });
        }
    }
    // A loop that sleeps in it is woken by this connection, and polls again.
    let _peer = TcpStream::connect(address);
    thread::park_timeout(PATIENCE);
}

fn shared(config: ServerConfig) -> Shared {
    let session = SessionConfig { handshake_timeout_ms: 1000, ..SessionConfig::default() };
    let live = LiveConfig {
        log: LogLimits { gop: GopMode::Off, bytes: 1 << 20, gop_ms: 1000, lag_ms: 1000 },
        flush_ms: 0,
        merge_ms: 0,
        lag_ms: 1000,
        hold_ms: 0,
        wait_for_publisher: true,
        wait_ms: 1000,
        setup: PublisherSetup { chunk_size: 4096, budget: Budget::new(1 << 20) },
    };
    let directory = DirectoryLimits {
        takeover: Takeover::Idle,
        hold_ms: 0,
        hold_always: false,
        publishers: 0,
        streams: 0,
    };
    Shared::new(config, session, live, directory)
}

#[test]
fn a_poll_that_fails_ends_the_process_with_exit_code_70() {
    let mut child = child("poll", Stdio::piped());
    assert_eq!(end(&mut child).code(), Some(EXIT_FATAL));
    let mut text = String::new();
    child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("fatal: loop 0 failed: "), "{text}");
}

/// 100 texts of 1 MiB to a stderr nobody reads; how many were lost is the exit code.
fn fill_the_log() {
    let mut log = LogWriter::start().unwrap();
    for _ in 0..100 {
        log.write_all(&vec![b'x'; 1 << 20]).unwrap();
    }
    std::process::exit(i32::try_from(lines_lost()).unwrap());
}

#[test]
fn what_waits_for_stderr_is_bounded_in_bytes() {
    let mut child = child("log", Stdio::piped());
    let lost = end(&mut child).code().unwrap();
    let kept = usize::try_from(100 - lost).unwrap() << 20;
    let bounds = LOG_BYTES_QUEUED / 2..=LOG_BYTES_QUEUED;
    assert!(bounds.contains(&kept), "{kept} bytes kept");
}
