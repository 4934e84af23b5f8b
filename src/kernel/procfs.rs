//! Files under /proc, read beneath a root that is a parameter, and pure parsers
//! of what stands in them.
//!
//! `sys/net/…` follows the network namespace of the calling thread;
//! `/proc/net` is the main thread's, so `thread-self/net/…` is read instead.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::model::ports::PortRange;

/// Room for the first read, and for others if that was not enough. The kernel
/// gives a list of ports to the first read alone and cuts it off where the buffer
/// ends (`proc_do_large_bitmap`, kernel/sysctl.c); the longest, every second port
/// of all, has 196,608 bytes. A file beyond the last says something else than it
/// should.
const READS: [usize; 3] = [4 << 10, 256 << 10, 1 << 20];

/// Why a file gave no value.
#[derive(Debug, thiserror::Error)]
pub enum ProcError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{} does not hold {expected}", path.display())]
    Garbled {
        path: PathBuf,
        expected: &'static str,
    },
}

impl ProcError {
    /// A word for the `reason` label of the error counter.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Read { .. } => "unreadable",
            Self::Garbled { .. } => "garbled",
        }
    }
}

/// The files below one root, `/proc` unless configured otherwise.
#[derive(Clone, Debug)]
pub struct Procfs {
    root: PathBuf,
}

impl Procfs {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Reads and parses one file. `Ok(None)` when there is no such file: the
    /// kernel does not offer it.
    ///
    /// # Errors
    /// When the file is there and cannot be read or does not hold `expected`.
    pub fn value<T>(
        &self,
        path: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ProcError> {
        let path = self.root.join(path);
        let bytes = match read_bounded(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(ProcError::Read { path, source }),
        };
        match std::str::from_utf8(&bytes).ok().and_then(parse) {
            Some(value) => Ok(Some(value)),
            None => Err(ProcError::Garbled { path, expected }),
        }
    }

    /// A file with one whole number.
    ///
    /// # Errors
    /// As [`Self::value`].
    pub fn number(&self, path: &str) -> Result<Option<u64>, ProcError> {
        self.value(path, "a number", parse_number)
    }

    /// Like [`Self::value`] for a file that every kernel has.
    ///
    /// # Errors
    /// As [`Self::value`], and when the file is missing.
    pub fn required<T>(
        &self,
        path: &str,
        expected: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<T, ProcError> {
        self.value(path, expected, parse)?
            .ok_or_else(|| ProcError::Read {
                path: self.root.join(path),
                source: io::Error::from_raw_os_error(libc::ENOENT),
            })
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    for room in READS {
        let mut file = std::fs::File::open(path)?;
        let mut bytes = vec![0; room];
        let filled = file.read(&mut bytes)?;
        if filled == room {
            continue;
        }
        bytes.truncate(filled);
        let most = READS[READS.len() - 1] - filled;
        file.take(most as u64).read_to_end(&mut bytes)?;
        if bytes.len() < READS[READS.len() - 1] {
            return Ok(bytes);
        }
    }
    Err(io::Error::other("larger than any file of this kind"))
}

pub fn parse_number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// Two inclusive ports, lowest first: `32768\t60999\n`.
pub fn parse_port_range(text: &str) -> Option<PortRange> {
    let mut ports = text.split_ascii_whitespace().map(str::parse);
    let (first, last) = (ports.next()?.ok()?, ports.next()?.ok()?);
    (first <= last && ports.next().is_none()).then_some(PortRange { first, last })
}

/// Ports and ranges of them, separated by commas: `8080,40050-40069\n`. None
/// reserved is an empty line.
pub fn parse_port_list(text: &str) -> Option<Vec<PortRange>> {
    let text = text.trim();
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.split(',')
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.parse().ok()?, last.parse().ok()?);
            (first <= last).then_some(PortRange { first, last })
        })
        .collect()
}

/// Three numbers of pages: `tcp_mem`.
pub fn parse_three(text: &str) -> Option<[u64; 3]> {
    let numbers = text.split_ascii_whitespace().map(|word| word.parse().ok());
    numbers.collect::<Option<Vec<_>>>()?.try_into().ok()
}

/// `net/sockstat`: lines of a name and pairs of word and number,
/// `TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 1`. Gives one pair's number.
pub fn parse_sockstat(text: &str, line: &str, word: &str) -> Option<u64> {
    let rest = text
        .lines()
        .find_map(|l| l.strip_prefix(line)?.strip_prefix(':'))?;
    let mut words = rest.split_ascii_whitespace();
    words.find(|&w| w == word)?;
    words.next()?.parse().ok()
}

