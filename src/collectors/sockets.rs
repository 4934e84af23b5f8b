//! Sockets by state, family, direction and local port, from the dumps of
//! sock_diag (net/ipv4/tcp_diag.c, net/ipv4/udp_diag.c).

use serde::Serialize;

use super::metric::{Metric, Sink};
use crate::kernel::state::{State, StateCounts};
use crate::ports::PortSet;
use crate::tally::Tally;
use crate::tally::listeners::Listeners;
use crate::tally::udp::{UdpCounts, UdpTally};
use crate::top::Ranking;

/// TCP sockets, each counted once in every breakdown.
#[derive(Clone, Debug, Serialize)]
pub struct TcpSockets {
    pub inet: StateCounts,
    pub inet6: StateCounts,
    pub outbound: StateCounts,
    pub inbound: StateCounts,
    pub ports: Vec<PortCount<StateCounts>>,
    /// Sockets whose key did not fit in the bound of the tally.
    pub untracked: u64,
    /// Watched local ports that are in `other`.
    pub ports_folded: u32,
}

/// UDP sockets.
#[derive(Clone, Debug, Serialize)]
pub struct UdpSockets {
    pub inet: UdpCounts,
    pub inet6: UdpCounts,
    pub ports: Vec<PortCount<UdpCounts>>,
    pub ports_folded: u32,
}

/// Sockets on one local port; `None` is all the others.
#[derive(Clone, Debug, Serialize)]
pub struct PortCount<C> {
    pub port: Option<u16>,
    pub counts: C,
}

static SOCKETS: Metric = Metric::gauge(
    "sockdiag_sockets",
    &["protocol", "family", "state"],
    "Sockets as of the last poll, by state; family is the socket's own. State close: bound, neither listening nor connected (sock_diag).",
);
static DIRECTION: Metric = Metric::gauge(
    "sockdiag_tcp_direction_sockets",
    &["direction", "state"],
    "TCP sockets as of the last poll, by who opened them: inbound when the local address and port are a listener's or the state is syn_recv (sock_diag).",
);
static LOCAL_PORT: Metric = Metric::gauge(
    "sockdiag_local_port_sockets",
    &["protocol", "port", "state"],
    "Sockets as of the last poll on local ports with a listener or named in the configuration, the largest of them; all others in port other (sock_diag).",
);
static PORTS_FOLDED: Metric = Metric::gauge(
    "sockdiag_local_ports_folded",
    &["protocol"],
    "Local ports with a listener as of the last poll beyond limits.local_ports, which are in port other (sock_diag).",
);
static UNTRACKED: Metric = Metric::gauge(
    "sockdiag_keys_untracked",
    &[],
    "Sockets as of the last poll whose peer did not fit in limits.tracked_keys; they count everywhere but by peer and destination (sock_diag).",
);

pub static METRICS: [&Metric; 5] = [&SOCKETS, &DIRECTION, &LOCAL_PORT, &PORTS_FOLDED, &UNTRACKED];

/// The states of a TCP socket on a port; `unknown` only when there are any.
fn shown(state: State, count: u32) -> bool {
    state != State::Unknown || count > 0
}

impl TcpSockets {
    pub fn collect(
        tally: &Tally,
        listeners: &Listeners,
        always: &[u16],
        k: usize,
        ranking: &mut Ranking<u16>,
    ) -> Self {
        let [inet, inet6] = *tally.sockets();
        let [outbound, inbound] = *tally.directions();
        let sizes = watched(listeners.ports().iter(), always).map(|port| {
            (
                port,
                tally
                    .port_states(port)
                    .map_or(0, |states| states.total().into()),
            )
        });
        let sizes: Vec<_> = sizes.collect();
        let all = sizes.len();
        let shown = pick(ranking, k, sizes, always);
        let mut other = outbound;
        other.merge(&inbound);
        let mut ports = Vec::with_capacity(shown.len() + 1);
        for port in shown {
            let counts = tally.port_states(port).copied().unwrap_or_default();
            other = other.without(&counts);
            ports.push(PortCount {
                port: Some(port),
                counts,
            });
        }
        let ports_folded = (all - ports.len()) as u32;
        ports.push(PortCount {
            port: None,
            counts: other,
        });
        let untracked = tally.untracked();
        Self {
            inet,
            inet6,
            outbound,
            inbound,
            ports,
            untracked,
            ports_folded,
        }
    }

