//! A kernel to test against: sockets as it puts them on the wire, and a wire
//! that is as awkward as the real one.
#![allow(dead_code, reason = "each test takes what it needs of it")]

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;

use sockdiag_exporter::count::Scratch;
use sockdiag_exporter::count::policy::PortPolicy;
use sockdiag_exporter::kernel::netlink::dump::DATAGRAM_BYTES;
use sockdiag_exporter::kernel::netlink::transport::Transport;
use sockdiag_exporter::kernel::procfs::Procfs;
use sockdiag_exporter::kernel::sock_diag::{SockDiag, SocketRecord};
use sockdiag_exporter::model::ports::PortRange;
use sockdiag_exporter::model::socket::Socket;
use sockdiag_exporter::model::state::State;
use sockdiag_exporter::subjects::limits::{Floor, SubjectLimits};
use sockdiag_exporter::survey::surveyor::{SurveyLimits, Surveyor};

pub const AF_INET: u8 = 2;
pub const AF_INET6: u8 = 10;
pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;
pub const TCPDIAG_GETSOCK: u16 = 18;
pub const SOCK_DIAG_BY_FAMILY: u16 = 20;
const IPPROTO_UDP: u8 = 17;
const LISTEN_ONLY: u32 = 1 << 10;

/// A socket, as `struct inet_diag_msg` and the attributes behind it.
#[derive(Clone, Debug)]
pub struct Sock {
    pub family: u8,
    pub state: u8,
    pub timer: u8,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub interface: u32,
    pub expires_ms: u32,
    pub queues: (u32, u32),
    pub attributes: Vec<u8>,
}

/// A socket of the family of its local address.
pub fn sock(state: State, local: &str, remote: &str) -> Sock {
    ends(state, local.parse().unwrap(), remote.parse().unwrap())
}

pub fn ends(state: State, local: SocketAddr, remote: SocketAddr) -> Sock {
    let number = match state {
        State::Unknown => 200,
        known => known.index() as u8 + 1,
    };
    Sock {
        family: if local.is_ipv4() { AF_INET } else { AF_INET6 },
        state: number,
        timer: 0,
        local,
        remote,
        interface: 0,
        expires_ms: 0,
        queues: (0, 0),
        attributes: Vec::new(),
    }
}

/// A socket without a peer, listening or merely bound.
pub fn bound(state: State, local: &str) -> Sock {
    let local: SocketAddr = local.parse().unwrap();
    let nobody = if local.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    };
    ends(state, local, nobody.parse().unwrap())
}

/// A TIME_WAIT socket that has so many milliseconds to go.
pub fn time_wait(local: &str, remote: &str, remaining_ms: u32) -> Sock {
    sock(State::TimeWait, local, remote).expires(remaining_ms)
}

impl Sock {
    /// The timer of TIME_WAIT, with so many milliseconds to go.
    pub fn expires(self, remaining_ms: u32) -> Self {
        Self {
            timer: 3,
            expires_ms: remaining_ms,
            ..self
        }
    }

    /// The same ends on an AF_INET6 socket: v4-mapped addresses.
    pub fn mapped(self) -> Self {
        Self {
            family: AF_INET6,
            ..self
        }
    }

    pub fn queues(self, receive: u32, send: u32) -> Self {
        Self {
            queues: (receive, send),
            ..self
        }
    }

    pub fn device(self, interface: u32) -> Self {
        Self { interface, ..self }
    }

    pub fn with(mut self, kind: u16, value: &[u8]) -> Self {
        self.attributes.extend(attribute(kind, value));
        self
    }

    /// INET_DIAG_CGROUP_ID.
    pub fn cgroup(self, id: u64) -> Self {
        self.with(21, &id.to_ne_bytes())
    }

    /// INET_DIAG_SKV6ONLY.
    pub fn v6_only(self, only: bool) -> Self {
        self.with(11, &[only.into()])
    }

