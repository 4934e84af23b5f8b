//! When to dump which namespace, within what dumps may cost.
//!
//! A dump is *urgent* when the ports may be fuller, or must be emptier, than the last one
//! found by a step that somebody would notice, and a matter of *routine* once the interval in force is
//! over. All dumps are paid from one budget (`Budget`); routine leaves enough of it for
//! the next urgent one.

use std::time::{Duration, Instant};

use super::budget::Budget;
use crate::subjects::ports::bound::Bound;

/// However dear a dump is, there is one in a day: a figure that old is at least
/// known to be old.
const INTERVAL_MAX: Duration = Duration::from_secs(86_400);
/// A routine dump is due so long before the last one is too old to be served.
const AGE_SHARE: f64 = 0.75;
/// Part of the budget that routine may take where dumps are dear.
const ROUTINE: f64 = 0.5;

/// Share of the ports that makes a dump urgent when it may be gone since the last one:
/// of those that were free, for the last few matter more than the first, and at least
/// the second of them.
const STEP: f64 = 0.05;
const STEP_LEAST: f64 = 0.01;

/// What was configured.
#[derive(Clone, Debug)]
pub struct Pace {
    pub interval: Duration,
    /// Between two looks at the counters.
    pub tick: Duration,
    /// Fraction of one core that dumps may cost.
    pub max_duty: f64,
    pub age_max: Duration,
}

impl Pace {
    /// The interval of routine dumps, given the CPU time that one of each namespace
    /// takes.
    fn interval_for(&self, cost: Duration) -> Duration {
        let least = at_duty(cost, self.max_duty);
        if least <= self.interval {
            return self.interval;
        }
        let most = self.slow().max(least);
        at_duty(cost, self.max_duty * ROUTINE).min(most)
    }

    /// The interval of routine dumps of quiet namespaces, and of looks at their files.
    pub fn slow(&self) -> Duration {
        self.age_max.mul_f64(AGE_SHARE).max(self.interval)
    }

    /// The configured interval in equal parts, none of them longer than a tick.
    fn tick(&self) -> Duration {
        let parts = self
            .interval
            .as_nanos()
            .div_ceil(self.tick.as_nanos().max(1));
        self.interval / u32::try_from(parts).unwrap_or(u32::MAX)
    }
}

/// The time of which so much work is this fraction.
fn at_duty(work: Duration, duty: f64) -> Duration {
    let time = Duration::try_from_secs_f64(work.as_secs_f64() / duty);
    time.unwrap_or(INTERVAL_MAX).min(INTERVAL_MAX)
}

/// A namespace that may be dumped.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// The exporter's own namespace, which is dumped whatever else there is.
    pub is_own: bool,
    /// The tick of the last dump.
    pub dumped: Option<Instant>,
    /// CPU time of that, or of the one to come.
    pub cost: Duration,
    /// How full the ports may be, and were found to be.
    pub bound: Bound,
    pub seen: Bound,
    /// Other ports may be handed out than at the last dump.
    pub has_other_ports: bool,
    /// Not before, for the last dump hung.
    pub rests_until: Option<Instant>,
}

impl Candidate {
    fn is_urgent(&self) -> bool {
        let is_noticed = |bound: f64, seen: f64| {
            let step = (STEP * (1.0 - seen)).max(STEP_LEAST);
            (bound - seen).abs() >= step || (bound >= 1.0 && seen < 1.0)
        };
        self.has_other_ports
            || is_noticed(self.bound.tcp, self.seen.tcp)
            || is_noticed(self.bound.udp, self.seen.udp)
    }

    /// Whether its ports are worth a routine dump where these are dear.
    fn matters(&self) -> bool {
        self.is_own || self.bound.highest().max(self.seen.highest()) >= STEP
    }
}

/// The ticks, and at which of them to dump.
pub struct Schedule {
    pace: Pace,
    tick: Instant,
    budget: Budget,
    /// Of routine dumps of namespaces that matter, in force.
    interval: Duration,
    /// Whether there is time for quiet ones, too.
    all: bool,
}

