//! Sockets by (local address, remote address, service port, direction, device):
//! a compact table for each address family, with a bound on its memory.

use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::{DefaultHashBuilder, HashTable};

use super::index::Index;
use crate::kernel::state::{State, StateCounts};

/// An address as a table keeps it.
pub trait Address: Copy + Eq {
    fn to_ip(self) -> IpAddr;
    /// `None` for an address of the other family.
    fn of_ip(ip: IpAddr) -> Option<Self>;
    /// The same test as the kernel's: 127.0.0.0/8, or `::1`.
    fn is_loopback(self) -> bool;
    fn write(self, hasher: &mut impl Hasher);
}

/// Four octets in network order.
pub type V4 = [u8; 4];
/// Sixteen octets in network order.
pub type V6 = [u8; 16];

impl Address for V4 {
    fn to_ip(self) -> IpAddr {
        Ipv4Addr::from(self).into()
    }

    fn of_ip(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V4(ip) => Some(ip.octets()),
            IpAddr::V6(_) => None,
        }
    }

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
    fn to_ip(self) -> IpAddr {
        Ipv6Addr::from(self).into()
    }

    fn of_ip(ip: IpAddr) -> Option<Self> {
        match ip {
            IpAddr::V6(ip) => Some(ip.octets()),
            IpAddr::V4(_) => None,
        }
    }

    #[inline]
    fn is_loopback(self) -> bool {
        self == Ipv6Addr::LOCALHOST.octets()
    }

    #[inline]
    fn write(self, hasher: &mut impl Hasher) {
        hasher.write_u128(u128::from_ne_bytes(self));
    }
}

/// What sockets are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<A> {
    pub local: A,
    pub remote: A,
    /// The service's: the remote port of outbound, the local of inbound sockets.
    pub port: u16,
    /// The place of the device that the sockets are bound to, 0 for none, times two; plus one
    /// when the sockets are inbound.
    pub tag: u16,
}

impl<A> Key<A> {
    pub fn is_inbound(&self) -> bool {
        self.tag & 1 == 1
    }

    pub fn device(&self) -> u16 {
        self.tag >> 1
    }
}

/// One socket of a key, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(u16);

impl Seen {
    const STATE: u16 = 0x0f;
    /// The local port lies in the ephemeral range and is not reserved.
    pub const IN_RANGE: u16 = 1 << 4;
    /// … and has the parity that connect() prefers.
    pub const PREFERRED: u16 = 1 << 5;
    /// … and plain connect() has lost the port altogether.
    pub const LOST: u16 = 1 << 6;
    /// In TIME_WAIT, and the kernel would give its tuple away now.
    pub const REUSABLE: u16 = 1 << 7;
    /// In TIME_WAIT, and older than what the kernel waits before reuse.
    pub const SETTLED: u16 = 1 << 9;
    /// In TIME_WAIT, and about to leave it: others like it may be gone already.
    pub const AGED: u16 = 1 << 10;
    /// In TIME_WAIT, and was closed within the last ten seconds.
    pub const RECENT: u16 = 1 << 8;

    #[inline]
    pub fn new(state: State, marks: u16) -> Self {
        Self(state as u16 | marks)
    }

    #[inline]
    fn state(self) -> State {
        State::ALL[usize::from(self.0 & Self::STATE)]
    }

    #[inline]
    fn has(self, mark: u16) -> u32 {
        u32::from(self.0 & mark != 0)
    }
}

/// What is counted for a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub states: StateCounts,
    /// Sockets whose local port lies in the ephemeral range.
    pub in_range: u32,
    /// Of those, on ports that plain connect() can have and tries first.
    pub preferred: u32,
    /// Of those, on ports that plain connect() has lost.
    pub lost: u32,
    /// Of those, the ones that connect() would take over now.
    pub reusable: u32,
    /// Of those, the ones that it would take over if it were allowed to.
    pub settled: u32,
    /// Sockets that leave TIME_WAIT within the next seconds.
    pub aged: u32,
    /// Sockets closed by this side within the last ten seconds.
    pub recent: u32,
}

impl Counters {
    #[inline]
    fn add(&mut self, seen: Seen) {
        self.states.add(seen.state());
        self.in_range += seen.has(Seen::IN_RANGE);
        self.preferred += seen.has(Seen::PREFERRED);
        self.lost += seen.has(Seen::LOST);
        self.reusable += seen.has(Seen::REUSABLE);
        self.settled += seen.has(Seen::SETTLED);
        self.aged += seen.has(Seen::AGED);
        self.recent += seen.has(Seen::RECENT);
    }

    /// Ports that a plain connect() cannot have because of these sockets alone.
    pub fn blocked(&self) -> u32 {
        self.in_range - self.reusable - self.lost
    }

    pub fn merge(&mut self, other: &Self) {
        self.states.merge(&other.states);
        self.in_range += other.in_range;
        self.preferred += other.preferred;
        self.lost += other.lost;
        self.reusable += other.reusable;
        self.settled += other.settled;
        self.aged += other.aged;
        self.recent += other.recent;
    }
}

/// Most keys of a host with very many of them have one socket, so that is kept
/// in the entry; from the second on a key has counters of its own.
#[derive(Clone, Copy)]
struct Entry<A> {
    key: Key<A>,
    source: u16,
    first: Seen,
    /// Index of the counters, or `ONE_SOCKET`.
    counters: u32,
}

const ONE_SOCKET: u32 = u32::MAX;
/// The local address has no place in the table of sources.
pub const NO_SOURCE: u16 = u16::MAX;

