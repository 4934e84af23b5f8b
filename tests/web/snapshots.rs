//! Snapshots made by hand.

use std::time::{Duration, Instant, SystemTime};

use sockdiag_exporter::exposition::render;
use sockdiag_exporter::model::ports::PortRange;
use sockdiag_exporter::model::state::StateCounts;
use sockdiag_exporter::snapshot::{NamespaceSnapshot, Page, Published, Snapshot};
use sockdiag_exporter::subjects::Facts;
use sockdiag_exporter::subjects::conntrack::Conntrack;
use sockdiag_exporter::subjects::listeners::{AcceptQueue, AcceptQueues};
use sockdiag_exporter::subjects::ports::Ephemeral;
use sockdiag_exporter::subjects::ports::capacity::Capacity;
use sockdiag_exporter::subjects::ports::destination::{Destination, Destinations};
use sockdiag_exporter::subjects::ports::settings::Settings;
use sockdiag_exporter::subjects::ports::utilization::Utilization;
use sockdiag_exporter::subjects::section::{Failure, Section};
use sockdiag_exporter::subjects::source::Source;

const AGE_MAX: Duration = Duration::from_secs(60);

fn destination(address: &str, used: u32, reusable: u32) -> Destination {
    Destination {
        holder: None,
        settled: 0,
        source: "192.0.2.1".parse().unwrap(),
        device: None,
        destination: address.parse().unwrap(),
        port: 443,
        used,
        reusable,
        bind_first: 0,
        closes_per_second: 0.0,
        certainly_blocked: used - reusable,
        states: StateCounts::default(),
    }
}

fn ephemeral() -> Ephemeral {
    let settings = Settings {
        range: PortRange {
            first: 32768,
            last: 33767,
        },
        reserved: Vec::new(),
        tw_reuse: 2,
        tw_reuse_delay: 1000,
        timestamps: 1,
        step_width: None,
    };
    let mut device = destination("2001:db8::1", 100, 0);
    device.device = Some("<script>".to_owned());
    Ephemeral {
        capacity: Capacity {
            unused_outside: 0,
            settings,
            reserved: 0,
            held: 0,
            bind_first: 0,
            bind_first_ambiguous: 0,
            held_ambiguous: 0,
            available_destination: 1000,
            available_source: 1000,
        },
        destinations: Destinations {
            rows: vec![
                destination("198.51.100.7", 900, 850),
                destination("198.51.100.8", 600, 0),
                device,
            ],
            ..Destinations::default()
        },
        sources: Default::default(),
        utilization: Utilization {
            tcp_destination: 0.6,
            tcp_source: 0.25,
            udp_source: 0.0,
        },
        upper: Utilization::default(),
        peak: Utilization {
            tcp_destination: 0.875,
            tcp_source: 0.25,
            udp_source: 0.0,
        },
    }
}

fn facts() -> Facts {
    let refused = Failure {
        source: Source::TcpSockets,
        reason: "refused",
        message: "refused: <EPERM>".to_owned(),
    };
    let queue = AcceptQueue {
        address: "::".parse().unwrap(),
        port: 8443,
        waiting: 96,
        limit: 128,
    };
    Facts {
        sockets: Section::Failed(refused.into()),
        listeners: Section::Measured(AcceptQueues {
            queues: vec![queue],
            folded: 0,
        }),
        ephemeral: Section::Measured(ephemeral()),
        conntrack: Section::Measured(Conntrack {
            entries: 131_072,
            limit: 262_144,
            buckets: None,
            events: None,
        }),
        ..Facts::default()
    }
}

pub fn snapshot() -> Snapshot {
    Snapshot {
        taken: SystemTime::now(),
        interval: Duration::from_secs(5),
        skipped: Default::default(),
        namespaces: vec![NamespaceSnapshot {
            name: "host".to_owned(),
            facts: facts(),
            ..NamespaceSnapshot::default()
        }],
    }
}

/// A fresh snapshot and its page, as the poller would make it.
pub fn fresh() -> Published {
    let snapshot = snapshot();
    let page = render(&snapshot, Vec::new());
    Published::new(snapshot, page, Instant::now(), AGE_MAX)
}

pub fn stale() -> Published {
    let snapshot = snapshot();
    let page = render(&snapshot, Vec::new());
    Published::new(snapshot, page, Instant::now() - 2 * AGE_MAX, AGE_MAX)
}

/// A page of so many bytes, beyond what the kernel buffers for a client.
pub fn large(bytes: usize) -> Published {
    let page = Page {
        text: vec![b'#'; bytes].into(),
        gzip: Default::default(),
    };
    Published::new(snapshot(), page, Instant::now(), AGE_MAX)
}
