//! The event loop of the load: opens connections, publishes, reads, waits.
//!
//! A run goes through [`phases`]; what it tells is in [`result`]. While many sockets are ready the
//! publishers get their turns in between, so that they are not late.

mod phases;
mod result;

use std::io;
use std::time::Duration;

use millrace::net::log_writer::LogWriter;
use mio::Events;

use crate::clock::Clock;
use crate::connections::Connections;
use crate::crowd::Crowd;
use crate::drain::Drain;
use crate::error::LoadError;
use crate::members::Members;
use crate::options::Options;
use crate::peer::{Role, Sinks, State};
use crate::progress::Progress;
use crate::publishers::Publishers;
use crate::report::Report;
use crate::resources::Meters;
use crate::source::Source;
use crate::streams::Stream;
use phases::{Phase, START_WAIT_US};

/// Readiness events taken from one poll.
const POLL_EVENTS: usize = 1024;
/// Events between two looks at the publishers' clock.
const EVENTS_PER_TURN: usize = 16;
/// Connections opened at once before others have their turn.
const OPEN_BATCH: usize = 32;

/// See the module documentation.
pub(crate) struct Load<'a> {
    options: &'a Options,
    clock: Clock,
    began_us: u64,
    connections: Connections,
    streams: Vec<Stream>,
    publishers: Publishers<'a>,
    source: Source<'a>,
    members: Members,
    /// Publishers and members that have neither begun nor failed.
    awaited: usize,
    drain: Drain,
    crowd: Crowd,
    phase: Phase,
    /// When the phase began, and when it ends at the latest, µs.
    phase_us: (u64, u64),
    measured_from_us: Option<u64>,
    /// Bytes received before the measured time.
    bytes_before: u64,
    /// Bytes received, and when the last of them were seen to come, while settling.
    heard: (u64, u64),
    /// The longest time that events waited for their turn, µs.
    turn_us: u64,
    is_publisher_lost: bool,
    report: Report,
    /// This process, and the server's.
    meters: Meters,
    progress: Progress,
}

