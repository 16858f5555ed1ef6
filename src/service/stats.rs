//! Statistics: what each loop reports, and the table or JSON made of all reports.
//!
//! Totals are sums of the parts printed above them.

use std::fmt::Write;

use super::close_reason::{CLOSE_REASONS, CloseReason};
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
    /// Socket bytes in.
    pub bytes_in: u64,
    /// Socket bytes out.
    pub bytes_out: u64,
    /// Writes to sockets.
    pub writes: u64,
    /// Turns of the loop.
    pub turns: u64,
    /// Turns that began with sleep.
    pub wakeups: u64,
    /// Players moved to a newer keyframe.
    pub skips: u64,
    /// Frames that found a mailbox full.
    pub lost_frames: u64,
    /// Reads put off because no ring was free.
    pub rings_exhausted: u64,
    /// Payload bytes copied into frames.
    pub payload_bytes_copied: u64,
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
    /// Body bytes received from it.
    pub bytes_in: u64,
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
    pub bytes_out: u64,
    /// Age of its next frame, ms.
    pub lag_ms: u64,
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
    /// By loop.
    pub loops: Vec<LoopReport>,
}

impl Report {
    /// The sum over all loops of one figure.
    pub fn total(&self, figure: impl Fn(&LoopReport) -> u64) -> u64 {
        self.loops.iter().map(figure).sum()
    }

    /// A table for people. `before` gives bit rates; without it they are averages since start.
    #[must_use]
    pub fn table(&self, before: Option<&Self>) -> String {
        let seconds = self.seconds_since(before);
        let rate = |now: u64, then: u64| kilobits(now.saturating_sub(then), seconds);
        let mut text = String::new();
        let (used, peak, max) = self.memory;
        let _ = writeln!(text, "memory: {used} of {max} bytes charged, at most {peak}");
        let _ = writeln!(text, "loop connections publishers players in_kbps out_kbps skips lost");
        for (index, report) in self.loops.iter().enumerate() {
            let then = before.and_then(|before| before.loops.get(index));
            let _ = writeln!(
                text,
                "{:>4} {:>11} {:>10} {:>7} {:>7} {:>8} {:>5} {:>4}",
                report.id,
                report.connections,
                report.publishers,
                report.players,
                rate(report.bytes_in, then.map_or(0, |then| then.bytes_in)),
                rate(report.bytes_out, then.map_or(0, |then| then.bytes_out)),
                report.skips,
                report.lost_frames,
            );
        }
        let sum = |figure: fn(&LoopReport) -> u64| self.total(figure);
        let then = |figure: fn(&LoopReport) -> u64| before.map_or(0, |before| before.total(figure));
        let _ = writeln!(
            text,
            " all {:>11} {:>10} {:>7} {:>7} {:>8} {:>5} {:>4}",
            sum(|r| r.connections as u64),
            sum(|r| r.publishers as u64),
            sum(|r| r.players as u64),
            rate(sum(|r| r.bytes_in), then(|r| r.bytes_in)),
            rate(sum(|r| r.bytes_out), then(|r| r.bytes_out)),
            sum(|r| r.skips),
            sum(|r| r.lost_frames),
        );
        self.streams_table(&mut text);
        text
    }

    fn streams_table(&self, text: &mut String) {
        for report in &self.loops {
            for stream in &report.streams {
                let publisher = stream.publisher.map_or("-".into(), |id| format!("session {id}"));
                let _ = writeln!(
                    text,
                    "stream {} on loop {}: publisher {publisher}, {} bytes in, {} frames, \
                     {} players, {} bytes in the log",
                    stream.key,
                    report.id,
                    stream.bytes_in,
                    stream.frames_in,
                    stream.players.len(),
                    stream.log_bytes,
                );
                for player in &stream.players {
                    let _ = writeln!(
                        text,
                        "  player session {}: {} bytes out, lag {} ms, {} skips, {} frames skipped",
                        player.session,
                        player.bytes_out,
                        player.lag_ms,
                        player.skips,
                        player.skipped_frames,
                    );
                }
            }
        }
        for index in 0..CLOSE_REASONS {
            let count = self.total(|r| r.closes.get(index).copied().unwrap_or(0));
            if count > 0 {
                let _ = writeln!(text, "closed {}: {count}", CloseReason::name(index));
            }
        }
    }

