//! One address family's sockets by key: a compact table with room for many.

use std::hash::{BuildHasher, Hasher};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::cgroups::Slot;
use super::counters::{Counters, Marks, Seen};
use super::index::Index;
use super::key::{Address, Key};
use crate::model::state::State;

/// Most keys of a host with very many of them have one socket, so that is kept
/// in the entry; from the second on a key has counters of its own.
#[derive(Clone, Copy)]
struct Entry<A> {
    key: Key<A>,
    /// Of the local address.
    slot: u16,
    /// Of the first cgroup with an outbound socket in the range.
    owner: Slot,
    first: Seen,
    /// Index of the counters, or `ONE_SOCKET`.
    counters: u32,
}

const ONE_SOCKET: u32 = u32::MAX;

/// How many look-ups are under way at once. A core has ten to sixteen buffers for
/// lines that it waits for.
pub(super) const BATCH: usize = 16;

/// A socket whose key is being looked up.
pub(super) struct Waiting<A> {
    pub key: Key<A>,
    pub hash: u64,
    pub port: u16,
    pub in_range: bool,
    pub state: State,
    pub marks: Marks,
    pub cgroup: Slot,
}

/// The keys of one address family.
pub struct Table<A> {
    index: Index,
    entries: Vec<Entry<A>>,
    counters: Vec<Counters>,
    hash: DefaultHashBuilder,
    /// Sockets to be looked up together, fewer than `BATCH`.
    pub(super) waiting: Vec<Waiting<A>>,
}

impl<A: Address> Default for Table<A> {
    fn default() -> Self {
        Self {
            index: Index::default(),
            entries: Vec::new(),
            counters: Vec::new(),
            hash: DefaultHashBuilder::default(),
            waiting: Vec::with_capacity(BATCH),
        }
    }
}

impl<A: Address> Table<A> {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Forgets the keys and keeps the memory, unless the last use needed less
    /// than a quarter of it.
    pub fn clear(&mut self) {
        self.waiting.clear();
        if self.entries.len() < self.entries.capacity() / 4 {
            let room = self.entries.len() * 2;
            self.entries = Vec::with_capacity(room);
            self.counters = Vec::with_capacity(self.counters.len() * 2);
            self.index = Index::with_capacity(room);
            return;
        }
        self.index.clear();
        self.entries.clear();
        self.counters.clear();
    }

    #[inline]
    pub fn hash(&self, key: &Key<A>) -> u64 {
        hash_key(&self.hash, key)
    }

