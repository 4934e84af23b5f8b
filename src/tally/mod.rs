//! The hot line: one socket becomes counts.
//!
//! `Tally::add` runs once for every TCP socket of the host. In the common case
//! it allocates nothing, cannot fail and does one hash look-up.

mod index;
pub mod keys;
pub mod listeners;
pub mod sources;
pub mod udp;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::kernel::procfs::PortRange;
use crate::kernel::sock_diag::{Addresses, Family, SocketRecord};
use crate::kernel::state::{State, StateCounts};
use crate::ports::PortSet;

use keys::{Address, Key, NO_SOURCE, Seen, Table, V4, V6};
use listeners::Listeners;
use sources::Sources;

/// Length of TIME_WAIT, fixed in Linux (TCP_TIMEWAIT_LEN, include/net/tcp.h).
pub const TIME_WAIT_MS: u32 = 60_000;
/// Over how long the rate of active closes is taken.
pub const RECENT_MS: u32 = 10_000;
/// How little of TIME_WAIT must be left to tell that older ones may be gone.
const AGED_MS: u32 = 5_000;
/// `LOOPBACK_IFINDEX` (include/net/flow.h).
const LOOPBACK_INTERFACE: u32 = 1;
/// Ports whose maker is looked into after the dump: 12 bytes each. One address
/// alone has at most 32,768 of them; those beyond the bound count as connect()'s.
const SUSPECTS: usize = 1 << 20;

/// Whether connect() takes the tuple of a TIME_WAIT socket over, once that is
/// old enough (`tcp_twsk_unique`, net/ipv4/tcp_ipv4.c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    #[default]
    Never,
    Always,
    /// When an end is on loopback.
    Loopback,
}

/// What the settings say of the ports of a namespace.
#[derive(Clone, Debug)]
pub struct Ground {
    pub range: PortRange,
    /// The range without the reserved ports.
    pub effective: PortSet,
    pub reuse: Reuse,
    /// How old TIME_WAIT must be for that, in milliseconds.
    pub reuse_delay_ms: u32,
    /// Ports of which earlier polls know that bind() made them, for certain.
    pub known_bound: PortSet,
}

/// An outbound socket, the first on its local address and port, on a port that
/// connect() does not take first.
#[derive(Clone, Copy)]
pub struct Suspect {
    at: u32,
    pub port: u16,
    v6: bool,
    marks: u16,
}

/// A socket that is bound, and nothing more.
#[derive(Clone, Copy)]
struct Bound {
    family: Family,
    address: IpAddr,
    v6_only: bool,
    port: u16,
}

/// Bound-only sockets that can be remembered from one dump to the next: 40 bytes
/// each.
const REMEMBERED_BOUND: usize = 65_536;

/// Everything that one dump of TCP sockets is boiled down to.
pub struct Tally {
    /// Keys there is memory for, both families together.
    limit: usize,
    first: u16,
    effective: PortSet,
    reuse: Reuse,
    reuse_delay_ms: u32,
    /// Ports that plain connect() will not touch, as far as known while counting.
    lost: PortSet,
    /// Ports in the range with a listener or a bound-only socket.
    held: PortSet,
    listening: PortSet,
    /// Ports in the range with a connection.
    occupied: PortSet,
    /// Ports with two sockets of one local address, or with one that left the
    /// choice to connect() (IP_BIND_ADDRESS_NO_PORT): connect() made them.
    shared: PortSet,
    bound: Vec<Bound>,
    bound_left_out: bool,
    suspects: Vec<Suspect>,
    sockets: [StateCounts; 2],
    directions: [StateCounts; 2],
    /// Local ports that are counted by state, and the place in `port_states` of
    /// each. Most sockets are on none of them: the set spares these a look into
    /// the places, which do not stay in the nearest cache.
    watched: PortSet,
    port_places: Box<[u16; 65_536]>,
    port_states: Vec<StateCounts>,
    v4: Table<V4>,
    v6: Table<V6>,
    /// Indices of the devices that sockets are bound to.
    devices: Vec<u32>,
    waiting_v4: Vec<Waiting<V4>>,
    waiting_v6: Vec<Waiting<V6>>,
    sources: Sources,
    untracked: u64,
}

