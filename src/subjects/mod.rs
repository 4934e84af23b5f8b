//! One subject a file: fact, metrics, memory, `collect`, `export`, tests.
//!
//! A new subject is its own file and one line in the list below; whatever it
//! forgets does not compile.

pub mod cgroups;
pub mod conntrack;
pub mod kernel;
pub mod limits;
pub mod listeners;
mod local_ports;
pub mod metric;
pub mod node_ports;
pub mod peers;
pub mod ports;
pub mod ranking;
pub mod section;
pub mod sockets;
pub mod source;
pub mod tcp;
pub mod udp;
pub mod visit;

use std::sync::Arc;

use serde::Serialize;

// What a subject's file is made of, it has from here.
use limits::SubjectLimits;
use metric::{Families, Metric, Sink, metrics};
use section::{Failure, Missing, Outcome, Section};
use source::Source;
use visit::{Inputs, Visit};

/// What is known of one thing in a network namespace.
pub trait Subject: Sized {
    /// What it reads. A subject that reads no dump is collected at every tick,
    /// the others when the sockets are dumped.
    const NEEDS: &'static [Source];

    /// What is remembered of a namespace from poll to poll.
    type Memory: Default;

    /// Every family that it can export and no other subject does, file by file.
    const METRICS: &'static [Families];

    /// # Errors
    /// When a source that it cannot do without is absent or failed.
    fn collect(from: &Inputs<'_, Self>, memory: &mut Self::Memory) -> Result<Self, Missing>;

    fn export(&self, sink: &mut dyn Sink);

    /// What is the machine's, not the namespace's: exported once.
    fn export_machine(&self, _sink: &mut dyn Sink) {}

    /// The most series that it can lead to.
    fn series(limits: &SubjectLimits) -> usize;
}

/// What became of one subject.
pub struct Collected<'f> {
    pub collector: &'static str,
    pub needs: &'static [Source],
    pub outcome: Outcome<'f>,
}

macro_rules! subjects {
    ($($name:ident: $subject:ty,)*) => {
        /// Everything known of one network namespace.
        #[derive(Clone, Debug, Default, Serialize)]
        pub struct Facts {
            $(pub $name: Section<$subject>,)*
        }

        /// Everything remembered of it from poll to poll.
        #[derive(Default)]
        pub struct Memories {
            $(pub $name: <$subject as Subject>::Memory,)*
        }

        /// The collectors by name.
        pub const NAMES: &[&str] = &[$(stringify!($name),)*];

        impl Facts {
            /// Nothing can be known.
            pub fn all_failed(failure: &Arc<Failure>) -> Self {
                Self {
                    $($name: Section::Failed(Arc::clone(failure)),)*
                }
            }

            /// Collects those subjects anew whose sources this visit has read.
            pub fn collect(&mut self, visit: &Visit<'_>, memories: &mut Memories) {
                $(if visit.has(<$subject>::NEEDS) {
                    let memory = &mut memories.$name;
                    self.$name = <$subject>::collect(&Inputs::new(visit), memory).into();
                })*
            }

            /// What was made of a dump is too old to be shown.
            pub fn forget_dumps(&mut self) {
                $(if <$subject>::NEEDS.iter().any(|source| source.is_dump()) {
                    self.$name = Section::Absent;
                })*
            }

            pub fn outcomes(&self) -> Vec<Collected<'_>> {
                vec![$(Collected {
                    collector: stringify!($name),
                    needs: <$subject>::NEEDS,
                    outcome: self.$name.outcome(),
                },)*]
            }

            pub fn export(&self, sink: &mut dyn Sink) {
                $(if let Some(fact) = self.$name.measured() {
                    fact.export(sink);
                })*
            }

            /// What is the machine's, not the namespace's.
            pub fn export_machine(&self, sink: &mut dyn Sink) {
                $(if let Some(fact) = self.$name.measured() {
                    fact.export_machine(sink);
                })*
            }
        }

        /// Every kernel metric that can appear.
        pub fn catalogue() -> Vec<&'static Metric> {
            [$(<$subject>::METRICS,)*].concat().concat()
        }

        /// The most series that a namespace can lead to.
        pub fn series(limits: &SubjectLimits) -> usize {
            [$(<$subject>::series(limits),)*].iter().sum()
        }
    };
}

// The name is the collector's label, the key in JSON and the word in the log.
subjects! {
    sockets: sockets::TcpSockets,
    udp: udp::UdpSockets,
    peers: peers::Peers,
    listeners: listeners::AcceptQueues,
    ephemeral: ports::Ephemeral,
    cgroups: cgroups::Cgroups,
    node_ports: node_ports::NodePorts,
    kernel: kernel::Kernel,
    tcp: tcp::Tcp,
    conntrack: conntrack::Conntrack,
}

/// One failure, and the collectors that it takes down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Down<'f> {
    /// The first is the one that errors are counted and logged under.
    pub collectors: Vec<&'static str>,
    pub failure: &'f Failure,
}

impl Facts {
    /// Failures, each once: one of a shared source takes several collectors down.
    pub fn failures(&self) -> Vec<Down<'_>> {
        self.failures_among(|_| true)
    }

    /// The same among the collectors whose needs are like this.
    pub fn failures_among(&self, needs: impl Fn(&[Source]) -> bool) -> Vec<Down<'_>> {
        let mut down: Vec<Down<'_>> = Vec::new();
        for collected in self.outcomes() {
            let Outcome::Failed(failure) = collected.outcome else {
                continue;
            };
            if !needs(collected.needs) {
                continue;
            }
            let is_shared = failure.source != Source::Files;
            let same = |other: &&mut Down<'_>| is_shared && other.failure.source == failure.source;
            match down.iter_mut().find(same) {
                Some(known) => known.collectors.push(collected.collector),
                None => down.push(Down {
                    collectors: vec![collected.collector],
                    failure,
                }),
            }
        }
        down
    }
}
