//! Little of what a process needs: descriptors, processor time, peace from signals.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, prlimit};
use socket2::SockRef;

use super::exporter::{DEFAULT, Exporter, address, patience, promptly, status};
use crate::support::exposition::Exposition;
use crate::support::netns::in_netns;
use crate::support::{http, tools};

fn pid(exporter: &Exporter) -> Pid {
    let pid = i32::try_from(exporter.process.id()).unwrap();
    Pid::from_raw(pid).expect("not 0")
}

/// Sets the soft limit of a process that runs, and gives the one before.
fn allow_descriptors(of: Pid, limit: u64) -> u64 {
    let current = Some(limit);
    let maximum = rustix::process::getrlimit(Resource::Nofile).maximum;
    let earlier = prlimit(Some(of), Resource::Nofile, Rlimit { current, maximum });
    earlier
        .expect("a process of ours")
        .current
        .expect("a limit")
}

/// A scrape over a connection that is open already.
fn scrape(client: &mut TcpStream) -> Exposition {
    let request = format!("GET /metrics HTTP/1.1\r\nHost: {DEFAULT}\r\n\r\n");
    client.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let mut part = [0; 4096];
    let body = loop {
        let read = client.read(&mut part).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend(&part[..read]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lines = head.lines();
            let length = lines.filter_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.map(|n| n.parse().unwrap()).next().unwrap();
            if body.len() == length {
                break body.to_owned();
            }
        }
    };
    Exposition::parse(&body)
}

/// How many collectors have this value.
fn collectors(page: &Exposition, up: f64) -> usize {
    let all = page.matching("sockdiag_collector_up", &[]);
    all.filter(|&(_, value)| value == up).count()
}

#[test]
fn without_a_descriptor_collectors_fail_and_come_back() {
    let name = "daemon::scarcity::without_a_descriptor_collectors_fail_and_come_back";
    in_netns(name, &[], || {
        let mut exporter = Exporter::configured("[poll]\ninterval = \"200ms\"\nmax_duty = 1.0\n");
        exporter.wait_ready(DEFAULT);
        let mut client = TcpStream::connect(DEFAULT).unwrap();
        let healthy = collectors(&scrape(&mut client), 1.0);
        let all = allow_descriptors(pid(&exporter), 3);
        let ephemeral = [("collector", "ephemeral")];
        let fails = || {
            let page = scrape(&mut client);
            let mut up = page.matching("sockdiag_collector_up", &ephemeral);
            let fails = up.any(|(_, up)| up == 0.0);
            // A collector that fails shows nothing that is old.
            let ratio = page.matching("sockdiag_ephemeral_utilization_ratio", &[]);
            assert!(!fails || ratio.count() == 0);
            fails
        };
        assert!(
            tools::wait_until(patience(), fails),
            "{}",
            exporter.process.log()
        );
        let page = scrape(&mut client);
        let errors = page.matching("sockdiag_collector_errors_total", &[]);
        assert!(errors.map(|(_, count)| count).sum::<f64>() > 0.0);
        allow_descriptors(pid(&exporter), all);
        let recovers = || collectors(&scrape(&mut client), 1.0) == healthy;
        assert!(
            tools::wait_until(patience(), recovers),
            "{}",
            exporter.process.log()
        );
        assert_eq!(status(DEFAULT, "/-/ready"), Some(200));
        assert!(exporter.stop(Signal::TERM).0.success());
    });
}

/// The namespace is known by a cookie, which takes a descriptor to read.
#[test]
fn without_a_descriptor_nothing_is_forgotten() {
    let name = "daemon::scarcity::without_a_descriptor_nothing_is_forgotten";
    in_netns(name, &[], || {
        let toml = "[poll]\ninterval = \"200ms\"\nmax_duty = 1.0\npeak_window = \"1h\"\n";
        let mut exporter = Exporter::configured(toml);
        exporter.wait_ready(DEFAULT);
        let mut client = TcpStream::connect(DEFAULT).unwrap();
        let peak = |page: &Exposition| {
            let labels = [("protocol", "tcp"), ("scope", "destination")];
            let mut peaks = page.matching("sockdiag_ephemeral_utilization_peak_ratio", &labels);
            peaks.next().map(|(_, peak)| peak)
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let connections: Vec<_> = (0..50).map(|_| TcpStream::connect(at).unwrap()).collect();
        let is_high = |page: &Exposition| peak(page).is_some_and(|peak| peak > 0.001);
        assert!(tools::wait_until(patience(), || is_high(&scrape(
            &mut client
        ))));
        for connection in connections {
            // Reset, so that no TIME_WAIT keeps the ports.
            let option = SockRef::from(&connection).set_linger(Some(Duration::ZERO));
            option.unwrap();
        }
        let all = allow_descriptors(pid(&exporter), 3);
        let fails = || peak(&scrape(&mut client)).is_none();
        assert!(tools::wait_until(patience(), fails));
        allow_descriptors(pid(&exporter), all);
        let recovers = || peak(&scrape(&mut client)).is_some();
        assert!(tools::wait_until(patience(), recovers));
        assert!(is_high(&scrape(&mut client)));
        assert!(exporter.stop(Signal::TERM).0.success());
    });
}

#[test]
fn a_storm_of_signals_spoils_no_poll() {
    let name = "daemon::scarcity::a_storm_of_signals_spoils_no_poll";
    in_netns(name, &[], || {
        let mut exporter = Exporter::configured("[poll]\ninterval = \"100ms\"\nmax_duty = 1.0\n");
        exporter.wait_ready(DEFAULT);
        let until = Instant::now() + Duration::from_secs(2);
        let mut sent = 0;
        while Instant::now() < until || sent < 1000 {
            kill_process(pid(&exporter), Signal::HUP).unwrap();
            sent += 1;
            sleep(Duration::from_micros(200));
        }
        let page = http::get(address(DEFAULT), "/metrics").unwrap();
        let page = Exposition::parse(page.text());
        let errors = page.matching("sockdiag_collector_errors_total", &[]);
        assert_eq!(errors.map(|(_, count)| count).sum::<f64>(), 0.0);
        assert_eq!(collectors(&page, 0.0), 0);
        assert!(exporter.stop(Signal::TERM).0.success());
    });
}

/// As a quota of 1 % of a processor: it runs for a millisecond out of a hundred. Stopped and
/// continued, for a cgroup of one's own takes root.
#[test]
fn with_a_hundredth_of_a_processor_readiness_answers() {
    let name = "daemon::scarcity::with_a_hundredth_of_a_processor_readiness_answers";
    in_netns(name, &[], || {
        let mut exporter = Exporter::start(&[]);
        exporter.wait_ready(DEFAULT);
        let over = AtomicBool::new(false);
        let process = pid(&exporter);
        let slowest = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    kill_process(process, Signal::STOP).unwrap();
                    sleep(Duration::from_millis(99));
                    kill_process(process, Signal::CONT).unwrap();
                    sleep(Duration::from_millis(1));
                }
            });
            let probe = |_| {
                let asked = Instant::now();
                assert_eq!(status(DEFAULT, "/-/ready"), Some(200));
                let took = asked.elapsed();
                sleep(Duration::from_millis(300));
                took
            };
            let slowest = std::panic::catch_unwind(|| (0..20).map(probe).max().unwrap());
            over.store(true, Ordering::Relaxed);
            slowest.expect("a probe failed")
        });
        assert!(slowest < promptly(), "{slowest:?}");
        assert!(exporter.stop(Signal::TERM).0.success());
    });
}
