//! Accept queues of listening TCP sockets: `idiag_rqueue` and `idiag_wqueue` of
//! a listener (net/ipv4/tcp_diag.c, `tcp_diag_get_info`).

use std::net::IpAddr;

use serde::Serialize;

use super::ranking::{Ranking, last_rank};
use super::{Families, Inputs, Missing, Sink, Source, Subject, SubjectLimits, metrics};
use crate::count::listeners::{Listener, Listeners};
use crate::model::pool::Pool;
use crate::model::ports::PortSet;

/// The accept queues, fullest first.
#[derive(Clone, Debug, Serialize)]
pub struct AcceptQueues {
    pub queues: Vec<AcceptQueue>,
    /// Further listeners, which are not listed.
    pub folded: u32,
}

/// One address and port; a group of sockets with SO_REUSEPORT is summed.
#[derive(Clone, Debug, Serialize)]
pub struct AcceptQueue {
    pub address: IpAddr,
    pub port: u16,
    /// Connections.
    pub waiting: u32,
    pub limit: u32,
}

impl AcceptQueue {
    pub fn pool(&self) -> Pool {
        Pool::of_queue(self.waiting, self.limit)
    }
}

metrics! {
    BACKLOG: gauge "sockdiag_listener_backlog_connections" [address, port]
        "Connections waiting for accept() as of the last poll, the sockets of a SO_REUSEPORT group summed (sock_diag, idiag_rqueue).";
    LIMIT: gauge "sockdiag_listener_backlog_limit_connections" [address, port]
        "How many connections may wait for accept() as of the last poll, the sockets of a SO_REUSEPORT group summed (sock_diag, idiag_wqueue).";
    FOLDED: gauge "sockdiag_listeners_folded" []
        "Listeners (address, port) as of the last poll beyond limits.local_ports, whose accept queues are not exported (sock_diag).";
}

impl Subject for AcceptQueues {
    const NEEDS: &'static [Source] = &[Source::TcpSockets];
    type Memory = Ranking<(IpAddr, u16)>;

    const METRICS: &'static [Families] = &[METRICS];

    fn collect(from: &Inputs<'_, Self>, ranking: &mut Self::Memory) -> Result<Self, Missing> {
        let (tcp, k) = (from.tcp()?, from.limits().local_ports);
        Ok(Self::of(tcp.listeners, &tcp.policy.effective, k, ranking))
    }

    fn export(&self, sink: &mut dyn Sink) {
        for queue in &self.queues {
            let (address, port) = (queue.address.to_string(), queue.port.to_string());
            sink.sample(&BACKLOG, &[&address, &port], queue.waiting.into());
            sink.sample(&LIMIT, &[&address, &port], queue.limit.into());
        }
        sink.sample(&FOLDED, &[], self.folded.into());
    }

    fn series(limits: &SubjectLimits) -> usize {
        2 * last_rank(limits.local_ports) + 1
    }
}

impl AcceptQueues {
    fn of(
        listeners: &Listeners,
        range: &PortSet,
        k: usize,
        ranking: &mut Ranking<(IpAddr, u16)>,
    ) -> Self {
        let all = listeners.all();
        let fills = all.map(|(key, listener)| (key, fill(listener)));
        // A listener in the range has come by its port by chance, and the next one will have
        // another: it is listed when somebody waits there.
        let is_large = |&(_, port): &(IpAddr, u16), fill| fill > 0 || !range.contains(port);
        let shown = ranking.select(k, fills, is_large);
        let beyond = listeners.tracked() - shown.len();
        let queue = |((address, port), _)| {
            let listener = listeners.get((address, port))?;
            Some(AcceptQueue {
                address,
                port,
                waiting: listener.waiting,
                limit: listener.limit,
            })
        };
        Self {
            queues: shown.into_iter().filter_map(queue).collect(),
            folded: beyond as u32,
        }
    }
}

/// Fullest first, in millionths of the limit; of equally full ones the longer.
fn fill(listener: &Listener) -> u64 {
    let Listener { waiting, limit, .. } = *listener;
    let millionths = u64::from(waiting) * 1_000_000 / u64::from(limit.max(1));
    millionths << 24 | u64::from(waiting.min(0x00ff_ffff))
}

#[cfg(test)]
mod tests;
