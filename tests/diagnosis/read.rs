//! One real poll, and what it says.

use std::net::SocketAddr;

use sockdiag_exporter::config::Config;
use sockdiag_exporter::daemon::poll_once;
use sockdiag_exporter::findings::Finding;
use sockdiag_exporter::show;
use sockdiag_exporter::snapshot::Snapshot;
use socket2::Socket;

use crate::support::plan::Plan;
use crate::support::sockets::{Listener, close_in_turn};

/// Findings about what is the machine's, not the namespace's: other tests and
/// other programs make and end them at any time.
const OF_THE_MACHINE: [&str; 2] = ["orphans", "tcp-memory"];

pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// One poll through the code that serves /metrics, without the findings that
/// this namespace is not to blame for.
pub fn poll_with(config: &Config) -> Snapshot {
    let mut snapshot = poll_once(config).expect("a poll succeeds");
    for namespace in &mut snapshot.namespaces {
        assert_eq!(namespace.facts.failures(), []);
        namespace
            .findings
            .retain(|finding| !OF_THE_MACHINE.contains(&finding.id));
    }
    snapshot
}

pub fn poll() -> Snapshot {
    poll_with(&Config::default())
}

pub fn findings(snapshot: &Snapshot) -> &[Finding] {
    &snapshot.namespaces[0].findings
}

/// The one finding with this id.
pub fn finding<'s>(snapshot: &'s Snapshot, id: &str) -> &'s Finding {
    let found: Vec<_> = findings(snapshot)
        .iter()
        .filter(|finding| finding.id == id)
        .collect();
    assert_eq!(found.len(), 1, "{id} in {:#?}", findings(snapshot));
    found[0]
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
        .filter(|line| *line != "conntrack: not offered by this kernel")
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
