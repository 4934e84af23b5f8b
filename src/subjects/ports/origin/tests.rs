//! The cases were produced on Linux 6.18 with a range of 100 ports: sockets were
//! opened until the call failed, and the figures have to foretell when it does.

use super::*;
use crate::count::Scratch;
use crate::fake_kernel::{Sock, bound, count, policy, sock};
use crate::model::socket::Family;
use crate::model::state::State;

/// Polls of one namespace.
#[derive(Default)]
struct Polls {
    memory: OriginMemory,
}

struct Poll {
    origin: Origin,
    held: u32,
    scratch: Scratch,
}

impl Polls {
    /// Where the kernel cannot be asked.
    fn poll(&mut self, first: u16, socks: &[Sock]) -> Poll {
        self.poll_asking(first, socks, None)
    }

    /// Where it says that bind() made these.
    fn poll_with(&mut self, bind_s: impl Fn(u16) -> bool, socks: &[Sock]) -> Poll {
        let ask = |ports: &[u16]| {
            Ok(ports
                .iter()
                .copied()
                .filter(|&port| !bind_s(port))
                .collect())
        };
        self.poll_asking(40_000, socks, Some(&ask))
    }

    fn poll_asking(&mut self, first: u16, socks: &[Sock], ask: Option<Ask<'_>>) -> Poll {
        let mut policy = policy(first, first + 99);
        (policy.known, policy.can_ask) = self.memory.recall(&policy.effective, ask);
        let mut scratch = Scratch::new(10_000);
        count(&mut scratch, &policy, socks, &[]);
        Poll {
            origin: self.memory.classify(&scratch.tcp, &policy, ask),
            held: scratch.tcp.ports.held.len(),
            scratch,
        }
    }
}

fn once(first: u16, socks: &[Sock]) -> Poll {
    Polls::default().poll(first, socks)
}

impl Poll {
    /// Ports that are bind()'s, and that may be.
    fn figures(&self) -> (u32, u32) {
        (self.origin.bind_first, self.origin.ambiguous)
    }

    /// Sockets toward 10.9.0.1:443 on ports that plain connect() has lost.
    fn lost(&self) -> u32 {
        let keys = &self.scratch.tcp.keys;
        keys.v4
            .ports()
            .filter(|(_, key, ..)| key.remote == [10, 9, 0, 1] && key.port == 443)
            .map(|(at, ..)| {
                self.origin
                    .lost
                    .counters(keys, KeyIndex::new(Family::Inet, at))
                    .lost
            })
            .sum()
    }

    /// How many more plain connect() calls to a new destination succeed.
    fn free_elsewhere(&self) -> u32 {
        100 - self.held - self.origin.bind_first
    }
}

/// Sockets toward one destination on the ports `first + offset`.
fn toward(destination: &str, source: &str, ports: impl IntoIterator<Item = u16>) -> Vec<Sock> {
    ports
        .into_iter()
        .map(|port| sock(State::Established, &format!("{source}:{port}"), destination))
        .collect()
}

const A: &str = "10.9.0.1:443";
const B: &str = "10.9.0.2:443";
const ONE: &str = "127.0.0.10";

fn offsets(first: u16, odd: u16, count: u16) -> impl Iterator<Item = u16> {
    (0..count).map(move |at| first + 2 * at + odd)
}

#[test]
fn thirty_bound_first_leave_seventy_whatever_the_first_port() {
    for first in [40_000, 40_001] {
        let poll = once(first, &toward(A, ONE, offsets(first, 1, 30)));
        assert_eq!(poll.origin.bind_first, 30);
        assert_eq!((poll.free_elsewhere(), poll.lost()), (70, 30));
        assert_eq!(poll.origin.ambiguous, 0);
    }
}

#[test]
fn forty_plain_ones_leave_all() {
    for first in [40_000, 40_001] {
        let poll = once(first, &toward(A, ONE, offsets(first, 0, 40)));
        assert_eq!(
            poll.figures(),
            (0, 40),
            "nobody says that bind() joined none"
        );
        assert_eq!((poll.free_elsewhere(), poll.lost()), (100, 0));
    }
}

#[test]
fn both_kinds_toward_one_destination_are_told_apart() {
    let mut socks = toward(A, ONE, offsets(40_000, 0, 40));
    socks.extend(toward(A, ONE, offsets(40_000, 1, 30)));
    let poll = once(40_000, &socks);
    assert_eq!((poll.origin.bind_first, poll.lost()), (30, 30));
}

