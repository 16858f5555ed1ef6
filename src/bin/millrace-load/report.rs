//! The result of a run: what was counted, and its forms for programs (JSON, CSV) and people.
//!
//! [`Report::fields`] is the list of names and values in their order; JSON and CSV show the same.

use std::fmt::Write;

use serde_json::Value;

use crate::inbound::Tally;
use crate::latency::{Latencies, Samples, ms};
use crate::resources::Usage;

/// So large a share of its core makes the load a part of what it measures, percent.
pub(crate) const OWN_CPU_MAX: f64 = 90.0;

/// So large a share of the time that it waited for a CPU makes its figures those of others, percent.
pub(crate) const OWN_WAIT_MAX: f64 = 10.0;

/// The line of the text that shows it ("" for none), name, value.
type Field = (&'static str, &'static str, Value);

/// Everything a run tells. Counts are of the whole run where not said otherwise.
#[derive(Debug, Clone, Default)]
pub(crate) struct Report {
    /// Measured time, µs.
    pub(crate) time_us: u64,
    /// Publishers asked for.
    pub(crate) publishers: usize,
    /// Players asked for, those that are verified and those that are drained.
    pub(crate) players: usize,
    /// Of these, players that are verified.
    pub(crate) verified: usize,
    /// Of these, players that are drained.
    pub(crate) drained: usize,
    /// Players that never read.
    pub(crate) stuck: usize,
    /// Players that read slowly.
    pub(crate) slow: usize,
    /// Connections without a stream.
    pub(crate) idle: usize,
    /// Bit rate of each synthetic source, 1000 bits a second; `None` for a file.
    pub(crate) kbps: Option<u64>,
    /// Players and idle connections that got what they came for.
    pub(crate) joined: u64,
    /// Those that did not.
    pub(crate) failed: u64,
    /// Connections that were lost afterwards, publishers included.
    pub(crate) closed: u64,
    /// Of the slow and stuck players, those that the server has closed.
    pub(crate) put_out: u64,
    /// From connecting to the first keyframe, of players.
    pub(crate) joins: Latencies,
    /// Joins of the churn that succeeded.
    pub(crate) churn: Latencies,
    /// Those that did not.
    pub(crate) churn_failed: u64,
    /// Joins of the storm that succeeded.
    pub(crate) storm: Latencies,
    /// Those that did not.
    pub(crate) storm_failed: u64,
    /// Frames published.
    pub(crate) frames_sent: u64,
    /// Most that a publisher was late, µs.
    pub(crate) publisher_late_us: u64,
    /// Times of verified players, of frames sent in the measured time.
    pub(crate) samples: Samples,
    /// How far latencies may be wrong because the kernel did not tell some arrivals, µs.
    pub(crate) read_resolution_us: u64,
    /// Sums over all players.
    pub(crate) tally: Tally,
    /// Players whose first frame was not a keyframe.
    pub(crate) bad_starts: u64,
    /// Drained players that got fewer bytes than were sent to them.
    pub(crate) short_players: u64,
    /// Bytes that players read from their sockets in the measured time.
    pub(crate) bytes: u64,
    /// This process, in the measured time.
    pub(crate) load: Usage,
    /// The server, in the measured time.
    pub(crate) server: Option<Usage>,
    /// The first refusal, failure or broken promise.
    pub(crate) first_failure: Option<String>,
    /// What was promised and did not hold, a sentence each.
    pub(crate) broken: Vec<String>,
    /// So long may this process wait for a CPU, percent of the measured time.
    pub(crate) waited_max: f64,
}

impl Report {
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

    /// CPU time in percent of one CPU over the measured time.
    pub(crate) fn cpu_percent(&self, usage: &Usage) -> f64 {
        share(usage.cpu_ns, self.time_us * 1000) * 100.0
    }

    /// How long this process waited for a CPU, in percent of the measured time.
    fn waited_percent(&self) -> f64 {
        share(self.load.waited_ns, self.time_us * 1000) * 100.0
    }

