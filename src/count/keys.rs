//! The keys of both address families, with one bound on their memory.

use super::counters::{Counters, LostPorts, Marks};
use super::key::{Address, Key, V4, V6};
use super::table::Table;

/// Devices that are told apart; sockets on further ones count with the last.
const DEVICES: usize = 1024;

/// Where a key's counters are, until the next dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyIndex {
    V4(u32),
    V6(u32),
}

/// An outbound socket on a port whose maker is not known: of any port where the kernel
/// can be asked, else of those that connect() does not take first.
#[derive(Clone, Copy)]
pub struct Candidate {
    pub key: KeyIndex,
    pub port: u16,
    pub marks: Marks,
}

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
            v4: Table::default(),
            v6: Table::default(),
            devices: Vec::new(),
            untracked: 0,
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
        let known = self.devices.iter().position(|&other| other == device);
        let at = known.unwrap_or_else(|| {
            if self.devices.len() < DEVICES {
                self.devices.push(device);
            }
            self.devices.len() - 1
        });
        at as u16 + 1
    }

    /// The slot that a device has already; `None` when no socket is bound to it.
    pub fn known_slot(&self, device: u32) -> Option<u16> {
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

    /// What is counted toward the destination of a candidate, from its address.
    pub fn beside(&self, candidate: &Candidate) -> Beside {
        match candidate.key {
            KeyIndex::V4(at) => Beside::of(&self.v4, at),
            KeyIndex::V6(at) => Beside::of(&self.v6, at),
        }
    }
}

/// What stands beside a candidate.
pub struct Beside {
    /// Sockets on ports that connect() takes first.
    pub preferred: u32,
    /// Whether sockets have come and gone: what the preferred half held a minute
    /// ago can no longer be seen.
    pub has_turned_over: bool,
}

impl Beside {
    fn of<A: Address>(table: &Table<A>, at: u32) -> Self {
        let (key, counters) = table.get(at);
        let unbound = without_device(table, key).map_or(0, |at| table.get(at).1.preferred);
        Self {
            preferred: counters.preferred + unbound,
            has_turned_over: counters.aged > 0,
        }
    }
}

/// The same key without a device, for one that has a device: sockets that are bound
/// to none block a tuple for those that are, too (`inet_sk_bound_dev_eq`,
/// include/net/inet_sock.h).
pub fn without_device<A: Address>(table: &Table<A>, key: &Key<A>) -> Option<u32> {
    if key.tag.slot() == 0 {
        return None;
    }
    table.find(&Key {
        tag: key.tag.without_device(),
        ..*key
    })
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
        KeyIndex::V4(at)
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
        KeyIndex::V6(at)
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
    pub fn counters<A: Tabled>(&self, table: &Table<A>, at: u32) -> Counters {
        let mut counters = table.get(at).1;
        counters.apply(&self.get(A::index(at)));
        counters
    }
}
