//! What is remembered of a namespace from visit to visit is small: hundreds of pods must
//! not cost hundreds of accumulators. In a binary of its own, for it counts every byte.

mod fake_kernel;

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use fake_kernel::{Kernel, Sock, bound, sock};
use sockdiag_exporter::model::state::State;
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
fn a_namespace_is_small() {
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
