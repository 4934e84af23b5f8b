//! Sockets by the cgroup that made them, and who holds the ports toward a
//! destination.

use hashbrown::HashMap;

use super::key::KeyIndex;
use crate::model::state::{State, StateCounts};

/// Cgroups that are told apart: 64 bytes each. Sockets of further ones are counted
/// together.
const CGROUPS: usize = 16_384;
/// Pairs of a destination and one more cgroup than its first: 24 bytes each.
const SHARES: usize = 16_384;

/// A power of two.
const RECENT: usize = 512;
/// 2^64 over the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where a cgroup's counts are, until the next dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Slot(u16);

impl Slot {
    /// Of the sockets of which the kernel tells no cgroup.
    pub const NONE: Self = Self(0);
    /// Of those that are too many to be told apart.
    const REST: Self = Self(1);
    const FIRST: usize = 2;

    /// Whether it is that of one cgroup.
    #[inline]
    fn is_one(self) -> bool {
        usize::from(self.0) >= Self::FIRST
    }
}

/// TCP sockets of one cgroup.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CgroupCount {
    pub id: u64,
    pub states: StateCounts,
    /// Outbound ones with a local port in the range.
    pub ports: u32,
}

/// All of one dump.
pub struct CgroupCounts {
    /// Nothing is told apart while it is off.
    pub is_on: bool,
    slots: HashMap<u64, Slot>,
    /// `NONE`, `REST`, then one for each cgroup.
    rows: Vec<CgroupCount>,
    /// Spares nearly every socket the look into `slots`: 12 ns a socket instead of 20
    /// for telling 200 cgroups apart (`cargo bench --bench micro -- "hot line"`).
    recent: [(u64, Slot); RECENT],
    /// Ports toward destinations that belong to another cgroup than their first.
    shares: HashMap<(KeyIndex, Slot), u32>,
    /// Whether all cgroups and all their destinations were told apart.
    pub is_whole: bool,
}

impl Default for CgroupCounts {
    fn default() -> Self {
        let mut counts = Self {
            is_on: true,
            slots: HashMap::new(),
            rows: Vec::new(),
            recent: [(0, Slot::NONE); RECENT],
            shares: HashMap::new(),
            is_whole: true,
        };
        counts.clear();
        counts
    }
}

impl CgroupCounts {
    pub fn clear(&mut self) {
        self.slots.clear();
        self.rows.clear();
        self.rows.resize(Slot::FIRST, CgroupCount::default());
        self.recent = [(0, Slot::NONE); RECENT];
        self.shares.clear();
        self.is_whole = true;
    }

    /// Counts a socket, and says where; 0 is no cgroup.
    #[inline]
    pub fn add(&mut self, id: u64, state: State) -> Slot {
        let at = (id.wrapping_mul(SPREAD) >> (u64::BITS - RECENT.ilog2())) as usize;
        if id != self.recent[at].0 && self.is_on {
            self.recent[at] = (id, self.slot(id));
        }
        let slot = match self.recent[at] {
            (known, slot) if known == id => slot,
            _ => Slot::NONE,
        };
        self.rows[usize::from(slot.0)].states.add(state);
        slot
    }

    fn slot(&mut self, id: u64) -> Slot {
        if id == 0 {
            return Slot::NONE;
        }
        if let Some(&slot) = self.slots.get(&id) {
            return slot;
        }
        if self.slots.len() == CGROUPS {
            self.is_whole = false;
            return Slot::REST;
        }
        let slot = Slot(self.rows.len() as u16);
        self.rows.push(CgroupCount {
            id,
            ..CgroupCount::default()
        });
        self.slots.insert(id, slot);
        slot
    }

    /// Counts a port in the range with an outbound connection. `is_own`: whether the
    /// destination is the cgroup's so far; `at` is where the destination is counted.
    #[inline]
    pub fn hold(
        &mut self,
        slot: Slot,
        at: Option<KeyIndex>,
        is_own: impl FnOnce(Slot) -> bool,
    ) -> bool {
        self.rows[usize::from(slot.0)].ports += 1;
        let Some(at) = at.filter(|_| slot.is_one()) else {
            return false;
        };
        let is_own = is_own(slot);
        if !is_own {
            self.share(at, slot);
        }
        is_own
    }

    fn share(&mut self, at: KeyIndex, slot: Slot) {
        if let Some(ports) = self.shares.get_mut(&(at, slot)) {
            *ports += 1;
        } else if self.shares.len() < SHARES {
            self.shares.insert((at, slot), 1);
        } else {
            self.is_whole = false;
        }
    }

    /// Every cgroup with sockets.
    pub fn cgroups(&self) -> &[CgroupCount] {
        &self.rows[Slot::FIRST..]
    }

    /// Sockets of which the kernel tells no cgroup.
    pub fn none(&self) -> &CgroupCount {
        &self.rows[usize::from(Slot::NONE.0)]
    }

    /// Sockets of cgroups beyond those that are told apart.
    pub fn rest(&self) -> &CgroupCount {
        &self.rows[usize::from(Slot::REST.0)]
    }

