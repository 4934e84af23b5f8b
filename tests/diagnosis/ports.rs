//! Ephemeral ports that run out, each time for another reason.

use std::thread::sleep;
use std::time::Duration;

use insta::assert_snapshot;

use crate::read::{address, pairs, poll, text, time_wait};
use crate::support::netns::{Namespace, in_netns, set_port_range, set_sysctl};
use crate::support::plan::Plan;
use crate::support::sockets::{Listener, half_close};

/// Older than `tcp_tw_reuse_delay`.
const SETTLED: Duration = Duration::from_millis(1_200);

fn small_range() {
    set_port_range(40000, 40099);
}

#[test]
fn time_wait_on_loopback_with_reuse_off() {
    in_netns("ports::time_wait_on_loopback_with_reuse_off", &[], || {
        small_range();
        set_sysctl("net.ipv4.tcp_tw_reuse", 0);
        let listener = Listener::at(address("127.9.0.1:443")).unwrap();
        time_wait(&listener, &listener.plan(), 100);
        sleep(SETTLED);
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn time_wait_between_hosts_with_reuse_for_loopback() {
    let name = "ports::time_wait_between_hosts_with_reuse_for_loopback";
    in_netns(name, &["ip"], || {
        let (here, peer) = (Namespace::here(), Namespace::fresh());
        here.connect(&peer, "pair", &["10.9.0.1/24"], &["10.9.0.2/24"]);
        small_range();
        set_sysctl("net.ipv4.tcp_tw_reuse", 2);
        let listener = peer.enter(|| Listener::at(address("10.9.0.2:443")).unwrap());
        time_wait(&listener, &listener.plan(), 75);
        sleep(SETTLED);
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn time_wait_without_timestamps() {
    in_netns("ports::time_wait_without_timestamps", &[], || {
        small_range();
        set_sysctl("net.ipv4.tcp_timestamps", 0);
        let listener = Listener::at(address("127.9.0.1:443")).unwrap();
        time_wait(&listener, &listener.plan(), 95);
        sleep(SETTLED);
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn connections_that_are_kept() {
    in_netns("ports::connections_that_are_kept", &[], || {
        small_range();
        let listener = Listener::at(address("[::1]:5432")).unwrap();
        let _held = pairs(&listener, &listener.plan(), 92);
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn a_silent_peer() {
    in_netns("ports::a_silent_peer", &[], || {
        small_range();
        let listener = Listener::silent(address("127.9.0.1:443")).unwrap();
        let _waiting = listener.plan().nonblocking().open_many(95).unwrap();
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn a_client_that_does_not_close() {
    in_netns("ports::a_client_that_does_not_close", &["ip"], || {
        let (here, peer) = (Namespace::here(), Namespace::fresh());
        here.connect(&peer, "pair", &["10.9.0.1/24"], &["10.9.0.2/24"]);
        small_range();
        let listener = peer.enter(|| Listener::at(address("10.9.0.2:443")).unwrap());
        let pairs = pairs(&listener, &listener.plan(), 99);
        for (client, server) in &pairs {
            half_close(server, client).unwrap();
        }
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn closes_faster_than_ports_come_back() {
    in_netns("ports::closes_faster_than_ports_come_back", &[], || {
        set_port_range(40000, 40999);
        set_sysctl("net.ipv4.tcp_tw_reuse", 0);
        let listener = Listener::at(address("127.9.0.1:443")).unwrap();
        time_wait(&listener, &listener.plan(), 300);
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn programs_that_bind_first() {
    in_netns("ports::programs_that_bind_first", &[], || {
        small_range();
        let listener = Listener::at(address("127.9.0.1:443")).unwrap();
        let other = Listener::at(address("127.9.0.2:443")).unwrap();
        // A port is bind()'s wherever it leads to: half of them suffice to see it.
        let bound = listener.plan().from(address("127.0.0.1:0").ip());
        let _bound = pairs(&listener, &bound, 50);
        let _plain = pairs(&other, &other.plan(), 30);
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn more_binds_than_parity_can_tell() {
    in_netns("ports::more_binds_than_parity_can_tell", &[], || {
        small_range();
        let listener = Listener::at(address("127.9.0.1:443")).unwrap();
        let bound = listener.plan().from(address("127.0.0.1:0").ip());
        let _bound = pairs(&listener, &bound, 80);
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn a_range_full_of_listeners() {
    in_netns("ports::a_range_full_of_listeners", &[], || {
        small_range();
        set_sysctl("net.ipv4.ip_local_reserved_ports", "40000-40049");
        let at = |port: u16| Listener::at(([127, 0, 0, 77], port).into()).unwrap();
        let _listeners: Vec<_> = (40050..40100).map(at).collect();
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn udp_sockets_for_each_request() {
    in_netns("ports::udp_sockets_for_each_request", &[], || {
        small_range();
        let resolver = address("127.9.0.1:53");
        let _connected = Plan::udp(resolver).open_many(60).unwrap();
        let _anywhere = Plan::udp_send(resolver).open_many(30).unwrap();
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn udp_sockets_on_the_wildcard() {
    in_netns("ports::udp_sockets_on_the_wildcard", &[], || {
        small_range();
        let _anywhere = Plan::udp_send(address("127.9.0.1:53"))
            .open_many(100)
            .unwrap();
        assert_snapshot!(text(&poll()));
    });
}
