//! Statistics: what each loop reports, and the table or JSON made of all reports.
//!
//! Totals are sums of the parts printed with them, rates included ([`Report::set_rates`]); bytes per
//! write are those of all writes.

use std::collections::HashMap;
use std::fmt::Write;

use super::close_reason::{CLOSE_REASONS, CloseReason};
pub use super::traffic::{Traffic, Writes};
use crate::time::Millis;

/// One loop.
#[derive(Debug, Clone, Default)]
pub struct LoopReport {
    /// Its number.
    pub id: usize,
    /// Connections now.
    pub connections: usize,
    /// Publishers now.
    pub publishers: usize,
    /// Players now.
    pub players: usize,
    /// Connections accepted.
    pub accepted: u64,
    /// Socket bytes.
    pub traffic: Traffic,
    /// Writes to sockets.
    pub writes: Writes,
    /// Turns of the loop.
    pub turns: u64,
    /// Turns that began with sleep.
    pub wakeups: u64,
    /// Other loops that slept and were woken.
    pub wakes: u64,
    /// Players moved to a newer keyframe.
    pub skips: u64,
    /// Frames that found a mailbox full.
    pub lost_frames: u64,
    /// How often a connection with work left had to give the last ring back.
    pub rings_exhausted: u64,
    /// Payload bytes copied into frames.
    pub payload_bytes_copied: u64,
    /// Session lines that were not logged because there were too many.
    pub log_lines_suppressed: u64,
    /// Streams beyond `REPORT_STREAMS_MAX`, which are counted but not listed.
    pub streams_omitted: u64,
    /// Closed connections by reason.
    pub closes: [u64; CLOSE_REASONS],
    /// Streams that this loop owns or has players of.
    pub streams: Vec<StreamReport>,
}

/// One stream on one loop.
#[derive(Debug, Clone, Default)]
pub struct StreamReport {
    /// Name.
    pub key: String,
    /// Session id of the publisher, if it is on this loop.
    pub publisher: Option<u64>,
    /// Body bytes received from it, media bytes sent to its players.
    pub traffic: Traffic,
    /// Audio and video messages received from it.
    pub frames_in: u64,
    /// Bytes in the log.
    pub log_bytes: u64,
    /// Its players.
    pub players: Vec<PlayerReport>,
}

/// One player.
#[derive(Debug, Clone, Default)]
pub struct PlayerReport {
    /// Session id.
    pub session: u64,
    /// Media bytes sent.
    pub traffic: Traffic,
    /// Age of its next frame, ms.
    pub lag_ms: u64,
    /// Bytes from its next frame to the newest.
    pub lag_bytes: u64,
    /// How often it was moved to a newer keyframe.
    pub skips: u32,
    /// Frames it missed by that.
    pub skipped_frames: u64,
}

/// The whole process.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// When.
    pub at: Millis,
    /// Budget bytes charged, most ever charged, limit.
    pub memory: (usize, usize, usize),
    /// Log lines that were dropped because stderr was not read.
    pub log_lines_lost: u64,
    /// Loops that did not answer in time; they are missing in everything else.
    pub silent: Vec<usize>,
    /// By loop.
    pub loops: Vec<LoopReport>,
}

