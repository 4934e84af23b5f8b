//! Sockets become counts. Each socket of a dump runs through these accumulators
//! once; what they hold is scratch, one for the process, and good until the next
//! dump begins.

pub mod addresses;
pub mod bound;
pub mod cgroups;
pub mod counters;
mod index;
pub mod key;
pub mod keys;
pub mod listeners;
pub mod local_ports;
pub mod policy;
pub mod port_use;
pub mod table;
pub mod tcp;
pub mod udp;

use listeners::Listeners;
use tcp::TcpCount;
use udp::UdpCount;

/// Addresses and ports with a listener that there is memory for: 6 MB when all are there.
/// A host with more has one listener for each of very many addresses.
const LISTENERS: usize = 100_000;

/// All accumulators.
pub struct Scratch {
    pub listeners: Listeners,
    pub tcp: TcpCount,
    pub udp: UdpCount,
}

impl Scratch {
    /// With memory for so many keys of TCP sockets.
    pub fn new(tracked_keys: usize) -> Self {
        Self {
            listeners: Listeners::new(LISTENERS),
            tcp: TcpCount::new(tracked_keys),
            udp: UdpCount::default(),
        }
    }
}

#[cfg(test)]
mod tests;
