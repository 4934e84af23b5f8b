//! Makes a namespace of its own with up to millions of TCP sockets in it and
//! holds them, for measuring what it costs to read them.
//!
//! `TCP_REPAIR` (kernel: tcp(7), CRIU) turns `connect` into bookkeeping: the
//! socket is ESTABLISHED at once, without a packet and without a peer. The
//! kernel chooses the local ports itself, as for any other `connect`.
//!
//! ```text
//! $ socket_farm --sockets 1000000 --peers 2000
//! ready 4711 sockets=1000000 time_wait=0 listeners=0
//! # nsenter --target 4711 --net ss -s
//! ```

use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// The service every peer offers.
const PEER_PORT: u16 = 443;
/// Listeners take ports from here up, below the default ephemeral range.
const FIRST_LISTENER_PORT: u16 = 10_000;
/// A process may have 20,000 files open on many hosts; some are not sockets.
const SOCKETS_PER_WORKER: u32 = 19_900;
/// `connect` takes the 14,116 even ports of the default range first, and then
/// looks at all of them again for every odd one.
const SOCKETS_PER_ADDRESS_PAIR: u32 = 14_000;

#[derive(Parser)]
#[command(about = "Hold many TCP sockets in a network namespace of their own")]
struct Farm {
    /// ESTABLISHED sockets
    #[arg(long, default_value_t = 100_000)]
    sockets: u32,
    /// Distinct remote addresses, at most 2^24 - 1
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..1 << 24))]
    peers: u32,
    /// Part of the peers that is IPv6, 0 to 1
    #[arg(long, default_value_t = 0.0)]
    ipv6_share: f64,
    /// Connections to loopback peers that were closed by the client; they last 60 s
    #[arg(long, default_value_t = 0)]
    time_wait: u32,
    /// Listening sockets, each on a port of its own
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=20_000))]
    listeners: u32,
    /// Local addresses of each family; as many as the ports ask for if not given
    #[arg(long)]
    local_addresses: Option<u32>,
    /// Hold until a signal comes, whatever becomes of stdin
    #[arg(long)]
    hold: bool,
    /// Set once this process sits in its own namespace
    #[arg(long, hide = true)]
    inside: bool,
    /// Makes only the sockets from this one on, as a worker of another farm
    #[arg(long, hide = true)]
    worker: Option<u32>,
}

fn main() -> Result<()> {
    let farm = Farm::parse();
    if !farm.inside {
        return enter_own_namespace();
    }
    match farm.worker {
        Some(first) => farm.work(first),
        None => farm.run(),
    }
}

/// Replaces this process, which keeps its id, by one in a new namespace.
/// Without root the namespace needs a user namespace around it.
fn enter_own_namespace() -> Result<()> {
    let mut unshare = Command::new("unshare");
    unshare.arg("--net");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.arg(env::current_exe()?).arg("--inside");
    Err(unshare.args(env::args_os().skip(1)).exec()).context("cannot run unshare")
}

impl Farm {
    fn run(&self) -> Result<()> {
        self.configure_addresses()?;
        let workers = self.start_workers()?;
        let listeners = self.listen()?;
        self.leave_time_wait()?;

        let pid = std::process::id();
        let (sockets, time_wait) = (self.sockets, count_time_wait()?);
        println!(
            "ready {pid} sockets={sockets} time_wait={time_wait} listeners={}",
            listeners.len()
        );
        if self.hold {
            loop {
                std::thread::park();
            }
        }
        wait_for_end_of_stdin()?;
        stop(workers)
    }

    /// Peers are routed to the loopback device; nothing is ever sent to them.
    fn configure_addresses(&self) -> Result<()> {
        let mut commands = String::from("link set lo up\nroute add 10.0.0.0/8 dev lo\n");
        if self.ipv6_share > 0.0 {
            commands.push_str("route add fd00:2::/64 dev lo\n");
        }
        for local in 0..self.local_addresses() {
            commands.push_str(&format!(
                "address add {}/32 dev lo\n",
                local_address(local, false)
            ));
            if self.ipv6_share > 0.0 {
                commands.push_str(&format!(
                    "address add {}/128 dev lo\n",
                    local_address(local, true)
                ));
            }
        }
        let mut ip = Command::new("ip")
            .args(["-batch", "-"])
            .stdin(Stdio::piped())
            .spawn()
            .context("cannot run ip")?;
        ip.stdin
            .take()
            .context("no pipe to ip")?
            .write_all(commands.as_bytes())?;
        ensure!(ip.wait()?.success(), "ip refused an address");
        Ok(())
    }

    fn local_addresses(&self) -> u32 {
        let per_peer = self.sockets.div_ceil(self.peers);
        self.local_addresses
            .unwrap_or_else(|| per_peer.div_ceil(SOCKETS_PER_ADDRESS_PAIR))
            .max(1)
    }

    fn start_workers(&self) -> Result<Vec<Child>> {
        let mut workers = Vec::new();
        for first in (0..self.sockets).step_by(SOCKETS_PER_WORKER as usize) {
            let mut worker = Command::new(env::current_exe()?);
            worker
                .args(env::args_os().skip(1))
                .args(["--worker", &first.to_string()]);
            workers.push(
                worker
                    .stdin(Stdio::piped())
                    .stdout(Stdio::piped())
                    .spawn()?,
            );
        }
        for worker in &mut workers {
            let mut line = String::new();
            let output = worker.stdout.take().context("no pipe from a worker")?;
            BufReader::new(output).read_line(&mut line)?;
            ensure!(line == "done\n", "a worker failed");
        }
        Ok(workers)
    }

