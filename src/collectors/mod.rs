//! One subject per file: the fact, its metrics, `collect`, `export`, tests.
//!
//! A new collector is a file like `conntrack.rs` and three lines here: a field
//! of `Facts`, its row in `Facts::outcomes` and its line in `Facts::export`.

pub mod bind_first;
pub mod budget;
pub mod conntrack;
pub mod ephemeral;
pub mod listeners;
pub mod metric;
pub mod observer;
pub mod peak;
pub mod peers;
pub mod section;
pub mod sockets;
pub mod tcp;

use serde::Serialize;

use conntrack::Conntrack;
use ephemeral::Ephemeral;
use listeners::AcceptQueues;
use metric::{Metric, Sink};
use peers::Peers;
use section::{Failure, Outcome, Section};
use sockets::{TcpSockets, UdpSockets};
use tcp::Tcp;

/// Everything known of one network namespace.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    pub sockets: Section<TcpSockets>,
    pub udp: Section<UdpSockets>,
    pub peers: Section<Peers>,
    pub listeners: Section<AcceptQueues>,
    pub ephemeral: Section<Ephemeral>,
    pub tcp: Section<Tcp>,
    pub conntrack: Section<Conntrack>,
}

impl Facts {
    /// Every collector by name, and what became of it.
    pub fn outcomes(&self) -> [(&'static str, Outcome<'_>); 7] {
        [
            ("sockets", self.sockets.outcome()),
            ("udp", self.udp.outcome()),
            ("peers", self.peers.outcome()),
            ("listeners", self.listeners.outcome()),
            ("ephemeral", self.ephemeral.outcome()),
            ("tcp", self.tcp.outcome()),
            ("conntrack", self.conntrack.outcome()),
        ]
    }

    /// Collectors that failed, and why.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, &Failure)> {
        self.outcomes()
            .into_iter()
            .filter_map(|(collector, outcome)| match outcome {
                Outcome::Failed(failure) => Some((collector, failure)),
                Outcome::Up | Outcome::Absent => None,
            })
    }

    pub fn export(&self, sink: &mut dyn Sink) {
        fn each<T>(section: &Section<T>, export: impl FnOnce(&T)) {
            section.measured().map(export);
        }
        each(&self.sockets, |fact| fact.export(sink));
        each(&self.udp, |fact| fact.export(sink));
        each(&self.peers, |fact| fact.export(sink));
        each(&self.listeners, |fact| fact.export(sink));
        each(&self.ephemeral, |fact| fact.export(sink));
        each(&self.tcp, |fact| fact.export(sink));
        each(&self.conntrack, |fact| fact.export(sink));
    }

    /// What is the machine's, not the namespace's.
    pub fn export_machine(&self, sink: &mut dyn Sink) {
        if let Some(tcp) = self.tcp.measured() {
            tcp.export_machine(sink);
        }
    }
}

/// Every kernel metric that can appear, in the order of the page.
pub fn catalogue() -> impl Iterator<Item = &'static Metric> {
    sockets::METRICS
        .into_iter()
        .chain(peers::METRICS)
        .chain(listeners::METRICS)
        .chain(ephemeral::METRICS)
        .chain(tcp::METRICS)
        .chain(conntrack::METRICS)
}
