//! Tables and queues with a limit, and sockets that pile up.

use super::*;
use crate::subjects::listeners::{AcceptQueue, AcceptQueues};
use crate::subjects::peers::{Peer, Peers, Side};

#[test]
fn conntrack_has_no_limit_of_zero_and_foretells_the_end() {
    assert_eq!(now(&with_conntrack(1_000, 0, 0)), []);
    let history = before(60, &with_conntrack(60_000, 100_000, 0));
    let findings = diagnose(
        &with_conntrack(80_000, 100_000, 0),
        &history.trends(&with_conntrack(80_000, 100_000, 0)),
    );
    assert_eq!(ids(&findings), ["conntrack-near-full"]);
    let time = findings[0].exhausted_in.unwrap().as_secs();
    assert!((59..=61).contains(&time), "{time}");
}

#[test]
fn conntrack_that_loses_is_critical_where_it_is_full() {
    for (entries, severity) in [(10, Severity::Warning), (90, Severity::Critical)] {
        let history = before(60, &with_conntrack(entries, 100, 0));
        let findings = diagnose(
            &with_conntrack(entries, 100, 120),
            &history.trends(&with_conntrack(entries, 100, 120)),
        );
        let losing = findings
            .iter()
            .find(|f| f.id == FindingId::ConntrackLosing)
            .unwrap();
        assert_eq!(losing.severity, severity);
        assert!(
            losing.what.contains("drop 1.9/s") || losing.what.contains("drop 2.0/s"),
            "{}",
            losing.what
        );
    }
}

#[test]
fn one_client_near_its_tuples_names_the_pair() {
    let mut facts = blank();
    let peer = |count| Peer {
        address: "192.0.2.9".parse().unwrap(),
        port: 443,
        states: states(State::TimeWait, count),
    };
    let inbound = Side {
        peers: vec![peer(60_000), peer(1_000)],
        ..Side::default()
    };
    facts.peers = Section::Measured(Peers {
        outbound: Side::default(),
        inbound,
    });
    let findings = now(&facts);
    assert_eq!(ids(&findings), ["client-near-tuple-limit"]);
    assert_eq!(findings[0].severity, Severity::Critical);
    let words = words(&findings[0]);
    for part in [
        "60,000 connections of 192.0.2.9 to local port 443: 93.7% of what one client address can have",
        "other clients are unaffected",
        "This side closes first",
    ] {
        assert!(words.contains(part), "{part} in {words}");
    }
}

fn with_overflows(count: u64, waiting: u32) -> Facts {
    let queue = AcceptQueue {
        address: "::".parse().unwrap(),
        port: 80,
        waiting,
        limit: 128,
    };
    Facts {
        listeners: Section::Measured(AcceptQueues {
            queues: vec![queue],
            folded: 0,
        }),
        ..with_tcp(Tcp {
            events: vec![("listen_overflow", count)],
            ..Tcp::default()
        })
    }
}

#[test]
fn overflows_are_told_with_a_long_queue_and_without() {
    let history = before(100, &with_overflows(0, 0));
    let long = diagnose(
        &with_overflows(500, 129),
        &history.trends(&with_overflows(500, 129)),
    );
    assert_eq!(ids(&long), ["accept-queue"]);
    assert!(words(&long[0]).contains("a second find a queue full"));
    let bursts = diagnose(
        &with_overflows(500, 0),
        &history.trends(&with_overflows(500, 0)),
    );
    assert_eq!(ids(&bursts), ["accept-queue"]);
    assert_eq!(bursts[0].severity, Severity::Warning);
    assert_eq!(now(&with_overflows(500, 0)), []);
}

#[test]
fn few_close_wait_leak_only_when_they_grow() {
    assert_eq!(now(&with_close_wait(100)), []);
    let flat = before(100, &with_close_wait(99));
    assert_eq!(
        diagnose(&with_close_wait(100), &flat.trends(&with_close_wait(100))),
        []
    );
    let growing = before(100, &with_close_wait(50));
    let findings = diagnose(
        &with_close_wait(100),
        &growing.trends(&with_close_wait(100)),
    );
    assert_eq!(ids(&findings), ["close-wait-leak"]);
    assert!(words(&findings[0]).contains("too many open files"));
}

#[test]
fn memory_and_orphans_of_the_machine() {
    let tcp = |orphans, mebibytes: u64, aborts| {
        with_tcp(Tcp {
            orphans: Some(orphans),
            orphans_limit: Some(1_000),
            memory_bytes: Some(mebibytes << 20),
            memory_limit_bytes: Some([10 << 20, 20 << 20, 40 << 20]),
            events: vec![("abort_on_memory", aborts)],
            ..Tcp::default()
        })
    };
    assert_eq!(now(&tcp(600, 19, 0)), []);
    assert_eq!(ids(&now(&tcp(950, 20, 0))), ["orphans", "tcp-memory"]);
    let now_tcp = tcp(0, 1, 50);
    let aborting = diagnose(&now_tcp, &before(60, &tcp(0, 1, 0)).trends(&now_tcp));
    assert_eq!(
        (ids(&aborting), aborting[0].severity),
        (vec!["tcp-memory"], Severity::Critical)
    );
}
