//! This process: the files that it may open, and what it gives up before it does its work.

use anyhow::{Result, bail};
use rustix::process::{Resource, getrlimit};

use crate::config::Config;
use crate::kernel::privileges::{self, Landlock, Needs, PrivilegeError};
use crate::kernel::procfs::Procfs;

/// Files that the exporter opens beside those of connections: its log, listeners, signals and
/// timers, the files and sockets that a dump or a look at another namespace takes.
const OWN_DESCRIPTORS: usize = 48;

/// Fewer than the process can do with fail here and not in the midst of something.
///
/// # Errors
/// When the limit of open files is too low.
pub fn ensure_descriptors() -> Result<()> {
    let limit = descriptors();
    if limit <= OWN_DESCRIPTORS {
        bail!(
            "at most {limit} open files are allowed here (RLIMIT_NOFILE): at least {} are needed; raise the limit (ulimit -n, LimitNOFILE=)",
            OWN_DESCRIPTORS + 1
        );
    }
    Ok(())
}

/// How many files this process may open.
fn descriptors() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit).unwrap_or(usize::MAX)
    })
}

/// The connections that are configured, or fewer where there are not enough files for them.
pub fn max_connections(config: &Config) -> usize {
    let (wanted, limit) = (config.web.max_connections, descriptors());
    let allowed = wanted.min(limit.saturating_sub(OWN_DESCRIPTORS).max(1));
    if allowed < wanted {
        tracing::warn!(
            max_connections = wanted,
            limit,
            allowed,
            "web.max_connections is more than the limit of open files (RLIMIT_NOFILE) leaves room for, and is brought down; raise the limit (ulimit -n, LimitNOFILE=)"
        );
    }
    allowed
}

/// Ports below need a capability, unless `ip_unprivileged_port_start` says otherwise.
const LOW_PORTS: u64 = 1024;

/// Gives up what the configuration does not ask for. Before a second thread starts; what
/// came of it is told by [`say_given_up`] once there is a log.
///
/// # Errors
/// When the kernel refuses what it grants everybody.
pub fn give_up(config: &Config) -> Result<Landlock, PrivilegeError> {
    let procfs = Procfs::new(&config.procfs.root);
    let first_free = procfs.number("sys/net/ipv4/ip_unprivileged_port_start");
    let first_free = first_free.ok().flatten().unwrap_or(LOW_PORTS);
    let mut ports = config
        .web
        .listen
        .iter()
        .map(|address| address.port().into());
    privileges::give_up(Needs {
        low_ports: ports.any(|port| (1..first_free).contains(&port)),
        namespaces: config.netns.enabled,
    })
}

/// What could not be given up is no reason not to measure.
pub fn say_given_up(given_up: Result<Landlock, PrivilegeError>) {
    match given_up {
        Ok(landlock) => tracing::debug!(?landlock, "gave up what is not needed"),
        Err(error) => tracing::warn!(
            error = format!("{:#}", anyhow::Error::from(error)),
            "keeps privileges that it does not need: a filter of system calls refuses to drop them"
        ),
    }
}
