//! Some seven thousand sockets, in every state that can be held still.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use socket2::{Domain, Socket, Type};

use crate::support::cgroups::Cgroups;
use crate::support::netns::{add_address, set_port_range, set_sysctl};
use crate::support::plan::{Plan, set_option};
use crate::support::sockets::Listener;
use crate::support::ss::Record;

pub const FIRST: u16 = 20_000;
pub const LAST: u16 = 29_999;
pub const RESERVED: &str = "20000-20019,25001,40000-40010";
const SERVICES: u16 = 24;
const PEERS: u16 = 220;

/// What is open, and what `ss` cannot tell of it.
pub struct Stage {
    pub sockets: Vec<Socket>,
    listeners: Vec<Listener>,
    /// What the sockets are made in, each part in another; `None` where that is
    /// forbidden.
    pub cgroups: Option<Cgroups>,
    /// Bound, neither connected nor listening.
    pub bound: Vec<Record>,
    /// Local ports that bind(0) chose.
    pub bind_first: BTreeSet<u16>,
    /// When the first and the last TIME_WAIT began, or a little before and after.
    pub closed: (Instant, Instant),
}

impl Stage {
    /// # Errors
    /// The first refusal of the kernel.
    pub fn set() -> io::Result<Self> {
        set_port_range(FIRST, LAST);
        set_sysctl("net.ipv4.ip_local_reserved_ports", RESERVED);
        set_sysctl("net.ipv4.tcp_tw_reuse", 2);
        for last in 1..=8 {
            add_address("lo", &format!("fd00:a::{last}/128"));
        }
        let mut stage = Self {
            sockets: Vec::new(),
            listeners: Vec::new(),
            cgroups: Cgroups::make("stage"),
            bound: Vec::new(),
            bind_first: BTreeSet::new(),
            closed: (Instant::now(), Instant::now()),
        };
        for (at, open) in [
            Self::open_connections,
            Self::open_families,
            Self::open_queues,
            Self::open_handshakes,
            Self::open_half_closed,
            Self::open_holders,
            Self::open_bind_first,
            Self::open_udp,
            Self::open_time_wait,
        ]
        .into_iter()
        .enumerate()
        {
            let unit = format!("phase-{at}.service");
            let cgroup = stage.cgroups.as_ref().and_then(|all| all.enter(&unit));
            open(&mut stage)?;
            let bound = stage.bound.iter_mut().filter(|r| r.cgroup.is_none());
            bound.for_each(|r| r.cgroup = Some(cgroup.clone().unwrap_or("/".into())));
        }
        Ok(stage)
    }

    /// From one source to many peers, and from many sources: the same connections
    /// are inbound at their other ends.
    fn open_connections(&mut self) -> io::Result<()> {
        for service in 0..SERVICES {
            self.listen(&format!("0.0.0.0:{}", 7001 + service))?;
        }
        for peer in 0..PEERS {
            let host = format!("127.1.{}.{}", peer / 200, peer % 200 + 1);
            for n in 0..4 + peer % 9 {
                let port = 7001 + (peer + n / 4) % SERVICES;
                self.open(Plan::tcp(at(&format!("{host}:{port}"))))?;
            }
        }
        for source in 1..=120_u16 {
            let from = format!("127.2.0.{source}").parse().expect("an address");
            for n in 0..3 + source % 7 {
                let to = at(&format!("127.0.0.1:{}", 7001 + n % 3));
                self.open(Plan::tcp(to).from(from).no_port())?;
            }
        }
        // One destination is worse off than any other.
        self.open_many(150, Plan::tcp(at("127.1.9.9:7024")))
    }

    fn open_families(&mut self) -> io::Result<()> {
        self.listen("[::]:7101")?;
        self.keep(Listener::v6_only(at("[::]:7102"))?);
        self.listen("0.0.0.0:7102")?;
        // V6ONLY leaves the port to IPv4, where it is a client's.
        self.keep(Listener::v6_only(at("[::]:7106"))?);
        self.open(Plan::tcp(at("127.0.0.1:7001")).bound_to(at("127.0.0.1:7106")))?;
        self.listen("[fd00:a::1]:7103")?;
        self.listen("[::ffff:127.0.0.5]:7104")?;
        for last in 1..=8 {
            for port in [7101, 7102] {
                let to = at(&format!("[fd00:a::{last}]:{port}"));
                self.open_many(4 + last, Plan::tcp(to))?;
            }
        }
        for (count, to) in [
            (31, "[::1]:7101"),
            (12, "[::ffff:127.3.0.1]:7101"),
            (13, "127.3.0.1:7101"),
            (14, "[::ffff:127.3.0.2]:7102"),
            (15, "[fd00:a::1]:7103"),
            (16, "127.0.0.5:7104"),
        ] {
            self.open_many(count, Plan::tcp(at(to)))?;
        }
        self.open_many(3, Plan::tcp(at("127.4.0.1:7101")))?;
        self.open_many(5, Plan::tcp(at("127.4.0.1:7101")).device("lo"))
    }

    /// Accept queues: full, half full, empty, and of a group.
    fn open_queues(&mut self) -> io::Result<()> {
        for (end, limit, waiting) in [
            ("127.0.0.1:7201", 7, 8),
            ("127.0.0.1:7202", 40, 20),
            ("[::1]:7203", 100, 33),
            ("127.0.0.1:7204", 16, 0),
        ] {
            self.keep(Listener::with_backlog(at(end), limit)?);
            self.open_many(waiting, Plan::tcp(at(end)))?;
        }
        self.listeners
            .extend(Listener::group(at("127.0.0.1:7205"), 3)?);
        self.open_many(45, Plan::tcp(at("127.0.0.1:7205")))
    }

    /// SYN_SENT toward a full queue; SYN_RECV of listeners that wait for data
    /// and so take no notice of the last step of the handshake.
    fn open_handshakes(&mut self) -> io::Result<()> {
        for (end, count) in [("127.0.0.1:7301", 9), ("[::1]:7302", 4)] {
            let silent = Listener::silent(at(end))?;
            self.open_many(count, silent.plan().nonblocking())?;
            self.keep(silent);
        }
        for (end, to, count) in [
            ("127.0.0.1:7303", "127.0.0.1:7303", 6),
            ("[::]:7304", "[::1]:7304", 3),
            ("[::]:7305", "127.5.0.1:7305", 5),
        ] {
            let socket = Socket::new(Domain::for_address(at(end)), Type::STREAM, None)?;
            set_option(&socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 60)?;
            socket.bind(&at(end).into())?;
            socket.listen(64)?;
            self.sockets.push(socket);
            self.open_many(count, Plan::tcp(at(to)))?;
        }
        Ok(())
    }

    pub fn listen(&mut self, end: &str) -> io::Result<()> {
        self.keep(Listener::at(at(end))?);
        Ok(())
    }

    pub fn keep(&mut self, listener: Listener) {
        self.listeners.push(listener);
    }

    fn open(&mut self, plan: Plan) -> io::Result<()> {
        self.open_many(1, plan)
    }

    pub fn open_many(&mut self, count: usize, plan: Plan) -> io::Result<()> {
        let with_plan = |error| io::Error::other(format!("{plan:?}: {error}"));
        self.sockets
            .extend(plan.open_many(count).map_err(with_plan)?);
        Ok(())
    }
}

pub fn local(socket: &Socket) -> io::Result<SocketAddr> {
    Ok(socket.local_addr()?.as_socket().expect("an IP socket"))
}

pub fn at(end: &str) -> SocketAddr {
    end.parse()
        .unwrap_or_else(|_| panic!("{end} is no address"))
}
