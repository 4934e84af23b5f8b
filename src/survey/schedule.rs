//! When to dump, within what dumps may cost; the files in between are cheap.

use std::time::{Duration, Instant};

/// However dear a dump is, there is one in a day: a figure that old is at least
/// known to be old.
const INTERVAL_MAX: Duration = Duration::from_secs(86_400);

/// What was configured.
#[derive(Clone, Debug)]
pub struct Pace {
    pub interval: Duration,
    /// Fraction of one core that dumps may cost.
    pub max_duty: f64,
    pub age_max: Duration,
}

impl Pace {
    /// The interval of dumps, given the CPU time that the last one took.
    fn interval_for(&self, cost: Duration) -> Duration {
        let stretched =
            Duration::try_from_secs_f64(cost.as_secs_f64() / self.max_duty).unwrap_or(INTERVAL_MAX);
        stretched.min(INTERVAL_MAX).max(self.interval)
    }
}

/// The ticks of the configured interval, and at which of them to dump.
pub struct Schedule {
    pace: Pace,
    tick: Instant,
    /// The tick from which on the next dump is due.
    next_dump: Instant,
    /// Of dumps, in force.
    interval: Duration,
}

impl Schedule {
    pub fn new(pace: Pace) -> Self {
        let now = Instant::now();
        Self {
            interval: pace.interval,
            pace,
            tick: now,
            next_dump: now,
        }
    }

    pub fn interval(&self) -> Duration {
        self.interval
    }

    pub fn dump_is_due(&self) -> bool {
        self.tick >= self.next_dump
    }

    /// Takes the CPU time of the dump of this tick. The next one is counted from
    /// the tick, not from the start of the dump, which is a little later than the
    /// tick: the next tick would always be too early.
    pub fn dumped(&mut self, cost: Duration) {
        self.interval = self.pace.interval_for(cost);
        self.next_dump = self.tick + self.interval;
    }

    /// When the next tick is. A poll that took longer than the interval is followed
    /// by the next at once; those that it was too late for are not made up for.
    pub fn next_tick(&mut self) -> Instant {
        self.tick = (self.tick + self.pace.interval).max(Instant::now());
        self.tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(max_duty: f64) -> Pace {
        Pace {
            interval: 5 * SECOND,
            max_duty,
            age_max: 60 * SECOND,
        }
    }

    #[test]
    fn a_cheap_dump_keeps_the_interval() {
        assert_eq!(pace(0.05).interval_for(SECOND / 10), 5 * SECOND);
        assert_eq!(pace(1.0).interval_for(3 * SECOND), 5 * SECOND);
    }

    #[test]
    fn a_dear_dump_stretches_it_to_the_duty() {
        assert_eq!(pace(0.05).interval_for(SECOND), 20 * SECOND);
        assert_eq!(pace(1e-9).interval_for(SECOND), INTERVAL_MAX);
        assert_eq!(pace(f64::MIN_POSITIVE).interval_for(SECOND), INTERVAL_MAX);
    }

    #[test]
    fn the_first_tick_dumps_and_the_next_when_the_interval_is_over() {
        let mut schedule = Schedule::new(pace(0.05));
        assert!(schedule.dump_is_due());
        schedule.dumped(SECOND / 2);
        assert_eq!(schedule.interval(), 10 * SECOND);
        let start = schedule.tick;
        assert_eq!(schedule.next_tick(), start + 5 * SECOND);
        assert!(!schedule.dump_is_due());
        assert_eq!(schedule.next_tick(), start + 10 * SECOND);
        assert!(schedule.dump_is_due());
    }
}
