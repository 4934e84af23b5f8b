//! Use of the ports of each local address: the pool of bind(0), of
//! bind-before-connect and of UDP (net/ipv4/inet_connection_sock.c, net/ipv4/udp.c).

use std::net::IpAddr;

use serde::Serialize;

use crate::count::addresses::LocalAddresses;
use crate::subjects::limits::Floor;
use crate::subjects::metric::{Sink, metrics};
use crate::subjects::ranking::{Ranking, last_rank};

/// Ports of one local address; `None` is any address, the pool of the wildcard.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    pub address: Option<IpAddr>,
    pub used: u32,
}

/// The local addresses with most ports, of both protocols.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sources {
    #[serde(rename = "tcp_sources")]
    pub tcp: Vec<Source>,
    #[serde(rename = "tcp_sources_folded")]
    pub tcp_folded: u32,
    /// `None` while UDP sockets cannot be dumped.
    #[serde(rename = "udp_sources")]
    pub udp: Option<Vec<Source>>,
    #[serde(rename = "udp_sources_folded")]
    pub udp_folded: u32,
    /// Most ports that any address holds, listed or not.
    #[serde(skip)]
    pub worst_tcp: u32,
    #[serde(skip)]
    pub worst_udp: u32,
}

metrics! {
    USED: gauge "sockdiag_ephemeral_source_ports_used" [protocol, source]
        "Distinct ports in the range held by any socket on that local address or on a wildcard that covers it, as of the last poll, the largest; source *: on any address (sock_diag).";
    FOLDED: gauge "sockdiag_ephemeral_sources_folded" [protocol]
        "Local addresses with ports in the range as of the last poll beyond limits.sources, which are not exported; the utilization ratio knows them (sock_diag).";
}

/// Of both protocols, `*` included.
pub fn series(k: usize) -> usize {
    2 * (last_rank(k) + 2)
}

/// What was listed last time, of TCP and of UDP.
pub type SourceRankings = [Ranking<IpAddr>; 2];

impl Sources {
    pub fn of(
        tcp: &LocalAddresses,
        udp: Option<&LocalAddresses>,
        available: u32,
        (k, floor): (usize, Floor),
        [tcp_ranking, udp_ranking]: &mut SourceRankings,
    ) -> Self {
        let all_ports = u64::from(available);
        let is_large = |_: &IpAddr, used: u64| floor.admits_ports(used, all_ports);
        let tcp = Listed::of(tcp, k, is_large, tcp_ranking);
        let udp = udp.map(|udp| Listed::of(udp, k, is_large, udp_ranking));
        Self {
            tcp: tcp.rows,
            tcp_folded: tcp.folded,
            worst_tcp: tcp.worst,
            udp_folded: udp.as_ref().map_or(0, |udp| udp.folded),
            worst_udp: udp.as_ref().map_or(0, |udp| udp.worst),
            udp: udp.map(|udp| udp.rows),
        }
    }

    /// Those of each protocol that was dumped, and how many are folded.
    pub fn by_protocol(&self) -> impl Iterator<Item = (&'static str, &[Source], u32)> {
        let tcp = ("tcp", &self.tcp[..], self.tcp_folded);
        let udp = self.udp.iter();
        let udp = udp.map(|rows| ("udp", &rows[..], self.udp_folded));
        std::iter::once(tcp).chain(udp)
    }

    pub fn export(&self, sink: &mut dyn Sink) {
        for (protocol, rows, folded) in self.by_protocol() {
            for Source { address, used } in rows {
                let label = address.map_or_else(|| "*".to_owned(), |address| address.to_string());
                sink.sample(&USED, &[protocol, &label], (*used).into());
            }
            sink.sample(&FOLDED, &[protocol], folded.into());
        }
    }
}

/// One protocol's.
struct Listed {
    rows: Vec<Source>,
    folded: u32,
    worst: u32,
}

impl Listed {
    fn of(
        addresses: &LocalAddresses,
        k: usize,
        is_large: impl Fn(&IpAddr, u64) -> bool,
        ranking: &mut Ranking<IpAddr>,
    ) -> Self {
        let used: Vec<_> = addresses.used().collect();
        let sizes = used.iter().map(|&(address, used)| (address, used.into()));
        let largest = ranking.select(k, sizes, is_large);
        let folded = (used.len() - largest.len()) as u32;
        let rows = largest.into_iter().map(|(address, used)| Source {
            address: Some(address),
            used: used as u32,
        });
        let any = Source {
            address: None,
            used: addresses.any().len(),
        };
        Self {
            rows: rows.chain([any]).collect(),
            folded,
            worst: used.iter().map(|&(_, used)| used).max().unwrap_or(0),
        }
    }
}
