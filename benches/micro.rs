//! Where the user-space part of a poll goes, piece by piece: `cargo bench`.
//! The kernel is a buffer of datagrams here; `bench/compare.py` has the real one.

use std::collections::VecDeque;
use std::hint::black_box;
use std::io;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use sockdiag_exporter::count::Scratch;
use sockdiag_exporter::count::policy::PortPolicy;
use sockdiag_exporter::exposition;
use sockdiag_exporter::kernel::netlink::dump::Deadline;
use sockdiag_exporter::kernel::netlink::transport::Transport;
use sockdiag_exporter::kernel::procfs::Procfs;
use sockdiag_exporter::kernel::sock_diag::{Dump, SockDiag};
use sockdiag_exporter::model::ports::PortRange;
use sockdiag_exporter::snapshot::Snapshot;
use sockdiag_exporter::subjects::limits::{Floor, SubjectLimits};
use sockdiag_exporter::subjects::ranking::Ranking;
use sockdiag_exporter::survey::namespace::Namespace;
use sockdiag_exporter::survey::surveyor::{SurveyLimits, Surveyor};

const SOCKETS: u32 = 500_000;
/// Of which the sockets are, none in order.
const CGROUPS: u32 = 200;
const INET_DIAG_MSG_BYTES: usize = 72;
/// What the kernel sends of a socket: header, `inet_diag_msg`, four attributes.
const RECORD_BYTES: usize = 16 + INET_DIAG_MSG_BYTES + 36;
const RECORDS_A_DATAGRAM: usize = 32 * 1024 / RECORD_BYTES;

/// Plays the same datagrams for every dump of TCP sockets, and nothing for others.
struct Replay {
    datagrams: &'static [Vec<u8>],
    pending: VecDeque<usize>,
    sequence: [u8; 4],
}

impl Replay {
    fn of(datagrams: &'static [Vec<u8>]) -> Self {
        Self {
            datagrams,
            pending: VecDeque::new(),
            sequence: [0; 4],
        }
    }
}

impl Transport for Replay {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.sequence.copy_from_slice(&request[8..12]);
        // TCPDIAG_GETSOCK for anything but listeners alone.
        let sockets = request[4] == 18 && request[68..72] != (1_u32 << 10).to_ne_bytes();
        self.pending = (0..if sockets { self.datagrams.len() } else { 0 }).collect();
        Ok(())
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        match self.pending.pop_front() {
            Some(at) => buffer.extend_from_slice(&self.datagrams[at]),
            None => buffer.extend(message(3, &[0; 4])),
        }
        // Every message carries the number of the request.
        let mut at = 0;
        while at < buffer.len() {
            buffer[at + 8..at + 12].copy_from_slice(&self.sequence);
            at += u32::from_ne_bytes(buffer[at..at + 4].try_into().expect("four bytes")) as usize;
        }
        Ok(buffer.len())
    }
}

fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + payload.len());
    bytes.extend((16 + payload.len() as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(payload);
    bytes
}

/// ESTABLISHED sockets of one host toward so many peers.
fn datagrams(peers: u32) -> &'static [Vec<u8>] {
    let record = |at: u32| {
        let mut payload = vec![0; INET_DIAG_MSG_BYTES];
        payload[..2].copy_from_slice(&[2, 1]);
        let port = 32_768 + (at * 7 % 28_232) as u16;
        payload[4..6].copy_from_slice(&port.to_be_bytes());
        payload[6..8].copy_from_slice(&443_u16.to_be_bytes());
        payload[8..12].copy_from_slice(&[10, 0, 0, 1]);
        // Every peer equally often and none in order, as in the kernel's table: the
        // factor is a prime that divides no number of peers.
        let peer = (u64::from(at) * 2_654_435_761 % u64::from(peers)) as u32;
        payload[24..28].copy_from_slice(&(0x0b00_0000 + peer).to_be_bytes());
        let cgroup = (at.wrapping_mul(0x9e37_79b9) >> 16) % CGROUPS;
        let cgroup = u64::from(5000 + cgroup).to_ne_bytes();
        // SHUTDOWN, MARK, CGROUP_ID, SOCKOPT
        let attributes: [(u16, &[u8]); 4] =
            [(8, &[0]), (15, &[0; 4]), (21, &cgroup), (22, &[0; 2])];
        for (kind, value) in attributes {
            payload.extend((4 + value.len() as u16).to_ne_bytes());
            payload.extend(kind.to_ne_bytes());
            payload.extend(value);
            payload.resize(payload.len().next_multiple_of(4), 0);
        }
        message(18, &payload)
    };
    let all: Vec<u32> = (0..SOCKETS).collect();
    let datagrams: Vec<Vec<u8>> = all
        .chunks(RECORDS_A_DATAGRAM)
        .map(|some| some.iter().flat_map(|&at| record(at)).collect())
        .collect();
    Vec::leak(datagrams)
}

