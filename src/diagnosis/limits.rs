//! Findings about tables with a limit: conntrack, TIME_WAIT buckets, orphans,
//! TCP memory.

use super::growth::{self, History};
use super::{Advice, Finding, Severity, WARNING, about, grouped, percent};
use crate::collectors::Facts;
use crate::collectors::conntrack::Conntrack;
use crate::collectors::tcp::Tcp;
use crate::kernel::state::State;

/// Bytes of memory of one connection tracking entry, hash slot included; the
/// kernel's slab is 256 bytes and an entry stands in two lists of 8.
const CONNTRACK_ENTRY_BYTES: u64 = 320;

pub(super) fn findings(facts: &Facts, history: &History) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(table) = facts.conntrack.measured() {
        findings.extend(conntrack_fill(table, history));
        findings.extend(conntrack_losses(table, history));
    }
    if let Some(tcp) = facts.tcp.measured() {
        let time_wait = facts.sockets.measured().map(|sockets| {
            u64::from(sockets.inet.get(State::TimeWait))
                + u64::from(sockets.inet6.get(State::TimeWait))
        });
        findings.extend(time_wait.and_then(|count| time_wait_buckets(tcp, count, history)));
        findings.extend(orphans(tcp));
        findings.extend(memory(tcp));
    }
    findings
}

/// A finding about a table without ports.
fn table(id: &'static str, subject: &str, severity: Severity, share: f64, what: String) -> Finding {
    Finding {
        id,
        severity,
        subject: subject.to_owned(),
        what,
        because: Vec::new(),
        advice: Vec::new(),
        ports: None,
        exhausted_in: None,
        share: share.min(1.0),
    }
}

fn conntrack_fill(conntrack: &Conntrack, history: &History) -> Option<Finding> {
    let (entries, limit) = (conntrack.entries, conntrack.limit);
    let share = entries as f64 / limit.max(1) as f64;
    let severity = Severity::of_share(share)?;
    let free = limit.saturating_sub(entries);
    let exhausted_in = history
        .growth(growth::CONNTRACK, entries)
        .and_then(|growth| growth.exhausts(free))
        .filter(|_| free > 0);
    let mut because = vec![
        "When it is full the kernel drops packets of new connections, in both directions, and logs \"nf_conntrack: table full, dropping packet\".".to_owned(),
        "Entries outlive sockets: a closed connection stays for 120 s (nf_conntrack_tcp_timeout_time_wait), one that ends without a word for days (nf_conntrack_tcp_timeout_established).".to_owned(),
    ];
    if let Some(time) = exhausted_in {
        because.push(format!(
            "At the growth of the last minutes it is full {}.",
            about(time)
        ));
    }
    Some(Finding {
        because,
        advice: vec![
            Advice::new(
                "Keep connections open instead of opening many short ones: each costs an entry for two minutes after its end.",
            ),
            Advice::risking(
                format!(
                    "Raise net.netfilter.nf_conntrack_max from {} to {}, and nf_conntrack_buckets (now {}) along with it.",
                    grouped(limit),
                    grouped(limit * 2),
                    conntrack
                        .buckets
                        .map_or_else(|| "unknown".to_owned(), grouped)
                ),
                format!(
                    "Up to {} MiB more of kernel memory.",
                    grouped(limit * CONNTRACK_ENTRY_BYTES / (1 << 20))
                ),
            ),
            Advice::risking(
                "Leave traffic that needs no tracking out of it (notrack), a load balancer's own for instance.",
                "Stateful rules and NAT no longer see that traffic.",
            ),
        ],
        exhausted_in,
        ..table(
            "conntrack-near-full",
            "conntrack",
            severity,
            share,
            format!(
                "{} of {} conntrack entries are used ({}).",
                grouped(entries),
                grouped(limit),
                percent(share)
            ),
        )
    })
}

/// Events that mean a lost packet.
const LOSSES: [&str; 3] = ["insert_failed", "drop", "early_drop"];

