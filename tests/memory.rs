//! What is remembered of a namespace from visit to visit is small: hundreds of pods must
//! not cost hundreds of accumulators. Nor does the page's history grow without end. In a
//! binary of its own, for it counts every byte; one test, for the others' bytes would count.

mod fake_kernel;

use std::alloc::{GlobalAlloc, Layout, System};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use fake_kernel::{Kernel, Sock, bound, sock};
use sockdiag_exporter::history::History;
use sockdiag_exporter::model::ports::PortRange;
use sockdiag_exporter::model::state::{State, StateCounts};
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
use sockdiag_exporter::survey::namespace::Namespace;

/// Counts the bytes that are allocated.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all work is the system's allocator's.
#[allow(unsafe_code, reason = "an allocator has no safe form")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that a namespace with these sockets keeps between two visits.
fn kept(tcp: Vec<Sock>) -> usize {
    let kernel = Kernel::host(tcp, Vec::new());
    let proc = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proc");
    let mut surveyor = fake_kernel::surveyor(&kernel, &proc).asking(|_| Ok(true));
    let stop = AtomicBool::new(false);
    // The accumulators are shared: they have grown before anything is counted.
    let mut other = Namespace::own("other").unwrap();
    for _ in 0..2 {
        surveyor.dump(&mut other, &stop);
    }
    let before = BYTES.load(Ordering::Relaxed);
    let mut namespace = Namespace::own("idle").unwrap();
    for _ in 0..3 {
        surveyor.dump(&mut namespace, &stop);
    }
    let kept = BYTES.load(Ordering::Relaxed) - before + size_of_val(&namespace);
    drop(namespace);
    kept
}

#[test]
fn what_is_remembered_is_small() {
    a_namespace();
    the_history_of_many_namespaces();
}

fn a_namespace() {
    let idle = kept(vec![bound(State::Listen, "0.0.0.0:22")]);
    println!("{idle} bytes for an idle namespace");
    assert!(idle < 16 * 1024, "{idle}");
    let busy = kept(
        (0..50)
            .map(|at| {
                sock(
                    State::Established,
                    &format!("10.0.0.1:{}", 40_000 + at),
                    "192.0.2.1:80",
                )
            })
            .collect(),
    );
    println!("{busy} bytes for one with 50 connections");
    assert!(busy < 64 * 1024, "{busy}");
}

/// More namespaces, destinations and queues than are kept, and other ones each time.
fn the_history_of_many_namespaces() {
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
