//! How a test opens a socket, as data: the same plan runs here or in a `Crowd`.

#![allow(unsafe_code, reason = "two socket options have no safe wrapper")]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

use serde::{Deserialize, Serialize};
use socket2::{Domain, Socket, Type};

use super::patience;

/// How many seconds a peer on this machine may take to answer.
pub const ANSWER: u32 = 5;

/// The calls that make one client socket, in the kernel's order. A v4-mapped address makes a dual-stack AF_INET6 socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    datagram: bool,
    bind: Option<SocketAddr>,
    no_port: bool,
    reuse_address: bool,
    device: Option<String>,
    nonblocking: bool,
    connect: Option<SocketAddr>,
    send: Option<SocketAddr>,
}

impl Plan {
    const NOTHING: Self = Self {
        datagram: false,
        bind: None,
        no_port: false,
        reuse_address: false,
        device: None,
        nonblocking: false,
        connect: None,
        send: None,
    };

    /// connect() and nothing else.
    pub fn tcp(to: SocketAddr) -> Self {
        Self {
            connect: Some(to),
            ..Self::NOTHING
        }
    }

    /// Bound, neither connected nor listening. Port 0 lets the kernel choose.
    pub fn tcp_bound(at: SocketAddr) -> Self {
        Self {
            bind: Some(at),
            ..Self::NOTHING
        }
    }

    /// A UDP socket, connected.
    pub fn udp(to: SocketAddr) -> Self {
        Self {
            datagram: true,
            ..Self::tcp(to)
        }
    }

    /// A UDP socket, bound only.
    pub fn udp_bound(at: SocketAddr) -> Self {
        Self {
            datagram: true,
            ..Self::tcp_bound(at)
        }
    }

    /// A UDP socket that sends one byte unbound: the kernel binds the wildcard.
    pub fn udp_send(to: SocketAddr) -> Self {
        Self {
            datagram: true,
            send: Some(to),
            ..Self::NOTHING
        }
    }

    /// bind(source, 0) first: the kernel chooses the port before it knows the peer.
    pub fn from(self, source: IpAddr) -> Self {
        self.bound_to(SocketAddr::new(source, 0))
    }

    /// bind() to an address and a port of the caller's choice.
    pub fn bound_to(mut self, source: SocketAddr) -> Self {
        self.bind = Some(source);
        self
    }

    /// IP_BIND_ADDRESS_NO_PORT (ip(7)): bind() sets the address only.
    pub fn no_port(mut self) -> Self {
        self.no_port = true;
        self
    }

    /// SO_REUSEADDR.
    pub fn reuse_address(mut self) -> Self {
        self.reuse_address = true;
        self
    }

    /// SO_BINDTODEVICE.
    pub fn device(mut self, interface: &str) -> Self {
        self.device = Some(interface.to_owned());
        self
    }

    /// connect() does not wait: toward `Listener::silent` it stays in SYN_SENT.
    pub fn nonblocking(mut self) -> Self {
        self.nonblocking = true;
        self
    }

    /// Carries the plan out.
    ///
    /// # Errors
    /// That of the first call which fails; ETIMEDOUT after five seconds without
    /// an answer. EINPROGRESS is none where connect() does not wait.
    pub fn open(&self) -> io::Result<Socket> {
        let known = self.connect.or(self.bind).or(self.send);
        let kind = if self.datagram {
            Type::DGRAM
        } else {
            Type::STREAM
        };
        let socket = Socket::new(
            Domain::for_address(known.expect("every plan has one")),
            kind,
            None,
        )?;
        if self.reuse_address {
            socket.set_reuse_address(true)?;
        }
        if let Some(device) = &self.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        if self.no_port {
            set_option(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        }
        if let Some(source) = self.bind {
            socket.bind(&source.into())?;
        }
        socket.set_nonblocking(self.nonblocking)?;
        // A backlog that is full by mistake should not cost the kernel's two minutes.
        socket.set_write_timeout(Some(patience::seconds(ANSWER)))?;
        if let Some(to) = self.connect {
            match socket.connect(&to.into()) {
                Err(error) if self.nonblocking && is_under_way(&error) => {}
                Err(error) if is_under_way(&error) => {
                    return Err(io::Error::from_raw_os_error(libc::ETIMEDOUT));
                }
                result => result?,
            }
        }
        if let Some(to) = self.send {
            socket.send_to(b"x", &to.into())?;
        }
        Ok(socket)
    }

    /// Opens exactly `count` sockets.
    ///
    /// # Errors
    /// The first refusal.
    pub fn open_many(&self, count: usize) -> io::Result<Vec<Socket>> {
        (0..count).map(|_| self.open()).collect()
    }
}

fn is_under_way(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINPROGRESS)
}

/// # Errors
/// That of setsockopt().
pub fn set_option(socket: &Socket, level: i32, option: i32, value: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the kernel reads `length` bytes of `value`, which outlives the call.
    match unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            length,
        )
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