    /// Has the processor fetch what `entry` will need, without waiting for it.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        self.index.prefetch(hash);
    }

    /// The entry of a key, made with `slot` (of the local address) when it is new and there is
    /// `room`. The index stays valid until `clear`.
    #[inline]
    pub fn entry(
        &mut self,
        key: Key<A>,
        hash: u64,
        room: bool,
        slot: impl FnOnce() -> u16,
    ) -> Option<(u32, u16)> {
        let entries = &self.entries;
        if let Some(at) = self.index.find(hash, |at| entries[at as usize].key == key) {
            return Some((at, self.entries[at as usize].slot));
        }
        if !room {
            return None;
        }
        let (at, slot) = (self.entries.len() as u32, slot());
        // A placeholder that `record` turns into the first socket.
        self.entries.push(Entry {
            key,
            slot,
            owner: Slot::NONE,
            first: Seen::NOTHING,
            counters: ONE_SOCKET,
        });
        let (entries, build) = (&self.entries, &self.hash);
        self.index
            .insert(hash, at, |at| hash_key(build, &entries[at as usize].key));
        Some((at, slot))
    }

    /// Whether the key is this cgroup's, which it becomes when it is nobody's.
    #[inline]
    pub fn own(&mut self, at: u32, cgroup: Slot) -> bool {
        let owner = &mut self.entries[at as usize].owner;
        if *owner == Slot::NONE {
            *owner = cgroup;
        }
        *owner == cgroup
    }

    /// The first cgroup of a key.
    pub fn owner(&self, at: u32) -> Slot {
        self.entries[at as usize].owner
    }

    #[inline]
    pub fn record(&mut self, at: u32, seen: Seen) {
        let entry = &mut self.entries[at as usize];
        if entry.counters != ONE_SOCKET {
            self.counters[entry.counters as usize].add(seen);
        } else if entry.first == Seen::NOTHING {
            entry.first = seen;
        } else {
            let mut counters = Counters::default();
            counters.add(entry.first);
            counters.add(seen);
            entry.counters = self.counters.len() as u32;
            self.counters.push(counters);
        }
    }

    pub fn key(&self, at: u32) -> &Key<A> {
        &self.entries[at as usize].key
    }

    pub fn get(&self, at: u32) -> (&Key<A>, Counters) {
        let entry = &self.entries[at as usize];
        (&entry.key, self.counters_of(entry))
    }

    /// Where a key is in the table.
    pub fn find(&self, key: &Key<A>) -> Option<u32> {
        let is = |at: u32| self.entries[at as usize].key == *key;
        self.index.find(self.hash(key), is)
    }

    /// The same key without a device, of one that has a device: sockets that are bound
    /// to none block a tuple for those that are, too (`inet_sk_bound_dev_eq`,
    /// include/net/inet_sock.h).
    pub fn without_device(&self, at: u32) -> Option<u32> {
        let key = self.key(at);
        let tag = key.tag.without_device();
        (tag != key.tag).then(|| self.find(&Key { tag, ..*key }))?
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key<A>, Counters)> {
        self.entries
            .iter()
            .map(|entry| (&entry.key, self.counters_of(entry)))
    }

    /// Sockets of each (remote address, service port, direction), whatever the
    /// local address and device: the index of one of their keys, and how many.
    pub fn peers(&self) -> Vec<(u32, u32)> {
        let peer = |at: u32| self.entries[at as usize].key;
        let hash = |key: &Key<A>| {
            let mut hasher = self.hash.build_hasher();
            key.remote.write(&mut hasher);
            hasher.write_u32(u32::from(key.port) << 1 | key.direction() as u32);
            hasher.finish()
        };
        let mut peers: HashTable<(u32, u32)> = HashTable::with_capacity(self.entries.len());
        for (at, entry) in self.entries.iter().enumerate() {
            let key = &entry.key;
            let same = |&(other, _): &(u32, u32)| {
                let other = peer(other);
                other.remote == key.remote
                    && other.port == key.port
                    && other.direction() == key.direction()
            };
            let sockets = match entry.counters {
                ONE_SOCKET => 1,
                at => self.counters[at as usize].states.total(),
            };
            peers
                .entry(hash(key), same, |&(other, _)| hash(&peer(other)))
                .and_modify(|(_, sum)| *sum += sockets)
                .or_insert((at as u32, sockets));
        }
        peers.into_iter().collect()
    }

    /// For each key its place, the sockets in the range, and those of them that
    /// stand in the way of a plain connect().
    pub fn ports(&self) -> impl Iterator<Item = (u32, &Key<A>, u32, u32)> {
        self.entries.iter().enumerate().map(|(at, entry)| {
            let (in_range, blocked) = if entry.counters == ONE_SOCKET {
                entry.first.ports()
            } else {
                let counters = &self.counters[entry.counters as usize];
                (counters.in_range, counters.blocked())
            };
            (at as u32, &entry.key, in_range, blocked)
        })
    }

    fn counters_of(&self, entry: &Entry<A>) -> Counters {
        if entry.counters != ONE_SOCKET {
            return self.counters[entry.counters as usize];
        }
        let mut counters = Counters::default();
        if entry.first != Seen::NOTHING {
            counters.add(entry.first);
        }
        counters
    }
}