    /// Why the load was a part of what it measured, a sentence each.
    fn faults(&self) -> Vec<String> {
        let (used, waited) = (self.cpu_percent(&self.load), self.waited_percent());
        let waited_max = self.waited_max;
        let mut faults = Vec::new();
        if used > OWN_CPU_MAX {
            faults.push(format!(
                "the load used {used:.1} % of its core; above {OWN_CPU_MAX} % it is part of what \
                 it measures"
            ));
        }
        if waited > waited_max {
            faults.push(format!(
                "the load waited for a CPU in {waited:.1} % of the time; above {waited_max} % \
                 other processes are part of what it measures"
            ));
        }
        faults
    }

    /// Whether the load was not itself the limit.
    pub(crate) fn is_valid(&self) -> bool {
        self.faults().is_empty()
    }

    /// Whether nothing failed and every promise was kept.
    pub(crate) fn is_good(&self) -> bool {
        self.broken.is_empty()
    }

    /// Whether the run may be relied on and nothing is wrong with the server.
    pub(crate) fn passes(&self) -> bool {
        self.is_good() && self.is_valid()
    }

    fn resolution_us(&self) -> u64 {
        self.samples.latencies.resolution_us().max(self.read_resolution_us)
    }

    /// CPU-ms of `cpu_ns` per 10^9 bits that players read.
    fn ms_per_gbit(&self, cpu_ns: u64) -> Value {
        let gbit = share(self.bytes * 8, 1_000_000_000);
        decimal((gbit > 0.0).then(|| share(cpu_ns, 1_000_000) / gbit))
    }

    /// Everything that is told, in the order of JSON and CSV.
    fn fields(&self) -> Vec<Field> {
        let mut fields = self.peers();
        fields.extend(self.joins());
        fields.extend(self.media());
        fields.extend(self.resources());
        let failure = self.first_failure.as_ref().or(self.broken.first());
        fields.push(("", "first_failure", failure.cloned().into()));
        fields.push(("", "valid", self.is_valid().into()));
        fields.push(("", "good", self.is_good().into()));
        fields
    }

    fn peers(&self) -> Vec<Field> {
        vec![
            ("bytes", "time_s", decimal(Some(share(self.time_us, 1_000_000)))),
            ("peers", "publishers", self.publishers.into()),
            ("peers", "players", self.players.into()),
            ("peers", "verified", self.verified.into()),
            ("peers", "drained", self.drained.into()),
            ("peers", "stuck", self.stuck.into()),
            ("peers", "slow", self.slow.into()),
            ("peers", "idle", self.idle.into()),
            ("", "kbps", self.kbps.into()),
            ("joins", "joined", self.joined.into()),
            ("joins", "failed", self.failed.into()),
            ("joins", "closed", self.closed.into()),
            ("joins", "put_out", self.put_out.into()),
        ]
    }

    fn joins(&self) -> Vec<Field> {
        vec![
            ("joins", "join_p50_ms", decimal(self.joins.quantile_ms(0.5))),
            ("joins", "join_p99_ms", decimal(self.joins.quantile_ms(0.99))),
            ("joins", "join_max_ms", decimal(self.joins.max_ms())),
            ("churn", "churn_joins", self.churn.count().into()),
            ("churn", "churn_failed", self.churn_failed.into()),
            ("churn", "churn_p50_ms", decimal(self.churn.quantile_ms(0.5))),
            ("churn", "churn_p99_ms", decimal(self.churn.quantile_ms(0.99))),
            ("churn", "churn_max_ms", decimal(self.churn.max_ms())),
            ("storm", "storm_joins", self.storm.count().into()),
            ("storm", "storm_failed", self.storm_failed.into()),
            ("storm", "storm_ms", decimal(self.storm.max_ms())),
        ]
    }

