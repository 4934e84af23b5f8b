use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use netlink_packet_core::Parseable;
use netlink_packet_sock_diag::inet::InetResponseHeader;
use proptest::prelude::*;

use super::*;
use crate::fake_kernel::{
    Asked, Event, Kernel, Sock, Wants, attribute, bound, message, sock, time_wait,
};

static NEVER: AtomicBool = AtomicBool::new(false);

/// The local ports of a dump, in order.
fn ports(client: &mut SockDiag<impl Wire>, what: Dump) -> Result<Vec<u16>, DumpError> {
    let patience = Patience {
        timeout: Duration::from_secs(60),
        stop: &NEVER,
    };
    let mut ports = vec![1, 2, 3];
    client
        .dump(what, patience, &mut ports, Vec::clear, |ports, record| {
            ports.push(record.local_port());
        })
        .map(|()| ports)
}

fn established(port: u16) -> Sock {
    let local = SocketAddr::from(([10, 0, 0, 1], port));
    crate::fake_kernel::ends(State::Established, local, ([10, 0, 0, 2], 443).into())
}

fn interrupted(asked: &Asked, socks: &[Sock]) -> Vec<Event> {
    let mut events = asked.dump(socks);
    events.pop();
    let done = message(3, 2 | 0x10, asked.sequence, &[0; 4]);
    events.push(Event::Datagram(done));
    events
}

#[test]
fn an_interrupted_dump_is_counted_and_tried_again_from_the_start() {
    let mut attempt = 0;
    let kernel = Kernel::new(move |asked| {
        attempt += 1;
        match attempt {
            1 => interrupted(asked, &[established(7)]),
            _ => asked.dump(&[established(8), established(9)]),
        }
    });
    let mut client = kernel.sock_diag();
    assert_eq!(
        ports(&mut client, Dump::TcpSockets { bound: true }).unwrap(),
        [8, 9]
    );
    assert_eq!((client.interrupted(), kernel.opened()), (1, 1));
}

#[test]
fn twice_in_a_row_is_an_error() {
    let kernel = Kernel::new(|asked| interrupted(asked, &[]));
    let mut client = kernel.sock_diag();
    let ending = ports(&mut client, Dump::TcpSockets { bound: true });
    assert!(matches!(ending, Err(DumpError::Interrupted)));
    assert_eq!((client.interrupted(), kernel.asked().len()), (2, 2));
    kernel.becomes(|asked| asked.dump(&[established(8)]));
    assert_eq!(
        ports(&mut client, Dump::TcpSockets { bound: true }).unwrap(),
        [8]
    );
}

#[test]
fn either_half_of_a_dump_by_family_can_be_interrupted() {
    let mut left = 1;
    let kernel = Kernel::new(move |asked| match asked.wants() {
        Wants::Udp(AF_INET) if left > 0 => {
            left -= 1;
            interrupted(asked, &[])
        }
        _ => asked.dump(&[established(8)]),
    });
    let mut client = kernel.sock_diag();
    assert_eq!(ports(&mut client, Dump::Udp).unwrap(), [8, 8]);
    assert_eq!(client.interrupted(), 1);
}

#[test]
fn a_failed_dump_leaves_its_socket_behind() {
    let kernel = Kernel::new(|asked| {
        // The rest of this answer would be taken for the next one's.
        let mut events = vec![Event::Errno(libc::ENOBUFS)];
        events.extend(asked.dump(&[established(7)]));
        events
    });
    let mut client = kernel.sock_diag();
    assert!(matches!(
        ports(&mut client, Dump::Udp),
        Err(DumpError::Overrun)
    ));
    kernel.becomes(|asked| asked.dump(&[established(8)]));
    assert_eq!(ports(&mut client, Dump::Udp).unwrap(), [8, 8]);
    assert_eq!(ports(&mut client, Dump::Udp).unwrap(), [8, 8]);
    assert_eq!(kernel.opened(), 2, "once more, and kept");
}

#[test]
fn a_socket_that_cannot_be_opened_is_tried_again() {
    let kernel = Kernel::new(|asked| asked.dump(&[established(8)]));
    let (wires, mut failures) = (kernel.clone(), 1);
    let mut client = SockDiag::with(move || {
        if failures > 0 {
            failures -= 1;
            return Err(DumpError::Call {
                call: "socket",
                source: io::Error::from_raw_os_error(libc::EMFILE),
            });
        }
        Ok(wires.open())
    });
    assert_eq!(ports(&mut client, Dump::Udp).unwrap_err().reason(), "call");
    assert_eq!(ports(&mut client, Dump::Udp).unwrap(), [8, 8]);
}

