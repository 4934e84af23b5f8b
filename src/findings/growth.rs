//! How fast something has grown over the last minutes.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::subjects::Facts;

/// How far back growth is looked at, and how many points are kept of it.
const WINDOW: Duration = Duration::from_secs(300);
const POINTS: u32 = 30;
/// Less than this says nothing about a trend.
const SHORTEST: Duration = Duration::from_secs(20);

/// How long a name that is in the facts no more is remembered: a dump that fails
/// must not cost the trend, least of all when memory is short.
const GAP: Duration = Duration::from_secs(60);

/// Past values of what findings are about, by name; only of what was in the facts
/// of the last minute, so bounded by their limits.
#[derive(Debug, Default)]
pub struct History {
    series: HashMap<String, VecDeque<(Instant, u64)>>,
}

/// What a series has done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    pub per_second: f64,
}

impl Growth {
    /// When `free` more will be gone.
    pub fn exhausts(self, free: u64) -> Option<Duration> {
        (self.per_second > 0.0)
            .then(|| Duration::try_from_secs_f64(free as f64 / self.per_second).ok())?
    }
}

impl History {
    /// Remembers the values of these facts, and forgets what has not been there
    /// for a while.
    pub fn record(&mut self, facts: &Facts) {
        self.record_at(Instant::now(), values(facts));
    }

    pub(super) fn record_at(&mut self, now: Instant, values: Vec<(String, u64)>) {
        for (name, value) in values {
            let points = self.series.entry(name).or_default();
            let is_due = points
                .back()
                .is_none_or(|&(then, _)| now.duration_since(then) >= WINDOW / POINTS);
            if is_due {
                points.push_back((now, value));
            }
            while points
                .front()
                .is_some_and(|&(then, _)| now.duration_since(then) > WINDOW)
            {
                points.pop_front();
            }
        }
        self.series.retain(|_, points| {
            let last = points.back();
            last.is_some_and(|&(then, _)| now.duration_since(then) <= GAP)
        });
    }

    /// Growth from the oldest point that is kept to `value` now; none when there
    /// is too little to go by.
    pub fn growth(&self, name: &str, value: u64) -> Option<Growth> {
        self.growth_at(Instant::now(), name, value)
    }

    fn growth_at(&self, now: Instant, name: &str, value: u64) -> Option<Growth> {
        let &(then, before) = self.series.get(name)?.front()?;
        let elapsed = now.duration_since(then);
        (elapsed >= SHORTEST).then(|| Growth {
            per_second: (value as f64 - before as f64) / elapsed.as_secs_f64(),
        })
    }
}

/// Names of what can grow.
pub(super) fn destination(source: &str, destination: &str, port: u16) -> String {
    format!("destination {source} {destination} {port}")
}

pub(super) fn source(protocol: &str, address: &str) -> String {
    format!("source {protocol} {address}")
}

pub(super) fn event(subject: &str, event: &str) -> String {
    format!("event {subject} {event}")
}

pub(super) const CONNTRACK: &str = "conntrack";
pub(super) const CLOSE_WAIT: &str = "close_wait";

pub(super) fn values(facts: &Facts) -> Vec<(String, u64)> {
    use crate::model::state::State;
    let mut values = Vec::new();
    if let Some(ports) = facts.ephemeral.measured() {
        for row in &ports.destinations.rows {
            let name = destination(&row.source_label(), &row.destination.to_string(), row.port);
            values.push((name, row.blocked().into()));
        }
        let udp = ports.sources.udp.iter().flatten().map(|row| ("udp", row));
        for (protocol, row) in ports.sources.tcp.iter().map(|row| ("tcp", row)).chain(udp) {
            if let Some(address) = row.address {
                values.push((source(protocol, &address.to_string()), row.used.into()));
            }
        }
    }
    if let Some(table) = facts.conntrack.measured() {
        values.push((CONNTRACK.to_owned(), table.entries));
        for &(name, count) in table.events.iter().flatten() {
            values.push((event("conntrack", name), count));
        }
    }
    if let Some(tcp) = facts.tcp.measured() {
        for &(name, count) in &tcp.events {
            values.push((event("tcp", name), count));
        }
    }
    if let Some(sockets) = facts.sockets.measured() {
        let count =
            |state| u64::from(sockets.inet.get(state)) + u64::from(sockets.inet6.get(state));
        values.push((CLOSE_WAIT.to_owned(), count(State::CloseWait)));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(start: Instant, second: u64) -> Instant {
        start + Duration::from_secs(second)
    }

    #[test]
    fn growth_is_per_second_over_the_window() {
        let (start, mut history) = (Instant::now(), History::default());
        for second in 0..=600 {
            history.record_at(at(start, second), vec![("a".into(), 10 * second)]);
        }
        let growth = history.growth_at(at(start, 600), "a", 6000).unwrap();
        assert!((growth.per_second - 10.0).abs() < 0.01, "{growth:?}");
        assert_eq!(growth.exhausts(100).unwrap().as_secs(), 10);
        assert!(history.series["a"].len() <= POINTS as usize + 1);
    }

    #[test]
    fn a_short_past_says_nothing_and_a_shrinking_one_never_ends() {
        let (start, mut history) = (Instant::now(), History::default());
        history.record_at(start, vec![("a".into(), 100)]);
        assert_eq!(history.growth_at(at(start, 5), "a", 200), None);
        assert_eq!(
            history
                .growth_at(at(start, 50), "a", 0)
                .unwrap()
                .exhausts(1),
            None
        );
        assert_eq!(history.growth_at(at(start, 50), "b", 0), None);
    }

    #[test]
    fn what_is_gone_is_forgotten_after_a_while() {
        let (start, mut history) = (Instant::now(), History::default());
        history.record_at(start, vec![("a".into(), 1)]);
        history.record_at(at(start, 60), vec![("b".into(), 1)]);
        assert!(history.series.contains_key("a"));
        history.record_at(at(start, 61), vec![("b".into(), 1)]);
        assert!(!history.series.contains_key("a"));
    }

    #[test]
    fn a_poll_that_fails_does_not_cost_the_trend() {
        let (start, mut history) = (Instant::now(), History::default());
        history.record_at(start, vec![("a".into(), 100)]);
        history.record_at(at(start, 30), Vec::new());
        let growth = history.growth_at(at(start, 50), "a", 200).unwrap();
        assert_eq!(growth.per_second, 2.0);
    }

    #[test]
    fn long_intervals_leave_a_trend() {
        let (start, mut history) = (Instant::now(), History::default());
        for second in [0, 100, 200] {
            history.record_at(at(start, second), vec![("a".into(), second)]);
        }
        let growth = history.growth_at(at(start, 200), "a", 200).unwrap();
        assert_eq!(growth.per_second, 1.0);
    }
}
