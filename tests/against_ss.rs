//! Every figure of a real poll against `ss`, equal and not nearly.

mod support;

#[path = "against_ss/ephemeral.rs"]
mod ephemeral;
#[path = "against_ss/model.rs"]
mod model;
#[path = "against_ss/stage.rs"]
mod stage;
#[path = "against_ss/states.rs"]
mod states;

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use sockdiag_exporter::config::Config;
use sockdiag_exporter::exposition::render;
use sockdiag_exporter::kernel::features::KernelFeatures;
use sockdiag_exporter::once;

use model::{Limits, Model, Page};
use stage::Stage;
use support::exposition::{Exposition, Series};
use support::netns::{in_netns, sysctl};
use support::patience;
use support::ss::{self, Record};
use support::tools;

/// Families that `ss` knows nothing of, and that are the machine's or a clock's.
const NOT_OF_SS: [&str; 15] = [
    BOUND,
    "sockdiag_cgroup_info",
    "sockdiag_namespaces",
    "sockdiag_namespaces_folded",
    "sockdiag_netns_dump_timestamp_seconds",
    "sockdiag_netns_info",
    "sockdiag_conntrack_events_total",
    "sockdiag_dump_duration_seconds",
    "sockdiag_kernel_feature",
    "sockdiag_snapshot_timestamp_seconds",
    "sockdiag_tcp_events_total",
    "sockdiag_tcp_memory_bytes",
    "sockdiag_tcp_memory_limit_bytes",
    "sockdiag_tcp_orphans",
    "sockdiag_tcp_orphans_limit",
];

const BOUND: &str = "sockdiag_ephemeral_utilization_bound_ratio";

/// Figures that depend on who made a port, and how much of them may be wrong: estimates
/// where the kernel does not tell all. Which ports are in use is not among them.
const ESTIMATES: [&str; 10] = [
    "sockdiag_ephemeral_destination_ports_bind_first",
    "sockdiag_ephemeral_destination_ports_reusable",
    "sockdiag_ephemeral_ports_available",
    "sockdiag_ephemeral_ports_bind_first",
    "sockdiag_ephemeral_ports_bind_first_ambiguous",
    "sockdiag_ephemeral_ports_held_ambiguous",
    "sockdiag_ephemeral_sustainable_connects_per_second",
    "sockdiag_ephemeral_utilization_peak_ratio",
    "sockdiag_ephemeral_utilization_ratio",
    "sockdiag_ephemeral_utilization_upper_ratio",
];

/// The kernel gives TIME_WAIT away after a second. Here and below with a margin
/// for the kernel's clock, which ticks in hundredths of a second.
const RIPE: Duration = Duration::from_millis(1_100);
/// How long a close counts as recent.
const RECENT: (Duration, Duration) = (Duration::from_millis(9_900), Duration::from_millis(10_100));

fn poll(config: &Config) -> Exposition {
    let snapshot = once::poll(config).expect("a poll");
    let page = render(&snapshot, Vec::new());
    Exposition::parse(std::str::from_utf8(&page.text).expect("UTF-8"))
}

/// Limits that show everything, with a port nobody has and one that has no listener.
fn everything() -> Config {
    const ALL: usize = 100_000;
    let mut config = patience::config();
    config.limits.peers = ALL;
    config.limits.destinations = ALL;
    config.limits.sources = ALL;
    config.limits.local_ports = ALL;
    config.limits.cgroups = ALL;
    config.limits.series = 100 * ALL;
    config.local_ports.always = vec![9, 6001, 7001];
    config
}

#[test]
fn every_figure_equals_that_of_ss() {
    in_netns("every_figure_equals_that_of_ss", &["ss", "ip"], || {
        let stage = Stage::set().expect("the stage");
        thread::sleep(RIPE.saturating_sub(stage.closed.1.elapsed()));
        // Polled before the rest, for TIME_WAIT is gone after a minute.
        let polls = [everything(), patience::config()].map(|config| quiet_poll(&config, &stage));
        for (page, model) in &polls {
            compare(page, model);
            is_big_enough(model);
            let cgroups: BTreeSet<_> = model.tcp.iter().filter_map(|r| r.cgroup.as_ref()).collect();
            assert!(stage.cgroups.is_none() || cgroups.len() > 7, "{cgroups:?}");
        }
    });
}

/// A poll between two equal views of `ss`, and not while closes cease to be recent.
fn quiet_poll(config: &Config, stage: &Stage) -> (Exposition, Model) {
    let see = || (ss::tcp(), ss::udp());
    let (first_close, last_close) = stage.closed;
    let mut before = see();
    for _ in 0..6 {
        let were_stale = last_close.elapsed() > RECENT.1;
        let page = poll(config);
        let are_recent = first_close.elapsed() < RECENT.0;
        let after = see();
        let is_quiet = lines(&before.0) == lines(&after.0) && lines(&before.1) == lines(&after.1);
        if is_quiet && (were_stale || are_recent) {
            return (page, model(config, stage, after, are_recent));
        }
        before = after;
    }
    panic!("the sockets do not come to rest");
}

