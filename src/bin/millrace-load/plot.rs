//! `millrace-load plot`: a chart as SVG from a CSV file with a header.
//!
//! Owns the command's flags and the way from cells to series; [`chart`](crate::chart) draws them.
//! A cell that is empty or no number is no point. Entry point: [`run`].

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use millrace::cli::UsageError;

use crate::chart::{Chart, Series};
use crate::flags::{self, Flag, Given, flag};

/// The table.
#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    flag("What", ("csv", "FILE"), "", "Read this file; its first line has the columns' names.", "tests/plot.rs::a_file_becomes_a_picture"),
    flag("What", ("x", "COLUMN"), "", "Along x; words instead of numbers make groups of bars.", "src/bin/millrace-load/plot.rs::each_column_becomes_a_line_with_its_unit"),
    flag("What", ("y", "COLUMN[,COLUMN..]"), "", "A line each.", "src/bin/millrace-load/plot.rs::each_column_becomes_a_line_with_its_unit"),
    flag("What", ("y2", "COLUMN[,COLUMN..]"), "", "A dashed line each, with the axis at the right.", "src/bin/millrace-load/plot.rs::each_column_becomes_a_line_with_its_unit"),
    flag("What", ("by", "COLUMN"), "", "A line for each value of this column.", "src/bin/millrace-load/plot.rs::words_along_x_are_categories_and_by_splits_lines"),
    flag("How", ("title", "TEXT"), "", "Above the chart.", "tests/plot.rs::a_file_becomes_a_picture"),
    flag("How", ("mark", "N"), "", "A line across at this value of the left axis.", "tests/plot.rs::a_marked_value_is_a_line_across"),
    flag("How", ("x-log", ""), "", "Logarithmic x.", "tests/plot.rs::a_file_becomes_a_picture"),
    flag("How", ("svg", "FILE"), "", "Write here and not to stdout.", "tests/plot.rs::a_file_becomes_a_picture"),
    flag("Other", ("help", ""), "", "Print this text.", "tests/plot.rs::wrong_flags_are_told_in_one_sentence"),
];

const USAGE: &str = "\
millrace-load plot: draws a CSV file as SVG

Usage: millrace-load plot --csv FILE --x COLUMN --y COLUMN [FLAGS]";

/// How names of columns end, and the unit that is.
const UNITS: [(&str, &str); 10] = [
    ("_cpu_ms", "CPU-ms"),
    ("cpu_ms_per_gbit", "CPU-ms/Gbit"),
    ("_ms", "ms"),
    ("_us", "µs"),
    ("_s", "s"),
    ("_percent", "%"),
    ("_kib", "KiB"),
    ("_bytes", "bytes"),
    ("mbps", "Mbit/s"),
    ("kbps", "kbit/s"),
];

/// Words of columns' names, and how people write them.
const WORDS: [(&str, &str); 6] = [
    ("both", "server + load"),
    ("cpu", "CPU"),
    ("kbps", "bit rate"),
    ("mbps", "throughput"),
    ("p999", "p99.9"),
    ("rss", "RSS"),
];

/// Marks beyond it are refused.
const MARK_MAX: f64 = 1e12;

/// Every flag.
#[derive(Debug)]
struct Options {
    csv: PathBuf,
    x: String,
    y: Vec<String>,
    y2: Vec<String>,
    by: Option<String>,
    title: String,
    svg: Option<PathBuf>,
    mark: Option<f64>,
    is_x_log: bool,
}

/// Why there is no chart.
#[derive(Debug)]
pub(crate) enum PlotError {
    /// The flags are wrong.
    Usage(UsageError),
    /// A file cannot be read or written.
    File(PathBuf, io::Error),
    /// stdout is gone.
    Stdout(io::Error),
    /// The file has no such column, but these.
    Column(String, String),
    /// No row has a number for any line.
    Empty,
}

