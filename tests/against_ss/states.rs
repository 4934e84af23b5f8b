//! The part of the stage that is more than a connection: ends of connections,
//! ports taken by bind(), and UDP.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use socket2::{Domain, Socket, Type};

use crate::model::BOUND;
use crate::stage::{Stage, at, local};
use crate::support::plan::Plan;
use crate::support::sockets::{Listener, abandon, close_in_turn, half_close, strand};
use crate::support::ss::{End, Family, Protocol, Record};

impl Stage {
    pub fn open_half_closed(&mut self) -> io::Result<()> {
        for (end, to, count) in [
            ("127.0.0.1:7401", "127.0.0.1:7401", 5),
            ("[::1]:7402", "[::1]:7402", 3),
            ("[::]:7403", "[::ffff:127.6.0.1]:7403", 2),
        ] {
            let listener = Listener::at(at(end))?;
            let pair = || listener.pair(&Plan::tcp(at(to)));
            for _ in 0..count {
                // Each in turn on the client's side and on the server's.
                for by_server in [false, true] {
                    let pair = || {
                        let (client, server) = pair()?;
                        io::Result::Ok(if by_server {
                            (server, client)
                        } else {
                            (client, server)
                        })
                    };
                    let (first, second) = pair()?;
                    half_close(&first, &second)?;
                    self.sockets.extend([first, second]);

                    let (first, second) = pair()?;
                    abandon(first, &second)?;
                    self.sockets.push(second);

                    let (first, second) = pair()?;
                    strand(first)?;
                    self.sockets.push(second);

                    let (first, second) = pair()?;
                    half_close(&second, &first)?;
                    strand(first)?;
                    self.sockets.push(second);
                }
            }
            self.keep(listener);
        }
        // Without its listener the end that was accepted counts as outbound.
        let gone = Listener::at(at("127.0.0.1:7404"))?;
        for _ in 0..3 {
            let (client, server) = gone.pair(&gone.plan())?;
            self.sockets.extend([client, server]);
        }
        Ok(())
    }

    /// Listeners in the range and bound-only sockets, there and elsewhere. Those on
    /// a wildcard have odd ports, which plain connect() has not touched.
    pub fn open_holders(&mut self) -> io::Result<()> {
        for end in ["0.0.0.0:20501", "127.0.0.9:20502", "[::]:20503"] {
            self.listen(end)?;
            let port = at(end).port();
            self.open_many(4, Plan::tcp(at(&format!("127.0.0.9:{port}"))))?;
        }
        self.listen("127.0.0.9:20005")?;
        let poisoned = Plan::tcp(at("127.0.0.1:7001")).open()?;
        let port = local(&poisoned)?.port();
        self.sockets.push(poisoned);
        let poison = format!("127.0.0.77:{port}");
        for end in [
            "127.0.0.77:20601",
            "127.0.0.78:20601",
            "0.0.0.0:20607",
            "[::1]:20603",
            "[::]:20609",
            "127.0.0.77:20010",
            "127.0.0.77:6001",
            "[::]:6002",
            poison.as_str(),
        ] {
            let socket = Plan::tcp_bound(at(end)).open()?;
            self.hold(socket, false)?;
        }
        let socket = v6_only(Type::STREAM, 20605)?;
        self.hold(socket, true)
    }

    pub fn open_bind_first(&mut self) -> io::Result<()> {
        for (from, to, count) in [
            ("127.0.0.10", "127.0.0.1:7001", 15),
            ("127.0.0.11", "127.0.0.1:7002", 4),
            ("::1", "[::1]:7101", 5),
        ] {
            let plan = Plan::tcp(at(to)).from(from.parse().expect("an address"));
            for socket in plan.open_many(count)? {
                self.bind_first.insert(local(&socket)?.port());
                self.sockets.push(socket);
            }
        }
        Ok(())
    }

