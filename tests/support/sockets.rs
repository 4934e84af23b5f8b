//! Listeners, and connections brought into the state a test asks for. Every
//! function keeps the errno.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::ops::Deref;

use nix::sys::socket::getsockopt;
use nix::{getsockopt_impl, sockopt_impl};
use socket2::{Domain, Socket, Type};

use super::netns::set_sysctl;
use super::patience;
use super::plan::{ANSWER, Plan, set_option};
use super::tools::wait_until;

/// What the kernel allows by default (`net.core.somaxconn`): nobody need accept.
const BACKLOG: i32 = 4096;
/// States of net/tcp_states.h.
const FIN_WAIT2: u8 = 5;
const CLOSED: u8 = 7;

sockopt_impl!(
    /// The first byte of `struct tcp_info` (linux/tcp.h).
    TcpState,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    u8
);

/// Opens until the kernel refuses; returns what was opened, and the errno.
///
/// # Panics
/// When `limit` are open and nothing was refused, or the refusal has no errno.
pub fn count_until_refused<T>(
    limit: usize,
    mut open: impl FnMut() -> io::Result<T>,
) -> (Vec<T>, i32) {
    let mut opened = Vec::new();
    while opened.len() < limit {
        match open() {
            Ok(socket) => opened.push(socket),
            Err(error) => return (opened, error.raw_os_error().expect("an errno")),
        }
    }
    panic!("nothing was refused up to {limit} sockets");
}

/// A listening TCP socket.
pub struct Listener {
    socket: Socket,
    address: SocketAddr,
    waiting: Vec<Socket>,
}

impl Listener {
    /// With a backlog of 4096. `[::]` is dual-stack; port 0 lets the kernel choose.
    pub fn at(address: SocketAddr) -> io::Result<Self> {
        Self::with_backlog(address, BACKLOG)
    }

    pub fn with_backlog(address: SocketAddr, backlog: i32) -> io::Result<Self> {
        Self::configured(address, backlog, |_| Ok(()))
    }

    /// IPV6_V6ONLY.
    pub fn v6_only(address: SocketAddr) -> io::Result<Self> {
        Self::configured(address, BACKLOG, |socket| socket.set_only_v6(true))
    }

    /// Several on one address with SO_REUSEPORT.
    pub fn group(address: SocketAddr, members: usize) -> io::Result<Vec<Self>> {
        let member = |_| Self::configured(address, BACKLOG, |socket| socket.set_reuse_port(true));
        (0..members).map(member).collect()
    }

    /// Carries up to 65,535 connections without ever accepting one, so that
    /// only their clients take file descriptors. Raises two sysctls of the
    /// namespace.
    pub fn crowded(address: SocketAddr) -> io::Result<Self> {
        set_sysctl("net.core.somaxconn", u16::MAX);
        set_sysctl("net.ipv4.tcp_max_syn_backlog", u16::MAX);
        Self::with_backlog(address, u16::MAX.into())
    }

    /// Answers no SYN, for its backlog is full. The connection that fills it
    /// comes from port 1023 of the same address, outside any ephemeral range.
    pub fn silent(address: SocketAddr) -> io::Result<Self> {
        let mut listener = Self::with_backlog(address, 0)?;
        let source = SocketAddr::new(address.ip(), 1023);
        let plan = listener.plan().bound_to(source).reuse_address();
        listener.waiting.push(plan.open()?);
        Ok(listener)
    }

