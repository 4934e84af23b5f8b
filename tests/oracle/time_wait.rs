//! TIME_WAIT, when the kernel gives its port away again, and the other states in
//! which a connection ends or begins.

use std::thread::sleep;
use std::time::Duration;

use socket2::Socket;

use crate::figures::{Oracle, Pool, address};
use crate::support::netns::{Namespace, has_reuse_delay, set_port_range, set_reuse, set_sysctl};
use crate::support::plan::Plan;
use crate::support::sockets::{Listener, abandon, close_in_turn, half_close, strand};

/// Milliseconds, so that no TIME_WAIT of a case gets that old.
const LONG: u32 = 50_000;
pub const SHORT: u32 = 300;

struct Ends {
    pool: Pool<'static>,
    plan: Plan,
    listener: Listener,
}

impl Ends {
    fn at(source: &'static str, to: &'static str) -> Self {
        let listener = Listener::at(address(to)).expect("a listener");
        Self {
            pool: Pool::Toward(source, to),
            plan: listener.plan(),
            listener,
        }
    }

    fn local() -> Self {
        Self::at("127.0.0.1", "127.0.0.1:443")
    }

    fn pairs(&self, count: usize) -> Vec<(Socket, Socket)> {
        (0..count)
            .map(|_| self.listener.pair(&self.plan).expect("a connection"))
            .collect()
    }

    /// This side closes first.
    fn close(&self, count: usize) {
        for (client, server) in self.pairs(count) {
            close_in_turn(client, server).expect("an end of file");
        }
    }
}

/// Sleeps until every TIME_WAIT of the case is older than SHORT, or than a second
/// where the kernel knows no other age.
pub fn grow_old() {
    let milliseconds = if has_reuse_delay() {
        SHORT + 200
    } else {
        2_100
    };
    sleep(Duration::from_millis(milliseconds.into()));
}

/// A namespace without reuse until the case sets it.
fn stage(body: impl Fn(&mut Oracle) + Sync) {
    Namespace::fresh().enter(|| {
        set_port_range(40000, 40099);
        set_reuse(0, LONG);
        body(&mut Oracle::forgetful());
    });
}

case!(c1_client_closed_first_on_loopback, [], || {
    for (family, source, to) in [
        ("IPv4", "127.0.0.1", "127.0.0.1:443"),
        ("IPv6", "::1", "[::1]:443"),
    ] {
        for reuse in [0, 1, 2] {
            for (age, delay) in [("younger", LONG), ("older", SHORT)] {
                // Nothing stays younger than a second for the time of a case.
                if delay == LONG && !has_reuse_delay() {
                    continue;
                }
                stage(|oracle| {
                    let ends = Ends::at(source, to);
                    ends.close(30);
                    grow_old();
                    set_reuse(reuse, delay);
                    let note = format!(
                        "{family} loopback, 30 TIME_WAIT, tcp_tw_reuse {reuse}, {age} than the delay"
                    );
                    let _held = oracle.foretells(&note, ends.pool, &ends.plan);
                });
            }
        }
    }
});

case!(c2_client_closed_first_v4_mapped, [], || {
    stage(|oracle| {
        let listener = Listener::at(address("[::]:443")).unwrap();
        let to = "[::ffff:127.0.0.1]:443";
        let plan = Plan::tcp(address(to));
        for _ in 0..30 {
            let (client, server) = listener.pair(&plan).unwrap();
            close_in_turn(client, server).unwrap();
        }
        grow_old();
        set_reuse(2, SHORT);
        let pool = Pool::Toward("127.0.0.1", to);
        let note = "v4-mapped loopback, 30 TIME_WAIT, tcp_tw_reuse 2, older than the delay";
        let _held = oracle.foretells(note, pool, &plan);
    });
});

