//! The process: what all loops share, listeners, the start of the loops, fatal errors.
//!
//! Signals, statistics and the end are the [`super::supervisor`]'s.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};
use mio::net::TcpListener;
use mio::{Poll, Waker};

use super::affinity;
use super::event_loop::{self, EventLoop, LoopSetup, Message};
use super::listener::{self, SocketOptions};
use super::mailbox::{Mailbox, Outbox, mailbox};
use super::supervisor::{Event, LoopAddress, Supervisor};
use crate::budget::Budget;
use crate::limits::FATAL_LINE_MS;
use crate::rtmp::session::SessionConfig;
use crate::service::CloseReason;
use crate::service::directory::{Directory, DirectoryLimits};
use crate::service::live::LiveConfig;
use crate::service::message::LoopId;

/// Everything the network layer is told; plain data, sizes in bytes, times in ms, 0 for never.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Addresses to listen on.
    pub listen: Vec<SocketAddr>,
    /// Number of loops.
    pub loops: usize,
    /// CPU of each loop, if they are pinned.
    pub pins: Option<Vec<usize>>,
    /// One listener per loop and address instead of one per address.
    pub reuseport: bool,
    /// Backlog of each listener.
    pub backlog: i32,
    /// Options of accepted sockets.
    pub socket: SocketOptions,
    /// Rings per loop.
    pub rings: usize,
    /// Size of a ring.
    pub ring_bytes: usize,
    /// Bytes read from one connection in one turn.
    pub turn_bytes: usize,
    /// Connections written to in one turn.
    pub flush_slice: usize,
    /// Another loop is woken for each message, not once a turn.
    pub wake_at_once: bool,
    /// Messages per mailbox.
    pub mailbox: usize,
    /// Connections in all.
    pub max_connections: usize,
    /// Connections per address; 0: no limit.
    pub max_per_address: usize,
    /// Apps that may be connected to; empty: all.
    pub apps: Vec<Vec<u8>>,
    /// A peer that accepts no byte for this long is closed.
    pub blocked_timeout_ms: u64,
    /// A publisher without media for this long is closed.
    pub publisher_timeout_ms: u64,
    /// How long the end may take.
    pub grace_ms: u64,
    /// Interval of statistics.
    pub stats_interval_ms: u64,
    /// Statistics as JSON.
    pub stats_json: bool,
}

/// What all loops share (N5): immutable settings, counters, and the directory.
#[derive(Debug)]
pub struct Shared {
    /// Settings.
    pub config: ServerConfig,
    /// Settings of sessions.
    pub session: Arc<SessionConfig>,
    /// Settings of live streams.
    pub live: LiveConfig,
    /// Variable memory.
    pub budget: Arc<Budget>,
    directory: Mutex<Directory>,
    loads: Vec<AtomicUsize>,
    holdings: Vec<Holdings>,
    connections: AtomicUsize,
    sessions: AtomicU64,
    addresses: Mutex<HashMap<IpAddr, usize>>,
}

/// What a loop says about its memory while it is short; 0 otherwise.
#[derive(Debug, Default)]
pub struct Holdings {
    /// Bytes of its largest holder that may be closed.
    pub largest: AtomicUsize,
    /// When it looked for that holder last, ms since the start.
    pub scanned: AtomicU64,
    /// Bytes of the logs it owns.
    pub logs: AtomicUsize,
}

impl Shared {
    /// Shared state of a process that has not started.
    #[must_use]
    pub fn new(
        config: ServerConfig,
        session: SessionConfig,
        live: LiveConfig,
        directory: DirectoryLimits,
    ) -> Self {
        Self {
            session: Arc::new(session),
            budget: Arc::clone(&live.setup.budget),
            live,
            directory: Mutex::new(Directory::new(directory)),
            loads: (0..config.loops).map(|_| AtomicUsize::new(0)).collect(),
            holdings: (0..config.loops).map(|_| Holdings::default()).collect(),
            connections: AtomicUsize::new(0),
            sessions: AtomicU64::new(0),
            addresses: Mutex::new(HashMap::new()),
            config,
        }
    }

    /// The directory, for one transition. A panic ends the process (N14), so poison cannot be seen.
    pub fn directory(&self) -> MutexGuard<'_, Directory> {
        self.directory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Connections of a loop, those on their way to it included.
    #[must_use]
    pub fn load(&self, of: LoopId) -> &AtomicUsize {
        self.loads.get(of.0).unwrap_or(&self.connections)
    }

    /// What loops say about their memory while it is short, by loop.
    #[must_use]
    pub fn holdings(&self) -> &[Holdings] {
        &self.holdings
    }

    /// Connections of the process.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Relaxed)
    }

    /// The number of the next session.
    #[must_use]
    pub fn next_session_id(&self) -> u64 {
        self.sessions.fetch_add(1, Relaxed) + 1
    }

    /// Counts a new connection in, or says which limit forbids it.
    ///
    /// # Errors
    /// The limit.
    pub fn admit(&self, address: IpAddr) -> Result<(), CloseReason> {
        if self.connections.fetch_add(1, Relaxed) >= self.config.max_connections {
            self.connections.fetch_sub(1, Relaxed);
            return Err(CloseReason::TooManyConnections);
        }
        if self.config.max_per_address == 0 {
            return Ok(());
        }
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        let count = addresses.entry(address).or_insert(0);
        if *count >= self.config.max_per_address {
            self.connections.fetch_sub(1, Relaxed);
            return Err(CloseReason::TooManyFromAddress);
        }
        *count += 1;
        Ok(())
    }

    /// Counts a connection out.
    pub fn dismiss(&self, address: IpAddr) {
        self.connections.fetch_sub(1, Relaxed);
        if self.config.max_per_address == 0 {
            return;
        }
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = addresses.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                addresses.remove(&address);
            }
        }
    }
}

