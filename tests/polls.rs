//! What a poll costs, needs and leaves out on the real kernel.

mod support;

use std::env;
use std::io::Read;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use sockdiag_exporter::config::Config;
use sockdiag_exporter::exposition::render;
use sockdiag_exporter::once;

use support::exposition::Exposition;
use support::netns::{in_netns, nft, sysctl};
use support::patience;
use support::plan::Plan;
use support::sockets::{Listener, Repaired};
use support::tools;

const PEERS: usize = 10_000;
const SOCKETS: usize = 100_000;
/// Inbound peers are spread over so many listeners.
const SERVICES: usize = 40;
/// Files that a worker needs beside its sockets.
const OTHER_FILES: usize = 64;
/// "FIRST LAST" of the sockets that a worker opens.
const SHARE: &str = "SOCKDIAG_TEST_SHARE";

/// Nobody's user, on whatever system.
const ORDINARY: u32 = 65_534;
const AS_ORDINARY: &str = "SOCKDIAG_TEST_ORDINARY";

fn poll(config: &Config) -> Exposition {
    let snapshot = once::poll(config).expect("a poll");
    let page = render(&snapshot, Vec::new());
    Exposition::parse(std::str::from_utf8(&page.text).expect("UTF-8"))
}

fn collector(page: &Exposition, name: &str) -> Option<f64> {
    let labels = [("netns", "host"), ("collector", name)];
    page.get("sockdiag_collector_up", &labels)
}

#[test]
fn a_hundred_thousand_sockets_fit_in_1500_series() {
    let name = "a_hundred_thousand_sockets_fit_in_1500_series";
    in_netns(name, &[], || {
        let first = repaired(0);
        if let Err(error) = &first {
            return tools::skip(name, &format!("TCP_REPAIR is refused: {error}"));
        }
        drop(first);
        let _listeners: Vec<_> = (0..SERVICES).map(|n| listener(n).unwrap()).collect();
        let workers = Workers::start();

        let page = poll(&patience::config());
        let sum = |metric, labels: &[(&str, &str)]| -> f64 {
            page.matching(metric, labels).map(|(_, value)| value).sum()
        };
        let established = [("state", "established"), ("protocol", "tcp")];
        assert_eq!(sum("sockdiag_sockets", &established), SOCKETS as f64);
        assert_eq!(sum("sockdiag_peer_sockets", &[]), SOCKETS as f64);
        assert_eq!(sum("sockdiag_peers", &[]), PEERS as f64);
        let shown = page.matching("sockdiag_peer_sockets", &[]).count();
        // Fifteen peers and the others, in each direction, in the one state there is.
        assert_eq!(shown, 2 * 16);
        assert!(page.samples.len() <= 1_500, "{} series", page.samples.len());
        drop(workers);
    });
}

fn listener(n: usize) -> std::io::Result<Listener> {
    Listener::at(SocketAddr::from(([0, 0, 0, 0], 8_000 + n as u16)))
}

/// Half of the peers are servers, the other half clients of ours.
fn repaired(n: usize) -> std::io::Result<Repaired> {
    let (peer, turn) = (n % PEERS, (n / PEERS) as u16);
    let host = [127, 100, (peer / 250) as u8, (peer % 250 + 1) as u8];
    let (local, remote) = if peer.is_multiple_of(2) {
        (40_000 + (peer % 5_000) as u16 + turn, 443)
    } else {
        (8_000 + (peer % SERVICES) as u16, 50_000 + turn)
    };
    let here = SocketAddr::from(([127, 0, 0, 1], local));
    Repaired::open(here, SocketAddr::from((host, remote)))
}

/// Processes that hold the sockets: one alone may not open so many files.
struct Workers(Vec<Child>);

impl Workers {
    fn start() -> Self {
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let room = files.map_or(SOCKETS, |files| files as usize - OTHER_FILES);
        let share = |first: usize| {
            let last = SOCKETS.min(first + room);
            Command::new("/proc/self/exe")
                .args(["worker_with_a_share", "--exact", "--ignored", "--nocapture"])
                .env(SHARE, format!("{first} {last}"))
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("the test binary starts again")
        };
        let mut workers = Self((0..SOCKETS).step_by(room).map(share).collect());
        for worker in &mut workers.0 {
            let mut printed = worker.stdout.take().expect("a pipe");
            let (mut seen, mut byte) = (Vec::new(), [0]);
            // libtest prints a preface of its own.
            while !seen.ends_with(b"ready") {
                printed.read_exact(&mut byte).expect("a worker is ready");
                seen.extend(byte);
            }
            worker.stdout = Some(printed);
        }
        workers
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // End of file is the order to leave, all of them at once.
        for worker in &mut self.0 {
            worker.stdin = None;
        }
        for worker in &mut self.0 {
            let _ = worker.wait();
        }
    }
}

