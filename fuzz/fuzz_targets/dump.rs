//! A datagram from anybody → frames → records → counts, subjects.
//!
//! `cargo +nightly fuzz run dump -- -max_total_time=60`

#![no_main]

use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use sockdiag_exporter::kernel::netlink::transport::Transport;
use sockdiag_exporter::kernel::procfs::Procfs;
use sockdiag_exporter::kernel::sock_diag::SockDiag;
use sockdiag_exporter::subjects::limits::{Floor, SubjectLimits};
use sockdiag_exporter::survey::namespace::Namespace;
use sockdiag_exporter::survey::surveyor::{SurveyLimits, Surveyor};

/// Answers every request with the same datagrams, the fuzzer's and DONE, under
/// the number of the request: else the first check would end every dump.
struct Answers {
    records: Vec<u8>,
    queued: Vec<Vec<u8>>,
}

/// The messages of a datagram given this sequence number, as far as they go.
fn number(mut datagram: Vec<u8>, sequence: [u8; 4]) -> Vec<u8> {
    let mut at = 0;
    while let Some(header) = datagram.get_mut(at..at + 16) {
        header[8..12].copy_from_slice(&sequence);
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        at += length.max(16).next_multiple_of(4);
    }
    datagram
}

impl Transport for Answers {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        let sequence = [request[8], request[9], request[10], request[11]];
        let mut done = vec![20, 0, 0, 0, 3, 0, 2, 0];
        done.extend(sequence);
        done.extend([0; 8]);
        self.queued = vec![done, number(self.records.clone(), sequence)];
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let datagram = self.queued.pop().unwrap_or_default();
        buffer.extend(&datagram[..datagram.len().min(buffer.capacity())]);
        Ok(datagram.len())
    }
}

fuzz_target!(|datagram: &[u8]| {
    let records = datagram.to_vec();
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
    let limits = SurveyLimits {
        subjects: subjects.clone(),
        others: subjects,
        tracked_keys: 8,
        dump_timeout: Duration::from_secs(5),
    };
    let proc = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/fixtures/proc");
    let sock_diag = SockDiag::with(move || {
        Ok(Answers {
            records: records.clone(),
            queued: Vec::new(),
        })
    });
    // Any answer about ports, as odd as the rest.
    let ask = |port: u16| Ok(port.count_ones().is_multiple_of(3));
    let mut surveyor = Surveyor::new(limits, Procfs::new(proc), sock_diag).asking(ask);
    let mut namespace = Namespace::own("fuzz").expect("/proc");
    for _ in 0..2 {
        surveyor.dump(&mut namespace, &AtomicBool::new(false));
    }
});
