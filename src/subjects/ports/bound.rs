//! What the use of the ports cannot exceed now, without a dump: what the last dump
//! found, and the calls of connect() since (`ActiveOpens` of net/snmp), or all the
//! sockets that there are (net/sockstat, net/sockstat6), whichever is less.
//!
//! A call of connect() takes one port toward one destination at most. One that binds
//! first takes a port from everybody instead; with u of A ports used, (u + 1) / A is no
//! less than u / (A - 1), so counting it as used is on the safe side. Ports of new
//! sockets that are bound and not connected are in none of these counters, and a changed
//! range voids what the last dump found.

use serde::Serialize;

use crate::model::pool::Pool;
use crate::subjects::metric::{Sink, metrics};

/// The highest utilization there can be now, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bound {
    /// Toward any destination.
    pub tcp: f64,
    /// On any local address.
    pub udp: f64,
}

metrics! {
    BOUND: gauge "sockdiag_ephemeral_utilization_bound_ratio" [protocol]
        "What the utilization ratio cannot exceed, tcp in scope destination and udp in scope source, from the sockets as of the last poll and the connect() calls since, read at every tick without a dump; ports that were only bound since are not in it (net/snmp ActiveOpens, net/sockstat, net/sockstat6).";
}

/// Of both protocols.
pub const SERIES: usize = 2;

impl Bound {
    /// Of a namespace with so many sockets of either protocol and so many ports in the
    /// range; `since` is what the last dump found, and the calls of connect() since it
    /// began.
    pub fn of(tcp: u64, udp: u64, ports: u32, since: Option<(Pool, u64)>) -> Self {
        let (gone, available) = match since {
            Some((found, connects)) => (found.used + connects, found.capacity),
            None => (tcp, ports.into()),
        };
        Self {
            tcp: Pool::new(gone.min(tcp), available).share(),
            udp: Pool::new(udp, ports).share(),
        }
    }

    /// Of either protocol.
    pub fn highest(self) -> f64 {
        self.tcp.max(self.udp)
    }

    pub fn export(&self, sink: &mut dyn Sink) {
        sink.sample(&BOUND, &["tcp"], self.tcp);
        sink.sample(&BOUND, &["udp"], self.udp);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOUND: Pool = Pool {
        used: 40,
        capacity: 80,
    };

    #[test]
    fn connects_since_the_dump_raise_it_as_far_as_there_are_sockets() {
        let bound = |sockets, connects| Bound::of(sockets, 0, 100, Some((FOUND, connects))).tcp;
        assert_eq!(bound(1000, 0), 0.5);
        assert_eq!(bound(1000, 20), 0.75);
        assert_eq!(bound(1000, 1000), 1.0);
        assert_eq!(bound(60, 1000), 0.75);
        assert_eq!(bound(20, 0), 0.25, "closed since");
    }

    #[test]
    fn without_a_dump_all_sockets_may_go_to_one_place() {
        let bound = Bound::of(25, 10, 100, None);
        assert_eq!(
            bound,
            Bound {
                tcp: 0.25,
                udp: 0.1
            }
        );
        assert_eq!(Bound::of(0, 0, 0, None).tcp, 1.0, "nothing to be had");
    }
}
