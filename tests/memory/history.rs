//! The page's history.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime};

use sockdiag_exporter::history::History;
use sockdiag_exporter::model::ports::PortRange;
use sockdiag_exporter::model::state::StateCounts;
use sockdiag_exporter::snapshot::{Identity, NamespaceSnapshot, Page, Published, Snapshot};
use sockdiag_exporter::subjects::Facts;
use sockdiag_exporter::subjects::conntrack::Conntrack;
use sockdiag_exporter::subjects::listeners::{AcceptQueue, AcceptQueues};
use sockdiag_exporter::subjects::ports::Ephemeral;
use sockdiag_exporter::subjects::ports::capacity::Capacity;
use sockdiag_exporter::subjects::ports::destination::{Destination, Destinations};
use sockdiag_exporter::subjects::ports::settings::Settings;
use sockdiag_exporter::subjects::ports::source::Sources;
use sockdiag_exporter::subjects::section::Section;

use crate::{ALONE, BYTES};

/// More namespaces, destinations and queues than are kept, and other ones each time.
#[test]
fn the_history_of_many_namespaces_is_small() {
    let _alone = ALONE.lock();
    let history = History::default();
    let before = BYTES.load(Ordering::Relaxed);
    for round in 0..400_u32 {
        let published = Arc::new(busy(round));
        history.record_at(published.at + round * Duration::from_secs(5), &published);
    }
    let kept = BYTES.load(Ordering::Relaxed) - before + size_of_val(&history);
    println!("{kept} bytes for the history");
    // What README.md says, and that it is a history at all.
    assert!((100 * 1024..256 * 1024).contains(&kept), "{kept}");
}

fn busy(round: u32) -> Published {
    let address = |low: u32| IpAddr::from((0x0a00_0000 | (round % 50) << 16 | low).to_be_bytes());
    let destination = |low| Destination {
        source: address(low),
        device: Some("a-long-device-0".to_owned()),
        destination: address(low),
        port: 443,
        used: 900,
        reusable: 0,
        settled: 0,
        bind_first: 0,
        closes_per_second: 1.0,
        states: StateCounts::default(),
        holder: None,
        certainly_blocked: 0,
    };
    let queue = |low| AcceptQueue {
        address: address(low),
        port: 443,
        waiting: 9,
        limit: 10,
    };
    let namespace = |inode: u32| NamespaceSnapshot {
        name: format!("a-pod-with-a-rather-long-name-as-they-have-them-{inode}"),
        identity: Identity {
            inode: inode.into(),
            ..Identity::default()
        },
        facts: Facts {
            ephemeral: Section::Measured(ephemeral((0..20).map(destination).collect())),
            listeners: Section::Measured(AcceptQueues {
                queues: (0..20).map(queue).collect(),
                folded: 0,
            }),
            conntrack: Section::Measured(Conntrack {
                entries: 1,
                limit: 2,
                buckets: None,
                events: None,
            }),
            ..Facts::default()
        },
        ..NamespaceSnapshot::default()
    };
    let snapshot = Snapshot {
        taken: SystemTime::now(),
        interval: Duration::from_secs(5),
        namespaces: (0..30).map(|at| namespace(at + round % 40)).collect(),
        skipped: Default::default(),
    };
    Published::new(
        snapshot,
        Page::default(),
        Instant::now(),
        Duration::from_secs(60),
    )
}

fn ephemeral(rows: Vec<Destination>) -> Ephemeral {
    let range = PortRange {
        first: 32_768,
        last: 33_767,
    };
    let settings = Settings {
        range,
        reserved: Vec::new(),
        tw_reuse: 0,
        tw_reuse_delay: 1000,
        timestamps: 1,
        step_width: None,
    };
    Ephemeral {
        capacity: Capacity {
            settings,
            reserved: 0,
            held: 0,
            bind_first: 0,
            bind_first_ambiguous: 0,
            held_ambiguous: 0,
            available_destination: 1000,
            available_source: 1000,
            unused_outside: 0,
        },
        destinations: Destinations {
            rows,
            ..Destinations::default()
        },
        sources: Sources {
            udp: Some(Vec::new()),
            ..Sources::default()
        },
        utilization: Default::default(),
        upper: Default::default(),
        peak: Default::default(),
    }
}