fn without_the_older_request(errno: i32) -> Kernel {
    Kernel::new(move |asked| match asked.wants() {
        Wants::Listeners(None) | Wants::Sockets(None) => asked.refused(errno),
        Wants::Sockets(Some(AF_INET6)) => asked.dump(&[established(6)]),
        _ => asked.dump(&[established(4)]),
    })
}

#[test]
fn without_the_older_request_both_families_are_asked() {
    for errno in [libc::EOPNOTSUPP, libc::ENOENT] {
        let kernel = without_the_older_request(errno);
        let mut client = kernel.sock_diag();
        for _ in 0..2 {
            assert_eq!(
                ports(&mut client, Dump::TcpSockets { bound: true }).unwrap(),
                [4, 6]
            );
        }
        let kinds: Vec<_> = kernel.asked().iter().map(|asked| asked.kind).collect();
        assert_eq!(kinds, [18, 20, 20, 20, 20], "it is not asked again");
    }
}

#[test]
fn where_both_requests_are_refused_the_older_one_is_tried_again() {
    let kernel = Kernel::new(|asked| asked.refused(libc::ENOENT));
    let mut client = kernel.sock_diag();
    for _ in 0..2 {
        assert!(
            ports(&mut client, Dump::TcpSockets { bound: true })
                .unwrap_err()
                .is_absent()
        );
    }
    assert_eq!(kernel.asked().len(), 4, "two each time, no more");
    kernel.becomes(|asked| asked.dump(&[established(8)]));
    assert_eq!(
        ports(&mut client, Dump::TcpSockets { bound: true }).unwrap(),
        [8]
    );
    assert_eq!(kernel.asked().last().unwrap().kind, 18);
}

#[test]
fn an_interruption_after_the_other_request_is_tried_again_as_well() {
    let mut left = 1;
    let kernel = Kernel::new(move |asked| match asked.wants() {
        Wants::Sockets(None) => asked.refused(libc::EOPNOTSUPP),
        _ if left > 0 => {
            left -= 1;
            interrupted(asked, &[])
        }
        _ => asked.dump(&[established(8)]),
    });
    let mut client = kernel.sock_diag();
    assert_eq!(
        ports(&mut client, Dump::TcpSockets { bound: true }).unwrap(),
        [8, 8]
    );
    assert_eq!(client.interrupted(), 1);
}

#[test]
fn a_refusal_for_want_of_permission_is_final() {
    let kernel = Kernel::new(|asked| asked.refused(libc::EPERM));
    let error = ports(&mut kernel.sock_diag(), Dump::TcpSockets { bound: true }).unwrap_err();
    assert_eq!((error.reason(), error.is_absent()), ("refused", false));
    assert_eq!(kernel.asked().len(), 1);
}

#[test]
fn a_record_cut_short_spoils_the_dump() {
    let kernel = Kernel::new(|asked| {
        let cut = asked.record(&established(7).bytes()[..71]);
        let rest = [asked.record(&established(8).bytes()), asked.done(0)].concat();
        vec![Event::Datagram(cut), Event::Datagram(rest)]
    });
    let ending = ports(&mut kernel.sock_diag(), Dump::TcpSockets { bound: true });
    assert!(matches!(ending, Err(DumpError::Malformed(_))));
}

#[test]
fn what_is_asked_is_what_the_kernel_expects() {
    let kernel = Kernel::new(|asked| asked.dump([]));
    let mut client = kernel.sock_diag();
    for what in [
        Dump::TcpListeners,
        Dump::TcpSockets { bound: true },
        Dump::Udp,
    ] {
        ports(&mut client, what).unwrap();
    }
    let asked = kernel.asked();
    let wants: Vec<_> = asked.iter().map(Asked::wants).collect();
    assert_eq!(
        wants,
        [
            Wants::Listeners(None),
            Wants::Sockets(None),
            Wants::Udp(AF_INET),
            Wants::Udp(AF_INET6)
        ]
    );
    // struct inet_diag_req: 4 + id 48 + states 4 + dbs 4; the families are 0.
    assert_eq!(
        asked[0].payload,
        [&[0; 52][..], &[0, 4, 0, 0], &[0; 4]].concat()
    );
    assert_eq!(asked[1].payload[52..56], [0xff, 0xfb, 0xff, 0xff]);
    // struct inet_diag_req_v2: family, protocol, ext, pad, states, id 48.
    for (asked, family) in asked[2..].iter().zip([2, 10]) {
        let expected = [&[family, 17, 0, 0][..], &[0xff; 4], &[0; 48]].concat();
        assert_eq!(asked.payload, expected);
    }
}

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
    assert_eq!(
        (record.family(), record.state()),
        (Family::Inet6, State::Listen)
    );
    assert_eq!((record.local_port(), record.remote_port()), (8080, 0));
    assert_eq!(record.interface(), 3);
    assert_eq!(
        record.queues(),
        Queues::Backlog {
            waiting: 5,
            limit: 128
        }
    );
    assert!(record.is_v6_only());
    assert_eq!(record.cgroup_id(), Some(1 << 32 | 1234));
    assert!(record.binds_address_without_port());
    assert_eq!(record.time_wait_remaining_ms(), None);
}