    fn media(&self) -> Vec<Field> {
        let Self { tally, samples, .. } = self;
        let Samples { latencies, audio, read_delays, .. } = samples;
        vec![
            ("frames", "frames_sent", self.frames_sent.into()),
            ("frames", "publisher_late_max_ms", decimal(Some(ms(self.publisher_late_us)))),
            ("latency", "latency_samples", latencies.count().into()),
            ("latency", "latency_p50_ms", decimal(latencies.quantile_ms(0.5))),
            ("latency", "latency_p99_ms", decimal(latencies.quantile_ms(0.99))),
            ("latency", "latency_p999_ms", decimal(latencies.quantile_ms(0.999))),
            ("latency", "latency_max_ms", decimal(latencies.max_ms())),
            ("latency", "latency_resolution_us", self.resolution_us().into()),
            ("latency", "audio_p50_ms", decimal(audio.quantile_ms(0.5))),
            ("latency", "audio_p99_ms", decimal(audio.quantile_ms(0.99))),
            ("latency", "audio_max_ms", decimal(audio.max_ms())),
            ("latency", "read_delay_p99_ms", decimal(read_delays.quantile_ms(0.99))),
            ("frames", "messages", tally.messages.into()),
            ("frames", "verified_messages", tally.verified.into()),
            ("faults", "gaps", tally.gaps.into()),
            ("faults", "corrupt", tally.corrupt.into()),
            ("faults", "reordered", tally.reordered.into()),
            ("faults", "backward_timestamps", tally.backward.into()),
            ("faults", "bad_starts", self.bad_starts.into()),
            ("faults", "short_players", self.short_players.into()),
            ("bytes", "bytes", self.bytes.into()),
            ("bytes", "mbps", decimal(Some(share(self.bytes * 8, self.time_us)))),
        ]
    }

    fn resources(&self) -> Vec<Field> {
        let Self { load, server, .. } = self;
        let of_server = |field: fn(&Usage) -> u64| Value::from(server.as_ref().map(field));
        let cpu_ms = |usage: &Usage| share(usage.cpu_ns, 1_000_000);
        let both = server.map(|server| server.cpu_ns + load.cpu_ns);
        let per_gbit = |cpu_ns: Option<u64>| cpu_ns.map_or(Value::Null, |ns| self.ms_per_gbit(ns));
        vec![
            ("load", "load_cpu_ms", decimal(Some(cpu_ms(load)))),
            ("load", "load_cpu_percent", decimal(Some(self.cpu_percent(load)))),
            ("load", "load_waited_percent", decimal(Some(self.waited_percent()))),
            ("load", "load_rss_kib", load.rss_kib.into()),
            ("load", "load_voluntary_switches", load.voluntary.into()),
            ("load", "load_involuntary_switches", load.involuntary.into()),
            ("server", "server_cpu_ms", decimal(server.as_ref().map(cpu_ms))),
            (
                "server",
                "server_cpu_percent",
                decimal(server.as_ref().map(|it| self.cpu_percent(it))),
            ),
            ("server", "server_rss_kib", of_server(|it| it.rss_kib)),
            ("server", "server_rss_max_kib", of_server(|it| it.rss_max_kib)),
            ("server", "server_voluntary_switches", of_server(|it| it.voluntary)),
            ("server", "server_involuntary_switches", of_server(|it| it.involuntary)),
            ("server", "cpu_ms_per_gbit", per_gbit(server.map(|server| server.cpu_ns))),
            ("server", "both_cpu_ms_per_gbit", per_gbit(both)),
        ]
    }

