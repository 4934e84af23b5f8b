//! sockdiag-exporter: this host's sockets, ephemeral ports and connection
//! tracking table as Prometheus metrics.
//!
//! ```text
//! kernel ──recv──▶ kernel::netlink ─▶ kernel::sock_diag ─▶ tally ─▶ collectors
//!                                      (borrowed view)     (hot)    (facts)
//!                                                                      │
//! scrape ◀── web ◀── snapshot (published whole, with its page) ◀── exposition
//! ```
//!
//! Three rooms: `kernel/` alone touches the kernel, `collectors/` hold one
//! subject each, `web/` shows a snapshot. `poller` is the clock of the one thread
//! that collects, `daemon` starts and stops everything. Who may import whom is
//! held by `tests/layers.rs`.

// A daemon that panics on bad input loses what was good: expect() states an
// invariant instead. What is printed goes through one door in main.rs.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::print_stdout))]

pub mod cli;
pub mod collectors;
pub mod config;
pub mod daemon;
pub mod diagnosis;
pub mod exposition;
pub mod kernel;
pub mod poller;
pub mod ports;
pub mod report;
pub mod self_metrics;
pub mod snapshot;
pub mod systemd;
pub mod tally;
pub mod top;
pub mod web;

/// So that the tests of this crate and those beside it share one fake kernel.
#[cfg(test)]
extern crate self as sockdiag_exporter;
#[cfg(test)]
#[path = "../tests/fake_kernel/mod.rs"]
mod fake_kernel;
