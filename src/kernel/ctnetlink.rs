//! Events of the connection tracking table, summed over the CPUs: from
//! `net/stat/nf_conntrack` where the kernel still has it (CONFIG_NF_CONNTRACK_PROCFS),
//! else from ctnetlink (IPCTNL_MSG_CT_GET_STATS_CPU), which wants CAP_NET_ADMIN.

use std::io;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use netlink_sys::protocols::NETLINK_NETFILTER;

use super::netlink::DumpError;
use super::netlink::attributes::Attributes;
use super::netlink::dump::{Deadline, Dumper, Request};
use super::netlink::transport::{KernelTransport, Transport};
use super::procfs::{ProcError, Procfs};

/// Name in the metric, name in the procfs header, number of the ctnetlink
/// attribute (enum ctattr_stats_cpu).
pub const EVENTS: [(&str, &str, u16); 10] = [
    ("found", "found", 2),
    ("invalid", "invalid", 4),
    ("insert", "insert", 8),
    ("insert_failed", "insert_failed", 9),
    ("drop", "drop", 10),
    ("early_drop", "early_drop", 11),
    ("error", "icmp_error", 12),
    ("search_restart", "search_restart", 13),
    ("clash_resolve", "clash_resolve", 14),
    ("chain_toolong", "chaintoolong", 15),
];

/// NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET_STATS_CPU.
const GET_STATS_CPU: u16 = 1 << 8 | 4;
/// `struct nfgenmsg`: family unspecified, version 0, resource 0.
const NFGENMSG: [u8; 4] = [0; 4];
/// A row for each CPU: there is nothing to wait for.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Counts by event name, those that the kernel gives.
pub type Events = Vec<(&'static str, u64)>;

/// Why there are no counts.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    #[error(transparent)]
    Procfs(#[from] ProcError),
    #[error("ctnetlink statistics")]
    Netlink(#[from] DumpError),
}

/// `Ok(None)` when the kernel does not offer them to this process: no file, and
/// ctnetlink missing or not permitted.
///
/// # Errors
/// When the file cannot be read or makes no sense, or the dump fails.
pub fn read_events(procfs: &Procfs, stop: &AtomicBool) -> Result<Option<Events>, EventsError> {
    let path = "thread-self/net/stat/nf_conntrack";
    if let Some(events) = procfs.value(path, "conntrack statistics", parse_stat)? {
        return Ok(Some(events));
    }
    let opened = KernelTransport::open(NETLINK_NETFILTER);
    match opened.and_then(|transport| events_from(transport, stop)) {
        Ok(events) => Ok(Some(events)),
        Err(error) if error.is_absent() || is_forbidden(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn is_forbidden(error: &DumpError) -> bool {
    match error {
        DumpError::Refused(source) | DumpError::Call { source, .. } => {
            source.kind() == io::ErrorKind::PermissionDenied
                || source.raw_os_error() == Some(libc::EINVAL)
        }
        _ => false,
    }
}

/// A header of names, then a row of hexadecimal numbers for each CPU.
pub fn parse_stat(text: &str) -> Option<Events> {
    let mut lines = text.lines();
    let names: Vec<_> = lines.next()?.split_ascii_whitespace().collect();
    let mut sums = vec![0_u64; names.len()];
    for line in lines {
        let mut count = 0;
        for (sum, word) in sums.iter_mut().zip(line.split_ascii_whitespace()) {
            *sum = sum.wrapping_add(u64::from_str_radix(word, 16).ok()?);
            count += 1;
        }
        if count != names.len() {
            return None;
        }
    }
    let events = EVENTS.iter().filter_map(|&(event, column, _)| {
        let at = names.iter().position(|&name| name == column)?;
        Some((event, sums[at]))
    });
    let events: Events = events.collect();
    (!events.is_empty()).then_some(events)
}

/// From a socket of NETLINK_NETFILTER.
///
/// # Errors
/// When the dump is not whole.
pub fn events_from(transport: impl Transport, stop: &AtomicBool) -> Result<Events, DumpError> {
    let mut dumper = Dumper::new(transport);
    let request = Request {
        kind: GET_STATS_CPU,
        payload: &NFGENMSG,
    };
    let mut sums = [None; EVENTS.len()];
    let timeout = TIMEOUT;
    dumper.dump(&request, Deadline { timeout, stop }, |cpu| {
        add_cpu(&mut sums, cpu)
    })?;
    let events = EVENTS.iter().zip(sums);
    Ok(events
        .filter_map(|(&(event, ..), sum)| Some((event, sum?)))
        .collect())
}

/// Attributes are big-endian u32, one for each counter.
fn add_cpu(sums: &mut [Option<u64>; EVENTS.len()], payload: &[u8]) {
    let rest = payload.get(NFGENMSG.len()..).unwrap_or_default();
    for (kind, value) in (Attributes { rest }) {
        let at = EVENTS.iter().position(|&(.., number)| number == kind);
        if let (Some(at), Ok(value)) = (at, value.try_into()) {
            *sums[at].get_or_insert(0) += u64::from(u32::from_be_bytes(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_summed_and_columns_found_by_name() {
        let text = "entries  clashres found new invalid icmp_error insert_failed drop\n\
                    0000000a 00000001 000000ff 0 00000002 0 00000003 00000000\n\
                    0000000a 00000001 00000001 0 00000000 0 00000001 0000000f\n";
        let events = parse_stat(text).unwrap();
        let get = |name| {
            events
                .iter()
                .find(|(event, _)| *event == name)
                .map(|&(_, sum)| sum)
        };
        assert_eq!(get("found"), Some(256));
        assert_eq!(get("insert_failed"), Some(4));
        assert_eq!(get("drop"), Some(15));
        assert_eq!(get("chain_toolong"), None);
    }

    #[test]
    fn garbled_statistics_are_refused() {
        for bad in [
            "",
            "\n",
            "found drop\n1\n",
            "found\nxyz\n",
            "nothing we know\n1 2 3\n",
        ] {
            assert_eq!(parse_stat(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_cpu_adds_what_it_counts() {
        let mut sums = [None; EVENTS.len()];
        #[rustfmt::skip]
        let cpu = [
            0, 0, 0, 1, // nfgenmsg, resource: CPU 1
            8, 0, 9, 0, 0, 0, 0, 5, // insert_failed 5
            8, 0, 10, 0, 0, 0, 1, 0, // drop 256
            8, 0, 99, 0, 0, 0, 0, 1, // not known
        ];
        add_cpu(&mut sums, &cpu);
        add_cpu(&mut sums, &cpu);
        assert_eq!(sums[3], Some(10));
        assert_eq!(sums[4], Some(512));
        assert_eq!(sums[0], None);
        add_cpu(&mut sums, &[1]);
    }
}
