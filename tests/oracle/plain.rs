//! Plain connect(): one pool for each (source, destination, port).

use crate::figures::{Oracle, Pool, address, ip};
use crate::support::netns::{Namespace, add_address, set_port_range};
use crate::support::plan::Plan;
use crate::support::sockets::Listener;

/// A family's destinations, all of them served by `[::]`, and the source that
/// the kernel takes toward them.
struct Family {
    name: &'static str,
    source: &'static str,
    to: &'static str,
    other_port: &'static str,
}

const FAMILIES: [Family; 3] = [
    Family {
        name: "IPv4",
        source: "127.0.0.1",
        to: "127.0.0.1:443",
        other_port: "127.0.0.1:444",
    },
    Family {
        name: "IPv6",
        source: "::1",
        to: "[::1]:443",
        other_port: "[::1]:444",
    },
    Family {
        name: "v4-mapped",
        source: "127.0.0.1",
        to: "[::ffff:127.0.0.1]:443",
        other_port: "[::ffff:127.0.0.1]:444",
    },
];

/// Runs in a namespace for each family, with listeners on ports 443 and 444.
fn each_family(body: impl Fn(&Family, &mut Oracle) + Sync) {
    for family in &FAMILIES {
        Namespace::fresh().enter(|| {
            set_port_range(40000, 40099);
            let _listeners =
                ["[::]:443", "[::]:444"].map(|at| Listener::at(address(at)).expect("a listener"));
            body(family, &mut Oracle::forgetful());
        });
    }
}

case!(a1_empty, [], || each_family(|family, oracle| {
    let plan = Plan::tcp(address(family.to));
    let pool = Pool::Toward(family.source, family.to);
    let _all = oracle.foretells(&format!("{}, empty", family.name), pool, &plan);
    oracle.foretells(&format!("{}, full", family.name), pool, &plan);
}));

case!(a1_part_full, [], || each_family(|family, oracle| {
    let plan = Plan::tcp(address(family.to));
    let pool = Pool::Toward(family.source, family.to);
    let _part = plan.open_many(37).unwrap();
    oracle.foretells(&format!("{}, 37 open", family.name), pool, &plan);
}));

case!(a2_two_destinations, ["ip"], || each_family(
    |family, oracle| {
        let (other_source, other) = match family.name {
            "IPv4" => ("127.0.0.1", "127.9.0.1:443"),
            "IPv6" => ("fd09::1", "[fd09::1]:443"),
            _ => ("127.0.0.1", "[::ffff:127.9.0.1]:443"),
        };
        add_address("lo", "fd09::1/128");
        let _first = Plan::tcp(address(family.to)).open_many(60).unwrap();
        let _held = [
            ("the other destination", other_source, other),
            ("the first", family.source, family.to),
        ]
        .map(|(which, source, to)| {
            oracle.foretells(
                &format!("{}, 60 toward one destination: {which}", family.name),
                Pool::Toward(source, to),
                &Plan::tcp(address(to)),
            )
        });
    }
));

case!(a3_two_destination_ports, [], || each_family(
    |family, oracle| {
        let _first = Plan::tcp(address(family.to)).open_many(60).unwrap();
        let _held = [
            ("the other port", family.other_port),
            ("the first", family.to),
        ]
        .map(|(which, to)| {
            oracle.foretells(
                &format!("{}, 60 toward one port: {which}", family.name),
                Pool::Toward(family.source, to),
                &Plan::tcp(address(to)),
            )
        });
    }
));

case!(a4_two_source_addresses, ["ip"], || each_family(
    |family, oracle| {
        let (other, bound) = match family.name {
            "IPv4" => ("127.0.0.2", "127.0.0.2"),
            "IPv6" => ("fd09::1", "fd09::1"),
            _ => ("127.0.0.2", "::ffff:127.0.0.2"),
        };
        add_address("lo", "fd09::1/128");
        let plain = Plan::tcp(address(family.to));
        let _first = plain.open_many(60).unwrap();
        let from_other = plain.clone().from(ip(bound)).no_port();
        let _held = [
            ("the other source", other, from_other),
            ("the first", family.source, plain),
        ]
        .map(|(which, source, plan)| {
            oracle.foretells(
                &format!("{}, 60 from one source: {which}", family.name),
                Pool::Toward(source, family.to),
                &plan,
            )
        });
    }
));

case!(a5_families_share_and_do_not, [], || {
    set_port_range(40000, 40099);
    let _listener = Listener::at(address("[::]:443")).unwrap();
    let mapped = Plan::tcp(address("[::ffff:127.0.0.1]:443"));
    let _mapped = mapped.open_many(40).unwrap();
    let mut oracle = Oracle::forgetful();
    for (what, source, to) in [
        (
            "40 v4-mapped: IPv4 to the same",
            "127.0.0.1",
            "127.0.0.1:443",
        ),
        ("40 v4-mapped: IPv6", "::1", "[::1]:443"),
    ] {
        let plan = Plan::tcp(address(to));
        std::mem::forget(oracle.foretells(what, Pool::Toward(source, to), &plan));
    }
});
