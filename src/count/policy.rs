//! What the settings of a namespace mean for its ports.

use super::counters::Marks;
use crate::model::ports::{PortRange, PortSet};

/// Length of TIME_WAIT, fixed in Linux (TCP_TIMEWAIT_LEN, include/net/tcp.h).
pub const TIME_WAIT_MS: u32 = 60_000;
/// Over how long the rate of active closes is taken.
pub const RECENT_MS: u32 = 10_000;
/// How little of TIME_WAIT must be left to tell that older ones may be gone.
const AGED_MS: u32 = 5_000;

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

impl Reuse {
    /// Whether a tuple may be taken over, with an end on loopback or without.
    #[inline]
    pub fn allows(self, is_local: bool) -> bool {
        self == Self::Always || (self == Self::Loopback && is_local)
    }
}

/// Which ports connect() and bind(0) hand out, and which they take over: none by default.
#[derive(Clone, Debug, Default)]
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

impl PortPolicy {
    /// Whether connect() takes this port before those of the other parity.
    #[inline]
    pub fn prefers(&self, port: u16) -> bool {
        (port ^ self.range.first) & 1 == 0
    }

    /// What the age of a TIME_WAIT socket says, of which so many milliseconds are left.
    /// `is_local`: its device or either end is loopback.
    #[inline]
    pub fn marks_of_time_wait(&self, remaining: u32, in_range: bool, is_local: bool) -> Marks {
        let age = TIME_WAIT_MS.saturating_sub(remaining);
        let marks = Marks::RECENT.when(age <= RECENT_MS) | Marks::AGED.when(remaining < AGED_MS);
        if !in_range || age <= self.reuse_delay_ms {
            return marks;
        }
        marks | Marks::SETTLED | Marks::REUSABLE.when(self.reuse.allows(is_local))
    }
}
