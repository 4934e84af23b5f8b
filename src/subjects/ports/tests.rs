use proptest::prelude::*;

use super::settings::Settings;
use super::*;
use crate::count::Scratch;
use crate::fake_kernel::{Sock, any_socks, bound, count, limits, sock, time_wait};
use crate::kernel::cgroups::CgroupPaths;
use crate::kernel::procfs::{Procfs, parse_port_list};
use crate::model::ports::PortRange;
use crate::model::state::State;
use crate::subjects::visit::{DumpedSockets, Reading, Visit};

fn settings(reserved: &str) -> Settings {
    Settings {
        range: PortRange {
            first: 40_000,
            last: 40_099,
        },
        reserved: parse_port_list(reserved).unwrap(),
        tw_reuse: 1,
        tw_reuse_delay: 1000,
        timestamps: 1,
        step_width: None,
    }
}

/// One poll of a namespace with these sockets.
fn observe(settings: Settings, tcp: &[Sock], udp: &[Sock], k: usize) -> Ephemeral {
    poll(&mut Memory::default(), settings, tcp, udp, k)
}

fn poll(
    memory: &mut Memory,
    settings: Settings,
    tcp: &[Sock],
    udp: &[Sock],
    k: usize,
) -> Ephemeral {
    let effective = settings.effective();
    let (known, _) = memory.origin.recall(&effective, None);
    let policy = settings.policy(effective, known, false);
    let mut scratch = Scratch::new(10_000);
    count(&mut scratch, &policy, tcp, &[]);
    for sock in udp {
        scratch.udp.add(&sock.socket(), &policy.effective);
    }
    let whole = Reading::take(|| Ok(()));
    let visit = Visit {
        limits: &limits(k),
        features: &crate::kernel::features::KernelFeatures::ALL,
        ask: None,
        procfs: &Procfs::new("/nowhere"),
        cgroups: &CgroupPaths::known([
            (CHECKOUT, "/system.slice/checkout.service"),
            (CRON, "/system.slice/cron.service"),
        ]),
        stop: &Default::default(),
        settings: &Reading::take(|| Ok(settings)),
        dumps: Some(DumpedSockets {
            tcp: &whole,
            udp: &whole,
            scratch: &scratch,
            policy: &policy,
            unseen: 0,
        }),
    };
    Ephemeral::collect(&Inputs::new(&visit), memory).unwrap()
}

const CHECKOUT: u64 = 1001;
const CRON: u64 = 1002;
const FAR: &str = "10.9.0.1:443";

fn toward(destination: &str, ports: impl IntoIterator<Item = u16>) -> Vec<Sock> {
    ports
        .into_iter()
        .map(|port| sock(State::Established, &format!("10.0.0.1:{port}"), destination))
        .collect()
}

fn even(count: u16) -> impl Iterator<Item = u16> {
    (0..count).map(|at| 40_000 + 2 * at)
}

#[test]
fn capacity_is_the_range_without_reserved_and_held_ports() {
    let tcp = [
        bound(State::Listen, "0.0.0.0:40001"),
        bound(State::Listen, "127.0.0.77:40002"),
        bound(State::Close, "10.0.0.7:40003"),
        bound(State::Close, "[::1]:40003"),
        bound(State::Listen, "0.0.0.0:40050"), // reserved
        bound(State::Listen, "0.0.0.0:8080"),  // elsewhere
    ];
    // 8080 lies outside, 40095-40200 half so: 20 + 1 + 5 are inside.
    let ports = observe(settings("8080,40050-40069,40090,40095-40200"), &tcp, &[], 5);
    assert_eq!((ports.capacity.reserved, ports.capacity.held), (26, 3));
    assert_eq!(ports.capacity.available_source, 74);
    assert_eq!(ports.capacity.available_destination, 71);
    assert_eq!(ports.capacity.sustainable(), 71.0 / 60.0);
}

#[test]
fn a_host_without_sockets_uses_nothing() {
    let ports = observe(settings(""), &[], &[], 5);
    assert_eq!(ports.utilization, Utilization::default());
    assert_eq!(
        (
            ports.capacity.reserved,
            ports.capacity.held,
            ports.capacity.bind_first
        ),
        (0, 0, 0)
    );
    assert_eq!(
        (
            ports.capacity.available_source,
            ports.capacity.available_destination
        ),
        (100, 100)
    );
    let [any] = &ports.sources.tcp[..] else {
        panic!()
    };
    assert_eq!((any.address, any.used), (None, 0), "`*` is always there");
}

#[test]
fn without_capacity_the_ratio_is_one() {
    let ports = observe(settings("1-65535"), &[], &[], 5);
    assert_eq!(
        (ports.capacity.reserved, ports.capacity.available_source),
        (100, 0)
    );
    let all = Utilization {
        tcp_destination: 1.0,
        tcp_source: 1.0,
        udp_source: 1.0,
    };
    assert_eq!(
        (ports.utilization, ports.capacity.sustainable()),
        (all, 0.0)
    );
}

