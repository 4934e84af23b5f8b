//! Fill of the connection tracking table, from `nf_conntrack_count`,
//! `nf_conntrack_max` and `nf_conntrack_buckets` (kernel:
//! networking/nf_conntrack-sysctl.rst), and what it lost.

use std::sync::atomic::AtomicBool;

use serde::Serialize;

use super::{Families, Inputs, Missing, Sink, Source, Subject, SubjectLimits, metrics};
use crate::kernel::ctnetlink::{self, Events, EventsError, read_events};
use crate::kernel::procfs::Procfs;
use crate::model::pool::Pool;

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

metrics! {
    ENTRIES: gauge "sockdiag_conntrack_entries" []
        "Connections in the tracking table as of the last poll (net/netfilter/nf_conntrack_count).";
    LIMIT: gauge "sockdiag_conntrack_entries_limit" []
        "Entries at which new connections are dropped, as of the last poll (net/netfilter/nf_conntrack_max).";
    BUCKETS: gauge "sockdiag_conntrack_buckets" []
        "Size of the table's hash as of the last poll (net/netfilter/nf_conntrack_buckets).";
    EVENTS: counter "sockdiag_conntrack_events_total" [event]
        "What happened to entries since the namespace was made, as of the last poll (net/stat/nf_conntrack, else ctnetlink).";
}

impl Subject for Conntrack {
    const NEEDS: &'static [Source] = &[Source::Files];
    type Memory = ();

    const METRICS: &'static [Families] = &[METRICS];

    fn collect(from: &Inputs<'_, Self>, _memory: &mut ()) -> Result<Self, Missing> {
        let (procfs, stop) = from.files();
        Self::read(procfs, stop)
    }

    fn export(&self, sink: &mut dyn Sink) {
        sink.sample(&ENTRIES, &[], self.entries as f64);
        sink.sample(&LIMIT, &[], self.limit as f64);
        if let Some(buckets) = self.buckets {
            sink.sample(&BUCKETS, &[], buckets as f64);
        }
        for &(event, count) in self.events.iter().flatten() {
            sink.sample(&EVENTS, &[event], count as f64);
        }
    }

    fn series(_limits: &SubjectLimits) -> usize {
        METRICS.len() - 1 + ctnetlink::EVENTS.len()
    }
}

impl Conntrack {
    /// Absent when the module is not loaded: there are no files then.
    fn read(procfs: &Procfs, stop: &AtomicBool) -> Result<Self, Missing> {
        let entries = procfs.number("sys/net/netfilter/nf_conntrack_count")?;
        let limit = procfs.number("sys/net/netfilter/nf_conntrack_max")?;
        let (Some(entries), Some(limit)) = (entries, limit) else {
            return Err(Missing::Absent);
        };
        let buckets = procfs.number("sys/net/netfilter/nf_conntrack_buckets")?;
        let events = read_events(procfs, stop).map_err(|error| match error {
            EventsError::Procfs(error) => error.into(),
            EventsError::Netlink(ref cause) => {
                Missing::failed(Source::Files, cause.reason(), &error)
            }
        })?;
        Ok(Self {
            entries,
            limit,
            buckets,
            events,
        })
    }

    /// `None` where the table has no limit.
    pub fn pool(&self) -> Option<Pool> {
        Pool::of_table(self.entries, self.limit)
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
    use crate::fake_kernel::proc_tree;

    fn read(root: &tempfile::TempDir) -> Result<Conntrack, Missing> {
        Conntrack::read(&Procfs::new(root.path()), &AtomicBool::new(false))
    }

    const COUNT: (&str, &str) = ("sys/net/netfilter/nf_conntrack_count", "7\n");
    const MAX: (&str, &str) = ("sys/net/netfilter/nf_conntrack_max", "262144\n");
    const STAT: (&str, &str) = ("thread-self/net/stat/nf_conntrack", "found drop\n0a 01\n");

    #[test]
    fn without_the_module_it_is_absent() {
        assert!(matches!(read(&proc_tree(&[])), Err(Missing::Absent)));
    }

    #[test]
    fn fill_and_losses_are_read() {
        let table = read(&proc_tree(&[COUNT, MAX, STAT])).unwrap();
        assert_eq!(
            (table.entries, table.limit, table.buckets),
            (7, 262_144, None)
        );
        assert_eq!(table.events, Some(vec![("found", 10), ("drop", 1)]));
    }

    #[test]
    fn a_garbled_count_fails_the_section() {
        let garbled = ("sys/net/netfilter/nf_conntrack_count", "many\n");
        let Err(Missing::Failed(failure)) = read(&proc_tree(&[garbled, MAX])) else {
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
