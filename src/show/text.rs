//! A snapshot as tables that a person can read in a terminal, the worst first.

use std::fmt::{Display, Write};

use super::namespaces::{self, Diagnosed};
use super::table::Table;
use crate::findings::Finding;
use crate::model::figures::{between, endpoint, percent};
use crate::model::pool::Pool;
use crate::model::ports::PortRange;
use crate::model::process::RouteProcesses;
use crate::model::state::{State, StateCounts};
use crate::snapshot::{NamespaceSnapshot, Snapshot};
use crate::subjects::Facts;
use crate::subjects::cgroups::{Cgroups, Group};
use crate::subjects::peers::Peers;
use crate::subjects::ports::Ephemeral;
use crate::subjects::ports::capacity::Capacity;
use crate::subjects::ports::holder::Holder;
use crate::subjects::ports::source::Source;
use crate::subjects::section::Outcome;

/// Rows of one table; there is more in the JSON.
const ROWS: usize = 10;
/// Why cgroups are hidden.
const UNSEEN: &str = "Whose the sockets are cannot be told: the host's whole cgroup tree (version 2) is not mounted here. In a container, mount /sys/fs/cgroup of the host read-only.";
/// Columns of running text.
const WIDTH: usize = 100;

pub fn render(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for one in namespaces::in_full(snapshot) {
        // Writing to a String cannot fail.
        let _ = write_namespace(&mut text, &one);
    }
    let _ = write_others(&mut text, snapshot);
    text
}

/// The fullest of the namespaces beside the exporter's own, if there are any.
fn write_others(out: &mut String, snapshot: &Snapshot) -> std::fmt::Result {
    let (rows, all) = namespaces::fullest(snapshot);
    if all == 0 {
        return Ok(());
    }
    writeln!(out, "the fullest of {all} other network namespaces\n")?;
    let mut table = Table::new(&[
        "netns",
        "ports at most",
        "at the last dump",
        "toward",
        "conntrack",
    ]);
    let share = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
    for row in rows {
        let (ratio, conntrack) = (share(row.ratio), share(row.conntrack));
        let bound = percent(row.bound);
        table.row([&row.name, &bound, &ratio, &row.toward, &conntrack]);
    }
    table.write(out, "")
}

