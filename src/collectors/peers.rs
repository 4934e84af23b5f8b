//! Remote peers of TCP sockets: who is connected to what, the largest of them.

use std::net::IpAddr;

use hashbrown::HashMap;
use serde::Serialize;

use super::metric::{Metric, Sink};
use crate::kernel::state::{State, StateCounts};
use crate::tally::Tally;
use crate::tally::keys::{Address, Table};
use crate::top::Ranking;

/// A remote address and a service port: the remote one of outbound sockets, the
/// local one of inbound sockets.
pub type PeerKey = (IpAddr, u16);

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

static PEER_SOCKETS: Metric = Metric::gauge(
    "sockdiag_peer_sockets",
    &["direction", "peer", "port", "state"],
    "TCP sockets as of the last poll by remote address and service port (remote port of outbound, local port of inbound), the largest; all others in peer other (sock_diag).",
);
static PEERS: Metric = Metric::gauge(
    "sockdiag_peers",
    &["direction"],
    "Distinct pairs of remote address and service port as of the last poll (sock_diag).",
);
static FOLDED: Metric = Metric::gauge(
    "sockdiag_peers_folded",
    &["direction"],
    "Pairs of remote address and service port as of the last poll that are in peer other (sock_diag).",
);

pub static METRICS: [&Metric; 3] = [&PEER_SOCKETS, &PEERS, &FOLDED];

/// What was shown last time, by direction: outbound, inbound.
#[derive(Default)]
pub struct Rankings([Ranking<PeerKey>; 2]);

impl Peers {
    pub fn collect(tally: &Tally, k: usize, rankings: &mut Rankings) -> Self {
        let (v4, v6) = (tally.keys_v4().peers(), tally.keys_v6().peers());
        let mut sides: [Side; 2] = Default::default();
        let mut places = HashMap::new();
        for (side, inbound) in sides.iter_mut().zip([false, true]) {
            let groups = groups(tally.keys_v4(), &v4, inbound)
                .chain(groups(tally.keys_v6(), &v6, inbound))
                .inspect(|_| side.distinct += 1);
            let largest = rankings.0[usize::from(inbound)].select(k, groups);
            for (at, ((address, port), _)) in largest.into_iter().enumerate() {
                places.insert((address, port, inbound), at);
                side.peers.push(Peer {
                    address,
                    port,
                    states: StateCounts::default(),
                });
            }
            side.folded = side.distinct - side.peers.len() as u32;
        }
        fill(tally.keys_v4(), &places, &mut sides);
        fill(tally.keys_v6(), &places, &mut sides);
        for (side, all) in sides.iter_mut().zip(tally.directions()) {
            // What could not be tracked is in `other` too: it adds up.
            side.other = all.connected();
            for peer in &side.peers {
                side.other = side.other.without(&peer.states);
            }
        }
        let [outbound, inbound] = sides;
        Self { outbound, inbound }
    }

    pub fn export(&self, sink: &mut dyn Sink) {
        for (direction, side) in [("outbound", &self.outbound), ("inbound", &self.inbound)] {
            for peer in &side.peers {
                let (address, port) = (peer.address.to_string(), peer.port.to_string());
                export_states(sink, direction, &address, &port, &peer.states);
            }
            export_states(sink, direction, "other", "other", &side.other);
            sink.sample(&PEERS, &[direction], side.distinct.into());
            sink.sample(&FOLDED, &[direction], side.folded.into());
        }
    }
}

fn export_states(
    sink: &mut dyn Sink,
    direction: &str,
    peer: &str,
    port: &str,
    states: &StateCounts,
) {
    for state in State::CONNECTED {
        let labels = [direction, peer, port, state.label()];
        sink.sample(&PEER_SOCKETS, &labels, states.get(state).into());
    }
    let unknown = states.get(State::Unknown);
    if unknown > 0 {
        sink.sample(
            &PEER_SOCKETS,
            &[direction, peer, port, State::Unknown.label()],
            unknown.into(),
        );
    }
}

fn groups<A: Address>(
    table: &Table<A>,
    peers: &[(u32, u32)],
    inbound: bool,
) -> impl Iterator<Item = (PeerKey, u64)> {
    peers.iter().filter_map(move |&(at, sockets)| {
        let key = table.key(at);
        let peer = (key.remote.to_ip(), key.port);
        (key.is_inbound() == inbound).then_some((peer, sockets.into()))
    })
}

fn fill<A: Address>(
    table: &Table<A>,
    places: &HashMap<(IpAddr, u16, bool), usize>,
    sides: &mut [Side; 2],
) {
    for (key, counters) in table.iter() {
        if let Some(&at) = places.get(&(key.remote.to_ip(), key.port, key.is_inbound())) {
            sides[usize::from(key.is_inbound())].peers[at]
                .states
                .merge(&counters.states);
        }
    }
}

#[cfg(test)]
mod tests;