fn model(
    config: &Config,
    stage: &Stage,
    (mut tcp, udp): (Vec<Record>, Vec<Record>),
    closes_are_recent: bool,
) -> Model {
    let features = KernelFeatures::probe(true);
    if features.bound_only_sockets {
        tcp.extend(stage.bound.iter().cloned());
    }
    let listeners = tcp.iter().filter(|r| r.state == "LISTEN");
    Model {
        limits: Limits {
            peers: config.limits.peers,
            destinations: config.limits.destinations,
            sources: config.limits.sources,
            local_ports: config.limits.local_ports,
            cgroups: config.limits.cgroups,
            always: config.local_ports.always.clone(),
        },
        listeners: listeners.map(|r| r.local.clone()).collect(),
        tcp,
        udp,
        range: stage::FIRST..=stage::LAST,
        reserved: vec![20_000..=20_019, 25_001..=25_001, 40_000..=40_010],
        bind_first: stage.bind_first.clone(),
        features,
        closes_are_recent,
    }
}

fn lines(records: &[Record]) -> BTreeSet<String> {
    records.iter().map(|record| format!("{record:?}")).collect()
}

/// The model's page, and the figures that are files.
fn expected(model: &Model) -> Page {
    let mut page = model.page();
    let collectors = [
        "sockets",
        "udp",
        "peers",
        "listeners",
        "ephemeral",
        "cgroups",
        "node_ports",
        "kernel",
        "tcp",
    ];
    for collector in collectors {
        page.put("collector_up", &[("collector", collector)], 1);
    }
    let number = |key: &str| sysctl(key).map(|text| text.parse().expect("a number"));
    for (name, key) in [
        ("tcp_time_wait_limit", "net.ipv4.tcp_max_tw_buckets"),
        ("tcp_tw_reuse", "net.ipv4.tcp_tw_reuse"),
        ("conntrack_entries", "net.netfilter.nf_conntrack_count"),
        ("conntrack_entries_limit", "net.netfilter.nf_conntrack_max"),
        ("conntrack_buckets", "net.netfilter.nf_conntrack_buckets"),
    ] {
        if let Some(value) = number(key) {
            page.put(name, &[], value);
        }
    }
    if number("net.netfilter.nf_conntrack_count").is_some() {
        page.put("collector_up", &[("collector", "conntrack")], 1);
    }
    page
}

/// Whether the kernel tells all that figures about ports depend on.
fn tells_all(features: KernelFeatures) -> bool {
    features.bound_only_sockets && features.port_probe
}

/// Without privilege `ss` finds no path for the ids of cgroups.
fn tells_cgroups(records: &[Record]) -> bool {
    let mut paths = records.iter().filter_map(|r| r.cgroup.as_ref());
    let tells = paths.all(|path| path.starts_with('/'));
    if !tells {
        tools::skip("against_ss", "the figures of cgroups: ss cannot find them");
    }
    tells
}

/// Both ways: nothing is missing, nothing is too much, nothing differs.
fn compare(page: &Exposition, model: &Model) {
    let expected = expected(model);
    let (tells_all, tells_cgroups) = (tells_all(model.features), tells_cgroups(&model.tcp));
    for (protocol, scope) in [("tcp", "destination"), ("udp", "source")] {
        let of = [("netns", "host"), ("protocol", protocol)];
        let bound = page.get(BOUND, &of).expect("a bound");
        let labels = [of[0], of[1], ("scope", scope)];
        let ratio = page.get("sockdiag_ephemeral_utilization_ratio", &labels);
        assert!(ratio.expect("a ratio") <= bound, "{protocol} {bound}");
    }
    let is_of_ss = |(name, _): &Series| {
        let name = name.as_str();
        !NOT_OF_SS.contains(&name)
            && (tells_all || !ESTIMATES.contains(&name))
            && (tells_cgroups || !name.contains("_cgroup") && !name.contains("_owner_"))
    };
    let (mut shown, mut expected) = (page.samples.clone(), expected.0);
    shown.retain(|series, _| is_of_ss(series));
    expected.retain(|series, _| is_of_ss(series));
    let all: BTreeSet<_> = expected.keys().chain(shown.keys()).collect();
    let differences: Vec<_> = all
        .into_iter()
        .map(|series| (series, expected.get(series), shown.get(series)))
        .filter(|(_, expected, shown)| expected != shown)
        .map(|(series, expected, shown)| {
            format!("{series:?}: expected {expected:?}, shown {shown:?}")
        })
        .collect();
    let first = &differences[..differences.len().min(30)];
    let (count, of) = (differences.len(), expected.len());
    assert!(
        count == 0,
        "{count} of {of} figures differ:\n{}",
        first.join("\n")
    );
}

/// What the stage was set for: issue 2 asks for this much.
fn is_big_enough(model: &Model) {
    assert!(model.tcp.len() + model.udp.len() >= 5_000);
    let peers: BTreeSet<_> = model.connections().map(|r| r.peer.address).collect();
    assert!(peers.len() >= 200);
    let ports: BTreeSet<_> = model.listeners.iter().map(|end| end.port).collect();
    assert!(ports.len() >= 20);
    let mut states = vec![
        "SYN-SENT",
        "SYN-RECV",
        "ESTAB",
        "FIN-WAIT-2",
        "TIME-WAIT",
        "CLOSE-WAIT",
    ];
    // Near the machine's limit of orphans the kernel resets those that probe.
    if ss::sockstat("TCP", "orphan").is_some_and(|orphans| orphans < 1_000) {
        states.extend(["FIN-WAIT-1", "LAST-ACK"]);
    }
    for state in states {
        for inbound in [false, true] {
            let there = |r: &Record| r.state == state && model.is_inbound(r) == inbound;
            let possible = (state != "SYN-SENT" || !inbound) && (state != "SYN-RECV" || inbound);
            assert_eq!(
                model.tcp.iter().any(there),
                possible,
                "{state}, inbound: {inbound}"
            );
        }
    }
}
