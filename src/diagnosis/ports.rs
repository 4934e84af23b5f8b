//! Findings about ephemeral ports: destinations, local addresses, UDP, and a
//! rate of closes that cannot go on.

use super::growth::{self, History};
use super::{Advice, Finding, PortFigures, Severity, about, endpoint, grouped, percent};
use crate::collectors::Facts;
use crate::collectors::ephemeral::{Destination, Ephemeral, Source};
use crate::kernel::state::{State, StateCounts};
use crate::tally::Reuse;

pub(super) fn findings(facts: &Facts, history: &History) -> Vec<Finding> {
    let Some(ports) = facts.ephemeral.measured() else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for row in &ports.destinations {
        findings.extend(destination(ports, row, history));
        findings.extend(closes(ports, row));
    }
    if programs_bind_first(ports) {
        let id = "ephemeral-source";
        findings.extend(worst_source(id, "tcp", ports, &ports.tcp_sources, history));
    }
    if let Some(sources) = &ports.udp_sources {
        findings.extend(worst_source(
            "ephemeral-udp",
            "udp",
            ports,
            sources,
            history,
        ));
    }
    findings
}

/// Without any, a full address is no trouble: connect() shares its ports.
fn programs_bind_first(ports: &Ephemeral) -> bool {
    ports.bind_first > 0 || ports.bind_first_ambiguous > 0
}

fn figures(ports: &Ephemeral, row: &Destination) -> PortFigures {
    PortFigures {
        used: row.used,
        reusable: row.reusable,
        available: ports.available_destination,
        free: ports.free_toward(row),
        closes_per_second: row.closes_per_second,
        sustainable_per_second: ports.sustainable(),
    }
}

/// Toward whom, from where.
fn subject(row: &Destination) -> String {
    let to = endpoint(&row.destination.to_string(), row.port);
    format!("{to} from {}", row.source_label())
}

fn share(blocked: u32, available: u32) -> f64 {
    if available == 0 {
        1.0
    } else {
        f64::from(blocked) / f64::from(available)
    }
}

fn destination(ports: &Ephemeral, row: &Destination, history: &History) -> Option<Finding> {
    let share = share(row.blocked(), ports.available_destination).min(1.0);
    let severity = Severity::of_share(share)?;
    let numbers = figures(ports, row);
    let name = growth::destination(&row.source_label(), &row.destination.to_string(), row.port);
    let exhausted_in = history
        .growth(&name, row.blocked().into())
        .and_then(|growth| growth.exhausts(numbers.free.into()))
        .filter(|_| numbers.free > 0);
    let mut because = vec![holders(&row.states)];
    because.push(
        "Only this pair of addresses is short of ports; connections to other destinations go on."
            .to_owned(),
    );
    if let Some(time) = exhausted_in {
        because.push(format!(
            "At the growth of the last minutes the rest is gone {}.",
            about(time)
        ));
    }
    if ports.bind_first_ambiguous > 0 {
        because.push(format!(
            "Up to {} ports may have been made by bind() and be lost to connect(): the truth lies between {} and {} free.",
            grouped(ports.bind_first_ambiguous),
            grouped(numbers.free.saturating_sub(ports.bind_first_ambiguous)),
            grouped(numbers.free)
        ));
    }
    Some(Finding {
        id: "ephemeral-destination",
        severity,
        subject: subject(row),
        what: format!(
            "{} of {} ports toward {} are gone ({}): {} more connect() calls succeed, then EADDRNOTAVAIL.",
            grouped(row.blocked()),
            grouped(ports.available_destination),
            subject(row),
            percent(share),
            grouped(numbers.free)
        ),
        because,
        advice: destination_advice(ports, row),
        ports: Some(numbers),
        exhausted_in,
        share,
    })
}

