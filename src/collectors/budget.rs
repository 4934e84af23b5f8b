//! How many series a namespace can cost, and how far its limits must come down
//! to stay within `limits.series`.

use super::observer::Limits;
use crate::kernel::state::{STATES, State};
use crate::top::last_rank;

/// Series that do not depend on any limit: states, ranges, counters, the
/// exporter's own. More than there are, by a margin for error reasons and HTTP
/// status codes that have yet to occur.
const FIXED: usize = 230;
const PORT_STATES: usize = STATES - 1;
const UDP_STATES: usize = 2;
const DESTINATION_METRICS: usize = 4;

/// The most series that these limits can lead to, with every key that
/// hysteresis may keep.
pub fn cost(limits: &Limits) -> usize {
    let ports = last_rank(limits.local_ports);
    let ports_and_other = ports + limits.always.len() + 1;
    let accept_queues = 2 * ports;
    let peers = 2 * (last_rank(limits.peers) + 1) * State::CONNECTED.len();
    // The worst one is shown beside the largest.
    let destinations = (last_rank(limits.destinations) + 1) * DESTINATION_METRICS;
    let sources = 2 * last_rank(limits.sources);
    FIXED
        + ports_and_other * (PORT_STATES + UDP_STATES)
        + accept_queues
        + peers
        + destinations
        + sources
}

/// The limits, brought down alike until they fit in `series`; `None` when even
/// one key of each kind is too many.
pub fn fit(limits: &Limits, series: usize) -> Option<Limits> {
    /// In thousandths of the configured limits.
    const STEPS: usize = 1000;
    let scaled = |step: usize| {
        let scale = |limit: usize| (limit * step / STEPS).max(1);
        Limits {
            peers: scale(limits.peers),
            destinations: scale(limits.destinations),
            sources: scale(limits.sources),
            local_ports: scale(limits.local_ports),
            ..limits.clone()
        }
    };
    (0..=STEPS)
        .rev()
        .map(scaled)
        .find(|limits| cost(limits) <= series)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn limits(each: usize) -> Limits {
        Limits {
            peers: each,
            destinations: each,
            sources: each,
            local_ports: each,
            tracked_keys: 1000,
            always: Vec::new(),
            dump_timeout: Duration::from_secs(1),
            peak_window: Duration::from_secs(1),
        }
    }

    #[test]
    fn the_defaults_fit_as_they_are() {
        assert_eq!(fit(&limits(20), 1500).unwrap().peers, 20);
    }

    #[test]
    fn too_much_is_brought_down_alike() {
        let fitted = fit(&limits(1000), 1500).unwrap();
        assert!(cost(&fitted) <= 1500);
        assert!(fitted.peers >= 20, "{fitted:?}");
        assert_eq!(fitted.peers, fitted.sources);
    }

    #[test]
    fn the_smallest_budget_has_room_for_one_of_each() {
        assert!(fit(&limits(20), 400).unwrap().peers >= 1);
        let many = Limits {
            always: (1..=100).collect(),
            ..limits(20)
        };
        assert!(fit(&many, 400).is_none());
    }
}
