use proptest::prelude::*;

use super::*;
use crate::count::Scratch;
use crate::count::udp::UdpCount;
use crate::fake_kernel::{Sock, any_socks, bound, count, policy, sock};
use crate::kernel::cgroups::CgroupPaths;
use crate::subjects::udp::UdpSockets;
use crate::subjects::visit::UdpDump;

fn limits(always: &[u16], k: usize) -> SubjectLimits {
    SubjectLimits {
        always: always.to_vec(),
        ..crate::fake_kernel::limits(k)
    }
}

fn tcp(socks: &[Sock], always: &[u16], k: usize) -> TcpSockets {
    let (mut scratch, policy) = (Scratch::new(1000), policy(40_000, 40_019));
    count(&mut scratch, &policy, socks, always);
    let dump = TcpDump {
        count: &scratch.tcp,
        listeners: &scratch.listeners,
        policy: &policy,
        unseen: 0,
        cgroups: &CgroupPaths::known([]),
    };
    TcpSockets::of(&dump, &limits(always, k), &mut Ranking::default())
}

fn udp(socks: &[Sock], always: &[u16], k: usize) -> UdpSockets {
    let (mut count, policy) = (UdpCount::default(), policy(40_000, 40_019));
    for sock in socks {
        count.add(&sock.socket(), &policy.effective);
    }
    let dump = UdpDump {
        count: &count,
        policy: &policy,
    };
    UdpSockets::of(&dump, &limits(always, k), &mut Ranking::default())
}

proptest! {
    #[test]
    fn every_breakdown_adds_up_to_the_same(socks in any_socks(), k in 0_usize..4) {
        let sockets = tcp(&socks, &[80], k);
        let sum = |parts: &[&StateCounts]| {
            let mut sum = StateCounts::default();
            parts.iter().for_each(|part| sum.merge(part));
            sum
        };
        let all = sum(&[&sockets.inet, &sockets.inet6]);
        prop_assert_eq!(all.total() as usize, socks.len());
        prop_assert_eq!(sum(&[&sockets.outbound, &sockets.inbound]), all);
        let ports: Vec<_> = sockets.ports.iter().map(|port| &port.counts).collect();
        prop_assert_eq!(sum(&ports), all);
        prop_assert!(sockets.ports.len() <= k + 2);
    }

    #[test]
    fn so_do_those_of_udp(socks in any_socks(), k in 0_usize..4) {
        let sockets = udp(&socks, &[80], k);
        let all = sockets.inet.total() + sockets.inet6.total();
        prop_assert_eq!(all as usize, socks.len());
        let ports: u32 = sockets.ports.iter().map(|port| port.counts.total()).sum();
        prop_assert_eq!(ports, all);
    }
}

#[test]
fn configured_ports_are_shown_without_a_single_socket() {
    let listening: Vec<_> = (1..=9)
        .map(|port| bound(State::Listen, &format!("0.0.0.0:{port}")))
        .collect();
    let sockets = tcp(&listening, &[9999, 3, 3], 2);
    let ports: Vec<_> = sockets.ports.iter().map(|port| port.port).collect();
    assert_eq!(ports, [Some(3), Some(9999), Some(1), Some(2), None]);
    assert_eq!(sockets.ports_folded, 6);
    assert_eq!(sockets.ports[1].counts.total(), 0);
}

#[test]
fn ports_of_udp_clients_are_nobody_s_service() {
    let sockets = udp(
        &[
            bound(State::Close, "0.0.0.0:53"),
            bound(State::Close, "0.0.0.0:40001"),
            sock(State::Established, "10.0.0.1:50000", "10.0.0.9:53"),
        ],
        &[],
        5,
    );
    let ports: Vec<_> = sockets.ports.iter().map(|port| port.port).collect();
    assert_eq!(ports, [Some(53), None]);
    let other = sockets.ports[1].counts;
    assert_eq!((other.connected, other.unconnected), (1, 1));
}
