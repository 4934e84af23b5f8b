//! Requests for socket dumps (`struct inet_diag_req`, `struct inet_diag_req_v2`,
//! include/uapi/linux/inet_diag.h).

use netlink_packet_core::Emitable;
use netlink_packet_sock_diag::constants::{
    AF_INET, AF_INET6, IPPROTO_TCP, IPPROTO_UDP, SOCK_DIAG_BY_FAMILY,
};
use netlink_packet_sock_diag::inet::{ExtensionFlags, InetRequest, SocketId, StateFlags};

/// The message type that preceded SOCK_DIAG_BY_FAMILY. It asks for TCP sockets
/// of both families in one walk of the hash table, which its successor cannot.
const TCPDIAG_GETSOCK: u16 = 18;
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
    /// Those that are bound and nothing more.
    TcpBoundOnly,
    Udp,
}

impl Dump {
    /// The requests that make up the dump. `idiag_ext` stays 0: what is read of
    /// the attributes comes unasked. `by_family` is for kernels that no longer
    /// answer the older message type.
    pub(super) fn requests(self, by_family: bool) -> Vec<(u16, Vec<u8>)> {
        let (protocol, states) = match self {
            Self::TcpListeners => (IPPROTO_TCP, LISTEN_ONLY),
            Self::TcpSockets { bound: true } => (IPPROTO_TCP, ALL_STATES & !LISTEN_ONLY),
            Self::TcpSockets { bound: false } => {
                (IPPROTO_TCP, ALL_STATES & !LISTEN_ONLY & !BOUND_ONLY)
            }
            Self::TcpBoundOnly => (IPPROTO_TCP, BOUND_ONLY),
            Self::Udp => (IPPROTO_UDP, ALL_STATES),
        };
        if self.has_older_request() && !by_family {
            return vec![(TCPDIAG_GETSOCK, both_families(states))];
        }
        [AF_INET, AF_INET6]
            .map(|family| (SOCK_DIAG_BY_FAMILY, one_family(family, protocol, states)))
            .into()
    }

    pub(super) fn has_older_request(self) -> bool {
        self != Self::Udp
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
