//! Findings about the connection tracking table.

use super::growth::{Series, Trends};
use super::{Advice, Finding, FindingId, Severity, WARNING};
use crate::model::figures::{about, grouped, percent, rate};
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
    [fill(table, trends), losses(table, trends)]
        .into_iter()
        .flatten()
        .collect()
}

fn fill(table: &Conntrack, trends: &Trends) -> Option<Finding> {
    let pool = table.pool()?;
    let (severity, share, free) = (Severity::of(pool)?, pool.share(), pool.free());
    let exhausted_in = trends.exhausts(&Series::Conntrack, free);
    let mut because = vec![
        "When it is full the kernel drops the packets of new connections, in both directions, and logs \"nf_conntrack: table full, dropping packet\"; those that are in the table go on.".to_owned(),
        "Entries outlive their sockets: a closed connection stays for 120 s (nf_conntrack_tcp_timeout_time_wait), one that ended without a word for five days (nf_conntrack_tcp_timeout_established), unless these were set otherwise.".to_owned(),
    ];
    because.extend(exhausted_in.map(|time| {
        format!(
            "At the growth of the last minutes it is full {}.",
            about(time)
        )
    }));
    Some(Finding {
        because,
        advice: advice(table),
        exhausted_in,
        ..Finding::new(
            FindingId::ConntrackNearFull,
            "conntrack".to_owned(),
            severity,
            share,
            format!(
                "{} of {} conntrack entries are used ({}): {}.",
                grouped(pool.used),
                grouped(pool.capacity),
                percent(share),
                match free {
                    0 => "new connections are dropped".to_owned(),
                    _ => format!("{} more, then new connections are dropped", grouped(free)),
                }
            ),
        )
    })
}

fn advice(table: &Conntrack) -> Vec<Advice> {
    let limit = table.limit;
    let buckets = table.buckets.map_or_else(String::new, |buckets| {
        format!(
            ", and nf_conntrack_buckets from {} along with it",
            grouped(buckets)
        )
    });
    vec![
        Advice::new(
            "Keep connections open instead of opening many short ones: each costs an entry for two minutes after its end.",
        ),
        Advice::risking(
            format!(
                "Raise net.netfilter.nf_conntrack_max from {} to {}{buckets} (in the host's own network namespace; the limit is the same in all).",
                grouped(limit),
                grouped(limit.saturating_mul(2)),
            ),
            format!(
                "Up to {} MiB more of kernel memory.",
                grouped(limit.saturating_mul(ENTRY_BYTES).div_ceil(1 << 20))
            ),
        ),
        Advice::risking(
            "Leave traffic that needs no tracking out of it (notrack), a load balancer's own for instance.",
            "Stateful rules and NAT no longer see that traffic.",
        ),
    ]
}

fn losses(table: &Conntrack, trends: &Trends) -> Option<Finding> {
    let losing: Vec<_> = table
        .events
        .iter()
        .flatten()
        .filter(|(event, _)| LOSSES.contains(event))
        .filter_map(|&(event, _)| {
            let per_second = trends.rate(&Series::ConntrackEvent(event))?;
            Some(format!("{event} {}/s", rate(per_second)))
        })
        .collect();
    if losing.is_empty() {
        return None;
    }
    let share = table.pool().map_or(0.0, Pool::share);
    let (severity, advice) = if share >= WARNING {
        (
            Severity::Critical,
            "The table is short of room: see conntrack-near-full.",
        )
    } else {
        (
            Severity::Warning,
            "There is room in the table: look for many UDP requests (DNS) at once from one socket, and for SNAT to few addresses, whose ports run out.",
        )
    };
    Some(Finding {
        because: vec![
            "drop and early_drop: the table was full. insert_failed: two packets raced for one entry, or a NAT range ran out of ports.".to_owned(),
        ],
        advice: vec![Advice::new(advice)],
        ..Finding::new(
            FindingId::ConntrackLosing,
            "conntrack".to_owned(),
            severity,
            share,
            format!("Connection tracking loses packets: {}.", losing.join(", ")),
        )
    })
}
