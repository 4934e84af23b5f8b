//! Findings about the connection tracking table.

use super::growth::{Series, Trends};
use super::{Advice, Finding, FindingId, Severity, WARNING, foretold, in_words};
use crate::model::figures::{grouped, rate};
use crate::model::pool::Pool;
use crate::subjects::Facts;
use crate::subjects::conntrack::Conntrack;

/// Bytes of memory of one entry, hash slot included; the kernel's slab is 256
/// bytes and an entry stands in two lists of 8.
const ENTRY_BYTES: u64 = 320;

/// Events that mean a lost packet.
const LOSSES: [&str; 3] = ["insert_failed", "drop", "early_drop"];

pub(super) fn findings(facts: &Facts, trends: &Trends) -> Vec<Finding> {
    let Some(table) = facts.conntrack.measured() else {
        return Vec::new();
    };
    let both = [fill(table, trends), losses(table, trends)];
    both.into_iter().flatten().collect()
}

fn fill(table: &Conntrack, trends: &Trends) -> Option<Finding> {
    let pool = table.pool()?;
    let (severity, free) = (Severity::of(pool)?, pool.free());
    let exhausted_in = trends.exhausts(&Series::Conntrack, free);
    let mut because = vec![
        "When it is full the kernel drops the packets of new connections, in both directions, and logs \"nf_conntrack: table full, dropping packet\"; those that are in the table go on.".to_owned(),
        "Entries outlive their sockets: a closed connection stays for 120 s (nf_conntrack_tcp_timeout_time_wait), one that ended without a word for five days (nf_conntrack_tcp_timeout_established), unless these were set otherwise.".to_owned(),
    ];
    because.extend(foretold("it is full", exhausted_in));
    let then = match free {
        0 => String::new(),
        _ => format!("{} more, then ", grouped(free)),
    };
    let (used, limit, full) = in_words(pool);
    let what = format!(
        "{used} of {limit} conntrack entries are used ({full}): {then}new connections are dropped."
    );
    Some(Finding {
        because,
        advice: advice(table),
        exhausted_in,
        ..Finding::new(
            FindingId::ConntrackNearFull,
            "conntrack",
            severity,
            pool.share(),
            what,
        )
    })
}

fn advice(table: &Conntrack) -> Vec<Advice> {
    let (limit, twice) = (grouped(table.limit), grouped(table.limit.saturating_mul(2)));
    let mib = grouped(table.limit.saturating_mul(ENTRY_BYTES).div_ceil(1 << 20));
    let buckets = table.buckets.map_or_else(String::new, |buckets| {
        let buckets = grouped(buckets);
        format!(", and nf_conntrack_buckets from {buckets} along with it")
    });
    vec![
        Advice::new(
            "Keep connections open instead of opening many short ones: each costs an entry for two minutes after its end.",
        ),
        Advice::risking(
            format!(
                "Raise net.netfilter.nf_conntrack_max from {limit} to {twice}{buckets} (in the host's own network namespace; the limit is the same in all)."
            ),
            format!("Up to {mib} MiB more of kernel memory."),
        ),
        Advice::risking(
            "Leave traffic that needs no tracking out of it (notrack), a load balancer's own for instance.",
            "Stateful rules and NAT no longer see that traffic.",
        ),
    ]
}

const FULL: &str = "The table is short of room: see conntrack-near-full.";
const NOT_FULL: &str = "There is room in the table: look for many UDP requests (DNS) at once from one socket, and for SNAT to few addresses, whose ports run out.";

fn losses(table: &Conntrack, trends: &Trends) -> Option<Finding> {
    let events = table.events.iter().flatten().map(|&(event, _)| event);
    let losses = events.filter(|event| LOSSES.contains(event));
    let losing = losses.filter_map(|event| {
        let per_second = trends.rate(&Series::ConntrackEvent(event))?;
        Some(format!("{event} {}/s", rate(per_second)))
    });
    let losing: Vec<_> = losing.collect();
    if losing.is_empty() {
        return None;
    }
    let share = table.pool().map_or(0.0, Pool::share);
    let (severity, advice) = match share >= WARNING {
        true => (Severity::Critical, FULL),
        false => (Severity::Warning, NOT_FULL),
    };
    let what = format!("Connection tracking loses packets: {}.", losing.join(", "));
    Some(Finding {
        because: vec![
            "drop and early_drop: the table was full. insert_failed: two packets raced for one entry, or a NAT range ran out of ports.".to_owned(),
        ],
        advice: vec![Advice::new(advice)],
        ..Finding::new(FindingId::ConntrackLosing, "conntrack", severity, share, what)
    })
}
