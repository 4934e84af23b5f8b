//! What the page must say, worked out from the lines of `ss` by the plainest
//! means: no table, no bound, every figure counted for itself. It shares no code
//! with the exporter.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::RangeInclusive;

use sockdiag_exporter::kernel::features::KernelFeatures;

use crate::support::exposition::Series;
use crate::support::ss::{End, Family, Record};

/// How the tests call a socket that is bound and nothing more: `ss` has no word.
pub const BOUND: &str = "BOUND";

/// The states of sockets with a peer, as `ss` spells them and as the page does.
const CONNECTED: [(&str, &str); 9] = [
    ("ESTAB", "established"),
    ("SYN-SENT", "syn_sent"),
    ("SYN-RECV", "syn_recv"),
    ("FIN-WAIT-1", "fin_wait1"),
    ("FIN-WAIT-2", "fin_wait2"),
    ("TIME-WAIT", "time_wait"),
    ("CLOSE-WAIT", "close_wait"),
    ("LAST-ACK", "last_ack"),
    ("CLOSING", "closing"),
];
const UNCONNECTED: [(&str, &str); 2] = [("LISTEN", "listen"), (BOUND, "close")];
const UDP: [(&str, &str); 2] = [("ESTAB", "connected"), ("UNCONN", "unconnected")];

/// How many keys of each kind the page may show.
#[derive(Clone, Debug)]
pub struct Limits {
    pub peers: usize,
    pub destinations: usize,
    pub sources: usize,
    pub local_ports: usize,
    pub cgroups: usize,
    pub always: Vec<u16>,
}

/// All that is known of the namespace. `tcp_tw_reuse` is 2 in it, and TIME_WAIT
/// older than a second.
#[derive(Clone, Debug)]
pub struct Model {
    pub limits: Limits,
    /// Bound-only sockets included, which `ss` does not list.
    pub tcp: Vec<Record>,
    pub udp: Vec<Record>,
    /// The ends of the listeners among `tcp`.
    pub listeners: Vec<End>,
    pub range: RangeInclusive<u16>,
    pub reserved: Vec<RangeInclusive<u16>>,
    /// Local ports of sockets that were bound to port 0 before they connected.
    pub bind_first: BTreeSet<u16>,
    /// Of the kernel that runs.
    pub features: KernelFeatures,
    /// Whether all TIME_WAIT is younger than ten seconds; else all is older.
    pub closes_are_recent: bool,
}

/// (direction is inbound, remote address, service port)
type Peer = (bool, IpAddr, u16);

/// The series of the page, as they are put together.
#[derive(Default)]
pub struct Page(pub BTreeMap<Series, f64>);

impl Page {
    pub fn put(&mut self, name: &str, labels: &[(&str, &str)], value: usize) {
        self.put_f64(name, labels, value as f64);
    }

    pub fn put_f64(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        let mut labels: Vec<_> = [("netns", "host")]
            .iter()
            .chain(labels)
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        labels.sort();
        let earlier = self.0.insert((format!("sockdiag_{name}"), labels), value);
        assert!(earlier.is_none(), "{name} is expected twice");
    }
}

impl Model {
    pub fn page(&self) -> Page {
        let mut page = Page::default();
        self.sockets(&mut page);
        self.directions(&mut page);
        self.tcp_ports(&mut page);
        self.udp_ports(&mut page);
        self.peers(&mut page);
        self.accept_queues(&mut page);
        self.ephemeral(&mut page);
        self.cgroups(&mut page);
        page
    }

    /// Those that this kernel tells of.
    fn tcp_states(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let all = self.features.bound_only_sockets;
        every_tcp_state().filter(move |&(state, _)| all || state != BOUND)
    }

    fn sockets(&self, page: &mut Page) {
        for (family, name) in [(Family::V4, "inet"), (Family::V6, "inet6")] {
            for (state, label) in self.tcp_states() {
                let labels = [("protocol", "tcp"), ("family", name), ("state", label)];
                let found = |r: &&Record| r.family == family && r.state == state;
                page.put("sockets", &labels, self.tcp.iter().filter(found).count());
            }
            for (state, label) in UDP {
                let labels = [("protocol", "udp"), ("family", name), ("state", label)];
                let found = |r: &&Record| r.family == family && r.state == state;
                page.put("sockets", &labels, self.udp.iter().filter(found).count());
            }
        }
    }

