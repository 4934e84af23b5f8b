//! One socket, as an inet_diag record, a BPF iterator or a flow can tell of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::state::State;

/// The family of a socket as the kernel sees it, whatever its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Inet,
    Inet6,
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    Outbound,
    Inbound,
}

impl Direction {
    pub const ALL: [Self; 2] = [Self::Outbound, Self::Inbound];

    pub fn label(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }
}

/// Two addresses of one family, in network order. A v4-mapped pair is an IPv4
/// pair: both share one space of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    V4 { local: [u8; 4], remote: [u8; 4] },
    V6 { local: [u8; 16], remote: [u8; 16] },
}

impl Addresses {
    pub fn local(&self) -> IpAddr {
        match *self {
            Self::V4 { local, .. } => Ipv4Addr::from(local).into(),
            Self::V6 { local, .. } => Ipv6Addr::from(local).into(),
        }
    }

    pub fn remote(&self) -> IpAddr {
        match *self {
            Self::V4 { remote, .. } => Ipv4Addr::from(remote).into(),
            Self::V6 { remote, .. } => Ipv6Addr::from(remote).into(),
        }
    }
}

/// What the two queue words mean depends on the state beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queues {
    /// Connections waiting for accept(), and how many may wait.
    Backlog { waiting: u32, limit: u32 },
    /// Bytes the owner has not read, and bytes the peer has not acknowledged.
    Bytes { unread: u32, unacknowledged: u32 },
}

/// What is counted of a socket. A plain value: whoever observes sockets fills it,
/// whoever counts them needs to know nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Socket {
    pub family: Family,
    pub state: State,
    pub addresses: Addresses,
    pub local_port: u16,
    pub remote_port: u16,
    /// Index of the network device that the socket is bound to, 0 for none.
    pub device: u32,
    /// Id of the cgroup that made it, 0 where the kernel tells none: TIME_WAIT and
    /// requests have no owner.
    pub cgroup: u64,
    /// Milliseconds until a TIME_WAIT socket, or a FIN_WAIT2 one that the kernel
    /// holds after close(), goes away. `None` for every other socket.
    pub time_wait_remaining_ms: Option<u32>,
    pub queues: Queues,
    /// An IPv6 wildcard that leaves IPv4 alone.
    pub v6_only: bool,
    /// IP_BIND_ADDRESS_NO_PORT: connect() chose the port although the socket was
    /// bound first.
    pub bind_address_no_port: bool,
}
