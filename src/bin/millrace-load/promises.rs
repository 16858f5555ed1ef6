//! What a run promises besides what always must hold: the `--expect` flags.
//!
//! [`Promises::judge`] lists what a run broke: of these, and of what no run may do.

use crate::latency::Samples;
use crate::report::Report;

/// Promises that were asked for.
///
/// Figures that were not measured break what was promised of them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Promises {
    /// No player misses a frame.
    pub(crate) no_gap: bool,
    /// Latency that 99 % of all frames keep, ms.
    pub(crate) p99_ms: Option<f64>,
    /// Latency that 99.9 % keep, ms.
    pub(crate) p999_ms: Option<f64>,
    /// Latency that every frame keeps, audio too, ms.
    pub(crate) max_ms: Option<f64>,
    /// Time that 99 % of all joins keep, ms.
    pub(crate) join_ms: Option<f64>,
    /// CPU time of the server, percent of one CPU.
    pub(crate) server_cpu: Option<f64>,
}

impl Promises {
    /// What did not hold, a sentence each.
    pub(crate) fn judge(&self, report: &Report) -> Vec<String> {
        let mut broken = always(report);
        let Samples { latencies, audio, .. } = &report.samples;
        let longest = [latencies.max_ms(), audio.max_ms()].into_iter().flatten().reduce(f64::max);
        let limits = [
            ("latency p99", "ms", latencies.quantile_ms(0.99), self.p99_ms),
            ("latency p99.9", "ms", latencies.quantile_ms(0.999), self.p999_ms),
            ("latency max", "ms", longest, self.max_ms),
            ("join p99", "ms", report.joins.quantile_ms(0.99), self.join_ms),
            (
                "server CPU",
                "%",
                report.server.map(|server| report.cpu_percent(&server)),
                self.server_cpu,
            ),
        ];
        for (name, unit, figure, most) in limits {
            match (figure, most) {
                (Some(figure), Some(most)) if figure > most => {
                    broken.push(format!("{name} {figure:.3} {unit}, promised {most} {unit}"));
                }
                (None, Some(most)) => {
                    broken.push(format!("{name} was not measured, promised {most} {unit}"));
                }
                (_, None) | (Some(_), Some(_)) => {}
            }
        }
        if self.no_gap {
            let counts =
                [(report.tally.gaps, "gaps"), (report.short_players, "players missed bytes")];
            broken.extend(above_0(&counts));
        }
        broken
    }
}

/// What no run may do.
fn always(report: &Report) -> Vec<String> {
    above_0(&[
        (report.tally.corrupt, "corrupt messages"),
        (report.tally.reordered, "reordered messages"),
        (report.tally.backward, "timestamps below the one before"),
        (report.bad_starts, "players did not begin with a keyframe"),
        (report.failed, "connections failed"),
        (report.closed, "connections were closed"),
        (report.churn_failed, "joins of the churn failed"),
        (report.storm_failed, "joins of the storm failed"),
    ])
}

fn above_0(counts: &[(u64, &str)]) -> Vec<String> {
    let above = counts.iter().filter(|(count, _)| *count > 0);
    above.map(|(count, what)| format!("{count} {what}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::Usage;

    fn report() -> Report {
        let mut report = Report { time_us: 1_000_000, ..Report::default() };
        for times in [&mut report.samples.latencies, &mut report.joins] {
            (1..=1000).for_each(|ms| times.add(ms * 1000));
        }
        report.server = Some(Usage { cpu_ns: 500_000_000, ..Usage::default() });
        report
    }

    #[test]
    fn each_promise_is_kept_at_its_figure_and_broken_below() {
        let none = Promises::default();
        let promise: [fn(f64) -> Promises; 5] = [
            |most| Promises { p99_ms: Some(most), ..Promises::default() },
            |most| Promises { p999_ms: Some(most), ..Promises::default() },
            |most| Promises { max_ms: Some(most), ..Promises::default() },
            |most| Promises { join_ms: Some(most), ..Promises::default() },
            |most| Promises { server_cpu: Some(most), ..Promises::default() },
        ];
        let report = report();
        assert_eq!(none.judge(&report), [""; 0]);
        let figures = [991.0, 999.9, 1000.0, 991.0, 50.0];
        for (promise, figure) in promise.iter().zip(figures) {
            assert_eq!(promise(figure).judge(&report), [""; 0], "{figure}");
            assert_eq!(promise(figure - 2.0).judge(&report).len(), 1, "{figure}");
            let unmeasured = promise(figure).judge(&Report::default());
            assert!(unmeasured[0].contains("not measured"), "{unmeasured:?}");
        }
    }

    #[test]
    fn audio_beside_video_counts_for_the_longest_only() {
        let mut report = report();
        report.samples.audio.add(3_000_000);
        let most = |most| Promises { max_ms: Some(most), ..Promises::default() };
        assert_eq!(most(2999.0).judge(&report).len(), 1);
        assert_eq!(most(3000.0).judge(&report), [""; 0]);
        let p99 = Promises { p99_ms: Some(1000.0), ..Promises::default() };
        assert_eq!(p99.judge(&report), [""; 0]);
    }

    #[test]
    fn gaps_and_missed_bytes_break_only_the_promise_of_none() {
        let mut report = report();
        let promises = Promises { no_gap: true, ..Promises::default() };
        assert_eq!(promises.judge(&report), [""; 0]);
        report.tally.gaps = 2;
        report.short_players = 1;
        assert_eq!(promises.judge(&report), ["2 gaps", "1 players missed bytes"]);
        assert_eq!(Promises::default().judge(&report), [""; 0]);
    }

    #[test]
    fn faults_that_no_run_may_have_need_no_promise() {
        let faults: [fn(&mut Report); 8] = [
            |report| report.tally.corrupt = 1,
            |report| report.tally.reordered = 1,
            |report| report.tally.backward = 1,
            |report| report.bad_starts = 1,
            |report| report.failed = 1,
            |report| report.closed = 1,
            |report| report.churn_failed = 1,
            |report| report.storm_failed = 1,
        ];
        for (at, fault) in faults.iter().enumerate() {
            let mut report = report();
            fault(&mut report);
            assert_eq!(Promises::default().judge(&report).len(), 1, "fault {at}");
        }
    }
}
