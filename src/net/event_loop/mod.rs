//! One event loop: a pinned thread that owns its connections and everything they touch.
//!
//! A turn: poll, note what is ready, take mail, accept, relieve memory, read within budgets, run
//! timers, act on what live streams decided, send mail, flush a slice of the players, send mail.
//! The clock is read after poll and after each flush slice, nowhere else (N7).
//!
//! INVARIANT (N1): what a budget leaves undone stays on the ready list.
//! INVARIANT (N2): bytes queued from any path put the connection on the flush list; only
//! `flush` writes to a socket.
//! INVARIANT (N4): nothing here blocks but poll.

mod accept;
mod batch;
mod close;
mod commands;
mod flush;
mod input;
mod log_budget;
mod memory;
mod report;
mod timers;

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use mio::event::Event as Readiness;
use mio::net::TcpListener;
use mio::{Events, Poll, Token, Waker};
use slab::Slab;

use super::connection::Connection;
use super::mailbox::{Letter, Mailbox, Outbox};
use super::ring::RingPool;
use super::server::Shared;
use super::slots::{connection_id, find, token};
use super::timer_wheel::TimerWheel;
use crate::limits::{MAIL_PER_TURN, POLL_EVENTS, SLOTS_RESERVED};
use crate::service::CloseReason;
use crate::service::close_reason::CLOSE_REASONS;
use crate::service::live::{Action, Live};
use crate::service::message::{LiveMessage, LoopId};
use crate::service::publisher::ConnectionId;
use crate::service::stats::LoopReport;
use crate::time::Millis;

pub use accept::Accepted;

/// What loops and the main thread send to a loop.
#[derive(Debug)]
pub enum Message {
    /// A connection that another loop has accepted.
    Accepted(Accepted),
    /// About live streams.
    Live(LiveMessage),
    /// Report to the main thread.
    Report(crossbeam_channel::Sender<LoopReport>),
    /// End: refuse new sessions, tell everybody, close; at the latest at this moment.
    Shutdown(Millis),
}

impl Letter for Message {
    fn may_be_lost(&self) -> bool {
        matches!(self, Self::Live(message) if message.may_be_lost())
    }
}

const WAKER: Token = Token(usize::MAX);
const FIRST_LISTENER: usize = usize::MAX - 1024;

/// Counters of one loop since the start.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    pub(super) wakeups: u64,
    pub(super) turns: u64,
    pub(super) accepted: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) writes: u64,
    pub(super) skips: u64,
    pub(super) closes: [u64; CLOSE_REASONS],
}

/// See the module documentation.
pub struct EventLoop {
    id: LoopId,
    shared: Arc<Shared>,
    poll: Poll,
    clock: Instant,
    now: Millis,
    mailbox: Mailbox<Message>,
    outbox: Outbox<Message, Waker>,
    listeners: Vec<TcpListener>,
    /// Listeners that may have more to accept, and when to try again after a failure.
    acceptable: Vec<usize>,
    accept_again: Option<Millis>,
    connections: Slab<Connection>,
    next_generation: u32,
    rings: RingPool,
    live: Live,
    /// Mail from this loop to itself.
    own_mail: VecDeque<LiveMessage>,
    ready: VecDeque<ConnectionId>,
    flush: VecDeque<ConnectionId>,
    timers: TimerWheel,
    has_unsent_mail: bool,
    shutdown: Option<Millis>,
    memory: memory::Shortage,
    counters: Counters,
    log_lines: log_budget::LogBudget,
}

/// What a loop is made of, prepared by the server before its thread starts.
pub struct LoopSetup {
    /// Its number.
    pub id: LoopId,
    /// The process.
    pub shared: Arc<Shared>,
    /// Poll with the waker registered.
    pub poll: Poll,
    /// Incoming mail.
    pub mailbox: Mailbox<Message>,
    /// Outgoing mail.
    pub outbox: Outbox<Message, Waker>,
    /// Sockets to accept from.
    pub listeners: Vec<TcpListener>,
    /// The process's time zero.
    pub clock: Instant,
}

/// The token under which a loop's waker is registered.
#[must_use]
pub fn waker_token() -> Token {
    WAKER
}