impl Tally {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            first: 0,
            effective: PortSet::default(),
            reuse: Reuse::Never,
            reuse_delay_ms: 0,
            lost: PortSet::default(),
            held: PortSet::default(),
            listening: PortSet::default(),
            occupied: PortSet::default(),
            shared: PortSet::default(),
            bound: Vec::new(),
            bound_left_out: false,
            suspects: Vec::new(),
            sockets: Default::default(),
            directions: Default::default(),
            watched: PortSet::default(),
            port_places: Box::new([0; 65_536]),
            port_states: Vec::new(),
            v4: Table::default(),
            v6: Table::default(),
            devices: Vec::new(),
            waiting_v4: Vec::with_capacity(BATCH),
            waiting_v6: Vec::with_capacity(BATCH),
            sources: Sources::default(),
            untracked: 0,
        }
    }

    /// Forgets the sockets of the last dump and takes the listeners of this one.
    /// `watched` are ports to count by state whether anybody listens or not.
    /// Unless the dump has the bound-only sockets (`with_bound`), the last known
    /// ones are counted again.
    pub fn begin(
        &mut self,
        ground: &Ground,
        listeners: &Listeners,
        watched: &[u16],
        with_bound: bool,
    ) {
        self.first = ground.range.first;
        self.effective.clone_from(&ground.effective);
        self.reuse = ground.reuse;
        self.reuse_delay_ms = ground.reuse_delay_ms;
        self.listening.clone_from(listeners.ports());
        self.held = self.listening.clone().and(&ground.effective);
        self.lost = self.held.clone();
        self.lost.union_with(&ground.known_bound);
        self.shared.clear();
        self.occupied.clear();
        self.devices.clear();
        self.suspects.clear();
        self.sockets = [Family::Inet, Family::Inet6].map(|family| listeners.counts(family));
        self.directions = Default::default();
        self.watched.clear();
        self.port_states.clear();
        self.v4.clear();
        self.v6.clear();
        self.waiting_v4.clear();
        self.waiting_v6.clear();
        self.sources.clear();
        self.untracked = 0;
        for port in listeners.ports().iter().chain(watched.iter().copied()) {
            self.watch(port);
        }
        for listener in listeners.all() {
            self.directions[1].add(State::Listen);
            self.add_port_state(listener.port, State::Listen);
            if self.effective.contains(listener.port) {
                self.sources
                    .hold_bound(listener.address, listener.v6_only, listener.port);
            }
        }
        if with_bound {
            self.bound.clear();
            self.bound_left_out = false;
        }
        for at in 0..self.bound.len() {
            let bound = self.bound[at];
            self.count_bound(&bound, listeners);
        }
    }

    /// Whether the bound-only sockets of the last dump are all remembered.
    pub fn remembers_bound(&self) -> bool {
        !self.bound_left_out
    }

    fn watch(&mut self, port: u16) {
        if self.watched.insert(port) {
            // There are no more places than ports.
            self.port_places[usize::from(port)] = self.port_states.len() as u16;
            self.port_states.push(StateCounts::default());
        }
    }

    #[inline]
    fn add_port_state(&mut self, port: u16, state: State) {
        if self.watched.contains(port) {
            self.port_states[usize::from(self.port_places[usize::from(port)])].add(state);
        }
    }

    /// Takes one socket that does not listen; `finish` follows the last one.
    #[inline]
    pub fn add(&mut self, record: &SocketRecord<'_>, listeners: &Listeners) {
        if record.state() == State::Close {
            return self.add_bound(record, listeners);
        }
        match record.addresses() {
            Addresses::V4 { local, remote } => self.count(record, local, remote, listeners),
            Addresses::V6 { local, remote } => self.count(record, local, remote, listeners),
        }
    }

    #[inline]
    fn count<A: Tabled>(
        &mut self,
        record: &SocketRecord<'_>,
        local: A,
        remote: A,
        listeners: &Listeners,
    ) {
        let (state, port) = (record.state(), record.local_port());
        let inbound = state == State::SynRecv || listeners.covers(local.to_ip(), port);
        self.sockets[record.family() as usize].add(state);
        self.directions[usize::from(inbound)].add(state);
        self.add_port_state(port, state);
        let in_range = self.effective.contains(port);
        let mut marks = 0;
        if let Some(remaining) = record
            .time_wait_remaining_ms()
            .filter(|_| state == State::TimeWait)
        {
            let age = TIME_WAIT_MS.saturating_sub(remaining);
            marks |= if age <= RECENT_MS { Seen::RECENT } else { 0 };
            marks |= if remaining < AGED_MS { Seen::AGED } else { 0 };
            if in_range && age > self.reuse_delay_ms {
                let reusable = self.is_reusable(record.interface(), local, remote);
                marks |= Seen::SETTLED | if reusable { Seen::REUSABLE } else { 0 };
            }
        }
        let preferred = (port ^ self.first) & 1 == 0;
        if in_range && !inbound && !preferred && record.binds_address_without_port() {
            self.shared.insert(port);
        }
        let device = match record.interface() {
            0 => 0,
            index => self.device_place(index),
        };
        let key = Key {
            local,
            remote,
            port: if inbound { port } else { record.remote_port() },
            tag: device << 1 | u16::from(inbound),
        };
        self.enqueue(
            key,
            Socket {
                port,
                in_range,
                state,
                marks,
            },
        );
    }

    /// Devices that sockets are bound to are few; their indices may be large.
    #[cold]
    fn device_place(&mut self, index: u32) -> u16 {
        let known = self.devices.iter().position(|&device| device == index);
        let at = known.unwrap_or_else(|| {
            if self.devices.len() < DEVICES {
                self.devices.push(index);
            }
            self.devices.len() - 1
        });
        at as u16 + 1
    }

    /// Index of the device that a key speaks of; none for sockets without one.
    pub fn device(&self, place: u16) -> Option<u32> {
        self.devices
            .get(usize::from(place).checked_sub(1)?)
            .copied()
    }

    /// Counts what `add` still holds back. To be called after the last socket.
    pub fn finish(&mut self) {
        self.drain::<V4>();
        self.drain::<V6>();
    }

    /// With many keys every look-up misses the cache. Sockets are therefore
    /// counted a batch at a time, so that the misses overlap.
    #[inline]
    fn enqueue<A: Tabled>(&mut self, key: Key<A>, socket: Socket) {
        let (table, queue) = A::parts(self);
        let hash = table.hash(&key);
        queue.push(Waiting { key, hash, socket });
        if queue.len() == BATCH {
            self.drain::<A>();
        }
    }

    fn drain<A: Tabled>(&mut self) {
        let (table, queue) = A::parts(self);
        for waiting in queue.iter() {
            table.glance(waiting.hash);
        }
        let mut queue = std::mem::take(queue);
        for waiting in queue.drain(..) {
            self.connected(&waiting);
        }
        *A::parts(self).1 = queue;
    }

    /// The kernel dumps these before the connections, so that the ports they hold
    /// are known when those pass by.
    #[cold]
    fn add_bound(&mut self, record: &SocketRecord<'_>, listeners: &Listeners) {
        let bound = Bound {
            family: record.family(),
            address: local_address(&record.addresses()),
            v6_only: record.is_v6_only(),
            port: record.local_port(),
        };
        self.count_bound(&bound, listeners);
        if self.bound.len() < REMEMBERED_BOUND {
            self.bound.push(bound);
        } else {
            self.bound_left_out = true;
        }
    }

    fn count_bound(&mut self, bound: &Bound, listeners: &Listeners) {
        let port = bound.port;
        let inbound = listeners.covers(bound.address, port);
        self.sockets[bound.family as usize].add(State::Close);
        self.directions[usize::from(inbound)].add(State::Close);
        self.add_port_state(port, State::Close);
        if self.effective.contains(port) {
            self.held.insert(port);
            self.lost.insert(port);
            self.sources.hold_bound(bound.address, bound.v6_only, port);
        }
    }

    #[inline]
    fn connected<A: Tabled>(&mut self, waiting: &Waiting<A>) {
        let Waiting {
            key,
            hash,
            socket:
                Socket {
                    port,
                    in_range,
                    state,
                    mut marks,
                },
        } = *waiting;
        let room = self.v4.len() + self.v6.len() < self.limit;
        let (table, sources) = A::table(self);
        let entry = table.entry(key, hash, room, || sources.place(key.local.to_ip()));
        if entry.is_none() {
            self.untracked += 1;
        }
        if in_range {
            let sources = &mut self.sources;
            let place = entry.map_or_else(|| sources.place(key.local.to_ip()), |(_, place)| place);
            let first_there = sources.hold(place, port);
            self.occupied.insert(port);
            if key.is_inbound() {
                marks &= !(Seen::REUSABLE | Seen::SETTLED);
            } else if self.lost.contains(port) {
                marks = marks & !(Seen::REUSABLE | Seen::SETTLED) | Seen::IN_RANGE | Seen::LOST;
            } else {
                let preferred = (port ^ self.first) & 1 == 0;
                marks |= Seen::IN_RANGE | if preferred { Seen::PREFERRED } else { 0 };
                if !first_there && place != NO_SOURCE {
                    self.shared.insert(port);
                } else if !preferred
                    && !self.shared.contains(port)
                    && let Some((at, _)) = entry
                {
                    self.suspect(at, port, A::V6, marks);
                }
            }
        }
        if let Some((at, _)) = entry {
            A::table(self).0.record(at, Seen::new(state, marks));
        }
    }

    fn suspect(&mut self, at: u32, port: u16, v6: bool, marks: u16) {
        if self.suspects.len() < SUSPECTS {
            self.suspects.push(Suspect {
                at,
                port,
                v6,
                marks,
            });
        }
    }

    #[inline]
    fn is_reusable<A: Address>(&self, interface: u32, local: A, remote: A) -> bool {
        match self.reuse {
            Reuse::Never => false,
            Reuse::Always => true,
            Reuse::Loopback => {
                interface == LOOPBACK_INTERFACE || local.is_loopback() || remote.is_loopback()
            }
        }
    }

    /// Sockets by family (inet, inet6) and state.
    pub fn sockets(&self) -> &[StateCounts; 2] {
        &self.sockets
    }

    /// Sockets by direction (outbound, inbound) and state.
    pub fn directions(&self) -> &[StateCounts; 2] {
        &self.directions
    }

    /// Sockets on one of the ports that are watched.
    pub fn port_states(&self, port: u16) -> Option<&StateCounts> {
        let place = usize::from(self.port_places[usize::from(port)]);
        self.watched
            .contains(port)
            .then(|| &self.port_states[place])
    }

    /// Ports in the range that a listener or a bound-only socket has.
    pub fn held(&self) -> &PortSet {
        &self.held
    }

    /// Ports with a listener, inside the range or not.
    pub fn listening(&self) -> &PortSet {
        &self.listening
    }

    /// Ports in the range with a connection, whoever opened it.
    pub fn occupied(&self) -> &PortSet {
        &self.occupied
    }

    pub fn shared(&self) -> &PortSet {
        &self.shared
    }

    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    pub fn suspects(&self) -> &[Suspect] {
        &self.suspects
    }

    /// Sockets whose key did not fit.
    pub fn untracked(&self) -> u64 {
        self.untracked
    }

    /// How many sockets there are on preferred ports toward the destination of a
    /// suspect, from its address.
    pub fn preferred_beside(&self, suspect: &Suspect) -> u32 {
        fn count<A: Address>(table: &Table<A>, at: u32) -> u32 {
            let (key, counters) = table.get(at);
            counters.preferred + unbound(table, key).preferred
        }
        if suspect.v6 {
            count(&self.v6, suspect.at)
        } else {
            count(&self.v4, suspect.at)
        }
    }

    /// Whether sockets toward the destination of a suspect have come and gone:
    /// what its preferred half held a minute ago can no longer be seen.
    pub fn has_turned_over(&self, suspect: &Suspect) -> bool {
        let aged = if suspect.v6 {
            self.v6.get(suspect.at).1.aged
        } else {
            self.v4.get(suspect.at).1.aged
        };
        aged > 0
    }

    /// The port of a suspect is lost to plain connect().
    pub fn convict(&mut self, suspect: &Suspect) {
        if suspect.v6 {
            self.v6.lose_port(suspect.at, suspect.marks);
        } else {
            self.v4.lose_port(suspect.at, suspect.marks);
        }
    }

    pub fn keys_v4(&self) -> &Table<V4> {
        &self.v4
    }

    pub fn keys_v6(&self) -> &Table<V6> {
        &self.v6
    }
}

