use std::net::IpAddr;

use netlink_packet_core::Parseable;
use netlink_packet_sock_diag::constants::AF_INET;
use netlink_packet_sock_diag::inet::InetResponseHeader;
use proptest::prelude::*;

use super::*;
use crate::fake_kernel::{Sock, attribute, bound, sock, time_wait};

#[rustfmt::skip]
const LISTENER: [u8; 108] = [
    10, 10, 0, 0, // family: AF_INET6, state: LISTEN, timer, retransmits
    0x1f, 0x90, 0, 0, // ports 8080 and 0, big-endian
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // local ::
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // remote ::
    3, 0, 0, 0, // device
    1, 2, 3, 4, 5, 6, 7, 8, // cookie
    0, 0, 0, 0, // expires
    5, 0, 0, 0, // queue: 5 wait for accept
    128, 0, 0, 0, // queue: of at most 128
    0xe8, 3, 0, 0, // uid
    9, 0, 0, 0, // inode
    5, 0, 8, 0, 0, 0, 0, 0, // INET_DIAG_SHUTDOWN 0, padded
    5, 0, 11, 0, 1, 0, 0, 0, // INET_DIAG_SKV6ONLY 1, padded
    12, 0, 21, 0, 0xd2, 4, 0, 0, 1, 0, 0, 0, // INET_DIAG_CGROUP_ID
    6, 0, 22, 0, 0, 1, 0, 0, // INET_DIAG_SOCKOPT, bind_address_no_port, padded
];

#[test]
fn a_listener_is_read_from_its_bytes() {
    let record = SocketRecord::parse(&LISTENER).unwrap();
    let socket = record.socket();
    assert_eq!(
        (socket.family, socket.state),
        (Family::Inet6, State::Listen)
    );
    assert_eq!((socket.local_port, socket.remote_port), (8080, 0));
    assert_eq!(socket.device, 3);
    assert_eq!(
        socket.queues,
        Queues::Backlog {
            waiting: 5,
            limit: 128
        }
    );
    assert!(socket.v6_only);
    assert_eq!(record.cgroup_id(), Some(1 << 32 | 1234));
    assert!(socket.bind_address_no_port);
    assert_eq!(socket.time_wait_remaining_ms, None);
}

#[test]
fn a_record_cut_short_is_refused_and_cut_attributes_are_missing() {
    for length in 0..LISTENER.len() {
        let record = SocketRecord::parse(&LISTENER[..length]);
        assert_eq!(record.is_some(), length >= 72, "{length}");
        let Some(record) = record else { continue };
        let socket = record.socket();
        assert_eq!(socket.local_port, 8080);
        assert_eq!(socket.v6_only, length >= 85, "{length}");
        assert_eq!(record.cgroup_id().is_some(), length >= 100, "{length}");
        assert_eq!(socket.bind_address_no_port, length >= 106, "{length}");
    }
}

fn parsed(payload: &[u8]) -> SocketRecord<'_> {
    SocketRecord::parse(payload).unwrap()
}

fn socket(payload: &[u8]) -> Socket {
    parsed(payload).socket()
}

#[test]
fn unknown_states_and_families_are_values() {
    for (number, state) in [
        (0, State::Unknown),
        (12, State::SynRecv),
        (13, State::Close),
        (99, State::Unknown),
    ] {
        let mut bytes = sock(State::Established, "10.0.0.1:1", "10.0.0.2:443").bytes();
        bytes[1] = number;
        assert_eq!(socket(&bytes).state, state);
    }
    let mut bytes = sock(State::Established, "10.0.0.1:1", "10.0.0.2:443").bytes();
    bytes[0] = 44;
    assert_eq!(socket(&bytes).family, Family::Inet);
}

#[test]
fn unknown_and_malformed_attributes_do_no_harm() {
    let fixed = bound(State::Listen, "[::]:443").bytes();
    let v6_only = attribute(11, &[1]);
    let after = |odd: &[u8]| socket(&[&fixed, odd, &v6_only].concat()).v6_only;
    assert!(after(&attribute(999, &[1; 300])), "unknown");
    assert!(after(&attribute(11 | 0x4000, &[1])), "flagged");
    assert!(after(&attribute(7, &[])), "empty");
    assert!(!after(&[0, 0, 21, 0]), "length 0 would never end");
    assert!(!after(&[3, 0, 21, 0]), "shorter than its header");
    assert!(!after(&[0xff, 0xff, 21, 0]), "beyond the message");

    let cgroup = |value: &[u8]| parsed(&[&fixed[..], &attribute(21, value)].concat()).cgroup_id();
    assert_eq!(cgroup(&7_u64.to_ne_bytes()), Some(7));
    assert_eq!(cgroup(&[7; 4]), None, "of another size");
    assert_eq!(cgroup(&[]), None);
    for value in [&[][..], &[0], &[2, 1]] {
        assert!(!socket(&[&fixed[..], &attribute(11, value)].concat()).v6_only);
        assert!(
            !socket(&[&fixed[..], &attribute(22, &value[..value.len().min(1)])].concat())
                .bind_address_no_port
        );
    }
}

