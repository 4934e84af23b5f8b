//! What dumps may cost: a part of one core, which time without them saves up.

use std::time::{Duration, Instant};

/// So many of the dearest dumps can be saved for.
const DUMPS: f64 = 3.0;

/// CPU time that is there to be spent on dumps.
pub struct Budget {
    /// Fraction of one core.
    duty: f64,
    /// Seconds; below zero where more was spent.
    saved: f64,
    at: Instant,
}

impl Budget {
    /// With nothing saved.
    pub fn new(duty: f64, now: Instant) -> Self {
        Self {
            duty,
            saved: 0.0,
            at: now,
        }
    }

    /// Time has gone by; `dearest` is what the dearest dump costs.
    pub fn accrue(&mut self, now: Instant, dearest: Duration) {
        let income = now.duration_since(self.at).as_secs_f64() * self.duty;
        let most = DUMPS * dearest.as_secs_f64();
        self.saved = (self.saved + income).min(most);
        self.at = now;
    }

    pub fn spend(&mut self, cost: Duration) {
        self.saved -= cost.as_secs_f64();
    }

    /// Whether so many dumps of this cost can be paid.
    pub fn affords(&self, dumps: u32, cost: Duration) -> bool {
        self.saved >= (cost * dumps).as_secs_f64()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn quiet_time_saves_for_a_few_dumps_and_no_more() {
        let start = Instant::now();
        let mut budget = Budget::new(0.05, start);
        assert!(!budget.affords(1, SECOND));
        budget.accrue(start + 20 * SECOND, SECOND);
        assert!(budget.affords(1, SECOND) && !budget.affords(2, SECOND));
        budget.accrue(start + 3600 * SECOND, SECOND);
        assert!(budget.affords(3, SECOND) && !budget.affords(4, SECOND));
    }

    #[test]
    fn what_was_spent_must_come_in_again() {
        let start = Instant::now();
        let mut budget = Budget::new(0.5, start);
        budget.spend(3 * SECOND);
        budget.accrue(start + 6 * SECOND, SECOND);
        assert!(budget.affords(1, Duration::ZERO) && !budget.affords(1, SECOND));
        budget.accrue(start + 8 * SECOND, SECOND);
        assert!(budget.affords(1, SECOND));
    }
}
