//! The daemon among sockets, listeners and namespaces that come and go, and clients good
//! and bad: every page holds what is promised of any page, and nothing grows.
//! SOCKDIAG_TEST_SOAK says for how many seconds.

mod support;

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use support::dice::Dice;
use support::exposition::Exposition;
use support::invariants::{check_honest, check_order};
use support::netns::{Namespace, in_netns_printing, set_port_range, set_sysctl, take_longer};
use support::process::Process;
use support::sockets::{Listener, close_in_turn};
use support::{http, tools};

const SECONDS: &str = "SOCKDIAG_TEST_SOAK";
const SHORT: u64 = 20;
/// Between two pages; the daemon polls as often.
const BEAT: Duration = Duration::from_millis(250);
/// Short connections a second, at most.
const CHURN: u64 = 400;
/// What the allocator may keep beyond what it had, in KiB.
const SLACK: u64 = 3 * 1024;

/// The daemon's, from /proc: resident KiB, open files.
fn usage(pid: u32) -> (u64, usize) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.unwrap().split_whitespace().next().unwrap();
    let files = std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count();
    (kib.parse().unwrap(), files)
}

/// Short connections to several destinations, closed by the client; some stay for a while.
fn churn(stop: &AtomicBool) {
    let mut dice = Dice(1);
    let listeners: Vec<_> = (1..=6)
        .map(|last| Listener::at(format!("127.0.2.{last}:443").parse().unwrap()).unwrap())
        .collect();
    let mut open = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let listener = &listeners[usize::from(dice.roll(0, 5))];
        // Where all ports are in use the next attempt may find one.
        if let Ok((client, server)) = listener.pair(&listener.plan()) {
            match dice.roll(0, 3) {
                0 => open.push((client, server)),
                _ => close_in_turn(client, server).unwrap(),
            }
        }
        if open.len() > 150 {
            let at = usize::from(dice.roll(0, 149));
            open.swap_remove(at);
        }
        sleep(Duration::from_micros(1_000_000 / CHURN));
    }
}

/// Listeners and UDP sockets on ports of chance.
fn listeners(stop: &AtomicBool) {
    let mut dice = Dice(2);
    let (mut tcp, mut udp) = (Vec::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let host = dice.of(&["127.0.3.1", "0.0.0.0", "[::1]", "[::]"]);
        let at: SocketAddr = format!("{host}:{}", dice.roll(1024, 65535))
            .parse()
            .unwrap();
        tcp.extend(Listener::at(at));
        udp.extend(UdpSocket::bind(at).inspect(|socket| {
            let _ = socket.connect(("127.0.3.2", dice.roll(1, 9)));
        }));
        if tcp.len() > 40 {
            tcp.drain(..20);
            udp.drain(..udp.len() / 2);
        }
        sleep(Duration::from_millis(5));
    }
}

/// Settings that change in the middle of a dump.
fn settings(stop: &AtomicBool) {
    let mut dice = Dice(3);
    while !stop.load(Ordering::Relaxed) {
        set_port_range(40000, dice.of(&[40199, 40399, 40799]));
        set_sysctl(
            "net.ipv4.ip_local_reserved_ports",
            dice.of(&["", "40100-40149"]),
        );
        set_sysctl("net.ipv4.tcp_tw_reuse", dice.of(&[0, 2]));
        sleep(BEAT * 3);
    }
}

/// Namespaces with a listener and a few connections, each for a second or so. Names come
/// again.
fn namespaces(directory: &Path, stop: &AtomicBool) {
    let mut round = 0;
    while !stop.load(Ordering::Relaxed) {
        let made: Vec<_> = (0..3).map(|_| Namespace::fresh()).collect();
        let mut kept = Vec::new();
        for (at, namespace) in made.iter().enumerate() {
            kept.push(namespace.enter(|| {
                let listener = Listener::at("127.0.0.1:80".parse().unwrap()).unwrap();
                let pairs: Vec<_> = (0..=at + round % 5)
                    .map(|_| listener.pair(&listener.plan()).unwrap())
                    .collect();
                (listener, pairs)
            }));
            let _ = std::fs::remove_file(directory.join(format!("pod-{at}")));
            symlink(namespace.path(), directory.join(format!("pod-{at}"))).unwrap();
        }
        sleep(BEAT * 4);
        if round % 2 == 0 {
            std::fs::remove_file(directory.join("pod-0")).unwrap();
        }
        round += 1;
    }
}

/// Clients that ask for half a page, and for what is not there.
fn rude_clients(server: SocketAddr, stop: &AtomicBool) {
    let mut hanging = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        if let Ok(mut stream) = TcpStream::connect(server) {
            let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ");
            hanging.push(stream);
        }
        let _ = http::get(server, "/no/such/page");
        if hanging.len() > 20 {
            hanging.drain(..10);
        }
        sleep(BEAT);
    }
}

/// What was seen, for whoever reads the log.
#[derive(Default)]
struct Seen {
    pages: u64,
    series: usize,
    sockets: f64,
    namespaces: f64,
    worst: f64,
}

