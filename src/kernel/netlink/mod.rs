//! Netlink dumps (include/uapi/linux/netlink.h, RFC 3549): the socket, the
//! dump, the attributes, and a name for every ending that is not a whole dump.

pub mod attributes;
pub mod dump;
pub mod transport;

use std::io;
use std::time::Duration;

/// Why a dump is not whole.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    #[error("netlink {call}")]
    Call {
        call: &'static str,
        #[source]
        source: io::Error,
    },
    /// The kernel answered the request with an errno.
    #[error("kernel refused the dump")]
    Refused(#[source] io::Error),
    /// The kernel gave up half way: DONE carried an errno.
    #[error("kernel ended the dump early")]
    EndedEarly(#[source] io::Error),
    #[error("datagram of {sent} bytes does not fit the buffer of {capacity}")]
    Truncated { sent: usize, capacity: usize },
    #[error("malformed netlink message: {0}")]
    Malformed(&'static str),
    #[error("answer to request {found} while waiting for {expected}")]
    ForeignSequence { expected: u32, found: u32 },
    #[error("sockets changed while the kernel dumped them, twice in a row")]
    Interrupted,
    #[error("receive buffer overrun: the kernel dropped part of the dump")]
    Overrun,
    #[error("dump not finished after {0:?}")]
    Deadline(Duration),
    #[error("stopped")]
    Stopped,
}

impl DumpError {
    /// A word for the `reason` label of the error counter.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Call { .. } => "call",
            Self::Refused(_) => "refused",
            Self::EndedEarly(_) => "ended_early",
            Self::Truncated { .. } => "truncated",
            Self::Malformed(_) => "malformed",
            Self::ForeignSequence { .. } => "foreign_sequence",
            Self::Interrupted => "interrupted",
            Self::Overrun => "overrun",
            Self::Deadline(_) => "deadline",
            Self::Stopped => "stopped",
        }
    }

    /// The kernel does not offer this dump at all: no handler for the family or
    /// protocol, because the module is neither built in nor loadable.
    pub fn is_absent(&self) -> bool {
        match self {
            Self::Refused(error) => {
                matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EOPNOTSUPP))
            }
            Self::Call {
                call: "socket",
                source,
            } => source.raw_os_error() == Some(libc::EPROTONOSUPPORT),
            _ => false,
        }
    }

    fn call(call: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Call { call, source }
    }
}

/// `N` bytes of a fixed part, from an offset that lies within it.
#[inline]
pub(crate) fn octets<const N: usize, const M: usize>(of: &[u8; M], offset: usize) -> [u8; N] {
    let mut octets = [0; N];
    octets.copy_from_slice(&of[offset..offset + N]);
    octets
}
