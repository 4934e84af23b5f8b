//! Whose the sockets are, by cgroups of the real tree: root, or it is skipped.

mod support;

use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;

use sockdiag_exporter::daemon::survey_limits;
use sockdiag_exporter::kernel::procfs::Procfs;
use sockdiag_exporter::kernel::sock_diag::SockDiag;
use sockdiag_exporter::once::{self, processes};
use sockdiag_exporter::subjects::Facts;
use sockdiag_exporter::subjects::cgroups::Cgroups as Fact;
use sockdiag_exporter::subjects::ports::holder::Holder;
use sockdiag_exporter::survey::namespace::Namespace;
use sockdiag_exporter::survey::surveyor::Surveyor;

use support::cgroups::Cgroups;
use support::netns::{in_netns, set_port_range};
use support::patience;
use support::sockets::{Listener, close_in_turn};
use support::tools;

const FAR: &str = "127.9.0.1:443";

/// Polls that remember.
struct Polls {
    surveyor: Surveyor,
    namespace: Namespace,
}

impl Polls {
    fn new() -> Self {
        let limits = survey_limits(&patience::config()).expect("limits");
        Self {
            surveyor: Surveyor::new(limits, Procfs::new("/proc"), SockDiag::default()),
            namespace: Namespace::own("host").expect("procfs"),
        }
    }

    fn poll(&mut self) -> &Facts {
        self.surveyor
            .dump(&mut self.namespace, &AtomicBool::new(false));
        assert_eq!(self.namespace.facts.failures(), []);
        &self.namespace.facts
    }

    fn cgroups(&mut self) -> Fact {
        self.poll().cgroups.measured().expect("cgroups").clone()
    }

    /// Of the ports toward `FAR`.
    fn holder(&mut self) -> Option<Holder> {
        let ports = self.poll().ephemeral.measured().expect("ports");
        let far: SocketAddr = FAR.parse().expect("an address");
        let mut rows = ports.destinations.rows.iter();
        rows.find(|row| (row.destination, row.port) == (far.ip(), far.port()))
            .and_then(|row| row.holder.clone())
    }
}

/// In a namespace and with cgroups of its own.
fn with_cgroups(test: &str, body: impl FnOnce(Cgroups)) {
    in_netns(test, &[], || match Cgroups::make(test) {
        Some(cgroups) => body(cgroups),
        None => tools::skip(test, "cgroups of version 2 cannot be made"),
    });
}

/// Unit and sockets of the listed ones.
fn units(fact: &Fact) -> Vec<(String, u32)> {
    let mut units: Vec<_> = fact
        .largest
        .iter()
        .map(|row| (row.cgroup.name(), row.sockets.states.total()))
        .collect();
    units.sort();
    units
}

fn expected<const N: usize>(units: [(&str, u32); N]) -> Vec<(String, u32)> {
    units
        .map(|(unit, sockets)| (unit.to_owned(), sockets))
        .to_vec()
}

#[test]
fn ports_keep_their_holder_through_time_wait() {
    with_cgroups("ports_keep_their_holder_through_time_wait", |cgroups| {
        set_port_range(40_000, 40_099);
        cgroups.enter("server.service").unwrap();
        let listener = Listener::at(FAR.parse().unwrap()).unwrap();
        cgroups.enter("checkout.service").unwrap();
        let pairs: Vec<_> = (0..50)
            .map(|_| listener.pair(&listener.plan()).unwrap())
            .collect();
        let mut polls = Polls::new();
        let holder = polls.holder().unwrap();
        assert_eq!(holder.cgroup.name(), "checkout.service");
        assert_eq!((holder.sockets, holder.ownerless), (50, 0));
        for (client, server) in pairs {
            close_in_turn(client, server).unwrap();
        }
        let holder = polls.holder().unwrap();
        assert_eq!(holder.cgroup.name(), "checkout.service");
        assert_eq!((holder.sockets, holder.ownerless), (50, 50));
        // Its directory goes, and who had it is still known.
        cgroups.leave();
        cgroups.remove("checkout.service");
        let again = polls.holder().unwrap();
        assert_eq!(again, holder);
        // Who did not see it while it lived cannot tell.
        assert_eq!(Polls::new().holder(), None);
    });
}

/// As with socket activation: the listener stays with who made it, and so does
/// all that it accepts (`sk_clone`, net/core/sock.c).
#[test]
fn a_socket_that_is_handed_over_stays_with_its_maker() {
    let test = "a_socket_that_is_handed_over_stays_with_its_maker";
    with_cgroups(test, |cgroups| {
        cgroups.enter("web.socket").unwrap();
        let listener = Listener::at(FAR.parse().unwrap()).unwrap();
        cgroups.enter("web.service").unwrap();
        let (_client, _accepted) = listener.pair(&listener.plan()).unwrap();
        let fact = Polls::new().cgroups();
        let maker = expected([("web.service", 1), ("web.socket", 2)]);
        assert_eq!(units(&fact), maker);
    });
}

#[test]
fn sockets_outlive_the_directory_of_their_cgroup() {
    let test = "sockets_outlive_the_directory_of_their_cgroup";
    with_cgroups(test, |cgroups| {
        cgroups.enter("old.service").unwrap();
        let listener = Listener::at(FAR.parse().unwrap()).unwrap();
        cgroups.enter("new.service").unwrap();
        let _other = Listener::at("127.9.0.1:80".parse().unwrap()).unwrap();
        cgroups.remove("old.service");
        let mut polls = Polls::new();
        let fact = polls.cgroups();
        assert_eq!(units(&fact), expected([("new.service", 1)]));
        assert_eq!(fact.gone.states.total(), 1);
        drop(listener);
        assert_eq!(polls.cgroups().gone.states.total(), 0);
    });
}

#[test]
fn processes_are_named_by_the_sockets_that_they_have() {
    let test = "processes_are_named_by_the_sockets_that_they_have";
    in_netns(test, &["sleep"], || {
        set_port_range(40_000, 40_099);
        let listener = Listener::at(FAR.parse().unwrap()).unwrap();
        let pair = || listener.pair(&listener.plan()).unwrap();
        let _open: Vec<_> = (0..3).map(|_| pair()).collect();
        let (client, server) = pair();
        // One is handed to a child, and is no longer ours.
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .stdin(std::process::Stdio::from(std::os::fd::OwnedFd::from(
                client,
            )))
            .spawn()
            .unwrap();
        let (closed, other) = pair();
        close_in_turn(closed, other).unwrap();
        let config = patience::config();
        let snapshot = once::poll(&config).unwrap();
        let found = processes(&config, &snapshot).unwrap();
        let shown = sockdiag_exporter::show::text::processes(&found);
        child.kill().unwrap();
        child.wait().unwrap();
        drop(server);
        let far: SocketAddr = FAR.parse().unwrap();
        let [route] = &found[..] else {
            panic!("{found:?}")
        };
        assert_eq!((route.route.destination, route.route.port), (far.ip(), 443));
        let held: Vec<_> = route.processes.iter().map(|p| (p.pid, p.sockets)).collect();
        assert_eq!(held, [(std::process::id(), 3), (child.id(), 1)]);
        assert_eq!(route.processes[1].command, "sleep");
        assert_eq!((route.closed, route.unseen), (1, 0));
        for part in ["127.9.0.1:443", "sleep", "TIME_WAIT or orphaned"] {
            assert!(shown.contains(part), "{part} in {shown}");
        }
    });
}