/// Named figures of a loop: what JSON shows, in order, and what totals are sums of.
type Figures = [(&'static str, u64); 20];

impl Report {
    /// Fills in all bit rates: since `before`, or since the start of the process.
    pub fn set_rates(&mut self, before: Option<&Self>) {
        let ms = before.map_or(self.at.0, |before| self.at.since(before.at)).max(1);
        let loops: HashMap<usize, &LoopReport> =
            before.into_iter().flat_map(|b| &b.loops).map(|report| (report.id, report)).collect();
        for report in &mut self.loops {
            report.set_rates(loops.get(&report.id).copied(), ms);
        }
    }

    /// The sums over all loops, named.
    fn totals(&self) -> Figures {
        let mut sums = LoopReport::default().figures();
        for report in &self.loops {
            for (sum, (_, figure)) in sums.iter_mut().zip(report.figures()) {
                sum.1 += figure;
            }
        }
        let writes = self.loops.iter().map(|report| report.writes).sum::<Writes>();
        for (_, figure) in sums.iter_mut().filter(|(name, _)| *name == "bytes_per_write") {
            *figure = writes.bytes_per_write();
        }
        sums
    }

    /// Closed connections of all loops for the reason of an index.
    fn closed(&self, index: usize) -> u64 {
        self.loops.iter().filter_map(|report| report.closes.get(index)).sum()
    }

    /// A table for people.
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = String::new();
        let (used, peak, max) = self.memory;
        let _ = writeln!(text, "memory: {used} of {max} bytes charged, at most {peak}");
        let lost = self.log_lines_lost;
        if lost > 0 {
            let _ = writeln!(text, "log: {lost} lines lost, stderr is not read fast enough");
        }
        for id in &self.silent {
            let _ = writeln!(text, "loop {id} did not answer: it is missing below");
        }
        let _ = writeln!(text, "{TABLE_HEAD}");
        for report in &self.loops {
            table_row(&mut text, &report.id.to_string(), &report.figures());
        }
        table_row(&mut text, "all", &self.totals());
        for report in &self.loops {
            for stream in &report.streams {
                stream.table(&mut text, report.id);
            }
        }
        for index in 0..CLOSE_REASONS {
            let count = self.closed(index);
            if count > 0 {
                let _ = writeln!(text, "closed {}: {count}", CloseReason::name(index));
            }
        }
        text
    }

    /// One line of JSON.
    #[must_use]
    pub fn json(&self) -> String {
        let mut text = String::new();
        let (used, peak, max) = self.memory;
        let _ = write!(
            text,
            "{{\"at_ms\":{},\"memory_used\":{used},\"memory_peak\":{peak},\"memory_max\":{max},\
             \"log_lines_lost\":{},\"silent_loops\":{:?},\"loops\":",
            self.at.0, self.log_lines_lost, self.silent,
        );
        json_list(&mut text, &self.loops, LoopReport::json);
        text.push_str(",\"total\":{");
        json_figures(&mut text, &self.totals());
        json_closes(&mut text, |index| self.closed(index));
        text.push_str("}}\n");
        text
    }
}

const TABLE_HEAD: &str = "loop connections publishers players in_kbps out_kbps writes_per_s \
                          bytes_per_write skips lost";

/// One row of the table by loop.
fn table_row(text: &mut String, name: &str, figures: &Figures) {
    let columns = [
        ("connections", 11),
        ("publishers", 10),
        ("players", 7),
        ("in_kbps", 7),
        ("out_kbps", 8),
        ("writes_per_s", 12),
        ("bytes_per_write", 15),
        ("skips", 5),
        ("lost_frames", 4),
    ];
    let _ = write!(text, "{name:>4}");
    for (column, width) in columns {
        let figure = figures.iter().find(|(name, _)| *name == column).map_or(0, |found| found.1);
        let _ = write!(text, " {figure:>width$}");
    }
    text.push('\n');
}

fn json_figures(text: &mut String, figures: &[(&str, u64)]) {
    for (name, value) in figures {
        let _ = write!(text, "\"{name}\":{value},");
    }
}

fn json_closes(text: &mut String, count: impl Fn(usize) -> u64) {
    text.push_str("\"closes\":{");
    for index in 0..CLOSE_REASONS {
        let comma = if index > 0 { "," } else { "" };
        let _ = write!(text, "{comma}\"{}\":{}", CloseReason::name(index), count(index));
    }
    text.push('}');
}

fn json_list<T>(text: &mut String, items: &[T], json: impl Fn(&T, &mut String)) {
    text.push('[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        json(item, text);
    }
    text.push(']');
}

impl LoopReport {
    fn set_rates(&mut self, then: Option<&Self>, ms: u64) {
        let (traffic, writes) = then.map_or_else(Default::default, |t| (t.traffic, t.writes));
        self.traffic.set_rates(traffic, ms);
        let bytes = self.traffic.bytes_out.saturating_sub(traffic.bytes_out);
        self.writes.set_rates(writes, bytes, ms);
        let streams: HashMap<&str, &StreamReport> =
            then.into_iter().flat_map(|t| &t.streams).map(|s| (s.key.as_str(), s)).collect();
        for stream in &mut self.streams {
            stream.set_rates(streams.get(stream.key.as_str()).copied(), ms);
        }
    }

    fn figures(&self) -> Figures {
        [
            ("connections", self.connections as u64),
            ("publishers", self.publishers as u64),
            ("players", self.players as u64),
            ("accepted", self.accepted),
            ("bytes_in", self.traffic.bytes_in),
            ("bytes_out", self.traffic.bytes_out),
            ("in_kbps", self.traffic.in_kbps),
            ("out_kbps", self.traffic.out_kbps),
            ("writes", self.writes.count),
            ("writes_per_s", self.writes.per_s),
            ("bytes_per_write", self.writes.bytes_per_write()),
            ("turns", self.turns),
            ("wakeups", self.wakeups),
            ("wakes", self.wakes),
            ("skips", self.skips),
            ("lost_frames", self.lost_frames),
            ("rings_exhausted", self.rings_exhausted),
            ("payload_bytes_copied", self.payload_bytes_copied),
            ("log_lines_suppressed", self.log_lines_suppressed),
            ("streams_omitted", self.streams_omitted),
        ]
    }

    fn json(&self, text: &mut String) {
        let _ = write!(text, "{{\"loop\":{},", self.id);
        json_figures(text, &self.figures());
        json_closes(text, |index| self.closes.get(index).copied().unwrap_or(0));
        text.push_str(",\"streams\":");
        json_list(text, &self.streams, StreamReport::json);
        text.push('}');
    }
}

impl StreamReport {
    fn set_rates(&mut self, then: Option<&Self>, ms: u64) {
        // Another publisher has sent nothing before.
        let same = then.filter(|then| then.publisher == self.publisher);
        self.traffic.set_rates(same.map_or(Traffic::default(), |then| then.traffic), ms);
        let players: HashMap<u64, &PlayerReport> =
            then.into_iter().flat_map(|t| &t.players).map(|p| (p.session, p)).collect();
        for player in &mut self.players {
            let then = players.get(&player.session);
            player.traffic.set_rates(then.map_or(Traffic::default(), |then| then.traffic), ms);
        }
        self.traffic.out_kbps = self.players.iter().map(|player| player.traffic.out_kbps).sum();
    }

    fn table(&self, text: &mut String, on: usize) {
        let publisher = self.publisher.map_or("-".into(), |id| format!("session {id}"));
        let Traffic { bytes_in, in_kbps, out_kbps, .. } = self.traffic;
        let _ = writeln!(
            text,
            "stream {} on loop {on}: publisher {publisher}, {bytes_in} bytes and {} frames in, \
             {in_kbps} kbps in, {} players, {out_kbps} kbps out, {} bytes in the log",
            self.key,
            self.frames_in,
            self.players.len(),
            self.log_bytes,
        );
        for player in &self.players {
            player.table(text);
        }
    }

    fn json(&self, text: &mut String) {
        let publisher = self.publisher.map_or("null".into(), |id| id.to_string());
        let _ = write!(text, "{{\"key\":\"{}\",\"publisher\":{publisher},", escape(&self.key));
        let Traffic { bytes_in, bytes_out, in_kbps, out_kbps } = self.traffic;
        json_figures(
            text,
            &[
                ("bytes_in", bytes_in),
                ("bytes_out", bytes_out),
                ("in_kbps", in_kbps),
                ("out_kbps", out_kbps),
                ("frames_in", self.frames_in),
                ("log_bytes", self.log_bytes),
            ],
        );
        text.push_str("\"players\":");
        json_list(text, &self.players, PlayerReport::json);
        text.push('}');
    }
}

impl PlayerReport {
    fn table(&self, text: &mut String) {
        let _ = writeln!(
            text,
            "  player session {}: {} bytes out, {} kbps, lag {} ms and {} bytes, {} skips, \
             {} frames skipped",
            self.session,
            self.traffic.bytes_out,
            self.traffic.out_kbps,
            self.lag_ms,
            self.lag_bytes,
            self.skips,
            self.skipped_frames,
        );
    }

    fn json(&self, text: &mut String) {
        let _ = write!(
            text,
            "{{\"session\":{},\"bytes_out\":{},\"out_kbps\":{},\"lag_ms\":{},\"lag_bytes\":{},\
             \"skips\":{},\"skipped_frames\":{}}}",
            self.session,
            self.traffic.bytes_out,
            self.traffic.out_kbps,
            self.lag_ms,
            self.lag_bytes,
            self.skips,
            self.skipped_frames,
        );
    }
}

/// A stream name is shown with `escape_ascii`; JSON needs its backslashes and quotes escaped.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
