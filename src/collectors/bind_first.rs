//! Whose ports are these: connect()'s, or bind()'s, which are lost to connect()?
//!
//! sock_diag does not say. But connect() takes ports of the same parity as the
//! first one of the range until that half is gone for the destination, and
//! bind(0) begins with the other half (net/ipv4/inet_hashtables.c,
//! net/ipv4/inet_connection_sock.c). What that leaves open, earlier polls may
//! tell: a port stays what it was for as long as it is in use.

use crate::kernel::procfs::PortRange;
use crate::ports::PortSet;
use crate::tally::{Ground, Tally};

/// The preferred half of a busy destination has a few ports free at any moment,
/// for connections that have just closed: it still counts as full when less than
/// this part of it is free. Nothing for ranges below 256 ports.
const ALMOST_FULL: u32 = 128;

/// What earlier polls found, for the ports that were in use at each of them.
#[derive(Default)]
pub struct PortMemory {
    range: Option<PortRange>,
    /// A listener or bound-only socket had it: certainly bind()'s.
    certain: PortSet,
    /// Taken for bind()'s because of its parity.
    bound: PortSet,
    /// Taken for connect()'s.
    connected: PortSet,
    /// connect()'s, which a listener or bound-only socket of another address has
    /// joined: lost until that one goes (Linux 6.18; before, until all have gone).
    joined: PortSet,
    /// In use at the first poll, when the past could not be seen.
    unjudged: PortSet,
    has_judged: bool,
    /// connect()'s at first, which another address uses since: bind()'s or not.
    doubted: PortSet,
}

/// Ports that bind() made, beside those that listeners and bound-only sockets hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub bind_first: u32,
    /// Ports that may be bind()'s as well: it cannot be told.
    pub ambiguous: u32,
}

impl PortMemory {
    /// Ports that are bind()'s for certain, before a poll counts anything.
    pub fn known_bound(&mut self, range: PortRange, effective: &PortSet) -> PortSet {
        if self.range.is_some_and(|last| last != range) {
            // Parity is counted from another port now: what was inferred stays
            // true and can no longer be inferred again.
            self.certain.union_with(&self.bound);
            self.bound.clear();
        }
        self.range = Some(range);
        self.certain.clone().and(effective)
    }

    /// Judges the ports of one dump, and marks the sockets on lost ones.
    pub fn judge(&mut self, tally: &mut Tally, ground: &Ground) -> Verdict {
        let in_use = tally.sources().any();
        let certain = ground.known_bound.clone().and(&in_use);
        let mut lost = tally.held().clone();
        lost.union_with(&certain);
        let preferred_half = PortSet::with_parity_of(ground.range.first).and(&ground.effective);
        let halves = Halves {
            lost_preferred: lost.clone().and(&preferred_half).len(),
            preferred: preferred_half.len(),
        };

        let known = self.known(tally);
        let parity = self.by_parity(tally, &lost, &halves, &known);
        let convicts: Vec<_> = tally
            .suspects()
            .iter()
            .filter(|suspect| parity.bound.contains(suspect.port))
            .copied()
            .collect();
        for suspect in &convicts {
            tally.convict(suspect);
        }
        let doubtful = self.doubtful(tally, ground, &preferred_half, &lost, &parity, &known);

        let verdict = Verdict {
            bind_first: certain.clone().minus(tally.held()).len() + parity.bound.len(),
            ambiguous: doubtful.len(),
        };
        self.doubted = doubtful.clone().and(&known.all);
        self.joined = known.all.and(tally.held()).and(&known.several);
        self.connected = in_use
            .clone()
            .minus(&lost)
            .minus(&parity.bound)
            .minus(&doubtful);
        // A listener that goes without leaving a connection behind frees its port:
        // whoever has that at the next poll says nothing of the listener.
        let bare = tally.listening().clone().minus(tally.occupied());
        self.certain = lost.and(&in_use).minus(&bare).minus(&self.joined);
        self.bound = parity.bound;
        self.unjudged = parity.unjudged;
        self.has_judged = true;
        verdict
    }

