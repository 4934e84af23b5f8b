//! Use of plain connect()'s ports: one pool for each (source, destination, port)
//! (net/ipv4/inet_hashtables.c, `__inet_hash_connect`).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use serde::Serialize;

use super::holder::{self, Holder, Holders, OWNER};
use super::origin::Origin;
use crate::count::counters::Counters;
use crate::count::key::KeyIndex;
use crate::count::key::{V4, V6};
use crate::count::keys::{Keys, Tabled};
use crate::count::policy::RECENT_MS;
use crate::kernel::netns::device_name;
use crate::model::figures::endpoint;
use crate::model::socket::Direction;
use crate::model::state::{State, StateCounts};
use crate::subjects::limits::Floor;
use crate::subjects::metric::{Sink, metrics};
use crate::subjects::ranking::{Ranking, last_rank};
use crate::subjects::visit::TcpDump;

/// Ports from one source toward one destination.
#[derive(Clone, Debug, Serialize)]
pub struct Destination {
    pub source: IpAddr,
    /// The device that the sockets are bound to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    pub destination: IpAddr,
    pub port: u16,
    pub used: u32,
    pub reusable: u32,
    /// What would be reusable with tcp_tw_reuse = 1.
    pub settled: u32,
    pub bind_first: u32,
    pub closes_per_second: f64,
    pub states: StateCounts,
    /// Who holds most of them; none where nobody is known to.
    #[serde(rename = "owner", skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// Of the blocked ones, sockets on ports of which it is known that connect() made them.
    #[serde(skip)]
    pub certainly_blocked: u32,
}

impl Destination {
    /// Ports that a new plain connect() toward it cannot have.
    pub fn blocked(&self) -> u32 {
        self.used.saturating_sub(self.reusable + self.bind_first)
    }

    /// The sockets whose ports connect() cannot take over.
    pub fn in_the_way(&self) -> StateCounts {
        self.states.less(State::TimeWait, self.reusable)
    }

    /// The address, and the device of sockets that are bound to one, as in
    /// RFC 4007: `fe80::1%eth0`.
    pub fn source_label(&self) -> String {
        match &self.device {
            Some(device) => format!("{}%{device}", self.source),
            None => self.source.to_string(),
        }
    }

    /// `10.0.0.5:443`.
    pub fn endpoint(&self) -> String {
        endpoint(self.destination, self.port)
    }

    /// Toward whom, from where: `10.0.0.5:443 from 10.0.0.1`.
    pub fn toward(&self) -> String {
        format!("{} from {}", self.endpoint(), self.source_label())
    }
}

/// The largest destinations, and the one that is worst off.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Destinations {
    #[serde(rename = "destinations")]
    pub rows: Vec<Destination>,
    #[serde(rename = "destinations_folded")]
    pub folded: u32,
    /// Most ports that are gone toward any of them, listed or not.
    #[serde(skip)]
    pub worst_blocked: u32,
    /// The same among ports of which it is known that connect() made them.
    #[serde(skip)]
    pub worst_certainly_blocked: u32,
    /// The same if bind() gives back all that it has.
    #[serde(skip)]
    pub worst_taken: u32,
}

metrics! {
    USED: gauge "sockdiag_ephemeral_destination_ports_used" [protocol, source, destination, port]
        "Outbound sockets with a local port in the range toward one destination from one source as of the last poll, TIME_WAIT included, the largest (sock_diag).";
    REUSABLE: gauge "sockdiag_ephemeral_destination_ports_reusable" [protocol, source, destination, port]
        "Ports in TIME_WAIT toward one destination from one source that plain connect() would take over, as of the last poll (sock_diag, tcp_tw_reuse).";
    BIND_FIRST: gauge "sockdiag_ephemeral_destination_ports_bind_first" [protocol, source, destination, port]
        "Outbound sockets toward one destination from one source on ports that are already off the capacity because bind() made them or a listener or bound socket has them, as of the last poll; an estimate (sock_diag).";
    CLOSES: gauge "sockdiag_ephemeral_destination_closes_per_second" [protocol, source, destination, port]
        "Connections per second that this side closed first, over ten seconds, as of the last poll, from the ages of TIME_WAIT (sock_diag).";
    FOLDED: gauge "sockdiag_ephemeral_destinations_folded" []
        "Destinations (source, destination, port) as of the last poll beyond limits.destinations, which are not exported; the utilization ratio knows them (sock_diag).";
}

/// The worst one is listed beside the `k` largest.
pub fn series(k: usize) -> usize {
    (last_rank(k) + 1) * (METRICS.len() - 1 + holder::METRICS.len()) + 1
}

/// What tells destinations apart from poll to poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DestinationKey {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) port: u16,
    pub(super) device: u32,
}

impl DestinationKey {
    /// Where its sockets are counted: those without a device beside its own.
    fn places(&self, keys: &Keys) -> Vec<KeyIndex> {
        let own = keys.outbound(self.source, self.destination, self.port, self.device);
        let unbound = own.and_then(|at| keys.without_device(at));
        own.into_iter().chain(unbound).collect()
    }
}

