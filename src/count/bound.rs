//! Sockets that are bound and nothing more. To ask for them makes a dump dearer,
//! so those of the last dump that did are remembered until the next that does.

use std::net::IpAddr;

use crate::model::socket::{Family, Socket};

/// Bound-only sockets that can be remembered: 32 bytes each.
const REMEMBERED: usize = 65_536;

#[derive(Clone, Copy)]
pub struct BoundSocket {
    pub family: Family,
    pub address: IpAddr,
    pub v6_only: bool,
    pub port: u16,
    /// 0 for none.
    pub cgroup: u64,
}

impl From<&Socket> for BoundSocket {
    fn from(socket: &Socket) -> Self {
        Self {
            family: socket.family,
            address: socket.addresses.local(),
            v6_only: socket.v6_only,
            port: socket.local_port,
            cgroup: socket.cgroup,
        }
    }
}

/// The bound-only sockets of one dump.
#[derive(Default)]
pub struct BoundSockets {
    sockets: Vec<BoundSocket>,
    left_out: bool,
}

impl BoundSockets {
    pub fn add(&mut self, socket: BoundSocket) {
        if self.sockets.len() < REMEMBERED {
            self.sockets.push(socket);
        } else {
            self.left_out = true;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &BoundSocket> {
        self.sockets.iter()
    }

    /// Whether none had to be left out.
    pub fn is_whole(&self) -> bool {
        !self.left_out
    }
}
