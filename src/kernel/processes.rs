//! Which processes have the sockets toward some destinations: sock_diag tells the
//! inode of each socket, `/proc/PID/fd` has links to the inodes (proc_pid_fd(5)). For a
//! person who asks once: it reads every open file of every process.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use hashbrown::{HashMap, HashSet};

use super::netlink::DumpError;
use super::netlink::dump::Deadline;
use super::sock_diag::{Dump, SockDiag};
use crate::model::process::{Process, Route, RouteProcesses};

/// Inode and place among the routes.
type Inodes = HashMap<u32, usize>;

/// Of the calling thread's network namespace.
///
/// # Errors
/// When the sockets cannot be dumped.
pub fn find(
    proc: &Path,
    routes: &[Route],
    deadline: Deadline<'_>,
) -> Result<Vec<RouteProcesses>, DumpError> {
    let mut found: Vec<_> = routes
        .iter()
        .map(|&route| RouteProcesses {
            route,
            processes: Vec::new(),
            closed: 0,
            unseen: 0,
        })
        .collect();
    let mut inodes = Inodes::new();
    let sockets = Dump::TcpSockets { bound: false };
    SockDiag::default().dump_records(sockets, deadline, &mut |record| {
        let socket = record.socket();
        let route = Route {
            source: socket.addresses.local(),
            destination: socket.addresses.remote(),
            port: socket.remote_port,
        };
        let Some(at) = routes.iter().position(|wanted| *wanted == route) else {
            return;
        };
        match record.inode() {
            0 => found[at].closed += 1,
            inode => drop(inodes.insert(inode, at)),
        }
    })?;
    let mut seen = HashSet::new();
    for pid in pids(proc) {
        let held = held(&proc.join(format!("{pid}/fd")), &inodes, &mut seen);
        for (at, sockets) in held {
            found[at].processes.push(Process {
                pid,
                command: command(proc, pid),
                sockets,
            });
        }
    }
    for (_, &at) in inodes.iter().filter(|(inode, _)| !seen.contains(*inode)) {
        found[at].unseen += 1;
    }
    for route in &mut found {
        let most_first = |process: &Process| (std::cmp::Reverse(process.sockets), process.pid);
        route.processes.sort_by_key(most_first);
    }
    Ok(found)
}

/// The numbers of all processes, the lowest first.
pub fn pids(proc: &Path) -> Vec<u32> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut pids: Vec<_> = pids.collect();
    pids.sort_unstable();
    pids
}

/// Sockets that a process has, by route. None where it is gone, or may not be
/// looked into.
fn held(fd: &Path, inodes: &Inodes, seen: &mut HashSet<u32>) -> BTreeMap<usize, u32> {
    let mut own = HashSet::new();
    for entry in fs::read_dir(fd).into_iter().flatten().flatten() {
        let inode = fs::read_link(entry.path()).ok();
        let inode = inode.and_then(|link| parse_link(link.to_str()?));
        // The same socket under two numbers is one.
        own.extend(inode.filter(|inode| inodes.contains_key(inode)));
    }
    let mut held = BTreeMap::new();
    for inode in &own {
        *held.entry(inodes[inode]).or_default() += 1;
    }
    seen.extend(own);
    held
}

/// `socket:[12345]`.
pub fn parse_link(link: &str) -> Option<u32> {
    link.strip_prefix("socket:[")?
        .strip_suffix(']')?
        .parse()
        .ok()
}

fn command(proc: &Path, pid: u32) -> String {
    let name = fs::read_to_string(proc.join(format!("{pid}/comm")));
    name.unwrap_or_default().trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_to_sockets_have_an_inode_and_others_none() {
        assert_eq!(parse_link("socket:[4026]"), Some(4026));
        for other in ["pipe:[4026]", "/dev/null", "socket:[]", "socket:[12"] {
            assert_eq!(parse_link(other), None, "{other}");
        }
    }

    #[test]
    fn a_process_that_may_not_be_looked_into_has_nothing() {
        let mut seen = HashSet::new();
        let held = held(Path::new("/nowhere"), &Inodes::new(), &mut seen);
        assert!(held.is_empty() && seen.is_empty());
    }
}
