//! UDP sockets as counts: there is one pool of ports, by local address.

use std::collections::BTreeMap;

use crate::kernel::sock_diag::SocketRecord;
use crate::kernel::state::State;
use crate::ports::PortSet;

use super::local_address;
use super::sources::Sources;

/// Sockets with and without a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct UdpCounts {
    pub connected: u32,
    pub unconnected: u32,
}

impl UdpCounts {
    fn add(&mut self, connected: bool) {
        if connected {
            self.connected += 1;
        } else {
            self.unconnected += 1;
        }
    }

    pub fn total(&self) -> u32 {
        self.connected + self.unconnected
    }

    pub fn without(&self, part: &Self) -> Self {
        Self {
            connected: self.connected.saturating_sub(part.connected),
            unconnected: self.unconnected.saturating_sub(part.unconnected),
        }
    }
}

/// Everything that the dumps of UDP sockets are boiled down to. Memory grows
/// with the number of distinct local ports, at most 65,536.
#[derive(Default)]
pub struct UdpTally {
    sockets: [UdpCounts; 2],
    ports: BTreeMap<u16, UdpCounts>,
    sources: Sources,
}

impl UdpTally {
    pub fn clear(&mut self) {
        self.sockets = Default::default();
        self.ports.clear();
        self.sources.clear();
    }

    pub fn add(&mut self, record: &SocketRecord<'_>, effective: &PortSet) {
        let connected = record.state() == State::Established;
        let port = record.local_port();
        self.sockets[record.family() as usize].add(connected);
        self.ports.entry(port).or_default().add(connected);
        if effective.contains(port) {
            let address = local_address(&record.addresses());
            self.sources.hold_bound(address, record.is_v6_only(), port);
        }
    }

    /// By family: inet, inet6.
    pub fn sockets(&self) -> &[UdpCounts; 2] {
        &self.sockets
    }

    pub fn port(&self, port: u16) -> UdpCounts {
        self.ports.get(&port).copied().unwrap_or_default()
    }

    /// Ports with an unconnected socket, outside the range: servers, that is.
    pub fn served(&self, range: &PortSet) -> impl Iterator<Item = u16> {
        self.ports
            .iter()
            .filter(|&(&port, counts)| counts.unconnected > 0 && !range.contains(port))
            .map(|(&port, _)| port)
    }

    pub fn sources(&self) -> &Sources {
        &self.sources
    }
}
