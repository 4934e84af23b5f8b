//! Random states: sockets, settings and closes in any order, polls in between; then the
//! kernel judges. `SOCKDIAG_SCENARIOS=5000 cargo test --test oracle random` runs so many,
//! `SOCKDIAG_SEED=N SOCKDIAG_SCENARIOS=1` one again.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sockdiag_exporter::kernel::features::KernelFeatures;
use socket2::Socket;

use crate::figures::{Oracle, Pool, address, ip, open_until_refused};
use crate::support::dice::Dice;
use crate::support::netns::{Namespace, set_port_range, set_sysctl};
use crate::support::plan::{Plan, set_option};
use crate::support::sockets::{Listener, close_in_turn};
use crate::table;

/// A case ends by its own alarm after some minutes.
const BY_DEFAULT: u64 = 300;
const SOURCES: [&str; 4] = ["127.0.0.1", "127.0.0.10", "127.0.0.11", "0.0.0.0"];
const DESTINATIONS: [&str; 3] = ["127.9.0.1:443", "127.9.0.2:443", "127.9.0.1:444"];
/// Where nobody accepts.
const ASIDE: &str = "127.9.0.1:445";
/// include/uapi/linux/in.h
const IP_LOCAL_PORT_RANGE: i32 = 51;

/// What a scenario has open.
struct Scene {
    dice: Dice,
    first: u16,
    size: u16,
    listeners: Vec<Listener>,
    /// Client and server of each connection.
    pairs: Vec<(Socket, Socket)>,
    others: Vec<Socket>,
    holders: Vec<Listener>,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let (first, size) = (dice.roll(40_000, 40_009), dice.roll(10, 60) * 2);
        set_port_range(first, first + size - 1);
        set_sysctl("net.ipv4.tcp_tw_reuse", dice.roll(0, 2));
        let listen = |at| Listener::at(address(at)).expect("a port outside of the range");
        let listeners = ["0.0.0.0:443", "0.0.0.0:444", ASIDE].map(listen).into();
        Self {
            dice,
            first,
            size,
            listeners,
            pairs: Vec::new(),
            others: Vec::new(),
            holders: Vec::new(),
        }
    }

    fn port(&mut self) -> u16 {
        self.dice.roll(self.first, self.first + self.size - 1)
    }

    fn source(&mut self) -> IpAddr {
        ip(self.dice.of(&SOURCES))
    }

    fn connect(&mut self, plan: impl Fn(Plan) -> Plan) {
        let to = address(self.dice.of(&DESTINATIONS));
        let listener = &self.listeners[usize::from(to.port() - 443)];
        for _ in 0..self.dice.roll(1, 12) {
            // The kernel may well refuse: then there is one socket less.
            match listener.pair(&plan(Plan::tcp(to))) {
                Ok(pair) => self.pairs.push(pair),
                Err(_) => return,
            }
        }
    }

    fn step(&mut self, oracle: &mut Oracle) {
        match self.dice.roll(0, 15) {
            0..=3 => self.connect(|plan| plan),
            4 => self.connect(|plan| plan.device("lo")),
            5 | 6 => {
                let source = self.source();
                self.connect(|plan| plan.from(source));
            }
            7 => {
                let source = self.source();
                self.connect(|plan| plan.from(source).no_port());
            }
            8 => {
                // Ports of the program's own choice, in use already or not.
                let at = SocketAddr::new(self.source(), self.port());
                self.connect(|plan| plan.bound_to(at).reuse_address());
            }
            9 => {
                let range = i32::from(self.port()) | i32::from(self.first + self.size - 1) << 16;
                self.others.extend(socket_in(range, address(ASIDE)));
            }
            10 => {
                let (source, port) = (self.source(), self.port());
                let port = if self.dice.roll(0, 1) == 0 { 0 } else { port };
                let plan = Plan::tcp_bound(SocketAddr::new(source, port)).reuse_address();
                self.others.extend(plan.open());
            }
            11 => {
                let at = SocketAddr::new(self.source(), self.port());
                self.holders.extend(Listener::at(at));
            }
            12 => {
                self.others.truncate(self.others.len() / 2);
                self.holders.clear();
            }
            13 => self.close(),
            14 => match self.dice.roll(0, 2) {
                0 => {
                    self.first += self.dice.roll(1, 12);
                    set_port_range(self.first, self.first + self.size - 1);
                }
                1 => {
                    let from = self.port();
                    let reserved = format!("{from}-{}", from + self.dice.roll(0, 9));
                    set_sysctl("net.ipv4.ip_local_reserved_ports", reserved);
                }
                _ => std::thread::sleep(Duration::from_millis(1)),
            },
            _ => _ = oracle.poll(),
        }
    }

    /// Some connections end, from either side, or at once.
    fn close(&mut self) {
        for _ in 0..self.dice.roll(1, 15).min(self.pairs.len() as u16) {
            let at = usize::from(self.dice.roll(0, self.pairs.len() as u16 - 1));
            let (client, server) = self.pairs.swap_remove(at);
            let _ = match self.dice.roll(0, 2) {
                0 => close_in_turn(client, server),
                1 => close_in_turn(server, client),
                _ => client.set_linger(Some(Duration::ZERO)),
            };
        }
    }
}

