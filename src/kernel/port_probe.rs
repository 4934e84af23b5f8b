//! Asks the kernel which local ports plain connect() can have.
//!
//! sock_diag does not say who made a port: connect(), which shares it with other
//! destinations, or bind(), which keeps plain connect() off it. The kernel's own
//! search for a port does (`__inet_hash_connect`, net/ipv4/inet_hashtables.c): a
//! socket that may use this one port alone (IP_LOCAL_PORT_RANGE, Linux 6.3) is
//! connected toward an endpoint that nobody uses. Fast open puts the SYN off until
//! there is data (TCP_FASTOPEN_CONNECT), and there never is any: nothing is sent, no
//! counter moves, and the socket is disconnected (connect(2), AF_UNSPEC) and used for the
//! next port, for less than half of what a new socket takes. (While the kernel has paused
//! fast open because it was blocked elsewhere, tcp_fastopen_blackhole_timeout, one SYN a poll
//! goes to the loopback, and nothing is learnt.)
//!
//! Asked about are ports that had sockets at this poll or the last one: for an instant
//! the probe is one more.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::TcpFastOpenConnect;
use nix::{setsockopt_impl, sockopt_impl};
use rustix::net::connect_unspec;
use socket2::{Domain, Protocol, Socket, Type};

use crate::model::ports::PortSet;

/// The one port that this process connects to, that of the discard service.
pub const PORT: u16 = 9;
/// An endpoint that nobody uses, on the loopback.
const NOBODY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 83, 68, 69), PORT);
const NOBODY_ELSE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 83, 68, 70), PORT);
/// A local address that no other socket has.
const OURS: Ipv4Addr = Ipv4Addr::new(127, 83, 68, 71);

/// include/uapi/linux/in.h
const IP_LOCAL_PORT_RANGE: libc::c_int = 51;

sockopt_impl!(
    /// Ports that the socket may be given: the lowest in the lower half, the highest
    /// in the upper (ip(7)).
    LocalPortRange,
    SetOnly,
    libc::IPPROTO_IP,
    IP_LOCAL_PORT_RANGE,
    u32
);
sockopt_impl!(
    /// Fast open without a cookie from an earlier connection (tcp(7)).
    FastOpenNoCookie,
    SetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_FASTOPEN_NO_COOKIE,
    bool
);

/// Those of the ports that plain connect() can have, in the calling thread's network
/// namespace: a few microseconds each, a quarter of a second for all ports there are.
///
/// # Errors
/// When the kernel cannot be asked: it is older than 6.3, fast open is off for clients
/// (tcp_fastopen), the loopback is down, or this process may not connect.
pub fn connect_can_have(ports: &[u16]) -> io::Result<PortSet> {
    let mut can_have = PortSet::default();
    if ports.is_empty() {
        return Ok(can_have);
    }
    let probe = Probe::open()?;
    for &port in ports {
        if probe.takes(port, NOBODY)? {
            can_have.insert(port);
            connect_unspec(&probe.0)?;
        }
    }
    Ok(can_have)
}

/// Whether connect() gets a port back when a socket of bind() that joined it is gone.
///
/// # Errors
/// As above.
pub(super) fn is_freed_after_bind() -> io::Result<bool> {
    // A port that nobody has, taken by connect() first.
    let (bound, port) = bound(0)?;
    drop(bound);
    let connected = Probe::open()?;
    if !connected.takes(port, NOBODY)? {
        return Err(io::ErrorKind::AddrInUse.into());
    }
    let joining = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    joining.set_reuse_address(true)?;
    joining.bind(&SocketAddr::from((OURS, port)).into())?;
    drop(joining);
    Probe::open()?.takes(port, NOBODY_ELSE)
}

/// A TCP socket that is bound to this port, or to one of the kernel's choice, and the
/// port.
pub(super) fn bound(port: u16) -> io::Result<(Socket, u16)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((OURS, port)).into())?;
    let port = socket.local_addr()?.as_socket().map_or(0, |at| at.port());
    Ok((socket, port))
}

struct Probe(Socket);

impl Probe {
    fn open() -> io::Result<Self> {
        let socket = Socket::new(
            Domain::IPV4,
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        setsockopt(&socket, TcpFastOpenConnect, &true)?;
        setsockopt(&socket, FastOpenNoCookie, &true)?;
        // Programs that share a port by this option keep doing so beside the probe.
        socket.set_reuse_address(true)?;
        Ok(Self(socket))
    }

    /// Whether the kernel gives it this port, which it then has.
    fn takes(&self, port: u16, to: SocketAddrV4) -> io::Result<bool> {
        let range = u32::from(port) << 16 | u32::from(port);
        setsockopt(&self.0, LocalPortRange, &range)?;
        if let Err(error) = self.0.connect(&SocketAddr::from(to).into()) {
            return match error.raw_os_error() {
                Some(libc::EADDRNOTAVAIL) => Ok(false),
                _ => Err(error),
            };
        }
        let chosen = self.0.local_addr()?.as_socket().map(|local| local.port());
        if chosen == Some(port) {
            return Ok(true);
        }
        // The range has just changed and leaves the port out.
        Err(io::ErrorKind::AddrNotAvailable.into())
    }
}
