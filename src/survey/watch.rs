//! What is known of a namespace between two dumps: its counters at each tick, and from
//! them how full its ports can be by now.

use std::time::{Duration, Instant};

use super::activity::Activity;
use crate::model::pool::Pool;
use crate::subjects::ports::bound::Bound;
use crate::subjects::ports::settings::PortFiles;

/// A namespace that cannot have a larger share of its ports in use is quiet.
const QUIET: f64 = 0.05;

/// The ticks of one namespace.
#[derive(Debug, Default)]
pub struct Watch {
    now: Option<Activity>,
    ports: Ports,
    dumped: Option<Dumped>,
    /// As of the last tick; `None` where the kernel does not say.
    pub bound: Option<Bound>,
    /// As of the last dump: how full the ports were, for all that is known.
    pub seen: Bound,
}

/// What the last dump found, if it is whole.
#[derive(Debug)]
struct Dumped {
    /// Before it began: what came while it ran is counted twice rather than never.
    before: Activity,
    files: PortFiles,
    /// Most ports toward any destination that connect() can at worst not have.
    found: Pool,
}

/// The range without the reserved ports, and how many these are.
#[derive(Debug, Default)]
struct Ports {
    files: Option<PortFiles>,
    count: u32,
    read: Option<Instant>,
}

impl Watch {
    /// Takes the counters of now, and the range if it was read.
    pub fn tick(&mut self, now: Option<Activity>, files: Option<PortFiles>) {
        self.now = now;
        if let Some(files) = files {
            self.ports.read = Some(Instant::now());
            if self.ports.files.as_ref() != Some(&files) {
                self.ports.count = files.effective().len();
                self.ports.files = Some(files);
            }
        }
        self.bound = self.bound();
    }

    pub fn files_are_older_than(&self, age: Duration) -> bool {
        self.ports.read.is_none_or(|read| read.elapsed() > age)
    }

    /// With fewer sockets than this the bound stays where the namespace is quiet, however
    /// many calls of connect() there were.
    pub fn few_sockets(&self) -> u64 {
        (f64::from(self.ports.count) * QUIET) as u64
    }

    /// Whether the ports are far from gone, for all that is known without a dump.
    pub fn is_quiet(&self) -> bool {
        self.highest() < QUIET
    }

    /// How full the ports can be; 0 where the kernel does not say.
    pub fn highest(&self) -> f64 {
        self.bound.unwrap_or_default().highest()
    }

    /// Nothing could be read.
    pub fn lost(&mut self) {
        *self = Self {
            seen: self.seen,
            ..Self::default()
        };
    }

    /// Takes what a dump has found since the last tick; `None` when it was not whole.
    pub fn dumped(&mut self, found: Option<Pool>) {
        let known = found.zip(self.now).zip(self.ports.files.clone());
        self.dumped = known.map(|((found, before), files)| Dumped {
            before,
            files,
            found,
        });
        self.bound = self.bound();
        self.seen = self.bound.unwrap_or_default();
    }

    /// Whether other ports may be handed out than at the last dump.
    pub fn has_other_ports(&self) -> bool {
        let dumped = self.dumped.as_ref().map(|dumped| &dumped.files);
        dumped.is_some_and(|files| self.ports.files.as_ref() != Some(files))
    }

    pub fn tcp_sockets(&self) -> u64 {
        self.now.map_or(0, |now| now.tcp_sockets)
    }

    fn bound(&self) -> Option<Bound> {
        let (now, files) = (self.now?, self.ports.files.as_ref()?);
        let since = self.dumped.as_ref().and_then(|dumped| {
            let connects = now.connects?.checked_sub(dumped.before.connects?)?;
            (dumped.files == *files).then_some((dumped.found, connects))
        });
        Some(Bound::of(
            now.tcp_sockets,
            now.udp_sockets,
            self.ports.count,
            since,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ports::PortRange;

    const FOUND: Pool = Pool {
        used: 10,
        capacity: 100,
    };

    fn files(last: u16) -> PortFiles {
        PortFiles {
            range: PortRange {
                first: 40_000,
                last,
            },
            reserved: Vec::new(),
        }
    }

    fn activity(tcp_sockets: u64, connects: u64) -> Activity {
        Activity {
            tcp_sockets,
            udp_sockets: 0,
            connects: Some(connects),
        }
    }

    /// The bound of TCP after a dump, and then a tick.
    fn after(found: Option<Pool>, tick: Activity, last: u16) -> (f64, f64) {
        let mut watch = Watch::default();
        watch.tick(Some(activity(50, 1000)), Some(files(40_099)));
        watch.dumped(found);
        watch.tick(Some(tick), Some(files(last)));
        (watch.seen.tcp, watch.bound.unwrap().tcp)
    }

    #[test]
    fn the_bound_rises_from_what_a_dump_has_found() {
        assert_eq!(after(Some(FOUND), activity(50, 1005), 40_099), (0.1, 0.15));
        assert_eq!(after(Some(FOUND), activity(12, 2000), 40_099), (0.1, 0.12));
    }

    #[test]
    fn a_dump_that_failed_leaves_the_sockets() {
        assert_eq!(after(None, activity(60, 1005), 40_099), (0.5, 0.6));
    }

    #[test]
    fn other_ports_or_another_count_void_the_dump() {
        assert_eq!(after(Some(FOUND), activity(30, 1000), 40_049), (0.1, 0.6));
        assert_eq!(after(Some(FOUND), activity(30, 999), 40_099), (0.1, 0.3));
    }

    #[test]
    fn a_tick_that_cannot_be_read_leaves_no_bound() {
        let mut watch = Watch::default();
        watch.tick(Some(activity(50, 1000)), Some(files(40_099)));
        watch.dumped(Some(FOUND));
        watch.lost();
        assert_eq!((watch.bound, watch.seen.tcp), (None, 0.1));
        watch.tick(None, Some(files(40_099)));
        assert_eq!(watch.bound, None);
    }
}
