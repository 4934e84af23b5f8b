//! The words of the domain, without I/O: a socket, its state, ports, a pool with
//! a capacity, and how figures are written.

pub mod cgroup;
pub mod figures;
pub mod pool;
pub mod ports;
pub mod process;
pub mod socket;
pub mod state;