/// A connection whose program chose the range of its port.
fn socket_in(range: i32, to: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    set_option(&socket, libc::IPPROTO_IP, IP_LOCAL_PORT_RANGE, range)?;
    socket.connect(&to.into())?;
    Ok(socket)
}

/// What was promised at least, at most, and what the kernel granted.
fn scenario(seed: u64) -> (i64, i64, i64) {
    let mut scene = Scene::new(seed);
    let mut oracle = Oracle::lasting();
    for _ in 0..scene.dice.roll(2, 14) {
        scene.step(&mut oracle);
    }
    let (pool, plan) = match scene.dice.roll(0, 3) {
        0 => {
            let source = scene.dice.of(&SOURCES[..3]);
            let to = address(DESTINATIONS[0]);
            (Pool::Of("tcp", source), Plan::tcp(to).from(ip(source)))
        }
        _ => {
            let to = scene.dice.of(&DESTINATIONS);
            (Pool::Toward("127.0.0.1", to), Plan::tcp(address(to)))
        }
    };
    let figures = oracle.poll();
    let granted = open_until_refused(pool, &plan).len() as i64;
    (figures.least(pool), figures.free(pool), granted)
}

fn number(variable: &str, default: u64) -> u64 {
    let said = std::env::var(variable).ok();
    said.map_or(default, |text| text.parse().expect("a number"))
}

case!(i1_random_states, [], || {
    let scenarios = number("SOCKDIAG_SCENARIOS", BY_DEFAULT);
    let seed = number("SOCKDIAG_SEED", 1);
    let features = KernelFeatures::probe(true);
    // Without the sysctl TIME_WAIT is reused at the next tick of a second: up to one sooner.
    let tells_all =
        features.bound_only_sockets && features.port_probe && features.time_wait_reuse_delay;
    let (mut brackets, mut widths, mut outside, mut more) = (0_u64, Vec::new(), 0, 0);
    for seed in seed..seed + scenarios {
        let (least, most, granted) = Namespace::fresh().enter(|| scenario(seed));
        if least < most {
            brackets += 1;
            widths.push(most - least);
        }
        // Where the kernel does not tell all, `most` is an estimate: no more is promised.
        let is_more = granted > most && !tells_all;
        more += i64::from(is_more);
        if !is_more && !(least..=most).contains(&granted) {
            outside += 1;
            let what = format!("random state, SOCKDIAG_SEED={seed}");
            table::differs(&what, format!("{least} to {most}"), granted);
            println!("{what}: {least} to {most} said, {granted} granted");
        }
    }
    widths.sort_unstable();
    let width = widths.get(widths.len() / 2).copied().unwrap_or(0);
    let what = format!("{scenarios} random states: outside of what was said");
    table::row(&what, 0, outside);
    let what = format!("of them with a bracket; its median width is {width}");
    table::row(&what, "–", brackets);
    let what = "of them where the kernel granted more than was estimated";
    table::row(what, "–", more);
});
