//! Findings: what is wrong on this host or soon will be, what holds it, and
//! what would help here, in numbers. Nothing is ever changed by the exporter.
//!
//! The ids of the findings are shared with the runbooks under `deploy/`.

mod conntrack;
mod cures;
mod destinations;
mod growth;
mod limits;
mod sockets;
mod sources;

use std::time::Duration;

use serde::Serialize;

use crate::model::state::StateCounts;
use crate::subjects::Facts;

pub use growth::{Growth, History};

/// From which share on something is worth telling, worrying, and waking.
const NOTABLE: f64 = 0.5;
const WARNING: f64 = 0.7;
const CRITICAL: f64 = 0.9;

/// How bad it is. Ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    Notice,
    Warning,
    Critical,
}

impl Severity {
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
    /// Shared with the runbooks.
    pub id: &'static str,
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
    /// One without reasons, advice and figures yet.
    fn new(
        id: &'static str,
        subject: String,
        severity: Severity,
        share: f64,
        what: String,
    ) -> Self {
        Self {
            id,
            severity,
            subject,
            what,
            because: Vec::new(),
            advice: Vec::new(),
            ports: None,
            exhausted_in: None,
            share: share.min(1.0),
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

/// Everything that is wrong, the worst first.
pub fn diagnose(facts: &Facts, history: &History) -> Vec<Finding> {
    let mut findings = destinations::findings(facts, history);
    findings.extend(sources::findings(facts, history));
    findings.extend(conntrack::findings(facts, history));
    findings.extend(limits::findings(facts, history));
    findings.extend(sockets::findings(facts, history));
    findings.sort_by(|a, b| {
        (b.severity, b.share)
            .partial_cmp(&(a.severity, a.share))
            .unwrap_or(std::cmp::Ordering::Equal)
    });
    findings
}

/// `12,345`.
fn grouped(number: impl Into<u64>) -> String {
    let digits = number.into().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Cut off: nothing is full before it is.
fn percent(share: f64) -> String {
    format!("{:.0}%", (share * 100.0).floor())
}

/// Of something that happens so often in a second: `1.7`, `470`; cut off, so that
/// nobody is promised more than there is.
fn rate(per_second: f64) -> String {
    if per_second < 10.0 {
        format!("{:.1}", (per_second * 10.0).floor() / 10.0)
    } else {
        grouped(per_second as u64)
    }
}

/// `90 time_wait, 10 established`, the most common first.
fn by_state(states: &StateCounts) -> String {
    let mut rows: Vec<_> = states.iter().filter(|&(_, count)| count > 0).collect();
    rows.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    let list: Vec<_> = rows
        .iter()
        .map(|&(state, count)| format!("{} {}", grouped(count), state.label()))
        .collect();
    list.join(", ")
}

/// `10.0.0.5:443`, `[2001:db8::5]:443`.
pub fn endpoint(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

/// `in about 12 minutes`, from the whole seconds.
fn about(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..120 => format!("in about {seconds} seconds"),
        seconds @ 120..7200 => format!("in about {} minutes", seconds / 60),
        seconds => format!("in about {} hours", seconds / 3600),
    }
}

#[cfg(test)]
mod tests;
