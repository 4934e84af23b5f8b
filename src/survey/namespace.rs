//! One network namespace, and what is remembered of it from visit to visit: little, for
//! there may be hundreds.

use std::io;
use std::time::{Duration, Instant};

use super::told::Told;
use super::watch::Watch;
use crate::count::bound::BoundSockets;
use crate::count::policy::PortPolicy;
use crate::findings::History;
use crate::kernel::netns::{Door, NamespaceId};
use crate::snapshot::{Dumps, Identity, NamespaceSnapshot};
use crate::subjects::ports::origin::Ask;
use crate::subjects::ports::settings::Settings;
use crate::subjects::visit::Reading;
use crate::subjects::{Facts, Memories};

/// Asking for bound-only sockets makes a dump dearer by a fifth. On hosts with
/// more TCP sockets than this it is done at every fourth dump.
const BOUND_EVERY_TIME: u32 = 50_000;
const BOUND_EVERY: u32 = 4;

/// One namespace, and what is remembered of it.
pub struct Namespace {
    /// What its metrics carry as the label `netns`.
    pub name: String,
    pub id: NamespaceId,
    pub(super) identity: Identity,
    pub(super) door: Door,
    /// Whether it is the exporter's own.
    pub(super) is_own: bool,
    /// What tells it from an earlier one of the same inode; `None` where the kernel
    /// does not, and before the first visit.
    pub(super) cookie: Option<u64>,
    pub(super) memories: Memories,
    pub(super) bound: BoundMemory,
    pub(super) watch: Watch,
    pub(super) history: History,
    /// As of the last visit that could tell.
    pub facts: Facts,
    /// The last dumps; none before the first.
    pub dumps: Option<Dumps>,
    pub(super) told: Told,
    pub(super) turns: Turns,
}

/// When it was visited, and what that took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turns {
    /// The ticks of the last dump, and of the last look at its files.
    pub dumped: Option<Instant>,
    pub refreshed: Option<Instant>,
    /// CPU time of the last dump.
    pub cost: Option<Duration>,
    pub rests_until: Option<Instant>,
}

/// The bound-only sockets of the last dump that asked for them.
#[derive(Default)]
pub(super) struct BoundMemory {
    pub sockets: BoundSockets,
    /// Dumps since then; `None` when they are not to be relied on.
    pub age: Option<u32>,
    /// TCP sockets in the last dump.
    pub tcp_sockets: u32,
}

impl Namespace {
    /// The one that the calling thread is in.
    ///
    /// # Errors
    /// When `/proc` is not mounted, or hides the thread's own entry.
    pub fn own(name: impl Into<String>) -> io::Result<Self> {
        let id = NamespaceId::current()?;
        let identity = Identity {
            inode: id.inode,
            ..Identity::default()
        };
        let own = Self::new(name.into(), id, Door::here()?, identity);
        Ok(Self {
            is_own: true,
            ..own
        })
    }

    /// Another one, behind this door.
    pub fn new(name: String, id: NamespaceId, door: Door, identity: Identity) -> Self {
        Self {
            name,
            id,
            identity,
            door,
            is_own: false,
            cookie: None,
            memories: Memories::default(),
            bound: BoundMemory::default(),
            watch: Watch::default(),
            history: History::default(),
            facts: Facts::default(),
            dumps: None,
            told: Told::default(),
            turns: Turns::default(),
        }
    }

    /// Another namespace has taken the inode: nothing that was remembered is of it.
    pub(super) fn forget(&mut self) {
        let (name, identity) = (self.name.clone(), self.identity.clone());
        *self = Self {
            is_own: self.is_own,
            ..Self::new(name, self.id, self.door.clone(), identity)
        };
    }

    /// Whether its ports are far from gone, for all that is known without a dump.
    pub(super) fn is_quiet(&self) -> bool {
        !self.is_own && self.watch.is_quiet()
    }

    /// Whether a tick has said so.
    pub(super) fn is_known_quiet(&self) -> bool {
        self.watch.bound.is_some() && self.is_quiet()
    }

    /// What is known of it, and how it has grown.
    pub fn snapshot(&self) -> NamespaceSnapshot {
        NamespaceSnapshot {
            name: self.name.clone(),
            identity: self.identity.clone(),
            is_folded: false,
            dumps: self.dumps.clone(),
            facts: self.facts.clone(),
            bound: self.watch.bound,
            trends: self.history.trends(&self.facts),
        }
    }

    /// Whether the last dump of its TCP sockets was whole.
    pub(super) fn is_dumped(&self) -> bool {
        let tcp = self.dumps.as_ref().map(|dumps| &dumps.tcp.result);
        tcp.is_some_and(Result::is_ok)
    }

    /// What its sockets are counted by, earlier polls included.
    pub(super) fn policy(
        &mut self,
        settings: &Reading<Settings>,
        ask: Option<Ask<'_>>,
    ) -> PortPolicy {
        let Ok(settings) = &settings.result else {
            return PortPolicy::default();
        };
        let effective = settings.effective();
        let (known, can_ask) = self.memories.ephemeral.origin.recall(&effective, ask);
        settings.policy(effective, known, can_ask)
    }
}

impl BoundMemory {
    /// Whether the next dump is to ask for bound-only sockets.
    pub fn is_due(&self) -> bool {
        let is_cheap = self.tcp_sockets <= BOUND_EVERY_TIME;
        match self.age {
            Some(age) if self.sockets.is_whole() && !is_cheap => age + 1 >= BOUND_EVERY,
            _ => true,
        }
    }
}
