//! bind-before-connect: a pool for each source, and the ports that it takes from
//! plain connect(), told by their parity.

use std::net::SocketAddr;

use crate::figures::{Oracle, Pool, address, ip};
use crate::support::netns::{Namespace, set_port_range, set_reuse};
use crate::support::plan::Plan;
use crate::support::sockets::{Listener, close_in_turn};
use crate::time_wait::{SHORT, grow_old};

const TO: &str = "127.0.0.1:443";
const ELSEWHERE: &str = "127.9.0.1:443";
const TOWARD: Pool = Pool::Toward("127.0.0.1", TO);

fn stage(first: u16, body: impl Fn(&mut Oracle) + Sync) {
    Namespace::fresh().enter(|| {
        set_port_range(first, first + 99);
        let _listener = Listener::at(address("[::]:443")).unwrap();
        body(&mut Oracle::forgetful());
    });
}

fn plain() -> Plan {
    Plan::tcp(address(TO))
}

fn bound(source: &str) -> Plan {
    plain().from(ip(source))
}

case!(d1_one_and_two_sources, [], || stage(40000, |oracle| {
    let _some = bound("127.0.0.10").open_many(30).unwrap();
    for (what, source) in [
        (
            "30 bind-first from one address: bind(0) on it",
            "127.0.0.10",
        ),
        ("the same: bind(0) on another address", "127.0.0.11"),
    ] {
        let pool = Pool::Of("tcp", source);
        std::mem::forget(oracle.foretells(what, pool, &bound(source)));
    }
}));

case!(d2_the_wildcard, [], || {
    stage(40000, |oracle| {
        let _some = bound("127.0.0.10").open_many(30).unwrap();
        let _more = bound("127.0.0.11").open_many(20).unwrap();
        let _plain = plain().open_many(10).unwrap();
        let what = "30 and 20 bind-first from two addresses, 10 plain: bind(0) on 0.0.0.0";
        let _held = oracle.foretells(what, Pool::Of("tcp", "*"), &bound("0.0.0.0"));
    });
    stage(40000, |oracle| {
        let at = SocketAddr::new(ip("0.0.0.0"), 0);
        let _some = Plan::tcp_bound(at).open_many(30).unwrap();
        let pool = Pool::Of("tcp", "127.0.0.10");
        let what = "30 bound-only on 0.0.0.0: bind(0) on an address";
        let _held = oracle.foretells(what, pool, &bound("127.0.0.10"));
    });
    stage(40000, |oracle| {
        let v6 = Plan::tcp(address("[::1]:443")).from(ip("::1"));
        let _v6 = v6.open_many(30).unwrap();
        let pool = Pool::Of("tcp", "::1");
        let _held = oracle.foretells("30 bind-first from ::1: bind(0) on it", pool, &v6);
    });
});

case!(d3_bind_address_no_port, [], || stage(40000, |oracle| {
    let plan = bound("127.0.0.10").no_port();
    let _some = plan.open_many(30).unwrap();
    let pool = Pool::Toward("127.0.0.10", TO);
    let _rest = oracle.foretells("30 with IP_BIND_ADDRESS_NO_PORT", pool, &plan);
    let _plain = oracle.foretells("100 of them: plain connect()", TOWARD, &plain());
}));

case!(d4_up_to_half_the_range, [], || {
    for first in [40000, 40001] {
        for (before, binds, source) in [
            (0, 30, "127.0.0.10"),
            (0, 50, "127.0.0.10"),
            (40, 30, "127.0.0.10"),
            (40, 50, "127.0.0.1"),
            (20, 10, "127.0.0.1"),
            (50, 50, "127.0.0.10"),
        ] {
            stage(first, |oracle| {
                let _plain = plain().open_many(before).unwrap();
                let _bound = bound(source).open_many(binds).unwrap();
                let what = format!(
                    "first port {first}, {before} plain, then {binds} bind-first from {source}"
                );
                let other = Pool::Toward("127.0.0.1", ELSEWHERE);
                let to_other = Plan::tcp(address(ELSEWHERE));
                let elsewhere = format!("{what}: another destination");
                drop(oracle.foretells(&elsewhere, other, &to_other));
                let _rest = oracle.foretells(&what, TOWARD, &plain());
            });
        }
    }
});

