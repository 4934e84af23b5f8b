//! What the kernel says of a port, and that nobody notices the question.

mod support;

use std::net::SocketAddr;

use sockdiag_exporter::kernel::features::KernelFeatures;
use sockdiag_exporter::kernel::port_probe::connect_can_have;
use sockdiag_exporter::kernel::procfs::parse_counters;
use sockdiag_exporter::model::ports::PortSet;
use socket2::{SockRef, Socket};
use support::netns::{in_netns, set_port_range, set_sysctl};
use support::plan::Plan;
use support::sockets::{Listener, count_until_refused};
use support::{ss, tools};

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn ports(sockets: &[Socket]) -> Vec<u16> {
    let local = sockets.iter().map(|socket| socket.local_addr().unwrap());
    local
        .map(|local| local.as_socket().unwrap().port())
        .collect()
}

/// Those that connect() can have; `None` where the kernel is too old to be asked.
fn can_have(test: &str, sockets: &[Socket]) -> Option<PortSet> {
    match connect_can_have(&ports(sockets)) {
        Ok(can_have) => Some(can_have),
        Err(error) if tools::kernel_is_before(6, 3) => {
            tools::skip(test, &error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_port_is_lost_exactly_while_bind_has_it() {
    let name = "a_port_is_lost_exactly_while_bind_has_it";
    in_netns(name, &[], || {
        set_port_range(40000, 40099);
        let listener = Listener::at(address("127.0.0.1:443")).unwrap();
        let plain = listener.plan().open_many(20).unwrap();
        let bind_first = listener.plan().from("127.0.0.10".parse().unwrap());
        let bound = bind_first.open_many(20).unwrap();
        let of_connect: PortSet = ports(&plain).into_iter().collect();
        let both: Vec<_> = plain.into_iter().chain(bound).collect();
        let Some(can_have) = can_have(name, &both) else {
            return;
        };
        assert_eq!(can_have, of_connect);
        // bind() joins a port of connect(), for all addresses and families.
        let shared = ports(&both)[0];
        for joining in ["127.0.0.55", "::1"] {
            let joined = Plan::tcp_bound(SocketAddr::new(joining.parse().unwrap(), shared)).open();
            let can_have = connect_can_have(&ports(&both)).unwrap();
            assert!(!can_have.contains(shared), "{joining}");
            assert_eq!(can_have.len(), 19, "{joining}");
            drop(joined);
        }
    });
}

#[test]
fn the_question_leaves_no_trace() {
    in_netns("the_question_leaves_no_trace", &["ss"], || {
        set_port_range(40000, 40099);
        let listener = Listener::at(address("127.0.0.1:443")).unwrap();
        let plain = listener.plan().open_many(50).unwrap();
        let counters = || {
            let text = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
            let mut counters = Vec::new();
            parse_counters(&text, &mut |protocol: &str, name: &str, count| {
                if protocol == "Tcp" || protocol == "Ip" {
                    counters.push((name.to_owned(), count));
                }
            });
            counters
        };
        let (before, sockets) = (counters(), ss::tcp().len());
        if can_have("the_question_leaves_no_trace", &plain).is_none() {
            return;
        }
        let asked = ports(&plain);
        let start = std::time::Instant::now();
        for _ in 0..200 {
            assert_eq!(connect_can_have(&asked).unwrap().len(), 50);
        }
        eprintln!("{:?} a port", start.elapsed() / 10_000);
        assert_eq!(counters(), before);
        assert_eq!(ss::tcp().len(), sockets);
        // Every tuple is as free as before.
        let (opened, errno) = count_until_refused(101, || listener.plan().open());
        assert_eq!((opened.len(), errno), (50, libc::EADDRNOTAVAIL));
        assert!(SockRef::from(&plain[0]).take_error().unwrap().is_none());
    });
}

#[test]
fn a_kernel_that_cannot_be_asked_says_so() {
    in_netns("a_kernel_that_cannot_be_asked_says_so", &[], || {
        set_port_range(40000, 40099);
        let listener = Listener::at(address("127.0.0.1:443")).unwrap();
        let plain = listener.plan().open_many(1).unwrap();
        set_sysctl("net.ipv4.tcp_fastopen", 0);
        connect_can_have(&ports(&plain)).expect_err("fast open is off");
        let nothing = connect_can_have(&[]).expect("nothing was asked");
        assert!(nothing.is_empty());
    });
}

/// What was asked about before leaves nothing behind either.
#[test]
fn a_port_outside_the_range_is_no_question() {
    let name = "a_port_outside_the_range_is_no_question";
    in_netns(name, &["ss"], || {
        set_port_range(40000, 40099);
        let listener = Listener::at(address("127.0.0.1:443")).unwrap();
        let plain = listener.plan().open_many(50).unwrap();
        if can_have(name, &plain).is_none() {
            return;
        }
        let sockets = ss::tcp().len();
        let mut asked = ports(&plain);
        asked.push(50_000);
        connect_can_have(&asked).expect_err("not in the range");
        assert_eq!(ss::tcp().len(), sockets);
        let (opened, errno) = count_until_refused(101, || listener.plan().open());
        assert_eq!((opened.len(), errno), (50, libc::EADDRNOTAVAIL));
    });
}

/// A snapshot is wanted most where nothing is left.
#[test]
fn what_the_kernel_has_is_found_out_without_a_free_port() {
    let name = "what_the_kernel_has_is_found_out_without_a_free_port";
    in_netns(name, &[], || {
        let before = KernelFeatures::probe(true);
        set_port_range(40000, 40009);
        let at = SocketAddr::new("0.0.0.0".parse().unwrap(), 0);
        let (held, _) = count_until_refused(11, || Plan::tcp_bound(at).open());
        assert_eq!(held.len(), 10);
        assert_eq!(KernelFeatures::probe(true), before);
        let release = tools::kernel_is_before(6, 8);
        assert_eq!(before.bound_only_sockets, !release);
        assert_eq!(before.port_probe, !tools::kernel_is_before(6, 3));
    });
}

#[test]
fn ports_are_left_alone_where_that_is_wanted() {
    in_netns("ports_are_left_alone_where_that_is_wanted", &[], || {
        assert!(!KernelFeatures::probe(false).port_probe);
    });
}
