//! Surveys the network namespaces: when to look, what to read, what to remember.

mod activity;
mod budget;
pub mod finder;
pub mod namespace;
pub mod poller;
pub mod roster;
pub mod schedule;
pub mod surveyor;
mod told;
mod watch;
