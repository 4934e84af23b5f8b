//! What is remembered of a namespace from visit to visit is small: hundreds of pods must
//! not cost hundreds of accumulators. In a binary of its own, for it counts every byte.

#[path = "support/exposition.rs"]
#[allow(dead_code, reason = "the suites of the kernel use more of it")]
mod exposition;
mod fake_kernel;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use exposition::Exposition;
use fake_kernel::{Asked, Kernel, Sock, Wants, bound, ends, sock};
use sockdiag_exporter::config::Config;
use sockdiag_exporter::daemon::survey_limits;
use sockdiag_exporter::exposition::render;
use sockdiag_exporter::kernel::netlink::transport::Transport;
use sockdiag_exporter::kernel::procfs::Procfs;
use sockdiag_exporter::kernel::sock_diag::SockDiag;
use sockdiag_exporter::model::state::State;
use sockdiag_exporter::snapshot::Snapshot;
use sockdiag_exporter::survey::namespace::Namespace;
use sockdiag_exporter::survey::surveyor::Surveyor;

/// Tests that count what is allocated do it one at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Counts the bytes that are allocated.
struct Counting;

static BYTES: AtomicUsize = AtomicUsize::new(0);
/// The most that there ever were at once.
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: all work is the system's allocator's.
#[allow(unsafe_code, reason = "an allocator has no safe form")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let before = BYTES.fetch_add(layout.size(), Ordering::Relaxed);
        PEAK.fetch_max(before + layout.size(), Ordering::Relaxed);
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
fn a_namespace_is_small() {
    let _alone = ALONE.lock();
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

/// A kernel with a million connections, each to another peer, made as they are asked for.
struct Crowded {
    asked: Option<Asked>,
    next: u32,
}

const SOCKETS: u32 = 1_000_000;

impl Transport for Crowded {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.asked = Some(Asked::parse(request));
        self.next = 0;
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let asked = self.asked.as_ref().expect("a request");
        let last = match asked.wants() {
            Wants::Sockets(None) => SOCKETS,
            _ => 0,
        };
        if self.next == last {
            buffer.extend(asked.done(0));
        }
        for _ in 0..200.min(last - self.next) {
            let peer = IpAddr::from(Ipv4Addr::from(0x0b00_0000 + self.next));
            let port = 32_768 + (self.next % 28_000) as u16;
            let local = SocketAddr::new([10, 0, 0, 1].into(), port);
            let sock = ends(State::Established, local, SocketAddr::new(peer, 443));
            buffer.extend(asked.record(&sock.bytes()));
            self.next += 1;
        }
        Ok(buffer.len())
    }
}

/// README promises that the exporter lives with 32 MiB, whatever the host does. What is not
/// on the heap, code and stacks, takes six of them.
#[test]
fn a_million_keys_fit_in_32_mebibytes() {
    let _alone = ALONE.lock();
    let limits = survey_limits(&Config::default()).unwrap();
    let sock_diag = SockDiag::with(|| {
        Ok(Crowded {
            asked: None,
            next: 0,
        })
    });
    let proc = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proc");
    let before = BYTES.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let mut surveyor = Surveyor::new(limits, Procfs::new(proc), sock_diag).asking(|_| Ok(true));
    let mut namespace = Namespace::own("host").unwrap();
    for _ in 0..2 {
        surveyor.dump(&mut namespace, &AtomicBool::new(false));
        let snapshot = Snapshot {
            taken: SystemTime::now(),
            interval: Duration::from_secs(5),
            namespaces: vec![namespace.snapshot()],
            skipped: Default::default(),
        };
        let page = render(&snapshot, Vec::new());
        let page = Exposition::parse(std::str::from_utf8(&page.text).unwrap());
        let sockets = page.matching("sockdiag_sockets", &[("protocol", "tcp")]);
        let sockets: f64 = sockets.map(|(_, count)| count).sum();
        assert_eq!(sockets, f64::from(SOCKETS));
        let untracked = page.get("sockdiag_keys_untracked", &[("netns", "host")]);
        println!("{untracked:?} sockets without a key");
    }
    let peak = PEAK.load(Ordering::Relaxed) - before;
    println!("{} KiB at the most", peak / 1024);
    assert!(peak < 26 * 1024 * 1024, "{peak}");
}
