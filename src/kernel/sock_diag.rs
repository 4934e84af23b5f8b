//! Socket dumps over NETLINK_SOCK_DIAG (include/uapi/linux/inet_diag.h,
//! net/ipv4/inet_diag.c, net/ipv4/udp_diag.c). No privilege is needed.

use std::net::Ipv6Addr;
use std::time::Instant;

use netlink_packet_core::Emitable;
use netlink_packet_sock_diag::constants::{
    AF_INET, AF_INET6, INET_DIAG_SKV6ONLY, IPPROTO_TCP, IPPROTO_UDP, SOCK_DIAG_BY_FAMILY,
};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

use super::netlink::{DumpError, Dumper, KernelWire, Patience, Request, Wire, octets};
use super::state::State;

/// The message type that preceded SOCK_DIAG_BY_FAMILY. It asks for TCP sockets
/// of both families in one walk of the hash table, which its successor cannot.
const TCPDIAG_GETSOCK: u16 = 18;
/// u64 inode number of the socket's cgroup v2 directory; sent unasked since 5.9.
const INET_DIAG_CGROUP_ID: u16 = 21;
/// `struct inet_diag_sockopt`; sent unasked since 5.10.
const INET_DIAG_SOCKOPT: u16 = 22;
/// `idiag_timer` of a TIME_WAIT (or kernel-held FIN_WAIT2) socket.
const TIMER_TIME_WAIT: u8 = 3;

const ALL_STATES: u32 = !0;
/// TCP_BOUND_INACTIVE, known to kernels since 6.8.
const BOUND_ONLY: u32 = 1 << 13;
const LISTEN_ONLY: u32 = 1 << 10;

/// What to ask for, always in both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dump {
    /// Listeners: skips the connection hash.
    TcpListeners,
    /// Every other TCP socket. With `bound`, those that are bound and nothing
    /// more come first: the kernel then walks the hash of bound ports as well,
    /// which costs about a fifth of the rest.
    TcpSockets {
        bound: bool,
    },
    Udp,
}

impl Dump {
    /// The requests that make up the dump. `idiag_ext` stays 0: what is read of
    /// the attributes comes unasked. `by_family` is for kernels that no longer
    /// answer the older message type.
    fn requests(self, by_family: bool) -> Vec<(u16, Vec<u8>)> {
        let (protocol, states) = match self {
            Self::TcpListeners => (IPPROTO_TCP, LISTEN_ONLY),
            Self::TcpSockets { bound: true } => (IPPROTO_TCP, ALL_STATES & !LISTEN_ONLY),
            Self::TcpSockets { bound: false } => {
                (IPPROTO_TCP, ALL_STATES & !LISTEN_ONLY & !BOUND_ONLY)
            }
            Self::Udp => (IPPROTO_UDP, ALL_STATES),
        };
        if self.has_older_request() && !by_family {
            return vec![(TCPDIAG_GETSOCK, both_families(states))];
        }
        [AF_INET, AF_INET6]
            .map(|family| (SOCK_DIAG_BY_FAMILY, one_family(family, protocol, states)))
            .into()
    }

    fn has_older_request(self) -> bool {
        matches!(self, Self::TcpListeners | Self::TcpSockets { .. })
    }
}

