//! Who listens where: what tells inbound from outbound.

use std::net::IpAddr;

use hashbrown::HashMap;

use crate::model::ports::PortSet;
use crate::model::socket::{Queues, Socket};
use crate::model::state::{State, StateCounts};

/// The listening sockets of one address and port: several with SO_REUSEPORT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    pub sockets: u32,
    pub v6_only: bool,
    /// Connections waiting for `accept`, of all of them.
    pub waiting: u32,
    pub limit: u32,
}

/// All listeners of a namespace, as far as there is memory for them.
#[derive(Default)]
pub struct Listeners {
    /// Addresses and ports that there is memory for.
    most: usize,
    all: HashMap<(IpAddr, u16), Listener>,
    /// inet, inet6.
    pub by_family: [StateCounts; 2],
    /// Sockets by cgroup; 0 is none.
    pub by_cgroup: HashMap<u64, u32>,
    /// Ports with a listener on any address.
    pub ports: PortSet,
    every_v4: PortSet,
    every_v6: PortSet,
    /// Ports of those that there was no memory for: they are taken to listen on every
    /// address.
    crowded: PortSet,
    /// How many sockets these are.
    pub untracked: u64,
}

impl Listeners {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    pub fn clear(&mut self) {
        *self = Self::new(self.most);
    }

    pub fn add(&mut self, socket: &Socket) {
        let Queues::Backlog { waiting, limit } = socket.queues else {
            return;
        };
        let (address, port) = (socket.addresses.local(), socket.local_port);
        self.by_family[socket.family as usize].add(State::Listen);
        let is_known =
            self.by_cgroup.len() < self.most || self.by_cgroup.contains_key(&socket.cgroup);
        let cgroup = if is_known { socket.cgroup } else { 0 };
        *self.by_cgroup.entry(cgroup).or_default() += 1;
        self.ports.insert(port);
        if address.is_unspecified() && address.is_ipv6() {
            self.every_v6.insert(port);
        }
        if address.is_unspecified() && (address.is_ipv4() || !socket.v6_only) {
            self.every_v4.insert(port);
        }
        let known = self.all.len() < self.most || self.all.contains_key(&(address, port));
        if !known {
            self.crowded.insert(port);
            self.untracked += 1;
            return;
        }
        let listener = self.all.entry((address, port)).or_insert(Listener {
            sockets: 0,
            v6_only: true,
            waiting: 0,
            limit: 0,
        });
        listener.sockets += 1;
        listener.v6_only &= socket.v6_only;
        listener.waiting = listener.waiting.saturating_add(waiting);
        listener.limit = listener.limit.saturating_add(limit);
    }

    /// By address and port, in no order.
    pub fn all(&self) -> impl Iterator<Item = ((IpAddr, u16), &Listener)> {
        self.all.iter().map(|(&at, listener)| (at, listener))
    }

    pub fn tracked(&self) -> usize {
        self.all.len()
    }

    pub fn get(&self, at: (IpAddr, u16)) -> Option<&Listener> {
        self.all.get(&at)
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
        everywhere.contains(port)
            || self.crowded.contains(port)
            || self.all.contains_key(&(address, port))
    }
}