/// `net/snmp` and `net/netstat`: for each protocol a line of names and a line of
/// as many numbers, both starting with `Protocol:`. Hands out protocol, name and
/// number of each; `None` when the lines do not match.
pub fn parse_counters(text: &str, mut each: impl FnMut(&str, &str, i64)) -> Option<()> {
    let mut lines = text.lines();
    while let Some(names) = lines.next() {
        let (protocol, names) = names.split_once(':')?;
        let (same, numbers) = lines.next()?.split_once(':')?;
        let mut names = names.split_ascii_whitespace();
        let mut numbers = numbers.split_ascii_whitespace();
        if same != protocol {
            return None;
        }
        loop {
            match (names.next(), numbers.next()) {
                (Some(name), Some(number)) => each(protocol, name, number.parse().ok()?),
                (None, None) => break,
                _ => return None,
            }
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_two_ports_in_order() {
        let range = PortRange {
            first: 32768,
            last: 60999,
        };
        assert_eq!(parse_port_range("32768\t60999\n"), Some(range));
        assert_eq!(
            PortRange {
                first: 0,
                last: 65535
            }
            .size(),
            65_536
        );
        for bad in ["", "1", "2 1", "1 2 3", "1 65536", "-1 5", "a b"] {
            assert_eq!(parse_port_range(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn reserved_ports_come_as_a_list_with_gaps() {
        let range = |first, last| PortRange { first, last };
        assert_eq!(parse_port_list("\n"), Some(vec![]));
        assert_eq!(
            parse_port_list("8080,40050-40069\n"),
            Some(vec![range(8080, 8080), range(40050, 40069)])
        );
        for bad in ["1,,2", "5-4", "1-2-3", "70000", "x"] {
            assert_eq!(parse_port_list(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn sockstat_pairs_are_found_by_line_and_word() {
        let text =
            "sockets: used 9\nTCP: inuse 5 orphan 2 tw 0 alloc 7 mem 3\nUDP: inuse 1 mem 8\n";
        assert_eq!(parse_sockstat(text, "TCP", "orphan"), Some(2));
        assert_eq!(parse_sockstat(text, "UDP", "mem"), Some(8));
        assert_eq!(parse_sockstat(text, "TCP", "nothing"), None);
        assert_eq!(parse_sockstat(text, "TC", "mem"), None);
    }

    #[test]
    fn counters_are_pairs_of_lines() {
        let read = |text: &str| {
            let mut counters = Vec::new();
            let each = |protocol: &str, name: &str, count| {
                counters.push((protocol.to_owned(), name.to_owned(), count));
            };
            parse_counters(text, each).map(|()| counters)
        };
        let text = "Tcp: MaxConn ActiveOpens\nTcp: -1 7\nTcpExt: A\nTcpExt: 3\n";
        let expected = [
            ("Tcp", "MaxConn", -1),
            ("Tcp", "ActiveOpens", 7),
            ("TcpExt", "A", 3),
        ];
        let expected =
            expected.map(|(protocol, name, count)| (protocol.to_owned(), name.to_owned(), count));
        assert_eq!(read(text).unwrap(), expected);
        for bad in [
            "Tcp: A B\nTcp: 1\n",
            "Tcp: A\nTcp: 1 2\n",
            "Tcp: A\nUdp: 1\n",
            "Tcp: A\n",
            "Tcp: A\nTcp: x\n",
        ] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_missing_file_is_absent_and_a_garbled_one_an_error() {
        let root = tempfile::tempdir().unwrap();
        let procfs = Procfs::new(root.path());
        assert!(matches!(procfs.number("count"), Ok(None)));
        std::fs::write(root.path().join("count"), "12\n").unwrap();
        assert_eq!(procfs.number("count").unwrap(), Some(12));
        std::fs::write(root.path().join("count"), "twelve").unwrap();
        let error = procfs.number("count").unwrap_err();
        assert!(
            error.to_string().ends_with("count does not hold a number"),
            "{error}"
        );
        assert!(matches!(
            procfs.required("gone", "a number", parse_number),
            Err(ProcError::Read { .. })
        ));
    }

    #[test]
    fn a_file_without_end_is_refused() {
        assert!(read_bounded(Path::new("/dev/zero")).is_err());
    }
}
