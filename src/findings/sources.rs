//! Findings about the pool of one local address: bind-before-connect, and UDP.

use std::net::IpAddr;

use super::growth::{Series, Trends};
use super::{Advice, Finding, FindingId, PortFigures, Severity, cures, foretold, in_words};
use crate::model::figures::grouped;
use crate::subjects::Facts;
use crate::subjects::ports::Ephemeral;
use crate::subjects::ports::source::Source;

pub(super) fn findings(facts: &Facts, trends: &Trends) -> Vec<Finding> {
    let Some(ports) = facts.ephemeral.measured() else {
        return Vec::new();
    };
    // Without programs that bind first a full address is no trouble: connect()
    // shares its ports between destinations. Doubtful ports alone prove none.
    let tcp = (ports.capacity.bind_first > 0).then(|| tcp(ports));
    let udp = ports.sources.udp.as_deref().map(udp);
    let all = [tcp, udp].into_iter().flatten();
    all.filter_map(|of| worst(of, ports, trends)).collect()
}

/// The addresses of one protocol, and what is said where one is short of ports.
struct Protocol<'s> {
    id: FindingId,
    label: &'static str,
    sources: &'s [Source],
    errors: &'static str,
    because: String,
    /// With so many ports that the wildcard holds.
    advice: fn(u32) -> Vec<Advice>,
}

fn tcp(ports: &Ephemeral) -> Protocol<'_> {
    let at_least = match ports.capacity.bind_first_ambiguous {
        0 => "",
        _ => "at least ",
    };
    let bind_first = grouped(ports.capacity.bind_first);
    Protocol {
        id: FindingId::EphemeralSource,
        label: "tcp",
        sources: &ports.sources.tcp,
        errors: "bind() fails with EADDRINUSE",
        because: format!(
            "Programs here bind before they connect ({at_least}{bind_first} ports): their pool is that of the local address, whatever the destination, and every socket on it counts, TIME_WAIT too. Plain connect() has another pool."
        ),
        advice: |_| {
            vec![
                Advice::new(
                    "Set IP_BIND_ADDRESS_NO_PORT before such a bind(): the port then comes from the pool of the destination.",
                ),
                Advice::new("Leave the bind() out where the source address does not matter."),
            ]
        },
    }
}

fn udp(sources: &[Source]) -> Protocol<'_> {
    Protocol {
        id: FindingId::EphemeralUdp,
        label: "udp",
        sources,
        errors: "connect() and sendto() fail with EAGAIN, bind() with EADDRINUSE",
        because: "UDP has one pool for each local address, whatever the destination; a socket on the wildcard counts against every address.".to_owned(),
        advice: |wildcard| {
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
        },
    }
}

fn worst(of: Protocol<'_>, ports: &Ephemeral, trends: &Trends) -> Option<Finding> {
    let (protocol, sources) = (of.label, of.sources);
    let used = sources
        .iter()
        .filter_map(|row| Some((row.address?, row.used)));
    let (address, used) = used.max_by_key(|&(_, used)| used)?;
    let pool = ports.capacity.on_address(used);
    let severity = Severity::of(pool)?;
    let available = ports.capacity.available_source;
    let free = available.saturating_sub(used);
    let exhausted_in = trends.exhausts(&Series::Source(protocol, address), free.into());
    let wildcard = on_wildcard(sources, address);
    let mut advice = (of.advice)(wildcard);
    let elsewhere = available.saturating_sub(wildcard);
    if elsewhere > 0 && !address.is_unspecified() {
        advice.push(Advice::new(format!(
            "A second local address adds another {} ports.",
            grouped(elsewhere)
        )));
    }
    advice.extend(cures::wider_range(&ports.capacity));
    let mut because = vec![of.because];
    because.extend(foretold("the rest is gone", exhausted_in));
    let whose = match address.is_unspecified() {
        true => format!("the wildcard {address}, and so of every local address,"),
        false => address.to_string(),
    };
    let then = match free {
        0 => format!("{} now", of.errors),
        _ => format!("{} more, then {}", grouped(free), of.errors),
    };
    let (held, all, share) = in_words(pool);
    let name = protocol.to_uppercase();
    let what = format!("{held} of {all} {name} ports of {whose} are held ({share}): {then}.");
    let subject = format!("{protocol} {address}");
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
        ..Finding::new(of.id, subject, severity, pool.share(), what)
    })
}

/// Ports that a wildcard of the same family holds on every address.
fn on_wildcard(sources: &[Source], address: IpAddr) -> u32 {
    let covers = |other: IpAddr| other.is_unspecified() && other.is_ipv4() == address.is_ipv4();
    let rows = sources.iter();
    let rows = rows.filter(|row| row.address.is_some_and(covers));
    rows.map(|row| row.used).sum()
}