    /// The payload of its message.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.family, self.state, self.timer, 0];
        bytes.extend(self.local.port().to_be_bytes());
        bytes.extend(self.remote.port().to_be_bytes());
        bytes.extend(self.octets(self.local.ip()));
        bytes.extend(self.octets(self.remote.ip()));
        bytes.extend(self.interface.to_ne_bytes());
        bytes.extend([0xab; 8]); // cookie
        bytes.extend(self.expires_ms.to_ne_bytes());
        bytes.extend(self.queues.0.to_ne_bytes());
        bytes.extend(self.queues.1.to_ne_bytes());
        bytes.extend(1000_u32.to_ne_bytes()); // uid
        bytes.extend(4242_u32.to_ne_bytes()); // inode
        bytes.extend(&self.attributes);
        bytes
    }

    /// What is read of it.
    pub fn socket(&self) -> Socket {
        SocketRecord::parse(&self.bytes()).unwrap().socket()
    }

    fn octets(&self, address: IpAddr) -> [u8; 16] {
        match address {
            IpAddr::V6(address) => address.octets(),
            // The kernel dumps the remote end of an unconnected one as `::`.
            IpAddr::V4(address) if self.family == AF_INET6 && !address.is_unspecified() => {
                address.to_ipv6_mapped().octets()
            }
            IpAddr::V4(address) => {
                let mut octets = [0; 16];
                octets[..4].copy_from_slice(&address.octets());
                octets
            }
        }
    }
}

/// One netlink attribute, padded.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = 4 + value.len();
    let mut bytes = (length as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// One netlink message, padded.
pub fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = 16 + payload.len();
    let mut bytes = (length as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(77_u32.to_ne_bytes()); // port id
    bytes.extend(payload);
    bytes.resize(length.next_multiple_of(4), 0);
    bytes
}

/// A request as it arrived at the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub payload: Vec<u8>,
}

/// What a request wants; the family where it names one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wants {
    Listeners(Option<u8>),
    Sockets(Option<u8>),
    Udp(u8),
}

impl Asked {
    pub fn parse(request: &[u8]) -> Self {
        let half = |at: usize| u16::from_ne_bytes([request[at], request[at + 1]]);
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        assert_eq!(word(0) as usize, request.len());
        Self {
            kind: half(4),
            flags: half(6),
            sequence: word(8),
            payload: request[16..].to_vec(),
        }
    }

    pub fn wants(&self) -> Wants {
        let states = |at: usize| u32::from_ne_bytes(self.payload[at..at + 4].try_into().unwrap());
        let (family, states) = match self.kind {
            TCPDIAG_GETSOCK => (None, states(52)),
            SOCK_DIAG_BY_FAMILY if self.payload[1] == IPPROTO_UDP => {
                return Wants::Udp(self.payload[0]);
            }
            SOCK_DIAG_BY_FAMILY => (Some(self.payload[0]), states(4)),
            other => panic!("request of type {other}"),
        };
        if states == LISTEN_ONLY {
            Wants::Listeners(family)
        } else {
            Wants::Sockets(family)
        }
    }

    pub fn record(&self, payload: &[u8]) -> Vec<u8> {
        message(SOCK_DIAG_BY_FAMILY, 2, self.sequence, payload)
    }

    /// The last message of a dump, with an errno (0 for none).
    pub fn done(&self, errno: i32) -> Vec<u8> {
        message(NLMSG_DONE, 2, self.sequence, &(-errno).to_ne_bytes())
    }

    /// A refusal: errno, and the header of the request.
    pub fn error(&self, errno: i32) -> Vec<u8> {
        let mut payload = (-errno).to_ne_bytes().to_vec();
        payload.extend([0; 16]);
        message(NLMSG_ERROR, 0, self.sequence, &payload)
    }

    pub fn refused(&self, errno: i32) -> Vec<Event> {
        vec![Event::Datagram(self.error(errno))]
    }

