//! UDP sockets by family, whether they are connected, and local port, from the
//! dump of sock_diag (net/ipv4/udp_diag.c).

use serde::Serialize;

use super::local_ports::{self, PortCount};
use super::ranking::Ranking;
use super::sockets::SOCKETS;
use super::visit::UdpDump;
use super::{Families, Inputs, Missing, Sink, Source, Subject, SubjectLimits};
use crate::count::udp::UdpCounts;

/// UDP sockets.
#[derive(Clone, Debug, Serialize)]
pub struct UdpSockets {
    pub inet: UdpCounts,
    pub inet6: UdpCounts,
    pub ports: Vec<PortCount<UdpCounts>>,
    pub ports_folded: u32,
}

impl Subject for UdpSockets {
    const NEEDS: &'static [Source] = &[Source::UdpSockets];
    type Memory = Ranking<u16>;

    /// Its families are those of the TCP sockets, with another protocol.
    const METRICS: &'static [Families] = &[];

    fn collect(from: &Inputs<'_, Self>, ranking: &mut Self::Memory) -> Result<Self, Missing> {
        Ok(Self::of(&from.udp()?, from.limits(), ranking))
    }

    fn export(&self, sink: &mut dyn Sink) {
        for (family, counts) in [("inet", &self.inet), ("inet6", &self.inet6)] {
            for (state, count) in counts.states() {
                sink.sample(&SOCKETS, &["udp", family, state], count.into());
            }
        }
        local_ports::export(sink, "udp", &self.ports, self.ports_folded);
    }

    fn series(limits: &SubjectLimits) -> usize {
        let ports_and_other = limits.most_local_ports() + 1;
        2 * (2 + ports_and_other) + 1
    }
}

impl UdpSockets {
    pub(super) fn of(
        dump: &UdpDump<'_>,
        limits: &SubjectLimits,
        ranking: &mut Ranking<u16>,
    ) -> Self {
        let [inet, inet6] = dump.count.sockets;
        let range = &dump.policy.effective;
        let served = dump.count.served(range).collect();
        let mut all = inet;
        all.merge(&inet6);
        let on_port = |port| dump.count.port(port);
        let (ports, ports_folded) = local_ports::list(served, range, limits, ranking, all, on_port);
        Self {
            inet,
            inet6,
            ports,
            ports_folded,
        }
    }
}
