//! Findings about the pool of plain connect(): one for each source, destination
//! and port; the capacity that all of them share; a rate of closes that cannot
//! go on.

use super::growth::{Series, Trends};
use super::{Advice, Finding, FindingId, PortFigures, Severity, cures, foretold, in_words};
use crate::model::figures::{between, grouped, percent, rate};
use crate::model::state::{State, StateCounts};
use crate::subjects::Facts;
use crate::subjects::ports::Ephemeral;
use crate::subjects::ports::capacity::Capacity;
use crate::subjects::ports::destination::Destination;

pub(super) fn findings(facts: &Facts, trends: &Trends) -> Vec<Finding> {
    let Some(ports) = facts.ephemeral.measured() else {
        return Vec::new();
    };
    let mut findings = Vec::from_iter(too_few(&ports.capacity));
    let shares_cures = !findings.is_empty();
    for row in &ports.destinations.rows {
        findings.extend(destination(ports, row, shares_cures, trends));
        findings.extend(closes(ports, row));
    }
    findings
}

fn figures(ports: &Ephemeral, row: &Destination) -> PortFigures {
    PortFigures {
        used: row.used,
        reusable: row.reusable,
        bind_first: row.bind_first,
        available: ports.capacity.available_destination,
        free: ports.free_toward(row),
        closes_per_second: row.closes_per_second,
        sustainable_per_second: ports.capacity.sustainable(),
    }
}

/// The subject of what all destinations share.
pub(super) const ANY: &str = "any destination";

/// Listeners, bound sockets and bind() may leave little of the range.
fn too_few(capacity: &Capacity) -> Option<Finding> {
    let taken = capacity.held + capacity.bind_first;
    let pool = capacity.on_address(taken);
    let (severity, share) = (Severity::of(pool)?, pool.share());
    let free = capacity.available_destination;
    let mut because = vec![left_of_range(capacity)];
    because.extend(doubt(free - capacity.bind_first_ambiguous, free));
    let mut advice = Vec::from_iter(cures::bind_later(capacity));
    if capacity.held > 0 {
        advice.push(Advice::new(format!(
            "Move services that listen or bind inside the range out of it: they hold {} of its ports.",
            grouped(capacity.held)
        )));
    }
    advice.extend(cures::wider_range(capacity));
    let what = match free {
        0 => "No port is left for plain connect() to anybody: it fails with EADDRNOTAVAIL.".into(),
        _ => format!(
            "Plain connect() has {} ports for each destination, of the {} in the range ({} lost): then EADDRNOTAVAIL.",
            grouped(free),
            grouped(capacity.settings.range.size()),
            percent(share)
        ),
    };
    Some(Finding {
        because,
        advice,
        ports: Some(PortFigures {
            used: taken,
            available: capacity.available_source,
            free,
            sustainable_per_second: capacity.sustainable(),
            ..PortFigures::default()
        }),
        ..Finding::new(FindingId::EphemeralDestination, ANY, severity, share, what)
    })
}

/// What becomes of the range before anybody connects.
fn left_of_range(capacity: &Capacity) -> String {
    let binds_first = "taken by programs that bind before they connect";
    let parts = [
        (capacity.reserved, "reserved"),
        (capacity.held, "held by listeners and bound sockets"),
        (capacity.bind_first, binds_first),
    ];
    let parts = parts.into_iter().filter(|&(count, _)| count > 0);
    let parts = parts.map(|(count, what)| format!("{} are {what}", grouped(count)));
    let gone = parts.collect::<Vec<_>>().join(", ");
    let all = grouped(capacity.settings.range.size());
    let left = grouped(capacity.available_destination);
    format!("Of {all} ports in the range {gone}: {left} are left toward each destination.")
}

/// Between which figures the truth lies.
fn doubt(least: u32, free: u32) -> Option<String> {
    (least < free).then(|| {
        format!(
            "Whether bind() has {} of the other ports in use, which are lost to connect() then, this kernel does not tell: the truth lies between {} and {} free.",
            grouped(free - least),
            grouped(least),
            grouped(free)
        )
    })
}

