//! The main thread: signals, statistics, the end of the process.
//!
//! It only waits; loops never wait for it. A second SIGTERM or SIGINT is dealt with by the signal
//! thread, so that it ends the process whatever the main thread and the loops are doing.

use std::io::{self, Write};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::Waker;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::event_loop::Message;
use super::log_writer::{self, LogWriter};
use super::mailbox::Address;
use super::server::{Shared, fatal};
use crate::limits::{END_OVERDUE_MS, REPORT_WAIT_MS};
use crate::service::stats::{LoopReport, Report};
use crate::time::Millis;

/// How the main thread reaches a loop.
pub type LoopAddress = Address<Message, Waker>;

/// What the main thread waits for.
#[derive(Debug)]
pub(super) enum Event {
    /// SIGTERM or SIGINT, the first.
    End,
    /// SIGUSR1.
    Report,
    /// A loop has ended.
    LoopEnded,
}

/// Requests for statistics that wait while the main thread writes some.
const REPORTS_WAITING_MAX: usize = 8;

/// The main thread's mailbox; signals are caught as long as it lives.
#[derive(Debug)]
pub struct Supervisor {
    events: Sender<Event>,
    inbox: Receiver<Event>,
    log: LogWriter,
}

impl Supervisor {
    /// Catches signals from here on. `log` is where statistics go.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn start(log: LogWriter) -> io::Result<Self> {
        let (events, inbox) = bounded(REPORTS_WAITING_MAX + 1);
        // SIGHUP is caught so that it never kills.
        let signals = Signals::new([SIGTERM, SIGINT, SIGUSR1, SIGHUP])?;
        let (to, lines) = (events.clone(), log.clone());
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || watch_signals(signals, &to, &lines))?;
        Ok(Self { events, inbox, log })
    }

    /// Where a loop says that it has ended.
    pub(super) fn events(&self) -> Sender<Event> {
        self.events.clone()
    }

    /// Serves signals and the statistics interval until all loops have ended in order.
    pub(super) fn run(mut self, shared: &Shared, loops: &[LoopAddress], clock: Instant) {
        let interval = Duration::from_millis(shared.config.stats_interval_ms);
        let mut next_report = (!interval.is_zero()).then(|| clock.elapsed() + interval);
        let mut overdue = None;
        let mut last = None;
        let mut left = loops.len();
        while left > 0 {
            let wake = [next_report, overdue].into_iter().flatten().min();
            let event = match wake {
                Some(at) => self.inbox.recv_deadline(clock + at).ok(),
                None => self.inbox.recv().ok(),
            };
            match event {
                Some(Event::End) => {
                    log::info!("shutting down within {} ms", shared.config.grace_ms);
                    let at = clock.elapsed() + Duration::from_millis(shared.config.grace_ms);
                    overdue = Some(at + Duration::from_millis(END_OVERDUE_MS));
                    deliver(loops, clock, at, || Message::Shutdown(millis(at)));
                }
                Some(Event::Report) => self.report(shared, loops, &mut last, clock),
                Some(Event::LoopEnded) => left -= 1,
                None if overdue.is_some_and(|at| at <= clock.elapsed()) => {
                    fatal("not every loop ended within the grace time");
                }
                None => {
                    self.report(shared, loops, &mut last, clock);
                    next_report = Some(clock.elapsed() + interval);
                }
            }
        }
    }

    fn report(
        &mut self,
        shared: &Shared,
        loops: &[LoopAddress],
        last: &mut Option<Report>,
        clock: Instant,
    ) {
        let (loops, silent) = collect(loops, clock, Duration::from_millis(REPORT_WAIT_MS));
        let budget = &shared.budget;
        let mut report = Report {
            at: millis(clock.elapsed()),
            memory: (budget.used(), budget.peak(), budget.max()),
            log_lines_lost: log_writer::lines_lost(),
            silent,
            loops,
        };
        report.set_rates(last.as_ref());
        let text = if shared.config.stats_json { report.json() } else { report.table() };
        // Writing to the log channel cannot fail.
        let _ = self.log.write_all(text.as_bytes());
        *last = Some(report);
    }
}

fn watch_signals(mut signals: Signals, events: &Sender<Event>, log: &LogWriter) {
    let mut is_ending = false;
    for signal in signals.forever() {
        let event = match signal {
            SIGTERM | SIGINT if is_ending => {
                log::warn!("ended at once by a second signal");
                log.drain();
                std::process::exit(128 + signal);
            }
            SIGTERM | SIGINT => {
                is_ending = true;
                Event::End
            }
            // Whoever asks faster than statistics can be written gets fewer.
            SIGUSR1 if events.len() < REPORTS_WAITING_MAX => Event::Report,
            _ => continue,
        };
        if events.try_send(event).is_err() {
            fatal("the main thread takes no signals any more");
        }
    }
}

fn millis(since_start: Duration) -> Millis {
    Millis(u64::try_from(since_start.as_millis()).unwrap_or(u64::MAX))
}

/// The reports of all loops, by number, and the loops that did not answer within `patience`.
#[must_use]
pub fn collect(
    loops: &[LoopAddress],
    clock: Instant,
    patience: Duration,
) -> (Vec<LoopReport>, Vec<usize>) {
    let (sender, receiver) = bounded(loops.len());
    let deadline = clock.elapsed() + patience;
    deliver(loops, clock, deadline, || Message::Report(sender.clone()));
    drop(sender);
    let mut reports = Vec::new();
    while reports.len() < loops.len() {
        let Ok(report) = receiver.recv_deadline(clock + deadline) else { break };
        reports.push(report);
    }
    reports.sort_by_key(|report: &LoopReport| report.id);
    let has_answered = |id: &usize| reports.iter().any(|report| report.id == *id);
    let silent = (0..loops.len()).filter(|id| !has_answered(id)).collect();
    (reports, silent)
}

/// Puts a message into each mailbox, waiting for room until `deadline` (time since `clock`).
fn deliver(
    loops: &[LoopAddress],
    clock: Instant,
    deadline: Duration,
    message: impl Fn() -> Message,
) {
    let mut waiting: Vec<&LoopAddress> = loops.iter().collect();
    loop {
        waiting.retain(|address| {
            let sent = address.try_send(message()).is_ok();
            address.wake_if_asleep();
            !sent
        });
        if waiting.is_empty() || clock.elapsed() >= deadline {
            return;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
}