#[test]
fn connections_spill_over_when_their_half_is_full() {
    let mut spilled = toward(A, ONE, offsets(40_000, 0, 50));
    spilled.extend(toward(A, ONE, offsets(40_000, 1, 20)));
    let poll = once(40_000, &spilled);
    assert_eq!(poll.figures(), (0, 70));
    assert_eq!(poll.free_elsewhere(), 100);
}

#[test]
fn the_kernel_is_taken_at_its_word() {
    let mut socks = toward(A, ONE, offsets(40_000, 1, 50));
    socks.extend(toward(A, ONE, offsets(40_000, 0, 20)));
    socks.extend(toward(B, "127.0.0.11", [40_000]));
    for (bind_s, lost) in [(40_000..40_100, 70), (40_000..40_010, 10), (0..0, 0)] {
        let poll = Polls::default().poll_with(|port| bind_s.contains(&port), &socks);
        assert_eq!(poll.figures(), (lost, 0));
        assert_eq!(poll.lost(), lost);
    }
}

/// bind() joins a port of connect(), and leaves it again.
#[test]
fn what_is_known_is_asked_again() {
    let socks = toward(A, ONE, offsets(40_000, 0, 20));
    let mut polls = Polls::default();
    for lost in [0, 5, 20, 0] {
        let poll = polls.poll_with(|port| port < 40_000 + 2 * lost, &socks);
        assert_eq!(poll.figures(), (lost.into(), 0));
        assert_eq!(poll.lost(), u32::from(lost));
    }
}

/// Nobody's turn comes again before everybody had one.
#[test]
fn many_known_ports_are_asked_about_in_turn() {
    let effective = policy(20_000, 39_999).effective;
    let mut memory = OriginMemory {
        free: Some((20_000..20_600).collect()),
        ..OriginMemory::default()
    };
    let mut turns = Vec::new();
    for _ in 0..4 {
        let asked = std::sync::Mutex::new(Vec::<u16>::new());
        let ask = |ports: &[u16]| {
            asked.lock().unwrap().extend(ports);
            Ok(ports.iter().copied().collect())
        };
        memory.recall(&effective, Some(&ask));
        turns.push(asked.into_inner().unwrap());
    }
    let lengths: Vec<_> = turns.iter().map(Vec::len).collect();
    assert_eq!(lengths, [QUESTIONS_AGAIN; 4]);
    let in_turn: Vec<u16> = (20_000..20_600).chain(20_000..20_424).collect();
    assert_eq!(turns.concat(), in_turn);
}

/// Those whose turn is later may have been joined as well.
#[test]
fn one_port_that_bind_has_joined_makes_all_doubtful() {
    let mut memory = OriginMemory {
        free: Some((20_000..20_600).collect()),
        ..OriginMemory::default()
    };
    let ask = |ports: &[u16]| {
        Ok(ports
            .iter()
            .copied()
            .filter(|&port| port != 20_005)
            .collect())
    };
    let (known, _) = memory.recall(&policy(20_000, 39_999).effective, Some(&ask));
    assert!(known.free.is_empty());
    assert_eq!(known.lost, [20_005].into_iter().collect());
}

/// More ports at once than there are questions: those of the half that bind(0) begins
/// with come first.
#[test]
fn too_many_new_ports_are_asked_about_in_turn() {
    let mut policy = policy(20_000, 39_999);
    policy.can_ask = true;
    let destination = |port: u16| if port.is_multiple_of(2) { A } else { B };
    let socks: Vec<_> = (20_000..23_000)
        .flat_map(|port| toward(destination(port), ONE, [port]))
        .collect();
    let asked = std::sync::Mutex::new(Vec::<u16>::new());
    let ask = |ports: &[u16]| {
        asked.lock().unwrap().extend(ports);
        Ok(ports
            .iter()
            .copied()
            .filter(|&port| port != 20_001)
            .collect())
    };
    let mut memory = OriginMemory::default();
    let mut poll = || {
        (policy.known, _) = memory.recall(&policy.effective, Some(&ask));
        let mut scratch = Scratch::new(10_000);
        count(&mut scratch, &policy, &socks, &[]);
        let origin = memory.classify(&scratch.tcp, &policy, Some(&ask));
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        assert!(asked.len() <= QUESTIONS + QUESTIONS_AGAIN);
        (origin.bind_first + origin.ambiguous, asked)
    };
    let (unclear, asked) = poll();
    assert!(
        asked.iter().all(|port| port % 2 == 1),
        "first bind(0)'s half"
    );
    assert_eq!(unclear, 1 + 3000 - QUESTIONS as u32);
    assert_eq!(poll().0, 1, "the rest at the next poll");
    assert_eq!(poll().0, 1);
}

