//! Polls without end gain nothing: no memory, no file descriptors.

mod support;

use std::sync::atomic::AtomicBool;

use sockdiag_exporter::config::Config;
use sockdiag_exporter::daemon::survey_limits;
use sockdiag_exporter::findings::{History, diagnose};
use sockdiag_exporter::kernel::procfs::Procfs;
use sockdiag_exporter::kernel::sock_diag::SockDiag;
use sockdiag_exporter::survey::namespace::Namespace;
use sockdiag_exporter::survey::surveyor::Surveyor;

use support::netns::in_netns;
use support::sockets::Listener;

/// Unless SOCKDIAG_TEST_POLLS says another number.
const POLLS: usize = 3_000;
/// After so many everything that is kept has found its size.
const SETTLED: usize = 500;
/// Sockets come and go every so many polls.
const CHANGE: usize = 20;
/// Freed memory that the allocator happens to keep, in KiB.
const SLACK: usize = 1024;

/// Resident KiB and open files of this process.
fn usage() -> (usize, usize) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.unwrap().split_whitespace().next().unwrap();
    let files = std::fs::read_dir("/proc/self/fd").unwrap().count();
    (kib.parse().unwrap(), files)
}

#[test]
fn polls_without_end_gain_nothing() {
    in_netns("polls_without_end_gain_nothing", &[], || {
        let listeners: Vec<_> = (0..8)
            .map(|last| Listener::at(format!("127.0.1.{last}:443").parse().unwrap()).unwrap())
            .collect();
        let limits = survey_limits(&Config::default()).unwrap();
        let mut surveyor = Surveyor::new(limits, Procfs::new("/proc"), SockDiag::default());
        let mut namespace = Namespace::own("host").unwrap();
        let mut history = History::default();
        let polls = std::env::var("SOCKDIAG_TEST_POLLS").map_or(POLLS, |n| n.parse().unwrap());
        let (mut settled, mut most) = (None, 0);
        let mut pairs = Vec::new();
        for poll in 0..polls {
            if poll % CHANGE == 0 {
                pairs.clear();
                for at in 0..poll / CHANGE * 7 % 31 {
                    let listener = &listeners[at % listeners.len()];
                    pairs.push(listener.pair(&listener.plan()).unwrap());
                }
            }
            surveyor.dump(&mut namespace, &AtomicBool::new(false));
            let facts = &namespace.facts;
            history.record(facts);
            diagnose(facts, &history.trends(facts));
            let sockets = facts.sockets.measured().expect("a whole dump");
            most = most.max(sockets.inet.total());
            if poll == SETTLED {
                pairs.clear();
                settled = Some(usage());
            }
        }
        pairs.clear();
        let (before, after) = (settled.unwrap(), usage());
        println!(
            "resident KiB and files: {before:?} after {SETTLED} polls, {after:?} after {POLLS}"
        );
        assert!(most > 100, "sockets came and went: {most}");
        assert!(after.0 <= before.0 + SLACK, "memory grew");
        assert_eq!(after.1, before.1, "open files");
    });
}
