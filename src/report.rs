//! A snapshot as tables that a person can read in a terminal, the worst first.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::collectors::Facts;
use crate::collectors::ephemeral::Ephemeral;
use crate::collectors::section::Outcome;
use crate::diagnosis::{Finding, endpoint};
use crate::kernel::state::StateCounts;
use crate::snapshot::{NamespaceFacts, Snapshot};

/// Rows of one table; there is more in the JSON.
const ROWS: usize = 10;
/// Columns of running text.
const WIDTH: usize = 100;

pub fn text(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for namespace in &snapshot.namespaces {
        // Writing to a String cannot fail.
        let _ = write_namespace(&mut text, namespace);
    }
    text
}

/// Collectors that failed and why, each reason once: one dump feeds several of
/// them. `None` when nothing is missing.
pub fn missing(snapshot: &Snapshot) -> Option<String> {
    let mut reasons = BTreeMap::<_, Vec<_>>::new();
    for namespace in &snapshot.namespaces {
        for (collector, failure) in namespace.facts.failures() {
            reasons.entry(&failure.message).or_default().push(collector);
        }
    }
    let told: Vec<_> = reasons
        .into_iter()
        .map(|(reason, collectors)| format!("{}: {reason}", collectors.join(", ")))
        .collect();
    (!told.is_empty()).then(|| told.join("; "))
}

fn write_namespace(out: &mut String, namespace: &NamespaceFacts) -> std::fmt::Result {
    let NamespaceFacts {
        name,
        facts,
        findings,
        ..
    } = namespace;
    writeln!(out, "network namespace {name}\n")?;
    for (collector, outcome) in facts.outcomes() {
        match outcome {
            Outcome::Failed(failure) => writeln!(out, "{collector}: FAILED: {}", failure.message)?,
            Outcome::Absent => writeln!(out, "{collector}: not offered by this kernel")?,
            Outcome::Up => {}
        }
    }
    for finding in findings {
        write_finding(out, finding)?;
    }
    if findings.is_empty() {
        writeln!(out, "no findings\n")?;
    }
    if let Some(ports) = facts.ephemeral.measured() {
        write_ephemeral(out, ports)?;
    }
    write_limits(out, facts)?;
    write_sockets(out, facts)?;
    write_peers(out, facts)
}

/// The finding, why, and what helps, wrapped for a terminal.
fn write_finding(out: &mut String, finding: &Finding) -> std::fmt::Result {
    let title = format!(
        "{} ({}): {}",
        finding.severity.label(),
        finding.id,
        finding.what
    );
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
    let mut line = first.to_owned();
    let mut words = 0;
    for word in text.split_whitespace() {
        if words > 0 && line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{line}")?;
            line = rest.to_owned();
            words = 0;
        }
        if words > 0 {
            line.push(' ');
        }
        line.push_str(word);
        words += 1;
    }
    writeln!(out, "{line}")
}