/// A question is cheap beside the dump of many sockets.
#[test]
fn with_many_sockets_more_ports_are_asked_about_at_once() {
    let mut policy = policy(20_000, 39_999);
    policy.can_ask = true;
    let ports = (20_001..22_201).step_by(2);
    let destinations = (0..64).map(|at| format!("10.9.1.{at}:443"));
    let socks: Vec<_> = destinations
        .flat_map(|destination| toward(&destination, ONE, ports.clone()))
        .collect();
    let mut scratch = Scratch::new(10_000);
    count(&mut scratch, &policy, &socks, &[]);
    let ask = |ports: &[u16]| {
        assert_eq!(ports.len(), 1100);
        Ok(ports.iter().copied().collect())
    };
    let origin = OriginMemory::default().classify(&scratch.tcp, &policy, Some(&ask));
    assert_eq!((origin.bind_first, origin.ambiguous), (0, 0));
}

#[test]
fn where_the_kernel_stops_answering_parity_has_to_do() {
    let socks = toward(A, ONE, offsets(40_000, 1, 30));
    let ask = |_: &[u16]| Err(io::ErrorKind::PermissionDenied.into());
    let poll = Polls::default().poll_asking(40_000, &socks, Some(&ask));
    assert_eq!(poll.figures(), (30, 0));

    // What it said before may be so no longer.
    let socks = toward(A, ONE, offsets(40_000, 0, 30));
    let mut polls = Polls::default();
    assert_eq!(polls.poll_with(|_| false, &socks).figures(), (0, 0));
    let poll = polls.poll_asking(40_000, &socks, Some(&ask));
    assert_eq!(poll.figures(), (0, 30));
}

#[test]
fn seventy_bound_first_lie_between_the_figure_and_the_doubt() {
    let mut socks = toward(A, ONE, offsets(40_000, 1, 50));
    socks.extend(toward(A, ONE, offsets(40_000, 0, 20)));
    let poll = once(40_000, &socks);
    let (bind_first, ambiguous) = poll.figures();
    assert_eq!((bind_first, ambiguous), (50, 20));
    assert_eq!(100 - bind_first - ambiguous, 30, "what the kernel had left");
}

#[test]
fn two_destinations_on_one_port_show_that_connect_made_it() {
    let mut socks = toward(A, ONE, [40_011, 40_013]);
    socks.extend(toward(B, ONE, [40_011]));
    let poll = once(40_000, &socks);
    assert_eq!(poll.origin.bind_first, 1, "40013 alone");
    let mut polls = Polls::default();
    let mut elsewhere = toward(A, ONE, [40_011]);
    elsewhere.extend(toward(B, "127.0.0.11", [40_011]));
    let poll = polls.poll(40_000, &elsewhere);
    assert_eq!(
        poll.origin.bind_first, 1,
        "another address says nothing, and the port counts once"
    );
    assert_eq!(poll.lost(), 1);
}

#[test]
fn a_port_stays_what_it_was_while_it_is_in_use() {
    let mut polls = Polls::default();
    let mut socks = toward(A, ONE, offsets(40_000, 1, 10));
    assert_eq!(polls.poll(40_000, &socks).origin.bind_first, 10);
    // The other half fills up: by their parity alone they may have spilled over.
    socks.extend(toward(A, ONE, offsets(40_000, 0, 50)));
    assert_eq!(polls.poll(40_000, &socks).origin.bind_first, 10);
    // And empties again: those that spilled over then are still connect()'s.
    socks.extend(toward(A, ONE, offsets(40_020, 1, 10)));
    assert_eq!(polls.poll(40_000, &socks).origin.bind_first, 10);
    socks.drain(10..60);
    assert_eq!(polls.poll(40_000, &socks).origin.bind_first, 10);
    assert_eq!(polls.poll(40_000, &[]).figures(), (0, 0));
    let again = toward(A, ONE, offsets(40_020, 1, 10));
    assert_eq!(
        polls.poll(40_000, &again).origin.bind_first,
        10,
        "used anew"
    );
}

