//! Remote peers of TCP sockets: who is connected to what, the largest of them.

use std::net::IpAddr;

use hashbrown::HashMap;
use serde::Serialize;

use super::limits::Floor;
use super::ranking::{Ranking, last_rank};
use super::{Families, Inputs, Missing, Sink, Source, Subject, SubjectLimits, metrics};
use crate::count::key::{Address, Key};
use crate::count::table::Table;
use crate::count::tcp::TcpCount;
use crate::model::socket::Direction;
use crate::model::state::{State, StateCounts};

/// A remote address and a service port: the remote one of outbound sockets, the
/// local one of inbound sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerKey {
    pub address: IpAddr,
    pub port: u16,
}

impl<A: Address> From<&Key<A>> for PeerKey {
    fn from(key: &Key<A>) -> Self {
        Self {
            address: key.remote.to_ip(),
            port: key.port,
        }
    }
}

/// Both directions.
#[derive(Clone, Debug, Serialize)]
pub struct Peers {
    pub outbound: Side,
    pub inbound: Side,
}

/// The peers of one direction, largest first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Side {
    pub peers: Vec<Peer>,
    /// All the sockets of peers that are not listed.
    pub other: StateCounts,
    /// Distinct (peer, port) seen.
    pub distinct: u32,
    /// Of those, how many are in `other`.
    pub folded: u32,
}

#[derive(Clone, Debug, Serialize)]
pub struct Peer {
    pub address: IpAddr,
    pub port: u16,
    pub states: StateCounts,
}

metrics! {
    PEER_SOCKETS: gauge "sockdiag_peer_sockets" [direction, peer, port, state]
        "TCP sockets as of the last poll by remote address and service port (remote port of outbound, local port of inbound), the largest; all others in peer other (sock_diag).";
    PEERS: gauge "sockdiag_peers" [direction]
        "Distinct pairs of remote address and service port as of the last poll (sock_diag).";
    FOLDED: gauge "sockdiag_peers_folded" [direction]
        "Pairs of remote address and service port as of the last poll that are in peer other (sock_diag).";
}

/// What was listed last time, by direction.
type Rankings = [Ranking<PeerKey>; 2];

impl Subject for Peers {
    const NEEDS: &'static [Source] = &[Source::TcpSockets];
    type Memory = Rankings;

    const METRICS: &'static [Families] = &[METRICS];

    fn collect(from: &Inputs<'_, Self>, rankings: &mut Rankings) -> Result<Self, Missing> {
        let (count, limits) = (from.tcp()?.count, from.limits());
        Ok(Self::of(count, limits.peers, limits.floor, rankings))
    }

    fn export(&self, sink: &mut dyn Sink) {
        let sides = [&self.outbound, &self.inbound];
        for (side, label) in sides.into_iter().zip(Direction::ALL.map(Direction::label)) {
            for peer in &side.peers {
                let (address, port) = (peer.address.to_string(), peer.port.to_string());
                export_states(sink, label, &address, &port, &peer.states);
            }
            export_states(sink, label, "other", "other", &side.other);
            sink.sample(&PEERS, &[label], side.distinct.into());
            sink.sample(&FOLDED, &[label], side.folded.into());
        }
    }

    fn series(limits: &SubjectLimits) -> usize {
        let listed = last_rank(limits.peers) + 1;
        Direction::ALL.len() * (listed * State::CONNECTED.len() + 2)
    }
}

impl Peers {
    fn of(count: &TcpCount, k: usize, floor: Floor, rankings: &mut Rankings) -> Self {
        let (v4, v6) = (count.keys.v4.peers(), count.keys.v6.peers());
        let mut sides: [Side; 2] = Default::default();
        let mut places = HashMap::new();
        for direction in Direction::ALL {
            let side = &mut sides[direction as usize];
            let groups = groups(&count.keys.v4, &v4, direction)
                .chain(groups(&count.keys.v6, &v6, direction))
                .inspect(|_| side.distinct += 1);
            let all = count.directions[direction as usize].connected().total();
            let is_large = |_: &PeerKey, sockets| floor.admits(sockets, all.into());
            let largest = rankings[direction as usize].select(k, groups, is_large);
            for (at, (key, _)) in largest.into_iter().enumerate() {
                places.insert((key, direction), at);
                side.peers.push(Peer {
                    address: key.address,
                    port: key.port,
                    states: StateCounts::default(),
                });
            }
            side.folded = side.distinct - side.peers.len() as u32;
        }
        fill(&count.keys.v4, &places, &mut sides);
        fill(&count.keys.v6, &places, &mut sides);
        for (side, all) in sides.iter_mut().zip(&count.directions) {
            // What could not be tracked is in `other` too: it adds up.
            side.other = all.connected();
            for peer in &side.peers {
                side.other = side.other.without(&peer.states);
            }
        }
        let [outbound, inbound] = sides;
        Self { outbound, inbound }
    }
}

fn export_states(
    sink: &mut dyn Sink,
    direction: &str,
    peer: &str,
    port: &str,
    states: &StateCounts,
) {
    for (state, count) in states.present() {
        let labels = [direction, peer, port, state.label()];
        sink.sample(&PEER_SOCKETS, &labels, count.into());
    }
}

fn groups<A: Address>(
    table: &Table<A>,
    peers: &[(u32, u32)],
    direction: Direction,
) -> impl Iterator<Item = (PeerKey, u64)> {
    peers.iter().filter_map(move |&(at, sockets)| {
        let key = table.key(at);
        (key.direction() == direction).then(|| (key.into(), sockets.into()))
    })
}

fn fill<A: Address>(
    table: &Table<A>,
    places: &HashMap<(PeerKey, Direction), usize>,
    sides: &mut [Side; 2],
) {
    for (key, counters) in table.iter() {
        let direction = key.direction();
        if let Some(&at) = places.get(&(key.into(), direction)) {
            let states = &mut sides[direction as usize].peers[at].states;
            states.merge(&counters.states);
        }
    }
}

#[cfg(test)]
mod tests;
