//! What goes wrong on a host, done for real in the test's own namespace.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netlink_sys::{Socket as Netlink, SocketAddr as Kernel, protocols::NETLINK_NETFILTER};
use socket2::{Domain, Socket, Type};

use crate::support::netns::{nft, set_sysctl, sysctl};
use crate::support::sockets::{Listener, abandon, close_in_turn};

/// The end of the ports toward one destination.
pub struct Exhaustion {
    pub at: Instant,
    pub connections: usize,
}

/// Opens connections to `destination` and closes them, the client first, at a
/// steady rate until connect() fails with EADDRNOTAVAIL.
///
/// # Errors
/// Any other refusal, and none at all within `limit` connections.
pub fn use_up_ports(
    destination: SocketAddr,
    per_second: f64,
    limit: usize,
) -> io::Result<Exhaustion> {
    let listener = Listener::at(destination)?;
    let start = Instant::now();
    for connections in 0..limit {
        let due = start + Duration::from_secs_f64(connections as f64 / per_second);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        match listener.pair(&listener.plan()) {
            Ok((client, server)) => close_in_turn(client, server)?,
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                let at = Instant::now();
                return Ok(Exhaustion { at, connections });
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("the ports did not run out"))
}

/// A server that never closes what its clients have closed: 60 connections in
/// CLOSE_WAIT at once, three more every second, all closed when `stop` is set.
///
/// # Errors
/// Those of the sockets.
pub fn leak_close_wait(at: SocketAddr, stop: &AtomicBool) -> io::Result<()> {
    let listener = Listener::at(at)?;
    let mut leaked = Vec::new();
    while !stop.load(Ordering::Relaxed) && leaked.len() < 400 {
        let (client, server) = listener.pair(&listener.plan())?;
        abandon(client, &server)?;
        leaked.push(server);
        if leaked.len() > 60 {
            thread::sleep(Duration::from_millis(333));
        }
    }
    Ok(())
}

/// A program that listens and is stuck, and the clients that wait for it.
pub struct Stuck {
    listener: Socket,
    clients: Vec<Socket>,
}

impl Stuck {
    /// # Errors
    /// Those of the sockets.
    pub fn at(address: SocketAddr, backlog: i32) -> io::Result<Self> {
        let listener = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        listener.bind(&address.into())?;
        listener.listen(backlog)?;
        let clients = (0..backlog)
            .map(|_| {
                let client = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
                client.connect(&address.into())?;
                Ok(client)
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { listener, clients })
    }

    /// Takes everybody in, and goes on listening.
    ///
    /// # Errors
    /// That of accept().
    pub fn wake_up(mut self) -> io::Result<Socket> {
        for _client in self.clients.drain(..) {
            self.listener.accept()?;
        }
        Ok(self.listener)
    }
}

/// Entries that may be made in one test: about 100 MB of the kernel's memory.
const AFFORDABLE: u64 = 300_000;

/// Fills this namespace's own connection tracking table to 92 % of the machine's
/// maximum, which is compared with each namespace by itself: no other one notices.
/// One UDP packet makes one entry. False where that is too dear or not offered;
/// the maximum itself can be lowered for the whole machine only.
///
/// # Errors
/// Those of the sockets.
pub fn fill_conntrack() -> io::Result<bool> {
    let maximum = sysctl("net.netfilter.nf_conntrack_max").and_then(|text| text.parse().ok());
    let Some(maximum) = maximum.filter(|maximum| (1..=AFFORDABLE).contains(maximum)) else {
        return Ok(false);
    };
    // A rule that asks for the state is what turns tracking on in a namespace.
    // The packets end after they were tracked, before anybody answers them.
    nft("table inet test {
        chain out { type filter hook output priority 0; ct state new accept; }
        chain in { type filter hook input priority 0; ip daddr 127.7.0.0/16 drop; }
    }");
    set_sysctl("net.netfilter.nf_conntrack_udp_timeout", 120);
    let socket = UdpSocket::bind("127.0.0.1:2000")?;
    for entry in 0..maximum * 92 / 100 {
        let (host, port) = (entry / 60_000, entry % 60_000);
        socket.send_to(b"x", (format!("127.7.0.{}", host + 1), port as u16 + 1))?;
    }
    Ok(true)
}

/// What `conntrack -F` does: IPCTNL_MSG_CT_DELETE without a tuple
/// (linux/netfilter/nfnetlink_conntrack.h).
///
/// # Errors
/// Those of the socket, and the kernel's.
pub fn flush_conntrack() -> io::Result<()> {
    const SUBSYSTEM_CTNETLINK: u16 = 1;
    const DELETE: u16 = 2;
    const REQUEST_AND_ACK: u16 = 1 | 4;
    let mut request = Vec::new();
    request.extend(20_u32.to_ne_bytes());
    request.extend((SUBSYSTEM_CTNETLINK << 8 | DELETE).to_ne_bytes());
    request.extend(REQUEST_AND_ACK.to_ne_bytes());
    request.extend([0; 12]);
    let mut socket = Netlink::new(NETLINK_NETFILTER)?;
    socket.bind_auto()?;
    socket.send_to(&request, &Kernel::new(0, 0), 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let errno = answer.get(16..20).and_then(|bytes| bytes.try_into().ok());
    match errno.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(errno) => Err(io::Error::from_raw_os_error(-errno)),
        None => Err(io::Error::other("the answer is cut")),
    }
}
