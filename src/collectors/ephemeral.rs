//! Use of the ephemeral ports, by the two pools that the kernel has: plain
//! connect() draws from one for each (source, destination, port), bind(0),
//! bind-before-connect and UDP from one for each local address
//! (net/ipv4/inet_hashtables.c, net/ipv4/inet_connection_sock.c, net/ipv4/udp.c).

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::bind_first::{PortMemory, Verdict};
use super::metric::{Metric, Sink};
use super::peak::Peaks;
use super::section::Failure;
use crate::kernel::procfs::{PortRange, Procfs, parse_port_list, parse_port_range};
use crate::kernel::state::{State, StateCounts};
use crate::ports::PortSet;
use crate::tally::keys::{Address, Counters, Key, Table};
use crate::tally::sources::Sources;
use crate::tally::udp::UdpTally;
use crate::tally::{Ground, RECENT_MS, Reuse, TIME_WAIT_MS, Tally, unbound};
use crate::top::Ranking;

/// What the settings of the namespace say (kernel: networking/ip-sysctl.rst).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Settings {
    pub range: PortRange,
    /// `ip_local_reserved_ports`, whether inside the range or not.
    pub reserved: Vec<PortRange>,
    pub tw_reuse: u64,
    /// Milliseconds.
    pub tw_reuse_delay: u64,
    pub timestamps: u64,
}

impl Settings {
    /// # Errors
    /// When a file cannot be read or makes no sense, or there is no range.
    pub fn read(procfs: &Procfs) -> Result<Self, Failure> {
        let file = |name: &str| format!("sys/net/ipv4/{name}");
        let range = procfs.required(
            &file("ip_local_port_range"),
            "two ports, the lower first",
            parse_port_range,
        )?;
        let reserved = procfs.value(
            &file("ip_local_reserved_ports"),
            "a list of ports",
            parse_port_list,
        )?;
        Ok(Self {
            range,
            reserved: reserved.unwrap_or_default(),
            tw_reuse: procfs.number(&file("tcp_tw_reuse"))?.unwrap_or(0),
            // Kernels without the file wait for a second.
            tw_reuse_delay: procfs.number(&file("tcp_tw_reuse_delay"))?.unwrap_or(1000),
            timestamps: procfs.number(&file("tcp_timestamps"))?.unwrap_or(1),
        })
    }

    /// The range without the reserved ports.
    pub fn effective(&self) -> PortSet {
        let mut ports = PortSet::default();
        ports.insert_range(self.range);
        let mut reserved = PortSet::default();
        for &range in &self.reserved {
            reserved.insert_range(range);
        }
        ports.minus(&reserved)
    }

    /// Whether a TIME_WAIT socket's tuple can be had again before its time.
    pub fn reuse(&self) -> Reuse {
        match (self.timestamps, self.tw_reuse) {
            (0, _) | (_, 0) => Reuse::Never,
            (_, 1) => Reuse::Always,
            _ => Reuse::Loopback,
        }
    }

    pub fn ground(&self, memory: &mut PortMemory) -> Ground {
        let effective = self.effective();
        let known_bound = memory.known_bound(self.range, &effective);
        Ground {
            range: self.range,
            effective,
            reuse: self.reuse(),
            reuse_delay_ms: u32::try_from(self.tw_reuse_delay).unwrap_or(u32::MAX),
            known_bound,
        }
    }
}

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
}

/// Ports of one local address; `None` is any address, the pool of the wildcard.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    pub address: Option<IpAddr>,
    pub used: u32,
}

/// Share of the ports that is gone, of the worst key of all, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Utilization {
    pub tcp_destination: f64,
    pub tcp_source: f64,
    pub udp_source: f64,
}

impl Utilization {
    pub fn scopes(&self) -> [(&'static str, &'static str, f64); 3] {
        [
            ("tcp", "destination", self.tcp_destination),
            ("tcp", "source", self.tcp_source),
            ("udp", "source", self.udp_source),
        ]
    }
}

