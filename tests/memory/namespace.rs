//! One namespace between two visits.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use sockdiag_exporter::model::state::State;
use sockdiag_exporter::survey::namespace::Namespace;

use crate::fake_kernel::{self, Kernel, Sock, bound, sock};
use crate::{ALONE, BYTES};

/// Bytes that a namespace with these sockets keeps between two visits.
fn kept(tcp: Vec<Sock>) -> usize {
    let kernel = Kernel::host(tcp, Vec::new());
    let proc = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proc");
    let mut surveyor =
        fake_kernel::surveyor(&kernel, &proc).asking(|ports| Ok(ports.iter().copied().collect()));
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
