//! The page for a person who looks at `/`: where to go on, and the worst
//! figures of the last snapshot.

use std::time::{Duration, SystemTime};

use super::html::{Cell, Html};
use crate::show::namespaces;
use crate::snapshot::{NamespaceSnapshot, Snapshot};
use crate::subjects::ports::holder::Holder;

/// How many rows a table has at most: a page to glance at.
const ROWS: usize = 10;

/// The style sheet is allowed by its hash; nothing else is loaded or run.
/// A changed sheet needs a new hash: a test compares them.
pub const SECURITY_POLICY: &str = "default-src 'none'; \
    style-src 'sha256-VPmT4E/Ne9z5SgIMGHHwJ7LKevIcANz0g1O7oO2iuFs='; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// System colours follow the reader's choice of light or dark.
const STYLE: &str = "\
:root{color-scheme:light dark}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
h1,h2{line-height:1.2}
nav a{margin-right:1rem;white-space:nowrap}
.scroll{overflow-x:auto;margin:1rem 0}
table{border-collapse:collapse}
caption{text-align:left;font-weight:bold;padding:.25rem 0}
th,td{text-align:left;padding:.25rem .75rem;border-bottom:1px solid GrayText;white-space:nowrap}
.number{text-align:right;font-variant-numeric:tabular-nums}
.finding{border-left:.25rem solid #d33;padding-left:1rem}
meter{width:4rem}
";

/// Beside the metrics, which may be elsewhere.
const LINKS: [(&str, &str); 3] = [
    ("/api/v1/snapshot", "Snapshot (JSON)"),
    ("/-/healthy", "Health"),
    ("/-/ready", "Readiness"),
];

/// What the page says.
pub struct Content<'c> {
    pub version: &'c str,
    pub revision: &'c str,
    pub telemetry_path: &'c str,
    pub snapshot: Option<&'c Snapshot>,
    /// Why there is no snapshot, when there is none.
    pub why_not: &'c str,
    pub now: SystemTime,
}

pub fn render(content: &Content) -> String {
    let mut html = Html::default();
    head(&mut html);
    html.raw("<h1>sockdiag-exporter</h1>\n");
    html.paragraph(format_args!(
        "Version {}, revision {}",
        content.version, content.revision
    ));
    html.raw("<nav>");
    let metrics = (content.telemetry_path, "Metrics");
    for (path, name) in std::iter::once(metrics).chain(LINKS) {
        html.raw("<a href=\"");
        html.text(path);
        html.raw("\">");
        html.raw(name);
        html.raw("</a> ");
    }
    html.raw("</nav>\n<main>\n");
    match content.snapshot {
        Some(snapshot) => figures(&mut html, snapshot, content.now),
        None => html.paragraph(format_args!("Nothing to show: {}.", content.why_not)),
    }
    html.raw("</main>\n</body>\n</html>\n");
    html.finish()
}

fn head(html: &mut Html) {
    html.raw("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    html.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    html.raw("<meta name=\"color-scheme\" content=\"light dark\">\n");
    // An icon of nothing keeps browsers from asking for /favicon.ico.
    html.raw("<link rel=\"icon\" href=\"data:,\">\n");
    html.raw("<title>sockdiag-exporter</title>\n<style>");
    html.raw(STYLE);
    html.raw("</style>\n</head>\n<body>\n");
}