case!(c3_client_closed_first_between_namespaces, ["ip"], || {
    let ways = [("10.9.0.1", "10.9.0.2:443"), ("fd09::1", "[fd09::2]:443")];
    for reuse in [0, 1, 2] {
        let (near, far) = (Namespace::fresh(), Namespace::fresh());
        near.connect(
            &far,
            "veth0",
            &["10.9.0.1/24", "fd09::1/64"],
            &["10.9.0.2/24", "fd09::2/64"],
        );
        near.enter(|| {
            set_port_range(40000, 40099);
            set_reuse(0, LONG);
            for (source, to) in ways {
                let ends = Ends {
                    pool: Pool::Toward(source, to),
                    plan: Plan::tcp(address(to)),
                    listener: far.enter(|| Listener::at(address(to)).unwrap()),
                };
                set_reuse(0, LONG);
                ends.close(30);
                grow_old();
                set_reuse(reuse, SHORT);
                let note = format!(
                    "veth, {source}, 30 TIME_WAIT, tcp_tw_reuse {reuse}, older than the delay"
                );
                let held = Oracle::forgetful().foretells(&note, ends.pool, &ends.plan);
                std::mem::forget((held, ends));
            }
        });
    }
});

case!(c4_server_closed_first, [], || {
    stage(|oracle| {
        let ends = Ends::local();
        for (client, server) in ends.pairs(30) {
            close_in_turn(server, client).unwrap();
        }
        let _held = oracle.foretells("30 TIME_WAIT of the server", ends.pool, &ends.plan);
    });
});

case!(c5_young_and_old, [], || {
    stage(|oracle| {
        let ends = Ends::local();
        ends.close(20);
        sleep(Duration::from_millis(5_200));
        let young = if has_reuse_delay() { 15 } else { 0 };
        ends.close(young);
        set_reuse(1, 5_000);
        let note = format!("20 TIME_WAIT older than the delay, {young} younger, tcp_tw_reuse 1");
        let _held = oracle.foretells(&note, ends.pool, &ends.plan);
    });
});

case!(c6_without_timestamps, [], || {
    stage(|oracle| {
        set_sysctl("net.ipv4.tcp_timestamps", 0);
        let ends = Ends::local();
        ends.close(30);
        grow_old();
        set_reuse(1, SHORT);
        let note = "30 TIME_WAIT, tcp_tw_reuse 1, tcp_timestamps 0";
        let _held = oracle.foretells(note, ends.pool, &ends.plan);
    });
});

case!(c7_half_closed, [], || {
    stage(|oracle| {
        let ends = Ends::local();
        let held = ends.pairs(20);
        for (client, server) in &held {
            half_close(client, server).unwrap();
        }
        set_reuse(1, 1);
        let _all = oracle.foretells("20 FIN_WAIT2 with an owner", ends.pool, &ends.plan);
    });
    stage(|oracle| {
        let ends = Ends::local();
        let held = ends.pairs(20);
        for (client, server) in &held {
            half_close(server, client).unwrap();
        }
        set_reuse(1, 1);
        let _all = oracle.foretells("20 CLOSE_WAIT", ends.pool, &ends.plan);
    });
});

case!(c8_orphans, [], || {
    stage(|oracle| {
        let ends = Ends::local();
        let mut servers = Vec::new();
        for (client, server) in ends.pairs(20) {
            abandon(client, &server).unwrap();
            servers.push(server);
        }
        grow_old();
        set_reuse(1, 1);
        let _all = oracle.foretells("20 orphans in FIN_WAIT2", ends.pool, &ends.plan);
    });
    stage(|oracle| {
        let ends = Ends::local();
        let mut servers = Vec::new();
        for (at, (client, server)) in ends.pairs(10).into_iter().enumerate() {
            if at % 2 == 0 {
                half_close(&server, &client).unwrap();
            }
            strand(client).unwrap();
            servers.push(server);
        }
        set_reuse(1, 1);
        let note = "10 orphans in FIN_WAIT1 and LAST_ACK";
        let _all = oracle.foretells(note, ends.pool, &ends.plan);
    });
});

case!(c9_a_silent_peer, [], || {
    stage(|oracle| {
        let silent = Listener::silent(address("127.0.0.1:444")).unwrap();
        let plan = silent.plan().nonblocking();
        let _some = plan.open_many(30).unwrap();
        let pool = Pool::Toward("127.0.0.1", "127.0.0.1:444");
        let _rest = oracle.foretells("30 SYN_SENT to a silent peer", pool, &plan);
    });
});
