//! Limits and events of TCP: TIME_WAIT buckets, orphans, memory, and the
//! counters of `net/snmp` and `net/netstat` that tell of connections lost.

use serde::Serialize;

use super::{Families, Inputs, Metric, Missing, Sink, Source, Subject, SubjectLimits, metrics};
use crate::kernel::procfs::{Procfs, parse_counters, parse_sockstat, parse_three};
use crate::model::pool::Pool;

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

metrics! {
    TIME_WAIT_LIMIT: gauge "sockdiag_tcp_time_wait_limit" []
        "TIME_WAIT sockets beyond which the kernel drops them early, as of the last poll (tcp_max_tw_buckets).";
    TW_REUSE: gauge "sockdiag_tcp_tw_reuse" []
        "Whether connect() may take over TIME_WAIT, as of the last poll: 0 never, 1 always, 2 on loopback (tcp_tw_reuse).";
    ORPHANS: machine_gauge "sockdiag_tcp_orphans" []
        "TCP sockets of the machine that no program holds any more, as of the last poll (net/sockstat).";
    ORPHANS_LIMIT: machine_gauge "sockdiag_tcp_orphans_limit" []
        "Orphans beyond which the kernel resets instead of closing, as of the last poll (tcp_max_orphans).";
    MEMORY: machine_gauge "sockdiag_tcp_memory_bytes" []
        "Memory of all TCP buffers of the machine as of the last poll (net/sockstat, mem).";
    MEMORY_LIMIT: machine_gauge "sockdiag_tcp_memory_limit_bytes" [threshold]
        "Thresholds for the memory of all TCP buffers of the machine as of the last poll: low, pressure, high (tcp_mem).";
    EVENTS: counter "sockdiag_tcp_events_total" [event]
        "TCP events since the namespace was made, as of the last poll (net/snmp Tcp, net/netstat TcpExt).";
}

/// Of `tcp_mem`.
const THRESHOLDS: [&str; 3] = ["low", "pressure", "high"];

/// Event, protocol and name of the counter there.
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

impl Subject for Tcp {
    const NEEDS: &'static [Source] = &[Source::Files];
    type Memory = ();

    const METRICS: &'static [Families] = &[METRICS];

    fn collect(from: &Inputs<'_, Self>, _memory: &mut ()) -> Result<Self, Missing> {
        let (procfs, _) = from.files();
        let tcp = Self::read(procfs)?;
        if tcp == Self::default() {
            return Err(Missing::Absent);
        }
        Ok(tcp)
    }

    fn export(&self, sink: &mut dyn Sink) {
        known(sink, &TIME_WAIT_LIMIT, self.time_wait_limit);
        known(sink, &TW_REUSE, self.tw_reuse);
        for &(event, count) in &self.events {
            sink.sample(&EVENTS, &[event], count as f64);
        }
    }

    fn export_machine(&self, sink: &mut dyn Sink) {
        known(sink, &ORPHANS, self.orphans);
        known(sink, &ORPHANS_LIMIT, self.orphans_limit);
        known(sink, &MEMORY, self.memory_bytes);
        let limits = self.memory_limit_bytes.into_iter().flatten();
        for (threshold, bytes) in THRESHOLDS.into_iter().zip(limits) {
            sink.sample(&MEMORY_LIMIT, &[threshold], bytes as f64);
        }
    }

    fn series(_limits: &SubjectLimits) -> usize {
        let single = METRICS.len() - 2;
        single + COUNTERS.len() + THRESHOLDS.len()
    }
}

impl Tcp {
    fn read(procfs: &Procfs) -> Result<Self, Missing> {
        let sockstat = |word| {
            let parse = |text: &str| parse_sockstat(text, "TCP", word);
            procfs.value("thread-self/net/sockstat", "TCP socket statistics", parse)
        };
        let page = rustix::param::page_size() as u64;
        let in_bytes = |pages: u64| pages.saturating_mul(page);
        let limits = "sys/net/ipv4/tcp_mem";
        let limits = procfs.value(limits, "three numbers of pages", parse_three)?;
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

    /// So many TIME_WAIT sockets of those that the kernel keeps.
    pub fn time_wait(&self, sockets: Option<u64>) -> Option<Pool> {
        Pool::of_table(sockets?, self.time_wait_limit?)
    }

    pub fn orphans(&self) -> Option<Pool> {
        Pool::of_table(self.orphans?, self.orphans_limit?)
    }

    /// Bytes, of those at which the kernel drops data.
    pub fn memory(&self) -> Option<Pool> {
        let [.., high] = self.memory_limit_bytes?;
        Pool::of_table(self.memory_bytes?, high)
    }
}

/// No sample of what this kernel does not say.
fn known(sink: &mut dyn Sink, metric: &'static Metric, value: Option<u64>) {
    if let Some(value) = value {
        sink.sample(metric, &[], value as f64);
    }
}

/// Those of the wanted counters that this kernel has, by the event they count.
fn read_events(procfs: &Procfs) -> Result<Vec<(&'static str, u64)>, Missing> {
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
    let events = COUNTERS.into_iter().zip(counts);
    let known = events.filter_map(|((event, ..), count)| Some((event, count?)));
    Ok(known.collect())
}

#[cfg(test)]
mod tests;
