//! Findings about tables of TCP with a limit: TIME_WAIT buckets, orphans, memory.

use super::growth::{Series, Trends};
use super::{Advice, Finding, FindingId, Severity, in_words};
use crate::model::figures::{grouped, rate};
use crate::model::pool::Pool;
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
    let all = [time_wait, orphans(tcp), memory(tcp, trends)];
    all.into_iter().flatten().collect()
}

/// How bad it is, where that is more than a notice.
fn worrying(pool: Pool) -> Option<Severity> {
    Severity::of(pool).filter(|&severity| severity > Severity::Notice)
}

fn time_wait_buckets(tcp: &Tcp, sockets: &TcpSockets, trends: &Trends) -> Option<Finding> {
    let outbound = sockets.outbound.get(State::TimeWait);
    let inbound = sockets.inbound.get(State::TimeWait);
    let pool = tcp.time_wait(Some(u64::from(outbound) + u64::from(inbound)))?;
    let overflow = trends.rate(&Series::TcpEvent("time_wait_overflow"));
    let severity = match overflow {
        Some(_) => Severity::Critical,
        None => worrying(pool)?,
    };
    let (used, limit, full) = in_words(pool);
    let twice = grouped(pool.capacity.saturating_mul(2));
    let mut because = Vec::from_iter(overflow.map(|per_second| {
        let often = rate(per_second);
        format!("It overflows {often} times a second (TCPTimeWaitOverflow).")
    }));
    because.push("Past the limit the kernel skips TIME_WAIT: delayed segments of an old connection can then reach a new one.".to_owned());
    because.push(format!(
        "{} are outbound and keep an ephemeral port each; {} are inbound. Each costs a little memory and no file descriptor, and lasts 60 s, which cannot be set.",
        grouped(outbound),
        grouped(inbound)
    ));
    let what = format!("{used} TIME_WAIT sockets of {limit} that the kernel keeps ({full}).");
    Some(Finding {
        because,
        advice: vec![
            Advice::new(
                "Keep connections open, or let the peer close first, so that there are fewer.",
            ),
            Advice::risking(
                format!("Raise net.ipv4.tcp_max_tw_buckets from {limit} to {twice}."),
                "About 0.3 KiB of kernel memory for each.",
            ),
        ],
        ..Finding::new(
            FindingId::TimeWaitBuckets,
            "TIME_WAIT",
            severity,
            pool.share(),
            what,
        )
    })
}

fn orphans(tcp: &Tcp) -> Option<Finding> {
    let pool = tcp.orphans()?;
    let severity = worrying(pool)?;
    let (used, limit, full) = in_words(pool);
    let twice = grouped(pool.capacity.saturating_mul(2));
    let what = format!("{used} orphaned sockets of {limit} that the kernel allows ({full}).");
    Some(Finding {
        because: vec![
            "Closed sockets that still have data to send or wait for the peer's FIN. Past the limit, and from half of it on for those that make no progress, the kernel resets connections instead of closing them. The count is the machine's.".to_owned(),
        ],
        advice: vec![
            Advice::new(
                "Find the peers that do not acknowledge (fin_wait1) or do not close (fin_wait2).",
            ),
            Advice::risking(
                format!("Raise net.ipv4.tcp_max_orphans from {limit} to {twice}."),
                "Each may hold up to 64 KiB of kernel memory.",
            ),
        ],
        ..Finding::new(FindingId::Orphans, "orphaned sockets", severity, pool.share(), what)
    })
}

fn memory(tcp: &Tcp, trends: &Trends) -> Option<Finding> {
    let pool = tcp.memory()?;
    let (bytes, [_, pressure, high]) = (pool.used, tcp.memory_limit_bytes?);
    let aborts = trends.rate(&Series::TcpEvent("abort_on_memory"));
    let severity = match aborts {
        None if bytes < pressure => return None,
        None if bytes < high => Severity::Warning,
        _ => Severity::Critical,
    };
    let mut because = Vec::from_iter(aborts.map(|per_second| {
        format!(
            "{} connections a second are reset for want of memory or because of too many orphans (TCPAbortOnMemory).",
            rate(per_second)
        )
    }));
    because.push("Above the pressure threshold the kernel shrinks every buffer; at the highest one it drops data and resets connections. The memory is the machine's.".to_owned());
    let [used, begins, end] = [bytes, pressure, high].map(|bytes| grouped(bytes >> 20));
    let what = format!(
        "{used} MiB of TCP buffers: pressure begins at {begins} MiB, the end is {end} MiB."
    );
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
            "TCP memory",
            severity,
            pool.share(),
            what,
        )
    })
}
