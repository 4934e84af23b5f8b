//! The only room that touches the kernel: netlink, procfs, namespaces.
//!
//! Everything here reads, but for what the process itself may do. Nothing here knows what a
//! metric is.

pub mod cgroups;
pub mod ctnetlink;
pub mod features;
pub mod netlink;
pub mod netns;
pub mod port_probe;
pub mod privileges;
pub mod processes;
pub mod procfs;
pub mod sock_diag;
