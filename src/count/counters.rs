//! What is counted for a key, and one socket of it in a word.

use std::ops::BitOr;

use crate::model::state::{State, StateCounts};

/// What is said of one socket beside its state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(u16);

impl Marks {
    pub const NONE: Self = Self(0);
    /// The local port lies in the ephemeral range and is not reserved.
    pub const IN_RANGE: Self = Self(1 << 4);
    /// … and has the parity that connect() prefers.
    pub const PREFERRED: Self = Self(1 << 5);
    /// … and plain connect() has lost the port altogether.
    pub const LOST: Self = Self(1 << 6);
    /// In TIME_WAIT, and the kernel would give its tuple away now.
    pub const REUSABLE: Self = Self(1 << 7);
    /// In TIME_WAIT, and was closed within the last ten seconds.
    pub const RECENT: Self = Self(1 << 8);
    /// In TIME_WAIT, and older than what the kernel waits before reuse.
    pub const SETTLED: Self = Self(1 << 9);
    /// In the range, outbound, and of the first cgroup that was seen on its key.
    pub const OWN: Self = Self(1 << 11);
    /// In TIME_WAIT, and about to leave it: others like it may be gone already.
    pub const AGED: Self = Self(1 << 10);

    /// These where a condition holds, none elsewhere.
    #[inline]
    pub fn when(self, condition: bool) -> Self {
        if condition { self } else { Self::NONE }
    }

    #[inline]
    pub fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// 1 or 0.
    #[inline]
    fn count(self, mark: Self) -> u32 {
        u32::from(self.0 & mark.0 != 0)
    }
}

impl BitOr for Marks {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// State and marks of one socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen(u16);

impl Seen {
    const STATE: u16 = 0x0f;
    /// No socket looks like this: the state would be 15.
    pub(super) const NOTHING: Self = Self(u16::MAX);

    #[inline]
    pub fn new(state: State, marks: Marks) -> Self {
        Self(state as u16 | marks.0)
    }

    #[inline]
    fn state(self) -> State {
        State::ALL[usize::from(self.0 & Self::STATE)]
    }

    #[inline]
    fn marks(self) -> Marks {
        Marks(self.0 & !Self::STATE)
    }

    /// Ports in the range, and those of them in the way of a plain connect().
    #[inline]
    pub(super) fn ports(self) -> (u32, u32) {
        let marks = self.marks();
        let in_range = marks.count(Marks::IN_RANGE);
        let open = marks.count(Marks::LOST) | marks.count(Marks::REUSABLE);
        (in_range, in_range & !open)
    }
}

/// What is counted for a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub states: StateCounts,
    /// Sockets whose local port lies in the ephemeral range.
    pub in_range: u32,
    /// Of those, on ports that plain connect() can have and tries first.
    pub preferred: u32,
    /// Of those, on ports that plain connect() has lost.
    pub lost: u32,
    /// Of those, the ones that connect() would take over now.
    pub reusable: u32,
    /// Of those, the ones that it would take over if it were allowed to.
    pub settled: u32,
    /// Of those, the ones of the first cgroup that was seen on the key.
    pub own: u32,
    /// Sockets that leave TIME_WAIT within the next seconds.
    pub aged: u32,
    /// Sockets closed by this side within the last ten seconds.
    pub recent: u32,
}

impl Counters {
    #[inline]
    pub fn add(&mut self, seen: Seen) {
        let marks = seen.marks();
        self.states.add(seen.state());
        self.in_range += marks.count(Marks::IN_RANGE);
        self.preferred += marks.count(Marks::PREFERRED);
        self.lost += marks.count(Marks::LOST);
        self.reusable += marks.count(Marks::REUSABLE);
        self.settled += marks.count(Marks::SETTLED);
        self.own += marks.count(Marks::OWN);
        self.aged += marks.count(Marks::AGED);
        self.recent += marks.count(Marks::RECENT);
    }

    /// Ports that a plain connect() cannot have because of these sockets alone.
    pub fn blocked(&self) -> u32 {
        self.in_range - self.reusable - self.lost
    }

    pub fn merge(&mut self, other: &Self) {
        self.states.merge(&other.states);
        self.in_range += other.in_range;
        self.preferred += other.preferred;
        self.lost += other.lost;
        self.reusable += other.reusable;
        self.settled += other.settled;
        self.own += other.own;
        self.aged += other.aged;
        self.recent += other.recent;
    }

    /// Takes into account that some of these sockets turned out to sit on ports
    /// that plain connect() has lost.
    pub fn apply(&mut self, lost: &LostPorts) {
        self.lost += lost.ports;
        self.reusable -= lost.reusable;
        self.settled -= lost.settled;
    }
}

/// Sockets of a key that sit on ports which bind() made, found out after counting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LostPorts {
    pub ports: u32,
    /// Of those, the ones counted as reusable, and as settled.
    pub reusable: u32,
    pub settled: u32,
}

impl LostPorts {
    /// Ports that were counted as blocked and are not.
    pub fn blocked(&self) -> u32 {
        self.ports - self.reusable
    }

    pub fn add(&mut self, marks: Marks) {
        self.ports += 1;
        self.reusable += marks.count(Marks::REUSABLE);
        self.settled += marks.count(Marks::SETTLED);
    }
}