    /// Cgroups with ports toward a destination: their ids, and how many. `own` are
    /// those of its first.
    pub fn holders(&self, at: KeyIndex, own: (Slot, u32)) -> Vec<(u64, u32)> {
        let others = self.shares.iter().filter(|((key, _), _)| *key == at);
        std::iter::once(own)
            .chain(others.map(|(&(_, slot), &ports)| (slot, ports)))
            .filter(|&(slot, ports)| slot.is_one() && ports > 0)
            .map(|(slot, ports)| (self.rows[usize::from(slot.0)].id, ports))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;
    use crate::count::Scratch;
    use crate::count::keys::Tabled;
    use crate::count::tcp::TcpCount;
    use crate::fake_kernel::{Sock, any_socks, count, policy};
    use crate::model::socket::{Direction, Family};

    /// (local, remote, service, device), cgroup: ports.
    type Holders = BTreeMap<((IpAddr, IpAddr, u16, u32), u64), u32>;

    fn holders<A: Tabled>(tcp: &TcpCount, into: &mut Holders) {
        let table = A::table(&tcp.keys);
        for at in 0..table.len() as u32 {
            let key = table.key(at);
            let device = tcp.keys.device(key.tag.slot());
            let name = (key.local.to_ip(), key.remote.to_ip(), key.port, device);
            for (id, ports) in tcp.holders(A::index(at)) {
                assert_eq!(key.direction(), Direction::Outbound);
                assert!(into.insert((name, id), ports).is_none());
            }
        }
    }

    /// Without listeners all but requests are outbound.
    fn model(socks: &[(Sock, u64)]) -> (BTreeMap<u64, CgroupCount>, Holders) {
        let (mut rows, mut holders) = (BTreeMap::new(), Holders::new());
        for (sock, id) in socks {
            let state = State::from_kernel(sock.state);
            let row: &mut CgroupCount = rows.entry(*id).or_default();
            row.id = *id;
            row.states.add(state);
            let port = sock.local.port();
            let is_outbound = !matches!(state, State::Close | State::SynRecv);
            if is_outbound && (40_000..40_020).contains(&port) {
                row.ports += 1;
                let (local, remote) = (sock.local.ip(), sock.remote.ip());
                let key = (local, remote, sock.remote.port(), sock.interface);
                if *id != 0 {
                    *holders.entry((key, *id)).or_default() += 1;
                }
            }
        }
        (rows, holders)
    }

    proptest! {
        #[test]
        fn it_counts_like_the_naive_model(
            socks in any_socks(),
            ids in prop::collection::vec(0_u64..4, 80),
        ) {
            let ids = ids.into_iter().map(|id| id * 513);
            let socks: Vec<_> = socks
                .into_iter()
                .filter(|sock| sock.state != 10)
                .zip(ids)
                .map(|(sock, id)| (if id == 0 { sock } else { sock.cgroup(id) }, id))
                .collect();
            let (mut rows, expected) = model(&socks);
            let socks: Vec<_> = socks.into_iter().map(|(sock, _)| sock).collect();
            let mut scratch = Scratch::new(1000);
            for _ in 0..2 {
                count(&mut scratch, &policy(40_000, 40_019), &socks, &[]);
            }
            let tcp = &scratch.tcp;
            prop_assert_eq!(*tcp.cgroups.none(), rows.remove(&0).unwrap_or_default());
            let found = tcp.cgroups.cgroups().iter().map(|row| (row.id, *row));
            prop_assert_eq!(found.collect::<BTreeMap<_, _>>(), rows);
            let mut found = Holders::new();
            holders::<[u8; 4]>(tcp, &mut found);
            holders::<[u8; 16]>(tcp, &mut found);
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn every_socket_is_counted_once() {
        let mut counts = CgroupCounts::default();
        for id in [7, 7, 8, 0, 7, 8, 0] {
            counts.add(id, State::Established);
        }
        let found: Vec<_> = counts
            .cgroups()
            .iter()
            .map(|row| (row.id, row.states.total()))
            .collect();
        assert_eq!(found, [(7, 3), (8, 2)]);
        assert_eq!(counts.none().states.total(), 2);
        counts.clear();
        assert_eq!(counts.add(0, State::Listen), Slot::NONE);
        assert!(counts.cgroups().is_empty());
        assert_eq!(counts.none().states.total(), 1);
    }

    #[test]
    fn what_is_off_tells_nothing_apart() {
        let mut counts = CgroupCounts {
            is_on: false,
            ..CgroupCounts::default()
        };
        for id in [7, 8] {
            assert_eq!(counts.add(id, State::Established), Slot::NONE);
        }
        assert!(counts.cgroups().is_empty());
    }

    #[test]
    fn cgroups_beyond_the_bound_are_counted_together() {
        let mut counts = CgroupCounts::default();
        for id in 1..=CGROUPS as u64 + 3 {
            counts.add(id, State::Established);
        }
        assert_eq!(counts.cgroups().len(), CGROUPS);
        assert_eq!(counts.rest().states.total(), 3);
        assert!(!counts.is_whole);
    }

    #[test]
    fn each_holder_of_a_destination_has_its_own_ports() {
        let mut counts = CgroupCounts::default();
        let (a, b) = (
            counts.add(7, State::Established),
            counts.add(8, State::Established),
        );
        let at = KeyIndex::new(Family::Inet, 3);
        for _ in 0..5 {
            assert!(!counts.hold(b, Some(at), |slot| slot == a));
        }
        assert!(counts.hold(a, Some(at), |slot| slot == a));
        // Sockets of nobody, and those whose destination was not tracked.
        assert!(!counts.hold(Slot::NONE, Some(at), |_| true));
        assert!(!counts.hold(a, None, |_| true));
        let mut holders = counts.holders(at, (a, 1));
        holders.sort_unstable();
        assert_eq!(holders, [(7, 1), (8, 5)]);
        assert!(
            counts
                .holders(KeyIndex::new(Family::Inet6, 3), (Slot::NONE, 0))
                .is_empty()
        );
        assert_eq!(counts.cgroups()[0].ports, 2);
        assert_eq!(counts.none().ports, 1);
    }
}
