//! Logging without blocking: lines go through a bounded channel to a thread that writes stderr.
//!
//! A full channel (nobody reads stderr) drops the line and counts it (N4). Full is so many lines or
//! so many bytes, whichever comes first: names are long and statistics longer.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::limits::{LOG_BYTES_QUEUED, LOG_LINES_QUEUED};

static LINES_LOST: AtomicU64 = AtomicU64::new(0);
static BYTES_QUEUED: AtomicUsize = AtomicUsize::new(0);

/// Lines that were dropped since the start.
#[must_use]
pub fn lines_lost() -> u64 {
    LINES_LOST.load(Relaxed)
}

#[derive(Debug)]
enum Line {
    Text(Vec<u8>),
    /// Answer when everything before is written.
    Flush(Sender<()>),
}

/// Where env_logger and the statistics write; every `write` is one line.
#[derive(Debug, Clone)]
pub struct LogWriter {
    lines: Sender<Line>,
}

impl LogWriter {
    /// Starts the log thread.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start() -> io::Result<Self> {
        let (sender, receiver) = bounded(LOG_LINES_QUEUED);
        thread::Builder::new().name("log".into()).spawn(move || write_lines(&receiver))?;
        Ok(Self { lines: sender })
    }

    /// Makes this the destination of the `log` macros. `filter` as in RUST_LOG.
    pub fn install(&self, filter: &str) {
        env_logger::Builder::new()
            .parse_filters(filter)
            .format(|line, record| {
                writeln!(line, "{} {:<5} {}", utc_now(), record.level(), record.args())
            })
            .target(env_logger::Target::Pipe(Box::new(self.clone())))
            .init();
    }

    /// A line that no filter hides: where the server listens is asked for at every level.
    pub fn announce(&mut self, text: &str) {
        // Writing to the channel cannot fail.
        let _ = self.write_all(format!("{} INFO  {text}\n", utc_now()).as_bytes());
    }

    /// Waits until all lines so far are written, but not for long: before the process ends.
    pub fn drain(&self) {
        let (sender, receiver) = bounded(1);
        let patience = Duration::from_millis(500);
        if self.lines.send_timeout(Line::Flush(sender), patience).is_ok() {
            // Nobody reads stderr: the rest is lost, as it would be anyway.
            let _ = receiver.recv_timeout(patience);
        }
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A text longer than all others together may is still written when nothing else waits.
        let queued = BYTES_QUEUED.fetch_add(line.len(), Relaxed);
        let fits = queued == 0 || queued + line.len() <= LOG_BYTES_QUEUED;
        if !fits || self.lines.try_send(Line::Text(line.to_vec())).is_err() {
            BYTES_QUEUED.fetch_sub(line.len(), Relaxed);
            LINES_LOST.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write_lines(lines: &Receiver<Line>) {
    for line in lines {
        match line {
            Line::Text(text) => {
                if io::stderr().write_all(&text).is_err() {
                    LINES_LOST.fetch_add(1, Relaxed);
                }
                BYTES_QUEUED.fetch_sub(text.len(), Relaxed);
            }
            Line::Flush(done) => {
                // The waiter may have given up.
                let _ = done.try_send(());
            }
        }
    }
}

fn utc_now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    utc(now.unwrap_or_default())
}

/// Time since 1970 as 2026-01-31T12:34:56.789Z (civil calendar, proleptic Gregorian).
#[must_use]
pub fn utc(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Days are counted from 0000-03-01, so that leap days come last in a year.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    let ms = since_epoch.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}
