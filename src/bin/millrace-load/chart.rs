//! A chart as SVG: axes with round ticks, grid, legend, lines or bars.
//!
//! Owns the drawing only: [`plot`](crate::plot) makes the series. Entry point: [`Chart::svg`]. Ends and
//! ticks of the axes: [`axis`]; names along x: [`names`].
//!
//! ```text
//!   title
//!   legend, as many rows as it takes
//!   left axis | plot | right axis (dashed series)
//!             | x axis, words turned where they are too long
//! ```
//! Numbers along x make lines, words make groups of bars. A point that an axis cannot show (not a
//! number, or not above 0 on a logarithmic axis) is left out.

mod axis;
mod names;

use std::fmt::Write;

use axis::Axis;
use names::Names;

const WIDTH: f64 = 960.0;
const PLOT_HEIGHT: f64 = 380.0;
const LEFT: f64 = 76.0;
const RIGHT: f64 = 76.0;
/// From the plot's bottom to the page's, beside what the names along x take.
const BOTTOM: f64 = 58.0;
const TITLE_HEIGHT: f64 = 40.0;
const LEGEND_ROW: f64 = 22.0;
/// About the width of a letter.
const LETTER: f64 = 7.2;
const GRID: &str = "stroke=\"#e0e0e0\"";
/// More points than this are a line without dots.
const DOTS_MAX: usize = 120;
/// Colours that stay apart for colour-blind people (Okabe and Ito).
const COLOURS: [&str; 7] =
    ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"];

/// A line, or one bar of every group.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    /// For the legend.
    pub(crate) name: String,
    /// For the axis; may be empty.
    pub(crate) unit: &'static str,
    /// Belongs to the right axis.
    pub(crate) is_right: bool,
    /// x and y; x is the number of the category where there are categories.
    pub(crate) points: Vec<(f64, f64)>,
}

/// What is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    /// Above everything.
    pub(crate) title: String,
    /// Below the x axis.
    pub(crate) x_label: String,
    /// Names along x, in order; empty where x is a number.
    pub(crate) categories: Vec<String>,
    /// x is logarithmic.
    pub(crate) is_x_log: bool,
    /// A line across at this value of the left axis.
    pub(crate) mark: Option<f64>,
    /// At most a few: colours repeat after seven.
    pub(crate) series: Vec<Series>,
}

/// Text that may stand in XML: escaped, and without the letters XML has not.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => out.push('?'),
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}

/// Axes, and where the plot begins on the page.
struct Layout {
    x: Axis,
    left: Axis,
    right: Option<Axis>,
    names: Names,
    top: f64,
}

impl Layout {
    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.place(value) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, series: &Series, value: f64) -> f64 {
        let axis = self.right.as_ref().filter(|_| series.is_right).unwrap_or(&self.left);
        self.top + (1.0 - axis.place(value)) * PLOT_HEIGHT
    }

    fn bottom(&self) -> f64 {
        self.top + PLOT_HEIGHT
    }
}

