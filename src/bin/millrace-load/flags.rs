//! Flags of the modes: parsing, checking and help from one table of rows per mode.
//!
//! A mode declares `const FLAGS: &[Flag]`, parses with [`Given::parse`] and takes each value by its
//! name; what a row has as default is what is parsed where the flag is not given.

use std::fmt::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use millrace::cli::values::duration_ms;
use millrace::cli::{UsageError, wrap};

/// One flag.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    group: &'static str,
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
}

/// Name with the name of its value (empty for a switch), default (empty for none), one sentence,
/// and the test that sees its effect, which `tests/tidy.rs` looks for in the source.
pub(crate) const fn flag(
    group: &'static str,
    (name, value): (&'static str, &'static str),
    default: &'static str,
    help: &'static str,
    _test: &'static str,
) -> Flag {
    Flag { group, name, value, default, help }
}

/// The values of a command line.
#[derive(Debug)]
pub(crate) struct Given {
    table: &'static [Flag],
    matches: getopts::Matches,
}

impl Given {
    /// Parses `args`, which begin behind the name of the mode.
    ///
    /// # Errors
    /// An unknown or repeated flag, a missing value.
    pub(crate) fn parse(table: &'static [Flag], args: &[String]) -> Result<Self, UsageError> {
        let mut options = getopts::Options::new();
        for flag in table {
            // A name of one letter is a short one to getopts; `--x` finds it all the same.
            let (short, long) =
                if flag.name.len() == 1 { (flag.name, "") } else { ("", flag.name) };
            match flag.value {
                "" => options.optflag(short, long, flag.help),
                value => options.optopt(short, long, flag.help, value),
            };
        }
        match options.parse(args) {
            Ok(matches) => Ok(Self { table, matches }),
            Err(error) => Err(UsageError::Syntax(error.to_string())),
        }
    }

    /// Words that belong to no flag.
    pub(crate) fn words(&self) -> &[String] {
        &self.matches.free
    }

    /// Refuses words that belong to no flag.
    ///
    /// # Errors
    /// Names the first.
    pub(crate) fn no_words(&self) -> Result<(), UsageError> {
        self.words().first().map_or(Ok(()), |word| Err(UsageError::Stray(word.clone())))
    }

    /// Whether a flag was given.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.matches.opt_present(name)
    }

    /// What was given, else the default; `None` where there is neither.
    pub(crate) fn optional(&self, name: &str) -> Option<String> {
        let default = || self.table.iter().find(|flag| flag.name == name).map(|it| it.default);
        let text = self.matches.opt_str(name).or_else(|| default().map(String::from));
        text.filter(|text| !text.is_empty())
    }

    /// As [`Given::optional`], empty for none.
    pub(crate) fn text(&self, name: &str) -> String {
        self.optional(name).unwrap_or_default()
    }

    /// A file; `-` is for the caller to understand.
    pub(crate) fn path(&self, name: &str) -> Option<PathBuf> {
        self.optional(name).map(PathBuf::from)
    }

    /// A value that `parse` understands; `allowed` says which those are.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn value<T>(
        &self,
        name: &'static str,
        allowed: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, UsageError> {
        let given = self.text(name);
        parse(&given).ok_or_else(|| refused(name, &given, allowed))
    }

    /// A whole number.
    ///
    /// # Errors
    /// It is none, or not in `range`.
    pub(crate) fn number(
        &self,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<u64, UsageError> {
        let allowed = format!("a number from {} to {}", range.start(), range.end());
        self.value(name, &allowed, |text| text.parse().ok().filter(|it| range.contains(it)))
    }

    /// A number of connections or the like.
    ///
    /// # Errors
    /// It is none, or above `most`.
    pub(crate) fn count(&self, name: &'static str, most: u64) -> Result<usize, UsageError> {
        let count = self.number(name, 0..=most)?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// A number that may have decimals; `None` where it is not given.
    ///
    /// # Errors
    /// It is none, or not in `range`.
    pub(crate) fn decimal(
        &self,
        name: &'static str,
        range: RangeInclusive<f64>,
    ) -> Result<Option<f64>, UsageError> {
        if self.optional(name).is_none() {
            return Ok(None);
        }
        let allowed = format!("a number from {} to {}", range.start(), range.end());
        let parse = |text: &str| text.parse().ok().filter(|it| range.contains(it));
        self.value(name, &allowed, parse).map(Some)
    }

    /// A time, ms.
    ///
    /// # Errors
    /// It is none, or not in `range` (ms).
    pub(crate) fn time_ms(
        &self,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Result<u64, UsageError> {
        let (least, most) = (range.start(), range.end());
        let allowed =
            format!("seconds, or a number with ms, s or m, from {least}ms to {}s", most / 1000);
        self.value(name, &allowed, |text| duration_ms(text).filter(|it| range.contains(it)))
    }
}

/// The error for a value that is not allowed.
pub(crate) fn refused(flag: &'static str, given: &str, allowed: &str) -> UsageError {
    UsageError::Value { flag, given: given.into(), allowed: allowed.into() }
}

/// The text of `--help`: `usage`, then the flags by group.
pub(crate) fn help(usage: &str, table: &[Flag]) -> String {
    let mut text = format!("{usage}\n");
    let mut group = "";
    for flag in table {
        if flag.group != group {
            group = flag.group;
            // Writing to a string does not fail, here and below.
            let _ = write!(text, "\n{group}:\n");
        }
        let default = match flag.default {
            "" => String::new(),
            default => format!(" [{default}]"),
        };
        let _ = writeln!(text, "{}", format!("  --{} {}", flag.name, flag.value).trim_end());
        for line in wrap(&format!("{}{default}", flag.help), 90) {
            let _ = writeln!(text, "          {line}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[Flag] = &[
        flag("One", ("count", "N"), "7", "How many.", ""),
        flag("One", ("wait", "TIME"), "2", "How long.", ""),
        flag("Two", ("most", "MS"), "", "At most.", ""),
        flag("Two", ("quiet", ""), "", "Says nothing.", ""),
    ];

    fn given(args: &[&str]) -> Given {
        let args: Vec<String> = args.iter().map(|arg| String::from(*arg)).collect();
        Given::parse(TABLE, &args).unwrap()
    }

    #[test]
    fn what_is_not_given_has_the_default_of_the_table() {
        let none = given(&[]);
        assert_eq!(none.number("count", 0..=9).unwrap(), 7);
        assert_eq!(none.time_ms("wait", 0..=9_000).unwrap(), 2_000);
        assert_eq!(none.decimal("most", 0.0..=1.0).unwrap(), None);
        assert!(!none.has("quiet") && given(&["--quiet"]).has("quiet"));
    }

    #[test]
    fn values_outside_their_range_are_refused_with_what_is_allowed() {
        let bad = given(&["--count", "10", "--wait", "1h", "--most", "NaN"]);
        let count = bad.number("count", 0..=9).unwrap_err().to_string();
        assert_eq!(count, "--count '10' is not allowed: give a number from 0 to 9");
        let wait = bad.time_ms("wait", 100..=9_000).unwrap_err().to_string();
        assert!(wait.ends_with("ms, s or m, from 100ms to 9s"), "{wait}");
        assert!(bad.decimal("most", 0.0..=1.0).is_err());
    }

    #[test]
    fn help_shows_groups_flags_and_defaults() {
        let text = help("Usage: x", TABLE);
        assert!(text.starts_with("Usage: x\n\nOne:\n  --count N\n          How many. [7]\n"));
        assert!(text.ends_with(
            "\nTwo:\n  --most MS\n          At most.\n  --quiet\n          Says nothing.\n"
        ));
    }
}
