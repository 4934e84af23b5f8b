//! A visit of one network namespace: its sources are read, its subjects collected.
//! What is remembered is the namespace's own and small; the accumulators are
//! shared by all namespaces.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::count::Scratch;
use crate::count::bound::BoundSockets;
use crate::count::policy::PortPolicy;
use crate::findings::History;
use crate::kernel::cgroups::CgroupPaths;
use crate::kernel::features::KernelFeatures;
use crate::kernel::netlink::DumpError;
use crate::kernel::netlink::dump::Deadline;
use crate::kernel::netlink::transport::{KernelTransport, Transport};
use crate::kernel::netns::NamespaceId;
use crate::kernel::procfs::{Procfs, parse_sockstat};
use crate::kernel::sock_diag::{Dump, SockDiag};
use crate::model::state::{State, StateCounts};
use crate::snapshot::{Dumps, NamespaceSnapshot};
use crate::subjects::limits::SubjectLimits;
use crate::subjects::ports::origin::Ask;
use crate::subjects::ports::settings::Settings;
use crate::subjects::section::{Failure, Missing};
use crate::subjects::source::Source;
use crate::subjects::visit::{DumpedSockets, Reading, Visit};
use crate::subjects::{Facts, Memories};

/// Asking for bound-only sockets makes a dump dearer by a fifth. On hosts with
/// more TCP sockets than this it is done at every fourth dump.
const BOUND_EVERY_TIME: u32 = 50_000;
const BOUND_EVERY: u32 = 4;

/// How much to keep and to list of a namespace, and how long to wait for it.
#[derive(Clone, Debug)]
pub struct SurveyLimits {
    pub subjects: SubjectLimits,
    /// Keys of TCP sockets there is memory for.
    pub tracked_keys: usize,
    pub dump_timeout: Duration,
}

/// Reads namespaces, one after the other. One for the process.
pub struct Surveyor<T: Transport = KernelTransport> {
    limits: SurveyLimits,
    procfs: Procfs,
    sock_diag: SockDiag<T>,
    features: KernelFeatures,
    ask: Option<Box<dyn Fn(u16) -> io::Result<bool> + Send>>,
    scratch: Scratch,
    cgroups: CgroupPaths,
}

/// One namespace, and what is remembered of it from visit to visit.
pub struct Namespace {
    /// What its metrics carry as the label `netns`.
    pub name: String,
    id: NamespaceId,
    memories: Memories,
    bound: BoundMemory,
    /// As of the last visit that could tell.
    pub facts: Facts,
    /// The last dumps; none before the first.
    pub dumps: Option<Dumps>,
}

/// The bound-only sockets of the last dump that asked for them.
#[derive(Default)]
struct BoundMemory {
    sockets: BoundSockets,
    /// Dumps since then; `None` when they are not to be relied on.
    age: Option<u32>,
    /// TCP sockets in the last dump.
    tcp_sockets: u32,
}

impl Namespace {
    /// The one that the calling thread is in.
    ///
    /// # Errors
    /// When `/proc` is not mounted, or hides the thread's own entry.
    pub fn own(name: impl Into<String>) -> io::Result<Self> {
        Ok(Self {
            name: name.into(),
            id: NamespaceId::current()?,
            memories: Memories::default(),
            bound: BoundMemory::default(),
            facts: Facts::default(),
            dumps: None,
        })
    }

    /// What is known of it, and how it has grown.
    pub fn snapshot(&self, history: &History) -> NamespaceSnapshot {
        NamespaceSnapshot {
            name: self.name.clone(),
            dumps: self.dumps.clone(),
            facts: self.facts.clone(),
            trends: history.trends(&self.facts),
        }
    }

    /// What its sockets are counted by, earlier polls included.
    fn policy(&mut self, settings: &Reading<Settings>, ask: Option<Ask<'_>>) -> PortPolicy {
        let Ok(settings) = &settings.result else {
            return PortPolicy::default();
        };
        let effective = settings.effective();
        let (known, can_ask) = self.memories.ephemeral.origin.recall(&effective, ask);
        settings.policy(effective, known, can_ask)
    }
}

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
        }
    }

    /// Takes the kernel for one that has these.
    pub fn on(self, features: KernelFeatures) -> Self {
        Self { features, ..self }
    }

    /// Knows these cgroups already.
    pub fn with_cgroups(self, cgroups: CgroupPaths) -> Self {
        Self { cgroups, ..self }
    }

    /// Has the kernel asked whose a port is, by this.
    pub fn asking(mut self, ask: impl Fn(u16) -> io::Result<bool> + Send + 'static) -> Self {
        self.ask = Some(Box::new(ask));
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

    fn visit(&mut self, namespace: &mut Namespace, stop: &AtomicBool, with_dump: bool) {
        if let Err(error) = namespace.id.ensure_current(&namespace.name) {
            // Nothing that this thread reads is to be believed.
            let failure = Failure::new(Source::Namespace, "namespace", &error);
            namespace.facts = Facts::all_failed(&Arc::new(failure));
            namespace.dumps = None;
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
            namespace.dumps = Some(Dumps {
                tcp: Reading::take(|| {
                    let dumped = self.dump_tcp(policy, &mut namespace.bound, stop);
                    dumped.map_err(|error| Missing::dump(Source::TcpSockets, &error))
                }),
                udp: Reading::take(|| {
                    let dumped = self.dump_udp(policy, stop);
                    dumped.map_err(|error| Missing::dump(Source::UdpSockets, &error))
                }),
            });
        }
        if policy.is_some() {
            let cgroups = self.scratch.tcp.cgroups.cgroups();
            self.cgroups
                .find(cgroups.iter().map(|count| count.id), stop);
        }
        let dumps = policy.as_ref().zip(namespace.dumps.as_ref());
        let visit = Visit {
            limits: &self.limits.subjects,
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
    }

    /// `None` where the kernel has no answers.
    fn ask(&self) -> Option<Ask<'_>> {
        let ask = self.ask.as_ref().filter(|_| self.features.port_probe);
        ask.map(|ask| &**ask as Ask<'_>)
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

    fn deadline<'d>(&self, stop: &'d AtomicBool) -> Deadline<'d> {
        Deadline {
            timeout: self.limits.dump_timeout,
            stop,
        }
    }

    /// Listeners first, so that direction is known when the others pass by.
    fn dump_tcp(
        &mut self,
        policy: &PortPolicy,
        memory: &mut BoundMemory,
        stop: &AtomicBool,
    ) -> Result<(), DumpError> {
        let deadline = self.deadline(stop);
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

    fn dump_udp(&mut self, policy: &PortPolicy, stop: &AtomicBool) -> Result<(), DumpError> {
        let deadline = self.deadline(stop);
        self.sock_diag.dump(
            Dump::Udp,
            deadline,
            &mut self.scratch.udp,
            |udp| udp.clear(),
            |udp, socket| udp.add(&socket, &policy.effective),
        )
    }
}

impl BoundMemory {
    /// Whether the next dump is to ask for bound-only sockets.
    fn is_due(&self) -> bool {
        let is_cheap = self.tcp_sockets <= BOUND_EVERY_TIME;
        match self.age {
            Some(age) if self.sockets.is_whole() && !is_cheap => age + 1 >= BOUND_EVERY,
            _ => true,
        }
    }
}