/// The keys of one address family.
pub struct Table<A> {
    index: Index,
    entries: Vec<Entry<A>>,
    counters: Vec<Counters>,
    hash: DefaultHashBuilder,
}

impl<A: Address> Default for Table<A> {
    fn default() -> Self {
        Self {
            index: Index::default(),
            entries: Vec::new(),
            counters: Vec::new(),
            hash: DefaultHashBuilder::default(),
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
    pub fn glance(&self, hash: u64) {
        self.index.glance(hash);
    }

    /// The entry of a key, made with `source` when it is new and there is
    /// `room`. The index stays valid until `clear`.
    #[inline]
    pub fn entry(
        &mut self,
        key: Key<A>,
        hash: u64,
        room: bool,
        source: impl FnOnce() -> u16,
    ) -> Option<(u32, u16)> {
        let entries = &self.entries;
        if let Some(at) = self.index.find(hash, |at| entries[at as usize].key == key) {
            return Some((at, self.entries[at as usize].source));
        }
        if !room {
            return None;
        }
        let (at, source) = (self.entries.len() as u32, source());
        // A placeholder that `record` turns into the first socket.
        self.entries.push(Entry {
            key,
            source,
            first: UNSEEN,
            counters: ONE_SOCKET,
        });
        let (entries, build) = (&self.entries, &self.hash);
        self.index
            .insert(hash, at, |at| hash_key(build, &entries[at as usize].key));
        Some((at, source))
    }

    #[inline]
    pub fn record(&mut self, at: u32, seen: Seen) {
        let entry = &mut self.entries[at as usize];
        if entry.counters != ONE_SOCKET {
            self.counters[entry.counters as usize].add(seen);
        } else if entry.first == UNSEEN {
            entry.first = seen;
        } else {
            let mut counters = Counters::default();
            counters.add(entry.first);
            counters.add(seen);
            entry.counters = self.counters.len() as u32;
            self.counters.push(counters);
        }
    }

    /// One socket of this key, in the range and with these marks, turns out to sit on a port that
    /// plain connect() has lost.
    pub fn lose_port(&mut self, at: u32, marks: u16) {
        let entry = &mut self.entries[at as usize];
        if entry.counters == ONE_SOCKET {
            entry.first.0 = entry.first.0 & !(Seen::REUSABLE | Seen::SETTLED) | Seen::LOST;
        } else {
            let counters = &mut self.counters[entry.counters as usize];
            counters.lost += 1;
            counters.reusable -= u32::from(marks & Seen::REUSABLE != 0);
            counters.settled -= u32::from(marks & Seen::SETTLED != 0);
        }
    }

    pub fn key(&self, at: u32) -> &Key<A> {
        &self.entries[at as usize].key
    }

    pub fn get(&self, at: u32) -> (&Key<A>, Counters) {
        let entry = &self.entries[at as usize];
        (&entry.key, self.counters_of(entry))
    }

    /// The counters of a key; nothing when it is not in the table.
    pub fn find(&self, key: &Key<A>) -> Counters {
        let is = |at: u32| self.entries[at as usize].key == *key;
        let at = self.index.find(self.hash(key), is);
        at.map(|at| self.get(at).1).unwrap_or_default()
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
            hasher.write_u32(u32::from(key.port) << 1 | u32::from(key.is_inbound()));
            hasher.finish()
        };
        let mut peers: HashTable<(u32, u32)> = HashTable::with_capacity(self.entries.len());
        for (at, entry) in self.entries.iter().enumerate() {
            let key = &entry.key;
            let same = |&(other, _): &(u32, u32)| {
                let other = peer(other);
                other.remote == key.remote
                    && other.port == key.port
                    && other.is_inbound() == key.is_inbound()
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

    /// For each key the sockets in the range, and those of them that stand in the
    /// way of a plain connect().
    pub fn ports(&self) -> impl Iterator<Item = (&Key<A>, u32, u32)> {
        self.entries.iter().map(|entry| {
            if entry.counters == ONE_SOCKET {
                let seen = entry.first;
                let in_range = seen.has(Seen::IN_RANGE);
                let open = seen.has(Seen::LOST) | seen.has(Seen::REUSABLE);
                return (&entry.key, in_range, in_range & !open);
            }
            let counters = &self.counters[entry.counters as usize];
            (&entry.key, counters.in_range, counters.blocked())
        })
    }

    fn counters_of(&self, entry: &Entry<A>) -> Counters {
        if entry.counters != ONE_SOCKET {
            return self.counters[entry.counters as usize];
        }
        let mut counters = Counters::default();
        if entry.first != UNSEEN {
            counters.add(entry.first);
        }
        counters
    }
}

/// No socket looks like this: the state would be 15.
const UNSEEN: Seen = Seen(u16::MAX);

#[inline]
fn hash_key<A: Address>(build: &DefaultHashBuilder, key: &Key<A>) -> u64 {
    let mut hasher = build.build_hasher();
    key.local.write(&mut hasher);
    key.remote.write(&mut hasher);
    hasher.write_u32(u32::from(key.port) << 16 | u32::from(key.tag));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(last: u8, port: u16) -> Key<V4> {
        Key {
            local: [10, 0, 0, 1],
            remote: [10, 0, 1, last],
            port,
            tag: 0,
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
                Seen::new(State::TimeWait, Seen::IN_RANGE | Seen::REUSABLE),
            );
            let counters = table.find(&key(1, 443));
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
                    Seen::new(State::TimeWait, Seen::IN_RANGE | Seen::REUSABLE),
                );
            }
            table.lose_port(at, Seen::IN_RANGE | Seen::REUSABLE);
            let counters = table.get(at).1;
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
                table.record(at, Seen::new(State::Established, 0));
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
