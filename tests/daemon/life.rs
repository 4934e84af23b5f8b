//! Start, readiness, log and end.

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::exporter::{DEFAULT, Exporter, address, patience, promptly, status};
use super::gate::Gate;
use crate::support::netns::in_netns;
use crate::support::sockets::Repaired;
use crate::support::{http, tools};

#[test]
fn the_defaults_answer_within_a_second() {
    let name = "daemon::life::the_defaults_answer_within_a_second";
    in_netns(name, &[], || {
        let start_and_scrape = || {
            let start = Instant::now();
            let exporter = Exporter::start(&[]);
            let has_numbers = || {
                http::get(address(DEFAULT), "/metrics")
                    .is_ok_and(|page| page.text().contains("\nsockdiag_sockets{netns=\"host\""))
            };
            assert!(tools::wait_until(patience(), has_numbers));
            (exporter, start.elapsed())
        };
        // The other tests take their share of the machine: one start of three counts.
        let mut tries = (0..3).map(|_| start_and_scrape());
        let quick = tries.find(|(_, took)| *took < promptly());
        let (_exporter, took) = quick.expect("numbers within a second");
        eprintln!("the first scrape with numbers {took:?} after the start");
        assert_eq!(status(DEFAULT, "/-/ready"), Some(200));
        // The default serves both families.
        assert_eq!(status("[::1]:10061", "/-/healthy"), Some(200));
    });
}

#[test]
fn it_is_ready_after_the_first_poll_and_not_before() {
    let name = "daemon::life::it_is_ready_after_the_first_poll_and_not_before";
    in_netns(name, &[], || {
        let gate = Gate::shut();
        let exporter = Exporter::configured(&format!("[procfs]\nroot = {:?}\n", gate.root()));
        let answers = || status(DEFAULT, "/-/healthy") == Some(200);
        assert!(tools::wait_until(patience(), answers));
        thread::sleep(Duration::from_millis(300));
        assert_eq!(status(DEFAULT, "/-/ready"), Some(503));
        let page = http::get(address(DEFAULT), "/metrics").unwrap();
        assert_eq!(page.status, 200);
        assert!(page.text().contains("sockdiag_build_info"));
        assert!(!page.text().contains("netns="), "{}", page.text());
        gate.open();
        exporter.wait_ready(DEFAULT);
        let page = http::get(address(DEFAULT), "/metrics").unwrap();
        assert!(page.text().contains("netns=\"host\""));
    });
}

#[test]
fn a_poll_that_hangs_holds_no_end_up() {
    in_netns(
        "daemon::life::a_poll_that_hangs_holds_no_end_up",
        &[],
        || {
            let gate = Gate::shut();
            let config = format!("[procfs]\nroot = {:?}\n", gate.root());
            for signal in [Signal::TERM, Signal::INT] {
                let mut exporter = Exporter::configured(&config);
                let answers = || status(DEFAULT, "/-/healthy") == Some(200);
                assert!(tools::wait_until(patience(), answers));
                let (status, took) = exporter.stop(signal);
                assert!(status.success(), "{status}: {}", exporter.process.log());
                assert!(took < promptly(), "{took:?}");
            }
        },
    );
}

#[test]
fn signals_end_it_in_the_midst_of_dumps() {
    let name = "daemon::life::signals_end_it_in_the_midst_of_dumps";
    in_netns(name, &[], || {
        let open = |port| {
            let peer = address(&format!("127.200.0.9:{port}"));
            Repaired::open(address(&format!("127.0.0.1:{port}")), peer)
        };
        let _held: Vec<_> = (20_000..30_000).map(|port| open(port).unwrap()).collect();
        // One dump follows the other at this pace; eight moments hit most parts of one.
        let config = "[poll]\ninterval = \"100ms\"\nmax_duty = 1.0\n";
        for round in 0..8 {
            let mut exporter = Exporter::configured(config);
            exporter.wait_ready(DEFAULT);
            thread::sleep(Duration::from_millis(100 + 13 * round));
            let signal = if round % 2 == 0 {
                Signal::TERM
            } else {
                Signal::INT
            };
            let (status, took) = exporter.stop(signal);
            assert!(status.success(), "{status}: {}", exporter.process.log());
            assert!(took < promptly(), "{took:?}");
        }
    });
}

#[test]
fn a_client_that_stays_holds_no_end_up() {
    let name = "daemon::life::a_client_that_stays_holds_no_end_up";
    in_netns(name, &[], || {
        let mut exporter = Exporter::start(&[]);
        exporter.wait_ready(DEFAULT);
        let silent = std::net::TcpStream::connect(DEFAULT).unwrap();
        let (status, took) = exporter.stop(Signal::TERM);
        assert!(status.success() && took < promptly(), "{status}, {took:?}");
        drop(silent);
    });
}

#[test]
fn the_log_has_a_line_for_the_start_and_none_per_poll() {
    let name = "daemon::life::the_log_has_a_line_for_the_start_and_none_per_poll";
    in_netns(name, &[], || {
        // Other namespaces' sockets make dumps dear here too: no stretching.
        let config = "[poll]\ninterval = \"100ms\"\nmax_duty = 1.0\n";
        let mut exporter = Exporter::configured(config);
        exporter.wait_ready(DEFAULT);
        let polls = || {
            let page = http::get(address(DEFAULT), "/metrics").unwrap();
            let count = page
                .text()
                .lines()
                .find_map(|line| line.strip_prefix("sockdiag_poll_duration_seconds_count "))
                .and_then(|count| count.parse::<u64>().ok());
            count.expect("the histogram is there")
        };
        let (before, first) = (exporter.process.log(), polls());
        assert!(tools::wait_until(patience(), || polls() >= first + 5));
        assert_eq!(exporter.process.log(), before);
        let started: Vec<_> = before.lines().filter(|l| l.contains("started")).collect();
        let [line] = started[..] else {
            panic!("{before}")
        };
        let facts = [
            env!("CARGO_PKG_VERSION"),
            "listen=\"[::]:10061\"",
            "interval=100ms",
            "collectors=\"sockets,udp,peers,listeners,ephemeral,cgroups,node_ports,kernel,tcp,conntrack\"",
        ];
        for fact in facts {
            assert!(line.contains(fact), "{line}");
        }
        exporter.stop(Signal::TERM);
        let after = exporter.process.log();
        let more: Vec<_> = after.lines().skip(before.lines().count()).collect();
        assert!(more.len() == 1 && more[0].contains("stopped"), "{after}");
    });
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    let name = "daemon::life::a_log_that_cannot_be_written_ends_nothing";
    in_netns(name, &[], || {
        // Writing to it is ENOSPC (full(4)).
        let to_nowhere = "exec \"$0\" \"$@\" 2>/dev/full";
        let start = |arguments: &[&str]| {
            let mut command = Command::new("sh");
            command
                .args(["-c", to_nowhere])
                .arg(tools::exporter())
                .args(arguments);
            Exporter::from(&mut command)
        };
        let mut exporter = start(&[]);
        exporter.wait_ready(DEFAULT);
        let mut second = start(&[]);
        let refused = second
            .process
            .ended_within(patience())
            .expect("a taken port");
        assert_eq!(refused.code(), Some(1));
        let (status, _) = exporter.stop(Signal::TERM);
        assert!(status.success(), "{status}");
    });
}
