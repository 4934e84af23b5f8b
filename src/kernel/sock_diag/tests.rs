use std::io;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use netlink_packet_sock_diag::constants::{AF_INET, AF_INET6};

use super::*;
use crate::fake_kernel::{Asked, Event, Kernel, Sock, Wants, message};
use crate::model::state::State;

static NEVER: AtomicBool = AtomicBool::new(false);

/// The local ports of a dump, in order.
fn ports(client: &mut SockDiag<impl Transport>, what: Dump) -> Result<Vec<u16>, DumpError> {
    let deadline = Deadline {
        timeout: Duration::from_secs(60),
        stop: &NEVER,
    };
    let mut ports = vec![1, 2, 3];
    client
        .dump(what, deadline, &mut ports, Vec::clear, |ports, socket| {
            ports.push(socket.local_port);
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
