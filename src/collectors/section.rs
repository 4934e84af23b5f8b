//! What became of one subject in one poll.

use std::error::Error;

use serde::Serialize;

/// Absent, failed and zero are three things.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Section<T> {
    Measured(T),
    /// This kernel does not offer it; conntrack not loaded, for instance.
    Absent,
    Failed(Failure),
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

    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Section<U> {
        match self {
            Self::Measured(fact) => Section::Measured(with(fact)),
            Self::Absent => Section::Absent,
            Self::Failed(failure) => Section::Failed(failure),
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

/// Why a section has no fact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// A word for the `reason` label of the error counter.
    pub reason: &'static str,
    /// The error and its causes, in one line.
    pub message: String,
}

impl Failure {
    pub fn new(reason: &'static str, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self { reason, message }
    }
}

impl From<crate::kernel::procfs::ProcError> for Failure {
    fn from(error: crate::kernel::procfs::ProcError) -> Self {
        Self::new(error.reason(), &error)
    }
}
