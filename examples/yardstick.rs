//! The barest dump of all TCP sockets: request, receive, walk the headers,
//! count the states. What the kernel itself needs, and the unit in which the
//! benchmarks express every other cost.
//!
//! Kernel: `net/ipv4/inet_diag.c`, `include/uapi/linux/inet_diag.h`.

use std::fmt::Write;
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};
use rustix::time::{ClockId, clock_gettime};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// `TCPDIAG_GETSOCK`: one walk of the table, both families.
const REQUEST_OLD: u16 = 18;
/// `SOCK_DIAG_BY_FAMILY`: one walk for each family.
const REQUEST_BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`
const FLAGS: u16 = 0x301;
const NETLINK_HEADER: usize = 16;
/// `inet_diag_msg` has the family and then the state in its first two bytes.
const STATE_OFFSET: usize = NETLINK_HEADER + 1;
/// The kernel never fills a datagram of a dump beyond this.
const DATAGRAM_BYTES: usize = 32 * 1024;
/// `enum` in `include/net/tcp_states.h`, by number.
const STATES: [&str; 14] = [
    "unknown",
    "established",
    "syn_sent",
    "syn_recv",
    "fin_wait1",
    "fin_wait2",
    "time_wait",
    "close",
    "close_wait",
    "last_ack",
    "listen",
    "closing",
    "new_syn_recv",
    "bound_inactive",
];

#[derive(Parser)]
#[command(about = "Dump all TCP sockets as barely as can be, and say what it cost")]
struct Yardstick {
    /// Netlink request: 18 walks once for both families, 20 once for each
    #[arg(long, default_value_t = REQUEST_OLD, value_parser = clap::value_parser!(u16).range(18..=20))]
    request: u16,
    /// Mask of the states asked for; with bit 13 the kernel also walks the table
    /// of bound sockets
    #[arg(long, default_value = "ffffdfff", value_parser = |mask: &str| u32::from_str_radix(mask, 16))]
    states: u32,
    /// How many times
    #[arg(long, default_value_t = 1)]
    repeat: u64,
}

fn main() -> Result<()> {
    let arguments = Yardstick::parse();
    let requests: Vec<Vec<u8>> = match arguments.request {
        REQUEST_OLD => vec![request_old(arguments.states)],
        REQUEST_BY_FAMILY => [libc::AF_INET, libc::AF_INET6]
            .map(|family| request_by_family(family as u8, arguments.states))
            .into(),
        other => bail!("request {other} is neither 18 nor 20"),
    };
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    for round in 1..=arguments.repeat {
        println!("round={round} {}", measure(&socket, &requests)?);
    }
    Ok(())
}

fn measure(socket: &Socket, requests: &[Vec<u8>]) -> Result<String> {
    let mut tally = Tally {
        states: [0; 256],
        bytes: 0,
        receives: 0,
    };
    let (wall, cpu) = (Instant::now(), thread_cpu_time());
    for request in requests {
        socket.send(request, 0)?;
        tally.receive_dump(socket)?;
    }
    Ok(tally.describe(wall.elapsed(), thread_cpu_time() - cpu))
}

struct Tally {
    states: [u64; 256],
    bytes: usize,
    receives: u64,
}

impl Tally {
    fn receive_dump(&mut self, socket: &Socket) -> Result<()> {
        let mut buffer = Vec::with_capacity(DATAGRAM_BYTES);
        loop {
            buffer.clear();
            let length = socket.recv(&mut buffer, libc::MSG_TRUNC)?;
            ensure!(
                length <= buffer.len(),
                "a datagram of {length} bytes was cut"
            );
            self.bytes += length;
            self.receives += 1;
            if self.walk(&buffer)? {
                return Ok(());
            }
        }
    }

    /// Whether the dump is complete.
    fn walk(&mut self, datagram: &[u8]) -> Result<bool> {
        let mut rest = datagram;
        while let Some((header, _)) = rest.split_first_chunk::<NETLINK_HEADER>() {
            let [l0, l1, l2, l3, k0, k1, ..] = *header;
            let length = u32::from_ne_bytes([l0, l1, l2, l3]) as usize;
            match u16::from_ne_bytes([k0, k1]) {
                NLMSG_DONE | NLMSG_ERROR => {
                    let errno = rest.get(NETLINK_HEADER..).and_then(<[u8]>::first_chunk);
                    return match i32::from_ne_bytes(*errno.context("ending without a number")?) {
                        0.. => Ok(true),
                        errno => Err(io::Error::from_raw_os_error(-errno)).context("dump refused"),
                    };
                }
                _ => {
                    let state = *rest.get(STATE_OFFSET).context("record cut short")?;
                    self.states[usize::from(state)] += 1;
                }
            }
            rest = rest
                .get(length.next_multiple_of(4).max(NETLINK_HEADER)..)
                .unwrap_or_default();
        }
        Ok(false)
    }

    fn describe(&self, wall: Duration, cpu: Duration) -> String {
        let mut line = format!(
            "sockets={} wall={:.6} cpu={:.6} bytes={} receives={}",
            self.states.iter().sum::<u64>(),
            wall.as_secs_f64(),
            cpu.as_secs_f64(),
            self.bytes,
            self.receives
        );
        for (state, count) in self
            .states
            .iter()
            .enumerate()
            .filter(|(_, count)| **count > 0)
        {
            let name = STATES.get(state).unwrap_or(&STATES[0]);
            // Writing to a String cannot fail.
            let _ = write!(line, " {name}={count}");
        }
        line
    }
}

/// User and system time of this thread: a dump runs inside its `recv`.
fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// `inet_diag_req`: family, prefix lengths, extensions, socket id, states, dbs.
fn request_old(states: u32) -> Vec<u8> {
    let mut body = [0; 60];
    body[52..56].copy_from_slice(&states.to_ne_bytes());
    message(REQUEST_OLD, &body)
}

/// `inet_diag_req_v2`: family, protocol, extensions, padding, states, socket id.
fn request_by_family(family: u8, states: u32) -> Vec<u8> {
    let mut body = [0; 56];
    body[0] = family;
    body[1] = libc::IPPROTO_TCP as u8;
    body[4..8].copy_from_slice(&states.to_ne_bytes());
    message(REQUEST_BY_FAMILY, &body)
}

fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let length = (NETLINK_HEADER + body.len()) as u32;
    let mut message = Vec::with_capacity(length as usize);
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(FLAGS.to_ne_bytes());
    // Sequence and port: one dump at a time needs neither.
    message.extend([0; 8]);
    message.extend(body);
    message
}
