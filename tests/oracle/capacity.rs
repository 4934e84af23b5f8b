//! What lowers the capacity: reserved ports, listeners and bound-only sockets
//! inside the range, and ranges of every size.

use std::net::SocketAddr;

use crate::figures::{Oracle, Pool, address, ip};
use crate::support::crowd::Crowd;
use crate::support::netns::{Namespace, set_port_range, set_sysctl};
use crate::support::plan::Plan;
use crate::support::sockets::Listener;

const TO: &str = "127.0.0.1:443";
const TOWARD: Pool = Pool::Toward("127.0.0.1", TO);
const TOWARD_V6: Pool = Pool::Toward("::1", "[::1]:443");

/// A namespace with a range and a listener outside of it.
fn stage(first: u16, last: u16, body: impl Fn(&mut Oracle) + Sync) {
    Namespace::fresh().enter(|| {
        set_port_range(first, last);
        let _listener = Listener::crowded(address("[::]:443")).unwrap();
        body(&mut Oracle::forgetful());
    });
}

fn plain() -> Plan {
    Plan::tcp(address(TO))
}

case!(b1_reserved_ports, [], || {
    for (list, note) in [
        ("40050-40069", "reserved 40050-40069"),
        (
            "40001,40003-40007,40050,40090-40200,50000",
            "reserved with gaps and beyond the range",
        ),
        ("39000-40000,40099", "reserved at both ends"),
        ("40000-40099", "all reserved"),
    ] {
        stage(40000, 40099, |oracle| {
            set_sysctl("net.ipv4.ip_local_reserved_ports", list);
            let _held = oracle.foretells(&format!("{note}: connect()"), TOWARD, &plain());
        });
        stage(40000, 40099, |oracle| {
            set_sysctl("net.ipv4.ip_local_reserved_ports", list);
            let bound = plain().from(ip("127.0.0.10"));
            let pool = Pool::Of("tcp", "127.0.0.10");
            let _held = oracle.foretells(&format!("{note}: bind(0)"), pool, &bound);
        });
    }
});

/// Ten sockets of each kind, on ports 40010 to 40019.
fn ten(
    open: impl Fn(SocketAddr) -> Box<dyn std::any::Any>,
    at: &str,
) -> Vec<Box<dyn std::any::Any>> {
    (40010..40020)
        .map(|port| open(SocketAddr::new(ip(at), port)))
        .collect()
}

case!(b2_listeners_in_the_range, [], || {
    for at in ["127.0.0.1", "127.0.0.77", "0.0.0.0", "::", "::1"] {
        let listen = |at| Box::new(Listener::at(at).unwrap()) as Box<dyn std::any::Any>;
        let note = format!("10 listeners in the range on {at}");
        stage(40000, 40099, |oracle| {
            let _ten = ten(listen, at);
            let _held = oracle.foretells(&format!("{note}: connect()"), TOWARD, &plain());
            let v6 = Plan::tcp(address("[::1]:443"));
            let _v6 = oracle.foretells(&format!("{note}: IPv6 connect()"), TOWARD_V6, &v6);
        });
        stage(40000, 40099, |oracle| {
            let _ten = ten(listen, at);
            let pool = Pool::Of("tcp", "127.0.0.1");
            let bound = plain().from(ip("127.0.0.1"));
            let _held = oracle.foretells(&format!("{note}: bind(127.0.0.1:0)"), pool, &bound);
        });
    }
    stage(40000, 40099, |oracle| {
        let only = |at| Box::new(Listener::v6_only(at).unwrap()) as Box<dyn std::any::Any>;
        let _ten = ten(only, "::");
        let note = "10 V6ONLY listeners in the range on ::";
        let _held = oracle.foretells(&format!("{note}: connect()"), TOWARD, &plain());
    });
});

case!(b3_bound_only_sockets_in_the_range, [], || {
    for at in ["127.0.0.1", "127.0.0.77", "0.0.0.0", "::1", "::"] {
        stage(40000, 40099, |oracle| {
            let open = |at| Box::new(Plan::tcp_bound(at).open().unwrap()) as Box<dyn std::any::Any>;
            let _ten = ten(open, at);
            let note = format!("10 bound-only sockets in the range on {at}");
            let _held = oracle.foretells(&format!("{note}: connect()"), TOWARD, &plain());
        });
    }
});

