//! The worst figures of a namespace, as tables. How bad a figure is the findings say.

use super::html::Html;
use super::table::{Cell, Table};
use crate::findings::{self, FindingId};
use crate::model::figures::{between, grouped, rate};
use crate::show::namespaces::{self, Diagnosed};
use crate::snapshot::Snapshot;
use crate::subjects::ports::Ephemeral;
use crate::subjects::ports::destination::Destination;
use crate::subjects::ports::holder::Holder;

/// How many rows a table has at most: a page to glance at.
const ROWS: usize = 10;

pub fn write(html: &mut Html, one: &Diagnosed) {
    for table in [utilization, destinations, conntrack, accept_queues] {
        if let Some(table) = table(one) {
            table.write(html);
        }
    }
}

/// The fullest of the namespaces beside the exporter's own, if there are any.
pub fn others(html: &mut Html, snapshot: &Snapshot) {
    let (rows, all) = namespaces::fullest(snapshot);
    let all = grouped(all as u64);
    let share =
        |share: Option<f64>, severity| share.map_or(Cell::Unknown, |s| Cell::Share(s, severity));
    let rows = rows.into_iter().map(|row| {
        let ports = findings::destination_severity(&row.findings);
        let table = findings::severity(&row.findings, FindingId::ConntrackNearFull, None);
        vec![
            Cell::Link(link(row.name), row.name.to_owned()),
            Cell::Share(row.bound, None),
            share(row.ratio, ports),
            Cell::text(row.toward),
            share(row.conntrack, table),
        ]
    });
    let table = Table {
        of: "",
        caption: format!("The fullest of {all} other network namespaces"),
        columns: &[
            "Namespace",
            "Ports at most",
            "At the last dump",
            "Toward",
            "Conntrack",
        ],
        rows: rows.collect(),
        none: "",
    };
    table.write(html);
}

/// The page of one namespace.
fn link(name: &str) -> String {
    let name: String = form_urlencoded::byte_serialize(name.as_bytes()).collect();
    format!("/?netns={name}")
}

fn utilization<'s>(one: &'s Diagnosed) -> Option<Table<'s>> {
    let ephemeral = one.namespace.facts.ephemeral.measured()?;
    let (now, peak) = (ephemeral.utilization, ephemeral.peak);
    let severities = [
        findings::destination_severity(&one.findings),
        one.severity(FindingId::EphemeralSource, None),
        one.severity(FindingId::EphemeralUdp, None),
    ];
    let rows = now.scopes().into_iter().zip(peak.scopes()).zip(severities);
    let rows = rows
        // Without a dump there is no figure, not one of zero.
        .filter(|(((protocol, ..), _), _)| *protocol == "tcp" || ephemeral.sources.udp.is_some())
        .map(|(((protocol, scope, now), (.., peak)), severity)| {
            vec![
                Cell::text(protocol),
                Cell::text(scope),
                Cell::Share(now, severity),
                Cell::Share(peak, None),
            ]
        });
    Some(Table {
        of: &one.namespace.name,
        caption: "Ephemeral ports gone, worst of each".to_owned(),
        columns: &["Protocol", "Scope", "Now", "Peak"],
        rows: rows.collect(),
        none: "",
    })
}

fn destinations<'s>(one: &'s Diagnosed) -> Option<Table<'s>> {
    let ephemeral = one.namespace.facts.ephemeral.measured()?;
    let worst = ephemeral.destinations.worst_first().into_iter().take(ROWS);
    let available = ephemeral.capacity.available_destination;
    Some(Table {
        of: &one.namespace.name,
        caption: format!("Worst destinations, of {} ports each", grouped(available)),
        columns: &[
            "Source",
            "Destination",
            "Port",
            "Used",
            "Reusable",
            "Free",
            "Gone",
            "Closes/s",
            "Held by",
        ],
        rows: worst.map(|row| destination(one, ephemeral, row)).collect(),
        none: "<p>No ephemeral port is used toward any destination.</p>\n",
    })
}

fn destination(one: &Diagnosed, ephemeral: &Ephemeral, row: &Destination) -> Vec<Cell> {
    let pool = ephemeral.capacity.toward(row.blocked());
    let least = ephemeral.free_at_least_toward(row);
    let most = ephemeral.free_toward(row);
    let free = match least < most {
        true => between(least, most),
        false => grouped(most),
    };
    let subject = row.toward();
    let severity = one.severity(FindingId::EphemeralDestination, Some(&subject));
    let holder = row.holder.as_ref().map_or_else(String::new, Holder::short);
    vec![
        Cell::text(row.source_label()),
        Cell::text(row.destination),
        Cell::port(row.port),
        Cell::number(row.used),
        Cell::number(row.reusable),
        Cell::Number(free, most.into()),
        Cell::Share(pool.share(), severity),
        Cell::Number(rate(row.closes_per_second), row.closes_per_second),
        Cell::text(holder),
    ]
}

fn conntrack<'s>(one: &'s Diagnosed) -> Option<Table<'s>> {
    let found = one.namespace.facts.conntrack.measured()?;
    let severity = one.severity(FindingId::ConntrackNearFull, None);
    let (limit, gone) = match found.pool() {
        None => (Cell::text("none"), Cell::Unknown),
        Some(pool) => (
            Cell::number(pool.capacity),
            Cell::Share(pool.share(), severity),
        ),
    };
    Some(Table {
        of: &one.namespace.name,
        caption: "Connection tracking".to_owned(),
        columns: &["Entries", "Limit", "Full"],
        rows: vec![vec![Cell::number(found.entries), limit, gone]],
        none: "",
    })
}

fn accept_queues<'s>(one: &'s Diagnosed) -> Option<Table<'s>> {
    let listeners = one.namespace.facts.listeners.measured()?;
    let rows = listeners.queues.iter().take(ROWS).map(|queue| {
        let subject = findings::queue_subject(queue);
        let severity = one.severity(FindingId::AcceptQueue, Some(&subject));
        vec![
            Cell::text(queue.address),
            Cell::port(queue.port),
            Cell::number(queue.waiting),
            Cell::number(queue.limit),
            Cell::Share(queue.pool().share(), severity),
        ]
    });
    Some(Table {
        of: &one.namespace.name,
        caption: "Fullest accept queues".to_owned(),
        columns: &["Address", "Port", "Waiting", "Limit", "Full"],
        rows: rows.collect(),
        none: "",
    })
}
