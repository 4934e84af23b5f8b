//! UDP has one pool for each source, and the wildcard's is that of any address.

use crate::figures::{Oracle, Pool, address, ip};
use crate::support::netns::{Namespace, set_port_range, set_sysctl};
use crate::support::plan::Plan;

fn stage(body: impl Fn(&mut Oracle) + Sync) {
    Namespace::fresh().enter(|| {
        set_port_range(40000, 40099);
        body(&mut Oracle::forgetful());
    });
}

const ANY: Pool = Pool::Of("udp", "*");

case!(g1_connected, [], || {
    let plan = Plan::udp(address("127.0.0.1:53"));
    stage(|oracle| {
        let pool = Pool::Of("udp", "127.0.0.1");
        let _some = plan.open_many(30).unwrap();
        let _rest = oracle.foretells("30 connected: connect()", pool, &plan);
    });
    stage(|oracle| {
        let _some = plan.open_many(30).unwrap();
        let pool = Pool::Of("udp", "127.0.0.2");
        let from = plan.clone().from(ip("127.0.0.2"));
        let _rest = oracle.foretells("30 connected: another source, bound first", pool, &from);
    });
    stage(|oracle| {
        let from = plan.clone().from(ip("127.0.0.2"));
        let _some = from.open_many(30).unwrap();
        // connect() binds the wildcard before it knows the source.
        let _rest = oracle.foretells("30 from another source: connect()", ANY, &plan);
    });
});

case!(g2_unconnected_and_wildcard, [], || {
    let bound = |at: &str| Plan::udp_bound(address(at));
    stage(|oracle| {
        let _some = bound("127.0.0.1:0").open_many(30).unwrap();
        let pool = Pool::Of("udp", "127.0.0.1");
        let _rest = oracle.foretells(
            "30 bound: bind(0) on the address",
            pool,
            &bound("127.0.0.1:0"),
        );
    });
    stage(|oracle| {
        let _some = bound("127.0.0.1:0").open_many(30).unwrap();
        let _more = bound("127.0.0.2:0").open_many(30).unwrap();
        let send = Plan::udp_send(address("127.0.0.1:53"));
        let _rest = oracle.foretells("30 bound on each of two addresses: send", ANY, &send);
    });
    stage(|oracle| {
        let _some = bound("0.0.0.0:0").open_many(30).unwrap();
        let _own = bound("127.0.0.1:0").open_many(10).unwrap();
        for source in ["127.0.0.1", "127.0.0.3"] {
            let pool = Pool::Of("udp", source);
            let what = format!("30 on 0.0.0.0, 10 on 127.0.0.1: bind(0) on {source}");
            std::mem::forget(oracle.foretells(&what, pool, &bound(&format!("{source}:0"))));
        }
    });
    stage(|oracle| {
        set_sysctl("net.ipv4.ip_local_reserved_ports", "40001,40050-40069");
        let _some = bound("0.0.0.0:0").open_many(30).unwrap();
        let what = "30 on 0.0.0.0, 21 reserved: bind(0) on 0.0.0.0";
        let _rest = oracle.foretells(what, ANY, &bound("0.0.0.0:0"));
    });
});

case!(g3_ipv6, [], || {
    let bound = |at: &str| Plan::udp_bound(address(at));
    stage(|oracle| {
        let plan = Plan::udp(address("[::1]:53"));
        let _some = plan.open_many(30).unwrap();
        let _rest = oracle.foretells("IPv6, 30 connected", Pool::Of("udp", "::1"), &plan);
    });
    stage(|oracle| {
        let _some = bound("[::]:0").open_many(30).unwrap();
        for (source, at) in [("::1", "[::1]:0"), ("127.0.0.1", "127.0.0.1:0")] {
            let what = format!("30 on ::, dual-stack: bind(0) on {source}");
            std::mem::forget(oracle.foretells(&what, Pool::Of("udp", source), &bound(at)));
        }
    });
    stage(|oracle| {
        let _some = bound("[::1]:0").open_many(30).unwrap();
        let pool = Pool::Of("udp", "127.0.0.1");
        let what = "30 on ::1: bind(0) on 127.0.0.1";
        let _rest = oracle.foretells(what, pool, &bound("127.0.0.1:0"));
    });
    stage(|oracle| {
        let _some = bound("[::1]:0").open_many(30).unwrap();
        let _more = bound("127.0.0.1:0").open_many(30).unwrap();
        let what = "30 on ::1, 30 on 127.0.0.1: bind(0) on ::";
        let _rest = oracle.foretells(what, ANY, &bound("[::]:0"));
    });
});

case!(g4_odd_size, [], || Namespace::fresh().enter(|| {
    set_port_range(40000, 40100);
    let plan = Plan::udp_bound(address("127.0.0.1:0"));
    let pool = Pool::Of("udp", "127.0.0.1");
    let _all = Oracle::forgetful().foretells("range 40000 to 40100", pool, &plan);
}));