#[test]
fn the_next_call_fails_at_one_and_not_before() {
    for (used, free) in [(99, 1), (100, 0)] {
        let ports = observe(settings(""), &toward(FAR, 40_000..40_000 + used), &[], 5);
        let [destination] = &ports.destinations.rows[..] else {
            panic!()
        };
        assert_eq!(
            (destination.used, ports.free_toward(destination)),
            (used.into(), free)
        );
        let ratio = f64::from(used) / 100.0;
        assert_eq!(ports.utilization.tcp_destination, ratio);
        assert_eq!(ports.utilization.tcp_source, ratio);
    }
}

#[test]
fn the_pool_of_connect_is_each_destination_s_own() {
    let mut tcp = toward(FAR, even(50));
    tcp.extend(toward("10.9.0.1:444", even(50)));
    tcp.extend(toward("10.9.0.2:443", even(40)));
    let ports = observe(settings(""), &tcp, &[], 5);
    let used: Vec<_> = ports.destinations.rows.iter().map(|to| to.used).collect();
    assert_eq!(used, [50, 50, 40]);
    assert_eq!(ports.utilization.tcp_destination, 0.5);
    assert_eq!(
        ports.utilization.tcp_source, 0.5,
        "distinct ports, not sockets"
    );
}

#[test]
fn mapped_sockets_share_the_ipv4_tuples() {
    let mut tcp = toward(FAR, even(5));
    tcp.extend(toward(FAR, even(9).skip(5)).into_iter().map(Sock::mapped));
    let ports = observe(settings(""), &tcp, &[], 5);
    let [destination] = &ports.destinations.rows[..] else {
        panic!()
    };
    assert_eq!(
        (destination.used, destination.source_label()),
        (9, "10.0.0.1".into())
    );
}

#[test]
fn loopback_of_both_families_is_apart() {
    let tcp = [
        sock(State::Established, "127.0.0.1:40000", "127.0.0.1:80"),
        sock(State::Established, "[::1]:40000", "[::1]:80"),
    ];
    let ports = observe(settings(""), &tcp, &[], 5);
    let labels: Vec<_> = ports
        .destinations
        .rows
        .iter()
        .map(Destination::source_label)
        .collect();
    assert_eq!(labels, ["127.0.0.1", "::1"]);
    assert_eq!(ports.utilization.tcp_destination, 0.01);
}

#[test]
fn sockets_without_a_device_block_those_with_one() {
    let mut tcp = toward(FAR, even(5));
    tcp.extend(
        toward(FAR, even(15).skip(5))
            .into_iter()
            .map(|sock| sock.device(1)),
    );
    let ports = observe(settings(""), &tcp, &[], 5);
    let [with, without] = &ports.destinations.rows[..] else {
        panic!()
    };
    assert_eq!((with.used, without.used), (15, 5));
    assert!(
        with.source_label().starts_with("10.0.0.1%"),
        "{}",
        with.source_label()
    );
    assert_eq!(without.source_label(), "10.0.0.1");
}

#[test]
fn what_can_be_taken_over_does_not_block() {
    let closed = |remaining| {
        even(30).map(move |port| time_wait(&format!("10.0.0.1:{port}"), FAR, remaining))
    };
    let only = |settings, remaining| {
        let tcp: Vec<_> = closed(remaining).collect();
        let ports = observe(settings, &tcp, &[], 5);
        let [to] = &ports.destinations.rows[..] else {
            panic!()
        };
        (
            to.used,
            to.reusable,
            to.closes_per_second,
            ports.free_toward(to),
        )
    };
    assert_eq!(
        only(settings(""), 59_500),
        (30, 0, 3.0, 70),
        "younger than the delay"
    );
    assert_eq!(only(settings(""), 55_000), (30, 30, 3.0, 100));
    assert_eq!(only(settings(""), 10_000), (30, 30, 0.0, 100));
    let without = |tw_reuse, timestamps| Settings {
        tw_reuse,
        timestamps,
        ..settings("")
    };
    assert_eq!(only(without(0, 1), 10_000), (30, 0, 0.0, 70));
    assert_eq!(
        only(without(1, 0), 10_000),
        (30, 0, 0.0, 70),
        "no timestamps"
    );
    assert_eq!(
        only(without(2, 1), 10_000),
        (30, 0, 0.0, 70),
        "not on loopback"
    );
}