impl PlotError {
    /// Exit code: 2 for wrong flags, 1 otherwise.
    pub(crate) fn code(&self) -> u8 {
        if matches!(self, Self::Usage(_)) { 2 } else { 1 }
    }
}

impl fmt::Display for PlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(error) => write!(f, "{error}"),
            Self::File(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Stdout(error) => write!(f, "stdout: {error}"),
            Self::Column(name, known) => write!(f, "no column '{name}'; there are: {known}"),
            Self::Empty => write!(f, "no row has a number to draw"),
        }
    }
}

impl From<UsageError> for PlotError {
    fn from(error: UsageError) -> Self {
        Self::Usage(error)
    }
}

/// Draws what `args` (behind the word `plot`) ask for.
///
/// # Errors
/// Wrong flags, a file that cannot be read or written, or nothing to draw.
pub(crate) fn run(args: &[String]) -> Result<(), PlotError> {
    let given = Given::parse(FLAGS, args)?;
    if given.has("help") {
        let usage = flags::help(USAGE, FLAGS);
        return io::stdout().write_all(usage.as_bytes()).map_err(PlotError::Stdout);
    }
    let options = Options::build(&given)?;
    let file = |error| PlotError::File(options.csv.clone(), error);
    let text = fs::read_to_string(&options.csv).map_err(file)?;
    let svg = chart(&Table::parse(&text), &options)?.svg();
    match &options.svg {
        Some(path) => fs::write(path, svg).map_err(|error| PlotError::File(path.clone(), error)),
        None => io::stdout().write_all(svg.as_bytes()).map_err(PlotError::Stdout),
    }
}

impl Options {
    fn build(given: &Given) -> Result<Self, UsageError> {
        given.no_words()?;
        let list = |text: &str| -> Vec<String> {
            text.split(',').filter(|word| !word.is_empty()).map(Into::into).collect()
        };
        let needed = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let columns = |text: &str| Some(list(text)).filter(|columns| !columns.is_empty());
        Ok(Self {
            csv: given.value("csv", "a file", needed)?.into(),
            x: given.value("x", "the name of a column", needed)?,
            y: given.value("y", "names of columns, with commas between", columns)?,
            y2: list(&given.text("y2")),
            by: given.optional("by"),
            title: given.text("title"),
            svg: given.path("svg"),
            mark: given.decimal("mark", -MARK_MAX..=MARK_MAX)?,
            is_x_log: given.has("x-log"),
        })
    }
}

/// The cells of a CSV file.
#[derive(Debug)]
struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// Cells may be quoted, and a quote in them doubled (RFC 4180).
    fn parse(text: &str) -> Self {
        let mut rows = vec![vec![String::new()]];
        let mut is_quoted = false;
        let mut letters = text.chars().peekable();
        while let Some(letter) = letters.next() {
            let Some(cell) = rows.last_mut().and_then(|row| row.last_mut()) else { break };
            match letter {
                '"' if is_quoted && letters.next_if_eq(&'"').is_some() => cell.push('"'),
                '"' => is_quoted = !is_quoted,
                letter if is_quoted => cell.push(letter),
                ',' => rows.last_mut().into_iter().for_each(|row| row.push(String::new())),
                '\n' => rows.push(vec![String::new()]),
                '\r' => {}
                letter => cell.push(letter),
            }
        }
        rows.retain(|row| row.iter().any(|cell| !cell.is_empty()));
        let header = if rows.is_empty() { Vec::new() } else { rows.remove(0) };
        Self { header, rows }
    }

    /// Every cell of a column, empty where a row is too short.
    fn column(&self, name: &str) -> Result<Vec<&str>, PlotError> {
        let at = self.header.iter().position(|known| known == name);
        let at = at.ok_or_else(|| PlotError::Column(name.into(), self.header.join(", ")))?;
        Ok(self.rows.iter().map(|row| row.get(at).map_or("", String::as_str)).collect())
    }
}

