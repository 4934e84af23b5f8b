//! Findings about tables of TCP with a limit: TIME_WAIT buckets, orphans, memory.

use super::growth::{Series, Trends};
use super::{Advice, Finding, FindingId, Severity};
use crate::model::figures::{grouped, percent, rate};
use crate::model::state::State;
use crate::subjects::Facts;
use crate::subjects::sockets::TcpSockets;
use crate::subjects::tcp::Tcp;

pub(super) fn findings(facts: &Facts, trends: &Trends) -> Vec<Finding> {
    let Some(tcp) = facts.tcp.measured() else {
        return Vec::new();
    };
    let sockets = facts.sockets.measured();
    let time_wait = sockets.and_then(|sockets| time_wait_buckets(tcp, sockets, trends));
    [time_wait, orphans(tcp), memory(tcp, trends)]
        .into_iter()
        .flatten()
        .collect()
}

fn time_wait_buckets(tcp: &Tcp, sockets: &TcpSockets, trends: &Trends) -> Option<Finding> {
    let outbound = sockets.outbound.get(State::TimeWait);
    let inbound = sockets.inbound.get(State::TimeWait);
    let count = u64::from(outbound) + u64::from(inbound);
    let pool = tcp.time_wait(Some(count))?;
    let (limit, share) = (pool.capacity, pool.share());
    let overflow = trends.rate(&Series::TcpEvent("time_wait_overflow"));
    let severity = match Severity::of_share(share) {
        _ if overflow.is_some() => Severity::Critical,
        Some(Severity::Notice) | None => return None,
        Some(severity) => severity,
    };
    let mut because = Vec::from_iter(overflow.map(|per_second| {
        format!(
            "It overflows {} times a second (TCPTimeWaitOverflow).",
            rate(per_second)
        )
    }));
    because.push("Past the limit the kernel skips TIME_WAIT: delayed segments of an old connection can then reach a new one.".to_owned());
    because.push(format!(
        "{} are outbound and keep an ephemeral port each; {} are inbound. Each costs a little memory and no file descriptor, and lasts 60 s, which cannot be set.",
        grouped(outbound),
        grouped(inbound)
    ));
    Some(Finding {
        because,
        advice: vec![
            Advice::new(
                "Keep connections open, or let the peer close first, so that there are fewer.",
            ),
            Advice::risking(
                format!(
                    "Raise net.ipv4.tcp_max_tw_buckets from {} to {}.",
                    grouped(limit),
                    grouped(limit.saturating_mul(2))
                ),
                "About 0.3 KiB of kernel memory for each.",
            ),
        ],
        ..Finding::new(
            FindingId::TimeWaitBuckets,
            "TIME_WAIT".to_owned(),
            severity,
            share,
            format!(
                "{} TIME_WAIT sockets of {} that the kernel keeps ({}).",
                grouped(count),
                grouped(limit),
                percent(share)
            ),
        )
    })
}

fn orphans(tcp: &Tcp) -> Option<Finding> {
    let pool = tcp.orphans()?;
    let (count, limit, share) = (pool.used, pool.capacity, pool.share());
    let severity = Severity::of(pool).filter(|&severity| severity > Severity::Notice)?;
    Some(Finding {
        because: vec![
            "Closed sockets that still have data to send or wait for the peer's FIN. Past the limit, and from half of it on for those that make no progress, the kernel resets connections instead of closing them. The count is the machine's.".to_owned(),
        ],
        advice: vec![
            Advice::new("Find the peers that do not acknowledge (fin_wait1) or do not close (fin_wait2)."),
            Advice::risking(
                format!("Raise net.ipv4.tcp_max_orphans from {} to {}.", grouped(limit), grouped(limit.saturating_mul(2))),
                "Each may hold up to 64 KiB of kernel memory.",
            ),
        ],
        ..Finding::new(
            FindingId::Orphans,
            "orphaned sockets".to_owned(),
            severity,
            share,
            format!("{} orphaned sockets of {} that the kernel allows ({}).", grouped(count), grouped(limit), percent(share)),
        )
    })
}

fn memory(tcp: &Tcp, trends: &Trends) -> Option<Finding> {
    let pool = tcp.memory()?;
    let (bytes, [_, pressure, high]) = (pool.used, tcp.memory_limit_bytes?);
    let aborts = trends.rate(&Series::TcpEvent("abort_on_memory"));
    if bytes < pressure && aborts.is_none() {
        return None;
    }
    let severity = if bytes >= high || aborts.is_some() {
        Severity::Critical
    } else {
        Severity::Warning
    };
    let mib = |bytes: u64| grouped(bytes >> 20);
    let mut because = Vec::from_iter(aborts.map(|per_second| {
        format!(
            "{} connections a second are reset for want of memory or because of too many orphans (TCPAbortOnMemory).",
            rate(per_second)
        )
    }));
    because.push("Above the pressure threshold the kernel shrinks every buffer; at the highest one it drops data and resets connections. The memory is the machine's.".to_owned());
    Some(Finding {
        because,
        advice: vec![
            Advice::new(
                "Find the sockets with full queues (ss -tm): readers that do not read, peers that do not acknowledge.",
            ),
            Advice::risking(
                "Raise net.ipv4.tcp_mem.",
                "The memory is the kernel's and cannot be swapped.",
            ),
        ],
        ..Finding::new(
            FindingId::TcpMemory,
            "TCP memory".to_owned(),
            severity,
            pool.share(),
            format!(
                "{} MiB of TCP buffers: pressure begins at {} MiB, the end is {} MiB.",
                mib(bytes),
                mib(pressure),
                mib(high)
            ),
        )
    })
}
