//! The model's half that knows of the ephemeral ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::model::{BOUND, Model, Page, covers, largest};
use crate::support::ss::Record;

/// (source, device, destination, port)
type Destination = (IpAddr, Option<String>, IpAddr, u16);

/// Sockets toward a destination, on ports of the range but for `closed`.
#[derive(Clone, Default)]
struct Use {
    used: usize,
    reusable: usize,
    bind_first: usize,
    /// Within the last ten seconds, by this side.
    closed: usize,
    /// Of those that are used, by cgroup.
    owned: BTreeMap<String, usize>,
}

impl Use {
    fn blocked(&self) -> usize {
        self.used - self.reusable - self.bind_first
    }
}

impl Model {
    pub fn ephemeral(&self, page: &mut Page) {
        let held = self.held();
        let bind_first = self.bind_first.difference(&held).count();
        let source = self.range.clone().filter(|p| self.is_ephemeral(*p)).count();
        let destination = source - held.len() - bind_first;
        let (first, last) = (*self.range.start(), *self.range.end());
        page.put("ephemeral_port_range_first", &[], first.into());
        page.put("ephemeral_port_range_last", &[], last.into());
        page.put("ephemeral_ports_reserved", &[], self.range.len() - source);
        page.put("ephemeral_ports_held", &[], held.len());
        page.put("ephemeral_ports_bind_first", &[], bind_first);
        page.put("ephemeral_ports_bind_first_ambiguous", &[], 0);
        page.put("ephemeral_ports_held_ambiguous", &[], 0);
        // The range ends below Kubernetes' NodePorts.
        page.put("ephemeral_ports_node_port_overlap", &[], 0);
        for (scope, count) in [("destination", destination), ("source", source)] {
            page.put("ephemeral_ports_available", &[("scope", scope)], count);
        }
        let rate = destination as f64 / 60.0;
        page.put_f64("ephemeral_sustainable_connects_per_second", &[], rate);

        let blocked = self.destinations(page, &held);
        for (protocol, scope, worst, available) in [
            ("tcp", "destination", blocked, destination),
            (
                "tcp",
                "source",
                self.sources(page, "tcp", &self.tcp),
                source,
            ),
            (
                "udp",
                "source",
                self.sources(page, "udp", &self.udp),
                source,
            ),
        ] {
            let labels = [("protocol", protocol), ("scope", scope)];
            let ratio = worst as f64 / available as f64;
            page.put_f64("ephemeral_utilization_ratio", &labels, ratio);
            page.put_f64("ephemeral_utilization_peak_ratio", &labels, ratio);
            page.put_f64("ephemeral_utilization_upper_ratio", &labels, ratio);
        }
    }

    /// The destinations; the most ports blocked toward one of them.
    fn destinations(&self, page: &mut Page, held: &BTreeSet<u16>) -> usize {
        let all = self.uses(held);
        let sizes = all.iter().map(|(key, toward)| (key, toward.used));
        let shown = largest(sizes, self.limits.destinations);
        for key in &shown {
            put_destination(page, key, &all[key]);
        }
        let folded = all.len() - shown.len();
        page.put("ephemeral_destinations_folded", &[], folded);
        let worst = all.values().map(Use::blocked).max().unwrap_or(0);
        let worst_shown = shown.iter().map(|key| all[key].blocked()).max();
        assert_eq!(worst_shown, Some(worst), "the stage's worst is a large one");
        worst
    }

    fn uses(&self, held: &BTreeSet<u16>) -> BTreeMap<Destination, Use> {
        let mut own: BTreeMap<Destination, Use> = BTreeMap::new();
        for record in self.connections().filter(|r| !self.is_inbound(r)) {
            let port = record.local.port;
            let lost = held.contains(&port) || self.bind_first.contains(&port);
            let toward = own.entry(tuple(record)).or_default();
            toward.closed += usize::from(self.closes_are_recent && record.state == "TIME-WAIT");
            if self.is_ephemeral(port) {
                toward.used += 1;
                toward.bind_first += usize::from(lost);
                toward.reusable += usize::from(!lost && is_reusable(record));
                if let Some(cgroup) = record.cgroup.clone() {
                    *toward.owned.entry(cgroup).or_default() += 1;
                }
            }
        }
        // Sockets without a device stand in the way of those that have one, too.
        let mut all = own.clone();
        for (key, toward) in &mut all {
            let plain = (key.0, None, key.2, key.3);
            if let Some(rest) = own.get(&plain).filter(|_| key.1.is_some()) {
                toward.used += rest.used;
                toward.bind_first += rest.bind_first;
                toward.reusable += rest.reusable;
                toward.closed += rest.closed;
                for (cgroup, count) in &rest.owned {
                    *toward.owned.entry(cgroup.clone()).or_default() += count;
                }
            }
        }
        all.retain(|_, toward| toward.used > 0);
        all
    }