/// Sockets that are bound to no device block a tuple for those that are, too
/// (`inet_sk_bound_dev_eq`): what the same key without a device counts.
pub fn unbound<A: Address>(table: &Table<A>, key: &Key<A>) -> keys::Counters {
    if key.device() == 0 {
        return keys::Counters::default();
    }
    table.find(&Key {
        tag: key.tag & 1,
        ..*key
    })
}

/// Devices that are told apart; sockets on further ones count with the last.
const DEVICES: usize = 1024;

/// How many look-ups are under way at once. A core has ten to sixteen buffers for
/// lines that it waits for.
const BATCH: usize = 16;

/// What is counted of a socket beside its key.
#[derive(Clone, Copy)]
struct Socket {
    port: u16,
    in_range: bool,
    state: State,
    marks: u16,
}

/// A socket whose key is being looked up.
struct Waiting<A> {
    key: Key<A>,
    hash: u64,
    socket: Socket,
}

/// An address that knows its table.
trait Tabled: Address {
    const V6: bool;
    fn table(tally: &mut Tally) -> (&mut Table<Self>, &mut Sources);
    fn parts(tally: &mut Tally) -> (&mut Table<Self>, &mut Vec<Waiting<Self>>);
}

impl Tabled for V4 {
    const V6: bool = false;

    #[inline]
    fn table(tally: &mut Tally) -> (&mut Table<Self>, &mut Sources) {
        (&mut tally.v4, &mut tally.sources)
    }

    #[inline]
    fn parts(tally: &mut Tally) -> (&mut Table<Self>, &mut Vec<Waiting<Self>>) {
        (&mut tally.v4, &mut tally.waiting_v4)
    }
}

impl Tabled for V6 {
    const V6: bool = true;

    #[inline]
    fn table(tally: &mut Tally) -> (&mut Table<Self>, &mut Sources) {
        (&mut tally.v6, &mut tally.sources)
    }

    #[inline]
    fn parts(tally: &mut Tally) -> (&mut Table<Self>, &mut Vec<Waiting<Self>>) {
        (&mut tally.v6, &mut tally.waiting_v6)
    }
}

pub fn local_address(addresses: &Addresses) -> IpAddr {
    match *addresses {
        Addresses::V4 { local, .. } => Ipv4Addr::from(local).into(),
        Addresses::V6 { local, .. } => Ipv6Addr::from(local).into(),
    }
}

#[cfg(test)]
mod tests;
