//! What one poll found, published whole: data, clock and rendered page change
//! together. Readers take a reference and hold no lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::watch;

use crate::findings::{Finding, Trends, diagnose};
use crate::subjects::Facts;
use crate::subjects::metric::{Metric, Sink};
use crate::subjects::ports::bound::Bound;
use crate::subjects::visit::Reading;

/// An old snapshot is served for so many of the intervals in force, should
/// `max_duty` stretch these beyond what `poll.age_max` was made for.
pub const INTERVALS: u32 = 3;

/// One poll of every namespace.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// When the sockets were dumped.
    #[serde(rename = "timestamp_seconds", serialize_with = "unix_seconds")]
    pub taken: SystemTime,
    /// The interval of dumps in force.
    #[serde(rename = "poll_interval_seconds", serialize_with = "seconds")]
    pub interval: Duration,
    /// The exporter's own first.
    pub namespaces: Vec<NamespaceSnapshot>,
    /// Namespaces that there are and that are not observed, by reason.
    #[serde(rename = "namespaces_skipped")]
    pub skipped: BTreeMap<&'static str, usize>,
}

impl Snapshot {
    /// The namespaces beside the exporter's own, the fullest first.
    pub fn fullest_first(&self) -> Vec<&NamespaceSnapshot> {
        let mut others: Vec<_> = self.namespaces.iter().skip(1).collect();
        others.sort_by(|a, b| {
            let fuller = b.highest_bound().total_cmp(&a.highest_bound());
            fuller.then(a.name.cmp(&b.name))
        });
        others
    }

    /// Has namespaces beside the exporter's own show their bound alone where all their
    /// series are more than this: those with the emptiest ports.
    pub fn fold(&mut self, series: usize) {
        let mut others: Vec<_> = self.namespaces.iter_mut().skip(1).collect();
        others.sort_by(|a, b| b.highest_bound().total_cmp(&a.highest_bound()));
        let mut left = series;
        for namespace in others {
            let mut count = Count(OWN_SERIES);
            namespace.facts.export(&mut count);
            namespace.is_folded = count.0 > left;
            if !namespace.is_folded {
                left -= count.0;
            }
        }
    }
}

/// Of a namespace, whatever its facts: collectors, dumps, the bound.
const OWN_SERIES: usize = 16;

/// Counts samples.
struct Count(usize);

impl Sink for Count {
    fn sample(&mut self, _: &'static Metric, _: &[&str], _: f64) {
        self.0 += 1;
    }
}

/// What tells a namespace from others.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    pub inode: u64,
    pub kind: Kind,
    /// As kube-state-metrics has it, `containerd://…`; empty where there is none.
    pub container_id: String,
    pub pod_uid: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The exporter's own.
    #[default]
    Host,
    /// A file stands for it.
    Named,
    /// Only processes are in it.
    Process,
}

impl Kind {
    pub fn label(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Named => "named",
            Self::Process => "process",
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct NamespaceSnapshot {
    pub name: String,
    pub identity: Identity,
    /// Only its bound is exported.
    pub is_folded: bool,
    /// What the sockets were read from; none while it could not be tried.
    pub dumps: Option<Dumps>,
    pub facts: Facts,
    /// How full the ports can be by now; none where the kernel does not say.
    pub bound: Option<Bound>,
    /// How fast they have grown.
    pub trends: Trends,
}

impl NamespaceSnapshot {
    /// How full its ports can be by now, of TCP or UDP.
    pub fn highest_bound(&self) -> f64 {
        self.bound.map_or(0.0, Bound::highest)
    }

    /// What is wrong, the worst first.
    pub fn findings(&self) -> Vec<Finding> {
        diagnose(&self.facts, &self.trends)
    }
}

impl Serialize for NamespaceSnapshot {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Shown<'s> {
            netns: &'s str,
            identity: &'s Identity,
            findings: Vec<Finding>,
            #[serde(skip_serializing_if = "Option::is_none")]
            utilization_bound: Option<Bound>,
            #[serde(flatten)]
            facts: &'s Facts,
        }
        let shown = Shown {
            netns: &self.name,
            identity: &self.identity,
            findings: self.findings(),
            utilization_bound: self.bound,
            facts: &self.facts,
        };
        shown.serialize(serializer)
    }
}

/// The last dumps of a namespace's sockets, each with its own time and cost.
#[derive(Clone, Debug)]
pub struct Dumps {
    pub tcp: Reading,
    pub udp: Reading,
}

/// Seconds since 1970, with their fraction.
pub fn unix_time(time: SystemTime) -> f64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

fn unix_seconds<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(unix_time(*time))
}

fn seconds<S: serde::Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// The text exposition, plain and compressed; both are handed out as they are.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub text: Bytes,
    pub gzip: Bytes,
}

/// A snapshot and its page.
#[derive(Debug)]
pub struct Published {
    pub snapshot: Snapshot,
    pub page: Page,
    /// When it was published.
    pub at: Instant,
    /// After this moment it says nothing any more.
    stale_after: Instant,
}

impl Published {
    /// `dumped` is when the sockets of the snapshot were dumped.
    pub fn new(snapshot: Snapshot, page: Page, dumped: Instant, age_max: Duration) -> Self {
        let stale_after = dumped + age_max.max(snapshot.interval * INTERVALS);
        Self {
            snapshot,
            page,
            at: Instant::now(),
            stale_after,
        }
    }
}

/// Where the poller puts what it found.
#[derive(Debug)]
pub struct Publisher(watch::Sender<Option<Arc<Published>>>);

/// Where everybody else finds it.
#[derive(Clone, Debug)]
pub struct Latest(watch::Receiver<Option<Arc<Published>>>);

pub fn channel() -> (Publisher, Latest) {
    let (sender, receiver) = watch::channel(None);
    (Publisher(sender), Latest(receiver))
}

impl Publisher {
    pub fn publish(&self, published: Published) {
        self.0.send_replace(Some(Arc::new(published)));
    }
}

impl Latest {
    /// The last snapshot, unless there is none yet or it is too old.
    pub fn fresh(&self) -> Option<Arc<Published>> {
        self.0
            .borrow()
            .clone()
            .filter(|published| Instant::now() <= published.stale_after)
    }

    /// Whether there was any snapshot.
    pub fn has_started(&self) -> bool {
        self.0.borrow().is_some()
    }

    /// Waits for the next snapshot; `false` when there will be none.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(age: Duration, age_max: Duration, interval: Duration) -> Published {
        let snapshot = Snapshot {
            taken: SystemTime::now(),
            interval,
            namespaces: Vec::new(),
            skipped: BTreeMap::new(),
        };
        Published::new(snapshot, Page::default(), Instant::now() - age, age_max)
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn there_is_nothing_before_the_first_snapshot() {
        let (publisher, latest) = channel();
        assert!(latest.fresh().is_none() && !latest.has_started());
        publisher.publish(published(Duration::ZERO, SECOND, SECOND));
        assert!(latest.fresh().is_some() && latest.has_started());
    }

    #[test]
    fn an_old_snapshot_is_not_served() {
        let (publisher, latest) = channel();
        publisher.publish(published(61 * SECOND, 60 * SECOND, 5 * SECOND));
        assert!(latest.fresh().is_none());
        publisher.publish(published(59 * SECOND, 60 * SECOND, 5 * SECOND));
        assert!(latest.fresh().is_some());
    }

    #[test]
    fn a_stretched_interval_stretches_the_age() {
        let (publisher, latest) = channel();
        publisher.publish(published(80 * SECOND, 60 * SECOND, 30 * SECOND));
        assert!(latest.fresh().is_some());
    }
}
