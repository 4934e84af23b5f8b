//! What the settings of a namespace mean for its ports.

use crate::model::ports::{PortRange, PortSet};

/// Length of TIME_WAIT, fixed in Linux (TCP_TIMEWAIT_LEN, include/net/tcp.h).
pub const TIME_WAIT_MS: u32 = 60_000;
/// Over how long the rate of active closes is taken.
pub const RECENT_MS: u32 = 10_000;

/// Whether connect() takes the tuple of a TIME_WAIT socket over, once that is
/// old enough (`tcp_twsk_unique`, net/ipv4/tcp_ipv4.c).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    #[default]
    Never,
    Always,
    /// When an end is on loopback.
    Loopback,
}

/// Which ports connect() and bind(0) hand out, and which they take over.
#[derive(Clone, Debug)]
pub struct PortPolicy {
    pub range: PortRange,
    /// The range without the reserved ports.
    pub effective: PortSet,
    pub reuse: Reuse,
    /// How old TIME_WAIT must be for that, in milliseconds.
    pub reuse_delay_ms: u32,
    /// What earlier polls know of the ports.
    pub known: KnownPorts,
    /// Whether it pays to look into every port that is not known: the kernel answers.
    pub can_ask: bool,
}

/// Ports in the range whose maker is known.
#[derive(Clone, Debug, Default)]
pub struct KnownPorts {
    /// bind()'s: plain connect() cannot have them.
    pub lost: PortSet,
    /// connect()'s.
    pub free: PortSet,
}

impl Default for PortPolicy {
    /// Without a range nothing is in it.
    fn default() -> Self {
        Self {
            range: PortRange { first: 0, last: 0 },
            effective: PortSet::default(),
            reuse: Reuse::Never,
            reuse_delay_ms: 0,
            known: KnownPorts::default(),
            can_ask: false,
        }
    }
}

impl PortPolicy {
    /// Whether connect() takes this port before those of the other parity.
    #[inline]
    pub fn prefers(&self, port: u16) -> bool {
        (port ^ self.range.first) & 1 == 0
    }
}
