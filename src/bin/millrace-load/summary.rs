//! The result of a run: counters, latencies, whether every promise was kept, as JSON and as text.

use crate::inbound::Tally;

/// Width of a latency bucket, µs.
const BUCKET_US: u64 = 100;
/// Latencies of 20 s and more share the last bucket.
const BUCKETS: usize = 200_000;

/// A histogram of latencies with a resolution of 0.1 ms.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    buckets: Vec<u64>,
    count: u64,
    max_us: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max_us: 0 }
    }
}

impl Latencies {
    /// One frame at one player.
    pub(crate) fn add(&mut self, us: u64) {
        let at = usize::try_from(us / BUCKET_US).unwrap_or(BUCKETS).min(BUCKETS - 1);
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
        self.count += 1;
        self.max_us = self.max_us.max(us);
    }

    /// The latency that so many thousandths of all frames do not exceed, ms.
    fn per_mille(&self, share: u64) -> f64 {
        let wanted = (self.count * share).div_ceil(1000);
        let mut seen = 0;
        let mut end_us = 0;
        for &bucket in &self.buckets {
            if seen >= wanted {
                break;
            }
            seen += bucket;
            end_us += BUCKET_US;
        }
        ms(end_us.min(self.max_us))
    }
}

/// Everything a run tells.
#[derive(Debug, Clone, Default)]
pub(crate) struct Summary {
    /// Nobody published or played.
    pub(crate) is_idle: bool,
    /// Measured time, ms.
    pub(crate) time_ms: u64,
    /// Frames published.
    pub(crate) frames_sent: u64,
    /// Body bytes published, headers included.
    pub(crate) bytes_sent: u64,
    /// Most that the publisher was late, µs.
    pub(crate) publisher_late_us: u64,
    /// Reading players or idle connections that were asked for.
    pub(crate) wanted: usize,
    /// Those that got media, or whose connect was accepted.
    pub(crate) served: usize,
    /// Those that had the last frame at the end, or were still connected.
    pub(crate) complete: usize,
    /// Players that never read.
    pub(crate) stuck: usize,
    /// Connections the server closed, or that failed.
    pub(crate) closed: usize,
    /// The first refusal or failure.
    pub(crate) first_failure: Option<String>,
    /// Players whose first frame was not a keyframe.
    pub(crate) bad_starts: u64,
    /// Sums over all players.
    pub(crate) tally: Tally,
    /// Of frames sent in the measured time.
    pub(crate) latencies: Latencies,
}

impl Summary {
    /// Adds a player.
    pub(crate) fn add(&mut self, tally: &Tally) {
        self.tally.messages += tally.messages;
        self.tally.bytes += tally.bytes;
        self.tally.gaps += tally.gaps;
        self.tally.reordered += tally.reordered;
        self.tally.corrupt += tally.corrupt;
        self.tally.verified += tally.verified;
        self.tally.backward += tally.backward;
        self.bad_starts += u64::from(tally.bad_start);
    }

    /// Whether every promise was kept.
    pub(crate) fn is_good(&self) -> bool {
        let Tally { gaps, reordered, corrupt, backward, .. } = self.tally;
        let faults = gaps + reordered + corrupt + backward + self.bad_starts;
        faults == 0 && self.closed == 0 && self.complete == self.wanted
    }

    /// One line for programs.
    pub(crate) fn json(&self) -> String {
        let figures = [
            ("time_ms", self.time_ms),
            ("frames_sent", self.frames_sent),
            ("bytes_sent", self.bytes_sent),
            ("wanted", self.wanted as u64),
            ("served", self.served as u64),
            ("complete", self.complete as u64),
            ("stuck", self.stuck as u64),
            ("closed", self.closed as u64),
            ("messages", self.tally.messages),
            ("bytes", self.tally.bytes),
            ("verified", self.tally.verified),
            ("gaps", self.tally.gaps),
            ("reordered", self.tally.reordered),
            ("corrupt", self.tally.corrupt),
            ("backward_timestamps", self.tally.backward),
            ("first_frame_not_keyframe", self.bad_starts),
            ("latency_samples", self.latencies.count),
        ];
        let figures: Vec<String> =
            figures.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let [p50, p99, max] = self.latency_ms();
        format!(
            "{{\"mode\":\"{}\",{},\"latency_p50_ms\":{p50:.1},\"latency_p99_ms\":{p99:.1},\
             \"latency_max_ms\":{max:.1},\"publisher_late_max_ms\":{:.1},\"good\":{}}}",
            if self.is_idle { "idle" } else { "live" },
            figures.join(","),
            ms(self.publisher_late_us),
            self.is_good(),
        )
    }

    /// One line for people.
    pub(crate) fn text(&self) -> String {
        let verdict = if self.is_good() { "good" } else { "BAD" };
        let failure = match &self.first_failure {
            Some(failure) => format!("; first failure: {failure}"),
            None => String::new(),
        };
        let Self { wanted, served, complete, closed, .. } = self;
        if self.is_idle {
            return format!(
                "{verdict}: {served} of {wanted} connected, {complete} stayed, {closed} \
                 closed{failure}"
            );
        }
        let Tally { gaps, reordered, corrupt, verified, backward, .. } = self.tally;
        let [p50, p99, max] = self.latency_ms();
        format!(
            "{verdict}: {} frames to {served} of {wanted} players ({} stuck ones beside), \
             {complete} complete, {closed} closed; {gaps} gaps, {reordered} reordered, {corrupt} \
             corrupt of {verified} verified, {backward} timestamps backward, {} not begun by a keyframe; latency p50 \
             {p50:.1} p99 {p99:.1} max {max:.1} ms{failure}",
            self.frames_sent, self.stuck, self.bad_starts,
        )
    }

    fn latency_ms(&self) -> [f64; 3] {
        [self.latencies.per_mille(500), self.latencies.per_mille(990), ms(self.latencies.max_us)]
    }
}

/// µs as ms.
#[allow(clippy::cast_precision_loss, reason = "below 2^53 µs, which are 285 years")]
fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}