    pub fn export(&self, sink: &mut dyn Sink) {
        for (family, counts) in [("inet", &self.inet), ("inet6", &self.inet6)] {
            for (state, count) in counts.iter() {
                sink.sample(&SOCKETS, &["tcp", family, state.label()], count.into());
            }
        }
        for (direction, counts) in [("outbound", &self.outbound), ("inbound", &self.inbound)] {
            for (state, count) in counts.iter() {
                sink.sample(&DIRECTION, &[direction, state.label()], count.into());
            }
        }
        for PortCount { port, counts } in &self.ports {
            let port = label(*port);
            for (state, count) in counts.iter().filter(|&(state, count)| shown(state, count)) {
                sink.sample(&LOCAL_PORT, &["tcp", &port, state.label()], count.into());
            }
        }
        sink.sample(&PORTS_FOLDED, &["tcp"], self.ports_folded.into());
        sink.sample(&UNTRACKED, &[], self.untracked as f64);
    }
}

impl UdpSockets {
    pub fn collect(
        tally: &UdpTally,
        range: &PortSet,
        always: &[u16],
        k: usize,
        ranking: &mut Ranking<u16>,
    ) -> Self {
        let [inet, inet6] = *tally.sockets();
        let sizes: Vec<_> = watched(tally.served(range), always)
            .map(|port| (port, tally.port(port).total().into()))
            .collect();
        let all = sizes.len();
        let shown = pick(ranking, k, sizes, always);
        let mut other = UdpCounts {
            connected: inet.connected + inet6.connected,
            unconnected: inet.unconnected + inet6.unconnected,
        };
        let mut ports = Vec::with_capacity(shown.len() + 1);
        for port in shown {
            let counts = tally.port(port);
            other = other.without(&counts);
            ports.push(PortCount {
                port: Some(port),
                counts,
            });
        }
        let ports_folded = (all - ports.len()) as u32;
        ports.push(PortCount {
            port: None,
            counts: other,
        });
        Self {
            inet,
            inet6,
            ports,
            ports_folded,
        }
    }

    pub fn export(&self, sink: &mut dyn Sink) {
        let states = |counts: &UdpCounts| {
            [
                ("connected", counts.connected),
                ("unconnected", counts.unconnected),
            ]
        };
        for (family, counts) in [("inet", &self.inet), ("inet6", &self.inet6)] {
            for (state, count) in states(counts) {
                sink.sample(&SOCKETS, &["udp", family, state], count.into());
            }
        }
        for PortCount { port, counts } in &self.ports {
            let port = label(*port);
            for (state, count) in states(counts) {
                sink.sample(&LOCAL_PORT, &["udp", &port, state], count.into());
            }
        }
        sink.sample(&PORTS_FOLDED, &["udp"], self.ports_folded.into());
    }
}

/// Ports to tell apart, each once.
fn watched(served: impl Iterator<Item = u16>, always: &[u16]) -> impl Iterator<Item = u16> {
    let mut ports: PortSet = served.collect();
    for &port in always {
        ports.insert(port);
    }
    ports.iter().collect::<Vec<_>>().into_iter()
}

/// The configured ports, and the largest of the others.
fn pick(ranking: &mut Ranking<u16>, k: usize, sizes: Vec<(u16, u64)>, always: &[u16]) -> Vec<u16> {
    let largest = sizes.into_iter().filter(|(port, _)| !always.contains(port));
    let largest = ranking.select(k, largest);
    let always: PortSet = always.iter().copied().collect();
    always
        .iter()
        .chain(largest.into_iter().map(|(port, _)| port))
        .collect()
}

fn label(port: Option<u16>) -> String {
    port.map_or_else(|| "other".to_owned(), |port| port.to_string())
}

#[cfg(test)]
mod tests;
