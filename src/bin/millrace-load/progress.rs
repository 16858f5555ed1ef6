//! The line of progress on stderr, once a second while a run lasts. A full stderr loses lines.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use millrace::net::log_writer::LogWriter;

use crate::resources::{Meters, Usage};

/// Time between two lines, µs.
const INTERVAL_US: u64 = 1_000_000;

/// How far a run is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Now {
    /// Time since the run began, µs.
    pub(crate) now_us: u64,
    /// Players that have media.
    pub(crate) players: usize,
    /// Bytes that players have read.
    pub(crate) bytes: u64,
    /// Latency so far, ms.
    pub(crate) p99_ms: Option<f64>,
    /// Frames that players missed so far.
    pub(crate) gaps: u64,
}

/// Writes the lines.
#[derive(Debug)]
pub(crate) struct Progress {
    is_quiet: bool,
    stderr: LogWriter,
    last: Now,
    /// What this process and the server had used at the last line.
    used: (Usage, Option<Usage>),
}

impl Progress {
    /// Nothing is written yet.
    pub(crate) fn new(is_quiet: bool, stderr: LogWriter) -> Self {
        Self { is_quiet, stderr, last: Now::default(), used: (Usage::default(), None) }
    }

    /// Writes this line, quiet or not.
    pub(crate) fn tell(&mut self, line: &str) {
        // A run does not end because nobody looks.
        let _ = self.stderr.write_all(format!("{line}\n").as_bytes());
    }

    /// Whether it is time for a line.
    pub(crate) fn is_due(&self, now_us: u64) -> bool {
        !self.is_quiet && now_us >= self.last.now_us + INTERVAL_US
    }

    /// Writes a line.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub(crate) fn show(&mut self, now: Now, meters: &mut Meters) -> io::Result<()> {
        let used = meters.sample()?;
        let line = self.line(now, used);
        self.last = now;
        self.used = used;
        self.tell(&line);
        Ok(())
    }

    /// What happened since the last line.
    fn line(&self, now: Now, used: (Usage, Option<Usage>)) -> String {
        let time_us = now.now_us.saturating_sub(self.last.now_us).max(1);
        let mbps = now.bytes.saturating_sub(self.last.bytes) * 8 / time_us;
        let Now { now_us, players, gaps, .. } = now;
        let mut line = format!("{:>4} s: {players} players, {mbps} Mbit/s", now_us / INTERVAL_US);
        // Writing to a string does not fail, here and below.
        if let Some(p99_ms) = now.p99_ms {
            let _ = write!(line, ", p99 {p99_ms:.2} ms");
        }
        let percent = |now: Usage, last: Usage| {
            // Below what it was: the meter has begun again in between.
            let last_ns = if last.cpu_ns > now.cpu_ns { 0 } else { last.cpu_ns };
            (now.cpu_ns - last_ns) / 10 / time_us
        };
        let _ = write!(line, ", {gaps} gaps, CPU: load {} %", percent(used.0, self.used.0));
        if let Some(server) = used.1 {
            let _ = write!(line, ", server {} %", percent(server, self.used.1.unwrap_or_default()));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(load_ns: u64, server_ns: u64) -> (Usage, Option<Usage>) {
        let usage = |cpu_ns| Usage { cpu_ns, ..Usage::default() };
        (usage(load_ns), Some(usage(server_ns)))
    }

    #[test]
    fn a_line_tells_what_happened_since_the_last() {
        let mut progress = Progress::new(false, LogWriter::start().unwrap());
        progress.last = Now { now_us: 3_000_000, bytes: 1_000, ..Now::default() };
        progress.used = used(100_000_000, 700_000_000);
        assert!(!progress.is_due(3_999_999) && progress.is_due(4_000_000));
        let now = Now {
            now_us: 5_000_000,
            players: 20,
            bytes: 250_001_000,
            p99_ms: Some(4.256),
            gaps: 3,
        };
        assert_eq!(
            progress.line(now, used(300_000_000, 1_700_000_000)),
            "   5 s: 20 players, 1000 Mbit/s, p99 4.26 ms, 3 gaps, CPU: load 10 %, server 50 %"
        );
        // The meters have begun again.
        let line = progress.line(now, used(20_000_000, 40_000_000));
        assert!(line.ends_with("load 1 %, server 2 %"), "{line}");
    }

    #[test]
    fn nothing_is_due_when_quiet() {
        assert!(!Progress::new(true, LogWriter::start().unwrap()).is_due(u64::MAX));
    }
}