/// `struct inet_diag_req`: family, src_len, dst_len, ext, id (48), states, dbs.
fn both_families(states: u32) -> Vec<u8> {
    let mut bytes = vec![0; 52];
    bytes.extend(states.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    bytes
}

/// `struct inet_diag_req_v2`.
fn one_family(family: u8, protocol: u8, states: u32) -> Vec<u8> {
    let request = InetRequest {
        family,
        protocol,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::from_bits_retain(states),
        socket_id: if family == AF_INET {
            SocketId::new_v4()
        } else {
            SocketId::new_v6()
        },
    };
    let mut bytes = vec![0; request.buffer_len()];
    request.emit(&mut bytes);
    bytes
}

/// A sock_diag client of one network namespace.
pub struct SockDiag<W = KernelWire> {
    open: Box<dyn FnMut() -> Result<W, DumpError> + Send>,
    dumper: Option<Dumper<W>>,
    /// The older message type was refused and its successor was not.
    family_by_family: bool,
    interrupted: u64,
}

impl SockDiag<KernelWire> {
    /// For the namespace of the calling thread. The socket is opened by the
    /// first dump, and anew after every failure.
    pub fn new() -> Self {
        Self::with(|| KernelWire::open(NETLINK_SOCK_DIAG))
    }
}

impl Default for SockDiag<KernelWire> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W: Wire> SockDiag<W> {
    /// `open` is called by the first dump, and again after every failure.
    pub fn with(open: impl FnMut() -> Result<W, DumpError> + Send + 'static) -> Self {
        Self {
            open: Box::new(open),
            dumper: None,
            family_by_family: false,
            interrupted: 0,
        }
    }

    /// How many dumps the kernel flagged as interrupted, since the start.
    pub fn interrupted(&self) -> u64 {
        self.interrupted
    }

    /// One whole dump into `into`, after `restart(into)` has emptied it. An
    /// interrupted dump is tried once more.
    ///
    /// # Errors
    /// Any ending but a whole dump. What `into` holds then is to be thrown away.
    pub fn dump<T>(
        &mut self,
        what: Dump,
        patience: Patience<'_>,
        into: &mut T,
        restart: impl Fn(&mut T),
        mut each: impl FnMut(&mut T, &SocketRecord<'_>),
    ) -> Result<(), DumpError> {
        let (started, mut is_second) = (Instant::now(), false);
        let whole = patience;
        loop {
            restart(into);
            let timeout = whole.timeout.saturating_sub(started.elapsed());
            let patience = Patience { timeout, ..whole };
            match self.attempt(what, patience, &mut |record| each(into, record)) {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    self.interrupted += 1;
                    if is_second {
                        return Err(DumpError::Interrupted);
                    }
                    is_second = true;
                }
                Err(error) => {
                    // What is left of the dump must not answer the next request.
                    self.dumper = None;
                    if !what.has_older_request() || !error.is_absent() {
                        return Err(error);
                    }
                    // Where both forms are refused it is not the form that the
                    // kernel lacks: begin with the older one again next time.
                    self.family_by_family = !self.family_by_family;
                    if !self.family_by_family {
                        return Err(error);
                    }
                }
            }
        }
    }

    fn attempt(
        &mut self,
        what: Dump,
        patience: Patience<'_>,
        each: &mut impl FnMut(&SocketRecord<'_>),
    ) -> Result<bool, DumpError> {
        let mut consistent = true;
        for (kind, payload) in what.requests(self.family_by_family) {
            let dumper = match &mut self.dumper {
                Some(dumper) => dumper,
                none => none.insert(Dumper::new((self.open)()?)),
            };
            let request = Request {
                kind,
                payload: &payload,
            };
            let mut malformed = false;
            consistent &= dumper.dump(&request, patience, |payload| {
                match SocketRecord::parse(payload) {
                    Some(record) => each(&record),
                    None => malformed = true,
                }
            })?;
            if malformed {
                return Err(DumpError::Malformed("socket record cut short"));
            }
        }
        Ok(consistent)
    }
}

/// The family of a socket as the kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Inet,
    Inet6,
}

/// What the two queue words mean depends on the state beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queues {
    /// Connections waiting for `accept`, and how many may wait.
    Backlog { waiting: u32, limit: u32 },
    /// Bytes the owner has not read, and bytes the peer has not acknowledged.
    Bytes { unread: u32, unacknowledged: u32 },
}

/// Two addresses of one family. A v4-mapped pair is an IPv4 pair: both share
/// one space of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addresses {
    /// Octets in network order.
    V4 {
        local: [u8; 4],
        remote: [u8; 4],
    },
    V6 {
        local: [u8; 16],
        remote: [u8; 16],
    },
}

const RECORD_BYTES: usize = 72;

/// A view of one `struct inet_diag_msg` and the attributes behind it.
#[derive(Clone, Copy, Debug)]
pub struct SocketRecord<'b> {
    fixed: &'b [u8; RECORD_BYTES],
    attributes: &'b [u8],
}

impl<'b> SocketRecord<'b> {
    /// `None` when the payload is shorter than the fixed part.
    #[inline]
    pub fn parse(payload: &'b [u8]) -> Option<Self> {
        let (fixed, attributes) = payload.split_first_chunk()?;
        Some(Self { fixed, attributes })
    }

    #[inline]
    pub fn family(&self) -> Family {
        if self.fixed[0] == AF_INET6 {
            Family::Inet6
        } else {
            Family::Inet
        }
    }

