//! What the floor counts, as one line of JSON: totals since the start, and rates and CPU time since
//! the line before, as the server's statistics.

use millrace::time::Millis;

/// Counters since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    /// Messages of the publisher.
    pub(crate) frames: u64,
    /// Players that fell out of the ring.
    pub(crate) skips: u64,
    writes: u64,
    bytes: u64,
    /// Values of the line before: writes, bytes, CPU ns, time in ms.
    printed: (u64, u64, u64, u64),
}

impl Counters {
    /// A write that carried so many bytes; 0: it was refused and is none.
    pub(crate) fn add_write(&mut self, bytes: usize) {
        self.writes += u64::from(bytes > 0);
        self.bytes += bytes as u64;
    }

    /// The line.
    #[allow(clippy::cast_precision_loss, reason = "figures for people, far below 2^53")]
    pub(crate) fn json(&mut self, policy: &str, players: usize, now: Millis) -> String {
        let values = (self.writes, self.bytes, cpu_ns(), now.0);
        let before = std::mem::replace(&mut self.printed, values);
        let (writes, bytes) = (values.0 - before.0, values.1 - before.1);
        let cpu_ms = values.2.saturating_sub(before.2) as f64 / 1e6;
        let ms = (values.3 - before.3).max(1);
        format!(
            "{{\"policy\":\"{policy}\",\"at_ms\":{},\"players\":{players},\"frames\":{},\
             \"writes\":{},\"bytes_out\":{},\"skips\":{},\"writes_per_s\":{},\
             \"bytes_per_write\":{},\"cpu_ms\":{cpu_ms:.1},\"cpu_percent\":{:.1},\
             \"cpu_ms_per_gbit\":{:.1}}}",
            now.0,
            self.frames,
            self.writes,
            self.bytes,
            self.skips,
            writes * 1000 / ms,
            bytes / writes.max(1),
            cpu_ms * 100.0 / ms as f64,
            if bytes > 0 { cpu_ms / (bytes as f64 * 8.0 / 1e9) } else { 0.0 },
        )
    }
}

/// CPU time of this thread, which is all there is, ns; 0 where the kernel does not tell.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}