    pub fn open_udp(&mut self) -> io::Result<()> {
        self.sockets.push(v6_only(Type::DGRAM, 20705)?);
        for (count, plan) in [
            (1, Plan::udp_bound(at("127.0.0.1:5301"))),
            (1, Plan::udp_bound(at("0.0.0.0:5302"))),
            (1, Plan::udp_bound(at("[::]:5303"))),
            (1, Plan::udp_bound(at("[::1]:5304"))),
            (1, Plan::udp_bound(at("127.0.0.1:5305"))),
            (1, Plan::udp_bound(at("127.0.0.2:5305"))),
            (1, Plan::udp_bound(at("127.0.0.1:20701"))),
            (1, Plan::udp_bound(at("127.0.0.1:20015"))),
            (1, Plan::udp_bound(at("[::]:20702"))),
            (1, Plan::udp_bound(at("0.0.0.0:20703"))),
            (40, Plan::udp(at("127.0.0.1:5301"))),
            (
                20,
                Plan::udp(at("127.7.0.1:5302")).from(at("127.0.0.3:0").ip()),
            ),
            (11, Plan::udp(at("[::1]:5304"))),
            (12, Plan::udp(at("[::ffff:127.0.0.1]:5301"))),
            (13, Plan::udp_send(at("127.0.0.1:5301"))),
            (
                1,
                Plan::udp(at("127.0.0.1:5301")).bound_to(at("127.0.0.1:6101")),
            ),
        ] {
            self.open_many(count, plan)?;
        }
        for last in 1..=25 {
            let source = format!("127.8.0.{last}").parse().expect("an address");
            let plan = Plan::udp(at("127.0.0.1:5301")).from(source);
            self.open_many(1 + last % 4, plan)?;
        }
        Ok(())
    }

    /// On the client's side, and on the server's: there from ports of their own,
    /// for a SYN that meets a server's TIME_WAIT ends it.
    pub fn open_time_wait(&mut self) -> io::Result<()> {
        let began = Instant::now();
        for (end, to, count) in [
            ("127.0.0.1:7501", "127.0.0.1:7501", 60),
            ("[::1]:7502", "[::1]:7502", 30),
            ("[::]:7503", "[::ffff:127.9.0.1]:7503", 20),
            ("[fd00:a::2]:7504", "[fd00:a::2]:7504", 10),
            ("[::]:7505", "127.9.0.2:7505", 15),
        ] {
            let listener = Listener::at(at(end))?;
            for _ in 0..count {
                let (client, server) = listener.pair(&Plan::tcp(at(to)))?;
                close_in_turn(client, server)?;
            }
            for port in 2000..2000 + count {
                let source = SocketAddr::new(at(to).ip(), port);
                let (client, server) = listener.pair(&Plan::tcp(at(to)).bound_to(source))?;
                close_in_turn(server, client)?;
            }
            self.keep(listener);
        }
        self.wait_on_lost_ports()?;
        self.closed = (began, Instant::now());
        Ok(())
    }

    /// TIME_WAIT that connect() may not take over, for the port itself is lost: to
    /// a socket bound to it later, and to the bind() that came before.
    fn wait_on_lost_ports(&mut self) -> io::Result<()> {
        let listener = Listener::at(at("127.0.0.1:7506"))?;
        let source = at("127.0.0.12:0").ip();
        for plan in [listener.plan(), listener.plan().from(source)] {
            for _ in 0..3 {
                let (client, server) = listener.pair(&plan)?;
                let end = local(&client)?;
                close_in_turn(client, server)?;
                if end.ip() == source {
                    self.bind_first.insert(end.port());
                } else {
                    let later = SocketAddr::new(at("127.0.0.77:0").ip(), end.port());
                    self.hold(Plan::tcp_bound(later).open()?, false)?;
                }
            }
        }
        self.keep(listener);
        Ok(())
    }

    /// Keeps a socket that is bound and nothing more, and notes it for the model.
    fn hold(&mut self, socket: Socket, v6_only: bool) -> io::Result<()> {
        let end = local(&socket)?;
        let family = if end.is_ipv6() {
            Family::V6
        } else {
            Family::V4
        };
        let unspecified = end.ip() == IpAddr::from(Ipv6Addr::UNSPECIFIED);
        let address = |address, port, dual_stack| End {
            address,
            port,
            device: None,
            dual_stack,
        };
        self.bound.push(Record {
            protocol: Protocol::Tcp,
            family,
            state: BOUND.to_owned(),
            recv_q: 0,
            send_q: 0,
            local: address(end.ip(), end.port(), unspecified && !v6_only),
            peer: address(end.ip(), 0, false),
            cgroup: None,
        });
        self.sockets.push(socket);
        Ok(())
    }
}

fn v6_only(kind: Type, port: u16) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV6, kind, None)?;
    socket.set_only_v6(true)?;
    let every: IpAddr = Ipv6Addr::UNSPECIFIED.into();
    socket.bind(&SocketAddr::new(every, port).into())?;
    Ok(socket)
}
