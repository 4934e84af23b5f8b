//! The hot line: `TcpCount::add` runs once for every TCP socket of a dump. In the
//! common case it allocates nothing, cannot fail and does one hash look-up.

use super::addresses::{LocalAddresses, NO_SLOT};
use super::bound::{BoundSocket, BoundSockets};
use super::cgroups::{CgroupCounts, Slot};
use super::counters::{Marks, Seen};
use super::key::{Address, Key, Tag, V4, V6};
use super::keys::{Candidate, Keys, Tabled};
use super::listeners::Listeners;
use super::local_ports::LocalPorts;
use super::policy::{PortPolicy, RECENT_MS, Reuse, TIME_WAIT_MS};
use crate::model::ports::PortSet;
use crate::model::socket::{Addresses, Direction, Family, Socket};
use crate::model::state::{State, StateCounts};

/// How little of TIME_WAIT must be left to tell that older ones may be gone.
const AGED_MS: u32 = 5_000;
/// `LOOPBACK_IFINDEX` (include/net/flow.h).
const LOOPBACK_DEVICE: u32 = 1;
/// Sockets on ports whose maker is looked into after the dump: 12 bytes each. Those
/// beyond the bound count toward their destination as if connect() had made the port.
const CANDIDATES: usize = 1 << 20;
/// How many look-ups are under way at once. A core has ten to sixteen buffers for
/// lines that it waits for.
const BATCH: usize = 16;

/// Everything that one dump of TCP sockets is boiled down to.
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
    waiting_v4: Vec<Waiting<V4>>,
    waiting_v6: Vec<Waiting<V6>>,
}

/// What became of the ports, as far as it shows while counting.
#[derive(Default)]
pub struct PortUse {
    /// Ports with a listener, inside the range or not.
    pub listening: PortSet,
    /// Ports in the range with a listener or a bound-only socket.
    pub held: PortSet,
    /// Those, and what earlier polls know to be bind()'s.
    lost: PortSet,
    /// Ports in the range with a connection, whoever opened it.
    pub occupied: PortSet,
    /// Ports with two sockets of one local address, or with one that left the
    /// choice to connect() (IP_BIND_ADDRESS_NO_PORT): connect() made them.
    pub shared: PortSet,
    pub candidates: Vec<Candidate>,
}

/// A socket whose key is being looked up.
struct Waiting<A> {
    key: Key<A>,
    hash: u64,
    port: u16,
    in_range: bool,
    state: State,
    marks: Marks,
    cgroup: Slot,
}

impl TcpCount {
    /// With memory for so many keys.
    pub fn new(tracked_keys: usize) -> Self {
        Self {
            policy: PortPolicy::default(),
            sockets: Default::default(),
            directions: Default::default(),
            local_ports: LocalPorts::default(),
            keys: Keys::new(tracked_keys),
            addresses: LocalAddresses::default(),
            bound: BoundSockets::default(),
            ports: PortUse::default(),
            cgroups: CgroupCounts::default(),
            waiting_v4: Vec::with_capacity(BATCH),
            waiting_v6: Vec::with_capacity(BATCH),
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
        self.sockets = Family::ALL.map(|family| listeners.counts(family));
        self.directions = Default::default();
        let ports = listeners.ports();
        self.local_ports
            .watch(ports.iter().chain(watched.iter().copied()));
        self.keys.clear();
        self.addresses.clear();
        self.bound.clear();
        self.ports.begin(policy, ports);
        self.cgroups.clear();
        self.waiting_v4.clear();
        self.waiting_v6.clear();
        for family in &self.sockets {
            self.directions[Direction::Inbound as usize].merge(family);
        }
        for (cgroup, sockets) in listeners.by_cgroup() {
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
            Addresses::V4 { local, remote } => {
                let waiting = self.count(socket, local, remote, listeners);
                self.waiting_v4.push(waiting);
                if self.waiting_v4.len() == BATCH {
                    self.drain_v4();
                }
            }
            Addresses::V6 { local, remote } => {
                let waiting = self.count(socket, local, remote, listeners);
                self.waiting_v6.push(waiting);
                if self.waiting_v6.len() == BATCH {
                    self.drain_v6();
                }
            }
        }
    }

    /// Cgroups that hold ports toward the destination of a key: their ids, and how many.
    pub fn holders<A: Tabled>(&self, at: u32) -> Vec<(u64, u32)> {
        let table = A::table(&self.keys);
        let own = (table.owner(at), table.get(at).1.own);
        self.cgroups.holders(A::index(at), own)
    }

    /// Counts what `add` still holds back.
    pub fn finish(&mut self) {
        self.drain_v4();
        self.drain_v6();
    }

    /// All but the key, which is looked up later: see `drain`.
    #[inline]
    fn count<A: Tabled>(
        &mut self,
        socket: &Socket,
        local: A,
        remote: A,
        listeners: &Listeners,
    ) -> Waiting<A> {
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
                self.marks_of_time_wait(socket.device, local, remote, remaining, in_range)
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
        Waiting {
            key,
            hash: A::table(&self.keys).hash(&key),
            port,
            in_range,
            state,
            marks,
            cgroup: self.cgroups.add(socket.cgroup, state),
        }
    }

    #[inline]
    fn marks_of_time_wait<A: Address>(
        &self,
        device: u32,
        local: A,
        remote: A,
        remaining: u32,
        in_range: bool,
    ) -> Marks {
        let age = TIME_WAIT_MS.saturating_sub(remaining);
        let marks = Marks::RECENT.when(age <= RECENT_MS) | Marks::AGED.when(remaining < AGED_MS);
        if !in_range || age <= self.policy.reuse_delay_ms {
            return marks;
        }
        let is_reusable = match self.policy.reuse {
            Reuse::Never => false,
            Reuse::Always => true,
            Reuse::Loopback => {
                device == LOOPBACK_DEVICE || local.is_loopback() || remote.is_loopback()
            }
        };
        marks | Marks::SETTLED | Marks::REUSABLE.when(is_reusable)
    }

    fn drain_v4(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting_v4);
        self.drain(&mut waiting);
        self.waiting_v4 = waiting;
    }