/// Capacity and use of the ephemeral ports of a namespace.
#[derive(Clone, Debug, Serialize)]
pub struct Ephemeral {
    pub settings: Settings,
    /// Inside the range.
    pub reserved: u32,
    pub held: u32,
    pub bind_first: u32,
    pub bind_first_ambiguous: u32,
    pub available_destination: u32,
    pub available_source: u32,
    /// Ports from 1024 on outside the range, not reserved, that no TCP listener has.
    pub unused_outside: u32,
    pub destinations: Vec<Destination>,
    pub destinations_folded: u32,
    pub tcp_sources: Vec<Source>,
    pub tcp_sources_folded: u32,
    /// `None` while UDP sockets cannot be dumped.
    pub udp_sources: Option<Vec<Source>>,
    pub udp_sources_folded: u32,
    pub utilization: Utilization,
    pub peak: Utilization,
}

static RANGE_FIRST: Metric = Metric::gauge(
    "sockdiag_ephemeral_port_range_first",
    &[],
    "First port of the ephemeral range as of the last poll (ip_local_port_range).",
);
static RANGE_LAST: Metric = Metric::gauge(
    "sockdiag_ephemeral_port_range_last",
    &[],
    "Last port of the ephemeral range, itself included, as of the last poll (ip_local_port_range).",
);
static RESERVED: Metric = Metric::gauge(
    "sockdiag_ephemeral_ports_reserved",
    &[],
    "Ports inside the range that are never handed out, as of the last poll (ip_local_reserved_ports).",
);
static HELD: Metric = Metric::gauge(
    "sockdiag_ephemeral_ports_held",
    &[],
    "Ports in the range, not reserved, that plain connect() will not touch because a TCP listener or a bound, unconnected TCP socket has them on any address, as of the last poll (sock_diag).",
);
static BIND_FIRST: Metric = Metric::gauge(
    "sockdiag_ephemeral_ports_bind_first",
    &[],
    "Further ports in the range that plain connect() will not touch because bind() made them, as of the last poll; an estimate from the ports' parity and earlier polls (sock_diag).",
);
static AMBIGUOUS: Metric = Metric::gauge(
    "sockdiag_ephemeral_ports_bind_first_ambiguous",
    &[],
    "Ports in the range that bind() may have made as well, it cannot be told: the truth for plain connect() lies between none and all of them lost, as of the last poll (sock_diag).",
);
static AVAILABLE: Metric = Metric::gauge(
    "sockdiag_ephemeral_ports_available",
    &["scope"],
    "Capacity as of the last poll: destination is what plain connect() can have toward one destination from one source, source what bind(0), bind-before-connect and UDP can have on one address (ip_local_port_range, sock_diag).",
);
static DESTINATION_USED: Metric = Metric::gauge(
    "sockdiag_ephemeral_destination_ports_used",
    &["protocol", "source", "destination", "port"],
    "Outbound sockets with a local port in the range toward one destination from one source as of the last poll, TIME_WAIT included, the largest (sock_diag).",
);
static DESTINATION_REUSABLE: Metric = Metric::gauge(
    "sockdiag_ephemeral_destination_ports_reusable",
    &["protocol", "source", "destination", "port"],
    "Of those, TIME_WAIT that plain connect() would take over, as of the last poll (sock_diag, tcp_tw_reuse).",
);
static DESTINATION_BIND_FIRST: Metric = Metric::gauge(
    "sockdiag_ephemeral_destination_ports_bind_first",
    &["protocol", "source", "destination", "port"],
    "Of those, the ones on ports that are already off the capacity because bind() made them, as of the last poll; an estimate (sock_diag).",
);
static DESTINATION_CLOSES: Metric = Metric::gauge(
    "sockdiag_ephemeral_destination_closes_per_second",
    &["protocol", "source", "destination", "port"],
    "Connections per second that this side closed first, over ten seconds, as of the last poll, from the ages of TIME_WAIT (sock_diag).",
);
static DESTINATIONS_FOLDED: Metric = Metric::gauge(
    "sockdiag_ephemeral_destinations_folded",
    &[],
    "Destinations (source, destination, port) as of the last poll beyond limits.destinations, which are not exported; the utilization ratio knows them (sock_diag).",
);
static SOURCE_USED: Metric = Metric::gauge(
    "sockdiag_ephemeral_source_ports_used",
    &["protocol", "source"],
    "Distinct ports in the range held by any socket on that local address or on a wildcard that covers it, as of the last poll, the largest; source *: on any address (sock_diag).",
);
static SOURCES_FOLDED: Metric = Metric::gauge(
    "sockdiag_ephemeral_sources_folded",
    &["protocol"],
    "Local addresses with ports in the range as of the last poll beyond limits.sources, which are not exported; the utilization ratio knows them (sock_diag).",
);
static UTILIZATION: Metric = Metric::gauge(
    "sockdiag_ephemeral_utilization_ratio",
    &["protocol", "scope"],
    "Share of the capacity that is gone for the worst of all destinations or sources that are tracked, as of the last poll; at 1 the next call fails (sock_diag).",
);
static PEAK: Metric = Metric::gauge(
    "sockdiag_ephemeral_utilization_peak_ratio",
    &["protocol", "scope"],
    "Highest utilization over all polls of the last poll.peak_window, as of the last poll (sock_diag).",
);
static SUSTAINABLE: Metric = Metric::gauge(
    "sockdiag_ephemeral_sustainable_connects_per_second",
    &[],
    "Short connections to one destination that can go on for ever without reuse of TIME_WAIT: capacity over 60 s, as of the last poll (ip_local_port_range, sock_diag).",
);

