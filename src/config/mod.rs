//! The configuration: typed, with built-in defaults, laid over by a TOML file,
//! the environment and flags, and refused with every fault named at once.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

mod env;
mod file;
mod flags;
mod gathered;
mod keys;
mod kind;
mod listen;
mod loaded;
mod log;
mod rules;
mod unknown;
mod value;

pub use env::PREFIX;
pub use flags::Overrides;
pub use keys::names as key_names;
pub use listen::parse_listen;
pub use loaded::Loaded;
pub use log::{LogFormat, LogLevel};
pub use value::parse_duration;

/// Everything that can be configured; `Config::default()` is what the exporter
/// runs on when nothing is gathered. `config.example.toml` explains each key.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Config {
    pub web: Web,
    pub poll: Poll,
    pub limits: Limits,
    pub local_ports: LocalPorts,
    pub owners: Owners,
    pub procfs: Procfs,
    pub netns: Netns,
    pub log: Log,
}

/// The HTTP side.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Web {
    /// At least one, none twice.
    pub listen: Vec<SocketAddr>,
    /// Whether systemd must hand the sockets in.
    pub systemd_socket: bool,
    /// The web configuration file: an absolute path, or empty for none.
    pub config_file: PathBuf,
    /// Where the metrics are.
    pub telemetry_path: String,
    /// Connections served at once.
    pub max_connections: usize,
    /// Time for a client to send its request line and headers.
    #[serde(with = "humantime_serde")]
    pub header_timeout: Duration,
    /// Time for a whole request and its answer.
    #[serde(with = "humantime_serde")]
    pub request_timeout: Duration,
}

impl Web {
    /// Whether the address is the default one, on which the exporter may fall
    /// back to `0.0.0.0` where IPv6 is off. It goes by the value, so a copied
    /// `config.example.toml` acts like no file; `[::]` covers every IPv4
    /// address anyway, so falling back opens nothing that was not asked for.
    pub fn listen_is_default(&self) -> bool {
        self.listen == Config::default().web.listen
    }
}

/// The collector thread's clock.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Poll {
    #[serde(with = "humantime_serde")]
    pub interval: Duration,
    /// Between two looks at the counters that say when to dump before its time.
    #[serde(with = "humantime_serde")]
    pub tick: Duration,
    /// Deadline of one dump.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Fraction of one core that dumps may cost, above 0 and at most 1.
    pub max_duty: f64,
    /// A snapshot older than this is not served.
    #[serde(with = "humantime_serde")]
    pub age_max: Duration,
    /// How far back the peak of utilization reaches.
    #[serde(with = "humantime_serde")]
    pub peak_window: Duration,
    /// Whether the kernel is asked whose a port is.
    pub probe_ports: bool,
}

/// How many of each are kept or shown; the rest is counted, not listed.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Limits {
    pub peers: usize,
    pub destinations: usize,
    pub sources: usize,
    pub local_ports: usize,
    pub cgroups: usize,
    /// What a key must have to be listed: so many sockets, and such a part of all.
    pub floor_sockets: u32,
    pub floor_share: f64,
    /// Distinct keys of one namespace held in memory during a poll.
    pub tracked_keys: usize,
    /// Series of one namespace.
    pub series: usize,
}

/// Local ports that are shown whether or not they have a listener.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct LocalPorts {
    /// In the order given, none twice, never 0.
    pub always: Vec<u16>,
}

/// Whose the sockets are.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Owners {
    /// Whether they are told apart by cgroup.
    pub enabled: bool,
}

/// Where procfs is mounted.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Procfs {
    /// An absolute path.
    pub root: PathBuf,
}

/// Network namespaces.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Netns {
    /// Value of the label `netns` for the exporter's own namespace.
    pub host_name: String,
    /// Whether others are observed, too.
    pub enabled: bool,
    /// Absolute paths; each file below one stands for a namespace.
    pub directories: Vec<PathBuf>,
    /// Patterns of names: those that match any of the first and none of the second
    /// are observed.
    pub include: Vec<String>,
    pub exclude: Vec<String>,
    /// Keys of each kind that are shown of each of them.
    pub keys: usize,
    /// Series of all of them together.
    pub series: usize,
}

/// What is logged, and how.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Log {
    pub level: LogLevel,
    pub format: LogFormat,
}

/// Everything wrong with the configuration, one line each: where it was said,
/// the key, its value, the reason, and what is allowed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}", .problems.join("\n"))]
pub struct ConfigError {
    /// Never empty; in the order file, environment, flags, rules between keys.
    pub problems: Vec<String>,
}

impl Config {
    /// Built-in defaults, then `file`, then the variables
    /// `SOCKDIAG_EXPORTER__SECTION__KEY` of `env`, then `overrides`.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML; a key is unknown; a value has
    /// the wrong type, is out of range, or contradicts another. A layer is held
    /// to its own faults even where a later one overrides the value.
    pub fn load(
        file: Option<&Path>,
        env: impl IntoIterator<Item = (impl Into<OsString>, impl Into<OsString>)>,
        overrides: &Overrides,
    ) -> Result<Self, ConfigError> {
        Loaded::load(file, env, overrides).map(|loaded| loaded.config)
    }
}

impl Default for Config {
    fn default() -> Self {
        Loaded::load(None, [("", ""); 0], &Overrides::default())
            .expect("the defaults are sound")
            .config
    }
}