#[test]
fn the_worst_is_shown_beside_the_largest() {
    let mut tcp: Vec<_> = even(40)
        .map(|port| time_wait(&format!("10.0.0.1:{port}"), FAR, 10_000))
        .collect();
    tcp.extend(toward("10.9.0.2:443", even(30)));
    tcp.extend(toward("10.9.0.3:443", even(20)));
    let ports = observe(settings(""), &tcp, &[], 1);
    let shown: Vec<_> = ports
        .destinations
        .rows
        .iter()
        .map(|to| (to.used, to.blocked()))
        .collect();
    assert_eq!(shown, [(40, 0), (30, 30)]);
    assert_eq!(ports.destinations.folded, 1);
    assert_eq!(ports.utilization.tcp_destination, 0.3);
}

#[test]
fn listeners_in_the_range_cost_the_destination_and_their_own_source() {
    let mut tcp: Vec<_> = (40_000..40_010)
        .map(|port| bound(State::Listen, &format!("127.0.0.77:{port}")))
        .collect();
    tcp.extend(toward(FAR, [40_010]));
    let ports = observe(settings(""), &tcp, &[], 5);
    assert_eq!(ports.capacity.available_destination, 90);
    assert_eq!(ports.capacity.available_source, 100);
    let used: Vec<_> = ports
        .sources
        .tcp
        .iter()
        .map(|source| {
            (
                source.address.map(|address| address.to_string()),
                source.used,
            )
        })
        .collect();
    let expected = [(Some("127.0.0.77"), 10), (Some("10.0.0.1"), 1), (None, 11)];
    assert_eq!(
        used,
        expected.map(|(address, used)| (address.map(str::to_owned), used))
    );
}

#[test]
fn udp_has_one_pool_for_each_address() {
    let udp = [
        bound(State::Close, "0.0.0.0:40000"),
        sock(State::Established, "10.0.0.1:40001", "10.9.0.1:53"),
        sock(State::Established, "10.0.0.1:40001", "10.9.0.2:53"),
        sock(State::Established, "10.0.0.1:40002", "10.9.0.2:53").mapped(),
    ];
    let ports = observe(settings(""), &[], &udp, 5);
    assert_eq!(ports.utilization.udp_source, 0.03);
    assert_eq!(ports.utilization.tcp_source, 0.0);
    let sources = ports.sources.udp.unwrap();
    let used: Vec<_> = sources.iter().map(|source| source.used).collect();
    assert_eq!(used, [3, 1, 3], "the address, the wildcard, any");
}

#[test]
fn sources_beyond_k_are_counted() {
    let tcp: Vec<_> = (1..=9)
        .map(|last| sock(State::Established, &format!("10.0.0.{last}:40000"), FAR))
        .collect();
    let ports = observe(settings(""), &tcp, &[], 2);
    assert_eq!((ports.sources.tcp.len(), ports.sources.tcp_folded), (3, 7));
}

#[test]
fn the_peak_outlives_the_spike() {
    let mut memory = Memory::default();
    poll(&mut memory, settings(""), &toward(FAR, even(40)), &[], 5);
    let after = poll(&mut memory, settings(""), &[], &[], 5);
    assert_eq!(after.utilization, Utilization::default());
    assert_eq!(after.peak.tcp_destination, 0.4);
}

/// A range of twenty ports, which small worlds fill.
fn small(settings: Settings) -> Settings {
    Settings {
        range: PortRange {
            first: 40_000,
            last: 40_019,
        },
        ..settings
    }
}

proptest! {
    // A poll clears and joins dozens of port sets: slow without optimisation.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn figures_keep_within_each_other_from_poll_to_poll(
        polls in prop::collection::vec((any_socks(), any_socks()), 1..5),
        reserved in prop::sample::select(vec!["", "40003", "40001-40006,40010", "39000-40015"]),
        k in 0_usize..4,
    ) {
        let mut memory = Memory::default();
        let mut peak = 0.0_f64;
        for (tcp, udp) in polls {
            let ports = poll(&mut memory, small(settings(reserved)), &tcp, &udp, k);
            prop_assert_eq!(ports.capacity.reserved + ports.capacity.available_source, 20);
            prop_assert!(
                ports.capacity.held + ports.capacity.bind_first + ports.capacity.bind_first_ambiguous
                    <= ports.capacity.available_source
            );
            let off = ports.capacity.held + ports.capacity.bind_first;
            prop_assert_eq!(ports.capacity.available_destination, ports.capacity.available_source - off);
            for to in &ports.destinations.rows {
                prop_assert!(to.reusable + to.bind_first <= to.used);
                prop_assert!(to.used <= to.states.connected().total());
            }
            let now = ports.utilization;
            for ratio in [now.tcp_destination, now.tcp_source, now.udp_source] {
                prop_assert!((0.0..=1.0).contains(&ratio));
            }
            peak = peak.max(now.tcp_destination);
            prop_assert_eq!(ports.peak.tcp_destination, peak);
        }
    }
}