#[test]
fn connections_of_a_listener_that_is_gone_keep_its_port_lost() {
    let mut polls = Polls::default();
    let accepted = sock(State::Established, "10.0.0.1:40010", A);
    let before = polls.poll(
        40_000,
        &[bound(State::Listen, "0.0.0.0:40010"), accepted.clone()],
    );
    assert_eq!((before.held, before.origin.bind_first), (1, 0));
    let after = polls.poll(40_000, &[accepted]);
    assert_eq!((after.held, after.origin.bind_first), (0, 1));
    assert_eq!((after.free_elsewhere(), after.lost()), (99, 1));
}

#[test]
fn ports_that_are_held_are_not_counted_twice() {
    let mut socks = toward(A, ONE, [40_011, 40_013]);
    socks.push(bound(State::Close, "10.0.0.7:40011"));
    let poll = once(40_000, &socks);
    assert_eq!((poll.held, poll.origin.bind_first), (1, 1));
    assert_eq!((poll.free_elsewhere(), poll.lost()), (98, 2));
}

#[test]
fn another_range_does_not_unmake_what_was_known() {
    let mut polls = Polls::default();
    let socks = toward(A, ONE, offsets(40_000, 1, 10));
    assert_eq!(polls.poll(40_000, &socks).origin.bind_first, 10);
    // Counted from 40001 they have the parity that connect() prefers.
    let poll = polls.poll(40_001, &socks);
    assert_eq!((poll.origin.bind_first, poll.lost()), (10, 10));
    assert_eq!(polls.poll(40_001, &socks).origin.bind_first, 10);
    assert_eq!(polls.poll(50_000, &socks).origin.bind_first, 0, "outside");
}

#[test]
fn inbound_sockets_and_reserved_ports_are_no_suspects() {
    let mut memory = OriginMemory::default();
    let mut policy = policy(40_000, 40_099);
    policy.effective.remove(40_013);
    (policy.known, _) = memory.recall(&policy.effective, None);
    let mut socks = toward(A, ONE, [40_011, 40_013]);
    socks.push(bound(State::Listen, "[::]:40011"));
    let mut scratch = Scratch::new(100);
    count(&mut scratch, &policy, &socks, &[]);
    let origin = memory.classify(&scratch.tcp, &policy, None);
    assert_eq!((origin.bind_first, origin.ambiguous), (0, 0));
}

/// connect() fills the preferred half first, so TIME_WAIT leaves it first, too:
/// what stays on the other half a minute later looks as if bind() had made it.
#[test]
fn what_spilled_over_before_the_first_poll_is_not_taken_for_bind_s() {
    let old = |ports: Vec<u16>, remaining| {
        ports
            .into_iter()
            .map(move |port| crate::fake_kernel::time_wait(&format!("{ONE}:{port}"), A, remaining))
    };
    let left_over: Vec<_> = old(offsets(40_000, 0, 20).collect(), 30_000)
        .chain(old(offsets(40_000, 1, 30).collect(), 2_000))
        .collect();
    let mut polls = Polls::default();
    assert_eq!(polls.poll(40_000, &left_over).figures(), (0, 50));
    assert_eq!(polls.poll(40_000, &left_over).figures(), (0, 50));

    // What comes later has a past that was seen.
    let mut later = left_over;
    later.extend(toward(B, ONE, offsets(40_000, 1, 40).skip(35)));
    assert_eq!(polls.poll(40_000, &later).origin.bind_first, 5);
}

/// A listener without connections leaves nothing behind: connect() may have its
/// port by the next poll.
#[test]
fn a_listener_that_goes_leaves_its_port_to_connect() {
    let mut polls = Polls::default();
    let listen = |port| bound(State::Listen, &format!("{ONE}:{port}"));
    let listeners: Vec<_> = offsets(40_000, 1, 30).map(listen).collect();
    assert_eq!(polls.poll(40_000, &listeners).held, 30);
    let origin = polls.poll(40_000, &toward(A, ONE, 40_000..40_100)).origin;
    assert_eq!(origin.bind_first, 0);
}
