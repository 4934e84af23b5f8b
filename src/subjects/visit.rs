//! One visit of a namespace: what was read of its sources, and the part of it that a
//! subject has asked for.

use std::marker::PhantomData;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use super::Subject;
use super::limits::SubjectLimits;
use super::ports::origin::Ask;
use super::ports::settings::Settings;
use super::section::Missing;
use super::source::Source;
use crate::count::Scratch;
use crate::count::listeners::Listeners;
use crate::count::policy::PortPolicy;
use crate::count::tcp::TcpCount;
use crate::count::udp::UdpCount;
use crate::kernel::cgroups::CgroupPaths;
use crate::kernel::features::KernelFeatures;
use crate::kernel::procfs::Procfs;

/// What was read of a source, when, and how long that took.
#[derive(Clone, Debug)]
pub struct Reading<T = ()> {
    pub result: Result<T, Missing>,
    pub taken: SystemTime,
    pub took: Duration,
}

impl<T> Reading<T> {
    pub fn take(read: impl FnOnce() -> Result<T, Missing>) -> Self {
        let (taken, started) = (SystemTime::now(), Instant::now());
        Self {
            result: read(),
            taken,
            took: started.elapsed(),
        }
    }

    fn get(&self) -> Result<&T, Missing> {
        self.result.as_ref().map_err(Missing::clone)
    }
}

/// What one visit of a namespace has read. The dumps are in the scratch, and only
/// there until the next visit.
pub struct Visit<'v> {
    pub limits: &'v SubjectLimits,
    pub features: &'v KernelFeatures,
    pub procfs: &'v Procfs,
    /// As of the last dump.
    pub cgroups: &'v CgroupPaths,
    /// Asks the kernel about a port; `None` where it is not to be asked.
    pub ask: Option<Ask<'v>>,
    /// Set by whoever wants the process to end.
    pub stop: &'v AtomicBool,
    pub settings: &'v Reading<Settings>,
    pub dumps: Option<DumpedSockets<'v>>,
}

/// The dumps of a visit that made any.
#[derive(Clone, Copy)]
pub struct DumpedSockets<'v> {
    pub tcp: &'v Reading,
    pub udp: &'v Reading,
    pub scratch: &'v Scratch,
    /// What the sockets were counted by.
    pub policy: &'v PortPolicy,
    /// TCP sockets that may be there and were not dumped.
    pub unseen: u32,
}

impl Visit<'_> {
    /// Whether it read all of these sources.
    pub fn has(&self, needs: &[Source]) -> bool {
        self.dumps.is_some() || !needs.iter().any(|source| source.is_dump())
    }
}

/// A visit as one subject sees it: only the sources that it says it NEEDS; another
/// does not compile.
pub struct Inputs<'v, S> {
    visit: &'v Visit<'v>,
    subject: PhantomData<S>,
}

impl<'v, S: Subject> Inputs<'v, S> {
    pub fn new(visit: &'v Visit<'v>) -> Self {
        Self {
            visit,
            subject: PhantomData,
        }
    }

    /// How much to list.
    pub fn limits(&self) -> &'v SubjectLimits {
        self.visit.limits
    }

    /// What the kernel tells.
    pub fn features(&self) -> &'v KernelFeatures {
        self.visit.features
    }

    /// Where its own files are, and the flag that ends what takes long.
    pub fn files(&self) -> (&'v Procfs, &'v AtomicBool) {
        const { assert!(contains(S::NEEDS, Source::Files)) };
        (self.visit.procfs, self.visit.stop)
    }

    /// The kernel, to be asked whose a port is.
    pub fn ask(&self) -> Option<Ask<'v>> {
        const { assert!(contains(S::NEEDS, Source::PortSettings)) };
        self.visit.ask
    }

    /// # Errors
    /// When the settings could not be read.
    pub fn settings(&self) -> Result<&'v Settings, Missing> {
        const { assert!(contains(S::NEEDS, Source::PortSettings)) };
        self.visit.settings.get()
    }

    /// # Errors
    /// When there is no whole dump.
    pub fn tcp(&self) -> Result<TcpDump<'v>, Missing> {
        const { assert!(contains(S::NEEDS, Source::TcpSockets)) };
        let dumps = self.visit.dumps.ok_or(Missing::Absent)?;
        dumps.tcp.get().map(|()| TcpDump {
            count: &dumps.scratch.tcp,
            listeners: &dumps.scratch.listeners,
            policy: dumps.policy,
            unseen: dumps.unseen,
            cgroups: self.visit.cgroups,
        })
    }

    /// # Errors
    /// When there is no whole dump.
    pub fn udp(&self) -> Result<UdpDump<'v>, Missing> {
        const { assert!(contains(S::NEEDS, Source::UdpSockets)) };
        let dumps = self.visit.dumps.ok_or(Missing::Absent)?;
        dumps.udp.get().map(|()| UdpDump {
            count: &dumps.scratch.udp,
            policy: dumps.policy,
        })
    }
}

/// TCP sockets as they were counted.
pub struct TcpDump<'v> {
    pub count: &'v TcpCount,
    pub listeners: &'v Listeners,
    pub policy: &'v PortPolicy,
    /// Sockets that may be there and were not dumped.
    pub unseen: u32,
    /// Where the cgroups are whose sockets these are.
    pub cgroups: &'v CgroupPaths,
}

/// UDP sockets as they were counted.
pub struct UdpDump<'v> {
    pub count: &'v UdpCount,
    pub policy: &'v PortPolicy,
}

const fn contains(needs: &[Source], wanted: Source) -> bool {
    let mut at = 0;
    while at < needs.len() {
        if needs[at] as u8 == wanted as u8 {
            return true;
        }
        at += 1;
    }
    false
}