impl<'a> Load<'a> {
    /// A load that has not begun, and tells of itself on `stderr`.
    ///
    /// # Errors
    /// What the kernel says.
    pub(crate) fn new(
        options: &'a Options,
        source: Source<'a>,
        stderr: LogWriter,
    ) -> Result<Self, LoadError> {
        let streams = Stream::all(&options.stream, options.publishers);
        let clock = Clock::new();
        let now_us = clock.now_us();
        let members = Members::new(options, source.has_video());
        Ok(Self {
            options,
            clock,
            began_us: now_us,
            connections: Connections::new(options, &streams)?,
            publishers: Publishers::new(),
            source,
            awaited: 0,
            drain: Drain::new(options),
            crowd: Crowd::new(options, members.has_video()),
            phase: Phase::Publishing,
            phase_us: (now_us, now_us + START_WAIT_US + options.opening_us(options.publishers)),
            measured_from_us: None,
            bytes_before: 0,
            heard: (0, 0),
            turn_us: 0,
            is_publisher_lost: false,
            report: members.report(options),
            meters: Meters::new(options.server_pid)?,
            progress: Progress::new(options.quiet, stderr),
            members,
            streams,
        })
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// The load could not run; broken promises are in the report.
    pub(crate) fn run(mut self) -> Result<Report, LoadError> {
        let mut events = Events::with_capacity(POLL_EVENTS);
        let mut awake_us = self.began_us;
        loop {
            self.open_due();
            self.publish_due();
            self.drain_due();
            self.crowd_due();
            self.show_progress()?;
            if self.next_phase()? {
                break;
            }
            self.turn_us = self.turn_us.max(self.clock.now_us() - awake_us);
            let sleep_time = self.sleep_time();
            self.connections.wait(&mut events, sleep_time)?;
            awake_us = self.clock.now_us();
            for (count, event) in events.iter().enumerate() {
                self.ready(event);
                if count % EVENTS_PER_TURN == EVENTS_PER_TURN - 1 {
                    self.publish_due();
                }
            }
        }
        Ok(self.finish())
    }

    fn sleep_time(&self) -> Duration {
        let now_us = self.clock.now_us();
        let is_opening = match self.phase {
            Phase::Publishing => self.publishers.count() < self.options.publishers,
            Phase::Gathering => self.members.are_left(),
            Phase::Measuring | Phase::Leaving | Phase::Settling => false,
        };
        // Whether everybody has everything is looked at so often.
        let is_waiting = is_opening || matches!(self.phase, Phase::Leaving | Phase::Settling);
        let soon = is_waiting.then_some(now_us + 1000);
        let due = [self.publishers.due_us(), self.drain.due_us(), self.crowd.due_us(), soon];
        let next = due.into_iter().flatten().min().unwrap_or(u64::MAX);
        let next = next.min(self.phase_us.1).min(now_us + 100_000);
        Duration::from_micros(next.saturating_sub(now_us))
    }

    /// Opens the connections that are due: the publishers, then the members, at their rate.
    fn open_due(&mut self) {
        let now_us = self.clock.now_us();
        let due = (now_us - self.phase_us.0) * self.options.connect_rate / 1_000_000 + 1;
        let due = usize::try_from(due).unwrap_or(usize::MAX);
        for _ in 0..OPEN_BATCH {
            let key = match self.phase {
                Phase::Publishing => {
                    let of = self.publishers.count();
                    if of >= due.min(self.options.publishers) {
                        return;
                    }
                    let key = self.connections.open(Role::Publisher, of, None, now_us);
                    let id = self.streams.get(of).map_or(0, |stream| stream.id);
                    let source = self.source.for_stream(id);
                    key.inspect(|&key| self.publishers.add(key, source))
                }
                Phase::Gathering if self.members.opened() < due && self.members.are_left() => {
                    self.members.open_next(&mut self.connections, &self.streams, now_us)
                }
                Phase::Gathering | Phase::Measuring | Phase::Leaving | Phase::Settling => return,
            };
            match key {
                Ok(_) => self.awaited += 1,
                Err(error) => {
                    self.report.failed += 1;
                    let failure = || format!("cannot connect: {error}");
                    self.report.first_failure.get_or_insert_with(failure);
                }
            }
        }
    }

    fn publish_due(&mut self) {
        let now_us = self.clock.now_us();
        if self.publishers.due_us().is_none_or(|due_us| due_us > now_us) {
            return;
        }
        while let Some(key) = self.publishers.send_due(&mut self.connections, now_us) {
            self.close(key, &io::Error::other("the server does not read"));
        }
    }

    fn drain_due(&mut self) {
        let now_us = self.clock.now_us();
        let switched = self.drain.begin_slice(&mut self.connections, &self.streams, now_us);
        self.awaited = self.awaited.saturating_sub(switched);
        loop {
            let mut sinks = Sinks {
                samples: &mut self.report.samples,
                streams: &mut self.streams,
                measured_from_us: self.measured_from_us,
            };
            let mut lost = Vec::new();
            let more = self.drain.read_some(&mut self.connections, &mut sinks, &mut lost, now_us);
            for (key, error) in lost {
                self.close(key, &error);
            }
            if !more {
                break;
            }
            self.publish_due();
        }
    }

    fn crowd_due(&mut self) {
        loop {
            let now_us = self.clock.now_us();
            let Self { crowd, connections, streams, report, .. } = self;
            if !crowd.turn(connections, streams, report, now_us) {
                break;
            }
            self.publish_due();
        }
    }

    fn ready(&mut self, event: &mio::event::Event) {
        let key = event.token().0;
        let Some(peer) = self.connections.peers.get_mut(key) else { return };
        if peer.state == State::Closed {
            return;
        }
        let clock = self.clock;
        let had_begun = peer.state == State::Begun;
        let mut result = peer.flush();
        let has_ended = event.is_read_closed() || event.is_error();
        if result.is_ok() && peer.is_clocked && !has_ended {
            result = peer.note_arrival(&mut self.connections.receiver, clock.now_us());
        } else if result.is_ok() && (event.is_readable() || has_ended) {
            let mut sinks = Sinks {
                samples: &mut self.report.samples,
                streams: &mut self.streams,
                measured_from_us: self.measured_from_us,
            };
            let receiver = &mut self.connections.receiver;
            result = peer.read(receiver, has_ended, &|| clock.now_us(), &mut sinks);
        }
        if let Some(code) = peer.refused.take() {
            self.report.first_failure.get_or_insert_with(|| code.clone());
            if !had_begun {
                result = result.and(Err(io::Error::other(code)));
            }
        }
        let (role, has_begun) = (peer.role, peer.state == State::Begun);
        if matches!(role, Role::Guest { .. }) {
            self.crowd.look_at(&mut self.connections, key, result, &mut self.report);
            return;
        }
        if has_begun && !had_begun {
            self.begun(role, key);
        }
        if let Err(error) = result {
            self.close(key, &error);
        }
    }

    /// A publisher or member has come where it wants to be.
    fn begun(&mut self, role: Role, key: usize) {
        match role {
            // Awaited until it is not parsed any more.
            Role::Drained => return self.drain.add(key),
            Role::Slow => self.drain.add_slow(&mut self.connections, key, self.clock.now_us()),
            Role::Stuck => self.connections.silence(key),
            Role::Player { .. } if self.options.drain_ms > 0 => {
                let peer = self.connections.peers.get_mut(key);
                peer.into_iter().for_each(|peer| self.drain.add_parsed(peer, key));
            }
            Role::Publisher | Role::Player { .. } | Role::Idle | Role::Guest { .. } => {}
        }
        self.awaited -= 1;
    }

    /// A publisher or member is lost.
    fn close(&mut self, key: usize, error: &io::Error) {
        self.connections.silence(key);
        let Some(peer) = self.connections.peers.get_mut(key) else { return };
        let had_begun = peer.state == State::Begun;
        let is_awaited = !had_begun || (peer.role == Role::Drained && !peer.is_drained);
        peer.state = State::Closed;
        self.is_publisher_lost |= peer.role == Role::Publisher;
        self.awaited = self.awaited.saturating_sub(usize::from(is_awaited));
        // What the server does with those that do not read as fast as it sends is its affair.
        if matches!(peer.role, Role::Slow | Role::Stuck) && had_begun {
            self.report.put_out += 1;
            return;
        }
        let counter = if had_begun { &mut self.report.closed } else { &mut self.report.failed };
        *counter += 1;
        let failure = format!("connection {key}: {error}");
        self.report.first_failure.get_or_insert(failure);
    }
}