#[test]
fn cgroup_and_options_are_found_at_the_end_and_before() {
    let fixed = sock(State::Established, "10.0.0.1:1", "10.0.0.2:443").bytes();
    let (cgroup, other) = (attribute(21, &[7; 8]), attribute(99, &[0; 4]));
    for bits in [0, 1, 2, 3] {
        let options = attribute(22, &[0, bits]);
        for behind in [&[][..], &other] {
            for cgroup in [&cgroup[..], &[]] {
                let record = socket(&[&fixed, cgroup, &options, behind].concat());
                assert_eq!(record.bind_address_no_port, bits & 1 == 1);
                let is_told = !cgroup.is_empty();
                assert_eq!(record.cgroup != 0, is_told);
                assert!(!is_told || record.cgroup == u64::from_ne_bytes([7; 8]));
            }
        }
    }
}

#[test]
fn a_mapped_pair_is_an_ipv4_pair_of_an_ipv6_socket() {
    let bytes = sock(State::Established, "10.0.0.1:1", "10.0.0.2:2")
        .mapped()
        .bytes();
    let mapped = socket(&bytes);
    assert_eq!(mapped.family, Family::Inet6);
    let (local, remote) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    assert_eq!(mapped.addresses, Addresses::V4 { local, remote });

    let bytes = bound(State::Listen, "10.0.0.1:1").mapped().bytes();
    let remote = [0; 4];
    assert_eq!(socket(&bytes).addresses, Addresses::V4 { local, remote });

    let bytes = bound(State::Listen, "[::]:1").bytes();
    assert!(matches!(socket(&bytes).addresses, Addresses::V6 { .. }));
}

#[test]
fn the_timer_of_time_wait_is_read_wherever_it_runs() {
    let remaining = |sock: Sock| socket(&sock.bytes()).time_wait_remaining_ms;
    let (local, remote) = ("10.0.0.1:1", "10.0.0.2:2");
    assert_eq!(remaining(time_wait(local, remote, 59_999)), Some(59_999));
    assert_eq!(
        remaining(sock(State::FinWait2, local, remote).expires(4_000)),
        Some(4_000),
        "held by the kernel after close"
    );
    assert_eq!(remaining(sock(State::FinWait2, local, remote)), None);
    let bytes = time_wait(local, remote, 1).bytes();
    let record = parsed(&bytes);
    assert_eq!(
        (record.cgroup_id(), record.socket().v6_only),
        (None, false),
        "no attributes"
    );
}

#[test]
fn queues_of_connections_are_bytes() {
    let bytes = sock(State::Established, "10.0.0.1:1", "10.0.0.2:443")
        .queues(3, 4)
        .bytes();
    assert_eq!(
        socket(&bytes).queues,
        Queues::Bytes {
            unread: 3,
            unacknowledged: 4
        }
    );
}

fn canonical(addresses: Addresses) -> (IpAddr, IpAddr) {
    match addresses {
        Addresses::V4 { local, remote } => (local.into(), remote.into()),
        Addresses::V6 { local, remote } => (local.into(), remote.into()),
    }
}

proptest! {
    #[test]
    fn records_agree_with_the_crate_s_own_parser(
        mut bytes in prop::collection::vec(any::<u8>(), 72..200),
        v6: bool,
        is_mapped: bool,
    ) {
        bytes[0] = if v6 { AF_INET6 } else { AF_INET };
        if is_mapped {
            for at in [8, 24] {
                bytes[at..at + 12].copy_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
            }
        }
        let theirs = InetResponseHeader::parse(&bytes[..]).unwrap();
        let ours = socket(&bytes);
        let id = &theirs.socket_id;
        prop_assert_eq!(ours.local_port, id.source_port);
        prop_assert_eq!(ours.remote_port, id.destination_port);
        prop_assert_eq!(ours.device, id.interface_id);
        prop_assert_eq!(ours.state, State::from_kernel(theirs.state));
        let (local, remote) = canonical(ours.addresses);
        prop_assert_eq!(local, id.source_address.to_canonical());
        prop_assert_eq!(remote, id.destination_address.to_canonical());
        let queues = match ours.queues {
            Queues::Backlog { waiting, limit } => (waiting, limit),
            Queues::Bytes { unread, unacknowledged } => (unread, unacknowledged),
        };
        prop_assert_eq!(queues, (theirs.recv_queue, theirs.send_queue));
    }

    #[test]
    fn random_records_are_read_without_panic(bytes: Vec<u8>) {
        let Some(record) = SocketRecord::parse(&bytes) else {
            prop_assert!(bytes.len() < RECORD_BYTES);
            return Ok(());
        };
        record.cgroup_id();
        record.socket();
        let values = Attributes { rest: record.attributes };
        let total: usize = values.map(|(_, value)| value.len() + 4).sum();
        prop_assert!(total <= bytes.len() - RECORD_BYTES);
    }
}
