//! UDP sockets as counts: there is one pool of ports, by local address.

use std::collections::BTreeMap;

use super::addresses::LocalAddresses;
use crate::model::ports::PortSet;
use crate::model::socket::Socket;
use crate::model::state::State;

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

    /// Label and number of each state.
    pub fn states(&self) -> [(&'static str, u32); 2] {
        [
            ("connected", self.connected),
            ("unconnected", self.unconnected),
        ]
    }

    pub fn merge(&mut self, other: &Self) {
        self.connected += other.connected;
        self.unconnected += other.unconnected;
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
pub struct UdpCount {
    /// By family: inet, inet6.
    pub sockets: [UdpCounts; 2],
    ports: BTreeMap<u16, UdpCounts>,
    pub addresses: LocalAddresses,
}

impl UdpCount {
    pub fn clear(&mut self) {
        self.sockets = Default::default();
        self.ports.clear();
        self.addresses.clear();
    }

    /// `effective` are the ports that bind(0) hands out.
    pub fn add(&mut self, socket: &Socket, effective: &PortSet) {
        let connected = socket.state == State::Established;
        let port = socket.local_port;
        self.sockets[socket.family as usize].add(connected);
        self.ports.entry(port).or_default().add(connected);
        if effective.contains(port) {
            let address = socket.addresses.local();
            self.addresses.hold_bound(address, socket.v6_only, port);
        }
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
}