/// Why the server could not start or had to end.
#[derive(Debug)]
pub enum NetError {
    /// An address cannot be listened on.
    Bind(SocketAddr, io::Error),
    /// Something else the kernel refused.
    System(&'static str, io::Error),
}

impl std::fmt::Display for NetError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bind(address, error) => write!(f, "cannot listen on {address}: {error}"),
            Self::System(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

/// Listening sockets by loop, and the addresses they got.
#[derive(Debug)]
pub struct Bound {
    listeners: Vec<Vec<TcpListener>>,
    /// Real addresses, in the order of `--listen`.
    pub addresses: Vec<SocketAddr>,
}

/// Binds all addresses.
///
/// # Errors
/// [`NetError::Bind`].
pub fn bind(config: &ServerConfig) -> Result<Bound, NetError> {
    let mut bound =
        Bound { listeners: (0..config.loops).map(|_| Vec::new()).collect(), addresses: Vec::new() };
    for &address in &config.listen {
        let error = |error| NetError::Bind(address, error);
        if !config.reuseport {
            let listener = listener::bind(address, config.backlog, false).map_err(error)?;
            bound.addresses.push(listener.local_addr().map_err(error)?);
            if let Some(first) = bound.listeners.first_mut() {
                first.push(listener);
            }
            continue;
        }
        // A plain socket first: a second group on the port would silently split the traffic.
        if address.port() != 0 {
            listener::bind(address, config.backlog, false).map_err(error)?;
        }
        let mut real = address;
        for listeners in &mut bound.listeners {
            let listener = listener::bind(real, config.backlog, true).map_err(error)?;
            real = listener.local_addr().map_err(error)?;
            listeners.push(listener);
        }
        bound.addresses.push(real);
    }
    Ok(bound)
}

/// Runs the loops until a signal ends them. `clock` is the process's time zero.
///
/// # Errors
/// [`NetError`] before the first loop runs; later failures end the process (N14).
pub fn run(
    shared: &Arc<Shared>,
    bound: Bound,
    supervisor: Supervisor,
    clock: Instant,
) -> Result<(), NetError> {
    let system = |error| NetError::System("cannot start a loop", error);
    let mut parts = Vec::new();
    for _ in 0..shared.config.loops {
        let poll = Poll::new().map_err(system)?;
        let waker = Waker::new(poll.registry(), event_loop::waker_token()).map_err(system)?;
        let (address, mailbox) = mailbox(shared.config.mailbox, Arc::new(waker));
        parts.push((poll, address, mailbox));
    }
    let addresses: Vec<LoopAddress> = parts.iter().map(|(_, address, _)| address.clone()).collect();
    let mut threads = Vec::new();
    for (index, ((poll, _, mailbox), listeners)) in
        parts.into_iter().zip(bound.listeners).enumerate()
    {
        let setup = setup(index, shared, (poll, mailbox), listeners, &addresses, clock);
        threads.push(start_loop(setup, supervisor.events()).map_err(system)?);
    }
    supervisor.run(shared, &addresses, clock);
    for thread in threads {
        // A loop that panicked has ended the process already.
        let _ = thread.join();
    }
    Ok(())
}

fn setup(
    index: usize,
    shared: &Arc<Shared>,
    (poll, mailbox): (Poll, Mailbox<Message>),
    listeners: Vec<TcpListener>,
    addresses: &[LoopAddress],
    clock: Instant,
) -> LoopSetup {
    LoopSetup {
        id: LoopId(index),
        shared: Arc::clone(shared),
        poll,
        mailbox,
        outbox: Outbox::new(addresses.to_vec(), shared.config.wake_at_once),
        listeners,
        clock,
    }
}

fn start_loop(setup: LoopSetup, events: Sender<Event>) -> io::Result<JoinHandle<()>> {
    let index = setup.id.0;
    let pin = setup.shared.config.pins.as_ref().and_then(|pins| pins.get(index).copied());
    let run = move || {
        if let Some(Err(error)) = pin.map(affinity::pin) {
            log::warn!("loop {index} cannot be pinned: {error}");
        }
        if let Err(error) = EventLoop::new(setup).and_then(EventLoop::run) {
            fatal(&format!("loop {index} failed: {error}"));
        }
        // The main thread waits for this; if it is gone the process ends anyway.
        let _ = events.send(Event::LoopEnded);
    };
    thread::Builder::new().name(format!("loop-{index}")).spawn(run)
}

/// A failure that leaves no server worth running (N14).
pub fn fatal(what: &str) -> ! {
    log::error!("{what}");
    // Past the log thread, which may be what failed, but not for long: perhaps nobody reads stderr.
    let text = format!("fatal: {what}\n");
    let (done, is_done) = bounded(1);
    let write = move || {
        let written = io::stderr().write_all(text.as_bytes());
        // Whoever waits for it may have given up.
        let _ = done.try_send(written);
    };
    if thread::Builder::new().spawn(write).is_ok() {
        let _ = is_done.recv_timeout(Duration::from_millis(FATAL_LINE_MS));
    }
    std::process::exit(crate::limits::EXIT_FATAL)
}

/// A panic in any thread is logged and ends the process (N14).
pub fn exit_on_panic() {
    std::panic::set_hook(Box::new(|panic| fatal(&panic.to_string())));
}
