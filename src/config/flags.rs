//! What the command line says; it wins over the environment and the file.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::gathered::Gathered;
use super::keys;
use super::{LogFormat, LogLevel};

/// What the command line says, as far as it has been parsed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Overrides {
    /// Replaces the configured addresses; empty means not gathered.
    pub listen: Vec<SocketAddr>,
    pub systemd_socket: bool,
    /// Relative to where the command was given.
    pub web_config_file: Option<PathBuf>,
    pub telemetry_path: Option<String>,
    pub poll_interval: Option<Duration>,
    pub log_level: Option<LogLevel>,
    pub log_format: Option<LogFormat>,
}

impl Overrides {
    pub(super) fn add_to(&self, gathered: &mut Gathered) {
        let mut say = |path: &str, flag: &str, text: Option<String>| {
            if let (Some(key), Some(text)) = (keys::find(path), text) {
                gathered.text(key, &text, Some(flag));
            }
        };
        let listen: Vec<_> = self.listen.iter().map(ToString::to_string).collect();
        let listen = (!listen.is_empty()).then(|| listen.join(","));
        say("web.listen", "--listen", listen);
        let systemd = self.systemd_socket.then(|| true.to_string());
        say("web.systemd_socket", "--systemd-socket", systemd);
        let file = self.web_config_file.as_ref();
        let file = file.map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()));
        let file = file.map(|path| path.to_string_lossy().into_owned());
        say("web.config_file", "--web-config-file", file);
        let route = self.telemetry_path.clone();
        say("web.telemetry_path", "--telemetry-path", route);
        let interval = self.poll_interval.map(humantime::format_duration);
        let interval = interval.map(|span| span.to_string());
        say("poll.interval", "--poll-interval", interval);
        let level = self.log_level.map(|level| level.as_str().to_owned());
        say("log.level", "--log-level", level);
        let format = self.log_format.map(|format| format.as_str().to_owned());
        say("log.format", "--log-format", format);
    }
}
