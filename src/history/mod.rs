//! The last ten minutes of what the page plots, kept in memory: how full the pools were, the
//! worst destinations, closes a second, conntrack, accept queues. Taken from what is published,
//! never from the kernel.

mod line;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use line::{Line, Now, WORST, closing_most, now};

use crate::snapshot::{INTERVALS, NamespaceSnapshot, Published};

/// How far back it reaches.
pub const WINDOW: Duration = Duration::from_secs(600);
/// Samples of a line: what is published more often shares one, the highest value counts.
pub const SAMPLES: usize = 128;
/// A little less than 5 s, the default interval, which comes early at times.
const SPACING: Duration = Duration::from_millis(4_700);
/// Namespaces with a past: the exporter's own and the fullest others. With their lines and
/// samples at most 220 KiB (`tests/memory.rs` counts them).
const NAMESPACES: usize = 10;

/// What the page plots, of all namespaces that have a past.
#[derive(Debug, Default)]
pub struct History(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// When the newest of all was published.
    published: Option<Instant>,
    /// The newest first.
    samples: VecDeque<Sample>,
    namespaces: Vec<Past>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    /// The one before is so near that nothing was missed in between.
    follows: bool,
}

#[derive(Debug)]
struct Past {
    inode: u64,
    name: Box<str>,
    lines: Vec<(Line, Values)>,
}

/// A value for each sample, the newest first; what is not a number was not there.
type Values = [f64; SAMPLES];

/// One value of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Before the newest publication.
    pub age: Duration,
    /// `None` while it was not there, or not measured: that is no zero.
    pub value: Option<f64>,
    /// Belongs together with the point before.
    pub follows: bool,
}

/// The lines of a namespace, the oldest point first.
pub type Lines = Vec<(Line, Vec<Point>)>;

impl History {
    /// Takes what was published, once, as if it had been published at that moment.
    pub fn record_at(&self, at: Instant, published: &Published) {
        let mut kept = self.kept();
        if kept.published.is_some_and(|newest| newest >= at) {
            return;
        }
        kept.published = Some(at);
        kept.make_room(at, published.snapshot.interval);
        let all = &published.snapshot;
        let chosen = all.namespaces.iter().take(1).chain(all.fullest_first());
        let chosen: Vec<_> = chosen.take(NAMESPACES).collect();
        kept.leave_out(&chosen);
        for namespace in chosen {
            kept.record(namespace);
        }
        kept.forget();
    }

    /// The past of a namespace; none where nothing is kept of it.
    pub fn of(&self, namespace: &NamespaceSnapshot) -> Option<Lines> {
        let kept = self.kept();
        let past = kept.namespaces.iter().find(|past| past.is_of(namespace))?;
        let points = |(line, values): &(Line, Values)| (line.clone(), kept.points(values));
        Some(past.lines.iter().map(points).collect())
    }

    /// A panic while it was locked leaves whole values.
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// A sample of this moment: the last one if that is near enough.
    fn make_room(&mut self, at: Instant, interval: Duration) {
        let since = |sample: &Sample| at.duration_since(sample.at);
        let last = self.samples.front().map(since);
        if last.is_some_and(|last| last < SPACING) {
            return;
        }
        let follows = last.is_some_and(|last| last <= INTERVALS * interval.max(SPACING));
        while self.samples.len() == SAMPLES || self.samples.back().map(since) > Some(WINDOW) {
            self.samples.pop_back();
        }
        self.samples.push_front(Sample { at, follows });
        for (_, values) in self.namespaces.iter_mut().flat_map(|past| &mut past.lines) {
            values.rotate_right(1);
            values[0] = f64::NAN;
            values[self.samples.len()..].fill(f64::NAN);
        }
    }

    fn record(&mut self, namespace: &NamespaceSnapshot) {
        let mut known = self.namespaces.iter();
        let at = known.position(|past| past.is_of(namespace));
        let at = at.unwrap_or_else(|| {
            self.namespaces.push(Past {
                inode: namespace.identity.inode,
                name: namespace.name.as_str().into(),
                lines: Vec::with_capacity(line::MOST),
            });
            self.namespaces.len() - 1
        });
        self.namespaces[at].record(&now(&namespace.facts));
    }

    /// Makes room for these: of the others those that were fuller longest ago go.
    fn leave_out(&mut self, chosen: &[&NamespaceSnapshot]) {
        let is_chosen = |past: &Past| chosen.iter().any(|one| past.is_of(one));
        self.namespaces
            .sort_by_key(|past| (!is_chosen(past), past.age()));
        let known = self.namespaces.partition_point(is_chosen);
        self.namespaces.truncate(known + NAMESPACES - chosen.len());
    }

    /// Lines without a value in the window, and namespaces without a line.
    fn forget(&mut self) {
        for past in &mut self.namespaces {
            past.lines.retain(|(_, values)| age(values) < SAMPLES);
        }
        self.namespaces.retain(|past| !past.lines.is_empty());
    }

    fn points(&self, values: &Values) -> Vec<Point> {
        let age = |sample: &Sample| Some(self.published?.duration_since(sample.at));
        let point = |(sample, &value): (&Sample, &f64)| Point {
            age: age(sample).unwrap_or_default(),
            value: Some(value).filter(|value| value.is_finite()),
            follows: sample.follows,
        };
        self.samples.iter().zip(values).rev().map(point).collect()
    }
}

impl Past {
    fn is_of(&self, namespace: &NamespaceSnapshot) -> bool {
        (self.inode, &*self.name) == (namespace.identity.inode, &namespace.name)
    }

    fn record(&mut self, all: &[Now]) {
        for now in all {
            let known = self.lines.iter().position(|(line, _)| *line == now.line);
            let at = match known {
                Some(at) => at,
                None if now.is_worst => {
                    self.make_room(&now.line, all);
                    self.lines.push((now.line.clone(), [f64::NAN; SAMPLES]));
                    self.lines.len() - 1
                }
                None => continue,
            };
            let newest = &mut self.lines[at].1[0];
            // What is not a number yields to what is.
            *newest = newest.max(now.value);
        }
    }

    /// Where there are as many lines of this kind as may be, the one goes that is not among the
    /// worst now and was there longest ago.
    fn make_room(&mut self, line: &Line, now: &[Now]) {
        let kind = std::mem::discriminant(line);
        let is_worst = |line: &Line| now.iter().any(|one| one.is_worst && one.line == *line);
        let alike = self.lines.iter().enumerate();
        let alike = alike.filter(|(_, (other, _))| std::mem::discriminant(other) == kind);
        let ages: Vec<_> = alike
            .map(|(at, (other, values))| (!is_worst(other), age(values), at))
            .collect();
        if ages.len() >= line.most()
            && let Some((_, _, at)) = ages.into_iter().max()
        {
            self.lines.swap_remove(at);
        }
    }

    fn age(&self) -> usize {
        let ages = self.lines.iter().map(|(_, values)| age(values));
        ages.min().unwrap_or(usize::MAX)
    }
}

/// How many samples ago it had its last value.
fn age(values: &Values) -> usize {
    let last = values.iter().position(|value| !value.is_nan());
    last.unwrap_or(SAMPLES)
}

#[cfg(test)]
mod tests;
