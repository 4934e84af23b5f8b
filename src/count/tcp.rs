//! The hot line: `TcpCount::add` runs once for every TCP socket of a dump. In the
//! common case it allocates nothing, cannot fail and does one hash look-up.

use super::addresses::{LocalAddresses, NO_SLOT};
use super::bound::{BoundSocket, BoundSockets};
use super::cgroups::CgroupCounts;
use super::counters::{Marks, Seen};
use super::key::{Key, KeyIndex, Tag, V4, V6};
use super::keys::{Keys, Tabled};
use super::listeners::Listeners;
use super::local_ports::LocalPorts;
use super::policy::PortPolicy;
use super::port_use::PortUse;
use super::table::{BATCH, Waiting};
use crate::model::socket::{Addresses, Direction, Socket};
use crate::model::state::{State, StateCounts};

/// `LOOPBACK_IFINDEX` (include/net/flow.h).
const LOOPBACK_DEVICE: u32 = 1;

/// Everything that one dump of TCP sockets is boiled down to.
#[derive(Default)]
pub struct TcpCount {
    policy: PortPolicy,
    /// By family (inet, inet6) and state.
    pub sockets: [StateCounts; 2],
    /// By direction (outbound, inbound) and state.
    pub directions: [StateCounts; 2],
    pub local_ports: LocalPorts,
    pub keys: Keys,
    pub addresses: LocalAddresses,
    /// The bound-only sockets of this dump, if it asked for them.
    pub bound: BoundSockets,
    pub ports: PortUse,
    pub cgroups: CgroupCounts,
}

impl TcpCount {
    /// With memory for so many keys.
    pub fn new(tracked_keys: usize) -> Self {
        Self {
            keys: Keys::new(tracked_keys),
            ..Self::default()
        }
    }

    /// Forgets the sockets of the last dump and takes the listeners of this one.
    /// `watched` are ports to count by state whether anybody listens or not.
    /// `known_bound` are the bound-only sockets of an earlier dump, where this one
    /// does not ask for them.
    pub fn begin(
        &mut self,
        policy: &PortPolicy,
        listeners: &Listeners,
        watched: &[u16],
        known_bound: Option<&BoundSockets>,
    ) {
        self.policy.clone_from(policy);
        self.sockets = listeners.by_family;
        self.directions = Default::default();
        let ports = &listeners.ports;
        self.local_ports
            .watch(ports.iter().chain(watched.iter().copied()));
        self.keys.clear();
        self.addresses.clear();
        self.bound = BoundSockets::default();
        self.ports.begin(policy, ports);
        self.cgroups.clear();
        for family in &self.sockets {
            self.directions[Direction::Inbound as usize].merge(family);
        }
        for (&cgroup, &sockets) in &listeners.by_cgroup {
            for _ in 0..sockets {
                self.cgroups.add(cgroup, State::Listen);
            }
        }
        for ((address, port), listener) in listeners.all() {
            for _ in 0..listener.sockets {
                self.local_ports.add(port, State::Listen);
            }
            if policy.effective.contains(port) {
                self.addresses.hold_bound(address, listener.v6_only, port);
            }
        }
        for bound in known_bound.into_iter().flat_map(BoundSockets::iter) {
            self.count_bound(bound, listeners);
        }
    }

    /// Takes one socket that does not listen; `finish` follows the last one.
    #[inline]
    pub fn add(&mut self, socket: &Socket, listeners: &Listeners) {
        if socket.state == State::Close {
            return self.add_bound(socket, listeners);
        }
        match socket.addresses {
            Addresses::V4 { local, remote } => self.count(socket, local, remote, listeners),
            Addresses::V6 { local, remote } => self.count(socket, local, remote, listeners),
        }
    }

    /// Cgroups that hold ports toward the destination of a key: their ids, and how many.
    pub fn holders(&self, key: KeyIndex) -> Vec<(u64, u32)> {
        let own = (self.keys.owner(key), self.keys.counters(key).own);
        self.cgroups.holders(key, own)
    }

    /// Counts what `add` still holds back.
    pub fn finish(&mut self) {
        self.drain::<V4>();
        self.drain::<V6>();
    }

