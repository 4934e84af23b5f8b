//! Tests of the tests: every state that `support` stages, proved against the
//! kernel's own refusals and against `ss`.

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use support::crowd::{Crowd, Done};
use support::exposition::Exposition;
use support::netns::{
    Namespace, in_netns, in_netns_printing, is_inside, nft, set_port_range, set_sysctl, sysctl,
};
use support::plan::Plan;
use support::sockets::{
    Listener, Repaired, abandon, close_in_turn, count_until_refused, half_close, strand,
};
use support::ss::{self, Family, Record};
use support::{http, tools};

/// What a busy machine may take for a packet to be handled.
const PATIENCE: Duration = Duration::from_secs(5);

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an IP address")
}

/// Opens until the kernel refuses and closes it all again: how many, and the errno.
fn free(plan: &Plan) -> (usize, i32) {
    let (opened, errno) = count_until_refused(2_000, || plan.open());
    (opened.len(), errno)
}

/// The state of the client socket whose local port is this; "none" without one.
fn state_at(records: &[Record], port: u16) -> &str {
    let found = records.iter().find(|r| r.local.port == port);
    found.map_or("none", |r| &r.state)
}

#[test]
fn a_case_is_root_of_an_empty_namespace() {
    in_netns("a_case_is_root_of_an_empty_namespace", &["ss"], || {
        assert!(rustix::process::geteuid().is_root());
        assert_eq!(ss::tcp().len() + ss::udp().len(), 0);
        set_port_range(40000, 40099);
        let range = sysctl("net.ipv4.ip_local_port_range");
        assert_eq!(range.as_deref(), Some("40000\t40099"));
        assert_eq!(sysctl("net.ipv4.no_such_thing"), None);

        let other = Namespace::fresh();
        let theirs = other.enter(|| sysctl("net.ipv4.ip_local_port_range"));
        assert_eq!(theirs.as_deref(), Some("32768\t60999"));
    });
}

/// What went wrong of a case that must go wrong; `None` where it was skipped.
fn failure(test: &str, body: fn()) -> Option<String> {
    match panic::catch_unwind(|| in_netns_printing(test, &[], body)) {
        Ok(None) => None,
        Ok(Some(printed)) => panic!("{test} was taken for a pass: {printed}"),
        Err(panicked) if is_inside(test) => panic::resume_unwind(panicked),
        Err(panicked) => Some(
            panicked
                .downcast_ref::<String>()
                .expect("a message")
                .clone(),
        ),
    }
}

#[test]
fn a_case_that_fails_inside_fails_outside() {
    let failed = failure("a_case_that_fails_inside_fails_outside", || {
        panic!("on purpose")
    });
    if let Some(message) = failed {
        assert!(message.contains("exit status: 101"), "{message}");
    }
}

#[test]
fn a_wrong_name_is_not_taken_for_a_pass() {
    if let Some(message) = failure("a_name_with_a_slip", || ()) {
        assert!(
            message.contains("no test named a_name_with_a_slip"),
            "{message}"
        );
    }
}

#[test]
fn a_range_of_100_carries_100_plain_connects() {
    in_netns("a_range_of_100_carries_100_plain_connects", &["ss"], || {
        set_port_range(40000, 40099);
        let full = (100, libc::EADDRNOTAVAIL);
        let listener = Listener::at(address("127.0.0.1:443")).unwrap();
        let (held, errno) = count_until_refused(101, || listener.plan().open());
        assert_eq!((held.len(), errno), full);

        let ours = |r: &&Record| r.peer.port == 443 && r.state == "ESTAB";
        assert_eq!(ss::tcp().iter().filter(ours).count(), 100);
        let other = Listener::at(address("127.0.0.1:444")).unwrap();
        assert_eq!(free(&other.plan()), full);
        let source = ip("127.0.0.2");
        assert_eq!(free(&listener.plan().from(source).no_port()), full);
    });
}

#[test]
fn v4_mapped_shares_the_tuples_and_v6_does_not() {
    let name = "v4_mapped_shares_the_tuples_and_v6_does_not";
    in_netns(name, &["ss"], || {
        set_port_range(40000, 40099);
        let listener = Listener::at(address("[::]:443")).unwrap();
        let mapped = Plan::tcp(address("[::ffff:127.0.0.1]:443"));
        let held = mapped.open_many(100).unwrap();
        let v4 = Plan::tcp(address("127.0.0.1:443"));
        assert_eq!(free(&v4), (0, libc::EADDRNOTAVAIL));
        let v6 = Plan::tcp(address("[::1]:443"));
        assert_eq!(free(&v6), (100, libc::EADDRNOTAVAIL));

        let records = ss::tcp();
        let client = |r: &&Record| r.peer.port == 443 && r.family == Family::V6;
        let clients = records.iter().filter(client);
        let v4_addressed = clients.filter(|r| r.peer.address == ip("127.0.0.1"));
        assert_eq!(v4_addressed.count(), held.len());
        drop(listener);
    });
}