fn sock_diag(datagrams: &'static [Vec<u8>]) -> SockDiag<Replay> {
    SockDiag::with(move || Ok(Replay::of(datagrams)))
}

fn surveyor(each: usize, datagrams: &'static [Vec<u8>]) -> Surveyor<Replay> {
    let subjects = SubjectLimits {
        peers: each,
        destinations: each,
        sources: each,
        local_ports: each,
        cgroups: each,
        floor: Floor::NONE,
        always: Vec::new(),
        peak_window: Duration::from_secs(60),
    };
    let limits = SurveyLimits {
        others: subjects.clone(),
        subjects,
        tracked_keys: SOCKETS as usize,
        dump_timeout: Duration::from_secs(60),
    };
    Surveyor::new(limits, Procfs::new("/proc"), sock_diag(datagrams))
}

fn policy() -> PortPolicy {
    let range = PortRange {
        first: 32_768,
        last: 60_999,
    };
    PortPolicy {
        range,
        effective: range.into(),
        reuse_delay_ms: 1000,
        ..PortPolicy::default()
    }
}

/// Receive, frames, record, counts; and the benchmark's own kernel alone, which is
/// to be taken off.
fn hot_line(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hot line, 500,000 sockets");
    group
        .throughput(Throughput::Elements(SOCKETS.into()))
        .sample_size(10);
    let stop = AtomicBool::new(false);
    group.bench_function("the replay alone", |bencher| {
        let datagrams = datagrams(2000);
        let mut replay = Replay::of(datagrams);
        let request = message(18, &[0; 56]);
        let mut buffer = Vec::with_capacity(32 * 1024);
        bencher.iter(|| {
            replay.send(&request).expect("a request");
            for _ in datagrams {
                buffer.clear();
                black_box(replay.receive(&mut buffer).expect("a datagram"));
            }
        });
    });
    for (name, peers) in [("2,000 peers", 2000), ("500,000 peers", SOCKETS)] {
        let datagrams = datagrams(peers);
        let (mut client, policy) = (sock_diag(datagrams), policy());
        let Scratch {
            listeners, mut tcp, ..
        } = Scratch::new(SOCKETS as usize);
        let deadline = Deadline {
            timeout: Duration::from_secs(60),
            stop: &stop,
        };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                client
                    .dump(
                        Dump::TcpSockets { bound: true },
                        deadline,
                        &mut tcp,
                        |tcp| tcp.begin(&policy, &listeners, &[], None),
                        |tcp, socket| tcp.add(&socket, &listeners),
                    )
                    .expect("a whole dump");
                tcp.finish();
            });
        });
    }
    group.finish();
}

/// A whole poll: the above and what is derived from it.
fn poll(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("poll without the kernel, 500,000 sockets");
    group
        .throughput(Throughput::Elements(SOCKETS.into()))
        .sample_size(10);
    for (name, peers) in [("2,000 peers", 2000), ("500,000 peers", SOCKETS)] {
        let mut surveyor = surveyor(20, datagrams(peers));
        let mut namespace = Namespace::own("host").expect("/proc");
        group.bench_function(name, |bencher| {
            bencher.iter(|| surveyor.dump(&mut namespace, &AtomicBool::new(false)))
        });
    }
    group.finish();
}

/// The page, plain and compressed.
fn render(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("render");
    group.sample_size(10);
    for each in [20, 50, 1300] {
        let mut surveyor = surveyor(each, datagrams(2000));
        let mut namespace = Namespace::own("host").expect("/proc");
        surveyor.dump(&mut namespace, &AtomicBool::new(false));
        let snapshot = Snapshot {
            taken: SystemTime::now(),
            interval: Duration::from_secs(5),
            namespaces: vec![namespace.snapshot()],
            skipped: Default::default(),
        };
        let page = exposition::render(&snapshot, Vec::new());
        let series = page
            .text
            .split(|&byte| byte == b'\n')
            .filter(|line| line.first().is_some_and(|&byte| byte != b'#'))
            .count();
        group.bench_function(format!("{series} series"), |bencher| {
            bencher.iter(|| exposition::render(black_box(&snapshot), Vec::new()));
        });
    }
    group.finish();
}

fn largest(criterion: &mut Criterion) {
    let sizes =
        |count: u64| (0..count).map(|key| (key, key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40));
    criterion
        .benchmark_group("20 largest")
        .sample_size(10)
        .bench_function("of 1,000,000", |bencher| {
            bencher.iter_batched(
                Ranking::default,
                |mut ranking| ranking.select(20, sizes(1_000_000), |_, _| true),
                BatchSize::SmallInput,
            );
        });
}

criterion_group!(benches, hot_line, poll, render, largest);
criterion_main!(benches);