impl Chart {
    /// The picture, a document of its own.
    pub(crate) fn svg(&self) -> String {
        let chart = Self { series: self.shown_series(), ..self.clone() };
        let legend = chart.legend();
        let rows = legend.last().map_or(0.0, |(_, y)| y / LEGEND_ROW + 1.0);
        let layout = chart.layout(TITLE_HEIGHT + rows * LEGEND_ROW + 12.0);
        let height = layout.bottom() + layout.names.height() + BOTTOM;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
             <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
        );
        let title = (WIDTH / 2.0, 26.0);
        text(&mut out, title, "middle", "font-size=\"17\" font-weight=\"bold\"", &chart.title);
        chart.draw_legend(&mut out, &legend);
        chart.draw_x_axis(&mut out, &layout);
        chart.draw_axes(&mut out, &layout);
        for (index, series) in chart.series.iter().enumerate() {
            if chart.categories.is_empty() {
                draw_line(&mut out, &layout, series, colour(index));
            } else {
                chart.draw_bars(&mut out, &layout, index);
            }
        }
        if let Some(value) = chart.mark {
            draw_mark(&mut out, &layout, value);
        }
        out.push_str("</svg>\n");
        out
    }

    /// The series without the points that cannot be shown, in the order of x.
    fn shown_series(&self) -> Vec<Series> {
        let is_shown =
            |(x, y): &(f64, f64)| x.is_finite() && y.is_finite() && (!self.is_x_log || *x > 0.0);
        let mut series = self.series.clone();
        for line in &mut series {
            line.points.retain(is_shown);
            line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
        }
        series
    }

    fn layout(&self, top: f64) -> Layout {
        let xs = || self.series.iter().flat_map(|line| line.points.iter().map(|(x, _)| *x));
        let x = if !self.categories.is_empty() {
            let ticks: Vec<f64> = (0..self.categories.len()).map(|n| n as f64).collect();
            Axis { from: -0.5, to: ticks.len() as f64 - 0.5, ticks, is_log: false }
        } else if self.is_x_log {
            Axis::log(xs())
        } else {
            Axis::linear(xs(), 10.0)
        };
        // Heights are compared, so they begin at 0.
        let ys = |is_right: bool| {
            let lines = self.series.iter().filter(move |line| line.is_right == is_right);
            std::iter::once(0.0).chain(lines.flat_map(|line| line.points.iter().map(|(_, y)| *y)))
        };
        let has_right = self.series.iter().any(|line| line.is_right);
        let right = has_right.then(|| Axis::linear(ys(true), 6.0));
        let left = Axis::linear(ys(false).chain(self.mark), 6.0);
        Layout { x, left, right, names: Names::new(&self.categories), top }
    }

    /// Where each entry of the legend begins, from the legend's own corner.
    fn legend(&self) -> Vec<(f64, f64)> {
        let (mut x, mut y) = (0.0, 0.0);
        let mut places = Vec::new();
        for series in &self.series {
            let width = 46.0 + series.label().chars().count() as f64 * LETTER;
            if x > 0.0 && x + width > WIDTH - LEFT - RIGHT {
                (x, y) = (0.0, y + LEGEND_ROW);
            }
            places.push((x, y));
            x += width;
        }
        places
    }

    fn draw_legend(&self, out: &mut String, places: &[(f64, f64)]) {
        for (index, (series, (x, y))) in self.series.iter().zip(places).enumerate() {
            let (x, y) = (LEFT + x, TITLE_HEIGHT + 12.0 + y);
            let style = format!("stroke=\"{}\" stroke-width=\"3\"{}", colour(index), series.dash());
            line(out, (x, y - 4.0), (x + 24.0, y - 4.0), &style);
            text(out, (x + 30.0, y), "start", "", &series.label());
        }
    }

    fn draw_axes(&self, out: &mut String, layout: &Layout) {
        let (end, bottom) = (WIDTH - RIGHT, layout.bottom());
        for &tick in &layout.left.ticks {
            let y = layout.top + (1.0 - layout.left.place(tick)) * PLOT_HEIGHT;
            line(out, (LEFT, y), (end, y), GRID);
            text(out, (LEFT - 8.0, y + 4.0), "end", "", &layout.left.label(tick));
        }
        if let Some(axis) = &layout.right {
            for &tick in &axis.ticks {
                let y = layout.top + (1.0 - axis.place(tick)) * PLOT_HEIGHT;
                line(out, (end, y), (end + 5.0, y), "stroke=\"#404040\"");
                text(out, (end + 8.0, y + 4.0), "start", "", &axis.label(tick));
            }
        }
        let frame = "stroke=\"#404040\"";
        line(out, (LEFT, bottom), (end, bottom), frame);
        line(out, (LEFT, layout.top), (LEFT, bottom), frame);
        let middle = layout.top + PLOT_HEIGHT / 2.0;
        for (is_right, x) in [(false, 18.0), (true, WIDTH - 10.0)] {
            let turned = format!("transform=\"rotate(-90 {x} {middle})\"");
            text(out, (x, middle), "middle", &turned, &self.units(is_right));
        }
        if layout.right.is_some() {
            line(out, (end, layout.top), (end, bottom), frame);
        }
    }

    fn draw_x_axis(&self, out: &mut String, layout: &Layout) {
        let bottom = layout.bottom();
        if self.categories.is_empty() {
            for &tick in &layout.x.ticks {
                let x = layout.x(tick);
                line(out, (x, layout.top), (x, bottom), GRID);
                text(out, (x, bottom + 20.0), "middle", "", &layout.x.label(tick));
            }
        }
        for (index, name) in layout.names.shown() {
            let place = (layout.x(index as f64), bottom + 20.0);
            let (anchor, style) = layout.names.style(place);
            text(out, place, anchor, &style, name);
        }
        let middle = f64::midpoint(LEFT, WIDTH - RIGHT);
        let below = bottom + layout.names.height() + 44.0;
        text(out, (middle, below), "middle", "", &self.x_label);
    }

    /// The units of an axis, each once.
    fn units(&self, is_right: bool) -> String {
        let mut units: Vec<&str> = Vec::new();
        for series in self.series.iter().filter(|series| series.is_right == is_right) {
            if !series.unit.is_empty() && !units.contains(&series.unit) {
                units.push(series.unit);
            }
        }
        units.join(", ")
    }

    fn draw_bars(&self, out: &mut String, layout: &Layout, index: usize) {
        let Some(series) = self.series.get(index) else { return };
        let slot = (WIDTH - LEFT - RIGHT) / self.categories.len() as f64;
        let width = (slot * 0.8 / self.series.len() as f64).min(60.0);
        let first = -width * self.series.len() as f64 / 2.0;
        for &(x, y) in &series.points {
            let left = layout.x(x) + first + width * index as f64;
            let (top, zero) = (layout.y(series, y.max(0.0)), layout.y(series, y.min(0.0)));
            let _ = writeln!(
                out,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
                 fill=\"{}\"><title>{}: {y}</title></rect>",
                width * 0.92,
                zero - top,
                colour(index),
                escape(&series.label()),
            );
        }
    }
}

