//! Who listens where: what tells inbound from outbound.

use std::net::IpAddr;

use hashbrown::HashSet;

use crate::model::ports::PortSet;
use crate::model::socket::{Family, Queues, Socket};
use crate::model::state::{State, StateCounts};

/// One listening socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    pub family: Family,
    pub address: IpAddr,
    pub port: u16,
    pub v6_only: bool,
    /// Connections waiting for `accept`.
    pub waiting: u32,
    pub limit: u32,
    /// 0 for none.
    pub cgroup: u64,
}

/// All listeners of a namespace.
#[derive(Default)]
pub struct Listeners {
    all: Vec<Listener>,
    ports: PortSet,
    every_v4: PortSet,
    every_v6: PortSet,
    exact: HashSet<(IpAddr, u16)>,
}

impl Listeners {
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn add(&mut self, socket: &Socket) {
        let Queues::Backlog { waiting, limit } = socket.queues else {
            return;
        };
        let (address, port) = (socket.addresses.local(), socket.local_port);
        let (family, v6_only) = (socket.family, socket.v6_only);
        self.ports.insert(port);
        if !address.is_unspecified() {
            self.exact.insert((address, port));
        } else if address.is_ipv4() {
            self.every_v4.insert(port);
        } else {
            self.every_v6.insert(port);
            if !v6_only {
                self.every_v4.insert(port);
            }
        }
        self.all.push(Listener {
            family,
            address,
            port,
            v6_only,
            waiting,
            limit,
            cgroup: socket.cgroup,
        });
    }

    pub fn all(&self) -> &[Listener] {
        &self.all
    }

    /// Ports with a listener on any address.
    pub fn ports(&self) -> &PortSet {
        &self.ports
    }

    pub fn counts(&self, family: Family) -> StateCounts {
        let mut counts = StateCounts::default();
        for _ in self.all.iter().filter(|listener| listener.family == family) {
            counts.add(State::Listen);
        }
        counts
    }

    /// Whether a socket with this local end was accepted, not connected.
    #[inline]
    pub fn covers(&self, address: IpAddr, port: u16) -> bool {
        self.ports.contains(port) && self.has(address, port)
    }

    fn has(&self, address: IpAddr, port: u16) -> bool {
        let everywhere = match address {
            IpAddr::V4(_) => &self.every_v4,
            IpAddr::V6(_) => &self.every_v6,
        };
        everywhere.contains(port) || self.exact.contains(&(address, port))
    }
}
