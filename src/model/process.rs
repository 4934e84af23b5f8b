//! Processes, and how many sockets toward a destination they have.

use std::net::IpAddr;

/// One that has a socket open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: u32,
    /// Its name, as `ps` has it in the column COMMAND.
    pub command: String,
    pub sockets: u32,
}

/// From where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    pub source: IpAddr,
    pub destination: IpAddr,
    pub port: u16,
}

/// Who has the sockets toward one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteProcesses {
    pub route: Route,
    /// Most sockets first. One that several processes share counts for each.
    pub processes: Vec<Process>,
    /// Sockets that no process has any more: TIME_WAIT, and others after close().
    pub closed: u32,
    /// Those of processes that may not be looked into.
    pub unseen: u32,
}
