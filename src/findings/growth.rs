//! How fast something has grown over the last minutes.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::model::state::State;
use crate::subjects::Facts;

/// How far back growth is looked at, and how many points are kept of it.
const WINDOW: Duration = Duration::from_secs(300);
const POINTS: u32 = 30;
/// Less than this says nothing about a trend.
const SHORTEST: Duration = Duration::from_secs(20);

/// How long a series that is in the facts no more is remembered: a dump that fails
/// must not cost the trend, least of all when memory is short.
const GAP: Duration = Duration::from_secs(60);

/// What can grow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Series {
    /// A destination, as [`Destination::toward`](crate::subjects::ports::destination::Destination::toward) has it.
    Toward(String),
    /// Of a protocol.
    Source(&'static str, IpAddr),
    Conntrack,
    ConntrackEvent(&'static str),
    TcpEvent(&'static str),
    CloseWait,
}

/// Past values of what findings are about; only of what was in the facts of the last
/// minute, so bounded by their limits.
#[derive(Debug, Default)]
pub struct History {
    series: HashMap<Series, VecDeque<(Instant, u64)>>,
}

/// How fast everything in some facts has grown, by the second, where there is enough to
/// go by.
#[derive(Clone, Debug, Default)]
pub struct Trends(HashMap<Series, f64>);

impl Trends {
    pub fn of(&self, series: &Series) -> Option<f64> {
        self.0.get(series).copied()
    }

    /// How often in a second something happens, if it does.
    pub fn rate(&self, event: &Series) -> Option<f64> {
        self.of(event).filter(|&per_second| per_second > 0.0)
    }

    /// When `free` more will be gone; `None` where nothing is left to go.
    pub fn exhausts(&self, series: &Series, free: u64) -> Option<Duration> {
        let per_second = self.rate(series).filter(|_| free > 0)?;
        Duration::try_from_secs_f64(free as f64 / per_second).ok()
    }
}

impl History {
    /// Remembers the values of these facts, and forgets what has not been there
    /// for a while.
    pub fn record(&mut self, facts: &Facts) {
        self.record_at(Instant::now(), values(facts));
    }

    pub(super) fn record_at(&mut self, now: Instant, values: Vec<(Series, u64)>) {
        let age = |&(then, _): &(Instant, u64)| now.duration_since(then);
        for (series, value) in values {
            let points = self.series.entry(series).or_default();
            if points
                .back()
                .is_none_or(|last| age(last) >= WINDOW / POINTS)
            {
                points.push_back((now, value));
            }
            while points.front().is_some_and(|first| age(first) > WINDOW) {
                points.pop_front();
            }
        }
        self.series
            .retain(|_, points| points.back().is_some_and(|last| age(last) <= GAP));
    }

    /// How fast these facts have grown until now.
    pub fn trends(&self, facts: &Facts) -> Trends {
        let now = Instant::now();
        let growth = |(series, value)| {
            let growth = self.growth_at(now, &series, value)?;
            Some((series, growth))
        };
        Trends(values(facts).into_iter().filter_map(growth).collect())
    }

    /// Growth a second from the oldest point that is kept to `value` now; none when there
    /// is too little to go by.
    fn growth_at(&self, now: Instant, series: &Series, value: u64) -> Option<f64> {
        let &(then, before) = self.series.get(series)?.front()?;
        let elapsed = now.duration_since(then);
        (elapsed >= SHORTEST).then(|| (value as f64 - before as f64) / elapsed.as_secs_f64())
    }
}

pub(super) fn values(facts: &Facts) -> Vec<(Series, u64)> {
    let mut values = Vec::new();
    if let Some(ports) = facts.ephemeral.measured() {
        let rows = ports.destinations.rows.iter();
        values.extend(rows.map(|row| (Series::Toward(row.toward()), row.blocked().into())));
        for (protocol, rows, _) in ports.sources.by_protocol() {
            let rows = rows.iter().filter_map(|row| {
                let address = row.address?;
                Some((Series::Source(protocol, address), row.used.into()))
            });
            values.extend(rows);
        }
    }
    if let Some(table) = facts.conntrack.measured() {
        values.push((Series::Conntrack, table.entries));
        let events = table.events.iter().flatten();
        values.extend(events.map(|&(event, count)| (Series::ConntrackEvent(event), count)));
    }
    if let Some(tcp) = facts.tcp.measured() {
        let events = tcp.events.iter();
        values.extend(events.map(|&(event, count)| (Series::TcpEvent(event), count)));
    }
    if let Some(sockets) = facts.sockets.measured() {
        values.push((Series::CloseWait, sockets.in_state(State::CloseWait)));
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Series = Series::Conntrack;
    const B: Series = Series::CloseWait;

    fn at(start: Instant, second: u64) -> Instant {
        start + Duration::from_secs(second)
    }

    fn end(growth: f64, free: u64) -> Option<Duration> {
        Trends(HashMap::from([(A, growth)])).exhausts(&A, free)
    }

    #[test]
    fn growth_is_per_second_over_the_window() {
        let (start, mut history) = (Instant::now(), History::default());
        for second in 0..=600 {
            history.record_at(at(start, second), vec![(A, 10 * second)]);
        }
        let growth = history.growth_at(at(start, 600), &A, 6000).unwrap();
        assert!((growth - 10.0).abs() < 0.01, "{growth:?}");
        assert_eq!(end(growth, 100).unwrap().as_secs(), 10);
        assert!(history.series[&A].len() <= POINTS as usize + 1);
    }

    #[test]
    fn a_short_past_says_nothing_and_a_shrinking_one_never_ends() {
        let (start, mut history) = (Instant::now(), History::default());
        history.record_at(start, vec![(A, 100)]);
        assert_eq!(history.growth_at(at(start, 5), &A, 200), None);
        let growth = history.growth_at(at(start, 50), &A, 0).unwrap();
        assert_eq!(end(growth, 1), None);
        assert_eq!(history.growth_at(at(start, 50), &B, 0), None);
    }

    #[test]
    fn what_is_gone_is_forgotten_after_a_while() {
        let (start, mut history) = (Instant::now(), History::default());
        history.record_at(start, vec![(A, 1)]);
        history.record_at(at(start, 60), vec![(B, 1)]);
        assert!(history.series.contains_key(&A));
        history.record_at(at(start, 61), vec![(B, 1)]);
        assert!(!history.series.contains_key(&A));
    }

    #[test]
    fn a_poll_that_fails_does_not_cost_the_trend() {
        let (start, mut history) = (Instant::now(), History::default());
        history.record_at(start, vec![(A, 100)]);
        history.record_at(at(start, 30), Vec::new());
        let growth = history.growth_at(at(start, 50), &A, 200).unwrap();
        assert_eq!(growth, 2.0);
    }

    #[test]
    fn long_intervals_leave_a_trend() {
        let (start, mut history) = (Instant::now(), History::default());
        for second in [0, 100, 200] {
            history.record_at(at(start, second), vec![(A, second)]);
        }
        let growth = history.growth_at(at(start, 200), &A, 200).unwrap();
        assert_eq!(growth, 1.0);
    }
}
