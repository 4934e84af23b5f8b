//! Whose ports are these: connect()'s, or bind()'s, which are lost to connect()?
//!
//! sock_diag does not say. But connect() takes ports of the same parity as the
//! first one of the range until that half is gone for the destination, and
//! bind(0) begins with the other half (net/ipv4/inet_hashtables.c,
//! net/ipv4/inet_connection_sock.c). What that leaves open, earlier polls may
//! tell: a port stays what it was for as long as it is in use.

use crate::count::keys::{Candidate, LostByKey};
use crate::count::policy::PortPolicy;
use crate::count::tcp::TcpCount;
use crate::model::ports::{PortRange, PortSet};

/// The preferred half of a busy destination has a few ports free at any moment,
/// for connections that have just closed: it still counts as full when less than
/// this part of it is free. Nothing for ranges below 256 ports.
const ALMOST_FULL: u32 = 128;

/// A set of ports that takes no memory while it is empty, as in most namespaces.
#[derive(Default)]
struct Kept(Option<Box<PortSet>>);

impl Kept {
    fn new(ports: PortSet) -> Self {
        Self((!ports.is_empty()).then(|| Box::new(ports)))
    }

    fn get(&self) -> PortSet {
        self.0.as_deref().cloned().unwrap_or_default()
    }

    fn contains(&self, port: u16) -> bool {
        self.0.as_ref().is_some_and(|ports| ports.contains(port))
    }
}

/// What earlier polls found, for the ports that were in use at each of them.
#[derive(Default)]
pub struct OriginMemory {
    range: Option<PortRange>,
    /// A listener or bound-only socket had it: certainly bind()'s.
    certain: Kept,
    /// Taken for bind()'s because of its parity.
    bound: Kept,
    /// Taken for connect()'s.
    connected: Kept,
    /// connect()'s, which a listener or bound-only socket of another address has
    /// joined: lost until that one goes (Linux 6.18; before, until all have gone).
    joined: Kept,
    /// In use at the first poll, when the past could not be seen.
    unclassified: Kept,
    has_classified: bool,
    /// connect()'s at first, which another address uses since: bind()'s or not.
    was_unclear: Kept,
}

/// Ports that bind() made, beside those that listeners and bound-only sockets hold.
#[derive(Default)]
pub struct Origin {
    pub bind_first: u32,
    /// Ports that may be bind()'s as well: it cannot be told.
    pub ambiguous: u32,
    /// The sockets on bind-first ports that were found out by parity.
    pub lost: LostByKey,
}

impl OriginMemory {
    /// Ports that are bind()'s for certain, before a poll counts anything.
    pub fn known_bound(&mut self, range: PortRange, effective: &PortSet) -> PortSet {
        if self.range.is_some_and(|last| last != range) {
            // Parity is counted from another port now: what was inferred stays
            // true and can no longer be inferred again.
            let mut certain = self.certain.get();
            certain.union_with(&self.bound.get());
            self.certain = Kept::new(certain);
            self.bound = Kept::default();
        }
        self.range = Some(range);
        self.certain.get().and(effective)
    }

