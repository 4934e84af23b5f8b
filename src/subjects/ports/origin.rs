//! Whose ports are these: connect()'s, which it shares among destinations, or
//! bind()'s, which are lost to it?
//!
//! sock_diag does not say. From Linux 6.3 on the kernel answers when it is asked about
//! a port (`kernel::port_probe`): then this is exact. Where it cannot be asked, parity
//! has to do: connect() takes ports as even or odd as the first one of the range until
//! that half is gone for the destination, and bind(0) begins with the other half
//! (net/ipv4/inet_hashtables.c, net/ipv4/inet_connection_sock.c). That is an estimate,
//! and the truth may be that bind() has all ports that are in use.

use std::io;

use crate::count::key::KeyIndex;
use crate::count::keys::{Candidate, LostByKey};
use crate::count::policy::{KnownPorts, PortPolicy};
use crate::count::tcp::TcpCount;
use crate::model::ports::PortSet;
use crate::model::state::StateCounts;

/// New ports that the kernel is asked about at one poll: a few microseconds each.
const QUESTIONS: usize = 1024;
/// On hosts with more sockets than 65,536 it is one port for so many of them, which takes a few
/// hundredths of the dump.
const SOCKETS_A_QUESTION: u32 = 64;
/// Ports whose answer is known, beside the new ones: bind() may have joined those since, or
/// left them.
const QUESTIONS_AGAIN: usize = 256;

/// Ports of the half that connect() takes first, asked about at one poll, that speak for
/// the rest of it.
const SAMPLE: usize = 128;

/// The preferred half of a busy destination has a few ports free at any moment,
/// for connections that have just closed: it still counts as full when less than
/// this part of it is free. Nothing for ranges below 256 ports.
const ALMOST_FULL: u32 = 128;

/// Asks the kernel which of these ports plain connect() can have.
pub type Ask<'a> = &'a dyn Fn(&[u16]) -> Answer;
/// Those that it can; an error, and no answer to any, where the kernel cannot be asked.
pub type Answer = io::Result<PortSet>;

/// What earlier polls found, for the ports that were in use at each of them. `None` where
/// there are no such ports, as in most namespaces: an empty set takes 8 KiB.
#[derive(Default)]
pub struct OriginMemory {
    /// bind()'s: by the kernel's answer, or else for all that is known.
    lost: Option<PortSet>,
    /// connect()'s, likewise.
    free: Option<PortSet>,
    /// The port from which on to ask again.
    again_from: u16,
    has_classified: bool,
}

/// Ports that bind() made, beside those that listeners and bound-only sockets hold.
#[derive(Default)]
pub struct Origin {
    pub bind_first: u32,
    /// Further ports that may be bind()'s as well: it cannot be told.
    pub ambiguous: u32,
    /// The sockets on bind-first ports that were found out after counting.
    pub lost: LostByKey,
    /// The sockets on ambiguous ports; `None` where those are all ports in use.
    pub unclear: Option<LostByKey>,
}

impl Origin {
    /// Of so many blocked ports of a key, those that connect() made for certain.
    pub fn certainly(&self, key: KeyIndex, blocked: u32) -> u32 {
        let unclear = self.unclear.as_ref();
        unclear.map_or(0, |by_key| {
            blocked.saturating_sub(by_key.get(key).blocked())
        })
    }
}

impl OriginMemory {
    /// What is known of the ports of the range, asked again as far as that goes, and
    /// whether the kernel answers.
    pub fn recall(&mut self, effective: &PortSet, ask: Option<Ask<'_>>) -> (KnownPorts, bool) {
        let mut known = KnownPorts {
            lost: self.lost.clone().unwrap_or_default().and(effective),
            free: self.free.clone().unwrap_or_default().and(effective),
        };
        let answers = ask.is_some_and(|ask| self.ask_again(&mut known, ask));
        (known, answers)
    }

    /// In turn, so that every port has its turn in the end.
    fn ask_again(&mut self, known: &mut KnownPorts, ask: Ask<'_>) -> bool {
        let from = self.again_from;
        let all = known.lost.clone().or(&known.free);
        let (later, mut turn): (Vec<_>, Vec<_>) = all.iter().partition(|&port| port < from);
        turn.extend(later);
        let asked = &turn[..turn.len().min(QUESTIONS_AGAIN)];
        let Ok(can_have) = ask(asked) else {
            return false;
        };
        self.again_from = turn.get(QUESTIONS_AGAIN).copied().unwrap_or(0);
        let lost = asked.iter().copied().collect::<PortSet>().minus(&can_have);
        // bind() joins ports: none is known to be free any more.
        if !known.free.clone().and(&lost).is_empty() {
            known.free.clear();
        }
        // Who takes one before the dump is asked about like anybody else.
        known.lost = known.lost.clone().minus(&can_have).or(&lost);
        true
    }

