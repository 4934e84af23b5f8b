//! Limits and events of TCP: TIME_WAIT buckets, orphans, memory, and the
//! counters of `net/snmp` and `net/netstat` that tell of connections lost.

use serde::Serialize;

use super::metric::{Metric, Sink};
use super::section::{Failure, Section};
use crate::kernel::procfs::{Procfs, parse_counters, parse_sockstat, parse_three};

/// What /proc says of TCP; `None` where this kernel does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tcp {
    pub time_wait_limit: Option<u64>,
    pub tw_reuse: Option<u64>,
    pub orphans: Option<u64>,
    pub orphans_limit: Option<u64>,
    pub memory_bytes: Option<u64>,
    /// Low, pressure, high.
    pub memory_limit_bytes: Option<[u64; 3]>,
    pub events: Vec<(&'static str, u64)>,
}

static TIME_WAIT_LIMIT: Metric = Metric::gauge(
    "sockdiag_tcp_time_wait_limit",
    &[],
    "TIME_WAIT sockets beyond which the kernel drops them early, as of the last poll (tcp_max_tw_buckets).",
);
static TW_REUSE: Metric = Metric::gauge(
    "sockdiag_tcp_tw_reuse",
    &[],
    "Whether connect() may take over TIME_WAIT, as of the last poll: 0 never, 1 always, 2 on loopback (tcp_tw_reuse).",
);
static ORPHANS: Metric = Metric::gauge(
    "sockdiag_tcp_orphans",
    &[],
    "TCP sockets of the machine that no program holds any more, as of the last poll (net/sockstat).",
)
.global();
static ORPHANS_LIMIT: Metric = Metric::gauge(
    "sockdiag_tcp_orphans_limit",
    &[],
    "Orphans beyond which the kernel resets instead of closing, as of the last poll (tcp_max_orphans).",
)
.global();
static MEMORY: Metric = Metric::gauge(
    "sockdiag_tcp_memory_bytes",
    &[],
    "Memory of all TCP buffers of the machine as of the last poll (net/sockstat, mem).",
)
.global();
static MEMORY_LIMIT: Metric = Metric::gauge(
    "sockdiag_tcp_memory_limit_bytes",
    &["threshold"],
    "Thresholds of that memory as of the last poll: low, pressure, high (tcp_mem).",
)
.global();
static EVENTS: Metric = Metric::counter(
    "sockdiag_tcp_events_total",
    &["event"],
    "TCP events since the namespace was made, as of the last poll (net/snmp Tcp, net/netstat TcpExt).",
);

pub static METRICS: [&Metric; 7] = [
    &TIME_WAIT_LIMIT,
    &TW_REUSE,
    &ORPHANS,
    &ORPHANS_LIMIT,
    &MEMORY,
    &MEMORY_LIMIT,
    &EVENTS,
];

/// Event, file, protocol and name of the counter there.
const COUNTERS: [(&str, &str, &str); 9] = [
    ("active_open", "Tcp", "ActiveOpens"),
    ("passive_open", "Tcp", "PassiveOpens"),
    ("attempt_fail", "Tcp", "AttemptFails"),
    ("listen_overflow", "TcpExt", "ListenOverflows"),
    ("listen_drop", "TcpExt", "ListenDrops"),
    ("time_wait_overflow", "TcpExt", "TCPTimeWaitOverflow"),
    ("req_q_full_drop", "TcpExt", "TCPReqQFullDrop"),
    ("req_q_full_cookie", "TcpExt", "TCPReqQFullDoCookies"),
    ("abort_on_memory", "TcpExt", "TCPAbortOnMemory"),
];

impl Tcp {
    pub fn collect(procfs: &Procfs) -> Section<Self> {
        match Self::read(procfs) {
            Ok(tcp) if tcp == Self::default() => Section::Absent,
            Ok(tcp) => Section::Measured(tcp),
            Err(failure) => Section::Failed(failure),
        }
    }

    fn read(procfs: &Procfs) -> Result<Self, Failure> {
        let sockstat = |word| {
            let parse = |text: &str| parse_sockstat(text, "TCP", word);
            procfs.value("thread-self/net/sockstat", "TCP socket statistics", parse)
        };
        let page = rustix::param::page_size() as u64;
        let in_bytes = |pages: u64| pages.saturating_mul(page);
        let limits = procfs.value(
            "sys/net/ipv4/tcp_mem",
            "three numbers of pages",
            parse_three,
        )?;
        Ok(Self {
            time_wait_limit: procfs.number("sys/net/ipv4/tcp_max_tw_buckets")?,
            tw_reuse: procfs.number("sys/net/ipv4/tcp_tw_reuse")?,
            orphans: sockstat("orphan")?,
            orphans_limit: procfs.number("sys/net/ipv4/tcp_max_orphans")?,
            memory_bytes: sockstat("mem")?.map(in_bytes),
            memory_limit_bytes: limits.map(|limits| limits.map(in_bytes)),
            events: read_events(procfs)?,
        })
    }

    /// How often something happened; `None` where the kernel does not count it.
    pub fn event(&self, event: &str) -> Option<u64> {
        self.events
            .iter()
            .find(|(name, _)| *name == event)
            .map(|&(_, count)| count)
    }

    pub fn export(&self, sink: &mut dyn Sink) {
        let single = [
            (&TIME_WAIT_LIMIT, self.time_wait_limit),
            (&TW_REUSE, self.tw_reuse),
        ];
        for (metric, value) in single {
            if let Some(value) = value {
                sink.sample(metric, &[], value as f64);
            }
        }
        for &(event, count) in &self.events {
            sink.sample(&EVENTS, &[event], count as f64);
        }
    }

    /// What is the machine's, not the namespace's: exported once.
    pub fn export_machine(&self, sink: &mut dyn Sink) {
        let single = [
            (&ORPHANS, self.orphans),
            (&ORPHANS_LIMIT, self.orphans_limit),
            (&MEMORY, self.memory_bytes),
        ];
        for (metric, value) in single {
            if let Some(value) = value {
                sink.sample(metric, &[], value as f64);
            }
        }
        for (threshold, bytes) in ["low", "pressure", "high"]
            .into_iter()
            .zip(self.memory_limit_bytes.into_iter().flatten())
        {
            sink.sample(&MEMORY_LIMIT, &[threshold], bytes as f64);
        }
    }
}

/// Those of the wanted counters that this kernel has, by the event they count.
fn read_events(procfs: &Procfs) -> Result<Vec<(&'static str, u64)>, Failure> {
    let mut counts = [None; COUNTERS.len()];
    let mut each = |protocol: &str, name: &str, count: i64| {
        let wanted = |&(_, of, called): &(&str, &str, &str)| called == name && of == protocol;
        if let Some(at) = COUNTERS.iter().position(wanted) {
            // The file's numbers are signed, a counter's never below zero.
            counts[at] = u64::try_from(count).ok();
        }
    };
    for file in ["thread-self/net/snmp", "thread-self/net/netstat"] {
        let parse = |text: &str| parse_counters(text, &mut each);
        procfs.value(file, "pairs of lines of counters", parse)?;
    }
    let events = COUNTERS.iter().zip(counts);
    Ok(events
        .filter_map(|(&(event, ..), count)| Some((event, count?)))
        .collect())
}

#[cfg(test)]
mod tests;
