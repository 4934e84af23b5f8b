//! Datagrams of any kind → sockets → counts → subjects → the page, the text, the JSON.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use sockdiag_exporter::exposition;
use sockdiag_exporter::kernel::procfs::Procfs;
use sockdiag_exporter::kernel::sock_diag::SockDiag;
use sockdiag_exporter::show::text;
use sockdiag_exporter::snapshot::Snapshot;
use sockdiag_exporter::subjects::limits::{Floor, SubjectLimits};
use sockdiag_exporter::survey::namespace::Namespace;
use sockdiag_exporter::survey::surveyor::{SurveyLimits, Surveyor};

use super::answers::{Answers, split};
use super::exposition::Exposition;
use super::invariants;

fn limits() -> SurveyLimits {
    let subjects = SubjectLimits {
        peers: 2,
        destinations: 2,
        sources: 2,
        local_ports: 2,
        cgroups: 2,
        floor: Floor::NONE,
        always: vec![80],
        peak_window: Duration::from_secs(60),
    };
    SurveyLimits {
        subjects: subjects.clone(),
        others: subjects,
        tracked_keys: 8,
        dump_timeout: Duration::from_secs(60),
    }
}

pub fn run(input: &[u8]) {
    let datagrams = split(input);
    // Of the exporter when tests replay it, of the targets when they are fuzzed.
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut above = manifest.ancestors();
    let proc = above.find_map(|root| {
        let proc = root.join("tests/fixtures/proc");
        proc.is_dir().then_some(proc)
    });
    let proc = proc.expect("the fixture");
    let sock_diag = SockDiag::with(move || Ok(Answers::numbered(datagrams.clone())));
    // Any answer about ports, as odd as the rest.
    let ask = |ports: &[u16]| {
        let free = ports
            .iter()
            .filter(|port| port.count_ones().is_multiple_of(3));
        Ok(free.copied().collect())
    };
    let mut surveyor = Surveyor::new(limits(), Procfs::new(proc), sock_diag).asking(ask);
    let mut namespace = Namespace::own("fuzz").expect("/proc");
    for _ in 0..2 {
        surveyor.dump(&mut namespace, &AtomicBool::new(false));
    }
    let snapshot = Snapshot {
        taken: SystemTime::UNIX_EPOCH,
        interval: Duration::from_secs(5),
        namespaces: vec![namespace.snapshot()],
        skipped: Default::default(),
    };
    let page = exposition::render(&snapshot, Vec::new());
    let page = std::str::from_utf8(&page.text).expect("text");
    invariants::check(&Exposition::parse(page));
    assert!(text::render(&snapshot).ends_with('\n'));
    serde_json::to_string(&snapshot).expect("a snapshot is JSON");
}
