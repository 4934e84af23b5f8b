//! A view of one socket in a dump (`struct inet_diag_msg` and the attributes
//! behind it, include/uapi/linux/inet_diag.h).

use std::net::Ipv6Addr;

use netlink_packet_sock_diag::constants::{AF_INET6, INET_DIAG_SKV6ONLY};

use crate::kernel::netlink::attributes::Attributes;
use crate::kernel::netlink::octets;
use crate::model::socket::{Addresses, Family, Queues, Socket};
use crate::model::state::State;

/// u64 inode number of the socket's cgroup v2 directory; sent unasked since 5.9.
const INET_DIAG_CGROUP_ID: u16 = 21;
/// `struct inet_diag_sockopt`; sent unasked since 5.10.
const INET_DIAG_SOCKOPT: u16 = 22;
/// `idiag_timer` of a TIME_WAIT (or kernel-held FIN_WAIT2) socket.
const TIMER_TIME_WAIT: u8 = 3;

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

    /// The record as a value. Ports and addresses travel in network order, unlike
    /// the rest.
    #[inline]
    pub fn socket(&self) -> Socket {
        let family = match self.fixed[0] {
            AF_INET6 => Family::Inet6,
            _ => Family::Inet,
        };
        let state = State::from_kernel(self.fixed[1]);
        let (receive, send) = (self.word(56), self.word(60));
        let (cgroup, option_bits) = self.cgroup_and_options();
        Socket {
            family,
            state,
            addresses: self.addresses(family),
            local_port: self.local_port(),
            remote_port: u16::from_be_bytes(self.bytes(6)),
            device: self.word(40),
            cgroup,
            time_wait_remaining_ms: (self.fixed[2] == TIMER_TIME_WAIT).then(|| self.word(52)),
            queues: match state {
                State::Listen => Queues::Backlog {
                    waiting: receive,
                    limit: send,
                },
                _ => Queues::Bytes {
                    unread: receive,
                    unacknowledged: send,
                },
            },
            // Only of listeners and unconnected sockets.
            v6_only: matches!(state, State::Listen | State::Close)
                && self.attribute(INET_DIAG_SKV6ONLY) == Some(&[1]),
            bind_address_no_port: option_bits & 1 == 1,
        }
    }

    /// The cgroup's id, 0 for none, and the second byte of `struct inet_diag_sockopt`.
    /// They come last where nothing was asked for (net/ipv4/inet_diag.c,
    /// `inet_diag_msg_attrs_fill`): looking there first spares each socket the walk, a
    /// quarter of the time outside the kernel.
    #[inline]
    fn cgroup_and_options(&self) -> (u64, u8) {
        const CGROUP: [u8; 4] = header(12, INET_DIAG_CGROUP_ID);
        const OPTIONS: [u8; 4] = header(6, INET_DIAG_SOCKOPT);
        if let Some(last) = self.attributes.last_chunk::<20>()
            && (octets(last, 0), octets(last, 12)) == (CGROUP, OPTIONS)
        {
            return (u64::from_ne_bytes(octets(last, 4)), last[17]);
        }
        let options = self.attribute(INET_DIAG_SOCKOPT);
        let bits = options.and_then(|options| options.get(1).copied());
        (self.cgroup_id().unwrap_or(0), bits.unwrap_or(0))
    }

    #[inline]
    pub fn local_port(&self) -> u16 {
        u16::from_be_bytes(self.bytes(4))
    }

    /// Whether the kernel sends the socket's options at all.
    pub fn has_options(&self) -> bool {
        self.attribute(INET_DIAG_SOCKOPT).is_some()
    }

    /// Inode number of the cgroup v2 directory of the socket. `None` for
    /// TIME_WAIT and request sockets, which have no owner.
    pub fn cgroup_id(&self) -> Option<u64> {
        let value = self.attribute(INET_DIAG_CGROUP_ID)?;
        Some(u64::from_ne_bytes(value.try_into().ok()?))
    }

    /// Of the socket's file; 0 once nobody has it open.
    pub fn inode(&self) -> u32 {
        self.word(68)
    }

    fn attribute(&self, wanted: u16) -> Option<&'b [u8]> {
        let mut attributes = Attributes {
            rest: self.attributes,
        };
        attributes
            .find(|&(kind, _)| kind == wanted)
            .map(|(_, value)| value)
    }

    #[inline]
    fn addresses(&self, family: Family) -> Addresses {
        if family == Family::Inet {
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

    #[inline]
    fn word(&self, offset: usize) -> u32 {
        u32::from_ne_bytes(self.bytes(offset))
    }

    #[inline]
    fn bytes<const N: usize>(&self, offset: usize) -> [u8; N] {
        octets(self.fixed, offset)
    }
}

/// `struct nlattr`: length with this header, and type.
const fn header(length: u16, kind: u16) -> [u8; 4] {
    let (length, kind) = (length.to_ne_bytes(), kind.to_ne_bytes());
    [length[0], length[1], kind[0], kind[1]]
}

/// The IPv4 address inside `::ffff:a.b.c.d`.
#[inline]
fn mapped(address: &[u8; 16]) -> Option<[u8; 4]> {
    match address {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d] => Some([*a, *b, *c, *d]),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
