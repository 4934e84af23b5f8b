//! Findings about the pool of one local address: bind-before-connect, and UDP.

use std::net::IpAddr;

use super::growth::{Series, Trends};
use super::{Advice, Finding, FindingId, PortFigures, Severity, cures};
use crate::model::figures::{about, grouped, percent};
use crate::subjects::Facts;
use crate::subjects::ports::Ephemeral;
use crate::subjects::ports::source::Source;

pub(super) fn findings(facts: &Facts, trends: &Trends) -> Vec<Finding> {
    let Some(ports) = facts.ephemeral.measured() else {
        return Vec::new();
    };
    // Without programs that bind first a full address is no trouble: connect()
    // shares its ports between destinations. Doubtful ports alone prove none.
    let tcp = (ports.capacity.bind_first > 0).then_some((Protocol::Tcp, &ports.sources.tcp));
    let udp = ports.sources.udp.iter().map(|rows| (Protocol::Udp, rows));
    tcp.into_iter()
        .chain(udp)
        .filter_map(|(protocol, rows)| worst(protocol, ports, rows, trends))
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Protocol {
    Tcp,
    Udp,
}

impl Protocol {
    fn id(self) -> FindingId {
        match self {
            Self::Tcp => FindingId::EphemeralSource,
            Self::Udp => FindingId::EphemeralUdp,
        }
    }

    fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    fn errors(self) -> &'static str {
        match self {
            Self::Tcp => "bind() fails with EADDRINUSE",
            Self::Udp => "connect() and sendto() fail with EAGAIN, bind() with EADDRINUSE",
        }
    }

    fn because(self, ports: &Ephemeral) -> String {
        match self {
            Self::Tcp => format!(
                "Programs here bind before they connect ({}{} ports): their pool is that of the local address, whatever the destination, and every socket on it counts, TIME_WAIT too. Plain connect() has another pool.",
                if ports.capacity.bind_first_ambiguous > 0 { "at least " } else { "" },
                grouped(ports.capacity.bind_first)
            ),
            Self::Udp => "UDP has one pool for each local address, whatever the destination; a socket on the wildcard counts against every address.".to_owned(),
        }
    }

    fn advice(self, wildcard: u32) -> Vec<Advice> {
        match self {
            Self::Tcp => vec![
                Advice::new(
                    "Set IP_BIND_ADDRESS_NO_PORT before such a bind(): the port then comes from the pool of the destination.",
                ),
                Advice::new("Leave the bind() out where the source address does not matter."),
            ],
            Self::Udp => {
                let mut advice = vec![Advice::new(
                    "Send from one socket instead of one for each request, and close those that are done.",
                )];
                if wildcard > 0 {
                    advice.push(Advice::new(format!(
                        "Bind or connect() the {} sockets on the wildcard to one local address: they leave the others alone then.",
                        grouped(wildcard)
                    )));
                }
                advice
            }
        }
    }
}

fn worst(
    protocol: Protocol,
    ports: &Ephemeral,
    sources: &[Source],
    trends: &Trends,
) -> Option<Finding> {
    let (address, used) = sources
        .iter()
        .filter_map(|row| Some((row.address?, row.used)))
        .max_by_key(|&(_, used)| used)?;
    let pool = ports.capacity.on_address(used);
    let (severity, share) = (Severity::of(pool)?, pool.share());
    let available = ports.capacity.available_source;
    let free = available.saturating_sub(used);
    let series = Series::Source {
        protocol: protocol.label(),
        address,
    };
    let exhausted_in = trends.exhausts(&series, free.into());
    let wildcard = on_wildcard(sources, address);
    let mut advice = protocol.advice(wildcard);
    let elsewhere = available.saturating_sub(wildcard);
    if elsewhere > 0 && !address.is_unspecified() {
        advice.push(Advice::new(format!(
            "A second local address adds another {} ports.",
            grouped(elsewhere)
        )));
    }
    advice.extend(cures::wider_range(ports));
    let mut because = vec![protocol.because(ports)];
    because.extend(exhausted_in.map(|time| {
        format!(
            "At the growth of the last minutes the rest is gone {}.",
            about(time)
        )
    }));
    Some(Finding {
        because,
        advice,
        ports: Some(PortFigures {
            used,
            available,
            free,
            ..PortFigures::default()
        }),
        exhausted_in,
        ..Finding::new(
            protocol.id(),
            format!("{} {address}", protocol.label()),
            severity,
            share,
            format!(
                "{} of {} {} ports of {} are held ({}): {}.",
                grouped(used),
                grouped(available),
                protocol.label().to_uppercase(),
                name(address),
                percent(share),
                then(free, protocol.errors())
            ),
        )
    })
}

fn then(free: u32, errors: &str) -> String {
    match free {
        0 => format!("{errors} now"),
        _ => format!("{} more, then {errors}", grouped(free)),
    }
}

fn name(address: IpAddr) -> String {
    if address.is_unspecified() {
        format!("the wildcard {address}, and so of every local address,")
    } else {
        address.to_string()
    }
}

/// Ports that a wildcard of the same family holds on every address.
fn on_wildcard(sources: &[Source], address: IpAddr) -> u32 {
    sources
        .iter()
        .filter(|row| {
            row.address
                .is_some_and(|other| other.is_unspecified() && other.is_ipv4() == address.is_ipv4())
        })
        .map(|row| row.used)
        .sum()
}
