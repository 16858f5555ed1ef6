//! The event loop of the load, and the phases of a run.
//!
//! ```text
//!   Publishing -> Gathering -> Measuring -> Draining -> report
//!   until it is   until all    --time       until every player has the last frame
//!   accepted      have begun
//! ```
//! A phase that takes too long ends the run; what is missing then shows in the report. While many
//! sockets are ready the publisher gets its turn in between, so that it is not late.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use millrace::rtmp::session::{ClientConfig, ClientRole};
use mio::{Events, Interest, Poll, Token};

use crate::error::LoadError;
use crate::inbound::{Arrival, Inbound};
use crate::latency::Latencies;
use crate::options::Options;
use crate::peer::{self, Peer, Role, State};
use crate::progress::{Now, Progress};
use crate::report::Report;
use crate::resources::Meters;
use crate::source::Source;

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;
/// Readiness events taken from one poll.
const POLL_EVENTS: usize = 1024;
/// Events between two looks at the publisher's clock.
const EVENTS_PER_TURN: usize = 16;
/// How long the publisher, and beyond its due time the last connection, may take to begin, µs.
const START_WAIT_US: u64 = 30_000_000;
/// How long players may take to get the last frame, µs.
const DRAIN_WAIT_US: u64 = 10_000_000;
/// LIMIT: bytes that a server which does not read lets pile up here.
const UNSENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Chunk size for sending.
const CHUNK_SIZE: u32 = 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Publishing,
    Gathering,
    Measuring,
    Draining,
}

/// See the module documentation.
pub(crate) struct Load<'a> {
    options: &'a Options,
    source: Source<'a>,
    poll: Poll,
    clock: Instant,
    /// The publisher first, where there is one.
    peers: Vec<Peer>,
    wanted_peers: usize,
    configs: [Arc<ClientConfig>; 3],
    phase: Phase,
    /// When the phase began, and when it ends at the latest, µs.
    phase_us: (u64, u64),
    /// When the first frame was sent, µs.
    published_us: Option<u64>,
    measured_from_us: Option<u64>,
    buffer: Vec<u8>,
    body: Vec<u8>,
    report: Report,
    /// This process, and the server's.
    meters: Meters,
    progress: Progress,
}