case!(d4_first_seen_when_full, [], || stage(40000, |oracle| {
    // From one address toward one destination, both halves full: in a single poll
    // nothing tells these from 100 plain connections.
    let _plain = plain().open_many(50).unwrap();
    let _bound = bound("127.0.0.1").open_many(50).unwrap();
    let what = "50 plain and 50 bind-first, one address, one destination, first seen when full";
    let _full = oracle.foretells(what, TOWARD, &plain());
    let other = Pool::Toward("127.0.0.1", ELSEWHERE);
    let what = format!("{what}: another destination");
    let _other = oracle.brackets(&what, other, &Plan::tcp(address(ELSEWHERE)));
}));

case!(d5_beyond_half_the_range, [], || {
    for first in [40000, 40001] {
        for (before, binds) in [(0, 70), (0, 100), (10, 70), (40, 60), (60, 40)] {
            stage(first, |oracle| {
                let _plain = plain().open_many(before).unwrap();
                let _bound = bound("127.0.0.10").open_many(binds).unwrap();
                let what = format!("first port {first}, {before} plain, then {binds} bind-first");
                let _held = oracle.brackets(&what, TOWARD, &plain());
            });
        }
    }
});

case!(d8_more_ports_than_questions, [], || {
    set_port_range(40000, 49999);
    let _listener = Listener::crowded(address("0.0.0.0:443")).unwrap();
    let mut oracle = Oracle::lasting();
    let plan = Plan::tcp(address("127.9.0.1:443"));
    let _bound = plan
        .clone()
        .from(ip("127.0.0.10"))
        .open_many(5_600)
        .unwrap();
    let other = Plan::tcp(address("127.9.0.2:443"));
    let toward = Pool::Toward("127.0.0.1", "127.9.0.2:443");
    let what = "5,600 bind-first of 10,000: another destination, at the first poll";
    drop(oracle.brackets(what, toward, &other));
    // As many polls as it takes to ask about all.
    for _ in 0..6 {
        oracle.poll();
    }
    let _rest = oracle.foretells("the same, six polls later", toward, &other);
});

case!(d6_across_families, [], || stage(40000, |oracle| {
    let v6 = Plan::tcp(address("[::1]:443")).from(ip("::1"));
    let _v6 = v6.open_many(30).unwrap();
    let what = "30 bind-first from ::1: IPv4 connect()";
    let _held = oracle.foretells(what, TOWARD, &plain());
}));

case!(d7_time_wait_of_bind_first, [], || {
    for reuse in [0, 1] {
        Namespace::fresh().enter(|| {
            set_port_range(40000, 40099);
            set_reuse(reuse, SHORT);
            let listener = Listener::at(address(TO)).unwrap();
            for _ in 0..20 {
                let (client, server) = listener.pair(&bound("127.0.0.10")).unwrap();
                close_in_turn(client, server).unwrap();
            }
            grow_old();
            let mut oracle = Oracle::forgetful();
            let what = format!("20 TIME_WAIT of bind-first, tcp_tw_reuse {reuse}");
            let _held = oracle.foretells(&format!("{what}: connect()"), TOWARD, &plain());
        });
    }
    Namespace::fresh().enter(|| {
        set_port_range(40000, 40099);
        set_reuse(1, SHORT);
        let listener = Listener::at(address(TO)).unwrap();
        for _ in 0..20 {
            let (client, server) = listener.pair(&plain()).unwrap();
            close_in_turn(client, server).unwrap();
        }
        grow_old();
        let what = "20 TIME_WAIT of connect(), reusable: bind(0) on the same address";
        let pool = Pool::Of("tcp", "127.0.0.1");
        let _held = Oracle::forgetful().foretells(what, pool, &bound("127.0.0.1"));
    });
});