#[test]
fn bind_first_takes_the_range_once_per_source() {
    in_netns("bind_first_takes_the_range_once_per_source", &[], || {
        set_port_range(40000, 40099);
        let listener = Listener::at(address("127.0.0.1:443")).unwrap();
        let bind_first = listener.plan().from(ip("127.0.0.10"));
        let (held, errno) = count_until_refused(101, || bind_first.open());
        assert_eq!((held.len(), errno), (100, libc::EADDRINUSE));
        assert_eq!(free(&bind_first.reuse_address()), (0, libc::EADDRINUSE));
        let other = listener.plan().from(ip("127.0.0.11"));
        assert_eq!(free(&other), (100, libc::EADDRINUSE));
    });
}

#[test]
fn listeners_and_bound_sockets_are_as_asked() {
    let name = "listeners_and_bound_sockets_are_as_asked";
    in_netns(name, &["ss"], || {
        set_port_range(40000, 40099);
        let deep = Listener::with_backlog(address("0.0.0.0:80"), 7).unwrap();
        let dual = Listener::at(address("[::]:81")).unwrap();
        let only = Listener::v6_only(address("[::]:82")).unwrap();
        let group = Listener::group(address("127.0.0.1:83"), 3).unwrap();
        let waiting = Plan::tcp(address("127.0.0.1:80")).open_many(2).unwrap();

        let records = ss::tcp();
        let at = |port| {
            let found = records.iter().filter(move |r| r.local.port == port);
            found.filter(|r| r.state == "LISTEN").collect::<Vec<_>>()
        };
        assert_eq!((at(80)[0].recv_q, at(80)[0].send_q), (2, 7));
        assert!(at(81)[0].local.dual_stack && at(81)[0].send_q == 4096);
        assert!(!at(82)[0].local.dual_stack && at(82)[0].family == Family::V6);
        assert_eq!(at(83).len(), 3);
        drop((deep, dual, only, group, waiting));

        // ss 6.1 does not list bound-only sockets: the kernel's refusals speak for them.
        let bound = |port| Plan::tcp_bound(SocketAddr::new(ip("127.0.0.77"), port));
        let held: Vec<_> = (40000..40010).map(|p| bound(p).open().unwrap()).collect();
        let again = bound(40003).open().unwrap_err();
        assert_eq!(again.raw_os_error(), Some(libc::EADDRINUSE));
        let listener = Listener::at(address("127.0.0.1:443")).unwrap();
        assert_eq!(free(&listener.plan()), (90, libc::EADDRNOTAVAIL));
        drop(held);
    });
}

#[test]
fn every_closing_state_can_be_held() {
    in_netns("every_closing_state_can_be_held", &["ss"], || {
        let listener = Listener::at(address("127.0.0.1:443")).unwrap();
        let pair = |port| {
            let source = SocketAddr::new(ip("127.0.0.1"), port);
            listener.pair(&listener.plan().bound_to(source)).unwrap()
        };
        let (client, server) = pair(2001);
        half_close(&client, &server).unwrap();
        let _live_fin_wait_2 = (client, server);

        let (client, server) = pair(2002);
        abandon(client, &server).unwrap();
        let _orphaned_fin_wait_2 = server;

        let (client, server) = pair(2003);
        half_close(&server, &client).unwrap();
        let _close_wait = (client, server);

        let (client, server) = pair(2004);
        strand(client).unwrap();
        let fin_wait_1 = server;

        let (client, server) = pair(2005);
        half_close(&server, &client).unwrap();
        strand(client).unwrap();
        let last_ack = server;

        let silent = Listener::silent(address("127.0.0.1:444")).unwrap();
        let source = address("127.0.0.1:2006");
        let plan = silent.plan().bound_to(source).nonblocking();
        let _syn_sent = plan.open().unwrap();

        let records = ss::tcp();
        for (port, state) in [
            (2001, "FIN-WAIT-2"),
            (2002, "FIN-WAIT-2"),
            (2003, "CLOSE-WAIT"),
            (2004, "FIN-WAIT-1"),
            (2005, "LAST-ACK"),
            (2006, "SYN-SENT"),
        ] {
            assert_eq!(state_at(&records, port), state, "port {port}");
        }
        drop((fin_wait_1, last_ack));
        // Their orphans are reset with them.
        let gone = |port| state_at(&ss::tcp(), port) == "none";
        assert!(tools::wait_until(PATIENCE, || gone(2004) && gone(2005)));
    });
}

