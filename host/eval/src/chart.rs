//! Line charts as SVG, for a page that loads nothing.

use std::fmt::Write;

use crate::page::escaped;

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 16.0;
const BOTTOM: f64 = 46.0;
/// Between the marks of series that share a place.
const DODGE: f64 = 5.0;

/// Lines over named places, each point with a bar from `low` to `high`.
pub(crate) struct Chart<'a> {
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    /// The places, left to right.
    pub(crate) places: Vec<String>,
    pub(crate) series: Vec<Series>,
    pub(crate) scale: Scale,
}

pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<Point>,
}

pub(crate) struct Point {
    /// Which of the places.
    pub(crate) place: usize,
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Scale {
    Linear,
    /// Of values above 0.
    Logarithmic,
}

/// The vertical axis: what it spans, and where it is marked.
struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    marks: Vec<f64>,
}

impl Axis {
    fn of(chart: &Chart) -> Axis {
        let points = || chart.series.iter().flat_map(|series| &series.points);
        let low = points().map(|p| p.low).fold(f64::INFINITY, f64::min);
        let high = points().map(|p| p.high).fold(f64::NEG_INFINITY, f64::max);
        match chart.scale {
            _ if low > high => Axis::linear(0.0, 1.0),
            Scale::Linear => Axis::linear(low, high),
            Scale::Logarithmic => Axis::logarithmic(low, high),
        }
    }

    /// Marks at multiples of 1, 2 or 5 times a power of ten, four to nine of them.
    fn linear(low: f64, high: f64) -> Axis {
        let span = (high - low).max(1e-3);
        let power = 10f64.powf((span / 4.0).log10().floor());
        let steps = [1.0, 2.0, 5.0].map(|step| step * power);
        let step = steps.into_iter().rfind(|step| span / step >= 4.0).unwrap_or(power);
        let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
        let marks: Vec<f64> = (first..=last.max(first + 1)).map(|n| n as f64 * step).collect();
        let (low, high) = (marks[0], marks[marks.len() - 1]);
        Axis { scale: Scale::Linear, low, high, marks }
    }

    /// Marks at the powers of ten, from below the least value to above the greatest.
    fn logarithmic(low: f64, high: f64) -> Axis {
        let (low, high) =
            (low.max(1e-3).log10().floor() as i32, high.max(1e-3).log10().ceil() as i32);
        let marks: Vec<f64> = (low..=high.max(low + 1)).map(|n| 10f64.powi(n)).collect();
        let (low, high) = (marks[0], marks[marks.len() - 1]);
        Axis { scale: Scale::Logarithmic, low, high, marks }
    }

    fn at(&self, value: f64) -> f64 {
        let place = |v: f64| match self.scale {
            Scale::Linear => v,
            Scale::Logarithmic => v.max(1e-3).log10(),
        };
        let share = (place(value) - place(self.low)) / (place(self.high) - place(self.low));
        HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)
    }
}

impl Chart<'_> {
    /// The chart as one `svg` element.
    pub(crate) fn svg(&self) -> String {
        let axis = Axis::of(self);
        let mut out = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{} by {}\">",
            escaped(self.y),
            escaped(self.x)
        );
        self.draw_axes(&axis, &mut out);
        for (number, series) in self.series.iter().enumerate() {
            self.draw_series(&axis, number, series, &mut out);
        }
        self.draw_legend(&mut out);
        out + "</svg>"
    }

    fn place(&self, place: usize) -> f64 {
        let width = (WIDTH - LEFT - RIGHT) / self.places.len().max(1) as f64;
        LEFT + (place as f64 + 0.5) * width
    }

    fn draw_axes(&self, axis: &Axis, out: &mut String) {
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for &mark in &axis.marks {
            let y = axis.at(mark);
            let _ = write!(
                out,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                number(mark)
            );
        }
        for (place, name) in self.places.iter().enumerate() {
            let _ = write!(
                out,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                self.place(place),
                bottom + 18.0,
                escaped(name)
            );
        }
        let _ = write!(
            out,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text class=\"label\" transform=\"translate(14 {:.1}) rotate(-90)\" \
             text-anchor=\"middle\">{}</text>",
            (LEFT + right) / 2.0,
            HEIGHT - 8.0,
            escaped(self.x),
            (TOP + bottom) / 2.0,
            escaped(self.y)
        );
    }

    fn draw_series(&self, axis: &Axis, number: usize, series: &Series, out: &mut String) {
        let shift = (number as f64 - (self.series.len() as f64 - 1.0) / 2.0) * DODGE;
        let x = |point: &Point| self.place(point.place) + shift;
        let _ = write!(out, "<g class=\"s{}\">", number % COLOURS);
        let line: Vec<String> =
            series.points.iter().map(|p| format!("{:.1},{:.1}", x(p), axis.at(p.value))).collect();
        let _ = write!(out, "<polyline points=\"{}\"/>", line.join(" "));
        for point in &series.points {
            let (x, low, high) = (x(point), axis.at(point.low), axis.at(point.high));
            if point.low < point.high {
                let _ = write!(
                    out,
                    "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{low:.1}\" y2=\"{high:.1}\"/>"
                );
            }
            let _ = write!(
                out,
                "<circle cx=\"{x:.1}\" cy=\"{:.1}\" r=\"3.5\"><title>{}, {}: {}{}</title></circle>",
                axis.at(point.value),
                escaped(&series.name),
                escaped(self.places.get(point.place).map_or("", String::as_str)),
                shown(point.value),
                match point.low < point.high {
                    true => format!(" ({} to {})", shown(point.low), shown(point.high)),
                    false => String::new(),
                }
            );
        }
        out.push_str("</g>");
    }

    fn draw_legend(&self, out: &mut String) {
        let x = WIDTH - RIGHT + 14.0;
        for (number, series) in self.series.iter().enumerate() {
            let y = TOP + 14.0 + 20.0 * number as f64;
            let _ = write!(
                out,
                "<g class=\"s{}\"><circle cx=\"{x}\" cy=\"{:.1}\" r=\"4\"/></g>\
                 <text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
                number % COLOURS,
                y - 4.0,
                x + 10.0,
                escaped(&series.name)
            );
        }
    }
}

/// Colours that the style sheet has.
const COLOURS: usize = 6;

/// A mark, as short as it is exact.
fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A value with as many digits as its size makes worth reading.
fn shown(value: f64) -> String {
    if value.abs() < 1.0 { format!("{value:.4}") } else { format!("{value:.1}") }
}
