use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use proptest::prelude::*;

use super::Scratch;
use super::counters::Counters;
use super::key::{Key, Tag, V4};
use super::keys::Tabled;
use super::policy::{PortPolicy, RECENT_MS, Reuse, TIME_WAIT_MS};
use super::tcp::TcpCount;
use crate::fake_kernel::{Sock, any_socks, bound, count, policy, sock, time_wait};
use crate::kernel::sock_diag::SocketRecord;
use crate::model::socket::Direction;
use crate::model::state::{State, StateCounts};

/// (local, remote, service port, inbound, device)
type ModelKey = (IpAddr, IpAddr, u16, bool, u16);

/// The same counts, made the simplest way.
#[derive(Default)]
struct Model {
    sockets: [StateCounts; 2],
    directions: [StateCounts; 2],
    ports: BTreeMap<u16, StateCounts>,
    keys: BTreeMap<ModelKey, Counters>,
    held: BTreeSet<u16>,
    /// Ports by address, as bound; and those of V6ONLY wildcards apart.
    bound: BTreeMap<(IpAddr, bool), BTreeSet<u16>>,
}

const DELAY_MS: u32 = 1000;

impl Model {
    fn of(socks: &[Sock], policy: &PortPolicy) -> Self {
        let mut model = Self::default();
        let in_range = |port: u16| policy.effective.contains(port);
        for sock in socks {
            let port = sock.local.port();
            if matches!(sock.state, 7 | 10) && in_range(port) {
                model.held.insert(port);
            }
        }
        for sock in socks {
            let (state, port) = (State::from_kernel(sock.state), sock.local.port());
            let inbound = state == State::Listen
                || state == State::SynRecv
                || socks.iter().any(|listener| accepts(listener, sock));
            model.sockets[usize::from(sock.family == 10)].add(state);
            model.directions[usize::from(inbound)].add(state);
            model.ports.entry(port).or_default().add(state);
            if in_range(port) {
                let ports = model.bound.entry((sock.local.ip(), v6_only(sock)));
                ports.or_default().insert(port);
            }
            if matches!(state, State::Close | State::Listen) {
                continue;
            }
            let service = if inbound { port } else { sock.remote.port() };
            let device = sock.interface as u16;
            let key = (sock.local.ip(), sock.remote.ip(), service, inbound, device);
            let counters = model.keys.entry(key).or_default();
            counters.states.add(state);
            let age = TIME_WAIT_MS - sock.expires_ms;
            let is_time_wait = state == State::TimeWait;
            counters.recent += u32::from(is_time_wait && age <= RECENT_MS);
            counters.aged += u32::from(is_time_wait && sock.expires_ms < 5_000);
            if in_range(port) && !inbound {
                let lost = model.held.contains(&port);
                let reusable = is_time_wait && age > DELAY_MS && !lost;
                counters.in_range += 1;
                counters.lost += u32::from(lost);
                counters.reusable += u32::from(reusable);
                counters.settled += u32::from(reusable);
                counters.preferred += u32::from(!lost && port.is_multiple_of(2));
            }
        }
        model
    }

    fn used(&self, address: IpAddr) -> usize {
        let covers = |&(other, v6_only): &(IpAddr, bool)| {
            other == address
                || other.is_unspecified()
                    && (other.is_ipv4() == address.is_ipv4() || other.is_ipv6() && !v6_only)
        };
        let ports = self.bound.iter().filter(|(key, _)| covers(key));
        ports
            .flat_map(|(_, ports)| ports)
            .collect::<BTreeSet<_>>()
            .len()
    }
}

fn v6_only(sock: &Sock) -> bool {
    sock.socket().v6_only
}

fn accepts(listener: &Sock, sock: &Sock) -> bool {
    let (at, local) = (listener.local.ip(), sock.local.ip());
    let everywhere = at.is_unspecified()
        && (at.is_ipv4() == local.is_ipv4() || at.is_ipv6() && !v6_only(listener));
    listener.state == 10
        && listener.local.port() == sock.local.port()
        && (at == local || everywhere)
}

fn keys(tcp: &TcpCount) -> BTreeMap<ModelKey, Counters> {
    fn each<A: Tabled + 'static>(tcp: &TcpCount) -> impl Iterator<Item = (ModelKey, Counters)> {
        A::table(&tcp.keys).iter().map(|(key, counters)| {
            let device = tcp.keys.device(key.tag.slot()) as u16;
            let (local, remote) = (key.local.to_ip(), key.remote.to_ip());
            let inbound = key.direction() == Direction::Inbound;
            ((local, remote, key.port, inbound, device), counters)
        })
    }
    each::<V4>(tcp).chain(each::<[u8; 16]>(tcp)).collect()
}

fn small_policy() -> PortPolicy {
    PortPolicy {
        reuse: Reuse::Always,
        reuse_delay_ms: DELAY_MS,
        ..policy(40_000, 40_019)
    }
}

