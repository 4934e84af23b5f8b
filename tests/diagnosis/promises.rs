//! What a finding promises, the kernel keeps: the advice is followed, and then
//! the sockets are opened.

use std::sync::atomic::AtomicBool;
use std::thread::sleep;
use std::time::{Duration, Instant};

use sockdiag_exporter::config::Config;
use sockdiag_exporter::daemon::survey_limits;
use sockdiag_exporter::findings::{Finding, FindingId, History, diagnose};
use sockdiag_exporter::kernel::procfs::Procfs;
use sockdiag_exporter::kernel::sock_diag::SockDiag;
use sockdiag_exporter::survey::namespace::Namespace as Observed;
use sockdiag_exporter::survey::surveyor::Surveyor;

use crate::read::{address, finding, pairs, poll, time_wait};
use crate::support::netns::{Namespace, in_netns, set_port_range, set_sysctl};
use crate::support::sockets::{Listener, count_until_refused};

/// How many plain connects toward a listener succeed until one fails for want
/// of a port.
fn succeed(listener: &Listener) -> u32 {
    let (open, errno) = count_until_refused(10_000, || listener.pair(&listener.plan()));
    assert_eq!(errno, libc::EADDRNOTAVAIL);
    open.len() as u32
}

/// The number before these words in the advice.
fn promised(finding: &Finding, before: &str, after: &str) -> u32 {
    let advice = finding.advice.iter().map(|advice| &advice.what);
    let number = advice
        .filter_map(|what| {
            let (head, _) = what.split_once(after)?;
            let (_, number) = head.rsplit_once(before)?;
            number.replace(',', "").parse().ok()
        })
        .next();
    number.unwrap_or_else(|| panic!("no {before}…{after} in {:#?}", finding.advice))
}

#[test]
fn reuse_frees_what_was_promised() {
    let name = "promises::reuse_frees_what_was_promised";
    in_netns(name, &["ip"], || {
        let (here, peer) = (Namespace::here(), Namespace::fresh());
        here.connect(&peer, "pair", &["10.9.0.1/24"], &["10.9.0.2/24"]);
        set_port_range(40000, 40099);
        let listener = peer.enter(|| Listener::at(address("10.9.0.2:443")).unwrap());
        let _kept = pairs(&listener, &listener.plan(), 20);
        time_wait(&listener, &listener.plan(), 70);
        sleep(Duration::from_millis(1_200));
        for mode in [0, 2] {
            set_sysctl("net.ipv4.tcp_tw_reuse", mode);
            let snapshot = poll();
            let finding = &finding(&snapshot, FindingId::EphemeralDestination);
            assert_eq!(promised(finding, ": with 1, ", " of 100"), 80);
            assert_eq!(finding.ports.unwrap().free, 10);
        }
        set_sysctl("net.ipv4.tcp_tw_reuse", 1);
        assert_eq!(succeed(&listener), 80);
    });
}

#[test]
fn a_wider_range_gives_what_was_promised() {
    let name = "promises::a_wider_range_gives_what_was_promised";
    in_netns(name, &[], || {
        set_port_range(40000, 40099);
        // So that there is little to gain, and it can be counted.
        set_sysctl("net.ipv4.ip_local_reserved_ports", "1024-39999,40200-65535");
        let listener = Listener::at(address("127.9.0.1:443")).unwrap();
        let _outside: Vec<_> = (40150..40160)
            .map(|port| Listener::at(([127, 0, 0, 77], port).into()).unwrap())
            .collect();
        let _held = pairs(&listener, &listener.plan(), 95);
        let snapshot = poll();
        let finding = &finding(&snapshot, FindingId::EphemeralDestination);
        let (free, gain) = (
            finding.ports.unwrap().free,
            promised(finding, "there are ", " more"),
        );
        assert_eq!((free, gain), (5, 90));
        set_port_range(1024, 65535);
        assert_eq!(succeed(&listener), free + gain);
    });
}

#[test]
fn another_source_address_adds_what_was_promised() {
    let name = "promises::another_source_address_adds_what_was_promised";
    in_netns(name, &[], || {
        set_port_range(40000, 40099);
        let listener = Listener::at(address("127.9.0.1:443")).unwrap();
        let _held = pairs(&listener, &listener.plan(), 95);
        let snapshot = poll();
        let finding = &finding(&snapshot, FindingId::EphemeralDestination);
        let promised = promised(finding, "another ", " ports");
        let second = listener.plan().from(address("127.0.0.2:0").ip()).no_port();
        let (open, _) = count_until_refused(10_000, || listener.pair(&second));
        assert_eq!(open.len() as u32, promised);
    });
}

#[test]
fn later_binds_give_back_what_was_promised() {
    let name = "promises::later_binds_give_back_what_was_promised";
    in_netns(name, &[], || {
        set_port_range(40000, 40099);
        let listener = Listener::at(address("127.9.0.1:443")).unwrap();
        let other = Listener::at(address("127.9.0.2:443")).unwrap();
        let binds = other.plan().from(address("127.0.0.1:0").ip());
        let held = pairs(&other, &binds, 50);
        let snapshot = poll();
        let finding = &finding(&snapshot, FindingId::EphemeralDestination);
        assert_eq!(finding.ports.unwrap().free, 50);
        assert_eq!(promised(finding, "take ", " ports from"), 50);
        // The programs do as advised.
        for (client, server) in held {
            crate::support::sockets::close_in_turn(server, client).unwrap();
        }
        let _later = pairs(&other, &binds.no_port(), 50);
        assert_eq!(succeed(&listener), 100);
    });
}

/// Sockets are opened at a steady pace; the time that the second poll foretells
/// is when the kernel refuses.
#[test]
fn ports_run_out_when_foretold() {
    in_netns("promises::ports_run_out_when_foretold", &[], || {
        set_port_range(40000, 40099);
        let listener = Listener::at(address("127.9.0.1:443")).unwrap();
        let limits = survey_limits(&Config::default()).unwrap();
        let mut surveyor = Surveyor::new(limits, Procfs::new("/proc"), SockDiag::default());
        let mut namespace = Observed::own("host").unwrap();
        let mut history = History::default();
        let (start, running) = (Instant::now(), AtomicBool::new(false));
        let pace = Duration::from_millis(300);
        let (mut held, mut foretold) = (Vec::new(), None);
        let refused = loop {
            if held.len() % 25 == 1 && foretold.is_none() {
                surveyor.dump(&mut namespace, &running);
                history.record(&namespace.facts);
                let findings = diagnose(&namespace.facts, &history.trends(&namespace.facts));
                let of_ports = findings
                    .iter()
                    .find(|f| f.id == FindingId::EphemeralDestination);
                let time = of_ports.and_then(|finding| finding.exhausted_in);
                foretold = time.map(|time| start.elapsed() + time);
            }
            match listener.pair(&listener.plan()) {
                Ok(pair) => held.push(pair),
                Err(_) => break start.elapsed(),
            }
            sleep((start + pace * held.len() as u32).saturating_duration_since(Instant::now()));
        };
        let foretold = foretold.expect("75 ports and 22 seconds are enough to tell");
        assert!(
            foretold.abs_diff(refused) < Duration::from_secs(3),
            "foretold {foretold:?}, refused {refused:?}"
        );
    });
}
