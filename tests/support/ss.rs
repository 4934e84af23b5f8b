//! The sockets of the caller's namespace as `ss` and `/proc` tell them: the
//! witnesses that the exporter is held against.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::tools;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
}

/// The family of the socket itself: a v4-mapped one is `V6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

/// One end of a socket. A wildcard address is the unspecified one of the
/// family, a wildcard port is 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Canonical: `::ffff:10.0.0.1` reads 10.0.0.1.
    pub address: IpAddr,
    pub port: u16,
    /// What SO_BINDTODEVICE says.
    pub device: Option<String>,
    /// `*`, which takes IPv4 and IPv6, in contrast to `[::]`, which is V6ONLY.
    pub dual_stack: bool,
}

/// One line of `ss`.
#[derive(Clone, Debug)]
pub struct Record {
    pub protocol: Protocol,
    pub family: Family,
    /// As `ss` spells it: `ESTAB`, `TIME-WAIT`, `LISTEN`, `UNCONN`.
    pub state: String,
    /// Bytes not read; of a listener the connections waiting.
    pub recv_q: u32,
    /// Bytes not acknowledged; of a listener the limit of its backlog.
    pub send_q: u32,
    pub local: End,
    pub peer: End,
    /// Path of the cgroup; of one that `ss` cannot find `unreachable:` and its id.
    pub cgroup: Option<String>,
}

/// TCP sockets in every state that `ss` knows. The `ss` of Debian 12 (6.1) asks
/// for states 1 to 12 only, so sockets bound and neither connected nor listening
/// are missing, and its filters have no word for them.
///
/// # Panics
/// When `ss` is missing or prints what this cannot read.
pub fn tcp() -> Vec<Record> {
    all(Protocol::Tcp)
}

/// UDP sockets, connected (`ESTAB`) and not (`UNCONN`).
///
/// # Panics
/// As [`tcp`].
pub fn udp() -> Vec<Record> {
    all(Protocol::Udp)
}

/// How many of the records are in a state.
pub fn in_state(records: &[Record], state: &str) -> usize {
    records.iter().filter(|r| r.state == state).count()
}

/// One figure of the namespace's `/proc/net/sockstat`, say ("TCP", "tw"). The
/// kernel gives `inuse` and `tw` for the namespace, but `orphan`, `alloc` and
/// `mem` for the whole machine: equality with those holds only by luck.
pub fn sockstat(row: &str, figure: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/sockstat").ok()?;
    let (_, figures) = text
        .lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| *name == row)?;
    let mut words = figures.split_ascii_whitespace();
    words.find(|word| *word == figure)?;
    words.next()?.parse().ok()
}

fn all(protocol: Protocol) -> Vec<Record> {
    // One run for each family: the lines themselves do not always tell it.
    [(Family::V4, "-4"), (Family::V6, "-6")]
        .into_iter()
        .flat_map(|(family, switch)| {
            let kind = match protocol {
                Protocol::Tcp => "-tanOH",
                Protocol::Udp => "-uanOH",
            };
            let text = tools::run("ss", &[switch, kind, "--cgroup"], "");
            let read = |line| {
                parse_line(protocol, family, line).unwrap_or_else(|| panic!("ss said {line:?}"))
            };
            text.lines().map(read).collect::<Vec<_>>()
        })
        .collect()
}

fn parse_line(protocol: Protocol, family: Family, line: &str) -> Option<Record> {
    let mut words = line.split_ascii_whitespace();
    Some(Record {
        protocol,
        family,
        state: words.next()?.to_owned(),
        recv_q: words.next()?.parse().ok()?,
        send_q: words.next()?.parse().ok()?,
        local: parse_end(family, words.next()?)?,
        peer: parse_end(family, words.next()?)?,
        cgroup: words.find_map(|word| Some(word.strip_prefix("cgroup:")?.to_owned())),
    })
}

/// `[::ffff:10.0.0.1]%eth0:443`, `0.0.0.0:*`, `*:80`.
fn parse_end(family: Family, text: &str) -> Option<End> {
    let (host, port) = text.rsplit_once(':')?;
    let (host, device) = match host.split_once('%') {
        Some((host, device)) => (host, Some(device.to_owned())),
        None => (host, None),
    };
    let address = match (host, family) {
        ("*", Family::V4) => Ipv4Addr::UNSPECIFIED.into(),
        ("*", Family::V6) => Ipv6Addr::UNSPECIFIED.into(),
        _ => host.trim_matches(['[', ']']).parse::<IpAddr>().ok()?,
    };
    Some(End {
        address: address.to_canonical(),
        port: if port == "*" { 0 } else { port.parse().ok()? },
        device,
        dual_stack: host == "*" && family == Family::V6,
    })
}
