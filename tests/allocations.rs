//! Allocations of a running server: none per player and frame, no ring after the start.
//!
//! The server runs in this process; a counting allocator counts what its threads allocate.
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Instant;

use millrace::budget::Budget;
use millrace::limits;
use millrace::media::log::{GopMode, LogLimits};
use millrace::net::listener::SocketOptions;
use millrace::net::log_writer::LogWriter;
use millrace::net::server::{self, ServerConfig, Shared};
use millrace::net::supervisor::Supervisor;
use millrace::rtmp::session::SessionConfig;
use millrace::service::directory::{DirectoryLimits, Takeover};
use millrace::service::live::LiveConfig;
use millrace::service::publisher::PublisherSetup;
use support::{Client, body};

/// A size that nothing else has.
const RING_BYTES: usize = 70_001;
const RINGS: usize = 8;
const LOOPS: usize = 3;
const FRAMES: u64 = 400;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);
static RING_ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Set by the test's own thread: its clients do not count.
    static IS_CLIENT: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

fn count(size: usize) {
    if !IS_CLIENT.get() {
        ALLOCATIONS.fetch_add(1, Relaxed);
        RING_ALLOCATIONS.fetch_add(usize::from(size >= RING_BYTES), Relaxed);
    }
}

// SAFETY: every call is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size);
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn shared() -> Shared {
    let session = SessionConfig { handshake_timeout_ms: 60_000, ..SessionConfig::default() };
    let live = LiveConfig {
        log: LogLimits { gop: GopMode::Gop, bytes: 1 << 20, gop_ms: 60_000, lag_ms: 60_000 },
        flush_ms: 0,
        merge_ms: 0,
        lag_ms: 60_000,
        hold_ms: 0,
        wait_for_publisher: true,
        wait_ms: 60_000,
        setup: PublisherSetup {
            chunk_size: limits::CHUNK_SIZE_DEFAULT,
            budget: Budget::new(1 << 30),
        },
    };
    let directory = DirectoryLimits {
        takeover: Takeover::Never,
        hold_ms: 0,
        hold_always: false,
        publishers: 0,
        streams: 0,
    };
    Shared::new(config(), session, live, directory)
}

fn config() -> ServerConfig {
    ServerConfig {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        loops: LOOPS,
        pins: None,
        reuseport: false,
        backlog: 256,
        socket: SocketOptions { nodelay: true, sndbuf: 0, rcvbuf: 0, notsent_lowat: 128 << 10 },
        rings: RINGS,
        ring_bytes: RING_BYTES,
        turn_bytes: 256 << 10,
        flush_slice: 256,
        wake_at_once: false,
        mailbox: 4096,
        max_connections: 1000,
        max_per_address: 0,
        apps: Vec::new(),
        blocked_timeout_ms: 60_000,
        publisher_timeout_ms: 0,
        grace_ms: 1000,
        stats_interval_ms: 0,
        stats_json: true,
    }
}

/// What the server's threads allocate while `players` players get [`FRAMES`] frames each.
fn allocations(address: std::net::SocketAddr, players: usize) -> usize {
    let path = format!("live/{players}");
    let mut publisher = Client::publish(address, &path);
    publisher.video(0, &body::avc_header(1));
    let mut players: Vec<Client> = (0..players).map(|_| Client::play(address, &path)).collect();
    let mut send = |number: u64| {
        let make = if number.is_multiple_of(100) { body::key } else { body::inter };
        publisher.video(number as u32, &make(number, 1_000));
        for player in &mut players {
            let mut message = player.message();
            while body::is_header(&message.body) {
                message = player.message();
            }
            assert_eq!(body::number(&message.body), number);
        }
    };
    // The first GOP fills what grows only once: the log, lists, the clients' buffers.
    (0..100).for_each(&mut send);
    let before = ALLOCATIONS.load(Relaxed);
    (100..100 + FRAMES).for_each(&mut send);
    ALLOCATIONS.load(Relaxed) - before
}

#[test]
fn frames_cost_the_same_allocations_for_2_and_for_100_players_and_no_ring_comes_later() {
    IS_CLIENT.set(true);
    let shared = Arc::new(shared());
    let bound = server::bind(&shared.config).unwrap();
    let address = bound.addresses[0];
    let supervisor = Supervisor::start(LogWriter::start().unwrap()).unwrap();
    std::thread::spawn(move || {
        // Before the loops' threads start, so that their rings count.
        IS_CLIENT.set(false);
        server::run(&shared, bound, supervisor, Instant::now())
    });
    let warm = allocations(address, 3);
    let rings = RING_ALLOCATIONS.load(Relaxed);
    assert!(rings >= RINGS * LOOPS, "{rings} allocations of a ring's size at the start");
    let few = allocations(address, 2);
    let many = allocations(address, 100);
    let frames = usize::try_from(FRAMES).unwrap();
    println!("{FRAMES} frames: {warm}, {few} and {many} allocations with 3, 2 and 100 players");
    assert!(few >= frames, "the counter counts: every frame is an allocation at least");
    assert!(few < frames * 4, "{few} allocations for {FRAMES} frames with 2 players");
    assert!(many < few + frames, "2 players: {few} allocations, 100 players: {many}");
    assert_eq!(RING_ALLOCATIONS.load(Relaxed), rings, "a ring's size was allocated later");
}
