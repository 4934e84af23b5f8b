//! Surveys the network namespaces: when to look, what to read, what to remember.

pub mod namespace;
pub mod poller;
pub mod schedule;
