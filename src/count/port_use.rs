//! What became of the ports of a dump, as far as it shows while counting.

use super::counters::Marks;
use super::key::KeyIndex;
use super::keys::Candidate;
use super::policy::PortPolicy;
use super::table::Waiting;
use crate::model::ports::PortSet;
use crate::model::socket::Direction;

/// Sockets on ports whose maker is looked into after the dump: 8 bytes each. Those
/// beyond the bound count toward their destination as if connect() had made the port.
const CANDIDATES: usize = 1 << 20;

/// The ports of one dump.
#[derive(Default)]
pub struct PortUse {
    /// Ports with a listener, inside the range or not.
    pub listening: PortSet,
    /// Ports in the range with a listener or a bound-only socket.
    pub held: PortSet,
    /// Those, and what earlier polls know to be bind()'s.
    lost: PortSet,
    /// Ports in the range with a connection, whoever opened it.
    pub occupied: PortSet,
    /// Ports with two sockets of one local address, or with one that left the
    /// choice to connect() (IP_BIND_ADDRESS_NO_PORT): connect() made them.
    pub shared: PortSet,
    pub candidates: Vec<Candidate>,
}

impl PortUse {
    pub(super) fn begin(&mut self, policy: &PortPolicy, listening: &PortSet) {
        self.listening.clone_from(listening);
        self.held = listening.clone().and(&policy.effective);
        self.lost = self.held.clone().or(&policy.known.lost);
        self.occupied.clear();
        self.shared.clear();
        // Many at the first dump, few once the kernel has been asked.
        let needed = self.candidates.len();
        self.candidates.clear();
        if needed < self.candidates.capacity() / 4 {
            self.candidates.shrink_to(2 * needed);
        }
    }

    /// Takes a port in the range that a bound-only socket has.
    pub(super) fn hold(&mut self, port: u16) {
        self.held.insert(port);
        self.lost.insert(port);
    }

    /// Takes a socket in the range, counted at `key`, and adds to its marks what its port
    /// says. `is_first`: no other socket of its local address has the port, as far as known.
    #[inline]
    pub(super) fn record<A>(
        &mut self,
        waiting: &Waiting<A>,
        policy: &PortPolicy,
        key: Option<KeyIndex>,
        is_first: bool,
    ) -> Marks {
        let (port, marks) = (waiting.port, waiting.marks);
        self.occupied.insert(port);
        let never_reused = marks.without(Marks::REUSABLE | Marks::SETTLED);
        if waiting.key.direction() == Direction::Inbound {
            return never_reused;
        }
        if self.lost.contains(port) {
            return never_reused | Marks::IN_RANGE | Marks::LOST;
        }
        let is_preferred = policy.prefers(port);
        let marks = marks | Marks::IN_RANGE | Marks::PREFERRED.when(is_preferred);
        if !is_first {
            self.shared.insert(port);
        }
        if (!is_preferred || policy.can_ask)
            && !policy.known.free.contains(port)
            && self.candidates.len() < CANDIDATES
            && let Some(key) = key
        {
            self.candidates.push(Candidate { key, port, marks });
        }
        marks
    }
}

#[cfg(test)]
mod tests {
    use crate::count::Scratch;
    use crate::fake_kernel::{count, policy, sock};
    use crate::model::state::State;

    #[test]
    fn memory_that_one_dump_needs_and_the_next_does_not_is_given_back() {
        let mut policy = policy(20_000, 39_999);
        policy.can_ask = true;
        let connected = |port| {
            sock(
                State::Established,
                &format!("10.0.0.1:{port}"),
                "10.0.0.2:443",
            )
        };
        let socks: Vec<_> = (20_000..30_000).map(connected).collect();
        let mut scratch = Scratch::new(100);
        let mut capacity = |socks: &[_]| {
            count(&mut scratch, &policy, socks, &[]);
            let candidates = &scratch.tcp.ports.candidates;
            assert_eq!(candidates.len(), socks.len());
            candidates.capacity()
        };
        let large = capacity(&socks);
        assert_eq!(capacity(&socks), large, "kept while it is needed");
        capacity(&socks[..10]);
        assert!(capacity(&socks[..10]) <= 20);
    }
}