pub static METRICS: [&Metric; 17] = [
    &RANGE_FIRST,
    &RANGE_LAST,
    &RESERVED,
    &HELD,
    &BIND_FIRST,
    &AMBIGUOUS,
    &AVAILABLE,
    &DESTINATION_USED,
    &DESTINATION_REUSABLE,
    &DESTINATION_BIND_FIRST,
    &DESTINATION_CLOSES,
    &DESTINATIONS_FOLDED,
    &SOURCE_USED,
    &SOURCES_FOLDED,
    &UTILIZATION,
    &PEAK,
    &SUSTAINABLE,
];

/// (source, destination, port, place of the device), largest use first.
type DestinationKey = (IpAddr, IpAddr, u16, u16);

/// What lives from poll to poll.
#[derive(Default)]
pub struct Memory {
    pub ports: PortMemory,
    peaks: Peaks,
    destinations: Ranking<DestinationKey>,
    tcp_sources: Ranking<IpAddr>,
    udp_sources: Ranking<IpAddr>,
}

impl Memory {
    pub fn new(peak_window: Duration) -> Self {
        Self {
            peaks: Peaks::new(peak_window),
            ..Self::default()
        }
    }
}

/// How many keys to export.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub destinations: usize,
    pub sources: usize,
}

impl Ephemeral {
    pub fn collect(
        settings: Settings,
        ground: &Ground,
        tally: &mut Tally,
        udp: Option<&UdpTally>,
        limits: Limits,
        memory: &mut Memory,
    ) -> Self {
        let Verdict {
            bind_first,
            ambiguous,
        } = memory.ports.judge(tally, ground);
        let held = tally.held().len();
        let available_source = ground.effective.len();
        let available_destination = available_source.saturating_sub(held + bind_first);

        let chosen = Chosen::of(tally, limits.destinations, &mut memory.destinations);
        let tcp = pool(tally.sources(), limits.sources, &mut memory.tcp_sources);
        let udp = udp.map(|udp| pool(udp.sources(), limits.sources, &mut memory.udp_sources));
        let worst_udp = udp.as_ref().map_or(0, |pool| pool.worst);
        let utilization = Utilization {
            tcp_destination: ratio(chosen.worst_blocked, available_destination),
            tcp_source: ratio(tcp.worst, available_source),
            udp_source: ratio(worst_udp, available_source),
        };
        let (udp_sources, udp_sources_folded) =
            udp.map_or((None, 0), |pool| (Some(pool.sources), pool.folded));
        Self {
            unused_outside: unused_outside(&settings, tally.listening()),
            reserved: settings.range.size() - available_source,
            settings,
            held,
            bind_first,
            bind_first_ambiguous: ambiguous,
            available_destination,
            available_source,
            destinations: chosen.destinations,
            destinations_folded: chosen.folded,
            tcp_sources: tcp.sources,
            tcp_sources_folded: tcp.folded,
            udp_sources,
            udp_sources_folded,
            utilization,
            peak: memory.peaks.record(utilization),
        }
    }