impl Seen {
    fn add(&mut self, page: &Exposition) {
        let sum = |name| {
            page.matching(name, &[])
                .map(|(_, value)| value)
                .sum::<f64>()
        };
        let worst = page.matching("sockdiag_ephemeral_utilization_ratio", &[]);
        self.pages += 1;
        self.series = self.series.max(page.samples.len());
        self.sockets = self.sockets.max(sum("sockdiag_sockets"));
        self.namespaces = self.namespaces.max(sum("sockdiag_namespaces"));
        self.worst = worst.map(|(_, ratio)| ratio).fold(self.worst, f64::max);
    }
}

/// Pages until the time is over; resident KiB and files once everything has its size, and
/// at the end.
fn scrape(server: SocketAddr, pid: u32, time: Duration) -> (Seen, [(u64, usize); 2]) {
    let started = Instant::now();
    let (mut seen, mut settled, mut last) = (Seen::default(), None, None);
    while started.elapsed() < time {
        let page = http::get(server, "/metrics").unwrap();
        assert_eq!(page.status, 200);
        let page = Exposition::parse(page.text());
        if page.matching("sockdiag_sockets", &[]).count() > 0 {
            check_honest(&page);
        }
        if let Some(last) = &last {
            check_order(last, &page);
        }
        seen.add(&page);
        last = Some(page);
        for path in ["/", "/api/v1/snapshot"] {
            assert_eq!(http::get(server, path).unwrap().status, 200, "{path}");
        }
        let json = http::get(server, "/api/v1/snapshot").unwrap();
        serde_json::from_slice::<serde_json::Value>(&json.body).expect("JSON");
        if settled.is_none() && started.elapsed() > time / 2 {
            settled = Some(usage(pid));
        }
        sleep(BEAT);
    }
    (seen, [settled.unwrap(), usage(pid)])
}

#[test]
fn nothing_grows_and_every_page_holds() {
    let name = "nothing_grows_and_every_page_holds";
    let told = in_netns_printing(name, &["ip"], || {
        let text = std::env::var(SECONDS).unwrap_or_else(|_| SHORT.to_string());
        let time = Duration::from_secs(text.parse().expect("whole seconds"));

        take_longer(time);
        let directory = TempDir::new().unwrap();
        let server: SocketAddr = "127.0.0.1:9000".parse().unwrap();
        let config = directory.path().join("config.toml");
        let pods = directory.path().join("pods");
        std::fs::create_dir(&pods).unwrap();
        let text = format!(
            "[web]\nlisten = [\"{server}\"]\nmax_connections = 16\n\
             [poll]\ninterval = \"{}ms\"\nmax_duty = 1.0\n\
             [limits]\nfloor_sockets = 0\nfloor_share = 0.0\n\
             [netns]\nenabled = true\ndirectories = [{pods:?}]\ninclude = [\"pod-*\"]\n",
            BEAT.as_millis()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(tools::exporter());
        command.arg("--config").arg(&config);
        let mut daemon = Process::start(&mut command, &directory.path().join("log"));
        let is_ready = || http::get(server, "/-/ready").is_ok_and(|answer| answer.status == 200);
        assert!(
            tools::wait_until(Duration::from_secs(10), is_ready),
            "{}",
            daemon.log()
        );
        let stop = AtomicBool::new(false);
        let (seen, [settled, end]) = std::thread::scope(|scope| {
            scope.spawn(|| churn(&stop));
            scope.spawn(|| listeners(&stop));
            scope.spawn(|| settings(&stop));
            scope.spawn(|| namespaces(&pods, &stop));
            scope.spawn(|| rude_clients(server, &stop));
            let scraped = std::panic::catch_unwind(|| scrape(server, daemon.id(), time));
            stop.store(true, Ordering::Relaxed);
            scraped.unwrap_or_else(|_| panic!("{}", daemon.log()))
        });
        let mut told = String::new();
        let Seen {
            pages,
            series,
            sockets,
            namespaces,
            worst,
        } = seen;
        let _ = write!(
            told,
            "{} s: {pages} pages, at most {series} series, {sockets} sockets, {namespaces} \
             namespaces, worst ratio {worst:.3}; KiB and files {settled:?} at half time, \
             {end:?} at the end",
            time.as_secs()
        );
        println!("{told}");
        assert!(
            sockets > 300.0 && namespaces >= 3.0 && worst > 0.9,
            "too quiet: {told}"
        );
        assert!(end.0 <= settled.0 + SLACK, "memory grew: {told}");
        // Connections come and go; the daemon's own files do not.
        assert!(end.1 <= settled.1 + 16, "files: {told}");
        daemon.signal(Signal::TERM);
        let ended = daemon
            .ended_within(Duration::from_secs(10))
            .expect("it ends");
        assert!(ended.success(), "{}", daemon.log());
    });
    if let Some(told) = told {
        println!("{told}");
    }
}