#[test]
fn a_record_cut_short_is_refused_and_cut_attributes_are_missing() {
    for length in 0..LISTENER.len() {
        let record = SocketRecord::parse(&LISTENER[..length]);
        assert_eq!(record.is_some(), length >= 72, "{length}");
        let Some(record) = record else { continue };
        assert_eq!(record.local_port(), 8080);
        assert_eq!(record.is_v6_only(), length >= 85, "{length}");
        assert_eq!(record.cgroup_id().is_some(), length >= 100, "{length}");
        assert_eq!(
            record.binds_address_without_port(),
            length >= 106,
            "{length}"
        );
    }
}

fn parsed(payload: &[u8]) -> SocketRecord<'_> {
    SocketRecord::parse(payload).unwrap()
}

#[test]
fn unknown_states_and_families_are_values() {
    for (number, state) in [
        (0, State::Unknown),
        (12, State::SynRecv),
        (13, State::Close),
        (99, State::Unknown),
    ] {
        let mut bytes = established(1).bytes();
        bytes[1] = number;
        assert_eq!(parsed(&bytes).state(), state);
    }
    let mut bytes = established(1).bytes();
    bytes[0] = 44;
    assert_eq!(parsed(&bytes).family(), Family::Inet);
}

#[test]
fn unknown_and_malformed_attributes_do_no_harm() {
    let fixed = established(1).bytes();
    let v6_only = attribute(11, &[1]);
    let after = |odd: &[u8]| parsed(&[&fixed, odd, &v6_only].concat()).is_v6_only();
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
        assert!(!parsed(&[&fixed[..], &attribute(11, value)].concat()).is_v6_only());
        assert!(
            !parsed(&[&fixed[..], &attribute(22, &value[..value.len().min(1)])].concat())
                .binds_address_without_port()
        );
    }
}

#[test]
fn a_mapped_pair_is_an_ipv4_pair_of_an_ipv6_socket() {
    let bytes = sock(State::Established, "10.0.0.1:1", "10.0.0.2:2")
        .mapped()
        .bytes();
    let record = parsed(&bytes);
    assert_eq!(record.family(), Family::Inet6);
    let (local, remote) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    assert_eq!(record.addresses(), Addresses::V4 { local, remote });

    let bytes = bound(State::Listen, "10.0.0.1:1").mapped().bytes();
    let remote = [0; 4];
    assert_eq!(parsed(&bytes).addresses(), Addresses::V4 { local, remote });

    let bytes = bound(State::Listen, "[::]:1").bytes();
    assert!(matches!(parsed(&bytes).addresses(), Addresses::V6 { .. }));
}

#[test]
fn the_timer_of_time_wait_is_read_wherever_it_runs() {
    let remaining = |sock: Sock| parsed(&sock.bytes()).time_wait_remaining_ms();
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
        (record.cgroup_id(), record.is_v6_only()),
        (None, false),
        "no attributes"
    );
}

#[test]
fn queues_of_connections_are_bytes() {
    let bytes = established(1).queues(3, 4).bytes();
    assert_eq!(
        parsed(&bytes).queues(),
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
        let ours = parsed(&bytes);
        let id = &theirs.socket_id;
        prop_assert_eq!(ours.local_port(), id.source_port);
        prop_assert_eq!(ours.remote_port(), id.destination_port);
        prop_assert_eq!(ours.interface(), id.interface_id);
        prop_assert_eq!(ours.state(), State::from_kernel(theirs.state));
        let (local, remote) = canonical(ours.addresses());
        prop_assert_eq!(local, id.source_address.to_canonical());
        prop_assert_eq!(remote, id.destination_address.to_canonical());
        let queues = match ours.queues() {
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
        record.is_v6_only();
        record.binds_address_without_port();
        let values = Attributes { rest: record.attributes };
        let total: usize = values.map(|(_, value)| value.len() + 4).sum();
        prop_assert!(total <= bytes.len() - RECORD_BYTES);
    }
}