    /// Classifies the ports of one dump.
    pub fn classify(&mut self, tcp: &TcpCount, policy: &PortPolicy) -> Origin {
        let ports = &tcp.ports;
        let in_use = tcp.addresses.any();
        let certain = policy.known_bound.clone().and(&in_use);
        let mut lost = ports.held.clone();
        lost.union_with(&certain);
        let preferred_half = PortSet::with_parity_of(policy.range.first).and(&policy.effective);
        let halves = Halves {
            lost_preferred: lost.clone().and(&preferred_half).len(),
            preferred: preferred_half.len(),
        };

        let known = self.known(tcp);
        let parity = self.by_parity(tcp, &lost, &halves, &known);
        let unclear = self.unclear(tcp, policy, &preferred_half, &lost, &parity, &known);
        let mut origin = Origin {
            bind_first: certain.minus(&ports.held).len() + parity.bound.len(),
            ambiguous: unclear.len(),
            lost: LostByKey::default(),
        };
        let is_bound = |candidate: &&Candidate| parity.bound.contains(candidate.port);
        for candidate in ports.candidates.iter().filter(is_bound) {
            origin.lost.add(candidate);
        }

        self.was_unclear = Kept::new(unclear.clone().and(&known.all));
        let joined = known.all.and(&ports.held).and(&known.several);
        let connected = in_use.clone().minus(&lost).minus(&parity.bound);
        self.connected = Kept::new(connected.minus(&unclear));
        // A listener that goes without leaving a connection behind frees its port:
        // whoever has that at the next poll says nothing of the listener.
        let bare = ports.listening.clone().minus(&ports.occupied);
        self.certain = Kept::new(lost.and(&in_use).minus(&bare).minus(&joined));
        self.joined = Kept::new(joined);
        self.bound = Kept::new(parity.bound);
        self.unclassified = Kept::new(parity.unclassified);
        self.has_classified = true;
        origin
    }

    fn by_parity(&self, tcp: &TcpCount, lost: &PortSet, halves: &Halves, known: &Known) -> Parity {
        let mut parity = Parity::default();
        for candidate in &tcp.ports.candidates {
            let port = candidate.port;
            if lost.contains(port) || known.sure.contains(port) {
                continue;
            }
            let is_full = || halves.is_full(tcp.keys.beside(candidate).preferred);
            let has_no_past = || !self.has_classified && tcp.keys.beside(candidate).has_turned_over;
            let set = if known.all.contains(port) {
                if is_full() {
                    continue;
                }
                &mut parity.contested
            } else if self.bound.contains(port) {
                &mut parity.bound
            } else if is_full() {
                &mut parity.spilled
            } else if self.unclassified.contains(port) || has_no_past() {
                &mut parity.unclassified
            } else {
                &mut parity.bound
            };
            set.insert(port);
        }
        parity.unclassified.subtract(&parity.bound);
        parity.spilled.subtract(&parity.bound);
        parity
    }

    /// What is known to be connect()'s, from earlier polls or from this one.
    fn known(&self, tcp: &TcpCount) -> Known {
        let several = tcp.addresses.on_several();
        // One of two users has gone, and nobody can tell which: classify it anew.
        let mut all = self.was_unclear.get().and(&several);
        for set in [&self.connected.get(), &self.joined.get(), &tcp.ports.shared] {
            all.union_with(set);
        }
        let sure = all.clone().minus(&several);
        Known { all, several, sure }
    }

    /// Where parity says nothing: ports that spilled over although the preferred
    /// half was never seen to be connect()'s, and preferred ports of an address
    /// whose other half bind() had used up.
    fn unclear(
        &self,
        tcp: &TcpCount,
        policy: &PortPolicy,
        preferred_half: &PortSet,
        lost: &PortSet,
        parity: &Parity,
        known: &Known,
    ) -> PortSet {
        let mut unclear = PortSet::default();
        let seen_connected = self.connected.get().and(preferred_half).len();
        if seen_connected * 2 < preferred_half.len() {
            unclear.union_with(&parity.spilled);
        }
        let other_half = policy.effective.clone().minus(preferred_half);
        let mut maybe_bound = parity.bound.clone();
        maybe_bound.union_with(&unclear);
        maybe_bound.union_with(lost);
        for held in tcp.addresses.sets() {
            let of_other_half = held.clone().and(&other_half);
            let is_used_up = !other_half.is_empty() && of_other_half.len() == other_half.len();
            if is_used_up && of_other_half.and(&maybe_bound).len() * 2 >= other_half.len() {
                unclear.union_with(&held.and(preferred_half));
            }
        }
        unclear.union_with(&parity.contested);
        unclear.union_with(&parity.unclassified);
        unclear.union_with(&self.joined.get().and(&known.several));
        unclear.minus(&known.sure).minus(lost)
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
    unclassified: PortSet,
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
