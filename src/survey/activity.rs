//! What a namespace's own counters tell of its sockets for a few microseconds, where a
//! dump takes up to a second: how many sockets there are, and how many calls of connect()
//! there have been (`net/sockstat`, `net/sockstat6`, `net/snmp`).

use crate::kernel::procfs::{ProcError, Procfs, parse_counters, parse_sockstat};

/// The counters of one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// TCP sockets that are listening, connected or in TIME_WAIT. Those that are merely
    /// bound are in no counter of the namespace.
    pub tcp_sockets: u64,
    /// UDP sockets with a port.
    pub udp_sockets: u64,
    /// Calls of connect() that were given a port, since the namespace was made; `None`
    /// where so few sockets make that of no interest.
    pub connects: Option<u64>,
}

impl Activity {
    /// Of the calling thread's namespace; the calls of connect() only where there are at
    /// least `few` TCP sockets. `None` where the kernel does not say.
    ///
    /// # Errors
    /// When a file cannot be read, or makes no sense.
    pub fn read(procfs: &Procfs, few: u64) -> Result<Option<Self>, ProcError> {
        let v4 = procfs.value("thread-self/net/sockstat", "socket statistics", |text| {
            let tcp = |word| parse_sockstat(text, "TCP", word);
            let udp = parse_sockstat(text, "UDP", "inuse")?;
            Some((tcp("inuse")? + tcp("tw")?, udp))
        })?;
        // There is no such file where IPv6 is off.
        let v6 = procfs.value("thread-self/net/sockstat6", "socket statistics", |text| {
            let inuse = |line| parse_sockstat(text, line, "inuse");
            Some((inuse("TCP6")?, inuse("UDP6")?))
        })?;
        let Some(v4) = v4 else {
            return Ok(None);
        };
        let v6 = v6.unwrap_or_default();
        let (tcp_sockets, udp_sockets) = (v4.0 + v6.0, v4.1 + v6.1);
        let has_few = tcp_sockets < few;
        let connects = if has_few {
            None
        } else {
            read_connects(procfs)?
        };
        Ok((has_few || connects.is_some()).then_some(Self {
            tcp_sockets,
            udp_sockets,
            connects,
        }))
    }
}

fn read_connects(procfs: &Procfs) -> Result<Option<u64>, ProcError> {
    let mut connects = None;
    let parse = |text: &str| {
        parse_counters(text, |protocol, name, count| {
            if (protocol, name) == ("Tcp", "ActiveOpens") {
                connects = u64::try_from(count).ok();
            }
        })
    };
    procfs.value("thread-self/net/snmp", "pairs of lines of counters", parse)?;
    Ok(connects)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake_kernel::proc_tree;

    const SNMP: &str = "Ip: Forwarding\nIp: 2\nTcp: MaxConn ActiveOpens\nTcp: -1 511\n";
    const SOCKSTAT: &str = "sockets: used 290\nTCP: inuse 12 orphan 3 tw 4 alloc 15 mem 6\nUDP: inuse 4 mem 1\nUDPLITE: inuse 7\n";
    const SOCKSTAT6: &str = "TCP6: inuse 20\nUDP6: inuse 5\nUDPLITE6: inuse 8\n";

    fn read(files: &[(&str, &str)]) -> Result<Option<Activity>, ProcError> {
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| (format!("thread-self/net/{name}"), *text))
            .collect();
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| (&name[..], *text))
            .collect();
        Activity::read(&Procfs::new(proc_tree(&files).path()), 17)
    }

    #[test]
    fn sockets_of_both_families_are_added_up() {
        let both = [
            ("snmp", SNMP),
            ("sockstat", SOCKSTAT),
            ("sockstat6", SOCKSTAT6),
        ];
        let activity = read(&both).unwrap().unwrap();
        let expected = Activity {
            tcp_sockets: 36,
            udp_sockets: 9,
            connects: Some(511),
        };
        assert_eq!(activity, expected);
        let v4_only = read(&both[..2]).unwrap().unwrap();
        assert_eq!((v4_only.tcp_sockets, v4_only.udp_sockets), (16, 4));
        assert_eq!(v4_only.connects, None, "so few");
    }

    #[test]
    fn what_the_kernel_does_not_say_is_absent_and_nonsense_an_error() {
        let without_snmp = [("sockstat", SOCKSTAT), ("sockstat6", SOCKSTAT6)];
        assert_eq!(read(&without_snmp).unwrap(), None);
        assert_eq!(read(&[("snmp", SNMP)]).unwrap(), None);
        assert!(read(&[("snmp", SNMP), ("sockstat", "TCP: inuse x\n")]).is_err());
    }
}