    /// Holds its part of the sockets until the farm goes away.
    fn work(&self, first: u32) -> Result<()> {
        let last = self.sockets.min(first.saturating_add(SOCKETS_PER_WORKER));
        allow_open_files(u64::from(last - first) + 100)?;
        let sockets: Vec<Socket> = (first..last)
            .map(|index| {
                self.establish(index)
                    .with_context(|| format!("socket {index}"))
            })
            .collect::<Result<_>>()?;
        println!("done");
        wait_for_end_of_stdin()?;
        drop(sockets);
        Ok(())
    }

    /// Repair mode is never left: a socket that is closed in it vanishes at
    /// once, even if its process is killed, where any other would linger as an
    /// orphan in FIN_WAIT1. A dump does not show the difference.
    fn establish(&self, index: u32) -> io::Result<Socket> {
        let peer = index % self.peers;
        let local = index / self.peers % self.local_addresses();
        let ipv6 = self.is_ipv6(peer);
        let socket = Socket::new(
            if ipv6 { Domain::IPV6 } else { Domain::IPV4 },
            Type::STREAM,
            None,
        )?;
        enable(&socket, libc::IPPROTO_TCP, libc::TCP_REPAIR)?;
        enable(&socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT)?;
        socket.bind(&SocketAddr::new(local_address(local, ipv6), 0).into())?;
        socket.connect(&SocketAddr::new(peer_address(peer, ipv6), PEER_PORT).into())?;
        Ok(socket)
    }

    /// Spreads the IPv6 peers evenly among the others.
    fn is_ipv6(&self, peer: u32) -> bool {
        let before = |peer: u32| (f64::from(peer) * self.ipv6_share) as u32;
        before(peer + 1) > before(peer)
    }

    fn listen(&self) -> Result<Vec<TcpListener>> {
        allow_open_files(u64::from(self.listeners) + 500)?;
        (0..self.listeners as u16)
            .map(|index| {
                Ok(TcpListener::bind((
                    Ipv4Addr::UNSPECIFIED,
                    FIRST_LISTENER_PORT + index,
                ))?)
            })
            .collect()
    }

    /// TIME_WAIT is left by real connections only: the client closes first.
    fn leave_time_wait(&self) -> Result<()> {
        let limit = "/proc/sys/net/ipv4/tcp_max_tw_buckets";
        let allowed: u32 = fs::read_to_string(limit)?.trim().parse()?;
        if self.time_wait > allowed {
            fs::write(limit, self.time_wait.to_string()).context(limit)?;
        }
        let server = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PEER_PORT))?;
        for index in 0..self.time_wait {
            let peer = Ipv4Addr::from_bits(0x7F40_0001 + index % self.peers.min(1 << 16));
            let client =
                TcpStream::connect((peer, PEER_PORT)).context("connection for TIME_WAIT")?;
            let (mut accepted, _) = server.accept()?;
            drop(client);
            ensure!(accepted.read(&mut [0])? == 0, "the client did not close");
        }
        Ok(())
    }
}

fn local_address(index: u32, ipv6: bool) -> IpAddr {
    address(0xAC10_0001, 0xFD00_0001 << 96, index, ipv6)
}

fn peer_address(index: u32, ipv6: bool) -> IpAddr {
    address(0x0A00_0001, 0xFD00_0002 << 96, index, ipv6)
}

fn address(ipv4_base: u32, ipv6_base: u128, index: u32, ipv6: bool) -> IpAddr {
    if ipv6 {
        Ipv6Addr::from_bits(ipv6_base + 1 + u128::from(index)).into()
    } else {
        Ipv4Addr::from_bits(ipv4_base + index).into()
    }
}

#[allow(unsafe_code, reason = "no crate knows TCP_REPAIR")]
fn enable(socket: &Socket, level: libc::c_int, option: libc::c_int) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads one int from a pointer to one int.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

fn allow_open_files(needed: u64) -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let maximum = limit.maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(needed),
            maximum,
        },
    )
    .with_context(|| format!("{needed} open files are needed, {maximum:?} allowed"))
}

/// What the namespace holds by now: early ones may be gone again.
fn count_time_wait() -> Result<u64> {
    let text = fs::read_to_string("/proc/thread-self/net/sockstat")?;
    let mut words = text.split_ascii_whitespace();
    words
        .find(|word| *word == "tw")
        .context("sockstat has no tw")?;
    Ok(words.next().context("sockstat is cut short")?.parse()?)
}

fn wait_for_end_of_stdin() -> io::Result<()> {
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}

/// Workers end when their stdin does, so a farm that dies takes them along.
fn stop(mut workers: Vec<Child>) -> Result<()> {
    for worker in &mut workers {
        drop(worker.stdin.take());
    }
    for worker in &mut workers {
        ensure!(worker.wait()?.success(), "a worker failed");
    }
    Ok(())
}
