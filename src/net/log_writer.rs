//! Logging without blocking: lines go through a bounded channel to a thread that writes stderr.
//!
//! A full channel (nobody reads stderr) drops the line and counts it (N4).

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::limits::LOG_LINES_QUEUED;

static LINES_LOST: AtomicU64 = AtomicU64::new(0);

/// Lines that were dropped since the start.
#[must_use]
pub fn lines_lost() -> u64 {
    LINES_LOST.load(Relaxed)
}

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

impl std::fmt::Debug for Line {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Line")
    }
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
        if self.lines.try_send(Line::Text(line.to_vec())).is_err() {
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
            }
            Line::Flush(done) => {
                // The waiter may have given up.
                let _ = done.try_send(());
            }
        }
    }
}
