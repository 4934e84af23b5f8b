//! One real poll, and what it says.

use std::net::SocketAddr;

use sockdiag_exporter::config::Config;
use sockdiag_exporter::findings::{Finding, FindingId};
use sockdiag_exporter::once;
use sockdiag_exporter::show;
use sockdiag_exporter::snapshot::Snapshot;
use sockdiag_exporter::subjects::section::Section;
use socket2::Socket;

use crate::support::plan::Plan;
use crate::support::sockets::{Listener, close_in_turn};

pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// One poll through the code that serves /metrics, without the findings that
/// this namespace is not to blame for.
pub fn poll_with(config: &Config) -> Snapshot {
    let mut snapshot = once::poll(config).expect("a poll succeeds");
    for namespace in &mut snapshot.namespaces {
        assert_eq!(namespace.facts.failures(), []);
        // Where this process runs is the machine's.
        namespace.facts.cgroups = Section::Measured(Default::default());
        if let Section::Measured(ports) = &mut namespace.facts.ephemeral {
            let rows = ports.destinations.rows.iter_mut();
            rows.for_each(|row| row.holder = None);
        }
        // Other tests and other programs fill what is the machine's.
        if let Section::Measured(tcp) = &mut namespace.facts.tcp {
            (tcp.orphans, tcp.memory_bytes) = (None, None);
        }
    }
    snapshot
}

pub fn poll() -> Snapshot {
    poll_with(&Config::default())
}

pub fn findings(snapshot: &Snapshot) -> Vec<Finding> {
    snapshot.namespaces[0].findings()
}

/// The one finding with this id.
pub fn finding(snapshot: &Snapshot, id: FindingId) -> Finding {
    let mut found = findings(snapshot);
    found.retain(|finding| finding.id == id);
    assert_eq!(found.len(), 1, "{id} in {:#?}", findings(snapshot));
    found.remove(0)
}

/// The part of the report that is about findings. Whether this kernel has
/// conntrack loaded is not part of it. Nothing else need be filtered: the cases
/// choose their ports, and close within the ten seconds that rates are taken of.
pub fn text(snapshot: &Snapshot) -> String {
    let text = show::text::render(snapshot);
    let (_, after_title) = text.split_once("\n\n").expect("a title");
    let (findings, _) = after_title
        .split_once("ephemeral ports ")
        .expect("the figures follow");
    findings
        .lines()
        .filter(|line| *line != "conntrack: not offered by this kernel, or switched off")
        .collect::<Vec<_>>()
        .join("\n")
}

/// Connections that this plan opened and this side closed first.
pub fn time_wait(listener: &Listener, plan: &Plan, count: usize) {
    let pairs = pairs(listener, plan, count);
    for (client, server) in pairs {
        close_in_turn(client, server).expect("both ends close");
    }
}

pub fn pairs(listener: &Listener, plan: &Plan, count: usize) -> Vec<(Socket, Socket)> {
    (0..count)
        .map(|_| listener.pair(plan).expect("a port is free"))
        .collect()
}
