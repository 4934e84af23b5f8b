//! What earlier polls saw, of which a single poll knows nothing.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::Socket;

use crate::figures::{Oracle, Pool, address, ip};
use crate::support::netns::{Namespace, set_port_range};
use crate::support::plan::Plan;
use crate::support::sockets::Listener;

const TO: &str = "127.0.0.1:443";
const TOWARD: Pool = Pool::Toward("127.0.0.1", TO);

fn plain() -> Plan {
    Plan::tcp(address(TO))
}

/// Closes without FIN_WAIT2 or TIME_WAIT: their ports are free at once.
fn reset(sockets: Vec<Socket>) {
    for socket in sockets {
        socket.set_linger(Some(Duration::ZERO)).unwrap();
    }
}

case!(e1_listeners_gone_with_connections_alive, [], || {
    set_port_range(40000, 40099);
    let _listener = Listener::at(address(TO)).unwrap();
    let listeners = (40010..40020).map(|port| SocketAddr::new(ip("127.0.0.1"), port));
    let listeners: Vec<_> = listeners.map(|at| Listener::at(at).unwrap()).collect();
    let accepted: Vec<_> = listeners
        .iter()
        .zip(2001..)
        .map(|(listener, port)| {
            let plan = listener.plan();
            let at = SocketAddr::new(ip("127.0.0.1"), port);
            listener.pair(&plan.bound_to(at)).unwrap()
        })
        .collect();
    let mut oracle = Oracle::lasting();
    oracle.poll();
    drop(listeners);
    let what = "10 listeners gone, one accepted connection alive of each";
    let _held = oracle.foretells(what, TOWARD, &plain());
    drop(accepted);
});

case!(e2_ports_given_back_by_listeners, [], || {
    set_port_range(40000, 40099);
    let _listener = Listener::at(address("0.0.0.0:443")).unwrap();
    let mut oracle = Oracle::lasting();
    let _first = plain().open_many(50).unwrap();
    oracle.poll();
    let listeners = (40000..40020).map(|port| SocketAddr::new(ip("127.0.0.77"), port));
    let listeners: Vec<_> = listeners.map(|at| Listener::at(at).unwrap()).collect();
    let to = "127.9.0.1:443";
    let (pool, plan) = (Pool::Toward("127.0.0.1", to), Plan::tcp(address(to)));
    let what = "20 listeners join ports of connect()";
    drop(oracle.foretells(what, TOWARD, &plain()));
    drop(listeners);
    let what = "the same, the listeners gone again";
    let _held = oracle.foretells(what, pool, &plan);
});

case!(e3_binds_beyond_half_seen_growing, [], || {
    set_port_range(40000, 40099);
    let _listener = Listener::at(address("0.0.0.0:443")).unwrap();
    let mut oracle = Oracle::lasting();
    let bound = plain().from(ip("127.0.0.10"));
    let mut held = bound.open_many(30).unwrap();
    oracle.poll();
    held.extend(bound.open_many(40).unwrap());
    let _rest = oracle.brackets("30 bind-first seen, then 70", TOWARD, &plain());
});

case!(e4_binds_join_ports_of_connections, [], || {
    for (plain_ones, binds) in [(60, 30), (60, 50), (40, 80)] {
        Namespace::fresh().enter(|| {
            set_port_range(40000, 40099);
            let _listener = Listener::at(address("0.0.0.0:443")).unwrap();
            let mut oracle = Oracle::lasting();
            let _plain = plain().open_many(plain_ones).unwrap();
            // Only the second poll is sure of what the first one saw.
            oracle.poll();
            oracle.poll();
            let bound = plain().from(ip("127.0.0.10"));
            let bound = bound.open_many(binds).unwrap();
            let what = format!("{plain_ones} plain seen, then {binds} bind-first");
            let to = "127.9.0.1:443";
            let (other, to_other) = (Pool::Toward("127.0.0.1", to), Plan::tcp(address(to)));
            reset(oracle.brackets(&format!("{what}: another destination"), other, &to_other));
            let what = format!("{what}: another destination, a poll later");
            reset(oracle.brackets(&what, other, &to_other));
            reset(bound);
            let what = format!("{plain_ones} plain and {binds} bind-first, which are gone");
            let _rest = oracle.foretells(&what, TOWARD, &plain());
        });
    }
});