    #[inline]
    pub fn state(&self) -> State {
        State::from_kernel(self.fixed[1])
    }

    /// Ports travel in network order, unlike the rest of the record.
    #[inline]
    pub fn local_port(&self) -> u16 {
        u16::from_be_bytes(self.bytes(4))
    }

    #[inline]
    pub fn remote_port(&self) -> u16 {
        u16::from_be_bytes(self.bytes(6))
    }

    #[inline]
    pub fn addresses(&self) -> Addresses {
        if self.family() == Family::Inet {
            return Addresses::V4 {
                local: self.bytes(8),
                remote: self.bytes(24),
            };
        }
        let (local, remote): ([u8; 16], [u8; 16]) = (self.bytes(8), self.bytes(24));
        match (mapped(&local), mapped(&remote)) {
            (Some(local), Some(remote)) => Addresses::V4 { local, remote },
            // Bound to a mapped address, and not connected: the remote is `::`.
            (Some(local), None) if remote == Ipv6Addr::UNSPECIFIED.octets() => Addresses::V4 {
                local,
                remote: [0; 4],
            },
            _ => Addresses::V6 { local, remote },
        }
    }

    /// Index of the interface that the socket is bound to, 0 for none.
    #[inline]
    pub fn interface(&self) -> u32 {
        self.word(40)
    }

    /// Milliseconds until a TIME_WAIT socket, or a FIN_WAIT2 one that the
    /// kernel holds after `close`, goes away. `None` for every other socket.
    #[inline]
    pub fn time_wait_remaining_ms(&self) -> Option<u32> {
        (self.fixed[2] == TIMER_TIME_WAIT).then(|| self.word(52))
    }

    pub fn queues(&self) -> Queues {
        let (receive, send) = (self.word(56), self.word(60));
        match self.state() {
            State::Listen => Queues::Backlog {
                waiting: receive,
                limit: send,
            },
            _ => Queues::Bytes {
                unread: receive,
                unacknowledged: send,
            },
        }
    }

    /// Inode number of the cgroup v2 directory of the socket. `None` for
    /// TIME_WAIT and request sockets, which have no owner.
    pub fn cgroup_id(&self) -> Option<u64> {
        let value = self.attribute(INET_DIAG_CGROUP_ID)?;
        Some(u64::from_ne_bytes(value.try_into().ok()?))
    }

    /// Whether an IPv6 wildcard leaves IPv4 alone. The kernel says so of
    /// listeners and of unconnected sockets only.
    pub fn is_v6_only(&self) -> bool {
        self.attribute(INET_DIAG_SKV6ONLY)
            .is_some_and(|value| value.first() == Some(&1))
    }

    /// Whether IP_BIND_ADDRESS_NO_PORT is set: the port of such a socket was
    /// chosen by connect() although it was bound first.
    pub fn binds_address_without_port(&self) -> bool {
        self.attribute(INET_DIAG_SOCKOPT)
            .and_then(|value| value.get(1))
            .is_some_and(|bits| bits & 1 == 1)
    }

    fn attribute(&self, wanted: u16) -> Option<&'b [u8]> {
        Attributes {
            rest: self.attributes,
        }
        .find(|&(kind, _)| kind == wanted)
        .map(|(_, value)| value)
    }

    #[inline]
    fn word(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.bytes(offset))
    }

    #[inline]
    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        octets(self.fixed, offset)
    }
}

/// The IPv4 address inside `::ffff:a.b.c.d`.
#[inline]
fn mapped(address: &[u8; 16]) -> Option<[u8; 4]> {
    match address {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Some([*a, *b, *c, *d]),
        _ => None,
    }
}

/// Netlink attributes; ends at the first that does not fit.
pub(super) struct Attributes<'b> {
    pub(super) rest: &'b [u8],
}

impl<'b> Iterator for Attributes<'b> {
    /// Type without its flag bits, and value.
    type Item = (u16, &'b [u8]);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        const FLAGS: u16 = 0xc000;
        let (&length, rest) = self.rest.split_first_chunk()?;
        let &kind = rest.first_chunk()?;
        let length = usize::from(u16::from_ne_bytes(length));
        let value = self.rest.get(4..length)?;
        let next = length.next_multiple_of(4).min(self.rest.len());
        self.rest = &self.rest[next..];
        Some((u16::from_ne_bytes(kind) & !FLAGS, value))
    }
}

#[cfg(test)]
mod tests;
