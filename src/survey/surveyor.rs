//! A visit of one network namespace: its sources are read, its subjects collected. The
//! accumulators are shared by all namespaces.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::activity::Activity;
use super::namespace::{BoundMemory, Namespace};
use crate::count::Scratch;
use crate::count::policy::PortPolicy;
use crate::kernel::cgroups::CgroupPaths;
use crate::kernel::features::KernelFeatures;
use crate::kernel::netlink::DumpError;
use crate::kernel::netlink::dump::Deadline;
use crate::kernel::netlink::transport::{KernelTransport, Transport};
use crate::kernel::netns::{self, NamespaceId};
use crate::kernel::procfs::{Procfs, parse_sockstat};
use crate::kernel::sock_diag::{Dump, SockDiag};
use crate::model::state::{State, StateCounts};
use crate::snapshot::Dumps;
use crate::subjects::Facts;
use crate::subjects::limits::SubjectLimits;
use crate::subjects::ports::Ephemeral;
use crate::subjects::ports::origin::{Answer, Ask};
use crate::subjects::ports::settings::{PortFiles, Settings};
use crate::subjects::section::{Failure, Missing};
use crate::subjects::source::Source;
use crate::subjects::visit::{DumpedSockets, Reading, Visit};

/// How much to keep and to list of a namespace, and how long to wait for it.
#[derive(Clone, Debug)]
pub struct SurveyLimits {
    /// In the exporter's own namespace.
    pub subjects: SubjectLimits,
    /// In every other.
    pub others: SubjectLimits,
    /// Keys of TCP sockets there is memory for.
    pub tracked_keys: usize,
    pub dump_timeout: Duration,
}

/// Reads namespaces, one after the other. One for the process.
pub struct Surveyor<T: Transport = KernelTransport> {
    limits: SurveyLimits,
    procfs: Procfs,
    sock_diag: SockDiag<T>,
    /// All that there are unless told otherwise.
    pub features: KernelFeatures,
    ask: Option<fn(&[u16]) -> Answer>,
    scratch: Scratch,
    pub cgroups: CgroupPaths,
    /// Where the thread was seen last.
    place: Option<NamespaceId>,
}

/// Which ports a quiet namespace may hand out is read so often, not at every tick: with
/// hundreds of namespaces the kernel looks long for a setting of one name, for all
/// share a chain of its hash table (`proc_sys_compare` was a tenth of the ticks' cost).
const PORT_FILES_EVERY: Duration = Duration::from_secs(30);

impl<T: Transport> Surveyor<T> {
    pub fn new(limits: SurveyLimits, procfs: Procfs, sock_diag: SockDiag<T>) -> Self {
        let mut scratch = Scratch::new(limits.tracked_keys);
        scratch.tcp.cgroups.is_on = limits.subjects.cgroups > 0;
        Self {
            scratch,
            cgroups: CgroupPaths::new(procfs.clone()),
            limits,
            procfs,
            sock_diag,
            features: KernelFeatures::ALL,
            ask: None,
            place: None,
        }
    }

    /// Has the kernel asked whose a port is, by this.
    pub fn asking(mut self, ask: fn(&[u16]) -> Answer) -> Self {
        self.ask = Some(ask);
        self
    }

    /// Dumps that the kernel flagged as interrupted, since the start.
    pub fn interrupted(&self) -> u64 {
        self.sock_diag.interrupted()
    }

    /// Reads the cheap sources, dumps the sockets, and collects every subject.
    pub fn dump(&mut self, namespace: &mut Namespace, stop: &AtomicBool) {
        self.visit(namespace, stop, true);
    }

    /// Reads the cheap sources, and collects what needs no other.
    pub fn refresh(&mut self, namespace: &mut Namespace, stop: &AtomicBool) {
        self.visit(namespace, stop, false);
    }

    /// Reads the counters that say how much can have happened since the last dump.
    ///
    /// # Errors
    /// When the namespace cannot be entered.
    pub fn tick(&mut self, namespace: &mut Namespace) -> io::Result<()> {
        self.enter(namespace)?;
        let is_quiet = namespace.is_quiet();
        let watch = &mut namespace.watch;
        let read = || {
            let few = if is_quiet { watch.few_sockets() } else { 0 };
            let activity = Activity::read(&self.procfs, few).ok()?;
            let is_due = !is_quiet || watch.files_are_older_than(PORT_FILES_EVERY);
            let files = is_due.then(|| PortFiles::read(&self.procfs));
            Some((activity, files.transpose().ok()?))
        };
        match read() {
            Some((activity, files)) => watch.tick(activity, files),
            // What they lack, the sections of the facts say.
            None => watch.lost(),
        }
        Ok(())
    }

    /// Leaves whichever namespace was visited last, so that it can go.
    pub fn leave_for(&mut self, own: &mut Namespace) {
        // Whoever is visited next is entered anyway.
        let _ = self.enter(own);
    }

    /// Moves this thread there, and makes sure of it: by the cookie, which no other namespace
    /// ever has, or else by the inode. Where another namespace has taken that, what was
    /// remembered is forgotten.
    fn enter(&mut self, namespace: &mut Namespace) -> io::Result<()> {
        if self.place != Some(namespace.id) {
            // Its socket belongs to the namespace that it was opened in.
            self.sock_diag.close();
            self.place = None;
            // Without the privilege to enter any the thread has never left its own.
            if !namespace.is_own || NamespaceId::current()? != namespace.id {
                namespace.door.enter()?;
            }
        }
        let cookie = netns::cookie();
        if cookie.is_none() || namespace.cookie != cookie {
            namespace.id.ensure_current(&namespace.name)?;
            // Without a descriptor there is no cookie for a while.
            if cookie.is_some() {
                if namespace.cookie.is_some() {
                    namespace.forget();
                }
                namespace.cookie = cookie;
            }
        }
        self.place = Some(namespace.id);
        Ok(())
    }

