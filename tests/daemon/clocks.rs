//! Clocks that jump, stand still or start elsewhere.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::process::Signal;

use super::exporter::{DEFAULT, Exporter, address, patience, status};
use crate::support::exposition::Exposition;
use crate::support::invariants::check_honest;
use crate::support::netns::in_netns;
use crate::support::{http, tools};

const DAY: f64 = 86_400.0;

fn page() -> Exposition {
    let page = http::get(address(DEFAULT), "/metrics").expect("a page");
    let page = Exposition::parse(page.text());
    check_honest(&page);
    page
}

fn get(page: &Exposition, name: &str) -> f64 {
    page.get(name, &[]).unwrap_or_else(|| panic!("no {name}"))
}

/// The library that `faketime` preloads.
fn library() -> Option<PathBuf> {
    let folders = ["/usr/lib", "/usr/lib64"].map(Path::new);
    let found = folders.iter().flat_map(|folder| {
        let architectures = std::fs::read_dir(folder).into_iter().flatten().flatten();
        architectures.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"))
    });
    found.into_iter().find(|path| path.exists())
}

#[test]
fn a_clock_that_jumps_moves_the_timestamps_and_nothing_else() {
    let name = "daemon::clocks::a_clock_that_jumps_moves_the_timestamps_and_nothing_else";
    in_netns(name, &["faketime"], || {
        let directory = tempfile::tempdir().unwrap();
        let offset = directory.path().join("offset");
        let config = directory.path().join("exporter.toml");
        std::fs::write(&offset, "+0").unwrap();
        std::fs::write(&config, "[poll]\ninterval = \"200ms\"\nmax_duty = 1.0\n").unwrap();
        let mut command = Command::new(tools::exporter());
        command
            .arg("--config")
            .arg(&config)
            .env("LD_PRELOAD", library().expect("faketime has a library"))
            .env("FAKETIME_TIMESTAMP_FILE", &offset)
            .env("FAKETIME_NO_CACHE", "1")
            .env("DONT_FAKE_MONOTONIC", "1");
        let mut exporter = Exporter::from(&mut command);
        exporter.wait_ready(DEFAULT);
        let now = || {
            SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap()
                .as_secs_f64()
        };
        let start = get(&page(), "process_start_time_seconds");
        for days in [0.0, 400.0, -400.0, -30_000.0, 1.0] {
            std::fs::write(&offset, format!("{days:+}d")).unwrap();
            let expected = now() + days * DAY;
            let has_moved = || {
                let taken = get(&page(), "sockdiag_snapshot_timestamp_seconds");
                // Before 1970 is 1970: there is no other way to say it.
                (taken - expected.max(0.0)).abs() < 60.0
            };
            let moved = tools::wait_until(patience(), has_moved);
            assert!(moved, "{days} days: {}", exporter.process.log());
            let polls = || get(&page(), "sockdiag_poll_duration_seconds_count");
            let before = polls();
            assert!(
                tools::wait_until(patience(), || polls() > before + 1.0),
                "{days}"
            );
            for path in ["/", "/-/ready", "/-/healthy", "/api/v1/snapshot"] {
                assert_eq!(status(DEFAULT, path), Some(200), "{days} days: {path}");
            }
            assert_eq!(get(&page(), "process_start_time_seconds"), start);
        }
        assert!(exporter.stop(Signal::TERM).0.success());
    });
}

/// As a machine that was suspended, or a virtual one that was paused.
#[test]
fn stopped_for_a_while_it_goes_on_by_itself() {
    let name = "daemon::clocks::stopped_for_a_while_it_goes_on_by_itself";
    in_netns(name, &[], || {
        let config = "[poll]\ninterval = \"200ms\"\nage_max = \"1s\"\nmax_duty = 1.0\n";
        let mut exporter = Exporter::configured(config);
        exporter.wait_ready(DEFAULT);
        let polls = |page: &Exposition| get(page, "sockdiag_poll_duration_seconds_count");
        let before = page();
        exporter.process.signal(Signal::STOP);
        sleep(Duration::from_secs(4));
        exporter.process.signal(Signal::CONT);
        exporter.wait_ready(DEFAULT);
        let goes_on = || polls(&page()) > polls(&before) + 2.0;
        assert!(tools::wait_until(patience(), goes_on));
        let after = page();
        let errors = after.matching("sockdiag_collector_errors_total", &[]);
        assert_eq!(errors.map(|(_, count)| count).sum::<f64>(), 0.0);
        assert!(exporter.stop(Signal::TERM).0.success());
    });
}

#[test]
fn in_a_time_namespace_times_are_those_of_the_world() {
    let name = "daemon::clocks::in_a_time_namespace_times_are_those_of_the_world";
    in_netns(name, &["unshare"], || {
        // Before Linux 6.3 a process has to be made in the namespace to be in it.
        let within = r#""$0" & trap 'kill $!' TERM; wait $!; wait $!"#;
        let mut command = Command::new("unshare");
        command
            .args(["--time", "--boottime", "1000000", "--monotonic", "1000000"])
            .args(["sh", "-c", within])
            .arg(tools::exporter());
        let mut exporter = Exporter::from(&mut command);
        exporter.wait_ready(DEFAULT);
        let shell = exporter.process.id();
        let child = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children"));
        let clocks = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/time")).unwrap();
        assert_ne!(clocks(child.unwrap().trim()), clocks("self"));
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs_f64();
        let page = page();
        for name in [
            "process_start_time_seconds",
            "sockdiag_snapshot_timestamp_seconds",
        ] {
            let time = get(&page, name);
            assert!((time - now).abs() < 60.0, "{name}: {time}, now {now}");
        }
        assert!(exporter.stop(Signal::TERM).0.success());
    });
}
