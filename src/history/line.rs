//! What is plotted, and what tells one line from another over time.

use std::net::IpAddr;

use crate::subjects::Facts;
use crate::subjects::ports::Ephemeral;
use crate::subjects::ports::destination::Destination;

/// Destinations and accept queues begin to be kept as one of so many worst.
pub const WORST: usize = 5;
/// So many are kept, those included that were among the worst before.
const DESTINATIONS: usize = 8;
const QUEUES: usize = 6;

/// From which share on a destination beside the worst is a line worth looking at: less reads 0.0%.
const NOTABLE: f64 = 0.001;

/// Lines of a namespace: six that there is one of, and those.
pub const MOST: usize = 6 + DESTINATIONS + QUEUES;

/// One line of a plot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Share of the pool that is gone, of the worst key of each.
    TcpDestination,
    TcpSource,
    UdpSource,
    /// Share of the ports that is gone toward one destination: [`toward`].
    Toward(String),
    /// Closes a second toward the destination with most, and what could go on for ever.
    Closes,
    Sustainable,
    /// Share of the connection tracking table.
    Conntrack,
    /// Share of an accept queue.
    Queue(IpAddr, u16),
}

impl Line {
    /// How many lines of this kind are kept.
    pub(super) fn most(&self) -> usize {
        match self {
            Self::Toward(_) => DESTINATIONS,
            Self::Queue(..) => QUEUES,
            _ => 1,
        }
    }
}

/// The value of a line now.
pub struct Now {
    pub line: Line,
    pub value: f64,
    /// Worth a line if it has none yet.
    pub is_worst: bool,
}

/// What the lines of these facts say now: what is measured, and nothing of what is absent or
/// failed.
pub fn now(facts: &Facts) -> Vec<Now> {
    let mut now = Vec::new();
    let mut add = |line, value, is_worst| {
        now.push(Now {
            line,
            value,
            is_worst,
        });
    };
    if let Some(ports) = facts.ephemeral.measured() {
        add(
            Line::TcpDestination,
            ports.utilization.tcp_destination,
            true,
        );
        add(Line::TcpSource, ports.utilization.tcp_source, true);
        if ports.sources.udp.is_some() {
            add(Line::UdpSource, ports.utilization.udp_source, true);
        }
        add(Line::Sustainable, ports.capacity.sustainable(), true);
        if let Some(row) = closing_most(ports) {
            add(Line::Closes, row.closes_per_second, true);
        }
        for (rank, row) in ports.destinations.worst_first().into_iter().enumerate() {
            let value = ports.capacity.toward(row.blocked()).share();
            let is_worst = rank == 0 || (rank < WORST && value >= NOTABLE);
            add(Line::Toward(row.toward()), value, is_worst);
        }
    }
    let conntrack = facts.conntrack.measured();
    if let Some(pool) = conntrack.and_then(|table| table.pool()) {
        add(Line::Conntrack, pool.share(), true);
    }
    let queues = facts.listeners.measured().into_iter();
    let queues = queues.flat_map(|listeners| &listeners.queues);
    for (rank, queue) in queues.enumerate() {
        // A queue in which nobody has ever waited is no line worth looking at.
        let is_worst = rank < WORST && queue.waiting > 0;
        let line = Line::Queue(queue.address, queue.port);
        add(line, queue.pool().share(), is_worst);
    }
    now
}

/// The destination toward which this side closes most connections a second.
pub fn closing_most(ports: &Ephemeral) -> Option<&Destination> {
    let rows = ports.destinations.rows.iter();
    rows.max_by(|a, b| a.closes_per_second.total_cmp(&b.closes_per_second))
}