    /// All but the key, which is looked up later: see `drain`.
    #[inline]
    fn count<A: Tabled>(&mut self, socket: &Socket, local: A, remote: A, listeners: &Listeners) {
        let (state, port) = (socket.state, socket.local_port);
        let is_accepted = state == State::SynRecv || listeners.covers(local.to_ip(), port);
        let direction = match is_accepted {
            true => Direction::Inbound,
            false => Direction::Outbound,
        };
        self.sockets[socket.family as usize].add(state);
        self.directions[direction as usize].add(state);
        self.local_ports.add(port, state);
        let in_range = self.policy.effective.contains(port);
        let marks = match socket.time_wait_remaining_ms {
            Some(remaining) if state == State::TimeWait => {
                let is_local =
                    socket.device == LOOPBACK_DEVICE || local.is_loopback() || remote.is_loopback();
                self.policy
                    .marks_of_time_wait(remaining, in_range, is_local)
            }
            _ => Marks::NONE,
        };
        if socket.bind_address_no_port && in_range && !is_accepted && !self.policy.prefers(port) {
            self.ports.shared.insert(port);
        }
        let slot = match socket.device {
            0 => 0,
            device => self.keys.device_slot(device),
        };
        let service = if is_accepted {
            port
        } else {
            socket.remote_port
        };
        let key = Key {
            local,
            remote,
            port: service,
            tag: Tag::new(direction, slot),
        };
        let table = A::table_mut(&mut self.keys);
        table.waiting.push(Waiting {
            key,
            hash: table.hash(&key),
            port,
            in_range,
            state,
            marks,
            cgroup: self.cgroups.add(socket.cgroup, state),
        });
        if table.waiting.len() == BATCH {
            self.drain::<A>();
        }
    }

    /// With many keys every look-up misses the cache. Sockets are therefore
    /// looked up a batch at a time, so that the misses overlap: 62 ms instead of
    /// 150 for 500,000 keys (`cargo bench --bench micro -- "hot line"`).
    fn drain<A: Tabled>(&mut self) {
        let table = A::table_mut(&mut self.keys);
        let mut waiting = std::mem::take(&mut table.waiting);
        for one in &waiting {
            table.prefetch(one.hash);
        }
        for one in waiting.drain(..) {
            self.record(&one);
        }
        A::table_mut(&mut self.keys).waiting = waiting;
    }

    #[inline]
    fn record<A: Tabled>(&mut self, waiting: &Waiting<A>) {
        let Waiting {
            key,
            hash,
            mut marks,
            ..
        } = *waiting;
        let (room, addresses) = (self.keys.has_room(), &mut self.addresses);
        let table = A::table_mut(&mut self.keys);
        let entry = table.entry(key, hash, room, || addresses.slot(key.local.to_ip()));
        if waiting.in_range {
            let slot = entry.map_or_else(|| addresses.slot(key.local.to_ip()), |(_, slot)| slot);
            let is_first = addresses.hold(slot, waiting.port) || slot == NO_SLOT;
            let at = entry.map(|(at, _)| A::index(at));
            marks = self.ports.record(waiting, &self.policy, at, is_first);
            if key.direction() == Direction::Outbound {
                let is_own = self.cgroups.hold(waiting.cgroup, at, |cgroup| {
                    entry.is_some_and(|(at, _)| table.own(at, cgroup))
                });
                marks = marks | Marks::OWN.when(is_own);
            }
        }
        match entry {
            Some((at, _)) => table.record(at, Seen::new(waiting.state, marks)),
            None => self.keys.untracked += 1,
        }
    }

    /// The kernel dumps these before the connections, so that the ports they hold
    /// are known when those pass by.
    #[cold]
    fn add_bound(&mut self, socket: &Socket, listeners: &Listeners) {
        let bound = BoundSocket::from(socket);
        self.count_bound(&bound, listeners);
        self.bound.add(bound);
    }

    fn count_bound(&mut self, bound: &BoundSocket, listeners: &Listeners) {
        let port = bound.port;
        let direction = match listeners.covers(bound.address, port) {
            true => Direction::Inbound,
            false => Direction::Outbound,
        };
        self.sockets[bound.family as usize].add(State::Close);
        self.directions[direction as usize].add(State::Close);
        self.local_ports.add(port, State::Close);
        self.cgroups.add(bound.cgroup, State::Close);
        if self.policy.effective.contains(port) {
            self.ports.hold(port);
            self.addresses
                .hold_bound(bound.address, bound.v6_only, port);
        }
    }
}
