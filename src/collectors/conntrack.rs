//! Fill of the connection tracking table, from `nf_conntrack_count`,
//! `nf_conntrack_max` and `nf_conntrack_buckets` (kernel:
//! networking/nf_conntrack-sysctl.rst), and what it lost.

use std::sync::atomic::AtomicBool;

use serde::Serialize;

use super::metric::{Metric, Sink};
use super::section::{Failure, Section};
use crate::kernel::conntrack::{Events, EventsError, read_events};
use crate::kernel::procfs::Procfs;

/// The table of this namespace. `limit` reads the same everywhere and is
/// compared with each namespace's own count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Conntrack {
    pub entries: u64,
    pub limit: u64,
    pub buckets: Option<u64>,
    /// Counts since the namespace was made; `None` where the kernel does not
    /// tell this process.
    #[serde(serialize_with = "as_map")]
    pub events: Option<Events>,
}

static ENTRIES: Metric = Metric::gauge(
    "sockdiag_conntrack_entries",
    &[],
    "Connections in the tracking table as of the last poll (net/netfilter/nf_conntrack_count).",
);
static LIMIT: Metric = Metric::gauge(
    "sockdiag_conntrack_entries_limit",
    &[],
    "Entries at which new connections are dropped, as of the last poll (net/netfilter/nf_conntrack_max).",
);
static BUCKETS: Metric = Metric::gauge(
    "sockdiag_conntrack_buckets",
    &[],
    "Size of the table's hash as of the last poll (net/netfilter/nf_conntrack_buckets).",
);
static EVENTS: Metric = Metric::counter(
    "sockdiag_conntrack_events_total",
    &["event"],
    "What happened to entries since the namespace was made, as of the last poll (net/stat/nf_conntrack, else ctnetlink).",
);

pub static METRICS: [&Metric; 4] = [&ENTRIES, &LIMIT, &BUCKETS, &EVENTS];

impl Conntrack {
    pub fn collect(procfs: &Procfs, stop: &AtomicBool) -> Section<Self> {
        match Self::read(procfs, stop) {
            Ok(Some(table)) => Section::Measured(table),
            Ok(None) => Section::Absent,
            Err(failure) => Section::Failed(failure),
        }
    }

    /// `Ok(None)` when the module is not loaded: there are no files then.
    fn read(procfs: &Procfs, stop: &AtomicBool) -> Result<Option<Self>, Failure> {
        let entries = procfs.number("sys/net/netfilter/nf_conntrack_count")?;
        let limit = procfs.number("sys/net/netfilter/nf_conntrack_max")?;
        let (Some(entries), Some(limit)) = (entries, limit) else {
            return Ok(None);
        };
        let buckets = procfs.number("sys/net/netfilter/nf_conntrack_buckets")?;
        let events = read_events(procfs, stop).map_err(|error| match error {
            EventsError::Procfs(error) => error.into(),
            EventsError::Netlink(ref cause) => Failure::new(cause.reason(), &error),
        })?;
        Ok(Some(Self {
            entries,
            limit,
            buckets,
            events,
        }))
    }

    pub fn export(&self, sink: &mut dyn Sink) {
        sink.sample(&ENTRIES, &[], self.entries as f64);
        sink.sample(&LIMIT, &[], self.limit as f64);
        if let Some(buckets) = self.buckets {
            sink.sample(&BUCKETS, &[], buckets as f64);
        }
        for &(event, count) in self.events.iter().flatten() {
            sink.sample(&EVENTS, &[event], count as f64);
        }
    }
}

fn as_map<S: serde::Serializer>(events: &Option<Events>, serializer: S) -> Result<S::Ok, S::Error> {
    match events {
        Some(events) => serializer.collect_map(events.iter().copied()),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        root
    }

    fn collect(root: &tempfile::TempDir) -> Section<Conntrack> {
        Conntrack::collect(&Procfs::new(root.path()), &AtomicBool::new(false))
    }

    const COUNT: (&str, &str) = ("sys/net/netfilter/nf_conntrack_count", "7\n");
    const MAX: (&str, &str) = ("sys/net/netfilter/nf_conntrack_max", "262144\n");
    const STAT: (&str, &str) = ("thread-self/net/stat/nf_conntrack", "found drop\n0a 01\n");

    #[test]
    fn without_the_module_it_is_absent() {
        assert!(matches!(collect(&tree(&[])), Section::Absent));
    }

    #[test]
    fn fill_and_losses_are_read() {
        let Section::Measured(table) = collect(&tree(&[COUNT, MAX, STAT])) else {
            panic!()
        };
        assert_eq!(
            (table.entries, table.limit, table.buckets),
            (7, 262_144, None)
        );
        assert_eq!(table.events, Some(vec![("found", 10), ("drop", 1)]));
    }

    #[test]
    fn a_garbled_count_fails_the_section() {
        let garbled = ("sys/net/netfilter/nf_conntrack_count", "many\n");
        let Section::Failed(failure) = collect(&tree(&[garbled, MAX])) else {
            panic!()
        };
        assert_eq!(failure.reason, "garbled");
        assert!(
            failure.message.contains("nf_conntrack_count"),
            "{}",
            failure.message
        );
    }
}