/// Collectors that failed, and why. `None` when nothing is missing.
pub fn missing(snapshot: &Snapshot) -> Option<String> {
    let told: Vec<_> = snapshot
        .namespaces
        .iter()
        .flat_map(|namespace| namespace.facts.failures())
        .map(|down| format!("{}: {}", down.collectors.join(", "), down.failure.message))
        .collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Who has the sockets of the worst destinations.
pub fn processes(found: &[RouteProcesses]) -> String {
    let mut table = Table::new(&["destination", "source", "sockets", "process", "command"]);
    for one in found {
        let route = &one.route;
        let to = endpoint(route.destination, route.port);
        let mut row = |sockets: u32, process: &dyn Display, command: &str| {
            table.row([&to, &route.source, &sockets, process, &command]);
        };
        for process in one.processes.iter().take(ROWS) {
            row(process.sockets, &process.pid, &process.command);
        }
        let others = [
            (one.closed, "none: closed, TIME_WAIT or orphaned"),
            (one.unseen, "of others: look as root"),
        ];
        for (sockets, whose) in others {
            if sockets > 0 {
                row(sockets, &whose, "");
            }
        }
    }
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = table.write(&mut text, "no destination, and so no process");
    text
}

fn write_namespace(out: &mut String, one: &Diagnosed) -> std::fmt::Result {
    let NamespaceSnapshot { name, facts, .. } = one.namespace;
    writeln!(out, "network namespace {name}\n")?;
    for down in facts.failures() {
        let collectors = down.collectors.join(", ");
        writeln!(out, "{collectors}: FAILED: {}", down.failure.message)?;
    }
    for collected in facts.outcomes() {
        // Of another it may be that it was not dumped.
        if one.is_own && collected.outcome == Outcome::Absent {
            let name = collected.collector;
            writeln!(out, "{name}: not offered by this kernel, or switched off")?;
        }
    }
    for finding in &one.findings {
        write_finding(out, finding)?;
    }
    let kernel = facts.kernel.measured();
    for untold in kernel.iter().flat_map(|kernel| kernel.untold()) {
        writeln!(out, "{untold}\n")?;
    }
    if one.findings.is_empty() {
        writeln!(out, "no findings\n")?;
    }
    if let Some(ports) = facts.ephemeral.measured() {
        write_ephemeral(out, ports)?;
    }
    write_limits(out, facts)?;
    write_sockets(out, facts)?;
    if let Some(cgroups) = facts.cgroups.measured() {
        write_cgroups(out, cgroups)?;
    }
    if let Some(peers) = facts.peers.measured() {
        write_peers(out, peers)?;
    }
    Ok(())
}

/// The finding, why, and what helps, wrapped for a terminal.
fn write_finding(out: &mut String, finding: &Finding) -> std::fmt::Result {
    let (severity, id) = (finding.severity.label(), finding.id);
    let title = format!("{severity} ({id}): {}", finding.what);
    write_wrapped(out, "", "    ", &title)?;
    for reason in &finding.because {
        write_wrapped(out, "    ", "    ", reason)?;
    }
    for advice in &finding.advice {
        write_wrapped(out, "    - ", "      ", &advice.what)?;
        if let Some(risk) = &advice.risk {
            write_wrapped(out, "      Risk: ", "      ", risk)?;
        }
    }
    writeln!(out)
}

fn write_wrapped(out: &mut String, first: &str, rest: &str, text: &str) -> std::fmt::Result {
    let (mut line, mut space) = (first.to_owned(), "");
    for word in text.split_whitespace() {
        let width = line.chars().count() + space.len() + word.chars().count();
        if !space.is_empty() && width > WIDTH {
            writeln!(out, "{line}")?;
            (line, space) = (rest.to_owned(), "");
        }
        line += space;
        line += word;
        space = " ";
    }
    writeln!(out, "{line}")
}

fn write_ephemeral(out: &mut String, ports: &Ephemeral) -> std::fmt::Result {
    let Capacity { reserved, held, .. } = ports.capacity;
    let range @ PortRange { first, last } = ports.capacity.settings.range;
    let (all, bind_first) = (range.size(), ports.capacity.bind_first);
    writeln!(
        out,
        "ephemeral ports {first}-{last}: {all} in all, {reserved} reserved, {held} held by listeners and bound sockets, {bind_first} bound first"
    )?;
    let mut table = Table::new(&[
        "destination",
        "source",
        "used",
        "reusable",
        "free",
        "share",
        "mostly",
        "held by",
    ]);
    for row in ports.destinations.worst_first().into_iter().take(ROWS) {
        let pool = ports.capacity.toward(row.blocked());
        table.row([
            &row.endpoint(),
            &row.source_label(),
            &row.used,
            &row.reusable,
            &between(ports.free_at_least_toward(row), ports.free_toward(row)),
            &percent(pool.share()),
            &main_state(&row.states),
            &row.holder.as_ref().map_or_else(String::new, Holder::short),
        ]);
    }
    table.write(out, "no outbound connections from a port in the range")?;
    let mut table = Table::new(&[
        "local address",
        "protocol",
        "ports held",
        "free for bind",
        "share",
    ]);
    for (protocol, rows, _) in ports.sources.by_protocol() {
        for Source { address, used } in rows {
            let pool = ports.capacity.on_address(*used);
            let address = address.map_or_else(|| "any (*)".to_owned(), |it| it.to_string());
            let (free, share) = (pool.free(), percent(pool.share()));
            table.row([&address, &protocol, used, &free, &share]);
        }
    }
    table.write(out, "no local address holds a port in the range")
}

fn write_limits(out: &mut String, facts: &Facts) -> std::fmt::Result {
    let mut table = Table::new(&["table", "now", "limit", "share"]);
    let mut limit = |name: &str, pool: Option<Pool>| {
        if let Some(pool) = pool {
            table.row([&name, &pool.used, &pool.capacity, &percent(pool.share())]);
        }
    };
    if let Some(conntrack) = facts.conntrack.measured() {
        limit("conntrack entries", conntrack.pool());
    }
    if let Some(tcp) = facts.tcp.measured() {
        let sockets = facts.sockets.measured();
        let time_wait = sockets.map(|sockets| sockets.in_state(State::TimeWait));
        limit("TIME_WAIT sockets", tcp.time_wait(time_wait));
        limit("orphaned sockets", tcp.orphans());
        limit("TCP memory, bytes", tcp.memory());
    }
    if let Some(listeners) = facts.listeners.measured() {
        let waiting = listeners.queues.iter().filter(|queue| queue.waiting > 0);
        for queue in waiting.take(ROWS) {
            let name = format!("accept queue {}", endpoint(queue.address, queue.port));
            limit(&name, Some(queue.pool()));
        }
    }
    table.write(out, "no limits are known")
}

fn write_sockets(out: &mut String, facts: &Facts) -> std::fmt::Result {
    let mut table = Table::new(&["TCP state", "outbound", "inbound"]);
    if let Some(sockets) = facts.sockets.measured() {
        let both = sockets.outbound.iter().zip(sockets.inbound.iter());
        for ((state, outbound), (_, inbound)) in both {
            if outbound + inbound > 0 {
                table.row([&state.label(), &outbound, &inbound]);
            }
        }
        table.write(out, "no TCP sockets")?;
    }
    if let Some(udp) = facts.udp.measured() {
        let mut all = udp.inet;
        all.merge(&udp.inet6);
        let (connected, not) = (all.connected, all.unconnected);
        writeln!(out, "UDP sockets: {connected} connected, {not} not\n")?;
    }
    Ok(())
}

fn write_cgroups(out: &mut String, cgroups: &Cgroups) -> std::fmt::Result {
    let mut table = Table::new(&["made by", "sockets", "ports in the range", "mostly"]);
    let mut row = |name: &str, group: &Group| {
        let (sockets, mostly) = (group.states.total(), main_state(&group.states));
        table.row([&name, &sockets, &group.ephemeral_ports_used, &mostly]);
    };
    for listed in cgroups.largest.iter().take(ROWS) {
        row(&listed.cgroup.name(), &listed.sockets);
    }
    let groups = [
        ("other cgroups", &cgroups.other),
        ("cgroups that are gone", &cgroups.gone),
        ("nobody any more (TIME_WAIT)", &cgroups.none),
    ];
    for (name, group) in groups {
        if group.states.total() > 0 {
            row(name, group);
        }
    }
    if cgroups.hidden.states.total() > 0 {
        write_wrapped(out, "", "", UNSEEN)?;
    }
    table.write(out, "no TCP socket has an owner that is known")
}

fn write_peers(out: &mut String, peers: &Peers) -> std::fmt::Result {
    for (title, side) in [
        ("peer connected to", &peers.outbound),
        ("peer connected from, to local port", &peers.inbound),
    ] {
        let mut table = Table::new(&[title, "port", "sockets", "mostly"]);
        for peer in side.peers.iter().take(ROWS) {
            let (sockets, mostly) = (peer.states.total(), main_state(&peer.states));
            table.row([&peer.address, &peer.port, &sockets, &mostly]);
        }
        let shown = side.peers.len().min(ROWS) as u32;
        let rest = side.distinct.saturating_sub(shown);
        table.write(out, &format!("nobody: {title}"))?;
        if rest > 0 {
            writeln!(out, "… and {rest} more\n")?;
        }
    }
    Ok(())
}

fn main_state(states: &StateCounts) -> &'static str {
    states.main().map_or("", State::label)
}