#[test]
fn time_wait_belongs_to_the_side_that_closed_first() {
    let name = "time_wait_belongs_to_the_side_that_closed_first";
    in_netns(name, &["ss"], || {
        set_port_range(40000, 40099);
        set_sysctl("net.ipv4.tcp_tw_reuse", 0);
        let listener = Listener::at(address("127.0.0.1:443")).unwrap();
        for _ in 0..30 {
            let (client, server) = listener.pair(&listener.plan()).unwrap();
            close_in_turn(client, server).unwrap();
        }
        // Ports of their own: a SYN that meets the server's TIME_WAIT ends it.
        for port in 2001..2021 {
            let source = SocketAddr::new(ip("127.0.0.1"), port);
            let (client, server) = listener.pair(&listener.plan().bound_to(source)).unwrap();
            close_in_turn(server, client).unwrap();
        }
        let count = |local_is_service: bool| {
            let records = ss::tcp();
            let waiting = records.iter().filter(|r| r.state == "TIME-WAIT");
            waiting
                .filter(|r| (r.local.port == 443) == local_is_service)
                .count()
        };
        assert!(tools::wait_until(PATIENCE, || count(false) == 30 && count(true) == 20));
        assert_eq!(ss::sockstat("TCP", "tw"), Some(50));
        assert_eq!(free(&listener.plan()), (70, libc::EADDRNOTAVAIL));
    });
}

#[test]
fn udp_has_one_pool_per_source() {
    in_netns("udp_has_one_pool_per_source", &["ss"], || {
        set_port_range(40000, 40099);
        let connected = Plan::udp(address("127.0.0.1:53"));
        let (held, errno) = count_until_refused(101, || connected.open());
        assert_eq!((held.len(), errno), (100, libc::EAGAIN));
        let established = ss::in_state(&ss::udp(), "ESTAB");
        assert_eq!(established, 100);
        let other = connected.clone().from(ip("127.0.0.2"));
        assert_eq!(free(&other), (100, libc::EADDRINUSE));
        drop(held);

        let send = Plan::udp_send(address("127.0.0.1:53"));
        let (_held, errno) = count_until_refused(101, || send.open());
        assert_eq!((_held.len(), errno), (100, libc::EAGAIN));
        assert_eq!(free(&connected), (0, libc::EAGAIN));
        assert_eq!(free(&other), (0, libc::EADDRINUSE));
        let v6 = Plan::udp_bound(address("[::1]:53")).open().unwrap();
        let records = ss::udp();
        assert_eq!(ss::in_state(&records, "UNCONN"), 101);
        let v6_records = records.iter().filter(|r| r.family == Family::V6);
        assert_eq!(v6_records.count(), 1);
        drop(v6);
    });
}

#[test]
fn a_device_shows_at_the_socket_bound_to_it() {
    in_netns("a_device_shows_at_the_socket_bound_to_it", &["ss"], || {
        let listener = Listener::at(address("[::1]:443")).unwrap();
        let (client, _server) = listener.pair(&listener.plan().device("lo")).unwrap();
        let port = client.local_addr().unwrap().as_socket().unwrap().port();
        let records = ss::tcp();
        let found = records.iter().find(|r| r.local.port == port).unwrap();
        assert_eq!(found.local.device.as_deref(), Some("lo"));
    });
}

#[test]
fn a_veth_pair_carries_connections_between_namespaces() {
    let name = "a_veth_pair_carries_connections_between_namespaces";
    in_netns(name, &["ip", "ss"], || {
        let (near, far) = (Namespace::here(), Namespace::fresh());
        let (ours, theirs) = (["10.9.0.1/24", "fd09::1/64"], ["10.9.0.2/24", "fd09::2/64"]);
        near.connect(&far, "veth0", &ours, &theirs);
        for peer in ["10.9.0.2:443", "[fd09::2]:443"] {
            let listener = far.enter(|| Listener::at(address(peer))).unwrap();
            let (client, server) = listener.pair(&listener.plan()).unwrap();
            let here = ss::tcp();
            assert_eq!(ss::in_state(&here, "ESTAB"), 1);
            assert_eq!(here[0].peer.address, address(peer).ip());
            let there = far.enter(ss::tcp);
            assert_eq!(ss::in_state(&there, "LISTEN"), 1);
            close_in_turn(server, client).unwrap();
        }
        assert!(tools::wait_until(PATIENCE, || ss::tcp().is_empty()));
        let count = || ss::in_state(&far.enter(ss::tcp), "TIME-WAIT");
        assert!(tools::wait_until(PATIENCE, || count() == 2));
    });
}

