//! The web configuration file: TLS, client certificates, passwords, headers, and what
//! becomes of them when the file changes while the exporter runs.

mod support;

#[path = "daemon/exporter.rs"]
#[allow(
    dead_code,
    reason = "it belongs to the tests of the daemon; these use a part of it"
)]
mod exporter;

mod web_config {
    pub mod authority;
    pub mod changes;
    pub mod https;
    pub mod passwords;
    pub mod refusals;
    pub mod scene;
}