    /// A whole dump, in datagrams of the kernel's size.
    pub fn dump<'s>(&self, socks: impl IntoIterator<Item = &'s Sock>) -> Vec<Event> {
        let mut datagrams = vec![Vec::new()];
        for sock in socks {
            let record = self.record(&sock.bytes());
            if datagrams.last().unwrap().len() + record.len() > DATAGRAM_BYTES {
                datagrams.push(Vec::new());
            }
            datagrams.last_mut().unwrap().extend(record);
        }
        datagrams.retain(|datagram| !datagram.is_empty());
        datagrams.push(self.done(0));
        datagrams.into_iter().map(Event::Datagram).collect()
    }
}

/// What comes of one receive.
#[derive(Clone, Debug)]
pub enum Event {
    Datagram(Vec<u8>),
    Errno(i32),
}

type Answer = Box<dyn FnMut(&Asked) -> Vec<Event> + Send>;

/// Answers requests by a script. Where the script has nothing to say, a receive
/// is told EAGAIN.
#[derive(Clone)]
pub struct Kernel(Arc<Mutex<Inner>>);

struct Inner {
    answer: Answer,
    asked: Vec<Asked>,
    opened: usize,
}

impl Kernel {
    pub fn new(answer: impl FnMut(&Asked) -> Vec<Event> + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            answer: Box::new(answer),
            asked: Vec::new(),
            opened: 0,
        })))
    }

    /// A host with these sockets, and without type 18 when it is a new one.
    pub fn host(tcp: Vec<Sock>, udp: Vec<Sock>) -> Self {
        let of = |family: Option<u8>, sock: &Sock| family.is_none_or(|f| f == sock.family);
        let listens = |sock: &Sock| sock.state == 10;
        Self::new(move |asked| match asked.wants() {
            Wants::Listeners(family) => {
                asked.dump(tcp.iter().filter(|s| of(family, s) && listens(s)))
            }
            Wants::Sockets(family) => {
                let all = || tcp.iter().filter(|s| of(family, s) && !listens(s));
                // Bound-only sockets come first, as net/ipv4/inet_diag.c has it.
                asked.dump(
                    all()
                        .filter(|s| s.state == 7)
                        .chain(all().filter(|s| s.state != 7)),
                )
            }
            Wants::Udp(family) => asked.dump(udp.iter().filter(|s| s.family == family)),
        })
    }

    /// What it says to a request.
    pub fn answer(&self, asked: &Asked) -> Vec<Event> {
        (self.0.lock().unwrap().answer)(asked)
    }

    /// Another script from now on.
    pub fn becomes(&self, answer: impl FnMut(&Asked) -> Vec<Event> + Send + 'static) {
        self.0.lock().unwrap().answer = Box::new(answer);
    }

    pub fn open(&self) -> FakeTransport {
        self.0.lock().unwrap().opened += 1;
        FakeTransport {
            kernel: self.clone(),
            queued: VecDeque::new(),
        }
    }

    pub fn sock_diag(&self) -> SockDiag<FakeTransport> {
        let kernel = self.clone();
        SockDiag::with(move || Ok(kernel.open()))
    }

    /// Every request so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.0.lock().unwrap().asked.clone()
    }

    /// How many sockets were opened.
    pub fn opened(&self) -> usize {
        self.0.lock().unwrap().opened
    }
}

/// One socket to that kernel; what was not received stays queued on it.
pub struct FakeTransport {
    kernel: Kernel,
    queued: VecDeque<Event>,
}

impl Transport for FakeTransport {
    fn send(&mut self, request: &[u8]) -> io::Result<()> {
        let asked = Asked::parse(request);
        let mut inner = self.kernel.0.lock().unwrap();
        self.queued.extend((inner.answer)(&asked));
        inner.asked.push(asked);
        Ok(())
    }

    /// Like recv(2) with MSG_TRUNC: what does not fit is gone, and its length told.
    fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        assert!(buffer.is_empty(), "stale bytes are within reach");
        match self.queued.pop_front() {
            Some(Event::Datagram(datagram)) => {
                let fits = datagram.len().min(buffer.capacity());
                buffer.extend(&datagram[..fits]);
                Ok(datagram.len())
            }
            Some(Event::Errno(errno)) => Err(io::Error::from_raw_os_error(errno)),
            None => Err(io::Error::from_raw_os_error(libc::EAGAIN)),
        }
    }
}

