//! How much of each subject is listed, and how far that must come down to stay
//! within `limits.series`.

use std::time::Duration;

use super::ranking::last_rank;

/// Series of the exporter's own: the process, polls, collectors; with a margin
/// for error reasons and HTTP status codes that have yet to occur.
const OWN: usize = 110;

/// What a key must have to be listed: near-ties of a few sockets would take each other's
/// places at every poll, and each is a series that Prometheus remembers.
#[derive(Clone, Copy, Debug)]
pub struct Floor {
    pub sockets: u32,
    /// Of all there are of the kind, 0 to 1.
    pub share: f64,
}

impl Floor {
    /// Everything is listed.
    pub const NONE: Self = Self {
        sockets: 0,
        share: 0.0,
    };

    /// Whether so many of all these are enough.
    pub fn admits(self, sockets: u64, all: u64) -> bool {
        sockets >= u64::from(self.sockets) && sockets as f64 >= all as f64 * self.share
    }

    /// The same of used ports; a tenth of them is never hidden.
    pub fn admits_ports(self, used: u64, all: u64) -> bool {
        self.admits(used, all) || used * 10 >= all
    }
}

/// How many keys of each kind to list, and what goes with them.
#[derive(Clone, Debug)]
pub struct SubjectLimits {
    pub peers: usize,
    pub destinations: usize,
    pub sources: usize,
    pub local_ports: usize,
    /// 0 where sockets are not told apart by cgroup.
    pub cgroups: usize,
    /// What a key must have to be listed.
    pub floor: Floor,
    /// Local ports to list in any case.
    pub always: Vec<u16>,
    /// How far back the peak of utilization reaches.
    pub peak_window: Duration,
}

impl SubjectLimits {
    /// The most series that these limits can lead to, with every key that
    /// hysteresis may keep.
    pub fn series(&self) -> usize {
        OWN + super::series(self)
    }

    /// The limits, brought down alike until they fit in `series`; `None` when even
    /// one key of each kind is too many.
    pub fn fit(&self, series: usize) -> Option<Self> {
        /// In thousandths of the configured limits.
        const STEPS: usize = 1000;
        let scaled = |step: usize| {
            let scale = |limit: usize| (limit * step / STEPS).max(1);
            Self {
                peers: scale(self.peers),
                destinations: scale(self.destinations),
                sources: scale(self.sources),
                local_ports: scale(self.local_ports),
                // The first to go where there is room for nearly nothing.
                cgroups: self.cgroups * step / STEPS,
                ..self.clone()
            }
        };
        (0..=STEPS)
            .rev()
            .map(scaled)
            .find(|limits| limits.series() <= series)
    }

    /// Local ports that can be listed at once.
    pub(super) fn most_local_ports(&self) -> usize {
        last_rank(self.local_ports) + self.always.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_kernel::limits;

    #[test]
    fn the_defaults_fit_as_they_are() {
        let defaults = SubjectLimits {
            peers: 15,
            ..limits(20)
        };
        let fitted = defaults.fit(1500).unwrap();
        assert_eq!((fitted.peers, fitted.sources, fitted.cgroups), (15, 20, 5));
    }

    #[test]
    fn too_much_is_brought_down_alike() {
        let fitted = limits(1000).fit(1500).unwrap();
        assert!(fitted.series() <= 1500);
        assert!(fitted.peers >= 15, "{fitted:?}");
        assert_eq!(fitted.peers, fitted.sources);
    }

    #[test]
    fn the_floor_is_absolute_and_relative_and_hides_no_tenth_of_the_ports() {
        let floor = Floor {
            sockets: 10,
            share: 0.01,
        };
        assert!(floor.admits(10, 1000) && !floor.admits(10, 1001) && !floor.admits(9, 10));
        assert!(floor.admits_ports(2, 20) && !floor.admits_ports(2, 21));
        assert!(Floor::NONE.admits(0, 1000));
    }

    #[test]
    fn the_smallest_budget_has_room_for_one_of_each() {
        assert!(limits(20).fit(400).unwrap().peers >= 1);
        let many = SubjectLimits {
            always: (1..=100).collect(),
            ..limits(20)
        };
        assert!(many.fit(400).is_none());
    }
}