    /// One line of JSON. `before` as for [`Report::table`].
    #[must_use]
    pub fn json(&self, before: Option<&Self>) -> String {
        let seconds = self.seconds_since(before);
        let out = self.total(|r| r.bytes_out);
        let then = before.map_or(0, |before| before.total(|r| r.bytes_out));
        let mut text = String::new();
        let (used, peak, max) = self.memory;
        let _ = write!(
            text,
            "{{\"at_ms\":{},\"memory_used\":{used},\"memory_peak\":{peak},\"memory_max\":{max},\
             \"log_lines_lost\":{},\"out_kbps\":{},\"loops\":[",
            self.at.0,
            self.log_lines_lost,
            kilobits(out.saturating_sub(then), seconds),
        );
        for (index, report) in self.loops.iter().enumerate() {
            let _ = write!(text, "{}", if index > 0 { "," } else { "" });
            report.json(&mut text);
        }
        let _ = write!(text, "],\"total\":{{");
        let mut sum = LoopReport::default();
        for report in &self.loops {
            sum.add(report);
        }
        sum.figures(&mut text);
        text.push_str("}}\n");
        text
    }

    fn seconds_since(&self, before: Option<&Self>) -> u64 {
        before.map_or(self.at.0, |before| self.at.since(before.at)).max(1)
    }
}

/// Kilobits per second of `bytes` over `ms`.
fn kilobits(bytes: u64, ms: u64) -> u64 {
    bytes.saturating_mul(8) / ms.max(1)
}

impl LoopReport {
    fn add(&mut self, other: &Self) {
        self.connections += other.connections;
        self.publishers += other.publishers;
        self.players += other.players;
        self.accepted += other.accepted;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
        self.writes += other.writes;
        self.turns += other.turns;
        self.wakeups += other.wakeups;
        self.skips += other.skips;
        self.lost_frames += other.lost_frames;
        self.rings_exhausted += other.rings_exhausted;
        self.payload_bytes_copied += other.payload_bytes_copied;
        for (sum, count) in self.closes.iter_mut().zip(other.closes) {
            *sum += count;
        }
    }

    fn figures(&self, text: &mut String) {
        let figures = [
            ("connections", self.connections as u64),
            ("publishers", self.publishers as u64),
            ("players", self.players as u64),
            ("accepted", self.accepted),
            ("bytes_in", self.bytes_in),
            ("bytes_out", self.bytes_out),
            ("writes", self.writes),
            ("turns", self.turns),
            ("wakeups", self.wakeups),
            ("skips", self.skips),
            ("lost_frames", self.lost_frames),
            ("rings_exhausted", self.rings_exhausted),
            ("payload_bytes_copied", self.payload_bytes_copied),
        ];
        for (name, value) in figures {
            let _ = write!(text, "\"{name}\":{value},");
        }
        text.push_str("\"closes\":{");
        for (index, count) in self.closes.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            let _ = write!(text, "{comma}\"{}\":{count}", CloseReason::name(index));
        }
        text.push('}');
    }

    fn json(&self, text: &mut String) {
        let _ = write!(text, "{{\"loop\":{},", self.id);
        self.figures(text);
        text.push_str(",\"streams\":[");
        for (index, stream) in self.streams.iter().enumerate() {
            let _ = write!(text, "{}", if index > 0 { "," } else { "" });
            stream.json(text);
        }
        text.push_str("]}");
    }
}

impl StreamReport {
    fn json(&self, text: &mut String) {
        let publisher = self.publisher.map_or("null".into(), |id| id.to_string());
        let _ = write!(
            text,
            "{{\"key\":\"{}\",\"publisher\":{publisher},\"bytes_in\":{},\"frames_in\":{},\
             \"log_bytes\":{},\"players\":[",
            escape(&self.key),
            self.bytes_in,
            self.frames_in,
            self.log_bytes,
        );
        for (index, player) in self.players.iter().enumerate() {
            let _ = write!(
                text,
                "{}{{\"session\":{},\"bytes_out\":{},\"lag_ms\":{},\"skips\":{},\
                 \"skipped_frames\":{}}}",
                if index > 0 { "," } else { "" },
                player.session,
                player.bytes_out,
                player.lag_ms,
                player.skips,
                player.skipped_frames,
            );
        }
        text.push_str("]}");
    }
}

/// A stream name is shown with `escape_ascii`; JSON needs its backslashes and quotes escaped.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