fn figures(html: &mut Html, snapshot: &Snapshot, now: SystemTime) {
    let age = now.duration_since(snapshot.taken).unwrap_or_default();
    html.paragraph(format_args!(
        "Snapshot of {}, {:.0} s old; polled every {}.",
        // A clock that is yet to be set may say 1969, which cannot be written so.
        humantime::format_rfc3339_seconds(snapshot.taken.max(SystemTime::UNIX_EPOCH)),
        age.as_secs_f64(),
        humantime::format_duration(in_milliseconds(snapshot.interval)),
    ));
    for finding in findings(snapshot) {
        html.finding(&finding.title, &finding.lines);
    }
    let kernels = snapshot
        .namespaces
        .iter()
        .take(1)
        .filter_map(|namespace| namespace.facts.kernel.measured());
    for untold in kernels.flat_map(|kernel| kernel.untold()) {
        html.paragraph(format_args!("{untold}"));
    }
    others(html, snapshot);
    for namespace in namespaces::in_full(snapshot) {
        html.raw("<section>\n");
        html.heading(format_args!("Network namespace {}", namespace.name));
        utilization(html, namespace);
        destinations(html, namespace);
        conntrack(html, namespace);
        accept_queues(html, namespace);
        html.raw("</section>\n");
    }
}

/// An interval that was worked out has nanoseconds that nobody wants to read.
fn in_milliseconds(interval: Duration) -> Duration {
    Duration::from_millis(u64::try_from(interval.as_millis()).unwrap_or(u64::MAX))
}

/// The fullest of the namespaces beside the exporter's own, if there are any.
fn others(html: &mut Html, snapshot: &Snapshot) {
    let (rows, all) = namespaces::fullest(snapshot);
    if all == 0 {
        return;
    }
    let share = |share: Option<f64>| share.map_or(Cell::text("-"), Cell::Share);
    let rows: Vec<_> = rows
        .into_iter()
        .map(|row| {
            vec![
                Cell::text(row.name),
                Cell::Share(row.bound),
                share(row.ratio),
                Cell::text(row.toward),
                share(row.conntrack),
            ]
        })
        .collect();
    html.table(
        &format!("The fullest of {all} other network namespaces"),
        &[
            "Namespace",
            "Ports at most",
            "At the last dump",
            "Toward",
            "Conntrack",
        ],
        &rows,
    );
}

/// What a reader should know before the figures.
struct Finding {
    title: String,
    lines: Vec<String>,
}

/// Figures that are missing and why, then what is wrong, the worst first.
fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    snapshot
        .namespaces
        .iter()
        .enumerate()
        .flat_map(|(at, namespace)| {
            // Of the exporter's own it need not be said.
            let whose = match at {
                0 => String::new(),
                _ => format!("{}: ", namespace.name),
            };
            let findings = namespace.findings();
            let all = findings.iter().map(|finding| diagnosed(&whose, finding));
            let diagnosed: Vec<_> = all.collect();
            failures(namespace).into_iter().chain(diagnosed)
        })
        .collect()
}

fn failures(namespace: &NamespaceSnapshot) -> Option<Finding> {
    let lines: Vec<_> = namespace
        .facts
        .failures()
        .into_iter()
        .map(|down| format!("{}: {}", down.collectors.join(", "), down.failure.message))
        .collect();
    let title = format!("Failed collectors in network namespace {}", namespace.name);
    (!lines.is_empty()).then_some(Finding { title, lines })
}

fn diagnosed(whose: &str, finding: &crate::findings::Finding) -> Finding {
    let advice = finding.advice.iter().map(|advice| match &advice.risk {
        Some(risk) => format!("To do: {} Risk: {risk}", advice.what),
        None => format!("To do: {}", advice.what),
    });
    Finding {
        title: format!(
            "{}{} ({}): {}",
            whose,
            finding.severity.label(),
            finding.id,
            finding.what
        ),
        lines: finding.because.iter().cloned().chain(advice).collect(),
    }
}

