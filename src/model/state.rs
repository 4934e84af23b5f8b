//! Socket states as the kernel numbers them (include/net/tcp_states.h).

use std::cmp::Reverse;

/// How many states there are to count, `Unknown` included.
pub const STATES: usize = 12;

/// A TCP state. UDP sockets use two of them: `Established` is connected,
/// `Close` is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    Established,
    SynSent,
    SynRecv,
    FinWait1,
    FinWait2,
    TimeWait,
    Close,
    CloseWait,
    LastAck,
    Listen,
    Closing,
    Unknown,
}

impl State {
    pub const ALL: [Self; STATES] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
        Self::Unknown,
    ];

    /// The states that a socket with a peer can be in.
    pub const CONNECTED: [Self; 9] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::CloseWait,
        Self::LastAck,
        Self::Closing,
    ];

    /// Total: a number that this table does not know is `Unknown`, not an
    /// error. 12 is TCP_NEW_SYN_RECV, 13 TCP_BOUND_INACTIVE, which no kernel
    /// seen so far puts on the wire (it sends 3 and 7 for them).
    #[inline]
    pub fn from_kernel(number: u8) -> Self {
        match number {
            1..=11 => Self::ALL[usize::from(number - 1)],
            12 => Self::SynRecv,
            13 => Self::Close,
            _ => Self::Unknown,
        }
    }

    #[inline]
    pub fn index(self) -> usize {
        self as usize
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn_sent",
            Self::SynRecv => "syn_recv",
            Self::FinWait1 => "fin_wait1",
            Self::FinWait2 => "fin_wait2",
            Self::TimeWait => "time_wait",
            Self::Close => "close",
            Self::CloseWait => "close_wait",
            Self::LastAck => "last_ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
            Self::Unknown => "unknown",
        }
    }
}

/// Sockets by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateCounts([u32; STATES]);

impl StateCounts {
    #[inline]
    pub fn add(&mut self, state: State) {
        self.0[state.index()] += 1;
    }

    pub fn get(&self, state: State) -> u32 {
        self.0[state.index()]
    }

    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0) {
            *mine += theirs;
        }
    }

    /// Of these, the sockets with a peer: neither listening nor merely bound.
    pub fn connected(mut self) -> Self {
        self.0[State::Listen.index()] = 0;
        self.0[State::Close.index()] = 0;
        self
    }

    /// What is left when some of one state are taken out.
    pub fn less(mut self, state: State, count: u32) -> Self {
        let all = &mut self.0[state.index()];
        *all = all.saturating_sub(count);
        self
    }

    /// What is left when a part is taken out of the whole.
    pub fn without(&self, part: &Self) -> Self {
        let mut rest = *self;
        for (whole, part) in rest.0.iter_mut().zip(part.0) {
            *whole = whole.saturating_sub(part);
        }
        rest
    }

    pub fn iter(&self) -> impl Iterator<Item = (State, u32)> {
        State::ALL.into_iter().zip(self.0)
    }

    /// The states that have any.
    pub fn present(&self) -> impl Iterator<Item = (State, u32)> {
        self.iter().filter(|&(_, count)| count > 0)
    }

    /// The most common state, the first of them when several are.
    pub fn main(&self) -> Option<State> {
        let most = self.present().min_by_key(|&(_, count)| Reverse(count));
        most.map(|(state, _)| state)
    }
}

/// As JSON: an object of the states that are not zero.
impl serde::Serialize for StateCounts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let present = self.present();
        serializer.collect_map(present.map(|(state, count)| (state.label(), count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_of_the_kernel_has_a_state() {
        assert_eq!(State::from_kernel(1), State::Established);
        assert_eq!(State::from_kernel(6), State::TimeWait);
        assert_eq!(State::from_kernel(11), State::Closing);
        assert_eq!(State::from_kernel(12), State::SynRecv);
        assert_eq!(State::from_kernel(13), State::Close);
        for odd in [0, 14, 200, 255] {
            assert_eq!(State::from_kernel(odd), State::Unknown);
        }
    }

    #[test]
    fn the_order_of_the_table_is_the_order_of_the_numbers() {
        for (index, state) in State::ALL.into_iter().enumerate() {
            assert_eq!(state.index(), index);
        }
    }

    #[test]
    fn the_main_state_of_nothing_is_none() {
        let mut counts = StateCounts::default();
        assert_eq!(counts.main(), None);
        counts.add(State::TimeWait);
        counts.add(State::TimeWait);
        counts.add(State::Established);
        assert_eq!(counts.main(), Some(State::TimeWait));
        assert_eq!(counts.total(), 3);
    }
}