    fn configured(
        address: SocketAddr,
        backlog: i32,
        configure: impl Fn(&Socket) -> io::Result<()>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        configure(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        let address = socket.local_addr()?.as_socket().expect("an IP socket");
        Ok(Self {
            socket,
            address,
            waiting: Vec::new(),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A plain connect() to this listener.
    pub fn plan(&self) -> Plan {
        Plan::tcp(self.address)
    }

    /// Opens a connection and accepts it: (client, server).
    ///
    /// # Errors
    /// Those of the plan and of accept().
    pub fn pair(&self, plan: &Plan) -> io::Result<(Socket, Socket)> {
        let client = plan.open()?;
        let (server, peer) = self.socket.accept()?;
        let peer = canonical(&peer);
        assert_eq!(peer, canonical(&client.local_addr()?), "another's turn");
        Ok((client, server))
    }
}

/// Whoever closes `first` goes to TIME_WAIT, and the other vanishes.
///
/// # Errors
/// When what one end sends does not reach the other within five seconds.
pub fn close_in_turn(first: Socket, second: Socket) -> io::Result<()> {
    abandon(first, &second)?;
    second.shutdown(Shutdown::Write)?;
    wait_for_state(&second, CLOSED)
}

/// `first` ends in FIN_WAIT2, `second` in CLOSE_WAIT, and both stay open.
///
/// # Errors
/// As [`close_in_turn`].
pub fn half_close(first: &Socket, second: &Socket) -> io::Result<()> {
    first.shutdown(Shutdown::Write)?;
    wait_for_end(second)?;
    // The end of file comes before the acknowledgement, which may be delayed.
    wait_for_state(first, FIN_WAIT2)
}

/// `first` ends in FIN_WAIT2 without an owner, which the kernel keeps for
/// `tcp_fin_timeout`; `second` in CLOSE_WAIT.
///
/// # Errors
/// As [`close_in_turn`].
pub fn abandon(first: Socket, second: &Socket) -> io::Result<()> {
    half_close(&first, second)
}

/// Closes `first` while its peer has no room for what it sent: an orphan in
/// FIN_WAIT1, or in LAST_ACK when the peer had half-closed before. Dropping the
/// peer, which never read, resets the connection: the orphan goes with it.
///
/// # Errors
/// That of a write that fails otherwise than for want of room.
pub fn strand(first: Socket) -> io::Result<()> {
    first.set_nonblocking(true)?;
    loop {
        match (&first).write(&[0; 65536]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            result => result?,
        };
    }
}

fn wait_for_end(socket: &Socket) -> io::Result<()> {
    socket.set_read_timeout(Some(patience::seconds(ANSWER)))?;
    let mut reader = socket;
    let read = reader.read(&mut [0; 1])?;
    assert_eq!(read, 0, "data where the end was expected");
    Ok(())
}

fn wait_for_state(socket: &Socket, state: u8) -> io::Result<()> {
    let mut now = Ok(state);
    let arrived = || {
        now = getsockopt(socket, TcpState);
        now.is_err() || now == Ok(state)
    };
    match (wait_until(patience::seconds(ANSWER), arrived), now) {
        (true, now) => Ok(now.map(drop)?),
        (false, _) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// An ESTABLISHED socket without a peer or a packet, made by TCP_REPAIR
/// (linux/tcp.h). The peer's address needs a route, 127/8 for instance. It goes
/// back into repair mode before it closes, and so leaves no orphan in FIN_WAIT1.
pub struct Repaired(Socket);

impl Repaired {
    /// # Errors
    /// EPERM without CAP_NET_ADMIN, and those of bind() and connect().
    pub fn open(from: SocketAddr, to: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        set_option(&socket, libc::IPPROTO_TCP, libc::TCP_REPAIR, 1)?;
        socket.bind(&from.into())?;
        socket.connect(&to.into())?;
        // TCP_REPAIR_OFF_NO_WP (linux/tcp.h): leave without a window probe.
        set_option(&socket, libc::IPPROTO_TCP, libc::TCP_REPAIR, -1)?;
        Ok(Self(socket))
    }
}

impl Deref for Repaired {
    type Target = Socket;

    fn deref(&self) -> &Socket {
        &self.0
    }
}

impl Drop for Repaired {
    fn drop(&mut self) {
        let _ = set_option(&self.0, libc::IPPROTO_TCP, libc::TCP_REPAIR, 1);
    }
}

fn canonical(address: &socket2::SockAddr) -> (IpAddr, u16) {
    let address = address.as_socket().expect("an IP socket");
    (address.ip().to_canonical(), address.port())
}
