//! What became of one subject: measured, absent, or failed.

use std::error::Error;
use std::iter;
use std::sync::Arc;

use serde::Serialize;

use super::source::Source;
use crate::kernel::netlink::DumpError;
use crate::kernel::procfs::ProcError;

/// Absent, failed and zero are three things.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Section<T> {
    Measured(T),
    /// This kernel does not offer it; conntrack not loaded, for instance.
    #[default]
    Absent,
    /// Shared by all subjects that a failed source takes down.
    Failed(Arc<Failure>),
}

impl<T> Section<T> {
    pub fn measured(&self) -> Option<&T> {
        match self {
            Self::Measured(fact) => Some(fact),
            Self::Absent | Self::Failed(_) => None,
        }
    }

    pub fn outcome(&self) -> Outcome<'_> {
        match self {
            Self::Measured(_) => Outcome::Up,
            Self::Absent => Outcome::Absent,
            Self::Failed(failure) => Outcome::Failed(failure),
        }
    }
}

impl<T> From<Result<T, Missing>> for Section<T> {
    fn from(collected: Result<T, Missing>) -> Self {
        match collected {
            Ok(fact) => Self::Measured(fact),
            Err(Missing::Absent) => Self::Absent,
            Err(Missing::Failed(failure)) => Self::Failed(failure),
        }
    }
}

/// A section without its fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'s> {
    Up,
    Absent,
    Failed(&'s Failure),
}

/// Why there is no fact, or no reading to make it of.
#[derive(Clone, Debug)]
pub enum Missing {
    Absent,
    Failed(Arc<Failure>),
}

impl Missing {
    pub fn failed(source: Source, reason: &'static str, error: &dyn Error) -> Self {
        Self::Failed(Arc::new(Failure::new(source, reason, error)))
    }

    /// What a dump that is not whole means for its source. A kernel may lack that of UDP
    /// sockets. Without that of TCP sockets there is nothing to say of this host, and that
    /// must not look like health.
    pub fn dump(source: Source, error: &DumpError) -> Self {
        match (source, error.is_absent()) {
            (Source::TcpSockets, true) => {
                let failure = Failure::new(source, "unsupported", error);
                let message = format!("{NO_TCP_DUMP}: {}", failure.message);
                Self::Failed(Arc::new(Failure { message, ..failure }))
            }
            (_, true) => Self::Absent,
            (_, false) => Self::failed(source, error.reason(), error),
        }
    }
}

const NO_TCP_DUMP: &str = "no sock_diag for TCP: load the kernel module tcp_diag (CONFIG_INET_DIAG); in a sandbox that has none, such as gVisor, this exporter cannot work";

/// A file of the subject's own.
impl From<ProcError> for Missing {
    fn from(error: ProcError) -> Self {
        Self::failed(Source::Files, error.reason(), &error)
    }
}

/// What went wrong, where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    #[serde(skip)]
    pub source: Source,
    /// A word for the `reason` label of the error counter.
    pub reason: &'static str,
    /// The error and its causes, in one line.
    pub message: String,
}

impl Failure {
    pub fn new(source: Source, reason: &'static str, error: &dyn Error) -> Self {
        let causes = iter::successors(Some(error), |&error| error.source());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        Self {
            source,
            reason,
            message: causes.join(": "),
        }
    }
}