fn chart(table: &Table, options: &Options) -> Result<Chart, PlotError> {
    let cells = table.column(&options.x)?;
    let is_number = |cell: &&str| cell.is_empty() || cell.parse::<f64>().is_ok();
    let categories = if cells.iter().all(is_number) { Vec::new() } else { distinct(&cells) };
    let xs: Vec<f64> = match categories[..] {
        [] => cells.iter().map(|cell| number(cell)).collect(),
        _ => cells.iter().map(|cell| place(&categories, cell)).collect(),
    };
    let groups = match &options.by {
        Some(name) => table.column(name)?,
        None => vec![""; xs.len()],
    };
    let columns = options.y.iter().map(|name| (name, false));
    let columns: Vec<_> = columns.chain(options.y2.iter().map(|name| (name, true))).collect();
    let mut series = Vec::new();
    for (name, is_right) in &columns {
        let ys: Vec<f64> = table.column(name)?.iter().map(|cell| number(cell)).collect();
        let (short, unit) = without_unit(name);
        for group in distinct(&groups) {
            let is_of_group = |(_, of): &(_, &&str)| **of == group;
            let points = xs.iter().copied().zip(ys.iter().copied()).zip(&groups);
            let points = points.filter(is_of_group).map(|(point, _)| point);
            let points = points.filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
            let name = match columns[..] {
                [_] if !group.is_empty() => group,
                _ => format!("{group} {short}").trim().to_owned(),
            };
            series.push(Series { name, unit, is_right: *is_right, points });
        }
    }
    series.retain(|line: &Series| !line.points.is_empty());
    if series.is_empty() {
        return Err(PlotError::Empty);
    }
    let (short, unit) = without_unit(&options.x);
    let x_label = if unit.is_empty() { short } else { format!("{short}, {unit}") };
    let is_x_log = options.is_x_log && categories.is_empty();
    let categories = categories.iter().map(|name| without_unit(name).0).collect();
    let (title, mark) = (options.title.clone(), options.mark);
    Ok(Chart { title, x_label, categories, is_x_log, mark, series })
}

/// A cell that is no number is not drawn.
fn number(cell: &str) -> f64 {
    cell.parse().unwrap_or(f64::NAN)
}

fn place(categories: &[String], cell: &str) -> f64 {
    categories.iter().position(|known| known == cell).map_or(f64::NAN, |at| at as f64)
}

/// Every value once, in the order of the rows.
fn distinct(cells: &[&str]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for cell in cells {
        if !found.iter().any(|known| known == cell) {
            found.push((*cell).to_owned());
        }
    }
    found
}

/// `latency_p99_ms` as `latency p99` and `ms`.
fn without_unit(column: &str) -> (String, &'static str) {
    let unit = UNITS.iter().find(|(end, _)| column.ends_with(end));
    let (end, unit) = unit.copied().unwrap_or(("", ""));
    let name = match column.strip_suffix(end).unwrap_or(column) {
        name if unit.starts_with("CPU") => format!("{name}_cpu"),
        // A name that is nothing but its unit stays as it is.
        "" => column.to_owned(),
        name => name.to_owned(),
    };
    let words: Vec<&str> = name.split('_').filter(|word| !word.is_empty()).map(readable).collect();
    (words.join(" "), unit)
}