case!(b4_sizes, [], || {
    for (first, last) in [
        (40000, 40001),
        (40001, 40100),
        (40000, 40999),
        (32001, 33000),
        (65436, 65535),
    ] {
        stage(first, last, |oracle| {
            let note = format!("range {first} to {last}");
            let _held = oracle.foretells(&note, TOWARD, &plain());
        });
    }
});

case!(b5_odd_sizes, [], || {
    for (first, last) in [
        (40000, 40000),
        (40000, 40100),
        (40001, 40099),
        (40000, 40998),
    ] {
        stage(first, last, |oracle| {
            let note = format!("range {first} to {last}, odd size: connect()");
            let _held = oracle.foretells_but_one(&note, TOWARD, &plain());
        });
        stage(first, last, |oracle| {
            let note = format!("range {first} to {last}, odd size: bind(0)");
            let pool = Pool::Of("tcp", "127.0.0.10");
            let bound = plain().from(ip("127.0.0.10"));
            let _held = oracle.foretells_but_one(&note, pool, &bound);
        });
    }
});

case!(b6_the_default_range, [], || {
    let _listener = Listener::crowded(address("0.0.0.0:443")).unwrap();
    let mut crowd = Crowd::default();
    crowd.fill_range(32768, 60599, &plain());
    set_port_range(32768, 60999);
    let note = "the default range, 27,832 of 28,232 taken";
    let _held = Oracle::forgetful().foretells(note, TOWARD, &plain());
});

case!(b7_a_range_changed_while_running, [], || {
    set_port_range(40000, 40099);
    let _listener = Listener::at(address("0.0.0.0:443")).unwrap();
    let mut oracle = Oracle::lasting();
    oracle.poll();
    let _first = plain().open_many(60).unwrap();
    oracle.poll();
    for (first, last) in [
        (40020, 40219),
        (40031, 40230),
        (40100, 40299),
        (40000, 40399),
    ] {
        set_port_range(first, last);
        let note = format!("range changed to {first} to {last} under open connections");
        let held = oracle.foretells(&note, TOWARD, &plain());
        std::mem::forget(held);
    }
});

case!(b8_a_listener_on_a_port_in_use_elsewhere, [], || {
    stage(40000, 40099, |_| {
        let _first = plain().open_many(20).unwrap();
        // Ports 40010 to 40019 may be used by connect(), on another address.
        let _ten = ten(
            |at| Box::new(Listener::at(at).unwrap()) as Box<dyn std::any::Any>,
            "127.0.0.77",
        );
        let mut oracle = Oracle::forgetful();
        let note = "20 connections, then 10 listeners on another address";
        let _held = oracle.foretells(note, TOWARD, &plain());
        let to = "127.9.0.1:443";
        let pool = Pool::Toward("127.0.0.1", to);
        let note = "the same, toward another destination";
        let _held = oracle.foretells(note, pool, &Plan::tcp(address(to)));
    });
});

case!(b9_bind_joins_ports_of_connect, [], || {
    stage(40000, 40099, |_| {
        let _all = plain().open_many(100).unwrap();
        let bound: Vec<_> = (40000..40040)
            .map(|port| SocketAddr::new(ip("127.0.0.77"), port))
            .map(|at| Plan::tcp_bound(at).open().unwrap())
            .collect();
        let to = "127.9.0.1:443";
        let (pool, plan) = (Pool::Toward("127.0.0.1", to), Plan::tcp(address(to)));
        let mut oracle = Oracle::forgetful();
        let held = oracle.foretells("40 binds join 100 ports of connect()", pool, &plan);
        drop(bound);
        let _more = oracle.foretells("the same, the binds closed again", pool, &plan);
        drop(held);
    });
});

case!(b8_every_port_there_is, [], || {
    Namespace::fresh().enter(|| {
        set_sysctl("net.ipv4.ip_unprivileged_port_start", 0);
        set_port_range(1, 65535);
        // All but 99: the kernel's search is the same, and it ends before long.
        set_sysctl("net.ipv4.ip_local_reserved_ports", "100-65535");
        let _listener = Listener::crowded(address("[::]:443")).unwrap();
        let note = "range 1 to 65535, of which 100 to 65535 are reserved";
        let mut oracle = Oracle::forgetful();
        let _held = oracle.foretells_but_one(note, TOWARD, &plain());
    });
});