fn write_ephemeral(out: &mut String, ports: &Ephemeral) -> std::fmt::Result {
    let range = ports.settings.range;
    writeln!(
        out,
        "ephemeral ports {}-{}: {} in all, {} reserved, {} held by listeners and bound sockets, {} bound first",
        range.first,
        range.last,
        range.size(),
        ports.reserved,
        ports.held,
        ports.bind_first
    )?;
    let mut table = Table::new(&[
        "destination",
        "source",
        "used",
        "reusable",
        "free",
        "share",
        "mostly",
    ]);
    let mut worst: Vec<_> = ports.destinations.iter().collect();
    worst.sort_by_key(|row| std::cmp::Reverse((row.blocked(), row.used)));
    for row in worst.into_iter().take(ROWS) {
        let share = match ports.available_destination {
            0 => 1.0,
            available => f64::from(row.blocked()) / f64::from(available),
        };
        table.row([
            endpoint(&row.destination.to_string(), row.port),
            row.source_label(),
            row.used.to_string(),
            row.reusable.to_string(),
            ports.free_toward(row).to_string(),
            percent(share),
            main_state(&row.states),
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
    let udp = ports
        .udp_sources
        .iter()
        .flatten()
        .map(|source| ("udp", source));
    for (protocol, source) in ports
        .tcp_sources
        .iter()
        .map(|source| ("tcp", source))
        .chain(udp)
    {
        let share = f64::from(source.used) / f64::from(ports.available_source.max(1));
        table.row([
            source
                .address
                .map_or_else(|| "any (*)".to_owned(), |address| address.to_string()),
            protocol.to_owned(),
            source.used.to_string(),
            ports
                .available_source
                .saturating_sub(source.used)
                .to_string(),
            percent(share),
        ]);
    }
    table.write(out, "no local address holds a port in the range")
}

fn write_limits(out: &mut String, facts: &Facts) -> std::fmt::Result {
    let mut table = Table::new(&["table", "now", "limit", "share"]);
    let mut limit = |name: &str, now: Option<u64>, limit: Option<u64>| {
        if let (Some(now), Some(limit)) = (now, limit) {
            let share = percent(now as f64 / limit.max(1) as f64);
            table.row([name.to_owned(), now.to_string(), limit.to_string(), share]);
        }
    };
    if let Some(conntrack) = facts.conntrack.measured() {
        // The kernel takes a limit of 0 for none.
        let entries_limit = Some(conntrack.limit).filter(|&limit| limit > 0);
        limit("conntrack entries", Some(conntrack.entries), entries_limit);
    }
    if let Some(tcp) = facts.tcp.measured() {
        let time_wait = facts.sockets.measured().map(|sockets| {
            let count = |counts: &StateCounts| counts.get(crate::kernel::state::State::TimeWait);
            u64::from(count(&sockets.inet)) + u64::from(count(&sockets.inet6))
        });
        limit("TIME_WAIT sockets", time_wait, tcp.time_wait_limit);
        limit("orphaned sockets", tcp.orphans, tcp.orphans_limit);
        limit(
            "TCP memory, bytes",
            tcp.memory_bytes,
            tcp.memory_limit_bytes.map(|limits| limits[2]),
        );
    }
    if let Some(listeners) = facts.listeners.measured() {
        for queue in listeners
            .queues
            .iter()
            .filter(|queue| queue.waiting > 0)
            .take(ROWS)
        {
            let name = format!(
                "accept queue {}",
                endpoint(&queue.address.to_string(), queue.port)
            );
            limit(&name, Some(queue.waiting.into()), Some(queue.limit.into()));
        }
    }
    table.write(out, "no limits are known")
}

fn write_sockets(out: &mut String, facts: &Facts) -> std::fmt::Result {
    let mut table = Table::new(&["TCP state", "outbound", "inbound"]);
    if let Some(sockets) = facts.sockets.measured() {
        for ((state, outbound), (_, inbound)) in sockets.outbound.iter().zip(sockets.inbound.iter())
        {
            if outbound + inbound > 0 {
                table.row([
                    state.label().to_owned(),
                    outbound.to_string(),
                    inbound.to_string(),
                ]);
            }
        }
        table.write(out, "no TCP sockets")?;
    }
    if let Some(udp) = facts.udp.measured() {
        let sum =
            |each: fn(&crate::tally::udp::UdpCounts) -> u32| each(&udp.inet) + each(&udp.inet6);
        writeln!(
            out,
            "UDP sockets: {} connected, {} not\n",
            sum(|c| c.connected),
            sum(|c| c.unconnected)
        )?;
    }
    Ok(())
}

fn write_peers(out: &mut String, facts: &Facts) -> std::fmt::Result {
    let Some(peers) = facts.peers.measured() else {
        return Ok(());
    };
    for (title, side) in [
        ("peer connected to", &peers.outbound),
        ("peer connected from, to local port", &peers.inbound),
    ] {
        let mut table = Table::new(&[title, "port", "sockets", "mostly"]);
        for peer in side.peers.iter().take(ROWS) {
            table.row([
                peer.address.to_string(),
                peer.port.to_string(),
                peer.states.total().to_string(),
                main_state(&peer.states),
            ]);
        }
        let rest = side
            .distinct
            .saturating_sub(side.peers.len().min(ROWS) as u32);
        table.write(out, &format!("nobody: {title}"))?;
        if rest > 0 {
            writeln!(out, "… and {rest} more\n")?;
        }
    }
    Ok(())
}

fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

fn main_state(states: &StateCounts) -> String {
    states
        .main()
        .map_or_else(String::new, |state| state.label().to_owned())
}

/// Columns as wide as their longest cell; numbers stand right.
struct Table<const N: usize> {
    rows: Vec<[String; N]>,
}

impl<const N: usize> Table<N> {
    fn new(head: &[&str; N]) -> Self {
        Self {
            rows: vec![head.map(str::to_owned)],
        }
    }

    fn row(&mut self, row: [String; N]) {
        self.rows.push(row);
    }

    fn write(&self, out: &mut String, none: &str) -> std::fmt::Result {
        if self.rows.len() == 1 {
            return writeln!(out, "{none}\n");
        }
        let width = |column: usize| {
            self.rows
                .iter()
                .map(|row| row[column].chars().count())
                .max()
        };
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                let width = width(column).unwrap_or(0);
                if column > 0
                    && cell.starts_with(|c: char| c.is_ascii_digit())
                    && !cell.contains([':', '-'])
                    && cell.matches('.').count() < 2
                {
                    write!(line, "{cell:>width$}  ")?;
                } else {
                    write!(line, "{cell:<width$}  ")?;
                }
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        writeln!(out)
    }
}