#[test]
#[ignore = "a worker process, which its test starts by itself"]
fn worker_with_a_share() {
    let Ok(share) = env::var(SHARE) else { return };
    let (first, last) = share.split_once(' ').expect("two numbers");
    let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
    let held: Vec<_> = (first..last).map(|n| repaired(n).unwrap()).collect();
    println!("ready");
    let _ = std::io::stdin().read(&mut [0]);
    drop(held);
}

#[test]
fn conntrack_is_what_the_kernel_counts() {
    in_netns("conntrack_is_what_the_kernel_counts", &["nft"], || {
        nft("table inet t {
                chain c { type filter hook output priority 0; ct state new counter; }
            }");
        let listener = Listener::at("127.0.0.1:443".parse().unwrap()).unwrap();
        let _held = listener.plan().open_many(7).unwrap();
        let number = |key: &str| -> f64 {
            let text = sysctl(&format!("net.netfilter.nf_conntrack_{key}"));
            text.expect("conntrack is loaded").parse().unwrap()
        };
        assert_eq!(number("count"), 7.0);
        let page = poll(&patience::config());
        for (metric, key) in [
            ("sockdiag_conntrack_entries", "count"),
            ("sockdiag_conntrack_entries_limit", "max"),
            ("sockdiag_conntrack_buckets", "buckets"),
        ] {
            let shown = page.get(metric, &[("netns", "host")]);
            assert_eq!(shown, Some(number(key)), "{metric}");
        }
        assert_eq!(collector(&page, "conntrack"), Some(1.0));
        // Root of the namespace may ask ctnetlink where there is no file.
        let drops = [("netns", "host"), ("event", "drop")];
        let drops = page.get("sockdiag_conntrack_events_total", &drops);
        assert_eq!(drops, Some(0.0));
    });
}

#[test]
fn without_its_files_conntrack_is_absent_and_the_sockets_are_not() {
    let name = "without_its_files_conntrack_is_absent_and_the_sockets_are_not";
    in_netns(name, &[], || {
        let _held = Plan::udp_bound("127.0.0.1:53".parse().unwrap()).open();
        let empty = tempfile::tempdir().unwrap();
        let mut config = patience::config();
        config.procfs.root = empty.path().to_owned();
        let page = poll(&config);
        assert_eq!(
            page.get("sockdiag_conntrack_entries", &[("netns", "host")]),
            None
        );
        assert_eq!(collector(&page, "conntrack"), None);
        assert_eq!(
            collector(&page, "ephemeral"),
            Some(0.0),
            "no range, no figures"
        );
        assert_eq!(collector(&page, "sockets"), Some(1.0));
        let bound = [("netns", "host"), ("protocol", "udp"), ("family", "inet")];
        let sockets: f64 = page
            .matching("sockdiag_sockets", &bound)
            .map(|(_, n)| n)
            .sum();
        assert_eq!(sockets, 1.0);
    });
}

/// In the namespace of the machine, where nothing is opened or changed.
#[test]
fn a_poll_needs_no_privilege() {
    let name = "a_poll_needs_no_privilege";
    if rustix::process::geteuid().is_root() && env::var_os(AS_ORDINARY).is_none() {
        let status = Command::new("/proc/self/exe")
            .args([name, "--exact", "--nocapture"])
            .env(AS_ORDINARY, "1")
            .uid(ORDINARY)
            .gid(ORDINARY)
            .status()
            .expect("the test binary starts again");
        return assert!(status.success(), "as an ordinary user: {status}");
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    assert!(status.contains("CapEff:\t0000000000000000"), "{status}");
    let page = poll(&patience::config());
    for name in ["sockets", "udp", "peers", "listeners", "ephemeral", "tcp"] {
        assert_eq!(collector(&page, name), Some(1.0), "{name}");
    }
    assert_ne!(collector(&page, "conntrack"), Some(0.0));
    let range = sysctl("net.ipv4.ip_local_port_range").unwrap();
    let first = page.get("sockdiag_ephemeral_port_range_first", &[("netns", "host")]);
    let first = first.expect("a figure").to_string();
    assert_eq!(range.split_whitespace().next(), Some(first.as_str()));
}