impl Destinations {
    /// Those that are listed, the ones with most ports gone first.
    pub fn worst_first(&self) -> Vec<&Destination> {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|row| std::cmp::Reverse((row.blocked(), row.used)));
        rows
    }

    pub fn of(
        tcp: &TcpDump<'_>,
        origin: &Origin,
        available: u32,
        (k, floor): (usize, Floor),
        ranking: &mut Ranking<DestinationKey>,
        holders: &mut Holders<DestinationKey>,
    ) -> Self {
        let keys = &tcp.count.keys;
        let (mut all, mut worst, mut worst_certainly, mut worst_taken) = (0_u32, None, 0, 0);
        let sizes = sizes::<V4>(keys, origin)
            .chain(sizes::<V6>(keys, origin))
            .map(|(key, size)| {
                all += 1;
                worst_certainly = size.certainly.max(worst_certainly);
                worst_taken = size.taken.max(worst_taken);
                if size.blocked > 0 && worst.is_none_or(|(most, _)| size.blocked > most) {
                    worst = Some((size.blocked, key));
                }
                (key, u64::from(size.used))
            });
        let all_ports = u64::from(available);
        let is_large = |_: &DestinationKey, used| floor.admits_ports(used, all_ports);
        let largest = ranking.select(k, sizes, is_large);
        let mut listed: Vec<_> = largest.into_iter().map(|(key, _)| key).collect();
        if let Some((_, key)) = worst
            && !listed.contains(&key)
        {
            listed.push(key);
        }
        let now = Instant::now();
        holders.forget(now);
        let describe = |&key| describe(tcp, origin, key, holders, now);
        Self {
            folded: all - listed.len() as u32,
            rows: listed.iter().map(describe).collect(),
            worst_certainly_blocked: worst_certainly,
            worst_taken,
            worst_blocked: worst.map_or(0, |(blocked, _)| blocked),
        }
    }

    pub fn export_folded(&self, sink: &mut dyn Sink) {
        sink.sample(&FOLDED, &[], self.folded.into());
    }

    pub fn export(&self, sink: &mut dyn Sink) {
        for row in &self.rows {
            let (source, destination) = (row.source_label(), row.destination.to_string());
            let port = row.port.to_string();
            let labels = ["tcp", &source, &destination, &port];
            sink.sample(&USED, &labels, row.used.into());
            sink.sample(&REUSABLE, &labels, row.reusable.into());
            sink.sample(&BIND_FIRST, &labels, row.bind_first.into());
            sink.sample(&CLOSES, &labels, row.closes_per_second);
            if let Some(holder) = &row.holder {
                let labels = [&source, &destination, &port, &holder.cgroup.path[..]];
                sink.sample(&OWNER, &labels, holder.sockets.into());
            }
        }
    }
}

/// Ports in the range toward one destination.
struct Size {
    used: u32,
    /// Those that connect() cannot take over.
    taken: u32,
    /// Of these, those that are not off the capacity already.
    blocked: u32,
    /// Of these, those of which it is known that connect() made them.
    certainly: u32,
}

/// Every destination with ports in the range. Sockets without a device count toward
/// those with one, too.
fn sizes<'c, A: Tabled + 'c>(
    keys: &'c Keys,
    origin: &'c Origin,
) -> impl Iterator<Item = (DestinationKey, Size)> + 'c {
    let lost = &origin.lost;
    let outbound = A::table(keys)
        .ports()
        .filter(|(_, key, ..)| key.direction() == Direction::Outbound);
    outbound.filter_map(move |(at, key, used, taken)| {
        let at = A::index(at);
        let blocked = taken - lost.get(at).blocked();
        let mut size = Size {
            used,
            taken,
            blocked,
            certainly: origin.certainly(at, blocked),
        };
        if let Some(at) = keys.without_device(at) {
            let beside = lost.counters(keys, at);
            size.used += beside.in_range;
            size.taken += beside.blocked() + lost.get(at).blocked();
            size.blocked += beside.blocked();
            size.certainly += origin.certainly(at, beside.blocked());
        }
        let name = DestinationKey {
            source: key.local.to_ip(),
            destination: key.remote.to_ip(),
            port: key.port,
            device: keys.device(key.tag.slot()),
        };
        (size.used > 0).then_some((name, size))
    })
}

fn describe(
    tcp: &TcpDump<'_>,
    origin: &Origin,
    key: DestinationKey,
    holders: &mut Holders<DestinationKey>,
    now: Instant,
) -> Destination {
    let count = tcp.count;
    let (mut counters, mut certainly_blocked) = (Counters::default(), 0);
    // Ports of the cgroups with live sockets toward it.
    let mut live: BTreeMap<u64, u32> = BTreeMap::new();
    for at in key.places(&count.keys) {
        let found = origin.lost.counters(&count.keys, at);
        certainly_blocked += origin.certainly(at, found.blocked());
        counters.merge(&found);
        for (id, ports) in count.holders(at) {
            *live.entry(id).or_default() += ports;
        }
    }
    let live: Vec<_> = live.into_iter().collect();
    let (used, is_whole) = (counters.in_range, count.cgroups.is_whole);
    Destination {
        source: key.source,
        device: (key.device != 0).then(|| device_name(key.device)),
        destination: key.destination,
        port: key.port,
        used,
        reusable: counters.reusable,
        settled: counters.settled,
        bind_first: counters.lost,
        closes_per_second: f64::from(counters.recent) / (f64::from(RECENT_MS) / 1000.0),
        states: counters.states,
        holder: holders.of(key, used, &live, is_whole, tcp.cgroups, now),
        certainly_blocked,
    }
}
