//! Findings from facts made by hand: what cannot be staged, and what must not
//! be said.

mod ports;
mod tables;

use std::time::{Duration, Instant};

use super::*;
use crate::model::ports::PortRange;
use crate::model::state::State;
use crate::subjects::conntrack::Conntrack;
use crate::subjects::ports::Ephemeral;
use crate::subjects::ports::capacity::Capacity;
use crate::subjects::ports::destination::{Destination, Destinations};
use crate::subjects::ports::settings::Settings;
use crate::subjects::ports::source::{Source, Sources};
use crate::subjects::section::Section;
use crate::subjects::sockets::TcpSockets;
use crate::subjects::tcp::Tcp;

fn states(state: State, count: u32) -> StateCounts {
    let mut counts = StateCounts::default();
    for _ in 0..count {
        counts.add(state);
    }
    counts
}

/// Nothing was measured.
fn blank() -> Facts {
    Facts::default()
}

fn toward(used: u32, state: State) -> Destination {
    Destination {
        source: "10.0.0.1".parse().unwrap(),
        device: None,
        destination: "10.0.0.5".parse().unwrap(),
        port: 443,
        used,
        reusable: 0,
        settled: 0,
        bind_first: 0,
        closes_per_second: 0.0,
        states: states(state, used),
        holder: None,
        certainly_blocked: used,
    }
}

/// Linux's default range, with one destination.
fn ports(row: Destination) -> Ephemeral {
    let range = PortRange {
        first: 32768,
        last: 60999,
    };
    let sources = |address: Option<&str>| Source {
        address: address.map(|text| text.parse().unwrap()),
        used: row.used,
    };
    Ephemeral {
        upper: crate::subjects::ports::utilization::Utilization::default(),
        capacity: Capacity {
            held_ambiguous: 0,
            settings: Settings {
                range,
                reserved: Vec::new(),
                tw_reuse: 0,
                tw_reuse_delay: 1000,
                timestamps: 1,
                step_width: None,
            },
            reserved: 0,
            held: 0,
            bind_first: 0,
            bind_first_ambiguous: 0,
            available_destination: range.size(),
            available_source: range.size(),
            unused_outside: 36_280,
        },
        sources: Sources {
            tcp: vec![sources(Some("10.0.0.1")), sources(None)],
            ..Sources::default()
        },
        destinations: Destinations {
            rows: vec![row],
            ..Destinations::default()
        },
        utilization: Default::default(),
        peak: Default::default(),
    }
}

fn with_ports(ports: Ephemeral) -> Facts {
    Facts {
        ephemeral: Section::Measured(ports),
        ..blank()
    }
}

fn with_conntrack(entries: u64, limit: u64, dropped: u64) -> Facts {
    Facts {
        conntrack: Section::Measured(Conntrack {
            entries,
            limit,
            buckets: None,
            events: Some(vec![("found", dropped), ("drop", dropped)]),
        }),
        ..blank()
    }
}

fn with_tcp(tcp: Tcp) -> Facts {
    Facts {
        tcp: Section::Measured(tcp),
        ..blank()
    }
}

fn with_close_wait(count: u32) -> Facts {
    Facts {
        sockets: Section::Measured(TcpSockets {
            sees_bound_only: true,
            inet: {
                let mut all = states(State::CloseWait, count);
                all.merge(&states(State::Established, 10_000));
                all
            },
            inet6: StateCounts::default(),
            outbound: StateCounts::default(),
            inbound: StateCounts::default(),
            ports: Vec::new(),
            untracked: 0,
            ports_folded: 0,
        }),
        ..blank()
    }
}

/// These facts, so long ago.
fn before(seconds: u64, facts: &Facts) -> History {
    let mut history = History::default();
    let then = Instant::now() - Duration::from_secs(seconds);
    history.record_at(then, growth::values(facts));
    history
}

fn now(facts: &Facts) -> Vec<Finding> {
    diagnose(facts, &Trends::default())
}

fn ids(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| finding.id.as_str()).collect()
}

/// All that it says.
fn words(finding: &Finding) -> String {
    let advice = finding
        .advice
        .iter()
        .flat_map(|advice| [Some(advice.what.as_str()), advice.risk.as_deref()])
        .flatten();
    [finding.what.as_str()]
        .into_iter()
        .chain(finding.because.iter().map(String::as_str))
        .chain(advice)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn severities_are_ordered() {
    assert!(Severity::Critical > Severity::Warning && Severity::Warning > Severity::Notice);
    assert_eq!(Severity::of_share(0.49), None);
    assert_eq!(Severity::of_share(0.9), Some(Severity::Critical));
}

#[test]
fn nothing_measured_is_nothing_found() {
    assert_eq!(now(&blank()), []);
}

#[test]
fn risky_tricks_are_never_advised() {
    let mut facts = with_ports(ports(Destination {
        settled: 20_000,
        closes_per_second: 500.0,
        ..toward(28_000, State::TimeWait)
    }));
    facts.sockets = with_close_wait(5_000).sockets;
    facts.conntrack = with_conntrack(95, 100, 0).conntrack;
    for finding in now(&facts) {
        let words = words(&finding);
        for trick in [
            "SO_LINGER",
            "SO_REUSEADDR",
            "RST",
            "2MSL",
            "tcp_fin_timeout",
            "tcp_abort_on",
        ] {
            assert!(!words.contains(trick), "{trick} in {words}");
        }
        let first = &finding.advice[0];
        assert_eq!(first.risk, None, "the best cure comes first: {first:?}");
    }
}

#[test]
fn the_worst_comes_first_and_json_has_every_field() {
    let mut facts = with_ports(ports(toward(21_000, State::Established)));
    facts.conntrack = with_conntrack(95, 100, 0).conntrack;
    let history = before(100, &with_ports(ports(toward(20_000, State::Established))));
    let findings = diagnose(&facts, &history.trends(&facts));
    assert_eq!(
        ids(&findings),
        ["conntrack-near-full", "ephemeral-destination"]
    );
    let json = serde_json::to_value(&findings[1]).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "advice",
            "because",
            "exhausted_in_seconds",
            "id",
            "ports",
            "severity",
            "share",
            "subject",
            "what"
        ]
    );
    assert!(json["exhausted_in_seconds"].is_u64());
    assert_eq!(json["severity"], "warning");
}

#[test]
fn how_bad_a_figure_is_comes_from_its_own_findings_alone() {
    let finding =
        |id, subject: &str, severity| Finding::new(id, subject, severity, 0.0, String::new());
    let found = [
        finding(
            FindingId::EphemeralDestination,
            destinations::ANY,
            Severity::Critical,
        ),
        finding(FindingId::EphemeralDestination, "a", Severity::Notice),
        finding(FindingId::EphemeralDestination, "b", Severity::Warning),
        finding(FindingId::AcceptQueue, "a", Severity::Critical),
    ];
    let of = |id, subject| severity(&found, id, subject);
    let destination = FindingId::EphemeralDestination;
    assert_eq!(of(destination, Some("a")), Some(Severity::Notice));
    assert_eq!(of(destination, Some("c")), None);
    assert_eq!(of(FindingId::AcceptQueue, None), Some(Severity::Critical));
    assert_eq!(of(FindingId::SynSent, None), None);
    assert_eq!(destination_severity(&found), Some(Severity::Warning));
    assert_eq!(destination_severity(&found[..1]), None);
}