/// Which states hold the ports, and what the main one means.
fn holders(states: &StateCounts) -> String {
    let mut rows: Vec<_> = states.iter().filter(|&(_, count)| count > 0).collect();
    rows.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let list: Vec<_> = rows
        .iter()
        .map(|(state, count)| format!("{} {}", grouped(*count), state.label()))
        .collect();
    let meaning = match states.main() {
        Some(State::TimeWait) => "this side closes first, and each close keeps its port for 60 s",
        Some(State::Established) => {
            "connections are opened and kept, one for each use: no pooling, or a leak"
        }
        Some(State::CloseWait) => {
            "the peer has closed and the program here does not: its sockets leak"
        }
        Some(State::SynSent) => "the peer does not answer",
        Some(State::FinWait1 | State::FinWait2 | State::Closing) => {
            "this side has closed and the peer does not finish"
        }
        _ => "see the states",
    };
    format!("Held by {}: {meaning}.", list.join(", "))
}

fn destination_advice(ports: &Ephemeral, row: &Destination) -> Vec<Advice> {
    let mut advice = vec![main_cure(ports, row)];
    advice.extend(reuse(ports, row));
    if ports.bind_first > 0 {
        advice.push(Advice::new(format!(
            "Programs that bind before they connect take {} ports from all others: IP_BIND_ADDRESS_NO_PORT gives them back.",
            grouped(ports.bind_first)
        )));
    }
    advice.push(Advice::new(format!(
        "A second source address (or a second address or port of the destination) adds another {} ports.",
        grouped(ports.available_destination)
    )));
    advice.extend(wider_range(ports));
    advice
}

fn main_cure(ports: &Ephemeral, row: &Destination) -> Advice {
    match row.states.main() {
        Some(State::TimeWait) => Advice::new(format!(
            "Keep connections open (pooling, keep-alive) or let the peer close first: {:.0} closes/s against a sustainable {:.0}.",
            row.closes_per_second,
            ports.sustainable()
        )),
        Some(State::CloseWait) => Advice::new(
            "Mend or restart the program that does not close: each of these sockets holds a file descriptor, too.",
        ),
        Some(State::SynSent) => Advice::new(
            "Find out why the peer is silent (down, or a firewall that drops), retry with a growing pause, and time out sooner (tcp_syn_retries, or the program's own connect timeout).",
        ),
        Some(State::FinWait1 | State::FinWait2 | State::Closing) => Advice::risking(
            "Mend the peer that does not close; tcp_fin_timeout (60 s) bounds how long the kernel holds orphaned FIN_WAIT2.",
            "A shorter tcp_fin_timeout cuts off peers that are slow to finish.",
        ),
        _ => Advice::new(
            "Share connections (pooling, HTTP/2, keep-alive with a bound on the pool) and close idle ones.",
        ),
    }
}

/// What tcp_tw_reuse would do here, if it is not doing it yet.
fn reuse(ports: &Ephemeral, row: &Destination) -> Option<Advice> {
    let settings = &ports.settings;
    if settings.timestamps == 0 && row.states.get(State::TimeWait) > 0 && settings.tw_reuse > 0 {
        return Some(Advice::risking(
            "tcp_timestamps is 0: no TIME_WAIT can be reused whatever tcp_tw_reuse says; set it to 1.",
            "Timestamps cost 12 bytes a segment.",
        ));
    }
    let gain = row.settled.saturating_sub(row.reusable);
    if gain == 0 || settings.reuse() == Reuse::Always {
        return None;
    }
    Some(Advice::risking(
        format!(
            "tcp_tw_reuse is {}: with 1, {} of {} ports toward {} would be free at once.",
            settings.tw_reuse,
            grouped(ports.free_toward(row) + gain),
            grouped(ports.available_destination),
            endpoint(&row.destination.to_string(), row.port)
        ),
        "It works for outbound connections whose peers use timestamps, and not for bind-before-connect. It is not tcp_tw_recycle, which broke clients behind NAT and is gone.",
    ))
}

