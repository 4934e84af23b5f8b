//! What the network side starts with: the sockets and the web configuration.

use anyhow::{Context, Result};
use tokio::net::TcpListener;

use crate::config::{Config, ConfigError};
use crate::show::web::server;
use crate::show::web::web_config::WebConfig;
use crate::systemd;

/// Sockets that systemd listens on for us, else those that are configured.
///
/// # Errors
/// When an address or systemd's sockets cannot be had.
pub fn listeners(config: &Config) -> Result<Vec<TcpListener>> {
    let inherited =
        systemd::listeners().context("cannot use the sockets that systemd handed in")?;
    if !inherited.is_empty() {
        return Ok(inherited);
    }
    if config.web.systemd_socket {
        let problem = "web.systemd_socket = true: systemd has handed in no sockets; enable and start the .socket unit, or leave --web.systemd-socket out";
        return Err(refuse(problem.to_owned()));
    }
    let is_default = config.web.listen_is_default();
    Ok(server::bind(&config.web.listen, is_default)?)
}

/// The web configuration file, if there is to be one.
///
/// # Errors
/// When it cannot be read or says something that cannot be.
pub fn web_config(config: &Config) -> Result<Option<WebConfig>> {
    let path = &config.web.config_file;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    WebConfig::load(path).map(Some).map_err(refuse)
}

/// Something that was asked for and cannot be: exit code 2, like every such thing.
fn refuse(problem: String) -> anyhow::Error {
    let problems = vec![problem];
    ConfigError { problems }.into()
}
