//! What a run promises besides what always must hold: the `--expect` flags.

/// Promises that were asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Promises {
    /// No player misses a frame.
    pub(crate) no_gap: bool,
    /// Latency that 99 % of all frames keep, ms.
    pub(crate) p99_ms: Option<f64>,
    /// Latency that 99.9 % keep, ms.
    pub(crate) p999_ms: Option<f64>,
    /// Latency that every frame keeps, ms.
    pub(crate) max_ms: Option<f64>,
    /// Time that 99 % of all joins keep, ms.
    pub(crate) join_ms: Option<f64>,
    /// CPU time of the server, percent of one CPU.
    pub(crate) server_cpu: Option<f64>,
}