    fn by_parity(&self, tally: &Tally, lost: &PortSet, halves: &Halves, known: &Known) -> Parity {
        let mut parity = Parity::default();
        for suspect in tally.suspects() {
            let port = suspect.port;
            if lost.contains(port) || known.sure.contains(port) {
                continue;
            }
            let is_full = || halves.is_full(tally.preferred_beside(suspect));
            let has_no_past = || !self.has_judged && tally.has_turned_over(suspect);
            let set = if known.all.contains(port) {
                if is_full() {
                    continue;
                }
                &mut parity.contested
            } else if self.bound.contains(port) {
                &mut parity.bound
            } else if is_full() {
                &mut parity.spilled
            } else if self.unjudged.contains(port) || has_no_past() {
                &mut parity.unjudged
            } else {
                &mut parity.bound
            };
            set.insert(port);
        }
        parity.unjudged.subtract(&parity.bound);
        parity.spilled.subtract(&parity.bound);
        parity
    }

    /// What is known to be connect()'s, from earlier polls or from this one.
    fn known(&self, tally: &Tally) -> Known {
        let several = tally.sources().on_several();
        // One of two users has gone, and nobody can tell which: judge it anew.
        let mut all = self.doubted.clone().and(&several);
        for set in [&self.connected, &self.joined, tally.shared()] {
            all.union_with(set);
        }
        let sure = all.clone().minus(&several);
        Known { all, several, sure }
    }

    /// Where parity says nothing: ports that spilled over although the preferred
    /// half was never seen to be connect()'s, and preferred ports of an address
    /// whose other half bind() had used up.
    fn doubtful(
        &self,
        tally: &Tally,
        ground: &Ground,
        preferred_half: &PortSet,
        lost: &PortSet,
        parity: &Parity,
        known: &Known,
    ) -> PortSet {
        let mut doubtful = PortSet::default();
        let seen_connected = self.connected.clone().and(preferred_half).len();
        if seen_connected * 2 < preferred_half.len() {
            doubtful.union_with(&parity.spilled);
        }
        let other_half = ground.effective.clone().minus(preferred_half);
        let mut suspicious = parity.bound.clone();
        suspicious.union_with(&doubtful);
        suspicious.union_with(lost);
        for held in tally.sources().sets() {
            let of_other_half = held.clone().and(&other_half);
            let is_used_up = !other_half.is_empty() && of_other_half.len() == other_half.len();
            if is_used_up && of_other_half.and(&suspicious).len() * 2 >= other_half.len() {
                doubtful.union_with(&held.and(preferred_half));
            }
        }
        doubtful.union_with(&parity.contested);
        doubtful.union_with(&parity.unjudged);
        doubtful.union_with(&self.joined.clone().and(&known.several));
        doubtful.minus(&known.sure).minus(lost)
    }
}

/// Ports with a socket that connect() gave them.
struct Known {
    all: PortSet,
    /// In use on more than one address, of all ports.
    several: PortSet,
    /// Those of `all` where no socket of another address can be bind()'s.
    sure: PortSet,
}

/// Ports off the preferred half.
#[derive(Default)]
struct Parity {
    /// bind()'s, for the preferred half of the destination is not full.
    bound: PortSet,
    /// connect() had to go there, as far as it can be seen.
    spilled: PortSet,
    /// connect()'s, and another address uses it as if bind() had given it that.
    contested: PortSet,
    /// bind()'s, or left over from when the preferred half was full: connect()
    /// fills that half first, so that TIME_WAIT leaves it first as well.
    unjudged: PortSet,
}

/// The half of the range that connect() takes first.
struct Halves {
    preferred: u32,
    lost_preferred: u32,
}

impl Halves {
    /// Whether connect() toward a destination had to go to the other half.
    fn is_full(&self, used: u32) -> bool {
        let almost = self.preferred - self.preferred / ALMOST_FULL;
        used + self.lost_preferred >= almost
    }
}

#[cfg(test)]
mod tests;
