//! What the exporter gives up at its start, shown by what it can then no longer do.

mod support;

use std::fs::{self, File};
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use rustix::process::Signal;
use rustix::thread::{UnshareFlags, unshare_unsafe};
use sockdiag_exporter::daemon::survey_limits;
use sockdiag_exporter::kernel::privileges::{Landlock, Needs, give_up};
use sockdiag_exporter::kernel::procfs::Procfs;
use sockdiag_exporter::kernel::sock_diag::SockDiag;
use sockdiag_exporter::survey::namespace::Namespace;
use sockdiag_exporter::survey::surveyor::Surveyor;

use support::exposition::Exposition;
use support::netns::{in_netns, set_sysctl};
use support::process::Process;
use support::sockets::Listener;
use support::{http, patience, tools};

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// `NAME` of /proc/PID/status of each thread.
fn status(pid: &str, name: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let of_thread = |task: io::Result<fs::DirEntry>| {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.expect("a line")
            .trim_start_matches(':')
            .trim()
            .to_owned()
    };
    tasks.map(of_thread).collect()
}

/// Whether the kernel refused for want of a right.
fn refused<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied)
}

#[allow(unsafe_code, reason = "the files of this thread may become its own")]
fn unshare_network() -> io::Result<()> {
    // SAFETY: no descriptor is shared or not shared by this.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?)
}

#[test]
fn it_writes_runs_and_connects_no_more_and_measures_the_same() {
    let name = "it_writes_runs_and_connects_no_more_and_measures_the_same";
    in_netns(name, &[], || {
        let listener = Listener::at(address("127.0.0.1:8080")).unwrap();
        let _pair = listener.pair(&listener.plan()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "text").unwrap();
        // Who is confined could not remove the directory: another thread does it.
        std::thread::scope(|scope| {
            let confined = scope.spawn(|| {
                // Those that leave things as they are could be done before.
                let tries: [(&str, &dyn Fn() -> bool); 7] = [
                    ("write", &|| {
                        refused(File::options().write(true).open(&file))
                    }),
                    ("make", &|| {
                        refused(File::create(directory.path().join("new")))
                    }),
                    ("remove", &|| refused(fs::remove_file(&file))),
                    ("run", &|| refused(Command::new("true").status())),
                    ("connect", &|| {
                        refused(TcpStream::connect(listener.address()))
                    }),
                    ("low port", &|| refused(TcpListener::bind("127.0.0.1:80"))),
                    ("namespace", &|| refused(unshare_network())),
                ];
                for (what, is_refused) in [tries[0], tries[3], tries[4], tries[5]] {
                    assert!(!is_refused(), "{what}");
                }
                let given_up = give_up(Needs::default()).unwrap();
                if tools::kernel_is_before(6, 7) || given_up == Landlock::Off {
                    // Before, Landlock knows no ports; it may be switched off.
                    tools::skip(name, "this kernel has no Landlock for ports");
                    return;
                }
                for (what, is_refused) in tries {
                    assert!(is_refused(), "{what}");
                }
                assert_eq!(fs::read_to_string(&file).unwrap(), "text");
                let refused = TcpStream::connect("127.0.0.1:9").unwrap_err();
                assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

                let limits = survey_limits(&patience::config()).unwrap();
                let mut surveyor = Surveyor::new(limits, Procfs::new("/proc"), SockDiag::default());
                let mut namespace = Namespace::own("host").unwrap();
                surveyor.dump(&mut namespace, &AtomicBool::new(false));
                let ports = namespace.facts.ephemeral.measured().expect("measured");
                // The pair, and the connection that was tried before.
                assert_eq!(ports.destinations.rows[0].used, 2);
            });
            confined.join().expect("as a test");
        });
    });
}

/// What capabilities(7) calls them, as a bit set.
const NET_BIND_SERVICE: u64 = 1 << 10;
const NET_ADMIN: u64 = 1 << 12;
const SYS_ADMIN: u64 = 1 << 21;

/// Permitted and bounding, the same in each thread.
fn capabilities(daemon: &Process) -> [u64; 2] {
    let pid = daemon.id().to_string();
    assert!(status(&pid, "NoNewPrivs").iter().all(|is| is == "1"));
    ["CapPrm", "CapBnd"].map(|name| {
        let sets = status(&pid, name);
        assert!(
            sets.len() > 1 && sets.iter().all(|set| *set == sets[0]),
            "{sets:?}"
        );
        u64::from_str_radix(&sets[0], 16).unwrap()
    })
}

#[test]
fn every_thread_of_the_daemon_has_what_the_configuration_needs() {
    let name = "every_thread_of_the_daemon_has_what_the_configuration_needs";
    in_netns(name, &[], || {
        let netns = "[netns]\nenabled = true\n";
        for (toml, listen, first_free, has, lacks) in [
            ("", "127.0.0.1:9000", 1024, 0, SYS_ADMIN | NET_BIND_SERVICE),
            ("", "127.0.0.1:90", 1024, NET_BIND_SERVICE, SYS_ADMIN),
            ("", "127.0.0.1:9000", 20_000, NET_BIND_SERVICE, SYS_ADMIN),
            (netns, "127.0.0.1:9000", 1024, SYS_ADMIN, NET_BIND_SERVICE),
        ] {
            set_sysctl("net.ipv4.ip_unprivileged_port_start", first_free);
            let directory = tempfile::tempdir().unwrap();
            let config = directory.path().join("exporter.toml");
            fs::write(&config, toml).unwrap();
            let mut command = Command::new(tools::exporter());
            command
                .args([Path::new("--config"), &config])
                .args(["--listen", listen]);
            let mut daemon = Process::start(&mut command, &directory.path().join("log"));
            let at = address(listen);
            let is_ready = || http::get(at, "/-/ready").is_ok_and(|page| page.status == 200);
            assert!(
                tools::wait_until(patience::seconds(10), is_ready),
                "{}",
                daemon.log()
            );
            for set in capabilities(&daemon) {
                assert_eq!(set & has, has, "{toml} {listen}: {set:x}");
                assert_eq!(set & lacks, 0, "{toml} {listen}: {set:x}");
            }
            assert_eq!(capabilities(&daemon)[0] & NET_ADMIN, NET_ADMIN);
            let page = http::get(at, "/metrics").unwrap();
            let page = Exposition::parse(page.text());
            let down = page.matching("sockdiag_collector_up", &[]);
            assert_eq!(down.filter(|&(_, up)| up == 0.0).count(), 0);
            daemon.signal(Signal::TERM);
            assert!(
                daemon
                    .ended_within(patience::seconds(10))
                    .is_some_and(|end| end.success())
            );
        }
    });
}