/// A word of a column's name as people write it.
fn readable(word: &str) -> &str {
    WORDS.iter().find(|(short, _)| *short == word).map_or(word, |(_, readable)| readable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draw(csv: &str, flags: &[&str]) -> Result<Chart, PlotError> {
        let mut args = vec!["--csv=none".to_owned()];
        args.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let options = Options::build(&Given::parse(FLAGS, &args).unwrap()).unwrap();
        chart(&Table::parse(csv), &options)
    }

    #[test]
    fn each_column_becomes_a_line_with_its_unit() {
        let csv = "players,latency_p99_ms,server_cpu_percent\n100,1.5,10\n200,2.5,20\n";
        let flags = ["--x=players", "--y=latency_p99_ms", "--y2=server_cpu_percent"];
        let chart = draw(csv, &flags).unwrap();
        let [left, right] = &chart.series[..] else { panic!("{chart:?}") };
        assert_eq!((left.name.as_str(), left.unit, left.is_right), ("latency p99", "ms", false));
        assert_eq!((right.name.as_str(), right.unit, right.is_right), ("server CPU", "%", true));
        assert_eq!(left.points, [(100.0, 1.5), (200.0, 2.5)]);
        assert_eq!(right.points, [(100.0, 10.0), (200.0, 20.0)]);
        assert_eq!((chart.x_label.as_str(), chart.categories.len()), ("players", 0));
    }

    #[test]
    fn names_say_what_is_measured_and_no_unit_twice() {
        let of = without_unit;
        assert_eq!(of("cpu_ms_per_gbit"), ("CPU".into(), "CPU-ms/Gbit"));
        assert_eq!(of("both_cpu_ms_per_gbit"), ("server + load CPU".into(), "CPU-ms/Gbit"));
        assert_eq!(of("server_cpu_ms"), ("server CPU".into(), "CPU-ms"));
        assert_eq!(of("mbps"), ("throughput".into(), "Mbit/s"));
        assert_eq!(of("round"), ("round".into(), ""));
        assert_eq!(of("latency_p999_ms"), ("latency p99.9".into(), "ms"));
    }

    #[test]
    fn cells_that_are_empty_or_no_number_are_left_out() {
        let csv = "x,y\n1,10\n2,\n3,NaN\n4,inf\n5,word\n6\n\n,7\n8,80\n";
        let chart = draw(csv, &["--x=x", "--y=y"]).unwrap();
        assert_eq!(chart.series[0].points, [(1.0, 10.0), (8.0, 80.0)]);
        assert!(matches!(draw("x,y\n1,\n", &["--x=x", "--y=y"]), Err(PlotError::Empty)));
    }

    #[test]
    fn quoted_cells_may_have_commas_quotes_and_lines() {
        let csv = "x,\"said, so\",y\r\n1,\"a \"\"b\"\"\nc\",2\r\n";
        let table = Table::parse(csv);
        assert_eq!(table.header, ["x", "said, so", "y"]);
        assert_eq!(table.rows, [["1", "a \"b\"\nc", "2"]]);
        assert_eq!(table.column("y").unwrap(), ["2"]);
    }

    #[test]
    fn a_column_that_is_missing_is_named_with_those_there_are() {
        let error = draw("a,b\n1,2\n", &["--x=a", "--y=c"]).unwrap_err();
        assert_eq!(error.to_string(), "no column 'c'; there are: a, b");
    }

    #[test]
    fn words_along_x_are_categories_and_by_splits_lines() {
        let csv = "server,round,ms\nnginx,1,3\nfloor,1,2\nnginx,2,5\n";
        let bars = draw(csv, &["--x=server", "--y=ms"]).unwrap();
        assert_eq!(bars.categories, ["nginx", "floor"]);
        assert_eq!(bars.series[0].points, [(0.0, 3.0), (1.0, 2.0), (0.0, 5.0)]);
        let figures = "figure,ratio\nlatency_p999_ms,1\ncpu_ms_per_gbit,2\nmerge-ms=40,3\n";
        let figures = draw(figures, &["--x=figure", "--y=ratio"]).unwrap();
        assert_eq!(figures.categories, ["latency p99.9", "CPU", "merge-ms=40"]);
        let lines = draw(csv, &["--x=round", "--y=ms", "--by=server"]).unwrap();
        let names: Vec<&str> = lines.series.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["nginx", "floor"]);
        assert_eq!(lines.series[0].points, [(1.0, 3.0), (2.0, 5.0)]);
    }
}