/// What is exact whatever the bound.
fn check_totals(tcp: &TcpCount, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(&tcp.sockets, &model.sockets);
    prop_assert_eq!(&tcp.directions, &model.directions);
    for port in [22, 40_003] {
        let expected = model.ports.get(&port).copied().unwrap_or_default();
        prop_assert_eq!(tcp.local_ports.get(port), Some(&expected));
    }
    prop_assert!(tcp.ports.held.iter().eq(model.held.iter().copied()));
    let used: BTreeMap<_, _> = tcp.addresses.used().collect();
    for &(address, _) in model.bound.keys() {
        prop_assert_eq!(used[&address] as usize, model.used(address), "{}", address);
    }
    let any: BTreeSet<_> = model.bound.values().flatten().copied().collect();
    prop_assert!(tcp.addresses.any().iter().eq(any));
    Ok(())
}

proptest! {
    #[test]
    fn it_counts_like_the_naive_model(socks in any_socks()) {
        let (policy, mut scratch) = (small_policy(), Scratch::new(10_000));
        let model = Model::of(&socks, &policy);
        for _ in 0..2 {
            count(&mut scratch, &policy, &socks, &[22, 40_003]);
            let tcp = &scratch.tcp;
            check_totals(tcp, &model)?;
            prop_assert_eq!(keys(tcp), model.keys.clone());
            prop_assert_eq!(tcp.keys.untracked, 0);
        }
        let mut peers = BTreeMap::new();
        for ((_, remote, port, inbound, _), counters) in &model.keys {
            *peers.entry((*remote, *port, *inbound)).or_insert(0) += counters.states.total();
        }
        let v4 = &scratch.tcp.keys.v4;
        for (at, sockets) in v4.peers() {
            let key = v4.key(at);
            let inbound = key.direction() == Direction::Inbound;
            let peer = (key.remote.into(), key.port, inbound);
            prop_assert_eq!(peers.remove(&peer), Some(sockets));
        }
        prop_assert!(peers.keys().all(|(remote, ..)| remote.is_ipv6()));
    }

    #[test]
    fn keys_within_the_bound_are_exact_and_the_rest_is_counted(
        socks in any_socks(),
        limit in 0_usize..12,
    ) {
        let (policy, mut scratch) = (small_policy(), Scratch::new(limit));
        let mut model = Model::of(&socks, &policy);
        count(&mut scratch, &policy, &socks, &[22, 40_003]);
            let tcp = &scratch.tcp;
        check_totals(tcp, &model)?;
        let tracked = keys(tcp);
        prop_assert_eq!(tracked.len(), limit.min(model.keys.len()));
        for (key, counters) in tracked {
            prop_assert_eq!(model.keys.remove(&key), Some(counters));
        }
        let rest: u32 = model.keys.values().map(|counters| counters.states.total()).sum();
        prop_assert_eq!(tcp.keys.untracked, u64::from(rest));
    }
}

/// Issue 4: a million peers, a few of them heavy, in random order.
#[test]
fn heavy_keys_are_exact_where_a_million_do_not_fit() {
    const KEYS: u32 = 1_000_000;
    const HEAVY: u32 = 20;
    const EACH: u32 = 1000;
    const LIMIT: usize = 400_000;
    let mut peers: Vec<u32> = (0..KEYS).collect();
    peers.extend((0..HEAVY).flat_map(|peer| [peer; EACH as usize - 1]));
    let mut seed = 1_u64;
    for at in (1..peers.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        peers.swap(at, (seed >> 33) as usize % (at + 1));
    }

    let Scratch {
        listeners, mut tcp, ..
    } = Scratch::new(LIMIT);
    tcp.begin(&policy(32_768, 60_999), &listeners, &[], None);
    let mut bytes = sock(State::Established, "10.0.0.1:1", "10.0.0.2:443").bytes();
    for (at, peer) in peers.iter().enumerate() {
        let port = 32_768 + (at % 28_232) as u16;
        bytes[4..6].copy_from_slice(&port.to_be_bytes());
        bytes[24..28].copy_from_slice(&(peer + 1).to_be_bytes());
        let socket = SocketRecord::parse(&bytes).unwrap().socket();
        tcp.add(&socket, &listeners);
    }
    tcp.finish();

    let v4 = &tcp.keys.v4;
    for peer in 0..HEAVY {
        let key = Key {
            local: [10, 0, 0, 1],
            remote: (peer + 1).to_be_bytes(),
            port: 443,
            tag: Tag::new(Direction::Outbound, 0),
        };
        let counters = v4.get(v4.find(&key).unwrap()).1;
        assert_eq!((counters.states.total(), counters.in_range), (EACH, EACH));
    }
    let tracked: u32 = v4.peers().iter().map(|&(_, sockets)| sockets).sum();
    assert_eq!(v4.len(), LIMIT);
    assert_eq!(tcp.keys.untracked, peers.len() as u64 - u64::from(tracked));
    assert_eq!(tcp.sockets[0].get(State::Established) as usize, peers.len());
    assert_eq!(tcp.directions[0].total() as usize, peers.len());
    assert_eq!(
        tcp.addresses.used().map(|(_, used)| used).max(),
        Some(28_232)
    );
}

