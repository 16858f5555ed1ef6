//! Values of flags: sizes, times, numbers, words; and what can be wrong with them.

use std::fmt;
use std::ops::RangeInclusive;

use super::memory::FixedMemory;

/// What is wrong with the command line, in one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UsageError {
    /// getopts refused: unknown flag, missing value, repeated flag.
    Syntax(String),
    /// A word that is no flag.
    Stray(String),
    /// A value that its flag does not allow.
    Value {
        /// The flag, without dashes.
        flag: &'static str,
        /// What was given.
        given: String,
        /// What is allowed.
        allowed: String,
    },
    /// Fixed memory above `--memory`.
    Memory {
        /// Bytes needed at start.
        fixed: FixedMemory,
        /// Bytes allowed.
        memory: usize,
    },
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(text) => write!(f, "{text}; see --help"),
            Self::Stray(word) => write!(f, "'{word}' is not a flag; see --help"),
            Self::Value { flag, given, allowed } => {
                write!(f, "--{flag} '{given}' is not allowed: give {allowed}")
            }
            Self::Memory { fixed, memory } => write!(
                f,
                "--memory {memory} is too small: what is taken at start is {fixed}; raise it or \
                 lower --loops, --rings, --ring-bytes, --mailbox or --max-connections"
            ),
        }
    }
}

/// Allowed sizes, shown as the user would write them: `from 4K to 16M`.
#[derive(Debug)]
pub struct Bounds<'a>(pub &'a RangeInclusive<u64>);

impl fmt::Display for Bounds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |bytes: u64| {
            let units = [(1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")];
            let unit = units.into_iter().find(|(size, _)| bytes > 0 && bytes.is_multiple_of(*size));
            unit.map_or(bytes.to_string(), |(size, name)| format!("{}{name}", bytes / size))
        };
        write!(f, "from {} to {}", short(*self.0.start()), short(*self.0.end()))
    }
}

/// A size in bytes: a number with K, M or G (binary).
#[must_use]
pub fn size(text: &str) -> Option<u64> {
    let (digits, unit) = match text.char_indices().last()? {
        (at, 'K' | 'k') => (text.get(..at)?, 1 << 10),
        (at, 'M' | 'm') => (text.get(..at)?, 1 << 20),
        (at, 'G' | 'g') => (text.get(..at)?, 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// A time in ms: seconds, with decimals, or a number with ms, s or m.
#[must_use]
pub fn duration_ms(text: &str) -> Option<u64> {
    let (digits, unit) = if let Some(digits) = text.strip_suffix("ms") {
        (digits, 1.0)
    } else if let Some(digits) = text.strip_suffix('s') {
        (digits, 1000.0)
    } else if let Some(digits) = text.strip_suffix('m') {
        (digits, 60_000.0)
    } else {
        (text, 1000.0)
    };
    let ms = digits.parse::<f64>().ok()? * unit;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to lie between 0 and ten years"
    )]
    let whole = ms.round() as u64;
    (0.0..3.2e11).contains(&ms).then_some(whole)
}

/// Whether env_logger would take all of it: levels, `module`, `module=level`, by commas, and
/// `/text` at the end. A lone word that is no level is taken for a mistake, not for somebody's
/// module.
#[must_use]
pub fn is_log_filter(text: &str) -> bool {
    let is_level = |word: &str| {
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        levels.iter().any(|level| word.eq_ignore_ascii_case(level))
    };
    let directives = text.split('/').next().unwrap_or_default();
    directives.split(',').all(|directive| match directive.trim().split_once('=') {
        Some((module, level)) => !module.is_empty() && is_level(level),
        None => is_level(directive.trim()) || directive.trim().starts_with("millrace"),
    })
}

/// A list of numbers and ranges: `0,2-3`.
#[must_use]
pub fn list(text: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.parse::<usize>().ok()?, last.parse::<usize>().ok()?);
        if last < first || last - first > 4096 {
            return None;
        }
        numbers.extend(first..=last);
    }
    Some(numbers)
}