impl<'a> Load<'a> {
    /// A load that has not begun.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn new(options: &'a Options, source: Source<'a>) -> Result<Self, LoadError> {
        let is_idle = options.idle > 0;
        let wanted = if is_idle { options.idle } else { options.players };
        let wanted_peers = if is_idle { wanted } else { 1 + wanted + options.stuck };
        let name = || options.stream.clone().into_bytes();
        let roles = [
            ClientRole::Publish { name: name() },
            ClientRole::Play { name: name() },
            ClientRole::Idle,
        ];
        #[allow(clippy::disallowed_methods, reason = "this program's time zero")]
        let clock = Instant::now();
        Ok(Self {
            options,
            source,
            poll: Poll::new()?,
            clock,
            peers: Vec::with_capacity(wanted_peers),
            wanted_peers,
            configs: roles.map(|role| Arc::new(config(options, role))),
            phase: if is_idle { Phase::Gathering } else { Phase::Publishing },
            phase_us: (0, START_WAIT_US),
            published_us: None,
            measured_from_us: None,
            buffer: vec![0; READ_BYTES],
            body: Vec::new(),
            report: asked_for(options),
            meters: Meters::new(options.server_pid)?,
            progress: Progress::new(options.quiet),
        })
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The load could not run; broken promises are in the report.
    pub(crate) fn run(mut self) -> Result<Report, LoadError> {
        let mut events = Events::with_capacity(POLL_EVENTS);
        let mut latencies = Latencies::default();
        loop {
            self.open_due()?;
            self.publish_due();
            if self.next_phase()? {
                break;
            }
            self.show_progress(&latencies)?;
            match self.poll.poll(&mut events, Some(self.sleep_time())) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    return Err(error.into());
                }
                Ok(()) | Err(_) => {}
            }
            for (count, event) in events.iter().enumerate() {
                self.ready(event, &mut latencies);
                if count % EVENTS_PER_TURN == EVENTS_PER_TURN - 1 {
                    self.publish_due();
                }
            }
        }
        self.report.latencies = latencies;
        Ok(self.finish())
    }

    fn show_progress(&mut self, latencies: &Latencies) -> io::Result<()> {
        let now_us = self.now_us();
        if !self.progress.is_due(now_us) {
            return Ok(());
        }
        let mut now = Now { now_us, p99_ms: latencies.quantile_ms(0.99), ..Now::default() };
        for peer in &self.peers {
            if let Role::Player(inbound) = &peer.role {
                now.players += usize::from(inbound.last().is_some());
                now.bytes += inbound.tally.bytes;
                now.gaps += inbound.tally.gaps;
            }
        }
        self.progress.show(now, &mut self.meters)
    }

    fn now_us(&self) -> u64 {
        elapsed_us(self.clock)
    }

    fn has_publisher(&self) -> bool {
        !self.is_idle()
    }

    fn is_idle(&self) -> bool {
        self.options.idle > 0
    }

    fn sleep_time(&self) -> Duration {
        let now = self.now_us();
        let frame = self.due_us().unwrap_or(u64::MAX);
        let is_opening = self.phase == Phase::Gathering && self.peers.len() < self.wanted_peers;
        let open = if is_opening { now + 1000 } else { u64::MAX };
        let next = frame.min(open).min(self.phase_us.1).min(now + 100_000);
        Duration::from_micros(next.saturating_sub(now))
    }

    /// When the next frame is due, while there is a stream.
    fn due_us(&self) -> Option<u64> {
        let began = self.published_us.filter(|_| self.phase != Phase::Draining)?;
        Some(began + self.source.due_ms() * 1000)
    }

    /// Opens the connections that are due: the publisher alone, then all others at their rate.
    fn open_due(&mut self) -> Result<(), LoadError> {
        let elapsed_us = self.now_us() - self.phase_us.0;
        let first = usize::from(self.has_publisher());
        let due = match self.phase {
            Phase::Publishing => 1,
            Phase::Gathering => {
                let due = elapsed_us * self.options.connect_rate / 1_000_000 + 1;
                first.saturating_add(usize::try_from(due).unwrap_or(usize::MAX))
            }
            Phase::Measuring | Phase::Draining => 0,
        };
        while self.peers.len() < due.min(self.wanted_peers) {
            self.open()?;
        }
        Ok(())
    }

    fn open(&mut self) -> Result<(), LoadError> {
        let index = self.peers.len();
        let [publish, play, idle] = &self.configs;
        let (role, config) = match index {
            _ if self.is_idle() => (Role::Idle, idle),
            0 => (Role::Publisher, publish),
            index if index > self.options.players => (Role::Stuck, play),
            index => {
                let every = self.options.verify_every;
                let checks_bytes = every > 0 && index.is_multiple_of(every);
                let inbound = Inbound::new(checks_bytes, self.source.has_video());
                (Role::Player(Box::new(inbound)), play)
            }
        };
        let source = match self.options.sources {
            1 => 0,
            sources => u8::try_from(1 + index % sources).unwrap_or(1),
        };
        let mut stream = peer::connect(self.options.server, source)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(&mut stream, Token(index), interest)?;
        self.peers.push(Peer::new(stream, role, Arc::clone(config), index as u64));
        Ok(())
    }

    fn ready(&mut self, event: &mio::event::Event, latencies: &mut Latencies) {
        let index = event.token().0;
        let (clock, measured_from_us) = (self.clock, self.measured_from_us);
        let arrival = || Arrival { now_us: elapsed_us(clock), measured_from_us };
        let Some(peer) = self.peers.get_mut(index).filter(|peer| peer.state != State::Closed)
        else {
            return;
        };
        let mut result = peer.flush();
        if result.is_ok() && (event.is_readable() || event.is_read_closed() || event.is_error()) {
            let until_empty = event.is_read_closed() || event.is_error();
            result = peer.read(&mut self.buffer, until_empty, &arrival, latencies);
        }
        if let Some(code) = peer.refused.take() {
            self.report.first_failure.get_or_insert(code);
        }
        if peer.is_stuck() || result.is_err() {
            // Not registered any more is the aim.
            let _ = self.poll.registry().deregister(&mut peer.stream);
        }
        if let Err(error) = result {
            peer.state = State::Closed;
            let failure = format!("connection {index}: {error}");
            self.report.first_failure.get_or_insert(failure);
        }
    }

    /// Sends every frame that is due, in one write.
    fn publish_due(&mut self) {
        let Some(mut due_us) = self.due_us() else { return };
        let Some(publisher) = self.peers.first_mut() else { return };
        let now_us = elapsed_us(self.clock);
        if due_us > now_us || publisher.state == State::Closed {
            return;
        }
        self.report.publisher_late_us = self.report.publisher_late_us.max(now_us - due_us);
        let began = self.published_us.unwrap_or(now_us);
        while due_us <= now_us {
            let (kind, timestamp) = self.source.next(now_us, &mut self.body);
            publisher.send(kind, timestamp, &self.body);
            self.report.frames_sent += 1;
            due_us = began + self.source.due_ms() * 1000;
        }
        if publisher.flush().is_err() || publisher.unsent_bytes() > UNSENT_BYTES_MAX {
            publisher.state = State::Closed;
        }
    }

    /// Metadata and sequence headers; the first frame is due now.
    fn begin_stream(&mut self) {
        let Some(publisher) = self.peers.first_mut() else { return };
        for header in self.source.headers() {
            publisher.send(header.kind, 0, &header.body);
        }
        self.published_us = Some(elapsed_us(self.clock));
    }

    /// Moves on when a phase is over; true at the end.
    fn next_phase(&mut self) -> Result<bool, LoadError> {
        let now = self.now_us();
        let is_late = now >= self.phase_us.1;
        match self.phase {
            Phase::Publishing => {
                let state = self.peers.first().map_or(State::Closed, |peer| peer.state);
                match state {
                    State::Started => {
                        self.begin_stream();
                        self.enter(Phase::Gathering, self.gathering_us());
                    }
                    State::Starting if !is_late && self.report.first_failure.is_none() => {}
                    State::Starting | State::Closed => {
                        let why = self.report.first_failure.take();
                        return Err(LoadError::NoPublisher(why.unwrap_or("no answer".into())));
                    }
                }
            }
            Phase::Gathering if self.have_all_begun() => {
                self.measured_from_us = Some(now);
                self.announce()?;
                self.meters.begin()?;
                self.enter(Phase::Measuring, self.options.time_ms * 1000);
            }
            Phase::Measuring if is_late => {
                self.end_measuring()?;
                self.enter(Phase::Draining, DRAIN_WAIT_US);
            }
            Phase::Draining if self.have_all_ended() => return Ok(true),
            Phase::Gathering | Phase::Draining => return Ok(is_late),
            Phase::Measuring if self.is_publisher_lost() => {
                self.end_measuring()?;
                return Ok(true);
            }
            Phase::Measuring => {}
        }
        Ok(false)
    }

    fn end_measuring(&mut self) -> Result<(), LoadError> {
        self.report.time_us = self.now_us() - self.phase_us.0;
        (self.report.load, self.report.server) = self.meters.sample()?;
        Ok(())
    }

    fn enter(&mut self, phase: Phase, wait_us: u64) {
        let now = self.now_us();
        self.phase = phase;
        self.phase_us = (now, now + wait_us);
    }

    /// Tells whoever waits for it that measuring begins.
    fn announce(&self) -> io::Result<()> {
        use std::io::Write;
        match self.options.has_stdout() {
            true => writeln!(io::stderr(), "everybody is there"),
            false => writeln!(io::stdout(), "everybody is there"),
        }
    }

    fn gathering_us(&self) -> u64 {
        START_WAIT_US + self.wanted_peers as u64 * 1_000_000 / self.options.connect_rate
    }

    fn is_publisher_lost(&self) -> bool {
        self.has_publisher() && self.peers.first().is_none_or(|peer| peer.state == State::Closed)
    }

    fn have_all_begun(&self) -> bool {
        self.peers.len() == self.wanted_peers && self.peers.iter().all(has_begun)
    }

    /// Whether every player has the last frame, or is gone.
    fn have_all_ended(&self) -> bool {
        self.peers.iter().all(|peer| self.is_complete(peer) || peer.state == State::Closed)
    }

    fn is_complete(&self, peer: &Peer) -> bool {
        match &peer.role {
            Role::Player(inbound) => inbound.last() == Some(self.source.sequence().wrapping_sub(1)),
            Role::Idle => peer.state == State::Started,
            Role::Publisher | Role::Stuck => true,
        }
    }

    fn finish(mut self) -> Report {
        let last_sent = self.source.sequence().wrapping_sub(1);
        for peer in &self.peers {
            let is_closed = peer.state == State::Closed;
            self.report.closed += usize::from(is_closed);
            if matches!(peer.role, Role::Player(_) | Role::Idle) {
                self.report.joined += usize::from(has_begun(peer));
                self.report.failed += usize::from(!has_begun(peer));
            }
            if let Role::Player(inbound) = &peer.role {
                self.report.add(&inbound.tally);
                let missing = inbound.last().map_or(0, |last| last_sent.wrapping_sub(last));
                self.report.tally.gaps += u64::from(missing) * u64::from(!is_closed);
            }
        }
        let has_publisher = self.has_publisher();
        if let Some(publisher) = self.peers.first_mut().filter(|_| has_publisher) {
            publisher.send_end();
            // The server sees FIN next, which ends the stream too.
            let _ = publisher.flush();
        }
        self.report
    }
}