    fn visit(&mut self, namespace: &mut Namespace, stop: &AtomicBool, with_dump: bool) {
        if let Err(error) = self.enter(namespace) {
            // Nothing that this thread reads is to be believed.
            let failure = Failure::new(Source::Namespace, "namespace", &error);
            namespace.facts = Facts::all_failed(&Arc::new(failure));
            namespace.dumps = None;
            namespace.watch.lost();
            return;
        }
        let settings = Reading::take(|| {
            let settings = Settings::read(&self.procfs);
            settings.map_err(|error| Missing::failed(Source::PortSettings, error.reason(), &error))
        });
        let ask = self.ask();
        let policy = with_dump.then(|| namespace.policy(&settings, ask));
        let allocated = self.allocated();
        if let Some(policy) = &policy {
            let timeout = self.limits.dump_timeout;
            let deadline = Deadline { timeout, stop };
            namespace.dumps = Some(Dumps {
                tcp: Reading::take(|| {
                    let dumped = self.dump_tcp(policy, &mut namespace.bound, deadline);
                    dumped.map_err(|error| Missing::dump(Source::TcpSockets, &error))
                }),
                udp: Reading::take(|| {
                    let dumped = self.dump_udp(policy, deadline);
                    dumped.map_err(|error| Missing::dump(Source::UdpSockets, &error))
                }),
            });
            let cgroups = self.scratch.tcp.cgroups.cgroups();
            self.cgroups
                .find(cgroups.iter().map(|count| count.id), stop);
        }
        let dumps = policy.as_ref().zip(namespace.dumps.as_ref());
        let visit = Visit {
            limits: match namespace.is_own {
                true => &self.limits.subjects,
                false => &self.limits.others,
            },
            features: &self.features,
            ask: self.ask(),
            procfs: &self.procfs,
            cgroups: &self.cgroups,
            stop,
            settings: &settings,
            dumps: dumps.map(|(policy, Dumps { tcp, udp })| DumpedSockets {
                tcp,
                udp,
                scratch: &self.scratch,
                policy,
                unseen: self.unseen(allocated),
            }),
        };
        namespace.facts.collect(&visit, &mut namespace.memories);
        if with_dump {
            let ports = namespace.facts.ephemeral.measured();
            namespace.watch.dumped(ports.map(Ephemeral::found));
            namespace.history.record(&namespace.facts);
        }
    }

    /// `None` where the kernel has no answers.
    fn ask(&self) -> Option<Ask<'_>> {
        let ask = self.ask.as_ref().filter(|_| self.features.port_probe);
        ask.map(|ask| ask as Ask<'_>)
    }

    /// TCP sockets of the machine, bound to a port or not (`alloc` of net/sockstat): any
    /// number where that cannot be read; `None` where all that matter are dumped.
    fn allocated(&self) -> Option<u64> {
        if self.features.bound_only_sockets {
            return None;
        }
        let parse = |text: &str| parse_sockstat(text, "TCP", "alloc");
        let sockstat = "thread-self/net/sockstat";
        let read = self.procfs.value(sockstat, "TCP sockets", parse);
        Some(read.ok().flatten().unwrap_or(u64::MAX))
    }

    /// How many TCP sockets there may be beside those that were dumped. TIME_WAIT and
    /// requests are none, and some in FIN_WAIT2.
    fn unseen(&self, before: Option<u64>) -> u32 {
        let Some(allocated) = before.max(self.allocated()) else {
            return 0;
        };
        let tcp = &self.scratch.tcp.sockets;
        let dumped: u32 = tcp
            .iter()
            .map(|states| {
                let others = [State::TimeWait, State::SynRecv, State::FinWait2];
                states.total() - others.map(|state| states.get(state)).iter().sum::<u32>()
            })
            .sum();
        u32::try_from(allocated)
            .unwrap_or(u32::MAX)
            .saturating_sub(dumped)
    }

    /// Listeners first, so that direction is known when the others pass by.
    fn dump_tcp(
        &mut self,
        policy: &PortPolicy,
        memory: &mut BoundMemory,
        deadline: Deadline<'_>,
    ) -> Result<(), DumpError> {
        let Scratch { listeners, tcp, .. } = &mut self.scratch;
        self.sock_diag.dump(
            Dump::TcpListeners,
            deadline,
            listeners,
            |listeners| listeners.clear(),
            |listeners, socket| listeners.add(&socket),
        )?;
        let bound = memory.is_due();
        let (always, known) = (&self.limits.subjects.always, &memory.sockets);
        let dumped = self.sock_diag.dump(
            Dump::TcpSockets { bound },
            deadline,
            tcp,
            |tcp| tcp.begin(policy, listeners, always, (!bound).then_some(known)),
            |tcp, socket| tcp.add(&socket, listeners),
        );
        tcp.finish();
        memory.tcp_sockets = tcp.sockets.iter().map(StateCounts::total).sum();
        memory.age = match &dumped {
            Ok(()) if bound => {
                memory.sockets = std::mem::take(&mut tcp.bound);
                Some(0)
            }
            Ok(()) => memory.age.map(|dumps| dumps + 1),
            // What was remembered may be half of what there is.
            Err(_) => None,
        };
        dumped
    }

    fn dump_udp(&mut self, policy: &PortPolicy, deadline: Deadline<'_>) -> Result<(), DumpError> {
        self.sock_diag.dump(
            Dump::Udp,
            deadline,
            &mut self.scratch.udp,
            |udp| udp.clear(),
            |udp, socket| udp.add(&socket, &policy.effective),
        )
    }
}