    fn directions(&self, page: &mut Page) {
        for direction in ["inbound", "outbound"] {
            for (state, label) in self.tcp_states() {
                let found = |r: &&Record| {
                    r.state == state && self.is_inbound(r) == (direction == "inbound")
                };
                let labels = [("direction", direction), ("state", label)];
                let count = self.tcp.iter().filter(found).count();
                page.put("tcp_direction_sockets", &labels, count);
            }
        }
        page.put("keys_untracked", &[], 0);
    }

    fn tcp_ports(&self, page: &mut Page) {
        let served = self.tcp.iter().filter(|r| r.state == "LISTEN");
        let served = served.map(|r| r.local.port).collect();
        let states: Vec<_> = UNCONNECTED.into_iter().chain(CONNECTED).collect();
        self.ports(page, "tcp", &self.tcp, served, &states);
    }

    fn udp_ports(&self, page: &mut Page) {
        let served = self.udp.iter().filter(|r| r.state == "UNCONN");
        let served = served
            .map(|r| r.local.port)
            .filter(|port| !self.is_ephemeral(*port))
            .collect();
        self.ports(page, "udp", &self.udp, served, &UDP);
    }

    fn ports(
        &self,
        page: &mut Page,
        protocol: &str,
        records: &[Record],
        served: BTreeSet<u16>,
        states: &[(&str, &str)],
    ) {
        let always: BTreeSet<u16> = self.limits.always.iter().copied().collect();
        let sizes = served.difference(&always).map(|&port| {
            let there = records.iter().filter(|r| r.local.port == port);
            (port, there.count())
        });
        let shown = largest(sizes, self.limits.local_ports);
        let folded = served.difference(&always).count() - shown.len();
        page.put("local_ports_folded", &[("protocol", protocol)], folded);
        let mut shown: BTreeSet<_> = shown.into_iter().collect();
        shown.extend(&always);
        let rows = shown.iter().map(|&port| Some(port)).chain([None]);
        for port in rows {
            let name = port.map_or("other".to_owned(), |port| port.to_string());
            for (state, label) in states {
                let found = |r: &&Record| {
                    let place = Some(r.local.port).filter(|port| shown.contains(port));
                    r.state == *state && place == port
                };
                let labels = [("protocol", protocol), ("port", &*name), ("state", label)];
                let count = records.iter().filter(found).count();
                if count > 0 {
                    page.put("local_port_sockets", &labels, count);
                }
            }
        }
    }

    fn peers(&self, page: &mut Page) {
        let mut peers: BTreeMap<Peer, BTreeMap<&str, usize>> = BTreeMap::new();
        for record in self.connections() {
            let states = peers.entry(self.peer_of(record)).or_default();
            *states.entry(record.state.as_str()).or_default() += 1;
        }
        for inbound in [false, true] {
            let direction = if inbound { "inbound" } else { "outbound" };
            let ours = || peers.iter().filter(|(peer, _)| peer.0 == inbound);
            let sizes = ours().map(|(peer, states)| (*peer, states.values().sum::<usize>()));
            let shown = largest(sizes, self.limits.peers);
            let mut other: BTreeMap<&str, usize> = BTreeMap::new();
            for (peer, states) in ours() {
                if shown.contains(peer) {
                    let (address, port) = (peer.1.to_string(), peer.2.to_string());
                    put_peer(page, [direction, &address, &port], states);
                } else {
                    for (state, count) in states {
                        *other.entry(state).or_default() += count;
                    }
                }
            }
            put_peer(page, [direction, "other", "other"], &other);
            let labels = [("direction", direction)];
            page.put("peers", &labels, ours().count());
            page.put("peers_folded", &labels, ours().count() - shown.len());
        }
    }