/// With `shares_cures`, what would help all destinations alike is another finding's.
fn destination(
    ports: &Ephemeral,
    row: &Destination,
    shares_cures: bool,
    trends: &Trends,
) -> Option<Finding> {
    let capacity = &ports.capacity;
    let pool = capacity.toward(row.blocked());
    let severity = Severity::of(pool)?;
    let numbers = figures(ports, row);
    let least = ports.free_at_least_toward(row);
    let subject = row.toward();
    let exhausted_in = trends.exhausts(&Series::Toward(subject.clone()), numbers.free.into());
    let mut because = vec![holders(&row.in_the_way())];
    because.extend(owner(row));
    if row.reusable > 0 {
        because.push(format!(
            "{} further ports in TIME_WAIT count as free: connect() takes them over (tcp_tw_reuse is {}).",
            grouped(row.reusable),
            capacity.settings.tw_reuse
        ));
    }
    because.push(
        "The shortage is that of this pair of addresses: other destinations, and other hosts that connect to this one, are unaffected."
            .to_owned(),
    );
    if capacity.reserved + capacity.held + capacity.bind_first > 0 {
        because.push(left_of_range(capacity));
    }
    because.extend(foretold("the rest is gone", exhausted_in));
    if let Some(width @ 1..) = capacity.settings.step_width {
        because.push(format!(
            "Each connect() that searches for one of the last ports takes longer than it must: ip_local_port_step_width is {}, 0 is the default.",
            grouped(width)
        ));
    }
    because.extend(doubt(least, numbers.free));
    let then = match numbers.free {
        0 => "the next connect() fails with EADDRNOTAVAIL".to_owned(),
        1 if least == 1 => "1 more connect() succeeds, then EADDRNOTAVAIL".to_owned(),
        free => {
            let calls = match least < free {
                true => between(least, free),
                false => grouped(free),
            };
            format!("{calls} more connect() calls succeed, then EADDRNOTAVAIL")
        }
    };
    let (gone, all, share) = in_words(pool);
    let what = format!("{gone} of {all} ports toward {subject} are gone ({share}): {then}.");
    Some(Finding {
        because,
        advice: cures::of_destination(ports, row, shares_cures),
        ports: Some(numbers),
        exhausted_in,
        ..Finding::new(
            FindingId::EphemeralDestination,
            subject,
            severity,
            pool.share(),
            what,
        )
    })
}

/// Which states hold the ports, and what the main one means.
fn holders(states: &StateCounts) -> String {
    let meaning = match states.main() {
        Some(State::TimeWait) => "this side closes first, and each close keeps its port for 60 s",
        Some(State::Established) => {
            "connections are opened and kept, one for each use (no pooling), or leaked"
        }
        Some(State::CloseWait) => {
            "the peer has closed and the program here does not, so its sockets leak"
        }
        Some(State::SynSent) => "the peer does not answer",
        Some(State::FinWait1 | State::FinWait2 | State::Closing) => {
            "this side has closed and the peer does not finish"
        }
        _ => "see the states",
    };
    format!("Held by {}: {meaning}.", super::by_state(states))
}

/// Which program holds them, as far as it can be told.
fn owner(row: &Destination) -> Option<String> {
    let holder = row.holder.as_ref()?;
    let source = match holder.ownerless {
        0 => String::new(),
        ownerless => format!(
            "; TIME_WAIT has no owner, and {} are counted to it because nobody else has had sockets toward this destination for 60 s",
            grouped(ownerless)
        ),
    };
    let name = holder.cgroup.name();
    let [held, used] = [holder.sockets, row.used].map(grouped);
    Some(format!("Held by {name}: {held} of {used}{source}."))
}

/// The ratio may be low yet: above this rate it is a matter of time.
fn closes(ports: &Ephemeral, row: &Destination) -> Option<Finding> {
    let capacity = &ports.capacity;
    let sustainable = capacity.sustainable();
    if row.closes_per_second <= sustainable || sustainable == 0.0 || reuses(ports, row) {
        return None;
    }
    let gone = capacity.toward(row.blocked()).share();
    let free = ports.free_toward(row);
    let last = match free {
        0 => "No port is free now: connects fail with EADDRNOTAVAIL.".to_owned(),
        _ => format!(
            "{} of {} ports are free now; if the rate holds they are gone within a minute.",
            grouped(free),
            grouped(ports.capacity.available_destination)
        ),
    };
    let mut because = vec![last];
    because.extend(owner(row));
    because.push(
        "A benchmark at this rate measures the exhaustion of the client's ports, not the server."
            .to_owned(),
    );
    let subject = row.toward();
    let what = format!(
        "This side closes {} connections a second toward {subject}; {} can go on for ever, since each close keeps its port for 60 s.",
        rate(row.closes_per_second),
        rate(sustainable)
    );
    Some(Finding {
        because,
        advice: match Severity::of_share(gone) {
            // Its own finding has them at length.
            Some(_) => cures::of_rate_in_short(capacity),
            None => cures::of_rate(capacity, row),
        },
        ports: Some(figures(ports, row)),
        ..Finding::new(
            FindingId::ClosesAboveSustainable,
            subject,
            Severity::Warning,
            gone,
            what,
        )
    })
}

/// Where the kernel takes TIME_WAIT over, closes use nothing up.
fn reuses(ports: &Ephemeral, row: &Destination) -> bool {
    let is_local = row.reusable > 0 || row.source.is_loopback() || row.destination.is_loopback();
    ports.capacity.settings.reuse().allows(is_local)
}
