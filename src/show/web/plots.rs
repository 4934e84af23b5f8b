//! The last ten minutes of a namespace: which lines stand in which plot.

use super::html::Html;
use super::plot::{Plot, PlotLine, Unit};
use crate::history::{self, History, Line, Lines, WORST, closing_most};
use crate::model::figures::endpoint;
use crate::snapshot::NamespaceSnapshot;

/// A line's name in this plot; none where it stands in another.
type Label = fn(&Line) -> Option<String>;

const PLOTS: [(&str, Unit, Label); 5] = [
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
    html.raw("<div class=\"plots\">\n");
    for (title, unit, label) in PLOTS {
        let lines = lines(namespace, &past, label);
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
    let most = ports.and_then(|ports| Some((closing_most(ports)?, ports)));
    if let Some((row, _)) = most.filter(|(row, _)| row.closes_per_second > 0.0) {
        html.paragraph(format_args!(
            "Most closes go toward {}.",
            history::Toward::from(row)
        ));
    }
}

/// Those that were worst within the ten minutes: what is over by now counts, too.
fn lines(namespace: &NamespaceSnapshot, past: &Lines, label: Label) -> Vec<PlotLine> {
    let now = history::now(&namespace.facts);
    let line = |(line, points): &(Line, Vec<history::Point>)| {
        let now = now.iter().find(|(other, _)| other == line);
        Some(PlotLine {
            label: label(line)?,
            now: now.map(|&(_, value)| value),
            points: points.clone(),
        })
    };
    let mut lines: Vec<_> = past.iter().filter_map(line).collect();
    lines.sort_by(|a, b| {
        let highest = |line: &PlotLine| line.highest().unwrap_or_default();
        (highest(b).total_cmp(&highest(a))).then_with(|| a.label.cmp(&b.label))
    });
    lines.truncate(WORST);
    lines
}

fn pool(line: &Line) -> Option<String> {
    let label = match line {
        Line::TcpDestination => "TCP, one destination",
        Line::TcpSource => "TCP, one source (bind first)",
        Line::UdpSource => "UDP, one source",
        _ => return None,
    };
    Some(label.to_owned())
}

fn toward(line: &Line) -> Option<String> {
    match line {
        Line::Toward(toward) => Some(toward.to_string()),
        _ => None,
    }
}

fn closes(line: &Line) -> Option<String> {
    match line {
        Line::Closes => Some("closes".to_owned()),
        Line::Sustainable => Some("sustainable".to_owned()),
        _ => None,
    }
}

fn conntrack(line: &Line) -> Option<String> {
    (*line == Line::Conntrack).then(|| "entries of the limit".to_owned())
}

fn queue(line: &Line) -> Option<String> {
    match *line {
        Line::Queue(address, port) => Some(endpoint(address, port)),
        _ => None,
    }
}
