//! Findings: what is wrong on this host or soon will be, what holds it, and
//! what would help here, in numbers. Nothing is ever changed by the exporter.
//!
//! They are made of facts and trends when somebody wants to read them, not at each
//! poll. Their ids are those of the alert rules under `deploy/` (label `finding`).

mod conntrack;
mod cures;
mod destinations;
mod growth;
mod limits;
mod sockets;
mod sources;

use std::time::Duration;

use serde::Serialize;

use crate::model::figures::{about, grouped, percent};
use crate::model::pool::Pool;
use crate::model::state::StateCounts;
use crate::subjects::Facts;

pub use growth::{History, Trends};
pub use sockets::queue_subject;

/// From which share on something is worth telling, worrying, and waking.
const NOTABLE: f64 = 0.5;
const WARNING: f64 = 0.7;
const CRITICAL: f64 = 0.9;

/// Where the runbooks are; the alert rules link to the same place.
pub const RUNBOOKS: &str =
    "https://github.com/sockdiag-exporter/sockdiag-exporter/blob/main/deploy/runbooks/";

/// How bad it is. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Notice,
    Warning,
    Critical,
}

impl Severity {
    fn of(pool: Pool) -> Option<Self> {
        Self::of_share(pool.share())
    }

    fn of_share(share: f64) -> Option<Self> {
        match share {
            _ if share >= CRITICAL => Some(Self::Critical),
            _ if share >= WARNING => Some(Self::Warning),
            _ if share >= NOTABLE => Some(Self::Notice),
            _ => None,
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// What kind of thing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FindingId {
    EphemeralDestination,
    ClosesAboveSustainable,
    EphemeralSource,
    EphemeralUdp,
    ConntrackNearFull,
    ConntrackLosing,
    TimeWaitBuckets,
    Orphans,
    TcpMemory,
    AcceptQueue,
    SynSent,
    ClientNearTupleLimit,
    CloseWaitLeak,
}

impl FindingId {
    /// Each as the alert rules have it, and the file of `deploy/runbooks` that tells what to
    /// do, in the order of the variants.
    pub const ALL: [(&str, &str); 13] = [
        (
            "ephemeral-destination",
            "SockdiagEphemeralPortsNearExhaustion",
        ),
        (
            "closes-above-sustainable",
            "SockdiagEphemeralClosesAboveSustainable",
        ),
        ("ephemeral-source", "SockdiagEphemeralSourceNearExhaustion"),
        ("ephemeral-udp", "SockdiagEphemeralUdpNearExhaustion"),
        ("conntrack-near-full", "SockdiagConntrackNearFull"),
        ("conntrack-losing", "SockdiagConntrackLosing"),
        ("time-wait-buckets", "SockdiagTimeWaitNearLimit"),
        ("orphans", "SockdiagOrphansNearLimit"),
        ("tcp-memory", "SockdiagTcpMemoryPressure"),
        ("accept-queue", "SockdiagAcceptQueueNearLimit"),
        ("syn-sent", "SockdiagSynSentPileUp"),
        ("client-near-tuple-limit", "SockdiagClientNearTupleLimit"),
        ("close-wait-leak", "SockdiagCloseWaitLeak"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    pub fn runbook(self) -> &'static str {
        Self::ALL[self as usize].1
    }
}

impl Serialize for FindingId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl std::fmt::Display for FindingId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that would help, and what it puts at risk.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Advice {
    pub what: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub risk: Option<String>,
}

impl Advice {
    fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            risk: None,
        }
    }

    fn risking(what: impl Into<String>, risk: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            risk: Some(risk.into()),
        }
    }
}

/// The numbers behind a finding about ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PortFigures {
    pub used: u32,
    pub reusable: u32,
    /// Of the used ones, those that are off the capacity already.
    pub bind_first: u32,
    pub available: u32,
    /// `available - (used - reusable - bind_first)`.
    pub free: u32,
    pub closes_per_second: f64,
    pub sustainable_per_second: f64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    pub id: FindingId,
    pub severity: Severity,
    /// What it is about: a destination, a source, a table.
    pub subject: String,
    /// One sentence.
    pub what: String,
    /// What holds it, and what to expect.
    pub because: Vec<String>,
    /// What would help on this host, the best cure first.
    pub advice: Vec<Advice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<PortFigures>,
    /// At the growth of the last minutes; none while it does not grow.
    #[serde(
        rename = "exhausted_in_seconds",
        skip_serializing_if = "Option::is_none",
        serialize_with = "in_seconds"
    )]
    pub exhausted_in: Option<Duration>,
    /// How full it is; what findings of one severity are ordered by.
    pub share: f64,
}

impl Finding {
    /// Without reasons, advice and figures yet.
    fn new(
        id: FindingId,
        subject: impl Into<String>,
        severity: Severity,
        share: f64,
        what: String,
    ) -> Self {
        Self {
            id,
            severity,
            subject: subject.into(),
            what,
            because: Vec::new(),
            advice: Vec::new(),
            ports: None,
            exhausted_in: None,
            share,
        }
    }
}

fn in_seconds<S: serde::Serializer>(
    time: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.serialize_u64(time.as_secs()),
        None => serializer.serialize_none(),
    }
}

/// How bad these findings say that something is; of a `subject`, or of the worst one.
pub fn severity(findings: &[Finding], id: FindingId, subject: Option<&str>) -> Option<Severity> {
    let of_it = findings.iter().filter(|finding| finding.id == id);
    let of_it = of_it.filter(|finding| subject.is_none_or(|subject| finding.subject == subject));
    of_it.map(|finding| finding.severity).max()
}

/// The same of the worst destination: that the range is short for all is another thing, and
/// says nothing about the share that is gone toward one.
pub fn destination_severity(findings: &[Finding]) -> Option<Severity> {
    let destinations = findings.iter().filter(|finding| {
        finding.id == FindingId::EphemeralDestination && finding.subject != destinations::ANY
    });
    destinations.map(|finding| finding.severity).max()
}

/// Everything that is wrong, the worst first.
pub fn diagnose(facts: &Facts, trends: &Trends) -> Vec<Finding> {
    let mut findings = destinations::findings(facts, trends);
    findings.extend(sources::findings(facts, trends));
    findings.extend(conntrack::findings(facts, trends));
    findings.extend(limits::findings(facts, trends));
    findings.extend(sockets::findings(facts, trends));
    findings.sort_by(|a, b| {
        (b.severity, b.share)
            .partial_cmp(&(a.severity, a.share))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    findings
}

/// `90 time_wait, 10 established`, the most common first.
fn by_state(states: &StateCounts) -> String {
    let mut rows: Vec<_> = states.present().collect();
    rows.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let rows = rows.iter();
    let list = rows.map(|&(state, count)| format!("{} {}", grouped(count), state.label()));
    list.collect::<Vec<_>>().join(", ")
}

/// What is used of a pool, of how much, and the share that this is.
fn in_words(pool: Pool) -> (String, String, String) {
    let share = percent(pool.share());
    (grouped(pool.used), grouped(pool.capacity), share)
}

/// When something will have come to its end, if it grows as it does.
fn foretold(end: &str, time: Option<Duration>) -> Option<String> {
    let time = about(time?);
    Some(format!("At the growth of the last minutes {end} {time}."))
}

#[cfg(test)]
mod tests;