impl Series {
    fn label(&self) -> String {
        let unit = if self.unit.is_empty() { String::new() } else { format!(", {}", self.unit) };
        let side = if self.is_right { " (right)" } else { "" };
        format!("{}{unit}{side}", self.name)
    }

    fn dash(&self) -> &'static str {
        if self.is_right { " stroke-dasharray=\"7 4\"" } else { "" }
    }
}

fn colour(index: usize) -> &'static str {
    COLOURS.get(index % COLOURS.len()).copied().unwrap_or("#000000")
}

// Writing into a string cannot fail, here and below.
fn line(out: &mut String, from: (f64, f64), to: (f64, f64), style: &str) {
    let ((x1, y1), (x2, y2)) = (from, to);
    let _ = writeln!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" {style}/>"
    );
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, style: &str, what: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{}</text>",
        escape(what)
    );
}

fn draw_mark(out: &mut String, layout: &Layout, value: f64) {
    let y = layout.top + (1.0 - layout.left.place(value)) * PLOT_HEIGHT;
    let style = "class=\"mark\" stroke=\"#000000\" stroke-width=\"1.5\"";
    line(out, (LEFT, y), (WIDTH - RIGHT, y), style);
    text(out, (WIDTH - RIGHT - 4.0, y - 5.0), "end", "font-weight=\"bold\"", &value.to_string());
}

