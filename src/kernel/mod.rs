//! The only room that touches the kernel: netlink, procfs, namespaces.
//!
//! Everything here reads. Nothing here knows what a metric is.

pub mod conntrack;
pub mod netlink;
pub mod netns;
pub mod procfs;
pub mod sock_diag;
pub mod state;
