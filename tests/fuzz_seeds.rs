//! What fuzzing kept, and dumps of this kernel, through the functions that are fuzzed
//! (CONTRIBUTING.md, "Fuzz"). UPDATE_SEEDS=1 records seeds from this kernel.

#[path = "../fuzz/inputs/mod.rs"]
mod inputs;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sockdiag_exporter::kernel::ctnetlink::events_from;
use sockdiag_exporter::kernel::netlink::dump::Deadline;
use sockdiag_exporter::kernel::netlink::transport::{KernelTransport, Transport};
use sockdiag_exporter::kernel::sock_diag::{Dump, SockDiag};

use inputs::answers::join;
use support::netns::in_netns;
use support::sockets::Listener;

const NETLINK_SOCK_DIAG: isize = 4;
const NETLINK_NETFILTER: isize = 12;
const UPDATE: &str = "UPDATE_SEEDS";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn every_input_has_a_target_and_seeds() {
    let inputs: BTreeSet<_> = inputs::INPUTS.map(|(name, _)| name.to_owned()).into();
    assert_eq!(names(&root().join("seeds")), inputs);
    let targets = names(&root().join("fuzz_targets")).into_iter();
    let targets: BTreeSet<_> = targets
        .map(|file| file.trim_end_matches(".rs").to_owned())
        .collect();
    assert_eq!(targets, inputs);
}

#[test]
fn seeds_hold_what_is_promised() {
    for (name, run) in inputs::INPUTS {
        let folder = root().join("seeds").join(name);
        let seeds = names(&folder);
        assert!(!seeds.is_empty(), "no seeds for {name}");
        for seed in seeds {
            let input = fs::read(folder.join(&seed)).unwrap();
            let held = std::panic::catch_unwind(|| run(&input));
            assert!(held.is_ok(), "fuzz/seeds/{name}/{seed}");
        }
    }
}

/// Keeps what the kernel says.
struct Recording {
    kernel: KernelTransport,
    datagrams: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Recording {
    fn of(protocol: isize, datagrams: &Arc<Mutex<Vec<Vec<u8>>>>) -> Self {
        Self {
            kernel: KernelTransport::open(protocol).expect("a netlink socket"),
            datagrams: datagrams.clone(),
        }
    }
}

impl Transport for Recording {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        self.kernel.send(request)
    }

    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let sent = self.kernel.receive(buffer)?;
        self.datagrams.lock().unwrap().push(buffer.clone());
        Ok(sent)
    }
}

fn save(input: &str, name: &str, bytes: &[u8]) {
    if std::env::var_os(UPDATE).is_some() {
        let folder = root().join("seeds").join(input);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(name), bytes).unwrap();
    }
}

/// Without DONE, which the fuzzed transport adds.
fn records(datagrams: &Arc<Mutex<Vec<Vec<u8>>>>) -> Vec<Vec<u8>> {
    const DONE: [u8; 2] = 3_u16.to_ne_bytes();
    let taken = std::mem::take(&mut *datagrams.lock().unwrap());
    let kept = taken.into_iter().filter(|one| one[4..6] != DONE);
    kept.collect()
}

#[test]
fn dumps_of_this_kernel_hold_what_is_promised() {
    in_netns("dumps_of_this_kernel_hold_what_is_promised", &[], || {
        let listeners: Vec<_> = ["127.0.0.1:443", "[::1]:443", "0.0.0.0:8080"]
            .map(|address| Listener::at(address.parse().unwrap()).unwrap())
            .into();
        let open: Vec<_> = listeners[..2]
            .iter()
            .flat_map(|listener| (0..3).map(|_| listener.pair(&listener.plan()).unwrap()))
            .collect();
        let (first, second) = listeners[0].pair(&listeners[0].plan()).unwrap();
        support::sockets::close_in_turn(first, second).unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:5353").unwrap();
        let datagrams = Arc::new(Mutex::new(Vec::new()));
        let kept = datagrams.clone();
        let mut sock_diag = SockDiag::with(move || Ok(Recording::of(NETLINK_SOCK_DIAG, &kept)));
        let stop = AtomicBool::new(false);
        let deadline = Deadline {
            timeout: Duration::from_secs(10),
            stop: &stop,
        };
        let dumps = [
            ("tcp", Dump::TcpSockets { bound: false }),
            ("udp", Dump::Udp),
        ];
        for (name, dump) in dumps {
            let mut count = 0_u32;
            sock_diag
                .dump(dump, deadline, &mut count, |n| *n = 0, |n, _| *n += 1)
                .unwrap();
            assert!(count > 0, "{name}");
            let input = join(&records(&datagrams));
            inputs::dump::run(&input);
            save("dump", &format!("kernel-{name}"), &input);
            let framed = [&[0], input.as_slice()].concat();
            inputs::frames::run(&framed);
            save("frames", &format!("kernel-{name}"), &framed);
            // The first record of the first datagram.
            let length = usize::from(u16::from_ne_bytes([input[2], input[3]]));
            let record = &input[2 + 16..2 + length];
            inputs::record::run(record);
            save("record", &format!("kernel-{name}"), record);
        }
        drop((open, udp));
        if events_from(Recording::of(NETLINK_NETFILTER, &datagrams), &stop).is_ok() {
            let input = join(&records(&datagrams));
            inputs::ctnetlink::run(&input);
            save("ctnetlink", "kernel", &input);
        }
    });
}
