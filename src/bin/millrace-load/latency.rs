//! Times that a run collects: a histogram of µs, exact to 3 significant digits.
//!
//! Quantiles are the upper end of the bucket they fall into, never above the true maximum, which
//! is kept beside the histogram.

use hdrhistogram::Histogram;

use crate::inbound::Arrival;

/// Significant decimal digits of a time.
const DIGITS: u8 = 3;
/// Longer times share the last bucket, µs: 20 minutes.
const LONGEST_US: u64 = 20 * 60 * 1_000_000;

/// See the module documentation.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
    max_us: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        #[allow(clippy::expect_used, reason = "fails for bounds that these constants are not")]
        let histogram = Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("fixed bounds");
        Self { histogram, max_us: 0 }
    }
}

impl Latencies {
    /// One time.
    pub(crate) fn add(&mut self, us: u64) {
        self.histogram.saturating_record(us);
        self.max_us = self.max_us.max(us);
    }

    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// What so large a share of them (0 to 1) does not exceed, ms; `None` without any.
    pub(crate) fn quantile_ms(&self, share: f64) -> Option<f64> {
        let us = self.histogram.value_at_quantile(share).min(self.max_us);
        (self.count() > 0).then(|| ms(us))
    }

    /// The longest, ms; `None` without any.
    pub(crate) fn max_ms(&self) -> Option<f64> {
        (self.count() > 0).then(|| ms(self.max_us))
    }

    /// How far times near the 99 % quantile may lie apart and still look the same, µs; that of the
    /// clock is 1.
    pub(crate) fn resolution_us(&self) -> u64 {
        let p99 = self.histogram.value_at_quantile(0.99);
        self.histogram.equivalent_range(p99).max(1)
    }
}

/// What verified players tell of time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    /// From publisher to socket: of video, or of audio where there is no video.
    pub(crate) latencies: Latencies,
    /// Of audio beside video, which a server may keep for the next video frame on purpose.
    pub(crate) audio: Latencies,
    /// From socket to this program, which reads later if it is told to.
    pub(crate) read_delays: Latencies,
    /// So many latencies are to this program, because the kernel did not tell the arrival.
    pub(crate) unstamped: u64,
}

impl Samples {
    /// A frame that was sent at `sent_us`; `rides`: it is audio beside video.
    pub(crate) fn add(&mut self, sent_us: u64, rides: bool, arrival: Arrival) {
        let latencies = if rides { &mut self.audio } else { &mut self.latencies };
        latencies.add(arrival.at_us.saturating_sub(sent_us));
        self.read_delays.add(arrival.seen_us.saturating_sub(arrival.at_us));
        self.unstamped += u64::from(!arrival.is_kernel);
    }
}

/// µs as ms.
#[allow(clippy::cast_precision_loss, reason = "below 2^53 µs, which are 285 years")]
pub(crate) fn ms(us: u64) -> f64 {
    us as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_three_digits() {
        let mut times = Latencies::default();
        for us in 1..=100_000 {
            times.add(us);
        }
        assert_eq!(times.count(), 100_000);
        for (share, wanted) in [(0.5, 50.0), (0.99, 99.0), (0.999, 99.9)] {
            let found = times.quantile_ms(share).unwrap();
            assert!((wanted..=wanted * 1.001).contains(&found), "{share}: {found}");
        }
        assert_eq!(times.max_ms(), Some(100.0));
        times.add(1_234_567);
        assert_eq!(times.quantile_ms(1.0), Some(1234.567), "no bucket's end is above the maximum");
    }

    #[test]
    fn the_resolution_is_a_thousandth_of_the_p99_but_at_least_1_us() {
        let mut times = Latencies::default();
        assert_eq!(times.resolution_us(), 1);
        times.add(900);
        assert_eq!(times.resolution_us(), 1);
        for _ in 0..1000 {
            times.add(3_000_000);
        }
        assert!((1024..=3000).contains(&times.resolution_us()), "{}", times.resolution_us());
    }

    #[test]
    fn audio_beside_video_has_times_of_its_own() {
        let mut samples = Samples::default();
        let arrival = Arrival { at_us: 40_000, seen_us: 41_000, ..Arrival::default() };
        samples.add(1_000, true, arrival);
        samples.add(38_000, false, arrival);
        assert_eq!(samples.audio.max_ms(), Some(39.0));
        assert_eq!(samples.latencies.max_ms(), Some(2.0));
        assert_eq!((samples.read_delays.count(), samples.unstamped), (2, 2));
    }

    #[test]
    fn without_a_time_there_is_no_quantile() {
        let times = Latencies::default();
        assert_eq!((times.quantile_ms(0.99), times.max_ms()), (None, None));
    }

    #[test]
    fn a_time_beyond_the_histogram_is_still_the_maximum() {
        let mut times = Latencies::default();
        times.add(2 * LONGEST_US);
        assert_eq!(times.max_ms(), Some(ms(2 * LONGEST_US)));
        assert!(times.quantile_ms(0.99).unwrap() >= ms(LONGEST_US));
    }
}
