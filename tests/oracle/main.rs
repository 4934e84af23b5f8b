//! The oracle: in every case the exporter says how many sockets can still be
//! opened, then the kernel is asked by opening them until it refuses, and the
//! two numbers have to be equal.
//!
//! Each case has a namespace and a process of its own. With `--nocapture` the
//! suite prints all of its cases as a table; `UPDATE_ORACLE=1` writes the table
//! to `docs/oracle.md`.

#[path = "../support/mod.rs"]
mod support;

#[macro_use]
mod table;
mod figures;

mod bind_first;
mod capacity;
mod devices;
mod memory;
mod plain;
mod ramp;
mod random;
mod time_wait;
mod udp;
