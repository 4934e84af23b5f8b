//! Which ports of the ephemeral range are held on which local address: the pool
//! of bind(0), of bind-before-connect and of UDP (net/ipv4/inet_connection_sock.c,
//! `inet_rcv_saddr_equal`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::HashMap;

use crate::model::ports::PortSet;

/// Local addresses with ports in the range that are told apart: 8 KiB each.
/// Sockets of further addresses count in `any` alone.
const ADDRESSES: usize = 1024;

/// The slot of an address beyond that bound.
pub const NO_SLOT: u16 = u16::MAX;

/// Held ports by local address, for one protocol.
#[derive(Default)]
pub struct LocalAddresses {
    slots: HashMap<IpAddr, u16>,
    ports: Vec<PortSet>,
    /// `0.0.0.0`.
    any_v4: PortSet,
    /// `::`, which covers every IPv6 address …
    any_v6: PortSet,
    /// … and, unless it is V6ONLY, every IPv4 address.
    dual: PortSet,
    /// Of addresses beyond the bound.
    elsewhere: PortSet,
}

impl LocalAddresses {
    pub fn clear(&mut self) {
        self.slots.clear();
        self.ports.clear();
        self.any_v4.clear();
        self.any_v6.clear();
        self.dual.clear();
        self.elsewhere.clear();
    }

    /// The slot of a local address, `NO_SLOT` beyond the bound.
    pub fn slot(&mut self, address: IpAddr) -> u16 {
        if let Some(&slot) = self.slots.get(&address) {
            return slot;
        }
        if self.ports.len() == ADDRESSES {
            return NO_SLOT;
        }
        let slot = self.ports.len() as u16;
        self.ports.push(PortSet::default());
        self.slots.insert(address, slot);
        slot
    }

    /// `true` when no socket of that address had the port.
    #[inline]
    pub fn hold(&mut self, slot: u16, port: u16) -> bool {
        match self.ports.get_mut(usize::from(slot)) {
            Some(ports) => ports.insert(port),
            None => self.elsewhere.insert(port),
        }
    }

    /// A socket without a peer: its address may be a wildcard.
    pub fn hold_bound(&mut self, address: IpAddr, v6_only: bool, port: u16) {
        if !address.is_unspecified() {
            let slot = self.slot(address);
            self.hold(slot, port);
        } else if address.is_ipv4() {
            self.any_v4.insert(port);
        } else {
            self.any_v6.insert(port);
            if !v6_only {
                self.dual.insert(port);
            }
        }
    }

    /// Every port held on any address.
    pub fn any(&self) -> PortSet {
        let mut any = self.elsewhere.clone();
        for set in self.ports.iter().chain([&self.any_v4, &self.any_v6]) {
            any.union_with(set);
        }
        any
    }

    /// Distinct ports held on each local address or on a wildcard that covers
    /// it. A wildcard that holds ports stands for the addresses without sockets.
    pub fn used(&self) -> impl Iterator<Item = (IpAddr, u32)> {
        let specific = self.slots.iter().map(|(&address, &slot)| {
            let ports = &self.ports[usize::from(slot)];
            let used = match address {
                IpAddr::V4(_) => ports.union_len(&[&self.any_v4, &self.dual]),
                IpAddr::V6(_) => ports.union_len(&[&self.any_v6]),
            };
            (address, used)
        });
        let (v4, v6) = (Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into());
        let any_v4 = self.any_v4.union_len(&[&self.dual]);
        let wildcards = [(v4, any_v4), (v6, self.any_v6.len())];
        specific.chain(wildcards).filter(|&(_, used)| used > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(addresses: &LocalAddresses, address: &str) -> Option<u32> {
        let address: IpAddr = address.parse().unwrap();
        addresses
            .used()
            .find(|&(other, _)| other == address)
            .map(|(_, used)| used)
    }

    #[test]
    fn wildcards_count_against_the_addresses_that_they_cover() {
        let mut addresses = LocalAddresses::default();
        for (address, v6_only, port) in [
            ("127.0.0.1", false, 1),
            ("::1", false, 2),
            ("0.0.0.0", false, 3),
            ("::", true, 4),
            ("::", false, 5),
            ("127.0.0.1", false, 5),
        ] {
            addresses.hold_bound(address.parse().unwrap(), v6_only, port);
        }
        assert_eq!(
            used(&addresses, "127.0.0.1"),
            Some(3),
            "own 1 and 5, wildcard 3, dual 5"
        );
        assert_eq!(used(&addresses, "::1"), Some(3), "own 2, wildcards 4 and 5");
        assert_eq!(used(&addresses, "0.0.0.0"), Some(2));
        assert_eq!(used(&addresses, "::"), Some(2));
        assert_eq!(addresses.any().len(), 5);
    }

    #[test]
    fn addresses_beyond_the_bound_count_on_any() {
        let mut addresses = LocalAddresses::default();
        for last in 0..=ADDRESSES as u32 {
            let slot = addresses.slot(Ipv4Addr::from(last + 1).into());
            addresses.hold(slot, last as u16);
        }
        assert_eq!(addresses.ports.len(), ADDRESSES);
        assert_eq!(addresses.any().len(), ADDRESSES as u32 + 1);
    }
}
