//! TCP sockets by state, family, direction and local port, from the dump of
//! sock_diag (net/ipv4/tcp_diag.c).

use serde::Serialize;

use super::local_ports::{self, PortCount};
use super::ranking::Ranking;
use super::visit::TcpDump;
use super::{Families, Inputs, Missing, Sink, Source, Subject, SubjectLimits, metrics};
use crate::model::state::{STATES, State, StateCounts};

/// TCP sockets, each counted once in every breakdown.
#[derive(Clone, Debug, Serialize)]
pub struct TcpSockets {
    pub inet: StateCounts,
    pub inet6: StateCounts,
    pub outbound: StateCounts,
    pub inbound: StateCounts,
    /// Whether the kernel tells of sockets that are bound and nothing more.
    #[serde(skip)]
    pub sees_bound_only: bool,
    pub ports: Vec<PortCount<StateCounts>>,
    /// Sockets whose key did not fit in the memory for keys.
    pub untracked: u64,
    /// Local ports with a listener that are in `other`.
    pub ports_folded: u32,
}

metrics! {
    SOCKETS: gauge "sockdiag_sockets" [protocol, family, state]
        "Sockets as of the last poll, by state; family is the socket's own. State close: bound, neither listening nor connected (sock_diag).";
    DIRECTION: gauge "sockdiag_tcp_direction_sockets" [direction, state]
        "TCP sockets as of the last poll, by who opened them: inbound when the local address and port are a listener's or the state is syn_recv (sock_diag).";
    UNTRACKED: gauge "sockdiag_keys_untracked" []
        "Sockets as of the last poll whose peer did not fit in limits.tracked_keys, or listeners beyond 100,000 addresses and ports; they count everywhere but by peer, destination and accept queue (sock_diag).";
}

impl Subject for TcpSockets {
    const NEEDS: &'static [Source] = &[Source::TcpSockets];
    type Memory = Ranking<u16>;

    const METRICS: &'static [Families] = &[METRICS, local_ports::METRICS];

    fn collect(from: &Inputs<'_, Self>, ranking: &mut Self::Memory) -> Result<Self, Missing> {
        Ok(Self {
            sees_bound_only: from.features().bound_only_sockets,
            ..Self::of(&from.tcp()?, from.limits(), ranking)
        })
    }

    fn export(&self, sink: &mut dyn Sink) {
        for (family, counts) in [("inet", &self.inet), ("inet6", &self.inet6)] {
            for (state, count) in self.told(counts) {
                sink.sample(&SOCKETS, &["tcp", family, state.label()], count.into());
            }
        }
        for (direction, counts) in [("outbound", &self.outbound), ("inbound", &self.inbound)] {
            for (state, count) in self.told(counts) {
                sink.sample(&DIRECTION, &[direction, state.label()], count.into());
            }
        }
        local_ports::export(sink, "tcp", &self.ports, self.ports_folded);
        sink.sample(&UNTRACKED, &[], self.untracked as f64);
    }

    fn series(limits: &SubjectLimits) -> usize {
        let ports_and_other = limits.most_local_ports() + 1;
        4 * STATES + ports_and_other * (STATES - 1) + 2
    }
}

impl TcpSockets {
    fn of(dump: &TcpDump<'_>, limits: &SubjectLimits, ranking: &mut Ranking<u16>) -> Self {
        let [inet, inet6] = dump.count.sockets;
        let [outbound, inbound] = dump.count.directions;
        let (served, range) = (dump.listeners.ports.clone(), &dump.policy.effective);
        let mut all = outbound;
        all.merge(&inbound);
        let on_port = |port| {
            let counts = dump.count.local_ports.get(port);
            counts.copied().unwrap_or_default()
        };
        let (ports, ports_folded) = local_ports::list(served, range, limits, ranking, all, on_port);
        Self {
            inet,
            inet6,
            outbound,
            inbound,
            ports,
            sees_bound_only: true,
            untracked: dump.count.keys.untracked + dump.listeners.untracked,
            ports_folded,
        }
    }

    /// No figure of `close` where the kernel keeps them to itself.
    fn told(&self, counts: &StateCounts) -> impl Iterator<Item = (State, u32)> {
        let all = self.sees_bound_only;
        let states = counts.iter();
        states.filter(move |&(state, _)| all || state != State::Close)
    }

    /// Sockets in one state.
    pub fn in_state(&self, state: State) -> u64 {
        u64::from(self.inet.get(state)) + u64::from(self.inet6.get(state))
    }
}

#[cfg(test)]
mod tests;