    /// One JSON object and a line end.
    pub(crate) fn json(&self) -> String {
        let fields = self.fields();
        let fields: Vec<String> =
            fields.iter().map(|(_, name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}\n", fields.join(","))
    }

    /// A header and one row.
    pub(crate) fn csv(&self) -> String {
        let cells = |(_, name, value): Field| (name, cell(&value));
        let (names, values): (Vec<_>, Vec<_>) = self.fields().into_iter().map(cells).unzip();
        format!("{}\n{}\n", names.join(","), values.join(","))
    }

    /// For people: a line of figures for each part of the run, what went wrong, the verdict.
    pub(crate) fn text(&self) -> String {
        let fields = self.fields();
        let mut text = String::new();
        for title in LINES {
            let of_line = || fields.iter().filter(|(line, _, it)| *line == title && !it.is_null());
            if of_line().any(|(_, _, value)| value.as_f64() != Some(0.0)) {
                let shown: Vec<String> =
                    of_line().map(|(_, name, value)| figure(title, name, value)).collect();
                // Writing to a string does not fail, here and below.
                let _ = writeln!(text, "{title:<8} {}", shown.join(", "));
            }
        }
        for broken in &self.broken {
            let _ = writeln!(text, "BROKEN: {broken}");
        }
        if let Some(failure) = &self.first_failure {
            let _ = writeln!(text, "first failure: {failure}");
        }
        for fault in self.faults() {
            let _ = writeln!(text, "INVALID: {fault}");
        }
        text.push_str(if self.is_good() { "good\n" } else { "BAD\n" });
        text
    }
}

/// Lines of the text. One without a figure but 0 is left out.
const LINES: [&str; 10] =
    ["peers", "joins", "churn", "storm", "frames", "faults", "latency", "bytes", "load", "server"];

/// A figure for people: without the line's title before it, with its unit behind it.
fn figure(title: &str, name: &str, value: &Value) -> String {
    let name = name.strip_prefix(title).and_then(|rest| rest.strip_prefix('_')).unwrap_or(name);
    let name = format!(" {}", name.replace('_', " "));
    let units =
        [(" ms", " ms"), (" s", " s"), (" us", " us"), (" percent", " %"), (" kib", " KiB")];
    let unit = units.iter().find_map(|(end, unit)| Some((name.strip_suffix(end)?, *unit)));
    let (name, unit) = unit.unwrap_or((&name, ""));
    format!("{} {}{unit}", name.trim_start(), cell(value)).trim_start().into()
}

/// A value in CSV; text in quotes, nothing for none.
fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => {
            format!("\"{}\"", text.replace('"', "\"\"").replace(['\r', '\n'], " "))
        }
        other => other.to_string(),
    }
}

