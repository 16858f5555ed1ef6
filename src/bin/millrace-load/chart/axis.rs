//! Axes of a chart: round ends and ticks, the place of a value, labels.
//!
//! Knows no page. Entry points: [`Axis::linear`], [`Axis::log`].

/// From which to which value an axis goes, and where its ticks are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) ticks: Vec<f64>,
    pub(super) is_log: bool,
}

impl Axis {
    /// Ends at round values around `values`, with about `wanted` ticks; there are none between whole
    /// numbers where every value is one.
    pub(super) fn linear(values: impl Iterator<Item = f64> + Clone, wanted: f64) -> Self {
        let are_whole = values.clone().all(|value| value.fract() == 0.0);
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        // One value alone stands about in the middle.
        let (low, high) = match low {
            _ if low < high => (low, high),
            0.0 => (0.0, 1.0),
            alone => (alone - alone.abs(), alone + alone.abs()),
        };
        let step = round_step((high - low) / wanted);
        let step = if are_whole { step.max(1.0) } else { step };
        let (first, last) = ((low / step).floor(), (high / step).ceil());
        let ticks = count_up(first, last).map(|n| n * step).collect();
        Self { from: first * step, to: last * step, ticks, is_log: false }
    }

    /// Ticks at 1, 2 and 5 times the powers of ten.
    pub(super) fn log(values: impl Iterator<Item = f64>) -> Self {
        let positive = values.filter(|value| *value > 0.0);
        let (low, high) = positive.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        let (low, high) = if low <= high { (low, high) } else { (1.0, 10.0) };
        let powers = count_up(low.log10().floor(), high.log10().ceil());
        let all: Vec<f64> =
            powers.flat_map(|power| [1.0, 2.0, 5.0].map(|n| n * 10_f64.powf(power))).collect();
        let from = all.iter().copied().take_while(|t| *t <= low).last().unwrap_or(low);
        let to = all.iter().copied().find(|t| *t >= high && *t > from).unwrap_or(high);
        let ticks = all.into_iter().filter(|t| (from..=to).contains(t)).collect();
        Self { from, to, ticks, is_log: true }
    }

    /// 0 at the beginning, 1 at the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        if self.is_log {
            (value / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        }
    }

    /// A tick as people write it: no more decimals than the ticks need, thousands apart.
    pub(super) fn label(&self, tick: f64) -> String {
        let step = match self.ticks[..] {
            _ if self.is_log => tick,
            [first, second, ..] => second - first,
            _ => 1.0,
        };
        let mut decimals = 0;
        while decimals < 9 && step * 10_f64.powi(decimals) < 0.999 {
            decimals += 1;
        }
        // A negative zero is no number for people.
        grouped(&format!("{:.*}", usize::try_from(decimals).unwrap_or(0), tick + 0.0))
    }
}

/// Whole numbers from `first` to `last`.
fn count_up(first: f64, last: f64) -> impl Iterator<Item = f64> {
    std::iter::successors(Some(first), |n| Some(n + 1.0)).take_while(move |n| *n <= last).take(1000)
}

/// The smallest of 1, 2, 5 times a power of ten that is not below `step`.
fn round_step(step: f64) -> f64 {
    let power = 10_f64.powf(step.log10().floor());
    let fits = [1.0, 2.0, 5.0].into_iter().find(|n| n * power >= step * 0.9999);
    fits.unwrap_or(10.0) * power
}

/// `12345.6` as `12 345.6`, the space a narrow one.
fn grouped(number: &str) -> String {
    let whole = number.find('.').unwrap_or(number.len());
    let mut text = String::new();
    for (at, digit) in number.char_indices() {
        let left = whole.saturating_sub(at);
        if at < whole && left.is_multiple_of(3) && text.ends_with(|c: char| c.is_ascii_digit()) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_enclose_the_values() {
        let axis = |low: f64, high: f64| Axis::linear([low, high].into_iter(), 6.0);
        assert_eq!(axis(0.0, 97.3).ticks, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(axis(-3.0, 4.0).ticks, [-4.0, -2.0, 0.0, 2.0, 4.0]);
        let small = axis(0.0, 0.7);
        let labels: Vec<String> = small.ticks.iter().map(|tick| small.label(*tick)).collect();
        assert_eq!(labels, ["0.0", "0.2", "0.4", "0.6", "0.8"]);
        let large = axis(0.0, 9000.0);
        assert_eq!(large.label(8000.0), "8\u{202f}000");
        assert_eq!(grouped("-1234567.25"), "-1\u{202f}234\u{202f}567.25");
        assert_eq!(axis(1.0, 5.0).ticks, [1.0, 2.0, 3.0, 4.0, 5.0], "rounds are whole");
        assert_eq!(axis(1.0, 1.0).ticks, [0.0, 1.0, 2.0]);
        assert!((0.3..0.7).contains(&axis(3.5, 3.5).place(3.5)), "alone, far from the ends");
        // One value, or none at all, still makes an axis.
        for axis in [axis(5.0, 5.0), Axis::linear(std::iter::empty(), 6.0)] {
            assert!(axis.from < axis.to && axis.ticks.len() >= 2, "{axis:?}");
        }
    }

    #[test]
    fn a_log_axis_has_decades_within_the_positive_values() {
        let axis = Axis::log([0.0, -5.0, 100.0, 9000.0].into_iter());
        assert_eq!(axis.ticks, [100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0]);
        assert!((axis.place(1000.0) - 0.5).abs() < 1e-9, "1000 is halfway from 100 to 10 000");
        assert!(axis.place(100.0).abs() < 1e-9);
        let one = Axis::log([300.0].into_iter());
        assert_eq!((one.from, one.to), (200.0, 500.0));
        let from_tick = Axis::log([200.0, 300.0].into_iter());
        assert_eq!((from_tick.from, from_tick.to), (200.0, 500.0), "values on ticks need no more");
        assert!(Axis::log(std::iter::empty()).ticks.len() >= 2);
    }
}
