//! The daemon whole, as a library and as a program: start, readiness, refusals,
//! log, signals, and what a service manager sees of it.

mod support;

mod daemon {
    pub mod bad_days;
    pub mod clocks;
    pub mod commands;
    pub mod exporter;
    pub mod gate;
    pub mod library;
    pub mod life;
    pub mod mounts;
    pub mod page;
    pub mod refusals;
    pub mod sandbox;
    pub mod scarcity;
    pub mod systemd;
}
