//! A host with more connections than there are keys for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

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

use super::exposition::Exposition;
use crate::fake_kernel::{Asked, Wants, ends};
use crate::{ALONE, BYTES, PEAK};

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
    let mut limits = survey_limits(&Config::default()).unwrap();
    // A build for tests on a busy machine takes its time.
    limits.dump_timeout = Duration::from_secs(120);
    let sock_diag = SockDiag::with(|| {
        Ok(Crowded {
            asked: None,
            next: 0,
        })
    });
    let proc = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/proc");
    let before = BYTES.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let mut surveyor = Surveyor::new(limits, Procfs::new(proc), sock_diag)
        .asking(|ports| Ok(ports.iter().copied().collect()));
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