/// Why a namespace is to be dumped, the best reason last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    Routine,
    Urgent,
    /// Routine that urgent dumps have kept waiting.
    Overdue,
    /// There is nothing to serve yet.
    First,
}

impl Schedule {
    pub fn new(pace: Pace) -> Self {
        let now = Instant::now();
        Self {
            interval: pace.interval,
            budget: Budget::new(pace.max_duty, now),
            pace,
            tick: now,
            all: false,
        }
    }

    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// The tick that is on.
    pub fn tick(&self) -> Instant {
        self.tick
    }

    /// The interval and the budget, now that these namespaces are known.
    pub fn plan(&mut self, candidates: &[Candidate]) {
        let costs = candidates.iter().map(|one| one.cost);
        let (all, dearest): (Duration, _) = (costs.clone().sum(), costs.max());
        let that_matter = candidates.iter().filter(|one| one.matters());
        let some: Duration = that_matter.map(|one| one.cost).sum();
        self.interval = self.pace.interval_for(some);
        let part = |cost: Duration, interval: Duration| cost.as_secs_f64() / interval.as_secs_f64();
        let left = self.pace.max_duty - part(some, self.interval);
        self.all = part(all - some, self.pace.slow()) <= left * ROUTINE;
        self.budget.accrue(self.tick, dearest.unwrap_or_default());
    }

    /// Which of them to dump next at this tick, the most endangered first. One that
    /// cannot be paid yet is waited for.
    pub fn next(&self, candidates: &[Candidate]) -> Option<usize> {
        let due = candidates.iter().enumerate().filter_map(|(at, one)| {
            let (reason, weight) = self.reason(one)?;
            Some((reason, weight, at))
        });
        let (reason, _, at) = due.max_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)))?;
        let is_dear = self.interval > self.pace.interval;
        let dumps = match reason {
            Reason::First => return Some(at),
            Reason::Routine if is_dear || !candidates[at].matters() => 2,
            Reason::Routine | Reason::Urgent | Reason::Overdue => 1,
        };
        let can = self.budget.affords(dumps, candidates[at].cost);
        can.then_some(at)
    }

    /// And how much it matters among others of the same reason.
    fn reason(&self, one: &Candidate) -> Option<(Reason, f64)> {
        if one.rests_until.is_some_and(|until| self.tick < until) {
            return None;
        }
        let age = one.dumped.map(|dumped| self.tick.duration_since(dumped));
        let is_regular = self.all || one.matters();
        let interval = match one.matters() {
            true => self.interval,
            false => self.pace.slow(),
        };
        match age {
            None if one.is_own => Some((Reason::First, 0.0)),
            Some(age) if is_regular && age >= 2 * interval => {
                Some((Reason::Overdue, age.as_secs_f64()))
            }
            _ if one.is_urgent() => Some((Reason::Urgent, one.bound.highest())),
            None if is_regular => Some((Reason::Routine, f64::INFINITY)),
            Some(age) if is_regular && age >= interval => {
                Some((Reason::Routine, age.as_secs_f64()))
            }
            _ => None,
        }
    }

    /// Takes the CPU time of a dump. The first one is free: there was no time yet to
    /// save for it.
    pub fn dumped(&mut self, one: &Candidate, cost: Duration) {
        if one.dumped.is_some() || !one.is_own {
            self.budget.spend(cost);
        }
    }

    /// How long a dump is not to be tried again that failed after this time.
    pub fn rest(&self, took: Duration) -> Duration {
        at_duty(took, self.pace.max_duty)
    }

    /// When the next tick is. One that took longer is followed by the next at once;
    /// those that it was too late for are not made up for.
    pub fn next_tick(&mut self) -> Instant {
        self.tick = (self.tick + self.pace.tick()).max(Instant::now());
        self.tick
    }
}

#[cfg(test)]
mod tests;