fn conntrack_losses(conntrack: &Conntrack, history: &History) -> Option<Finding> {
    let losing: Vec<_> = conntrack
        .events
        .iter()
        .flatten()
        .filter(|(event, _)| LOSSES.contains(event))
        .filter_map(|&(event, count)| {
            let growth = history.growth(&growth::event("conntrack", event), count)?;
            (growth.per_second > 0.0).then(|| format!("{event} {:.1}/s", growth.per_second))
        })
        .collect();
    if losing.is_empty() {
        return None;
    }
    let share = conntrack.entries as f64 / conntrack.limit.max(1) as f64;
    let severity = if share >= WARNING {
        Severity::Critical
    } else {
        Severity::Warning
    };
    Some(Finding {
        because: vec![
            "drop and early_drop: the table was full. insert_failed: two packets raced for one entry, or a NAT range ran out of ports.".to_owned(),
        ],
        advice: vec![Advice::new(
            "With a full table see conntrack-near-full; with insert_failed alone look for many UDP requests (DNS) at once from one socket, and for SNAT to few addresses.",
        )],
        ..table(
            "conntrack-losing",
            "conntrack",
            severity,
            share,
            format!("The conntrack table loses packets: {}.", losing.join(", ")),
        )
    })
}

fn time_wait_buckets(tcp: &Tcp, count: u64, history: &History) -> Option<Finding> {
    let limit = tcp.time_wait_limit?;
    let share = count as f64 / limit.max(1) as f64;
    let overflows = tcp
        .event("time_wait_overflow")
        .and_then(|now| history.growth(&growth::event("tcp", "time_wait_overflow"), now))
        .is_some_and(|growth| growth.per_second > 0.0);
    let severity = match Severity::of_share(share) {
        _ if overflows => Severity::Critical,
        Some(Severity::Notice) | None => return None,
        Some(severity) => severity,
    };
    let mut because = vec![
        "Past the limit the kernel ends TIME_WAIT at once: delayed segments of an old connection can then reach a new one.".to_owned(),
        "TIME_WAIT costs a little memory and no file descriptor. It lasts 60 s; that cannot be set.".to_owned(),
    ];
    if overflows {
        because.insert(0, "It is overflowing now (TCPTimeWaitOverflow).".to_owned());
    }
    Some(Finding {
        because,
        advice: vec![
            Advice::new(
                "Keep connections open, or let the peer close first, so that there are fewer.",
            ),
            Advice::risking(
                format!("Raise net.ipv4.tcp_max_tw_buckets from {}.", grouped(limit)),
                "About 0.3 KiB of kernel memory for each.",
            ),
        ],
        ..table(
            "time-wait-buckets",
            "TIME_WAIT",
            severity,
            share,
            format!(
                "{} of {} TIME_WAIT sockets ({}).",
                grouped(count),
                grouped(limit),
                percent(share)
            ),
        )
    })
}

fn orphans(tcp: &Tcp) -> Option<Finding> {
    let (count, limit) = (tcp.orphans?, tcp.orphans_limit?);
    let share = count as f64 / limit.max(1) as f64;
    let severity = Severity::of_share(share).filter(|&severity| severity > Severity::Notice)?;
    Some(Finding {
        because: vec![
            "Closed sockets that still have data to send or wait for the peer's FIN. Past the limit, and from half of it on under pressure, the kernel resets connections instead of closing them.".to_owned(),
        ],
        advice: vec![
            Advice::new("Find the peers that do not acknowledge (fin_wait1) or do not close (fin_wait2)."),
            Advice::risking(
                format!("Raise net.ipv4.tcp_max_orphans from {}.", grouped(limit)),
                "Each may hold up to 64 KiB of kernel memory.",
            ),
        ],
        ..table(
            "orphans",
            "orphaned sockets",
            severity,
            share,
            format!("{} of {} orphaned sockets ({}).", grouped(count), grouped(limit), percent(share)),
        )
    })
}

fn memory(tcp: &Tcp) -> Option<Finding> {
    let (bytes, [_, pressure, high]) = (tcp.memory_bytes?, tcp.memory_limit_bytes?);
    if bytes < pressure || high == 0 {
        return None;
    }
    let share = bytes as f64 / high as f64;
    let severity = if bytes >= high {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let mib = |bytes: u64| grouped(bytes >> 20);
    Some(Finding {
        because: vec![
            "Above the pressure threshold the kernel shrinks every buffer; at the highest one it drops data and resets connections.".to_owned(),
        ],
        advice: vec![
            Advice::new("Find the sockets with full queues (ss -tm): readers that do not read, peers that do not acknowledge."),
            Advice::risking("Raise net.ipv4.tcp_mem.", "The memory is the kernel's and cannot be swapped."),
        ],
        ..table(
            "tcp-memory",
            "TCP memory",
            severity,
            share,
            format!("{} MiB of TCP buffers: pressure begins at {} MiB, the end is {} MiB.", mib(bytes), mib(pressure), mib(high)),
        )
    })
}