/// Outbound and inbound sockets of a dump.
fn directions(socks: &[Sock]) -> (u32, u32) {
    let mut scratch = Scratch::new(100);
    count(&mut scratch, &small_policy(), socks, &[]);
    let [outbound, inbound] = scratch.tcp.directions;
    (outbound.connected().total(), inbound.connected().total())
}

#[test]
fn who_opened_it_is_told_by_the_listeners() {
    let v4 = || sock(State::Established, "10.0.0.1:8080", "10.0.0.9:5");
    let v6 = || sock(State::Established, "[fd00::1]:8080", "[fd00::9]:5");
    let all = |listener: Sock| directions(&[listener, v4(), v4().mapped(), v6()]);
    assert_eq!(all(bound(State::Listen, "0.0.0.0:8080")), (1, 2));
    assert_eq!(
        all(bound(State::Listen, "[::]:8080").v6_only(false)),
        (0, 3)
    );
    assert_eq!(all(bound(State::Listen, "[::]:8080").v6_only(true)), (2, 1));
    assert_eq!(all(bound(State::Listen, "10.0.0.1:8080").mapped()), (1, 2));
    assert_eq!(all(bound(State::Listen, "10.0.0.2:8080")), (3, 0));
    assert_eq!(all(bound(State::Listen, "[::]:8081")), (3, 0));
    let request = sock(State::SynRecv, "10.0.0.1:1", "10.0.0.9:5");
    assert_eq!(directions(&[request]), (0, 1));
}

#[test]
fn time_wait_is_reusable_as_the_settings_say() {
    let reusable = |reuse: Reuse, sock: Sock| {
        let mut scratch = Scratch::new(100);
        let policy = PortPolicy {
            reuse,
            reuse_delay_ms: 1000,
            ..small_policy()
        };
        count(&mut scratch, &policy, &[sock], &[]);
        keys(&scratch.tcp).into_values().next().unwrap().reusable
    };
    let (always, loopback) = (Reuse::Always, Reuse::Loopback);
    let far = |remaining| time_wait("10.0.0.1:40000", "10.0.0.9:443", remaining);
    assert_eq!(reusable(always, far(58_999)), 1);
    assert_eq!(reusable(always, far(59_000)), 0, "no older than the delay");
    assert_eq!(reusable(Reuse::Never, far(1)), 0);
    assert_eq!(reusable(loopback, far(1)), 0);
    assert_eq!(reusable(loopback, far(1).device(1)), 1, "bound to lo");
    for near in ["127.0.0.1:40000", "[::1]:40000"] {
        assert_eq!(
            reusable(loopback, time_wait(near, &near.replace("40000", "443"), 1)),
            1
        );
    }
    let mapped = time_wait("127.0.0.1:40000", "127.0.0.1:443", 1).mapped();
    assert_eq!(reusable(loopback, mapped), 1);
    let held = sock(State::FinWait2, "10.0.0.1:40000", "10.0.0.9:443").expires(1);
    assert_eq!(
        reusable(always, held),
        0,
        "never, although it has the timer"
    );
    let outside = time_wait("10.0.0.1:50000", "10.0.0.9:443", 1);
    assert_eq!(reusable(always, outside), 0);
}

#[test]
fn all_ports_can_be_watched() {
    let ports: Vec<u16> = (0..=u16::MAX).collect();
    let mut scratch = Scratch::new(10);
    let last = sock(State::Established, "10.0.0.1:65535", "10.0.0.9:1");
    count(&mut scratch, &small_policy(), &[last], &ports);
    let tcp = &scratch.tcp;
    for (port, established) in [(65_535, 1), (65_534, 0), (0, 0)] {
        let states = tcp.local_ports.get(port).unwrap();
        assert_eq!(states.get(State::Established), established, "{port}");
    }
}

proptest! {
    #[test]
    fn no_record_is_too_odd_to_be_counted(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 72..120), 0..40),
        limit in 0_usize..20,
    ) {
        let Scratch { mut listeners, mut tcp, mut udp } = Scratch::new(limit);
        let policy = PortPolicy {
            reuse: Reuse::Loopback,
            reuse_delay_ms: 1,
            ..policy(0, u16::MAX)
        };
        let parsed = records.iter().filter_map(|bytes| SocketRecord::parse(bytes));
        let sockets: Vec<_> = parsed.map(|record| record.socket()).collect();
        for socket in &sockets {
            listeners.add(socket);
            udp.add(socket, &policy.effective);
        }
        tcp.begin(&policy, &listeners, &[], None);
        for socket in &sockets {
            tcp.add(socket, &listeners);
        }
        tcp.finish();
        let counted = tcp.sockets.iter().map(StateCounts::total).sum::<u32>() as usize;
        let listening = listeners.all().map(|(_, one)| one.sockets as usize);
        prop_assert_eq!(counted, sockets.len() + listening.sum::<usize>());
        let all = udp.sockets.iter().map(|counts| counts.total()).sum::<u32>();
        prop_assert_eq!(all as usize, sockets.len());
    }
}