fn utilization(html: &mut Html, namespace: &NamespaceSnapshot) {
    let Some(ephemeral) = namespace.facts.ephemeral.measured() else {
        return;
    };
    let (now, peak) = (ephemeral.utilization, ephemeral.peak);
    let row = |protocol, scope, now, peak| {
        vec![
            Cell::text(protocol),
            Cell::text(scope),
            Cell::Share(now),
            Cell::Share(peak),
        ]
    };
    let mut rows = vec![
        row(
            "tcp",
            "destination",
            now.tcp_destination,
            peak.tcp_destination,
        ),
        row("tcp", "source", now.tcp_source, peak.tcp_source),
    ];
    // Without a dump there is no figure, not one of zero.
    if ephemeral.sources.udp.is_some() {
        rows.push(row("udp", "source", now.udp_source, peak.udp_source));
    }
    html.table(
        "Ephemeral ports gone, worst of each",
        &["Protocol", "Scope", "Now", "Peak"],
        &rows,
    );
}

fn destinations(html: &mut Html, namespace: &NamespaceSnapshot) {
    let Some(ephemeral) = namespace.facts.ephemeral.measured() else {
        return;
    };
    let mut worst: Vec<_> = ephemeral.destinations.rows.iter().collect();
    worst.sort_by_key(|destination| std::cmp::Reverse(destination.blocked()));
    let rows: Vec<_> = worst
        .into_iter()
        .take(ROWS)
        .map(|destination| {
            let pool = ephemeral.capacity.toward(destination.blocked());
            vec![
                Cell::text(destination.source_label()),
                Cell::text(destination.destination),
                Cell::number(destination.port),
                Cell::number(destination.used),
                Cell::number(destination.reusable),
                Cell::number(pool.free()),
                Cell::Share(pool.share()),
                Cell::text(
                    destination
                        .holder
                        .as_ref()
                        .map_or_else(String::new, Holder::short),
                ),
            ]
        })
        .collect();
    if rows.is_empty() {
        return html.paragraph("No ephemeral port is used toward any destination.");
    }
    let available = ephemeral.capacity.available_destination;
    html.table(
        &format!("Worst destinations, of {available} ports each"),
        &[
            "Source",
            "Destination",
            "Port",
            "Used",
            "Reusable",
            "Free",
            "Gone",
            "Held by",
        ],
        &rows,
    );
}

fn conntrack(html: &mut Html, namespace: &NamespaceSnapshot) {
    let Some(table) = namespace.facts.conntrack.measured() else {
        return;
    };
    let (limit, gone) = match table.pool() {
        None => (Cell::text("none"), Cell::text("")),
        Some(pool) => (Cell::number(pool.capacity), Cell::Share(pool.share())),
    };
    let row = vec![Cell::number(table.entries), limit, gone];
    html.table("Connection tracking", &["Entries", "Limit", "Full"], &[row]);
}

fn accept_queues(html: &mut Html, namespace: &NamespaceSnapshot) {
    let Some(listeners) = namespace.facts.listeners.measured() else {
        return;
    };
    let rows: Vec<_> = listeners
        .queues
        .iter()
        .take(ROWS)
        .map(|queue| {
            vec![
                Cell::text(queue.address),
                Cell::number(queue.port),
                Cell::number(queue.waiting),
                Cell::number(queue.limit),
                Cell::Share(queue.pool().share()),
            ]
        })
        .collect();
    if !rows.is_empty() {
        let columns = ["Address", "Port", "Waiting", "Limit", "Full"];
        html.table("Fullest accept queues", &columns, &rows);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(taken: SystemTime, interval: Duration) -> String {
        let snapshot = Snapshot {
            taken,
            interval,
            namespaces: vec![NamespaceSnapshot::default()],
            skipped: Default::default(),
        };
        render(&Content {
            version: "1",
            telemetry_path: "/metrics",
            revision: "r",
            snapshot: Some(&snapshot),
            why_not: "",
            now: SystemTime::now(),
        })
    }

    #[test]
    fn a_clock_before_1970_and_a_short_interval_are_written() {
        let long_ago = SystemTime::UNIX_EPOCH - Duration::from_secs(60);
        let page = page(long_ago, Duration::from_micros(500_250));
        assert!(page.contains("Snapshot of 1970-01-01T00:00:00Z"), "{page}");
        assert!(page.contains("polled every 500ms."), "{page}");
    }
}