/// A directory with these files, as a root of procfs.
pub fn proc_tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

/// So many keys of each kind, all else as by default.
pub fn limits(each: usize) -> SubjectLimits {
    SubjectLimits {
        peers: each,
        destinations: each,
        sources: each,
        local_ports: each,
        cgroups: each.min(5),
        floor: Floor::NONE,
        always: Vec::new(),
        peak_window: Duration::from_secs(60),
    }
}

/// Reads this kernel and the files below `root`, within the default limits.
pub fn surveyor(kernel: &Kernel, root: impl Into<PathBuf>) -> Surveyor<FakeTransport> {
    let limits = SurveyLimits {
        subjects: limits(20),
        others: limits(5),
        tracked_keys: 400_000,
        dump_timeout: Duration::from_secs(60),
    };
    Surveyor::new(limits, Procfs::new(root), kernel.sock_diag())
}

/// Counts a dump of these sockets, in the kernel's order: listeners, bound-only
/// ones, the rest.
pub fn count(scratch: &mut Scratch, policy: &PortPolicy, socks: &[Sock], watched: &[u16]) {
    let Scratch { listeners, tcp, .. } = scratch;
    listeners.clear();
    for sock in socks.iter().filter(|sock| sock.state == 10) {
        listeners.add(&sock.socket());
    }
    tcp.begin(policy, listeners, watched, None);
    for is_bound in [true, false] {
        let part = socks
            .iter()
            .filter(|s| s.state != 10 && (s.state == 7) == is_bound);
        for sock in part {
            tcp.add(&sock.socket(), listeners);
        }
    }
    tcp.finish();
}

/// A range of which nothing is reserved, and no TIME_WAIT can be taken over.
pub fn policy(first: u16, last: u16) -> PortPolicy {
    let range = PortRange { first, last };
    PortPolicy {
        range,
        effective: range.into(),
        ..PortPolicy::default()
    }
}

/// Sockets of a small world, so that keys, ports and addresses meet often:
/// every state, family, kind of listener, and a range of 40000 to 40019.
pub fn any_socks() -> impl Strategy<Value = Vec<Sock>> {
    let local = prop::sample::select(vec!["10.0.0.1", "10.0.0.2", "127.0.0.1", "::1", "fd00::1"]);
    let remote = prop::sample::select(vec!["10.0.0.9", "127.0.0.1", "fd00::9", "fd00::8"]);
    let port = prop_oneof![
        40_000_u16..40_020,
        prop::sample::select(vec![22_u16, 80, 8080, 50_000])
    ];
    let state = prop::sample::select(State::ALL.to_vec());
    let extras = (0_u32..3, 0_u32..60_000, any::<bool>(), 0_u32..9);
    let one = (state, local, remote, port, 80_u16..83, extras).prop_map(
        |(state, local, remote, port, service, (device, remaining, flag, queue))| {
            let local: IpAddr = local.parse().unwrap();
            let mut remote: IpAddr = remote.parse().unwrap();
            if local.is_ipv4() != remote.is_ipv4() {
                remote = local;
            }
            let nowhere = |of: IpAddr| if of.is_ipv4() { "0.0.0.0" } else { "::" }.parse().unwrap();
            let sock = match state {
                State::Listen | State::Close => {
                    let local = if queue < 4 { nowhere(local) } else { local };
                    let sock = ends(state, (local, port).into(), (nowhere(local), 0).into());
                    let of_v6 = local.is_ipv6() && local.is_unspecified();
                    let sock = sock.queues(queue, 8);
                    if of_v6 { sock.v6_only(flag) } else { sock }
                }
                _ => ends(state, (local, port).into(), (remote, service).into()),
            };
            let sock = if state == State::TimeWait || (state == State::FinWait2 && flag) {
                sock.expires(remaining)
            } else {
                sock
            };
            let specific = !sock.local.ip().is_unspecified() && local.is_ipv4();
            let sock = if flag && specific {
                sock.mapped()
            } else {
                sock
            };
            sock.device(device)
        },
    );
    prop::collection::vec(one, 0..80)
}
