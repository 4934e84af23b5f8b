//! What the running kernel offers, found out by trying it: distributions take changes
//! into older kernels, so that a release does not tell.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::Serialize;
use socket2::Socket;

use super::netlink::dump::Deadline;
use super::port_probe;
use super::procfs::{Procfs, parse_port_range};
use super::sock_diag::{Dump, SockDiag, SocketRecord};

/// A host with a million sockets answers each question within a tenth of this.
const TIMEOUT: Duration = Duration::from_secs(1);

/// What this kernel has; `false` also where that could not be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct KernelFeatures {
    /// Sockets that are bound, neither connected nor listening, are dumped (6.8,
    /// 91051f003948).
    pub bound_only_sockets: bool,
    /// The kernel can be asked whose a port is (6.3, 91d0b78c5177).
    pub port_probe: bool,
    /// connect() gets a port back when the sockets of bind() on it have gone (6.18 and
    /// some stable trees, d57f4b874946); before, when all its sockets have.
    pub port_freed_after_bind: bool,
    /// tcp_tw_reuse_delay says how old TIME_WAIT must be to be taken over (6.14).
    pub time_wait_reuse_delay: bool,
    /// Sockets are dumped with their options (INET_DIAG_SOCKOPT, 5.10).
    pub socket_options: bool,
    /// Sockets are dumped with their cgroup (INET_DIAG_CGROUP_ID, 5.9).
    pub cgroup_id: bool,
}

impl KernelFeatures {
    /// Of a kernel that has all of them.
    pub const ALL: Self = Self {
        bound_only_sockets: true,
        port_probe: true,
        port_freed_after_bind: true,
        time_wait_reuse_delay: true,
        socket_options: true,
        cgroup_id: true,
    };

    /// Tries them in the calling thread's network namespace, with three sockets on
    /// loopback that live for a moment; the ports only when they may be probed.
    pub fn probe(with_ports: bool) -> Self {
        let (socket_options, cgroup_id) = listener_attributes().unwrap_or_default();
        let port_probe = with_ports && can_ask().unwrap_or_default();
        let freed = port_probe.then(|| port_probe::is_freed_after_bind().ok());
        Self {
            bound_only_sockets: sees_bound_only().unwrap_or_default(),
            port_probe,
            // No port may be free to try it with, or it cannot be asked about.
            port_freed_after_bind: freed.flatten().unwrap_or(release() >= Some((6, 18))),
            time_wait_reuse_delay: Path::new("/proc/sys/net/ipv4/tcp_tw_reuse_delay").exists(),
            socket_options,
            cgroup_id,
        }
    }

    /// Name, as in the label `feature`, and whether this kernel has it.
    pub fn each(&self) -> [(&'static str, bool); 6] {
        [
            ("bound_only_sockets", self.bound_only_sockets),
            ("port_probe", self.port_probe),
            ("port_freed_after_bind", self.port_freed_after_bind),
            ("time_wait_reuse_delay", self.time_wait_reuse_delay),
            ("socket_options", self.socket_options),
            ("cgroup_id", self.cgroup_id),
        ]
    }
}

/// A bound socket and its port, also where the ephemeral ports are exhausted.
fn bound_anywhere() -> Option<(Socket, u16)> {
    let outside = 1024..1088;
    std::iter::once(0)
        .chain(outside)
        .find_map(|port| port_probe::bound(port).ok())
}

/// Whether the kernel answers at all, whatever it says of the first port of the range.
fn can_ask() -> Option<bool> {
    let range = Procfs::new("/proc").value(
        "sys/net/ipv4/ip_local_port_range",
        "two ports",
        parse_port_range,
    );
    Some(port_probe::connect_can_have(&[range.ok()??.first]).is_ok())
}

/// Major and minor number of the running kernel.
fn release() -> Option<(u32, u32)> {
    let system = rustix::system::uname();
    let release = system.release().to_str().ok()?;
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

fn sees_bound_only() -> Option<bool> {
    let (_socket, port) = bound_anywhere()?;
    let mut seen = false;
    each(Dump::TcpBoundOnly, |record| {
        seen |= record.local_port() == port
    })?;
    Some(seen)
}

/// Whether a listener is dumped with its options, and with its cgroup.
fn listener_attributes() -> Option<(bool, bool)> {
    let (socket, port) = bound_anywhere()?;
    socket.listen(1).ok()?;
    let mut found = (false, false);
    each(Dump::TcpListeners, |record| {
        if record.local_port() == port {
            found = (record.has_options(), record.cgroup_id().is_some());
        }
    })?;
    Some(found)
}

/// `None` when the dump is not whole: why, nobody needs to know.
fn each(what: Dump, mut each: impl FnMut(SocketRecord<'_>)) -> Option<()> {
    let deadline = Deadline {
        timeout: TIMEOUT,
        stop: &AtomicBool::new(false),
    };
    let dumped = SockDiag::default().dump_records(what, deadline, &mut each);
    dumped.ok()
}