fn wider_range(ports: &Ephemeral) -> Option<Advice> {
    let range = ports.settings.range;
    (ports.unused_outside > 0).then(|| {
        Advice::risking(
            format!(
                "The range {}-{} is {} wide; {} more ports from 1024 on are unused by listeners (ip_local_port_range).",
                range.first,
                range.last,
                grouped(range.size()),
                grouped(ports.unused_outside)
            ),
            "A service that starts later may find its port taken: list such ports in ip_local_reserved_ports first.",
        )
    })
}

/// The ratio may be low yet: above this rate it is a matter of time.
fn closes(ports: &Ephemeral, row: &Destination) -> Option<Finding> {
    let sustainable = ports.sustainable();
    // Where the kernel reuses TIME_WAIT, closes use nothing up.
    if row.closes_per_second <= sustainable || row.reusable > 0 || sustainable == 0.0 {
        return None;
    }
    let free = ports.free_toward(row);
    let numbers = figures(ports, row);
    Some(Finding {
        id: "closes-above-sustainable",
        severity: Severity::Warning,
        subject: subject(row),
        what: format!(
            "{:.0} connections per second toward {} are closed from here; {:.0} can go on for ever, since each close keeps its port for 60 s.",
            row.closes_per_second,
            subject(row),
            sustainable
        ),
        because: vec![
            format!(
                "{} ports are free yet; at this rate they will not last.",
                grouped(free)
            ),
            "A load test at this rate measures the exhaustion of ports, not the server.".to_owned(),
        ],
        advice: destination_advice(ports, row),
        ports: Some(numbers),
        exhausted_in: None,
        share: share(row.blocked(), ports.available_destination).min(1.0),
    })
}

fn worst_source(
    id: &'static str,
    protocol: &'static str,
    ports: &Ephemeral,
    sources: &[Source],
    history: &History,
) -> Option<Finding> {
    let worst = sources
        .iter()
        .filter(|row| row.address.is_some())
        .max_by_key(|row| row.used)?;
    let share = share(worst.used, ports.available_source).min(1.0);
    let severity = Severity::of_share(share)?;
    let address = worst.address?.to_string();
    let free = ports.available_source.saturating_sub(worst.used);
    let exhausted_in = history
        .growth(&growth::source(protocol, &address), worst.used.into())
        .and_then(|growth| growth.exhausts(free.into()))
        .filter(|_| free > 0);
    let (errors, mut advice) = match protocol {
        "udp" => (
            "EAGAIN from connect() and sendto(), EADDRINUSE from bind()",
            vec![Advice::new(
                "Send from one socket instead of one for each request, and close those that are done.",
            )],
        ),
        _ => (
            "EADDRINUSE from bind()",
            vec![
                Advice::new(
                    "Set IP_BIND_ADDRESS_NO_PORT where a program binds an address before it connects: it then draws from the pool of its destination.",
                ),
                Advice::new("Leave the bind() out where the source address does not matter."),
            ],
        ),
    };
    advice.push(Advice::new(format!(
        "A second source address adds another {} ports.",
        grouped(ports.available_source)
    )));
    advice.extend(wider_range(ports));
    let mut because = vec![match protocol {
        "udp" => "UDP has one pool for each local address, whatever the destination; sockets on the wildcard count against every address.".to_owned(),
        _ => format!("{} ports were made by bind(): such a port serves one connection, whatever the destination.", grouped(ports.bind_first)),
    }];
    if let Some(time) = exhausted_in {
        because.push(format!(
            "At the growth of the last minutes the rest is gone {}.",
            about(time)
        ));
    }
    Some(Finding {
        id,
        severity,
        subject: format!("{protocol} {address}"),
        what: format!(
            "{} of {} {} ports of {address} are held ({}): {} more, then {errors}.",
            grouped(worst.used),
            grouped(ports.available_source),
            protocol.to_uppercase(),
            percent(share),
            grouped(free)
        ),
        because,
        advice,
        ports: Some(PortFigures {
            used: worst.used,
            available: ports.available_source,
            free,
            ..PortFigures::default()
        }),
        exhausted_in,
        share,
    })
}