#[test]
fn nft_drops_packets_and_wakes_conntrack() {
    in_netns(
        "nft_drops_packets_and_wakes_conntrack",
        &["nft", "ss"],
        || {
            nft("table inet t {
                    chain c {
                        type filter hook output priority 0;
                        tcp dport 444 drop;
                        ct state new counter;
                    }
                }");
            let listener = Listener::at(address("127.0.0.1:443")).unwrap();
            let held = listener.plan().open_many(5).unwrap();
            let dropped = Plan::tcp(address("127.0.0.1:444")).nonblocking();
            let syn_sent = dropped.open_many(5).unwrap();
            assert_eq!(ss::in_state(&ss::tcp(), "SYN-SENT"), 5);
            let tracked = sysctl("net.netfilter.nf_conntrack_count");
            assert_eq!(tracked.as_deref(), Some("5"));
            drop((held, syn_sent));
        },
    );
}

#[test]
fn repaired_sockets_need_no_peer_and_leave_no_orphan() {
    let name = "repaired_sockets_need_no_peer_and_leave_no_orphan";
    in_netns(name, &["ss"], || {
        let open = |port| {
            let peer = SocketAddr::new(ip("127.200.0.9"), port);
            Repaired::open(SocketAddr::new(ip("127.0.0.1"), port), peer)
        };
        let held: Vec<_> = (5000..5200).map(|port| open(port).unwrap()).collect();
        assert_eq!(ss::in_state(&ss::tcp(), "ESTAB"), held.len());
        drop(held);
        assert_eq!(ss::tcp().len(), 0);
    });
}

#[test]
fn a_crowd_fills_the_default_range() {
    in_netns("a_crowd_fills_the_default_range", &[], || {
        let listener = Listener::crowded(address("127.0.0.1:443")).unwrap();
        let mut crowd = Crowd::default();
        crowd.fill_range(32768, 60999, &listener.plan());
        let in_use = || ss::sockstat("TCP", "inuse");
        // Each connection counts at both of its ends.
        assert!(tools::wait_until(PATIENCE, || in_use() == Some(56_465)));
        let errno = Some(libc::EADDRNOTAVAIL);
        let full = crowd.open(1, &listener.plan());
        assert_eq!(full, Done { count: 0, errno });
        assert_eq!(crowd.close(28_300), 28_232);
    });
}

#[test]
fn http_is_read_whole() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = server.local_addr().unwrap();
    let answers = [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok",
        "HTTP/1.1 503 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
    ];
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = server.accept().unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).unwrap() > 0);
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let plain = http::get(peer, "/metrics").unwrap();
    assert_eq!((plain.status, plain.text()), (200, "ok"));
    assert_eq!(plain.header("x-a"), Some("b"));
    let chunked = http::request(peer, "POST", "/", &["A: b"]).unwrap();
    assert_eq!((chunked.status, chunked.text()), (503, "abcd"));
    http::get(peer, "/").expect_err("an answer cut short");
}

#[test]
fn an_exposition_is_read_by_name_and_labels() {
    let text = "# HELP a b\n# TYPE a gauge\na 1\na{y=\"2, }\",x=\"\\\"\\n\\\\\"} 2.5\n\
                # TYPE h histogram\nh_bucket{le=\"+Inf\"} 3\nh_count 3\n";
    let exposition = Exposition::parse(text);
    assert_eq!(exposition.get("a", &[]), Some(1.0));
    let labels = [("x", "\"\n\\"), ("y", "2, }")];
    assert_eq!(exposition.get("a", &labels), Some(2.5));
    assert_eq!(exposition.matching("a", &labels[..1]).count(), 1);
    assert_eq!(exposition.samples.len(), 4);
}

#[test]
fn an_exposition_with_a_fault_is_refused() {
    for fault in [
        "# TYPE a gauge\na{x=\"1\",y=\"2\"} 1\na{y=\"2\",x=\"1\"} 1\n",
        "a 1\n",
        "# TYPE a gauge\na_count 1\n",
        "# TYPE a gauge\na{x=\"1} 1\n",
        "# TYPE a gauge\na{x=\"1\",x=\"2\"} 1\n",
        "# TYPE a gauge\na one\n",
    ] {
        let result = std::panic::catch_unwind(|| Exposition::parse(fault));
        assert!(result.is_err(), "{fault:?} was taken");
    }
}

#[test]
fn waiting_ends_with_the_condition_or_with_patience() {
    let asked = AtomicUsize::new(0);
    let third = || asked.fetch_add(1, Ordering::Relaxed) == 2;
    assert!(tools::wait_until(PATIENCE, third));
    assert!(!tools::wait_until(Duration::from_millis(30), || false));
    let port = tools::free_port(ip("127.0.0.1"));
    TcpListener::bind(("127.0.0.1", port)).expect("it is free");
}