impl EventLoop {
    /// Allocates rings and registers the listeners.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new(setup: LoopSetup) -> io::Result<Self> {
        let config = &setup.shared.config;
        let rings = RingPool::new(config.rings, config.ring_bytes);
        let live = Live::new(setup.id, setup.shared.live.clone());
        let mut this = Self {
            id: setup.id,
            poll: setup.poll,
            clock: setup.clock,
            now: Millis(0),
            mailbox: setup.mailbox,
            outbox: setup.outbox,
            acceptable: Vec::new(),
            listeners: setup.listeners,
            accept_again: None,
            connections: Slab::with_capacity(SLOTS_RESERVED),
            next_generation: 0,
            rings,
            live,
            own_mail: VecDeque::new(),
            ready: VecDeque::new(),
            flush: VecDeque::new(),
            timers: TimerWheel::default(),
            has_unsent_mail: false,
            shutdown: None,
            memory: memory::Shortage::default(),
            counters: Counters::default(),
            log_lines: log_budget::LogBudget::default(),
            shared: setup.shared,
        };
        for (index, listener) in this.listeners.iter_mut().enumerate() {
            let token = Token(FIRST_LISTENER + index);
            this.poll.registry().register(listener, token, mio::Interest::READABLE)?;
        }
        Ok(this)
    }

    /// Runs until shutdown.
    ///
    /// # Errors
    /// A poll error that is not an interruption: fatal for the process (N14).
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(POLL_EVENTS);
        self.read_clock();
        while !self.is_done() {
            self.turn(&mut events)?;
        }
        self.close_all();
        self.leave_holdings();
        Ok(())
    }

    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let timeout = self.sleep_time();
        let sleeps = timeout != Some(Duration::ZERO) && self.mailbox.may_sleep();
        let timeout = if sleeps { timeout } else { Some(Duration::ZERO) };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.mailbox.awake();
        self.read_clock();
        self.counters.turns += 1;
        self.counters.wakeups += u64::from(sleeps);
        for event in events.iter() {
            self.note(event);
        }
        self.take_mail();
        self.accept();
        self.relieve_memory();
        self.read_ready();
        self.run_timers();
        self.settle_live();
        // Other loops begin with their players while this one writes to its own.
        self.outbox.flush();
        self.flush_due();
        self.has_unsent_mail = self.outbox.flush();
        Ok(())
    }

    fn read_clock(&mut self) {
        #[allow(clippy::disallowed_methods, reason = "the loop is where time comes from (N7)")]
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(self.clock).as_millis();
        self.now = Millis(u64::try_from(elapsed).unwrap_or(u64::MAX));
    }

    /// How long poll may sleep; `None`: until something happens.
    fn sleep_time(&self) -> Option<Duration> {
        let may_read = !self.ready.is_empty() && self.memory.read_again.is_none();
        if may_read || !self.flush.is_empty() || !self.own_mail.is_empty() {
            return Some(Duration::ZERO);
        }
        if !self.acceptable.is_empty() && self.accept_again.is_none() {
            return Some(Duration::ZERO);
        }
        let unsent = self.has_unsent_mail.then_some(self.now.plus(1));
        let deadlines = [
            self.timers.next(),
            self.live.poll_timeout(),
            unsent,
            self.accept_again,
            self.log_lines.poll_timeout(),
            self.memory.read_again,
            self.memory.relieve_again,
            self.shutdown,
        ];
        let next = deadlines.into_iter().flatten().min()?;
        Some(Duration::from_millis(next.since(self.now)))
    }

    fn note(&mut self, event: &Readiness) {
        let token = event.token();
        if token == WAKER {
            return;
        }
        if token.0 >= FIRST_LISTENER {
            let index = token.0 - FIRST_LISTENER;
            if !self.acceptable.contains(&index) {
                self.acceptable.push(index);
            }
            return;
        }
        let id = connection_id(token);
        let Some(connection) = find(&mut self.connections, id) else { return };
        if event.is_readable() || event.is_read_closed() || event.is_error() {
            connection.is_readable = true;
            connection.is_read_closed |= event.is_read_closed() || event.is_error();
            push_ready(&mut self.ready, connection, id);
        }
        // Every event of an edge-triggered socket says writable where it is. What waits for a time,
        // such as audio for video, goes on waiting.
        if event.is_writable() && std::mem::take(&mut connection.is_blocked) {
            push_flush(&mut self.flush, connection, id);
        }
    }

    fn take_mail(&mut self) {
        for _ in 0..MAIL_PER_TURN {
            let Some(message) = self.mailbox.take() else { break };
            match message {
                Message::Accepted(accepted) => self.adopt(accepted),
                Message::Live(message) => self.handle_live(message),
                Message::Report(to) => self.send_report(&to),
                Message::Shutdown(at) => self.begin_shutdown(at),
            }
        }
    }

    /// INVARIANT (N5): frames pass without a look at the directory.
    fn handle_live(&mut self, message: LiveMessage) {
        let Self { live, shared, now, .. } = self;
        match message {
            LiveMessage::Frame { id, arrived } => live.handle_frame(id, arrived, *now),
            message => live.handle(message, &mut shared.directory(), *now),
        }
    }

    /// Carries out what live streams decided, until nothing is left to decide.
    fn settle_live(&mut self) {
        while !self.live.is_settled() || !self.own_mail.is_empty() {
            // The lists keep their memory: a frame allocates nothing here.
            let mut posts = std::mem::take(&mut self.live.posts);
            for post in posts.drain(..) {
                if post.to == self.id {
                    self.own_mail.push_back(post.message);
                } else {
                    self.outbox.post(post.to.0, Message::Live(post.message));
                }
            }
            self.live.posts = posts;
            let mut actions = std::mem::take(&mut self.live.actions);
            for action in actions.drain(..) {
                self.act(action);
            }
            actions.append(&mut self.live.actions);
            self.live.actions = actions;
            if let Some(message) = self.own_mail.pop_front() {
                self.handle_live(message);
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::PublishReady(id, _) => self.publish_ready(id),
            Action::PublishRefused(id, msid) => self.publish_overtaken(id, msid),
            Action::PublisherEvicted(id, epoch) => self.publisher_evicted(id, epoch),
            Action::Notify(id, msid, status) => {
                let Some(connection) = find(&mut self.connections, id) else { return };
                connection.session.notify(msid, status, connection.out.buffer(), self.now);
                self.settle_out(id);
            }
            Action::Flush(id) => {
                let Some(connection) = find(&mut self.connections, id) else { return };
                push_flush(&mut self.flush, connection, id);
            }
        }
    }

    /// Charges the out queue and puts the connection on the flush list (N2).
    fn settle_out(&mut self, id: ConnectionId) {
        let Some(connection) = find(&mut self.connections, id) else { return };
        let settled = connection.out.settle();
        push_flush(&mut self.flush, connection, id);
        if settled.is_err() {
            self.close(id, CloseReason::OutOfMemory);
        }
    }

    fn begin_shutdown(&mut self, at: Millis) {
        self.shutdown = Some(at);
        for listener in &mut self.listeners {
            // A listener that is not registered any more accepts nothing, which is the aim.
            let _ = self.poll.registry().deregister(listener);
        }
        self.listeners.clear();
        self.acceptable.clear();
        let ids: Vec<ConnectionId> = self.connections.iter().map(|(s, c)| c.id(s)).collect();
        for id in ids {
            self.end_for_shutdown(id);
        }
    }

    fn is_done(&self) -> bool {
        self.shutdown.is_some_and(|at| self.connections.is_empty() || self.now >= at)
    }

    fn publish_load(&self) {
        self.shared.load(self.id).store(self.connections.len(), Relaxed);
    }
}

fn push_ready(ready: &mut VecDeque<ConnectionId>, connection: &mut Connection, id: ConnectionId) {
    if !std::mem::replace(&mut connection.in_ready, true) {
        ready.push_back(id);
    }
}

fn push_flush(flush: &mut VecDeque<ConnectionId>, connection: &mut Connection, id: ConnectionId) {
    if !connection.is_blocked && !std::mem::replace(&mut connection.in_flush, true) {
        flush.push_back(id);
    }
}
