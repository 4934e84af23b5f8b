//! Lines over the last ten minutes as SVG, with their figures in words beside them.

use std::fmt::Write;

use super::html::{Html, id};
use crate::history::{Point, WINDOW};
use crate::model::figures::{percent, rate};

/// Of the whole picture, in its own units; the lines leave room for what is written.
const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 120.0;
const LEFT: f64 = 38.0;
const RIGHT: f64 = 314.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 102.0;
/// What is written there: by which end it is placed, where, what.
const TEXT: &str = "<text text-anchor=\"{}\" x=\"{}\" y=\"{}\">{}</text>\n";

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// 0 to 1.
    Share,
    PerSecond,
}

pub struct PlotLine {
    pub label: String,
    /// The last figure; none where it is not measured any more.
    pub now: Option<f64>,
    /// The oldest first.
    pub points: Vec<Point>,
}

pub struct Plot {
    /// What tells it from the same plot of other namespaces.
    pub of: String,
    pub title: &'static str,
    pub unit: Unit,
    pub lines: Vec<PlotLine>,
}

impl Unit {
    fn write(self, value: f64) -> String {
        match self {
            Self::Share => percent(value),
            Self::PerSecond => format!("{}/s", rate(value)),
        }
    }
}

impl PlotLine {
    /// None where nothing is known.
    pub fn highest(&self) -> Option<f64> {
        let values = self.points.iter().filter_map(|point| point.value);
        let values = values.chain(self.now).filter(|value| value.is_finite());
        values.reduce(f64::max)
    }

    fn figures(&self, unit: Unit) -> String {
        let now = match self.now {
            Some(now) if now.is_finite() => format!("{} now", unit.write(now)),
            _ => "no figure now".to_owned(),
        };
        match self.highest() {
            Some(highest) => format!("{now}, {} at most", unit.write(highest)),
            None => now,
        }
    }
}

impl Plot {
    pub fn write(&self, html: &mut Html) {
        let id = id("plot", (&self.of, self.title));
        html.fill(
            "<figure class=\"plot\" id=\"{}\">\n<figcaption>{}</figcaption>\n<svg role=\"img\" viewBox=\"0 0 {} {}\" aria-label=\"{}\">\n",
            &[&id, &self.title, &WIDTH, &HEIGHT, &self.in_words()],
        );
        let top = match self.unit {
            Unit::Share => 1.0,
            Unit::PerSecond => {
                let highest = self.lines.iter().filter_map(PlotLine::highest);
                round_up(highest.fold(0.0, f64::max))
            }
        };
        self.grid(html, top);
        for (at, line) in self.lines.iter().enumerate() {
            let path = path(&line.points, line.now, top);
            html.fill("<path class=\"line line-{}\" d=\"{}\"/>\n", &[&at, &path]);
        }
        html.raw("</svg>\n<ul class=\"legend\">\n");
        for (at, line) in self.lines.iter().enumerate() {
            html.fill(
                "<li><svg class=\"key\" aria-hidden=\"true\" viewBox=\"0 0 24 8\"><path d=\"M1 4H23\" class=\"line line-{}\"/></svg> {}: {}</li>\n",
                &[&at, &line.label, &line.figures(self.unit)],
            );
        }
        html.raw("</ul>\n</figure>\n");
    }

    /// For those who do not see it.
    fn in_words(&self) -> String {
        let mut words = format!("{}, the last ten minutes.", self.title);
        for line in &self.lines {
            let _ = write!(words, " {}: {}.", line.label, line.figures(self.unit));
        }
        words
    }

    /// `top` is what the upper end stands for.
    fn grid(&self, html: &mut Html, top: f64) {
        for (value, class) in [(0.0, "axis"), (top / 2.0, "grid"), (top, "grid")] {
            let y = height(value, top);
            let stroke = format_args!("M{LEFT} {y:.1}H{RIGHT}");
            html.fill("<path class=\"{}\" d=\"{}\"/>", &[&class, &stroke]);
            let text = match self.unit {
                Unit::Share => format!("{:.0}%", value * 100.0),
                Unit::PerSecond => value.to_string(),
            };
            let y = format_args!("{:.1}", y + 3.5);
            html.fill(TEXT, &[&"end", &(LEFT - 4.0), &y, &text]);
        }
        let times = [
            (LEFT, "start", "10 min ago"),
            ((LEFT + RIGHT) / 2.0, "middle", "5 min ago"),
            (RIGHT, "end", "now"),
        ];
        for (x, anchor, text) in times {
            html.fill(TEXT, &[&anchor, &x, &(HEIGHT - 5.0), &text]);
        }
    }
}

/// 1, 2 or 5 times a power of ten, so that half of it reads well, too.
fn round_up(value: f64) -> f64 {
    let mut power = 1.0;
    while power * 10.0 < value && power < 1e12 {
        power *= 10.0;
    }
    let mut steps = [1.0, 2.0, 5.0].map(|step| step * power).into_iter();
    let step = steps.find(|&step| step >= value);
    step.unwrap_or(power * 10.0)
}

fn height(value: f64, top: f64) -> f64 {
    BOTTOM - (value / top).clamp(0.0, 1.0) * (BOTTOM - TOP)
}

/// Strokes through the points that follow one another, and then to the figure of now. One that
/// stands alone is a dot.
fn path(points: &[Point], now: Option<f64>, top: f64) -> String {
    let mut path = String::new();
    let mut is_drawing = false;
    let mut go = |x: f64, value: f64, follows: bool| {
        let (command, dot) = if follows { ('L', "") } else { ('M', "h0") };
        // Writing to a String cannot fail.
        let _ = write!(path, "{command}{x:.1} {:.1}{dot}", height(value, top));
    };
    for point in points {
        let value = point.value.filter(|value| value.is_finite());
        if let Some(value) = value {
            let age = point.age.as_secs_f64() / WINDOW.as_secs_f64();
            let x = RIGHT - age.min(1.0) * (RIGHT - LEFT);
            go(x, value, is_drawing && point.follows);
        }
        is_drawing = value.is_some();
    }
    if let Some(now) = now.filter(|now| now.is_finite()) {
        go(RIGHT, now, is_drawing);
    }
    path
}

#[cfg(test)]
mod tests;
