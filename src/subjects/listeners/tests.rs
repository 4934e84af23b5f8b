use super::*;
use crate::count::Scratch;
use crate::fake_kernel::{Sock, bound, count, policy, sock};
use crate::model::ports::{PortRange, PortSet};
use crate::model::socket::Direction;
use crate::model::state::State;

fn queues(socks: &[Sock], k: usize) -> AcceptQueues {
    let mut scratch = Scratch::new(10);
    count(&mut scratch, &policy(40_000, 40_099), socks, &[]);
    AcceptQueues::of(
        &scratch.listeners,
        &PortSet::default(),
        k,
        &mut Ranking::default(),
    )
}

fn listener(local: &str, waiting: u32, limit: u32) -> Sock {
    bound(State::Listen, local).queues(waiting, limit)
}

#[test]
fn a_group_of_sockets_on_one_port_is_summed() {
    let all = queues(
        &[
            listener("0.0.0.0:80", 1, 128),
            listener("0.0.0.0:80", 2, 128),
            listener("0.0.0.0:80", 4, 256),
            listener("10.0.0.1:80", 8, 16),
            listener("[::]:80", 16, 32),
        ],
        20,
    );
    let found: Vec<_> = all
        .queues
        .iter()
        .map(|queue| (queue.address.to_string(), queue.waiting, queue.limit))
        .collect();
    let expected = [("10.0.0.1", 8, 16), ("::", 16, 32), ("0.0.0.0", 7, 512)];
    let mut sorted = found.clone();
    sorted.sort();
    let mut wanted = expected.map(|(address, waiting, limit)| (address.to_owned(), waiting, limit));
    wanted.sort();
    assert_eq!(sorted, wanted);
    assert_eq!(found[2].0, "0.0.0.0", "the emptiest is last");
}

#[test]
fn the_fullest_come_first_and_the_rest_is_counted() {
    let socks: Vec<_> = (1..=50)
        .map(|port| listener(&format!("10.0.0.1:{port}"), port, 100))
        .collect();
    let all = queues(&socks, 10);
    let ports: Vec<_> = all.queues.iter().map(|queue| queue.port).collect();
    assert_eq!(ports, (41..=50).rev().collect::<Vec<_>>());
    assert_eq!(all.folded, 40);
}

#[test]
fn a_backlog_of_none_and_one_beyond_its_limit_are_ranked() {
    let all = queues(
        &[
            listener("10.0.0.1:1", 0, 0),
            listener("10.0.0.1:2", 129, 128),
        ],
        5,
    );
    assert_eq!(all.queues[0].port, 2);
    let most = queues(
        &[
            listener("0.0.0.0:1", u32::MAX, u32::MAX),
            listener("0.0.0.0:1", 1, 1),
        ],
        5,
    );
    assert_eq!(most.queues[0].waiting, u32::MAX, "sums do not overflow");
}

#[test]
fn listeners_beyond_the_memory_are_counted_and_still_tell_direction() {
    let mut socks: Vec<_> = (1..=50)
        .map(|host| listener(&format!("10.0.0.{host}:80"), 1, 100))
        .collect();
    socks.push(sock(State::Established, "10.0.0.50:80", "192.0.2.1:5000"));
    let mut scratch = Scratch::new(10);
    scratch.listeners = Listeners::new(10);
    count(&mut scratch, &policy(40_000, 40_099), &socks, &[]);
    let listeners = &scratch.listeners;
    assert_eq!((listeners.tracked(), listeners.untracked), (10, 40));
    let inbound = scratch.tcp.directions[Direction::Inbound as usize];
    assert_eq!(inbound.get(State::Listen), 50);
    assert_eq!(inbound.get(State::Established), 1);
    let all = AcceptQueues::of(listeners, &PortSet::default(), 5, &mut Ranking::default());
    assert_eq!((all.queues.len(), all.folded), (5, 5));
}

#[test]
fn a_listener_in_the_range_is_listed_when_somebody_waits() {
    let mut scratch = Scratch::new(10);
    let socks = [
        listener("10.0.0.1:80", 0, 8),
        listener("10.0.0.1:40001", 0, 8),
        listener("10.0.0.1:40002", 1, 8),
    ];
    count(&mut scratch, &policy(40_000, 40_099), &socks, &[]);
    let range = PortRange {
        first: 40_000,
        last: 40_099,
    };
    let mut ranking = Ranking::default();
    let all = AcceptQueues::of(&scratch.listeners, &range.into(), 5, &mut ranking);
    let ports: Vec<_> = all.queues.iter().map(|queue| queue.port).collect();
    assert_eq!((ports, all.folded), (vec![40_002, 80], 1));
}
