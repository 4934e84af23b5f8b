use proptest::prelude::*;

use super::*;
use crate::count::Scratch;
use crate::fake_kernel::{Sock, any_socks, bound, count, policy, sock};

fn peers(socks: &[Sock], k: usize, tracked: usize) -> (Peers, [StateCounts; 2]) {
    let mut scratch = Scratch::new(tracked);
    count(&mut scratch, &policy(40_000, 40_019), socks, &[]);
    let peers = Peers::of(&scratch.tcp, k, Floor::NONE, &mut Rankings::default());
    (peers, scratch.tcp.directions)
}

proptest! {
    #[test]
    fn peers_and_other_add_up(socks in any_socks(), k in 0_usize..6, tracked in 0_usize..40) {
        let (peers, directions) = peers(&socks, k, tracked);
        for (side, all) in [&peers.outbound, &peers.inbound].into_iter().zip(directions) {
            let mut sum = side.other;
            for peer in &side.peers {
                sum.merge(&peer.states);
                prop_assert!(peer.states.total() > 0);
            }
            prop_assert_eq!(sum, all.connected());
            prop_assert_eq!(side.distinct, side.folded + side.peers.len() as u32);
            prop_assert!(side.peers.len() <= k);
            let sizes: Vec<_> = side.peers.iter().map(|peer| peer.states.total()).collect();
            prop_assert!(sizes.is_sorted_by(|a, b| a >= b));
        }
    }
}

#[test]
fn the_port_is_the_service_s() {
    let (peers, _) = peers(
        &[
            bound(State::Listen, "[::]:80"),
            sock(State::Established, "10.0.0.1:80", "10.0.0.9:5555"),
            sock(State::Established, "10.0.0.1:80", "10.0.0.9:5556").mapped(),
            sock(State::TimeWait, "10.0.0.1:40001", "10.0.0.9:443"),
            sock(State::Established, "10.0.0.2:40002", "10.0.0.9:443"),
        ],
        5,
        100,
    );
    let only = |side: &Side| {
        let [peer] = &side.peers[..] else {
            panic!("{side:?}")
        };
        (peer.address.to_string(), peer.port, peer.states.total())
    };
    assert_eq!(only(&peers.inbound), ("10.0.0.9".into(), 80, 2));
    assert_eq!(only(&peers.outbound), ("10.0.0.9".into(), 443, 2));
}