#[inline]
fn hash_key<A: Address>(build: &DefaultHashBuilder, key: &Key<A>) -> u64 {
    let mut hasher = build.build_hasher();
    key.local.write(&mut hasher);
    key.remote.write(&mut hasher);
    hasher.write_u32(u32::from(key.port) << 16 | u32::from(key.tag.bits()));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::count::counters::{LostPorts, Marks};
    use crate::count::key::{Tag, V4};
    use crate::model::socket::Direction;
    use crate::model::state::State;

    fn key(last: u8, port: u16) -> Key<V4> {
        Key {
            local: [10, 0, 0, 1],
            remote: [10, 0, 1, last],
            port,
            tag: Tag::new(Direction::Outbound, 0),
        }
    }

    fn entry(table: &mut Table<V4>, key: Key<V4>, room: bool, source: u16) -> Option<(u32, u16)> {
        table.entry(key, table.hash(&key), room, || source)
    }

    #[test]
    fn one_socket_and_many_are_counted_alike() {
        let mut table = Table::<V4>::default();
        for round in 0..3_u32 {
            let (at, source) = entry(&mut table, key(1, 443), true, 7).unwrap();
            assert_eq!(source, 7);
            table.record(
                at,
                Seen::new(State::TimeWait, Marks::IN_RANGE | Marks::REUSABLE),
            );
            let counters = table.get(table.find(&key(1, 443)).unwrap()).1;
            assert_eq!(counters.states.get(State::TimeWait), round + 1);
            assert_eq!(
                (counters.in_range, counters.reusable, counters.lost),
                (round + 1, round + 1, 0)
            );
        }
    }

    #[test]
    fn a_lost_port_is_never_reusable() {
        for sockets in [1, 2] {
            let mut table = Table::<V4>::default();
            let (at, _) = entry(&mut table, key(1, 443), true, 0).unwrap();
            for _ in 0..sockets {
                table.record(
                    at,
                    Seen::new(State::TimeWait, Marks::IN_RANGE | Marks::REUSABLE),
                );
            }
            let mut lost = LostPorts::default();
            lost.add(Marks::IN_RANGE | Marks::REUSABLE);
            let mut counters = table.get(at).1;
            counters.apply(&lost);
            assert_eq!((counters.lost, counters.reusable), (1, sockets - 1));
        }
    }

    #[test]
    fn without_room_known_keys_go_on_and_new_ones_do_not() {
        let mut table = Table::<V4>::default();
        entry(&mut table, key(1, 443), true, 0).unwrap();
        assert!(entry(&mut table, key(1, 443), false, 0).is_some());
        assert!(entry(&mut table, key(2, 443), false, 0).is_none());
        assert_eq!(table.len(), 1);
    }

    #[test]
    fn peers_are_summed_over_local_addresses() {
        let mut table = Table::<V4>::default();
        for local in 0..5 {
            for port in [443, 80] {
                let key = Key {
                    local: [10, 0, 0, local],
                    ..key(9, port)
                };
                let (at, _) = entry(&mut table, key, true, 0).unwrap();
                table.record(at, Seen::new(State::Established, Marks::NONE));
            }
        }
        let mut peers: Vec<_> = table
            .peers()
            .into_iter()
            .map(|(at, sockets)| (table.key(at).port, sockets))
            .collect();
        peers.sort_unstable();
        assert_eq!(peers, [(80, 5), (443, 5)]);
    }

    #[test]
    fn memory_is_given_back_after_a_peak() {
        let mut table = Table::<V4>::default();
        for port in 0..10_000 {
            entry(&mut table, key(1, port), true, 0).unwrap();
        }
        table.clear();
        assert!(table.entries.capacity() >= 10_000);
        entry(&mut table, key(1, 1), true, 0).unwrap();
        table.clear();
        assert!(table.entries.capacity() < 100);
        assert!(table.index.capacity() < 100);
    }
}