    fn drain_v6(&mut self) {
        let mut waiting = std::mem::take(&mut self.waiting_v6);
        self.drain(&mut waiting);
        self.waiting_v6 = waiting;
    }

    /// With many keys every look-up misses the cache. Sockets are therefore
    /// looked up a batch at a time, so that the misses overlap: 62 ms instead of
    /// 150 for 500,000 keys (`cargo bench --bench micro -- "hot line"`).
    fn drain<A: Tabled>(&mut self, waiting: &mut Vec<Waiting<A>>) {
        let table = A::table(&self.keys);
        for one in waiting.iter() {
            table.prefetch(one.hash);
        }
        for one in waiting.drain(..) {
            self.record(&one);
        }
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
            marks = self.ports.record(waiting, &self.policy, is_first, |marks| {
                at.map(|key| Candidate {
                    key,
                    port: waiting.port,
                    marks,
                })
            });
            if key.direction() == Direction::Outbound {
                let table = A::table_mut(&mut self.keys);
                let is_own = self.cgroups.hold(waiting.cgroup, at, |cgroup| {
                    entry.is_some_and(|(at, _)| table.own(at, cgroup))
                });
                marks = marks | Marks::OWN.when(is_own);
            }
        }
        match entry {
            Some((at, _)) => {
                A::table_mut(&mut self.keys).record(at, Seen::new(waiting.state, marks))
            }
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
            self.ports.held.insert(port);
            self.ports.lost.insert(port);
            self.addresses
                .hold_bound(bound.address, bound.v6_only, port);
        }
    }
}

impl PortUse {
    fn begin(&mut self, policy: &PortPolicy, listening: &PortSet) {
        self.listening.clone_from(listening);
        self.held = listening.clone().and(&policy.effective);
        self.lost = self.held.clone();
        self.lost.union_with(&policy.known.lost);
        self.occupied.clear();
        self.shared.clear();
        self.candidates.clear();
    }

    /// Takes a socket in the range, and adds to its marks what its port says.
    /// `is_first`: no other socket of its local address has the port, as far as known.
    #[inline]
    fn record<A>(
        &mut self,
        waiting: &Waiting<A>,
        policy: &PortPolicy,
        is_first: bool,
        candidate: impl FnOnce(Marks) -> Option<Candidate>,
    ) -> Marks {
        let (port, marks) = (waiting.port, waiting.marks);
        self.occupied.insert(port);
        let never_reused = marks.without(Marks::REUSABLE | Marks::SETTLED);
        if waiting.key.direction() == Direction::Inbound {
            return never_reused;
        }
        if self.lost.contains(port) {
            return never_reused | Marks::IN_RANGE | Marks::LOST;
        }
        let is_preferred = policy.prefers(port);
        let marks = marks | Marks::IN_RANGE | Marks::PREFERRED.when(is_preferred);
        if !is_first {
            self.shared.insert(port);
        }
        if (!is_preferred || policy.can_ask)
            && !policy.known.free.contains(port)
            && self.candidates.len() < CANDIDATES
            && let Some(candidate) = candidate(marks)
        {
            self.candidates.push(candidate);
        }
        marks
    }
}
