//! What helps against a shortage of ephemeral ports, with its effect on this
//! host. Fewer connections come first; settings only shift the limit.

use super::Advice;
use crate::count::policy::Reuse;
use crate::model::figures::{grouped, rate};
use crate::model::ports::PortRange;
use crate::model::state::State;
use crate::subjects::ports::Ephemeral;
use crate::subjects::ports::capacity::Capacity;
use crate::subjects::ports::destination::Destination;

const REUSE_RISK: &str = "It works for plain connect() to peers that use timestamps, not for bind-before-connect and not for inbound connections. It is not tcp_tw_recycle, which broke clients behind NAT and is gone.";
const TIMESTAMPS_RISK: &str = "Only connections opened afterwards profit, and only to peers that use timestamps too. They cost 12 bytes a segment.";
const RANGE_RISK: &str = "A service that starts later may find its port taken: list the ports of services in ip_local_reserved_ports first.";

/// Against too few ports toward one destination, the best cure first; without
/// those that help all destinations alike where another finding has them.
pub(super) fn of_destination(
    ports: &Ephemeral,
    row: &Destination,
    shares_cures: bool,
) -> Vec<Advice> {
    let capacity = &ports.capacity;
    let mut advice = vec![of_main_state(capacity, row)];
    advice.extend(timestamps(capacity, row).or_else(|| reuse(ports, row)));
    if !shares_cures {
        advice.extend(bind_later(capacity));
    }
    advice.push(Advice::new(format!(
        "A second address or port of the destination, or a second source address (set with IP_BIND_ADDRESS_NO_PORT), adds another {} ports.",
        grouped(capacity.available_destination)
    )));
    if !shares_cures {
        advice.extend(wider_range(capacity));
    }
    advice
}

fn of_main_state(capacity: &Capacity, row: &Destination) -> Advice {
    match row.in_the_way().main() {
        Some(State::TimeWait) => Advice::new(format!(
            "Keep connections open (pooling, keep-alive), or let the peer close first: {} closes/s over the last 10 s against a sustainable {}.",
            rate(row.closes_per_second),
            rate(capacity.sustainable())
        )),
        Some(State::CloseWait) => Advice::new(
            "Mend the program that does not close; until then a restart frees the ports.",
        ),
        Some(State::SynSent) => Advice::new(
            "An attempt keeps its port until it is given up, by default for about two minutes (tcp_syn_retries): a connect timeout of a few seconds in the program gives ports back sooner.",
        ),
        Some(State::FinWait1 | State::FinWait2 | State::Closing) => Advice::new(
            "Mend the peer that does not close. The kernel itself lets go of a FIN_WAIT2 that no program holds after tcp_fin_timeout (60 s by default).",
        ),
        _ => Advice::new(
            "Share connections (a pool with a bound, HTTP/2) and close those that are idle or leaked.",
        ),
    }
}

/// What tcp_tw_reuse would do here, if it is not doing it yet.
fn reuse(ports: &Ephemeral, row: &Destination) -> Option<Advice> {
    let gain = row.settled.saturating_sub(row.reusable);
    (gain > 0 && ports.capacity.settings.reuse() != Reuse::Always).then(|| {
        let mode = match ports.capacity.settings.tw_reuse {
            2 => "tcp_tw_reuse is 2 (loopback only)",
            _ => "tcp_tw_reuse is 0",
        };
        let free = grouped(ports.free_toward(row) + gain);
        let all = grouped(ports.capacity.available_destination);
        let to = row.endpoint();
        Advice::risking(
            format!("{mode}: with 1, {free} of {all} ports toward {to} would be free at once."),
            REUSE_RISK,
        )
    })
}

/// Without them no TIME_WAIT is ever taken over.
fn timestamps(capacity: &Capacity, row: &Destination) -> Option<Advice> {
    let is_off = capacity.settings.timestamps == 0 && row.states.get(State::TimeWait) > 0;
    is_off.then(|| {
        let and_reuse = match capacity.settings.tw_reuse {
            1 => "",
            _ => ", with tcp_tw_reuse at 1",
        };
        Advice::risking(
            format!("tcp_timestamps is 0, so no TIME_WAIT can be taken over, whatever tcp_tw_reuse says: set it to 1{and_reuse}."),
            TIMESTAMPS_RISK,
        )
    })
}

/// Gives back what bind() takes from plain connect().
pub(super) fn bind_later(capacity: &Capacity) -> Option<Advice> {
    (capacity.bind_first > 0).then(|| {
        Advice::new(format!(
            "Programs that bind before they connect take {} ports from plain connect() to anybody: IP_BIND_ADDRESS_NO_PORT, set before bind(), gives them back.",
            grouped(capacity.bind_first)
        ))
    })
}

pub(super) fn wider_range(capacity: &Capacity) -> Option<Advice> {
    let range @ PortRange { first, last } = capacity.settings.range;
    (capacity.unused_outside > 0).then(|| {
        Advice::risking(
            format!(
                "Widen ip_local_port_range: {first}-{last} has {} ports; from 1024 on there are {} more that are neither reserved nor a listener's.",
                grouped(range.size()),
                grouped(capacity.unused_outside)
            ),
            RANGE_RISK,
        )
    })
}

const FEWER_CLOSES: &str = "Keep connections open (pooling, keep-alive): one that serves ten requests divides the rate by ten. Or let the peer close first, so that TIME_WAIT is there.";

/// Against a rate of closes that cannot go on, in rates.
pub(super) fn of_rate(capacity: &Capacity, row: &Destination) -> Vec<Advice> {
    let mut advice = vec![Advice::new(FEWER_CLOSES)];
    advice.extend(timestamps(capacity, row).or_else(|| faster_reuse(capacity)));
    advice.push(Advice::new(format!(
        "A second source address (set with IP_BIND_ADDRESS_NO_PORT), or a second address or port of the destination, doubles what can go on to {} a second.",
        rate(2.0 * capacity.sustainable())
    )));
    if capacity.unused_outside > 0 {
        advice.push(Advice::risking(
            format!(
                "A wider ip_local_port_range, with the {} ports outside it from 1024 on that are neither reserved nor a listener's, lifts it to {} a second.",
                grouped(capacity.unused_outside),
                rate(in_wider_range(capacity))
            ),
            RANGE_RISK,
        ));
    }
    advice
}

/// The same where the shortage itself is a finding.
pub(super) fn of_rate_in_short(capacity: &Capacity) -> Vec<Advice> {
    vec![
        Advice::new(FEWER_CLOSES),
        Advice::new(format!(
            "What helps against the shortage (finding ephemeral-destination) lifts the rate, too: a second source address to {} a second, a wider range to {}.",
            rate(2.0 * capacity.sustainable()),
            rate(in_wider_range(capacity))
        )),
    ]
}

/// Connects per second that could go on with every port from 1024 on.
fn in_wider_range(capacity: &Capacity) -> f64 {
    let more =
        f64::from(capacity.unused_outside) / f64::from(capacity.available_destination.max(1));
    capacity.sustainable() * (1.0 + more)
}

fn faster_reuse(capacity: &Capacity) -> Option<Advice> {
    let settings = &capacity.settings;
    (settings.reuse() != Reuse::Always).then(|| {
        Advice::risking(
            format!(
                "tcp_tw_reuse is {}: with 1, a port can be taken over {} s after its close instead of 60.",
                settings.tw_reuse,
                settings.tw_reuse_delay as f64 / 1000.0
            ),
            REUSE_RISK,
        )
    })
}