    fn cgroups(&self, page: &mut Page) {
        let mut all: BTreeMap<&str, (BTreeMap<&str, usize>, usize)> = BTreeMap::new();
        for name in ["other", "gone", "none", "hidden"] {
            all.entry(name).or_default();
        }
        for record in &self.tcp {
            let name = record.cgroup.as_deref().unwrap_or("none");
            let (states, ports) = all.entry(name).or_default();
            let (_, label) = every_tcp_state()
                .find(|(state, _)| *state == record.state)
                .unwrap();
            *states.entry(label).or_default() += 1;
            let is_outbound = is_connected(record) && !self.is_inbound(record);
            *ports += usize::from(is_outbound && self.is_ephemeral(record.local.port));
        }
        let named = || all.iter().filter(|(name, _)| name.starts_with('/'));
        let sizes = named().map(|(name, (states, _))| (*name, states.values().sum::<usize>()));
        let shown = largest(sizes, self.limits.cgroups);
        page.put("cgroups_folded", &[], named().count() - shown.len());
        let rest: Vec<_> = named().filter(|(name, _)| !shown.contains(name)).collect();
        let rest: Vec<_> = rest.into_iter().map(|(name, _)| *name).collect();
        for name in rest {
            let (states, ports) = all.remove(name).unwrap_or_default();
            let other = all.entry("other").or_default();
            other.1 += ports;
            for (state, count) in states {
                *other.0.entry(state).or_default() += count;
            }
        }
        for (name, (states, ports)) in all {
            page.put("cgroup_ephemeral_ports_used", &[("cgroup", name)], ports);
            for (state, count) in states {
                page.put(
                    "cgroup_sockets",
                    &[("cgroup", name), ("state", state)],
                    count,
                );
            }
        }
    }

    fn accept_queues(&self, page: &mut Page) {
        let mut queues: BTreeMap<(IpAddr, u16), (usize, usize)> = BTreeMap::new();
        for listener in self.tcp.iter().filter(|r| r.state == "LISTEN") {
            let end = (listener.local.address, listener.local.port);
            let (waiting, limit) = queues.entry(end).or_default();
            *waiting += listener.recv_q as usize;
            *limit += listener.send_q as usize;
        }
        let fill = |(waiting, limit): (usize, usize)| (waiting * 1_000_000 / limit.max(1), waiting);
        // In the range only where somebody waits.
        let is_shown = |end: &(IpAddr, u16), queue: &(usize, usize)| {
            !self.is_ephemeral(end.1) || fill(*queue).0 > 0
        };
        let large = queues.iter().filter(|(end, queue)| is_shown(end, queue));
        let sizes = large.map(|(end, queue)| (*end, fill(*queue)));
        let shown = largest(sizes, self.limits.local_ports);
        for (address, port) in &shown {
            let (waiting, limit) = queues[&(*address, *port)];
            let (address, port) = (address.to_string(), port.to_string());
            let labels = [("address", &*address), ("port", &*port)];
            page.put("listener_backlog_connections", &labels, waiting);
            page.put("listener_backlog_limit_connections", &labels, limit);
        }
        page.put("listeners_folded", &[], queues.len() - shown.len());
    }

    /// Sockets that have a peer.
    pub fn connections(&self) -> impl Iterator<Item = &Record> {
        self.tcp.iter().filter(|r| is_connected(r))
    }

    /// Whether somebody else opened it.
    pub fn is_inbound(&self, record: &Record) -> bool {
        let mut listeners = self.listeners.iter();
        record.state == "SYN-RECV"
            || listeners.any(|listener| {
                listener.port == record.local.port && covers(listener, record.local.address)
            })
    }

    fn peer_of(&self, record: &Record) -> Peer {
        let inbound = self.is_inbound(record);
        let service = if inbound { &record.local } else { &record.peer };
        (inbound, record.peer.address, service.port)
    }
}

pub fn is_connected(record: &Record) -> bool {
    CONNECTED.iter().any(|(state, _)| record.state == *state)
}

/// Whether an end bound like this takes what arrives at an address.
pub fn covers(bound: &End, address: IpAddr) -> bool {
    let every = bound.address.is_unspecified() && bound.address.is_ipv4() == address.is_ipv4();
    bound.address == address || every || bound.dual_stack
}

/// The `k` largest, equals in the order of their keys.
pub fn largest<K: Ord + Clone, S: Ord>(sizes: impl Iterator<Item = (K, S)>, k: usize) -> Vec<K> {
    let mut sizes: Vec<_> = sizes.map(|(key, size)| (Reverse(size), key)).collect();
    sizes.sort();
    sizes.into_iter().take(k).map(|(_, key)| key).collect()
}

fn every_tcp_state() -> impl Iterator<Item = (&'static str, &'static str)> {
    let unknown = [("no such word", "unknown")];
    CONNECTED.into_iter().chain(UNCONNECTED).chain(unknown)
}

fn put_peer(page: &mut Page, [direction, peer, port]: [&str; 3], states: &BTreeMap<&str, usize>) {
    for (state, label) in CONNECTED {
        let labels = [
            ("direction", direction),
            ("peer", peer),
            ("port", port),
            ("state", label),
        ];
        let count = states.get(state).copied().unwrap_or(0);
        if count > 0 {
            page.put("peer_sockets", &labels, count);
        }
    }
}