    /// The pool of each local address; the most ports used on one of them.
    fn sources(&self, page: &mut Page, protocol: &str, records: &[Record]) -> usize {
        let holders: Vec<_> = records
            .iter()
            .filter(|r| self.is_ephemeral(r.local.port))
            .collect();
        let distinct = |address: Option<IpAddr>| {
            let covers = |r: &&&Record| address.is_none_or(|address| covers(&r.local, address));
            let ports: BTreeSet<u16> = holders
                .iter()
                .filter(covers)
                .map(|r| r.local.port)
                .collect();
            ports.len()
        };
        // Beside them, of TCP, any address with a connection, wherever its port.
        let connections = self.connections().filter(|_| protocol == "tcp");
        let known = holders.iter().copied().chain(connections);
        let wildcards = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        let all: BTreeSet<IpAddr> = known.map(|r| r.local.address).chain(wildcards).collect();
        let sizes: Vec<_> = all
            .into_iter()
            .map(|address| (address, distinct(Some(address))))
            .filter(|(_, used)| *used > 0)
            .collect();
        let shown = largest(sizes.iter().copied(), self.limits.sources);
        for address in &shown {
            let labels = [("protocol", protocol), ("source", &*address.to_string())];
            page.put(
                "ephemeral_source_ports_used",
                &labels,
                distinct(Some(*address)),
            );
        }
        let labels = [("protocol", protocol), ("source", "*")];
        page.put("ephemeral_source_ports_used", &labels, distinct(None));
        let folded = sizes.len() - shown.len();
        page.put(
            "ephemeral_sources_folded",
            &[("protocol", protocol)],
            folded,
        );
        sizes.iter().map(|(_, used)| *used).max().unwrap_or(0)
    }

    /// Ports of the range, not reserved, of a listener or a bound-only socket.
    fn held(&self) -> BTreeSet<u16> {
        let holds = |r: &&Record| r.state == "LISTEN" || r.state == BOUND;
        let ports = self.tcp.iter().filter(holds).map(|r| r.local.port);
        ports.filter(|port| self.is_ephemeral(*port)).collect()
    }

    pub fn is_ephemeral(&self, port: u16) -> bool {
        self.range.contains(&port) && !self.reserved.iter().any(|range| range.contains(&port))
    }
}

/// Whether connect() takes the tuple over, `tcp_tw_reuse` being 2.
fn is_reusable(record: &Record) -> bool {
    let on_loopback = [&record.local, &record.peer]
        .iter()
        .any(|end| end.address.is_loopback());
    record.state == "TIME-WAIT" && on_loopback
}

fn tuple(record: &Record) -> Destination {
    (
        record.local.address,
        record.local.device.clone(),
        record.peer.address,
        record.peer.port,
    )
}

fn put_destination(page: &mut Page, key: &Destination, toward: &Use) {
    let source = match &key.1 {
        Some(device) => format!("{}%{device}", key.0),
        None => key.0.to_string(),
    };
    let labels = [
        ("protocol", "tcp"),
        ("source", &*source),
        ("destination", &*key.2.to_string()),
        ("port", &*key.3.to_string()),
    ];
    for (name, count) in [
        ("used", toward.used),
        ("reusable", toward.reusable),
        ("bind_first", toward.bind_first),
    ] {
        let name = format!("ephemeral_destination_ports_{name}");
        page.put(&name, &labels, count);
    }
    let rate = toward.closed as f64 / 10.0;
    page.put_f64("ephemeral_destination_closes_per_second", &labels, rate);
    // TIME_WAIT is the only owner's; of equals the cgroup that is older.
    let owner = toward.owned.iter().rev().max_by_key(|(_, count)| **count);
    if let Some((cgroup, count)) = owner {
        let is_only = toward.owned.len() == 1;
        let count = if is_only { toward.used } else { *count };
        let [_, toward @ ..] = labels;
        let labels = [&toward[..], &[("cgroup", cgroup)]].concat();
        page.put("ephemeral_destination_owner_sockets", &labels, count);
    }
}
