//! What sockets are counted by: local address, remote address, service port,
//! direction, device.

use std::hash::Hasher;
use std::net::{IpAddr, Ipv6Addr};

use crate::model::socket::{Direction, Family};

/// An address as a table keeps it.
pub trait Address: Copy + Eq + Into<IpAddr> {
    fn to_ip(self) -> IpAddr {
        self.into()
    }
    /// The same test as the kernel's: 127.0.0.0/8, or `::1`.
    fn is_loopback(self) -> bool;
    fn write(self, hasher: &mut impl Hasher);
}

/// Four octets in network order.
pub type V4 = [u8; 4];
/// Sixteen octets in network order.
pub type V6 = [u8; 16];

impl Address for V4 {
    #[inline]
    fn is_loopback(self) -> bool {
        self[0] == 127
    }

    #[inline]
    fn write(self, hasher: &mut impl Hasher) {
        hasher.write_u32(u32::from_ne_bytes(self));
    }
}

impl Address for V6 {
    #[inline]
    fn is_loopback(self) -> bool {
        self == Ipv6Addr::LOCALHOST.octets()
    }

    #[inline]
    fn write(self, hasher: &mut impl Hasher) {
        hasher.write_u128(u128::from_ne_bytes(self));
    }
}

/// Direction and device of a key, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag(u16);

impl Tag {
    /// `slot` is the device's place among those of the dump, from 1 on; 0 for none.
    #[inline]
    pub fn new(direction: Direction, slot: u16) -> Self {
        Self(slot << 1 | direction as u16)
    }

    #[inline]
    pub fn direction(self) -> Direction {
        match self.0 & 1 {
            0 => Direction::Outbound,
            _ => Direction::Inbound,
        }
    }

    #[inline]
    pub fn slot(self) -> u16 {
        self.0 >> 1
    }

    /// The same without a device.
    pub fn without_device(self) -> Self {
        Self::new(self.direction(), 0)
    }

    #[inline]
    pub(super) fn bits(self) -> u16 {
        self.0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<A> {
    pub local: A,
    pub remote: A,
    /// The service's: the remote port of outbound, the local of inbound sockets.
    pub port: u16,
    pub tag: Tag,
}

impl<A> Key<A> {
    #[inline]
    pub fn direction(&self) -> Direction {
        self.tag.direction()
    }
}

/// Where a key's counters are, until the next dump: a place in the table of a family. Four
/// bytes, for there may be a million of them (`PortUse::candidates`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyIndex(u32);

impl KeyIndex {
    #[inline]
    pub fn new(family: Family, at: u32) -> Self {
        Self(at << 1 | family as u32)
    }

    pub fn family(self) -> Family {
        match self.0 & 1 {
            0 => Family::Inet,
            _ => Family::Inet6,
        }
    }

    /// Place in the family's table.
    pub fn at(self) -> u32 {
        self.0 >> 1
    }
}