    /// How many more plain connect() calls toward a destination succeed.
    pub fn free_toward(&self, destination: &Destination) -> u32 {
        self.available_destination
            .saturating_sub(destination.blocked())
    }

    /// Connections per second to one destination that can go on for ever.
    pub fn sustainable(&self) -> f64 {
        f64::from(self.available_destination) / (f64::from(TIME_WAIT_MS) / 1000.0)
    }

    pub fn export(&self, sink: &mut dyn Sink) {
        let single = [
            (&RANGE_FIRST, f64::from(self.settings.range.first)),
            (&RANGE_LAST, f64::from(self.settings.range.last)),
            (&RESERVED, self.reserved.into()),
            (&HELD, self.held.into()),
            (&BIND_FIRST, self.bind_first.into()),
            (&AMBIGUOUS, self.bind_first_ambiguous.into()),
            (&DESTINATIONS_FOLDED, self.destinations_folded.into()),
            (&SUSTAINABLE, self.sustainable()),
        ];
        for (metric, value) in single {
            sink.sample(metric, &[], value);
        }
        sink.sample(
            &AVAILABLE,
            &["destination"],
            self.available_destination.into(),
        );
        sink.sample(&AVAILABLE, &["source"], self.available_source.into());
        for destination in &self.destinations {
            destination.export(sink);
        }
        let udp = self
            .udp_sources
            .as_ref()
            .map(|sources| ("udp", sources, self.udp_sources_folded));
        for (protocol, sources, folded) in [("tcp", &self.tcp_sources, self.tcp_sources_folded)]
            .into_iter()
            .chain(udp)
        {
            for Source { address, used } in sources {
                let label = address.map_or_else(|| "*".to_owned(), |address| address.to_string());
                sink.sample(&SOURCE_USED, &[protocol, &label], (*used).into());
            }
            sink.sample(&SOURCES_FOLDED, &[protocol], folded.into());
        }
        for (metric, utilization) in [(&UTILIZATION, self.utilization), (&PEAK, self.peak)] {
            for (protocol, scope, value) in utilization.scopes() {
                if protocol == "tcp" || self.udp_sources.is_some() {
                    sink.sample(metric, &[protocol, scope], value);
                }
            }
        }
    }
}

impl Destination {
    fn export(&self, sink: &mut dyn Sink) {
        let (source, destination) = (self.source_label(), self.destination.to_string());
        let port = self.port.to_string();
        let labels = ["tcp", &source, &destination, &port];
        sink.sample(&DESTINATION_USED, &labels, self.used.into());
        sink.sample(&DESTINATION_REUSABLE, &labels, self.reusable.into());
        sink.sample(&DESTINATION_BIND_FIRST, &labels, self.bind_first.into());
        sink.sample(&DESTINATION_CLOSES, &labels, self.closes_per_second);
    }
}

/// Ports that a wider range could have; those below 1024 are for services.
fn unused_outside(settings: &Settings, listening: &PortSet) -> u32 {
    let mut ports = PortSet::default();
    ports.insert_range(PortRange {
        first: 1024,
        last: u16::MAX,
    });
    let mut gone = PortSet::default();
    for &range in settings.reserved.iter().chain([&settings.range]) {
        gone.insert_range(range);
    }
    ports.minus(&gone).minus(listening).len()
}