/// Whether a peer has what it came for.
fn has_begun(peer: &Peer) -> bool {
    match &peer.role {
        Role::Player(inbound) => inbound.last().is_some(),
        Role::Publisher | Role::Stuck | Role::Idle => peer.state == State::Started,
    }
}

/// A report with nothing but what is asked for.
fn asked_for(options: &Options) -> Report {
    let Options { players, stuck, idle, verify_every, .. } = *options;
    Report {
        publishers: usize::from(idle == 0),
        players: if idle > 0 { 0 } else { players },
        verified: players.checked_div(verify_every).unwrap_or(0),
        stuck,
        idle,
        kbps: options.flv.is_none().then_some(options.kbps),
        ..Report::default()
    }
}

fn config(options: &Options, role: ClientRole) -> ClientConfig {
    let Options { server, app, .. } = options;
    ClientConfig {
        app: app.clone().into_bytes(),
        tc_url: format!("rtmp://{server}/{app}").into_bytes(),
        flash_ver: b"FMLE/3.0 (compatible; millrace-load)".to_vec(),
        digest: false,
        chunk_size: CHUNK_SIZE,
        role,
    }
}

fn elapsed_us(clock: Instant) -> u64 {
    u64::try_from(clock.elapsed().as_micros()).unwrap_or(u64::MAX)
}