/// `part` of `whole`; 0 of nothing.
#[allow(clippy::cast_precision_loss, reason = "53 bits are exact enough for a ratio")]
fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// A number with 3 decimals.
fn decimal(number: Option<f64>) -> Value {
    number.map_or(Value::Null, |number| ((number * 1000.0).round() / 1000.0).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the scripts know them.
    const NAMES: &str = "time_s,publishers,players,verified,drained,stuck,slow,idle,kbps,joined,\
        failed,closed,put_out,join_p50_ms,join_p99_ms,join_max_ms,churn_joins,churn_failed,churn_p50_ms,\
        churn_p99_ms,churn_max_ms,storm_joins,storm_failed,storm_ms,frames_sent,\
        publisher_late_max_ms,latency_samples,latency_p50_ms,latency_p99_ms,latency_p999_ms,\
        latency_max_ms,latency_resolution_us,audio_p50_ms,audio_p99_ms,audio_max_ms,\
        read_delay_p99_ms,messages,verified_messages,gaps,\
        corrupt,reordered,backward_timestamps,bad_starts,short_players,bytes,mbps,load_cpu_ms,\
        load_cpu_percent,load_waited_percent,load_rss_kib,load_voluntary_switches,load_involuntary_switches,\
        server_cpu_ms,server_cpu_percent,server_rss_kib,server_rss_max_kib,\
        server_voluntary_switches,server_involuntary_switches,cpu_ms_per_gbit,\
        both_cpu_ms_per_gbit,first_failure,valid,good";

    fn report() -> Report {
        let usage = |cpu_ns| Usage { cpu_ns, rss_kib: 5, ..Usage::default() };
        let mut report = Report {
            time_us: 2_000_000,
            players: 3,
            bytes: 250_000_000,
            load: usage(500_000_000),
            server: Some(usage(1_000_000_000)),
            first_failure: Some("a \"b\",\n\\c".into()),
            ..Report::default()
        };
        report.samples.latencies.add(1_234_567);
        report
    }

    fn field(report: &Report, name: &str) -> Value {
        let fields = report.fields();
        fields.into_iter().find(|(_, field, _)| *field == name).unwrap().2
    }

    #[test]
    fn fields_have_their_names_and_order_in_every_form() {
        let report = report();
        let csv = report.csv();
        assert_eq!(csv.lines().next(), Some(NAMES));
        let json = report.json();
        let at = |name: &str| json.find(&format!("\"{name}\":")).unwrap();
        let places: Vec<usize> = NAMES.split(',').map(at).collect();
        assert!(places.is_sorted());
        let parsed: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed.as_object().unwrap().len(), NAMES.split(',').count());
    }

    #[test]
    fn text_is_escaped_for_json_and_csv() {
        let report = report();
        let parsed: Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(parsed["first_failure"], "a \"b\",\n\\c");
        let row = report.csv();
        assert!(row.ends_with(",\"a \"\"b\"\", \\c\",true,true\n"), "{row}");
        assert_eq!(row.lines().count(), 2);
    }

    #[test]
    fn rates_are_of_the_measured_time() {
        let report = report();
        let is = |name: &str, wanted: f64| {
            let value = field(&report, name).as_f64().unwrap();
            assert!((value - wanted).abs() < 1e-3, "{name}: {value}");
        };
        is("time_s", 2.0);
        is("mbps", 1000.0);
        is("load_cpu_percent", 25.0);
        is("server_cpu_percent", 50.0);
        is("cpu_ms_per_gbit", 500.0);
        is("both_cpu_ms_per_gbit", 750.0);
        is("latency_p50_ms", 1234.567);
    }

    #[test]
    fn what_was_not_measured_is_null_and_an_empty_cell() {
        let report = Report { server: None, ..Report::default() };
        for (_, name, value) in report.fields() {
            let is_of_server = name.starts_with("server_") || name.ends_with("_per_gbit");
            assert!(!is_of_server || value.is_null(), "{name}: {value}");
        }
        assert!(field(&report, "latency_p99_ms").is_null());
        assert!(report.csv().ends_with(",,,,,,,,,,true,true\n"), "{}", report.csv());
    }

    #[test]
    fn a_load_that_used_more_than_90_percent_of_its_core_is_invalid() {
        let mut report = report();
        report.load.cpu_ns = 1_800_000_000;
        assert!(report.is_valid() && report.passes());
        report.load.cpu_ns += 1_000_000;
        assert!(report.is_good() && !report.passes());
        assert_eq!(field(&report, "valid"), false);
        assert!(report.text().contains("INVALID: the load used 90.0 % of its core"));
    }

    #[test]
    fn a_load_that_waited_for_its_cpu_too_long_is_invalid() {
        let mut report = Report { waited_max: OWN_WAIT_MAX, ..report() };
        report.load.waited_ns = 200_000_000;
        assert!(report.passes(), "{}", report.text());
        report.load.waited_ns += 1_000_000;
        assert!(report.is_good() && !report.passes());
        assert_eq!(field(&report, "valid"), false);
        assert_eq!(field(&report, "load_waited_percent"), 10.05);
        let text = report.text();
        assert!(
            text.contains("INVALID: the load waited for a CPU in 10.1 % of the time"),
            "{text}"
        );
        report.waited_max = 20.0;
        assert!(report.passes(), "{}", report.text());
    }

    #[test]
    fn the_text_shows_what_was_there_with_units() {
        let text = report().text();
        assert!(text.contains("latency  samples 1, p50 1234.567 ms,"), "{text}");
        assert!(text.contains("server   cpu 1000.0 ms, cpu 50.0 %, rss 5 KiB"), "{text}");
        assert!(!text.contains("churn") && !text.contains("faults"), "{text}");
    }
}
