//! What the daemon does where its surroundings fail it: nobody reads its log, the kernel does
//! not answer, there are few descriptors.

#![allow(unsafe_code, reason = "pre_exec has no safe form")]

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process, setrlimit};

use super::exporter::{DEFAULT, Exporter, address, patience, promptly, refusal, status};
use crate::support::exposition::Exposition;
use crate::support::netns::in_netns;
use crate::support::{http, patience as slow, tools};

/// How much a pipe takes before it blocks (pipe(7)).
const PIPE_BYTES: usize = 64 * 1024;

fn metric(name: &str) -> Option<f64> {
    let page = http::get(address(DEFAULT), "/metrics").ok()?;
    Exposition::parse(page.text()).get(name, &[])
}

#[test]
fn a_log_that_nobody_reads_holds_nothing_up() {
    let name = "daemon::bad_days::a_log_that_nobody_reads_holds_nothing_up";
    in_netns(name, &[], || {
        let (_unread, mut pipe) = std::io::pipe().unwrap();
        pipe.write_all(&vec![b'\n'; PIPE_BYTES]).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("exporter.toml");
        // What fails at each poll is told at its first, and each start of a connection at trace.
        std::fs::write(
            &file,
            "[poll]\ninterval = \"100ms\"\n[log]\nlevel = \"trace\"\n",
        )
        .unwrap();
        let mut child = Command::new(tools::exporter())
            .arg("--config")
            .arg(&file)
            .stderr(pipe)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let is_ready = tools::wait_until(patience(), || status(DEFAULT, "/-/ready") == Some(200));
        let polls = || metric("sockdiag_poll_duration_seconds_count");
        let (first, later) = (polls(), || polls());
        let goes_on = tools::wait_until(patience(), || later() > first);
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        let ended = tools::wait_until(patience(), || child.try_wait().unwrap().is_some());
        let _ = child.kill();
        assert!(is_ready && goes_on && ended, "{is_ready} {goes_on} {ended}");
        assert!(child.wait().unwrap().success());
    });
}

#[test]
fn sighup_is_answered_in_the_log_and_ends_nothing() {
    let name = "daemon::bad_days::sighup_is_answered_in_the_log_and_ends_nothing";
    in_netns(name, &[], || {
        let mut exporter = Exporter::start(&[]);
        exporter.wait_ready(DEFAULT);
        exporter.process.signal(Signal::HUP);
        let is_told = || exporter.process.log().contains("restart to apply a change");
        assert!(
            tools::wait_until(patience(), is_told),
            "{}",
            exporter.process.log()
        );
        assert_eq!(status(DEFAULT, "/-/healthy"), Some(200));
        assert!(exporter.stop(Signal::TERM).0.success());
    });
}

/// The kernel opens a pipe of this name only when somebody writes to it.
#[test]
fn a_collector_that_is_stuck_is_not_healthy() {
    let name = "daemon::bad_days::a_collector_that_is_stuck_is_not_healthy";
    in_netns(name, &["mkfifo"], || {
        let proc = tempfile::tempdir().unwrap();
        let directory = proc.path().join("sys/net/ipv4");
        std::fs::create_dir_all(&directory).unwrap();
        let fifo = directory.join("ip_local_port_range");
        tools::run("mkfifo", &[fifo.to_str().unwrap()], "");
        let root = proc.path();
        let mut exporter = Exporter::configured(&format!(
            "[poll]\ninterval = \"100ms\"\ntimeout = \"100ms\"\n[procfs]\nroot = {root:?}\n"
        ));
        let is_stuck = || status(DEFAULT, "/-/healthy") == Some(503);
        assert!(
            tools::wait_until(patience(), is_stuck),
            "{}",
            exporter.process.log()
        );
        let answer = http::get(address(DEFAULT), "/-/healthy").unwrap();
        assert!(
            answer
                .text()
                .contains("the collector thread has been stuck for")
        );
        // It must not hold up the end either.
        let (status, took) = exporter.stop(Signal::TERM);
        assert!(
            status.success() && took < promptly() * 2,
            "{status}, {took:?}"
        );
    });
}

/// The exporter, allowed so many open files.
fn with_descriptors(limit: u64) -> Command {
    let mut command = Command::new(tools::exporter());
    command.arg("--listen=127.0.0.1:0");
    let limit = Rlimit {
        current: Some(limit),
        maximum: Some(limit),
    };
    // SAFETY: between fork and exec the closure makes one system call.
    unsafe { command.pre_exec(move || Ok(setrlimit(Resource::Nofile, limit)?)) };
    command
}

#[test]
fn too_few_descriptors_are_a_clear_error_and_no_panic() {
    for limit in [5, 6, 7, 8, 10, 16, 32, 48] {
        let (code, said) = refusal(&mut with_descriptors(limit));
        assert!(!said.contains("panicked"), "{limit}: {said}");
        assert_eq!(code, 1, "{limit}: {said}");
        assert!(said.contains("RLIMIT_NOFILE"), "{limit}: {said}");
    }
}

#[test]
fn connections_are_brought_down_to_the_descriptors() {
    let name = "daemon::bad_days::connections_are_brought_down_to_the_descriptors";
    in_netns(name, &[], || {
        let mut command = with_descriptors(100);
        command.args(["--listen", DEFAULT]);
        let exporter = Exporter::from(&mut command);
        let log = || exporter.process.log();
        exporter.wait_ready(DEFAULT);
        assert!(log().contains("is brought down"), "{}", log());
        let held: Vec<_> = (0..90)
            .filter_map(|_| TcpStream::connect(DEFAULT).ok())
            .collect();
        sleep(Duration::from_millis(300));
        let polls = || metric("sockdiag_poll_duration_seconds_count");
        let before = polls();
        assert!(
            before.is_some(),
            "a scrape is answered beside {}",
            held.len()
        );
        assert!(
            tools::wait_until(slow::seconds(15), || polls() > before),
            "{}",
            log()
        );
        assert!(!log().contains("collector failed"), "{}", log());
    });
}

#[test]
fn on_the_loopback_a_name_of_others_is_refused() {
    let name = "daemon::bad_days::on_the_loopback_a_name_of_others_is_refused";
    in_netns(name, &[], || {
        let at = "127.0.0.1:10062";
        let _exporter = Exporter::start(&["--listen", at]);
        let code = |host: &str| {
            let mut stream = TcpStream::connect(at.parse::<SocketAddr>().unwrap()).ok()?;
            write!(
                stream,
                "GET /metrics HTTP/1.1\r\n{host}Connection: close\r\n\r\n"
            )
            .ok()?;
            let mut answer = String::new();
            std::io::Read::read_to_string(&mut stream, &mut answer).ok()?;
            assert!(
                !answer.to_lowercase().contains("access-control"),
                "{answer}"
            );
            answer.split(' ').nth(1)?.parse::<u16>().ok()
        };
        let is_up = tools::wait_until(patience(), || {
            code("Host: 127.0.0.1:10062\r\n") == Some(200)
        });
        assert!(is_up);
        assert_eq!(code("Host: localhost:10062\r\n"), Some(200));
        assert_eq!(code("Host: rebound.example\r\n"), Some(403));
    });
}
