//! The keys of both address families, with one bound on their memory.

use std::net::IpAddr;

use super::cgroups::Slot;
use super::counters::{Counters, LostPorts, Marks};
use super::key::{Address, Key, KeyIndex, Tag, V4, V6};
use super::table::Table;
use crate::model::socket::{Direction, Family};

/// Devices that are told apart; sockets on further ones count with the last.
const DEVICES: usize = 1024;

/// An outbound socket on a port whose maker is not known: of any port where the kernel
/// can be asked, else of those that connect() does not take first.
#[derive(Clone, Copy)]
pub struct Candidate {
    pub key: KeyIndex,
    pub port: u16,
    pub marks: Marks,
}

#[derive(Default)]
pub struct Keys {
    limit: usize,
    pub v4: Table<V4>,
    pub v6: Table<V6>,
    /// Indices of the devices that sockets are bound to, in the order of their slots.
    devices: Vec<u32>,
    /// Sockets whose key did not fit.
    pub untracked: u64,
}

impl Keys {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    pub fn clear(&mut self) {
        self.v4.clear();
        self.v6.clear();
        self.devices.clear();
        self.untracked = 0;
    }

    #[inline]
    pub fn has_room(&self) -> bool {
        self.v4.len() + self.v6.len() < self.limit
    }

    /// The slot of a device in the tags of keys. Devices that sockets are bound to
    /// are few; their indices may be large.
    #[cold]
    pub fn device_slot(&mut self, device: u32) -> u16 {
        if let Some(slot) = self.known_slot(device) {
            return slot;
        }
        if self.devices.len() < DEVICES {
            self.devices.push(device);
        }
        self.devices.len() as u16
    }

    /// The slot that a device has already; `None` when no socket is bound to it.
    fn known_slot(&self, device: u32) -> Option<u16> {
        if device == 0 {
            return Some(0);
        }
        let at = self.devices.iter().position(|&other| other == device)?;
        Some(at as u16 + 1)
    }

    /// Index of the device in a slot, 0 for none.
    pub fn device(&self, slot: u16) -> u32 {
        let at = usize::from(slot).checked_sub(1);
        at.and_then(|at| self.devices.get(at)).copied().unwrap_or(0)
    }

    /// The key of outbound sockets; `None` when there are none, or the addresses are of two
    /// families.
    pub fn outbound(
        &self,
        source: IpAddr,
        destination: IpAddr,
        port: u16,
        device: u32,
    ) -> Option<KeyIndex> {
        let tag = Tag::new(Direction::Outbound, self.known_slot(device)?);
        match (source, destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => self.find(from.octets(), to.octets(), port, tag),
            (IpAddr::V6(from), IpAddr::V6(to)) => self.find(from.octets(), to.octets(), port, tag),
            _ => None,
        }
    }

    fn find<A: Tabled>(&self, local: A, remote: A, port: u16, tag: Tag) -> Option<KeyIndex> {
        let key = Key {
            local,
            remote,
            port,
            tag,
        };
        A::table(self).find(&key).map(A::index)
    }

    /// What is counted for a key.
    pub fn counters(&self, key: KeyIndex) -> Counters {
        match key.family() {
            Family::Inet => self.v4.get(key.at()).1,
            Family::Inet6 => self.v6.get(key.at()).1,
        }
    }

    /// The first cgroup of a key.
    pub fn owner(&self, key: KeyIndex) -> Slot {
        match key.family() {
            Family::Inet => self.v4.owner(key.at()),
            Family::Inet6 => self.v6.owner(key.at()),
        }
    }

    /// See [`Table::without_device`].
    pub fn without_device(&self, key: KeyIndex) -> Option<KeyIndex> {
        let without = match key.family() {
            Family::Inet => self.v4.without_device(key.at()),
            Family::Inet6 => self.v6.without_device(key.at()),
        };
        without.map(|at| KeyIndex::new(key.family(), at))
    }
}

/// An address whose keys are in a table of its own.
pub trait Tabled: Address {
    fn table(keys: &Keys) -> &Table<Self>;
    fn table_mut(keys: &mut Keys) -> &mut Table<Self>;
    fn index(at: u32) -> KeyIndex;
}

impl Tabled for V4 {
    #[inline]
    fn table(keys: &Keys) -> &Table<Self> {
        &keys.v4
    }

    #[inline]
    fn table_mut(keys: &mut Keys) -> &mut Table<Self> {
        &mut keys.v4
    }

    #[inline]
    fn index(at: u32) -> KeyIndex {
        KeyIndex::new(Family::Inet, at)
    }
}

impl Tabled for V6 {
    #[inline]
    fn table(keys: &Keys) -> &Table<Self> {
        &keys.v6
    }

    #[inline]
    fn table_mut(keys: &mut Keys) -> &mut Table<Self> {
        &mut keys.v6
    }

    #[inline]
    fn index(at: u32) -> KeyIndex {
        KeyIndex::new(Family::Inet6, at)
    }
}

/// Ports found lost after counting, by key.
#[derive(Default)]
pub struct LostByKey(hashbrown::HashMap<KeyIndex, LostPorts>);

impl LostByKey {
    pub fn add(&mut self, candidate: &Candidate) {
        self.0
            .entry(candidate.key)
            .or_default()
            .add(candidate.marks);
    }

    pub fn get(&self, key: KeyIndex) -> LostPorts {
        self.0.get(&key).copied().unwrap_or_default()
    }

    /// The counters of a key with what was found since.
    pub fn counters(&self, keys: &Keys, key: KeyIndex) -> Counters {
        let mut counters = keys.counters(key);
        counters.apply(&self.get(key));
        counters
    }
}
