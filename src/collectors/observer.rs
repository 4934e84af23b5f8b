//! Observes one network namespace: dumps its sockets, reads its files, and
//! remembers from poll to poll what hysteresis, peaks and inference need.

use std::net::IpAddr;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::Facts;
use super::conntrack::Conntrack;
use super::ephemeral::{Ephemeral, Limits as PortLimits, Memory, Settings};
use super::listeners::AcceptQueues;
use super::peers::{Peers, Rankings};
use super::section::{Failure, Section};
use super::sockets::{TcpSockets, UdpSockets};
use super::tcp::Tcp;
use crate::kernel::netlink::{DumpError, KernelWire, Patience, Wire};
use crate::kernel::procfs::Procfs;
use crate::kernel::sock_diag::{Dump, SockDiag};
use crate::kernel::state::StateCounts;
use crate::ports::PortSet;
use crate::tally::listeners::Listeners;
use crate::tally::udp::UdpTally;
use crate::tally::{Ground, Tally};
use crate::top::Ranking;

/// Asking for bound-only sockets makes a dump dearer by a fifth. On hosts with
/// more TCP sockets than this it is done at every fourth dump.
const BOUND_EVERY_TIME: u32 = 50_000;
const BOUND_EVERY: u32 = 4;

/// How much to keep and to show of a namespace, and how long to wait for it.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Keys to show, of each kind.
    pub peers: usize,
    pub destinations: usize,
    pub sources: usize,
    pub local_ports: usize,
    /// Keys there is memory for.
    pub tracked_keys: usize,
    /// Local ports to show in any case.
    pub always: Vec<u16>,
    pub dump_timeout: Duration,
    pub peak_window: Duration,
}

/// How long the last dumps took, for those that were whole.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct DumpTimes {
    pub tcp: Option<Duration>,
    pub udp: Option<Duration>,
}

/// The memory of one namespace.
pub struct Observer<W: Wire = KernelWire> {
    limits: Limits,
    procfs: Procfs,
    sock_diag: SockDiag<W>,
    listeners: Listeners,
    tally: Tally,
    udp: UdpTally,
    /// Dumps since the last one that asked for bound-only sockets.
    without_bound: Option<u32>,
    ports: Memory,
    rankings: PortRankings,
    peers: Rankings,
    queues: Ranking<(IpAddr, u16)>,
}

#[derive(Default)]
struct PortRankings {
    tcp: Ranking<u16>,
    udp: Ranking<u16>,
}

impl<W: Wire> Observer<W> {
    pub fn new(limits: Limits, procfs: Procfs, sock_diag: SockDiag<W>) -> Self {
        let ports = Memory::new(limits.peak_window);
        Self {
            tally: Tally::new(limits.tracked_keys),
            limits,
            procfs,
            sock_diag,
            listeners: Listeners::default(),
            udp: UdpTally::default(),
            without_bound: None,
            ports,
            rankings: PortRankings::default(),
            peers: Rankings::default(),
            queues: Ranking::default(),
        }
    }

    /// Dumps that the kernel flagged as interrupted, since the start.
    pub fn interrupted(&self) -> u64 {
        self.sock_diag.interrupted()
    }

    /// A whole poll: sockets and files.
    pub fn observe(&mut self, stop: &AtomicBool) -> (Facts, DumpTimes) {
        let settings = Settings::read(&self.procfs);
        let ground = match &settings {
            Ok(settings) => settings.ground(&mut self.ports.ports),
            Err(_) => no_ground(),
        };
        let (tcp, tcp_time) = timed(|| self.dump_tcp(&ground, stop));
        let (udp, udp_time) = timed(|| self.dump_udp(&ground, stop));
        let times = DumpTimes {
            tcp: tcp.is_ok().then_some(tcp_time),
            udp: udp.is_ok().then_some(udp_time),
        };
        let (tcp, udp) = (section_of(tcp), section_of(udp));
        let (files_tcp, conntrack) = self.read_files(stop);
        let facts = Facts {
            ephemeral: self.ephemeral(settings, &ground, &tcp, udp.measured().is_some()),
            sockets: tcp.clone().map(|()| self.tcp_sockets()),
            udp: udp.map(|()| self.udp_sockets(&ground.effective)),
            peers: tcp
                .clone()
                .map(|()| Peers::collect(&self.tally, self.limits.peers, &mut self.peers)),
            listeners: tcp.map(|()| {
                AcceptQueues::collect(&self.listeners, self.limits.local_ports, &mut self.queues)
            }),
            tcp: files_tcp,
            conntrack,
        };
        (facts, times)
    }

