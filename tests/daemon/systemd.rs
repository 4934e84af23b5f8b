//! The exporter under a service manager: readiness, watchdog, sockets handed in.

#![allow(unsafe_code, reason = "pre_exec and dup2 have no safe form")]

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tempfile::TempDir;

use super::exporter::{DEFAULT, Exporter, patience, refusal, status};
use super::gate::Gate;
use crate::support::netns::in_netns;
use crate::support::tools;

/// The other end of `$NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    directory: TempDir,
}

impl Manager {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let socket = UnixDatagram::bind(directory.path().join("notify")).unwrap();
        Self { socket, directory }
    }

    /// The next message; none within `patience`.
    fn hears(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 4096];
        let length = self.socket.recv(&mut buffer).ok()?;
        Some(
            String::from_utf8_lossy(&buffer[..length])
                .trim_end()
                .to_owned(),
        )
    }

    fn starts(&self, toml: &str, environment: &[(&str, &str)]) -> Exporter {
        let file = self.directory.path().join("exporter.toml");
        std::fs::write(&file, toml).unwrap();
        let mut command = Command::new(tools::exporter());
        command.arg("--config").arg(file);
        command.env("NOTIFY_SOCKET", self.directory.path().join("notify"));
        command.envs(environment.iter().copied());
        Exporter::from(&mut command)
    }
}

#[test]
fn the_manager_hears_ready_and_stopping() {
    let name = "daemon::systemd::the_manager_hears_ready_and_stopping";
    in_netns(name, &[], || {
        let (manager, gate) = (Manager::new(), Gate::shut());
        let toml = format!("[procfs]\nroot = {:?}\n", gate.root());
        let mut exporter = manager.starts(&toml, &[]);
        assert_eq!(manager.hears(Duration::from_millis(500)), None);
        gate.open();
        assert_eq!(manager.hears(patience()).as_deref(), Some("READY=1"));
        let (status, _) = exporter.stop(Signal::TERM);
        assert!(status.success());
        assert_eq!(manager.hears(patience()).as_deref(), Some("STOPPING=1"));
        assert_eq!(manager.hears(Duration::from_millis(100)), None);
    });
}

#[test]
fn the_watchdog_is_fed_while_snapshots_are_fresh() {
    let name = "daemon::systemd::the_watchdog_is_fed_while_snapshots_are_fresh";
    in_netns(name, &[], || {
        let (manager, gate) = (Manager::new(), Gate::shut());
        let toml = format!(
            "[procfs]\nroot = {:?}\n[poll]\ninterval = \"100ms\"\nmax_duty = 1.0\nage_max = \"1s\"\n",
            gate.root()
        );
        gate.open();
        let _exporter = manager.starts(&toml, &[("WATCHDOG_USEC", "400000")]);
        assert_eq!(manager.hears(patience()).as_deref(), Some("READY=1"));
        let start = Instant::now();
        for _ in 0..5 {
            assert_eq!(manager.hears(patience()).as_deref(), Some("WATCHDOG=1"));
        }
        // The first at once, four more every 200 ms.
        assert!(start.elapsed() > Duration::from_millis(600));
        gate.shut_again();
        // Past age_max, and the watchdog's last word.
        thread::sleep(Duration::from_secs(2));
        while manager.hears(Duration::from_millis(10)).is_some() {}
        assert_eq!(manager.hears(Duration::from_secs(1)), None);
        assert_eq!(status(DEFAULT, "/-/ready"), Some(503));
        gate.open();
        assert_eq!(manager.hears(patience()).as_deref(), Some("WATCHDOG=1"));
    });
}

#[test]
fn a_manager_that_hears_nothing_is_mentioned_once() {
    let name = "daemon::systemd::a_manager_that_hears_nothing_is_mentioned_once";
    in_netns(name, &[], || {
        let mut command = Command::new(tools::exporter());
        command.envs([("NOTIFY_SOCKET", "/nobody"), ("WATCHDOG_USEC", "20000")]);
        let exporter = Exporter::from(&mut command);
        exporter.wait_ready(DEFAULT);
        thread::sleep(Duration::from_millis(300));
        let log = exporter.process.log();
        assert_eq!(log.matches("cannot tell systemd").count(), 1, "{log}");
    });
}

/// The exporter with one descriptor handed in, as sd_listen_fds(3) describes. The
/// shell is there to know the process's own id.
fn handed(descriptor: impl AsFd, arguments: &[&str]) -> Command {
    const FIRST: i32 = 3;
    // Not 3 itself: dup2() onto itself would leave close-on-exec.
    let high: OwnedFd = rustix::io::fcntl_dupfd_cloexec(descriptor, 10).unwrap();
    let mut command = Command::new("sh");
    command
        .args(["-c", "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" \"$@\""])
        .arg(tools::exporter())
        .args(arguments);
    let hand_in = move || {
        // SAFETY: makes a descriptor of one that the closure owns.
        match unsafe { libc::dup2(high.as_raw_fd(), FIRST) } {
            FIRST => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec the closure makes one system call.
    unsafe { command.pre_exec(hand_in) };
    command
}

#[test]
fn a_socket_handed_in_is_served_instead_of_the_default() {
    let name = "daemon::systemd::a_socket_handed_in_is_served_instead_of_the_default";
    in_netns(name, &[], || {
        let listener = TcpListener::bind("127.0.0.1:9000").unwrap();
        let mut exporter = Exporter::from(&mut handed(&listener, &[]));
        drop(listener);
        exporter.wait_ready("127.0.0.1:9000");
        assert_eq!(status(DEFAULT, "/-/ready"), None);
        let (status, _) = exporter.stop(Signal::TERM);
        assert!(status.success());
        let log = exporter.process.log();
        assert!(log.contains("listen=\"127.0.0.1:9000\""), "{log}");
    });
}

#[test]
fn a_handed_socket_that_cannot_be_served_is_refused() {
    let name = "daemon::systemd::a_handed_socket_that_cannot_be_served_is_refused";
    in_netns(name, &[], || {
        let datagrams = UdpSocket::bind("127.0.0.1:9000").unwrap();
        let (code, said) = refusal(&mut handed(&datagrams, &[]));
        assert_eq!((code, said.lines().count()), (1, 1), "{said}");
        assert!(said.contains("sockets that systemd handed in"), "{said}");
    });
}

#[test]
fn another_process_s_sockets_are_not_taken() {
    let name = "daemon::systemd::another_process_s_sockets_are_not_taken";
    in_netns(name, &[], || {
        let mut command = Command::new(tools::exporter());
        command.envs([("LISTEN_FDS", "1"), ("LISTEN_PID", "1")]);
        let exporter = Exporter::from(&mut command);
        exporter.wait_ready(DEFAULT);
        assert!(tools::wait_until(patience(), || exporter
            .process
            .log()
            .contains("[::]:10061")));
    });
}