    /// Classifies the ports of one dump.
    pub fn classify(
        &mut self,
        tcp: &TcpCount,
        policy: &PortPolicy,
        ask: Option<Ask<'_>>,
    ) -> Origin {
        let in_use = tcp.addresses.any().minus(&tcp.ports.held);
        let mut known = KnownPorts {
            lost: policy.known.lost.clone().and(&in_use),
            free: policy.known.free.clone().and(&in_use),
        };
        let presumed = self.presume(tcp, policy, &known);
        let (may_ask, answered) = (ask.is_some(), known.clone());
        let fresh = in_use.clone().minus(&known.lost).minus(&known.free);
        let ask = ask.filter(|_| policy.can_ask);
        let sockets: u32 = tcp.sockets.iter().map(StateCounts::total).sum();
        let most = QUESTIONS.max((sockets / SOCKETS_A_QUESTION) as usize);
        let unclear = ask.and_then(|ask| ask_about(fresh, most, policy, &mut known, ask));
        let is_asked = unclear.is_some();
        let unclear = unclear.unwrap_or_else(|| in_use.clone().minus(&known.lost));
        let lost = known.lost.clone().or(&presumed.and(&unclear));
        let unclear = unclear.minus(&lost);

        let mut origin = Origin {
            bind_first: lost.len(),
            ambiguous: unclear.len(),
            lost: LostByKey::default(),
            unclear: is_asked.then(LostByKey::default),
        };
        for candidate in &tcp.ports.candidates {
            if lost.contains(candidate.port) {
                origin.lost.add(candidate);
            } else if let Some(by_key) = &mut origin.unclear
                && unclear.contains(candidate.port)
            {
                by_key.add(candidate);
            }
        }
        if !is_asked {
            known = match may_ask {
                // What was presumed for once must not pass for an answer later.
                true => answered,
                false => presumed_from_now_on(tcp, lost, &in_use),
            };
        }
        self.lost = Some(known.lost).filter(|ports| !ports.is_empty());
        self.free = Some(known.free).filter(|ports| !ports.is_empty());
        self.has_classified = true;
        origin
    }

    /// By parity: ports off the half that connect() takes first, although that one is
    /// not full for the destination.
    fn presume(&self, tcp: &TcpCount, policy: &PortPolicy, known: &KnownPorts) -> PortSet {
        let preferred_half = PortSet::with_parity_of(policy.range.first).and(&policy.effective);
        let lost = tcp.ports.held.clone().or(&known.lost);
        let lost_preferred = lost.and(&preferred_half).len();
        let preferred = preferred_half.len();
        let almost = preferred - preferred / ALMOST_FULL;
        let is_bind_s = |candidate: &&Candidate| {
            if policy.prefers(candidate.port) || tcp.ports.shared.contains(candidate.port) {
                return false;
            }
            let beside = tcp.keys.counters(candidate.key);
            let unbound = tcp.keys.without_device(candidate.key);
            let unbound = unbound.map_or(0, |key| tcp.keys.counters(key).preferred);
            // connect() fills the preferred half first, so that TIME_WAIT leaves it
            // first as well: what it held before the first poll cannot be seen.
            let has_no_past = !self.has_classified && beside.aged > 0;
            beside.preferred + unbound + lost_preferred < almost && !has_no_past
        };
        let candidates = tcp.ports.candidates.iter().filter(is_bind_s);
        candidates.map(|candidate| candidate.port).collect()
    }
}

/// What to go by at the next poll where the kernel cannot be asked. A port that
/// bind() has joined stays lost until all its sockets are gone (before Linux 6.18).
fn presumed_from_now_on(tcp: &TcpCount, lost: PortSet, in_use: &PortSet) -> KnownPorts {
    let ports = &tcp.ports;
    let free = in_use.clone().minus(&lost);
    // A listener that goes without leaving a connection behind frees its port:
    // whoever has that at the next poll says nothing of the listener.
    let bare = ports.listening.clone().minus(&ports.occupied);
    let lost = lost.or(&ports.held.clone().minus(&bare));
    KnownPorts { lost, free }
}

/// Asks about ports that are not known yet, so many at most, first those of the half that
/// bind(0) begins with. Gives those that stay unclear; `None` when the kernel cannot be asked.
///
/// Where there are too many, those of the other half pass unasked as long as of a good
/// sample of them none was bind()'s.
fn ask_about(
    fresh: PortSet,
    most: usize,
    policy: &PortPolicy,
    known: &mut KnownPorts,
    ask: Ask<'_>,
) -> Option<PortSet> {
    let preferred = PortSet::with_parity_of(policy.range.first);
    let bind_s_half = fresh.clone().minus(&preferred);
    let other = fresh.clone().and(&preferred);
    let in_order = bind_s_half.iter().chain(other.iter());
    let asked: Vec<u16> = in_order.take(most).collect();
    let free = ask(&asked).ok()?;
    let sampled = asked.iter().filter(|&&port| policy.prefers(port)).count();
    let asked = asked.into_iter().collect::<PortSet>();
    let unclear = fresh.minus(&asked);
    known.lost.union_with(&asked.minus(&free));
    known.free.union_with(&free);
    let takes_any = !known.lost.clone().and(&preferred).is_empty();
    Some(match sampled >= SAMPLE && !takes_any {
        true => unclear.minus(&preferred),
        false => unclear,
    })
}

#[cfg(test)]
mod tests;
