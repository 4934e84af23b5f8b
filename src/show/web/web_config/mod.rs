//! The web configuration file of Prometheus' exporters (exporter-toolkit,
//! docs/web-configuration.md): TLS, client certificates, passwords, headers, a rate limit.
//! One file serves many exporters of a host, so its keys mean here what they mean there.

mod ciphers;
mod client_auth;
mod duration;
mod file;
mod files;
pub mod gate;
mod http;
mod passwords;
mod rate;
mod reload;
mod san;
mod tls;

pub use reload::WebConfig;
