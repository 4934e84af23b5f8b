//! sockdiag-exporter: this host's sockets, ephemeral ports and connection
//! tracking table as Prometheus metrics.
//!
//! ```text
//! kernel ──recv──▶ kernel ─▶ model::Socket ─▶ count ─▶ subjects ─▶ findings
//!                            (one value)      (hot)    (facts)        │
//! scrape ◀── show::web ◀── snapshot (published whole) ◀── exposition ◀┘
//! ```
//!
//! * `model/`: words without I/O: sockets, states, sets of ports, pools.
//! * `kernel/`: the only room that touches the kernel: netlink, /proc, namespaces.
//! * `count/`: what each socket of a dump runs through, once.
//! * `subjects/`: one subject a file: what it reads, its facts, its metrics. To find
//!   where a metric comes from, search its name there.
//! * `survey/`: the collector thread: when to look at a namespace, what to read.
//! * `findings/`: what is wrong, and what helps.
//! * `history/`: the last ten minutes of published figures, for the page's plots.
//! * `show/`: a snapshot and that history as pages and text; it knows nothing else.
//!
//! `daemon` starts and stops everything. Who may import whom is held by
//! `tests/layers.rs`.

// A daemon that panics on bad input loses what was good: expect() states an
// invariant instead. What is printed goes through one door in main.rs.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::print_stdout))]

pub mod cli;
pub mod config;
pub mod count;
pub mod daemon;
pub mod exposition;
pub mod findings;
pub mod history;
pub mod kernel;
pub mod logging;
pub mod model;
pub mod once;
pub mod process;
pub mod progress;
pub mod self_metrics;
pub mod show;
pub mod snapshot;
pub mod subjects;
pub mod survey;
pub mod systemd;
pub mod web_setup;

/// So that the tests of this crate and those beside it share one fake kernel.
#[cfg(test)]
extern crate self as sockdiag_exporter;
#[cfg(test)]
#[path = "../tests/fake_kernel/mod.rs"]
mod fake_kernel;