    /// The cheap part of a poll, into what the last whole one found.
    pub fn refresh(&mut self, facts: &mut Facts, stop: &AtomicBool) {
        (facts.tcp, facts.conntrack) = self.read_files(stop);
    }

    fn read_files(&self, stop: &AtomicBool) -> (Section<Tcp>, Section<Conntrack>) {
        (
            Tcp::collect(&self.procfs),
            Conntrack::collect(&self.procfs, stop),
        )
    }

    /// Listeners first, so that direction is known when the others pass by.
    fn dump_tcp(&mut self, ground: &Ground, stop: &AtomicBool) -> Result<(), DumpError> {
        let patience = Patience {
            timeout: self.limits.dump_timeout,
            stop,
        };
        let always = &self.limits.always;
        self.sock_diag.dump(
            Dump::TcpListeners,
            patience,
            &mut self.listeners,
            Listeners::clear,
            |listeners, record| listeners.add(record),
        )?;
        let (listeners, bound) = (&self.listeners, self.asks_for_bound());
        let dumped = self.sock_diag.dump(
            Dump::TcpSockets { bound },
            patience,
            &mut self.tally,
            |tally| tally.begin(ground, listeners, always, bound),
            |tally, record| tally.add(record, listeners),
        );
        self.tally.finish();
        self.without_bound = match &dumped {
            Ok(()) if bound => Some(0),
            Ok(()) => self.without_bound.map(|dumps| dumps + 1),
            // What was remembered may be half of what there is.
            Err(_) => None,
        };
        dumped
    }

    fn asks_for_bound(&self) -> bool {
        let sockets: u32 = self.tally.sockets().iter().map(StateCounts::total).sum();
        match self.without_bound {
            Some(dumps) if self.tally.remembers_bound() && sockets > BOUND_EVERY_TIME => {
                dumps + 1 >= BOUND_EVERY
            }
            _ => true,
        }
    }

    fn dump_udp(&mut self, ground: &Ground, stop: &AtomicBool) -> Result<(), DumpError> {
        self.sock_diag.dump(
            Dump::Udp,
            Patience {
                timeout: self.limits.dump_timeout,
                stop,
            },
            &mut self.udp,
            UdpTally::clear,
            |udp, record| udp.add(record, &ground.effective),
        )
    }

    fn ephemeral(
        &mut self,
        settings: Result<Settings, Failure>,
        ground: &Ground,
        tcp: &Section<()>,
        has_udp: bool,
    ) -> Section<Ephemeral> {
        let settings = match settings {
            Ok(settings) => settings,
            Err(failure) => return Section::Failed(failure),
        };
        let limits = PortLimits {
            destinations: self.limits.destinations,
            sources: self.limits.sources,
        };
        tcp.clone().map(|()| {
            let udp = has_udp.then_some(&self.udp);
            Ephemeral::collect(
                settings,
                ground,
                &mut self.tally,
                udp,
                limits,
                &mut self.ports,
            )
        })
    }

    fn tcp_sockets(&mut self) -> TcpSockets {
        TcpSockets::collect(
            &self.tally,
            &self.listeners,
            &self.limits.always,
            self.limits.local_ports,
            &mut self.rankings.tcp,
        )
    }

    fn udp_sockets(&mut self, range: &PortSet) -> UdpSockets {
        UdpSockets::collect(
            &self.udp,
            range,
            &self.limits.always,
            self.limits.local_ports,
            &mut self.rankings.udp,
        )
    }
}

/// Without a range nothing is in it.
fn no_ground() -> Ground {
    Ground {
        range: crate::kernel::procfs::PortRange { first: 0, last: 0 },
        effective: PortSet::default(),
        reuse: Default::default(),
        reuse_delay_ms: 0,
        known_bound: PortSet::default(),
    }
}

fn section_of(dump: Result<(), DumpError>) -> Section<()> {
    match dump {
        Ok(()) => Section::Measured(()),
        Err(error) if error.is_absent() => Section::Absent,
        Err(error) => Section::Failed(Failure::new(error.reason(), &error)),
    }
}

fn timed<T>(what: impl FnOnce() -> T) -> (T, Duration) {
    let started = Instant::now();
    (what(), started.elapsed())
}
