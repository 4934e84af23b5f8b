//! The last ten minutes of a namespace: which lines stand in which plot.

use super::html::Html;
use super::plot::{Plot, PlotLine, Unit};
use crate::history::{self, History, Line, Lines, WORST, closing_most};
use crate::model::figures::endpoint;
use crate::snapshot::NamespaceSnapshot;

/// A line's place and name in a plot; those in the same place stand by how bad they were. None
/// where it is another plot's.
type Label = Option<(u8, String)>;
type Namer = fn(&Line) -> Label;

const PLOTS: [(&str, Unit, Namer); 5] = [
    (
        "Ephemeral ports gone, worst of each pool",
        Unit::Share,
        pool,
    ),
    ("Ports gone, worst destinations", Unit::Share, toward),
    (
        "Closes a second, most toward one destination",
        Unit::PerSecond,
        closes,
    ),
    ("Connection tracking table", Unit::Share, conntrack),
    ("Accept queues", Unit::Share, queue),
];

pub fn write(html: &mut Html, namespace: &NamespaceSnapshot, history: &History) {
    html.raw("<h3>The last ten minutes</h3>\n");
    let Some(past) = history.of(namespace) else {
        return html.paragraph(
            "Nothing is kept of it: only of the exporter's own namespace and of the fullest others.",
        );
    };
    let now = history::now(&namespace.facts);
    html.raw("<div class=\"plots\">\n");
    for (title, unit, label) in PLOTS {
        let lines = lines(&now, &past, label);
        if lines.is_empty() {
            continue;
        }
        let plot = Plot {
            of: namespace.name.clone(),
            title,
            unit,
            lines,
        };
        plot.write(html);
    }
    html.raw("</div>\n");
    let ports = namespace.facts.ephemeral.measured();
    let most = ports.and_then(closing_most);
    if let Some(row) = most.filter(|row| row.closes_per_second > 0.0) {
        html.paragraph(format_args!(
            "Most closes go toward {}.",
            history::Toward::from(row)
        ));
    }
}

/// Those that were worst within the ten minutes: what is over by now counts, too.
fn lines(now: &[(Line, f64)], past: &Lines, label: Namer) -> Vec<PlotLine> {
    let line = |(line, points): &(Line, Vec<history::Point>)| {
        let now = now.iter().find(|(other, _)| other == line);
        let (rank, label) = label(line)?;
        let line = PlotLine {
            label,
            now: now.map(|&(_, value)| value),
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

fn pool(line: &Line) -> Label {
    match line {
        Line::TcpDestination => Some((0, "TCP, one destination".to_owned())),
        Line::TcpSource => Some((1, "TCP, one source (bind first)".to_owned())),
        Line::UdpSource => Some((2, "UDP, one source".to_owned())),
        _ => None,
    }
}

fn toward(line: &Line) -> Label {
    match line {
        Line::Toward(toward) => Some((0, toward.to_string())),
        _ => None,
    }
}

fn closes(line: &Line) -> Label {
    match line {
        Line::Closes => Some((0, "closes".to_owned())),
        Line::Sustainable => Some((1, "sustainable".to_owned())),
        _ => None,
    }
}

fn conntrack(line: &Line) -> Label {
    (*line == Line::Conntrack).then(|| (0, "entries of the limit".to_owned()))
}

fn queue(line: &Line) -> Label {
    match *line {
        Line::Queue(address, port) => Some((0, endpoint(address, port))),
        _ => None,
    }
}
