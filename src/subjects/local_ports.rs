//! Sockets by local port, for both protocols: the ports that are told apart, the
//! largest of them listed, the rest in `other`.

use serde::Serialize;

use super::ranking::Ranking;
use super::{Sink, SubjectLimits, metrics};
use crate::count::udp::UdpCounts;
use crate::model::ports::PortSet;
use crate::model::state::StateCounts;

/// Sockets on one local port; `None` is all the others.
#[derive(Clone, Debug, Serialize)]
pub struct PortCount<C> {
    pub port: Option<u16>,
    pub counts: C,
}

metrics! {
    LOCAL_PORT: gauge "sockdiag_local_port_sockets" [protocol, port, state]
        "Sockets as of the last poll on local ports with a listener or named in the configuration, the largest of them; all others in port other (sock_diag).";
    PORTS_FOLDED: gauge "sockdiag_local_ports_folded" [protocol]
        "Local ports with a listener as of the last poll beyond limits.local_ports, which are in port other (sock_diag).";
}

/// Sockets by the states of their protocol.
pub trait Counts: Copy + Default {
    fn without(&self, part: &Self) -> Self;

    /// Label and number of each state to export for a port.
    fn rows(&self) -> impl Iterator<Item = (&'static str, u32)>;

    fn total(&self) -> u32 {
        self.rows().map(|(_, count)| count).sum()
    }
}

impl Counts for StateCounts {
    fn without(&self, part: &Self) -> Self {
        self.without(part)
    }

    fn rows(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.iter().map(|(state, count)| (state.label(), count))
    }
}

impl Counts for UdpCounts {
    fn without(&self, part: &Self) -> Self {
        self.without(part)
    }

    fn rows(&self) -> impl Iterator<Item = (&'static str, u32)> {
        self.states().into_iter()
    }
}

/// The listed ports and `other`, which makes up for `all`; and how many ports that
/// are told apart are in it. `served` are the ports with a listener, or what comes closest
/// to one; those of the `range` are listed only with sockets above the floor: a listener
/// there has come by its port by chance, and the next one will have another.
pub(super) fn list<C: Counts>(
    served: PortSet,
    range: &PortSet,
    limits: &SubjectLimits,
    ranking: &mut Ranking<u16>,
    all: C,
    on_port: impl Fn(u16) -> C,
) -> (Vec<PortCount<C>>, u32) {
    let always: PortSet = limits.always.iter().copied().collect();
    let others = served.minus(&always);
    let told_apart = always.len() + others.len();
    let sizes = others
        .iter()
        .map(|port| (port, u64::from(on_port(port).total())));
    let is_large = |port: &u16, sockets: u64| {
        !range.contains(*port) || limits.floor.admits(sockets, all.total().into())
    };
    let largest = ranking.select(limits.local_ports, sizes, is_large);
    let mut rest = all;
    let mut ports: Vec<_> = always
        .iter()
        .chain(largest.into_iter().map(|(port, _)| port))
        .map(|port| {
            let counts = on_port(port);
            rest = rest.without(&counts);
            PortCount {
                port: Some(port),
                counts,
            }
        })
        .collect();
    let folded = told_apart - ports.len() as u32;
    ports.push(PortCount {
        port: None,
        counts: rest,
    });
    (ports, folded)
}

pub(super) fn export<C: Counts>(
    sink: &mut dyn Sink,
    protocol: &str,
    ports: &[PortCount<C>],
    folded: u32,
) {
    for PortCount { port, counts } in ports {
        let port = port.map_or_else(|| "other".to_owned(), |port| port.to_string());
        for (state, count) in counts.rows().filter(|&(_, count)| count > 0) {
            sink.sample(&LOCAL_PORT, &[protocol, &port, state], count.into());
        }
    }
    sink.sample(&PORTS_FOLDED, &[protocol], folded.into());
}