/// 0 without use, 1 without capacity.
fn ratio(used: u32, available: u32) -> f64 {
    if available == 0 {
        1.0
    } else {
        (f64::from(used) / f64::from(available)).min(1.0)
    }
}

/// The destinations to export: the largest, and the one that is worst off.
struct Chosen {
    destinations: Vec<Destination>,
    folded: u32,
    worst_blocked: u32,
}

impl Chosen {
    fn of(tally: &Tally, k: usize, ranking: &mut Ranking<DestinationKey>) -> Self {
        let (mut all, mut worst) = (0_u32, None);
        let sizes =
            sizes(tally.keys_v4())
                .chain(sizes(tally.keys_v6()))
                .map(|(key, used, blocked)| {
                    all += 1;
                    if blocked > 0 && worst.is_none_or(|(most, _)| blocked > most) {
                        worst = Some((blocked, key));
                    }
                    (key, u64::from(used))
                });
        let largest = ranking.select(k, sizes);
        let mut shown: Vec<_> = largest.into_iter().map(|(key, _)| key).collect();
        if let Some((_, key)) = worst
            && !shown.contains(&key)
        {
            shown.push(key);
        }
        let describe = |&key: &DestinationKey| {
            let counters = find(tally.keys_v4(), &key).or_else(|| find(tally.keys_v6(), &key));
            describe(tally, key, &counters.unwrap_or_default())
        };
        Self {
            folded: all - shown.len() as u32,
            destinations: shown.iter().map(describe).collect(),
            worst_blocked: worst.map_or(0, |(blocked, _)| blocked),
        }
    }
}

/// Every destination with ports in the range, how many, and how many of them are
/// blocked. Sockets without a device count toward those with one, too.
fn sizes<A: Address>(table: &Table<A>) -> impl Iterator<Item = (DestinationKey, u32, u32)> {
    let outbound = table.ports().filter(|(key, ..)| !key.is_inbound());
    outbound.filter_map(|(key, mut used, mut blocked)| {
        if key.device() != 0 {
            let beside = unbound(table, key);
            used += beside.in_range;
            blocked += beside.blocked();
        }
        let name = (
            key.local.to_ip(),
            key.remote.to_ip(),
            key.port,
            key.device(),
        );
        (used > 0).then_some((name, used, blocked))
    })
}

fn find<A: Address>(
    table: &Table<A>,
    &(source, destination, port, device): &DestinationKey,
) -> Option<Counters> {
    let key = Key {
        local: A::of_ip(source)?,
        remote: A::of_ip(destination)?,
        port,
        tag: device << 1,
    };
    let mut counters = table.find(&key);
    counters.merge(&unbound(table, &key));
    Some(counters)
}

fn describe(
    tally: &Tally,
    (source, destination, port, device): DestinationKey,
    counters: &Counters,
) -> Destination {
    Destination {
        source,
        device: tally.device(device).map(crate::kernel::netns::device_name),
        destination,
        port,
        used: counters.in_range,
        reusable: counters.reusable,
        settled: counters.settled,
        bind_first: counters.lost,
        closes_per_second: f64::from(counters.recent) / (f64::from(RECENT_MS) / 1000.0),
        states: counters.states,
    }
}

/// One protocol's pool of each local address.
struct Pool {
    sources: Vec<Source>,
    folded: u32,
    worst: u32,
}

fn pool(sources: &Sources, k: usize, ranking: &mut Ranking<IpAddr>) -> Pool {
    let used: Vec<_> = sources.used().collect();
    let worst = used.iter().map(|&(_, used)| used).max().unwrap_or(0);
    let all = used.len();
    let shown = ranking.select(
        k,
        used.into_iter()
            .map(|(address, used)| (address, used.into())),
    );
    let folded = (all - shown.len()) as u32;
    let sources = shown
        .into_iter()
        .map(|(address, used)| Source {
            address: Some(address),
            used: used as u32,
        })
        .chain([Source {
            address: None,
            used: sources.any().len(),
        }])
        .collect();
    Pool {
        sources,
        folded,
        worst,
    }
}

#[cfg(test)]
mod tests;
