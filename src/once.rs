//! One poll, and no daemon: what the command `snapshot` prints.

use std::time::SystemTime;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::daemon::{roster, surveyor};
use crate::kernel::netlink::dump::Deadline;
use crate::kernel::processes;
use crate::model::process::{Route, RouteProcesses};
use crate::snapshot::{NamespaceSnapshot, Snapshot};
use crate::survey::namespace::Namespace;

/// Destinations whose processes are looked for.
const PROCESSES_OF: usize = 5;

/// A poll of every namespace.
///
/// # Errors
/// When the limits cannot be kept, or the thread cannot tell where it is.
pub fn poll(config: &Config) -> Result<Snapshot> {
    let mut surveyor = surveyor(config)?;
    let mut roster = roster(config)?;
    let taken = SystemTime::now();
    roster.tick(&mut surveyor);
    for namespace in &mut roster.all {
        surveyor.dump(namespace, &Default::default());
    }
    surveyor.leave_for(&mut roster.all[0]);
    let mut snapshot = Snapshot {
        taken,
        interval: config.poll.interval,
        namespaces: roster.all.iter().map(Namespace::snapshot).collect(),
        skipped: roster.skipped,
    };
    snapshot.fold(config.netns.series);
    Ok(snapshot)
}

/// Which processes have the sockets of the worst destinations in the exporter's own
/// namespace. It reads every open file of every process: not for the daemon.
///
/// # Errors
/// When the sockets cannot be dumped.
pub fn processes(config: &Config, snapshot: &Snapshot) -> Result<Vec<RouteProcesses>> {
    let own = |namespace: &&NamespaceSnapshot| namespace.name == config.netns.host_name;
    let own = snapshot.namespaces.iter().find(own);
    let ports = own.and_then(|namespace| namespace.facts.ephemeral.measured());
    let rows = ports.map_or(Vec::new(), |ports| ports.destinations.worst_first());
    let routes = rows.iter().take(PROCESSES_OF).map(|row| Route {
        source: row.source,
        destination: row.destination,
        port: row.port,
    });
    let deadline = Deadline {
        timeout: config.poll.timeout,
        stop: &Default::default(),
    };
    let routes: Vec<_> = routes.collect();
    processes::find(&config.procfs.root, &routes, deadline).context("cannot dump the sockets again")
}
