//! The last ten minutes of a namespace: which lines stand in which plot.

use super::html::Html;
use super::plot::{Plot, PlotLine, Unit};
use crate::history::{self, History, Line, Lines, Now, Point, WORST, closing_most};
use crate::model::figures::endpoint;
use crate::snapshot::NamespaceSnapshot;

/// A plot's title, and what its figures are.
type Heading = (&'static str, Unit);

const POOLS: Heading = ("Ephemeral ports gone, worst of each pool", Unit::Share);
const DESTINATIONS: Heading = ("Ports gone, worst destinations", Unit::Share);
const CLOSES: Heading = (
    "Closes a second, most toward one destination",
    Unit::PerSecond,
);
const CONNTRACK: Heading = ("Connection tracking table", Unit::Share);
const QUEUES: Heading = ("Accept queues", Unit::Share);

/// The plot that a line stands in, its place there and its name. Those in the same place stand
/// by how bad they were.
fn place(line: &Line) -> (Heading, u8, String) {
    let (plot, rank, label) = match line {
        Line::TcpDestination => (POOLS, 0, "TCP, one destination"),
        Line::TcpSource => (POOLS, 1, "TCP, one source (bind first)"),
        Line::UdpSource => (POOLS, 2, "UDP, one source"),
        Line::Toward(toward) => return (DESTINATIONS, 0, toward.clone()),
        Line::Closes => (CLOSES, 0, "closes"),
        Line::Sustainable => (CLOSES, 1, "sustainable"),
        Line::Conntrack => (CONNTRACK, 0, "entries of the limit"),
        Line::Queue(address, port) => return (QUEUES, 0, endpoint(*address, *port)),
    };
    (plot, rank, label.to_owned())
}

pub fn write(html: &mut Html, namespace: &NamespaceSnapshot, history: &History) {
    html.raw("<h3>The last ten minutes</h3>\n");
    let Some(past) = history.of(namespace) else {
        return html.paragraph(
            "Nothing is kept of it: only of the exporter's own namespace and of the fullest others.",
        );
    };
    let now = history::now(&namespace.facts);
    html.raw("<div class=\"plots\">\n");
    for heading @ (title, unit) in [POOLS, DESTINATIONS, CLOSES, CONNTRACK, QUEUES] {
        let plot = Plot {
            of: namespace.name.clone(),
            title,
            unit,
            lines: lines(&now, &past, heading),
        };
        if !plot.lines.is_empty() {
            plot.write(html);
        }
    }
    html.raw("</div>\n");
    let ports = namespace.facts.ephemeral.measured();
    let most = ports.and_then(closing_most);
    if let Some(row) = most.filter(|row| row.closes_per_second > 0.0) {
        let toward = row.toward();
        html.paragraph(format_args!("Most closes go toward {toward}."));
    }
}

/// Those that were worst within the ten minutes: what is over by now counts, too.
fn lines(now: &[Now], past: &Lines, heading: Heading) -> Vec<PlotLine> {
    let line = |(line, points): &(Line, Vec<Point>)| {
        let (plot, rank, label) = place(line);
        if plot != heading {
            return None;
        }
        let now = now.iter().find(|now| now.line == *line);
        let line = PlotLine {
            label,
            now: now.map(|now| now.value),
            points: points.clone(),
        };
        Some((rank, line))
    };
    let mut lines: Vec<_> = past.iter().filter_map(line).collect();
    lines.sort_by(|(rank, a), (other, b)| {
        let highest = |line: &PlotLine| line.highest().unwrap_or_default();
        let worse = highest(b).total_cmp(&highest(a));
        rank.cmp(other)
            .then(worse)
            .then_with(|| a.label.cmp(&b.label))
    });
    lines.truncate(WORST);
    lines.into_iter().map(|(_, line)| line).collect()
}