/// A line through all points; each tells its values where a browser's pointer rests on it.
fn draw_line(out: &mut String, layout: &Layout, series: &Series, colour: &str) {
    let place = |&(x, y): &(f64, f64)| (layout.x(x), layout.y(series, y));
    let path: Vec<String> =
        series.points.iter().map(place).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let _ = writeln!(
        out,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{}/>",
        path.join(" "),
        series.dash()
    );
    if series.points.len() > DOTS_MAX {
        return;
    }
    for point in &series.points {
        let (x, y) = place(point);
        let _ = writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"><title>{}: {} at \
             {}</title></circle>",
            escape(&series.label()),
            point.1,
            point.0
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        Series { name: name.into(), unit: "ms", is_right: false, points: points.to_vec() }
    }

    fn chart(series: Vec<Series>) -> Chart {
        let (title, x_label) = ("T".into(), "players".into());
        Chart { title, x_label, categories: Vec::new(), is_x_log: false, mark: None, series }
    }

    /// Panics unless every tag is closed by its own name, every attribute is quoted and every
    /// ampersand begins an entity.
    fn check_well_formed(svg: &str) {
        let mut open: Vec<&str> = Vec::new();
        let mut rest = svg;
        while let Some((before, tag)) = rest.split_once('<') {
            let is_entity = |part: &str| {
                ["lt;", "gt;", "amp;", "quot;"].iter().any(|entity| part.starts_with(entity))
            };
            assert!(before.split('&').skip(1).all(is_entity), "{before}");
            assert!(!before.contains('>'), "{before}");
            let (tag, after) = tag.split_once('>').unwrap();
            assert!(!tag.contains('<') && tag.matches('"').count().is_multiple_of(2), "{tag}");
            let name = tag.trim_matches('/').split(' ').next().unwrap();
            if tag.starts_with('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(name);
            }
            rest = after;
        }
        assert!(open.is_empty(), "{open:?} stay open");
        assert_eq!(rest.trim(), "");
    }

    #[test]
    fn a_chart_is_well_formed_whatever_its_names_are() {
        let mut right = series("a<b & \"c\" \u{1}", &[(1.0, 2.0), (2.0, 1.0)]);
        right.is_right = true;
        let mut chart = chart(vec![series("</text><script>", &[(1.0, 3.0)]), right]);
        chart.title = "p99 < 20 % & \"more\"".into();
        chart.x_label = "<x>".into();
        check_well_formed(&chart.svg());
        assert!(chart.svg().contains("p99 &lt; 20 % &amp; &quot;more&quot;"));
        assert!(!chart.svg().contains("<script>") && !chart.svg().contains('\u{1}'));
        chart.categories = vec!["<one>".into(), "&two".into(), "three".into()];
        check_well_formed(&chart.svg());
        assert!(chart.svg().contains("&lt;one&gt;"));
    }

    #[test]
    fn a_series_on_the_right_is_dashed_and_has_an_axis_of_its_own() {
        let mut right = series("b", &[(1.0, 0.0), (2.0, 900.0)]);
        right.is_right = true;
        let svg = chart(vec![series("a", &[(1.0, 4.0), (2.0, 2.0)]), right]).svg();
        assert_eq!(svg.matches("stroke-dasharray").count(), 2, "line and legend: {svg}");
        let labels = |x: f64| -> Vec<&str> {
            let begin = format!("<text x=\"{x:.1}\"");
            let texts = svg.lines().filter(|line| line.starts_with(&begin));
            texts.map(|line| line.split(['<', '>']).nth(2).unwrap()).collect()
        };
        let right = labels(WIDTH - RIGHT + 8.0);
        assert_eq!(right, ["0", "200", "400", "600", "800", "1\u{202f}000"]);
        assert_eq!(labels(LEFT - 8.0), ["0", "1", "2", "3", "4"]);
    }

    #[test]
    fn what_an_axis_cannot_show_is_left_out() {
        let points = [(0.0, 1.0), (10.0, 1.0), (f64::NAN, 1.0), (100.0, f64::NAN)];
        let mut chart = chart(vec![series("a", &points)]);
        assert_eq!(chart.svg().matches("<circle").count(), 2);
        chart.is_x_log = true;
        assert_eq!(chart.svg().matches("<circle").count(), 1);
        assert!(!chart.svg().contains("NaN") && !chart.svg().contains("inf"));
    }

    #[test]
    fn lines_stay_inside_the_frame_and_follow_x() {
        let chart = chart(vec![series("a", &[(300.0, 7.0), (100.0, 1.0), (200.0, 99.0)])]);
        let svg = chart.svg();
        let (_, points) = svg.split_once("points=\"").unwrap();
        let (points, _) = points.split_once('"').unwrap();
        let points: Vec<(f64, f64)> = points
            .split(' ')
            .map(|point| point.split_once(',').unwrap())
            .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
            .collect();
        assert!(points.is_sorted_by(|a, b| a.0 < b.0), "{points:?}");
        let is_inside = |(x, y): &(f64, f64)| {
            (LEFT..=WIDTH - RIGHT).contains(x) && (TITLE_HEIGHT..=PLOT_HEIGHT + 120.0).contains(y)
        };
        assert!(points.iter().all(is_inside), "{points:?}");
        // The page grows downwards: the largest value is highest.
        assert!(points[1].1 < points[2].1 && points[2].1 < points[0].1);
    }

    #[test]
    fn a_long_legend_takes_more_rows_and_many_points_no_dots() {
        let many: Vec<(f64, f64)> = (0..200).map(|n| (f64::from(n), 1.0)).collect();
        let names: Vec<Series> = (0..12).map(|n| series(&format!("{n}-{n:->20}"), &many)).collect();
        let chart = chart(names);
        let rows = chart.legend().iter().map(|(_, y)| *y).fold(0.0, f64::max) / LEGEND_ROW;
        assert!(rows >= 2.0, "{:?}", chart.legend());
        let widest = WIDTH - LEFT - RIGHT;
        assert!(chart.legend().iter().all(|(x, _)| *x < widest));
        assert!(!chart.svg().contains("<circle"));
        check_well_formed(&chart.svg());
    }

    #[test]
    fn bars_of_a_group_stand_side_by_side_and_reach_zero() {
        let points = [(0.0, 4.0), (1.0, 2.0)];
        let mut chart = chart(vec![series("a", &points), series("b", &points)]);
        chart.categories = vec!["x".into(), "y".into()];
        let svg = chart.svg();
        let number = |bar: &str, name: &str| -> f64 {
            let (_, rest) = bar.split_once(&format!(" {name}=\"")).unwrap();
            rest.split('"').next().unwrap().parse().unwrap()
        };
        let bars: Vec<&str> = svg.split("<rect").filter(|bar| bar.contains("<title>")).collect();
        assert_eq!(bars.len(), 4);
        let at = |bar: &str| number(bar, "x");
        let (height, width) = (|bar: &str| number(bar, "height"), number(bars[0], "width"));
        assert!(at(bars[0]) + width <= at(bars[2]), "a and b do not overlap");
        assert!((height(bars[0]) - 2.0 * height(bars[1])).abs() < 0.2, "4 is twice 2");
    }
}
