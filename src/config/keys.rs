//! Every key there is: the one table that the file, the environment, the flags and the
//! rendering go by.

use std::time::Duration;

use super::kind::{Kind, List};
use super::log::{LogFormat, LogLevel};

pub(super) struct Key {
    /// `section.name`.
    pub(super) path: &'static str,
    /// Its built-in value, as a variable would say it.
    pub(super) default: &'static str,
    pub(super) kind: Kind,
}

const fn key(path: &'static str, default: &'static str, kind: Kind) -> Key {
    Key {
        path,
        default,
        kind,
    }
}

impl Key {
    /// The section and the name in it.
    pub(super) fn parts(&self) -> (&'static str, &'static str) {
        self.path.split_once('.').unwrap_or_default()
    }
}

const fn span(least: u64, most: u64) -> Kind {
    Kind::Span(Duration::from_millis(least)..=Duration::from_millis(most))
}

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

const TIMEOUT: Kind = span(100, 5 * MINUTE);
const PERIOD: Kind = span(100, HOUR);
/// Enough for a person to look at, and few enough for a Prometheus server.
const SHOWN: Kind = Kind::Count(1..=10_000, "");
const TRACKED: Kind = Kind::Count(1_000..=10_000_000, "");
const SERIES: Kind = Kind::Count(
    400..=100_000,
    "; a namespace has up to 400 series before the first peer",
);

const LISTEN: Kind = Kind::List(&List {
    of: Kind::Address,
    // Beyond this it is a mistake rather than a wish.
    sizes: 1..=16,
    what: "addresses",
    list_of: None,
});
const PORTS: Kind = Kind::List(&List {
    of: Kind::Count(1..=65_535, ""),
    sizes: 0..=65_535,
    what: "ports",
    list_of: Some("ports, for example [22, 443]"),
});
const FOLDERS: Kind = Kind::List(&List {
    of: Kind::Folder,
    sizes: 0..=64,
    what: "paths",
    list_of: Some(r#"absolute paths, for example ["/run/netns"]"#),
});
const PATTERNS: Kind = Kind::List(&List {
    of: Kind::Pattern,
    sizes: 0..=64,
    what: "patterns",
    list_of: Some(r#"patterns, for example ["cni-*"]"#),
});

/// In the order of `config.example.toml`, sections in one piece.
pub(super) const KEYS: &[Key] = &[
    key("web.listen", "[::]:10061", LISTEN),
    key("web.systemd_socket", "false", Kind::Switch),
    key("web.config_file", "", Kind::File),
    key("web.telemetry_path", "/metrics", Kind::Route),
    key("web.max_connections", "128", Kind::Count(1..=10_000, "")),
    key("web.header_timeout", "5s", TIMEOUT),
    key("web.request_timeout", "10s", TIMEOUT),
    key("poll.interval", "5s", PERIOD),
    key("poll.tick", "1s", PERIOD),
    key("poll.timeout", "10s", TIMEOUT),
    key("poll.max_duty", "0.05", Kind::Fraction),
    key("poll.age_max", "60s", span(SECOND, 24 * HOUR)),
    key("poll.peak_window", "60s", PERIOD),
    key("poll.probe_ports", "true", Kind::Switch),
    key("limits.peers", "15", SHOWN),
    key("limits.destinations", "20", SHOWN),
    key("limits.sources", "20", SHOWN),
    key("limits.local_ports", "20", SHOWN),
    key("limits.cgroups", "5", SHOWN),
    key("limits.floor_sockets", "10", Kind::Count(0..=1_000_000, "")),
    key("limits.floor_share", "0.005", Kind::Part),
    key("limits.tracked_keys", "400000", TRACKED),
    key("limits.series", "1500", SERIES),
    key("local_ports.always", "", PORTS),
    key("owners.enabled", "true", Kind::Switch),
    key("procfs.root", "/proc", Kind::Folder),
    key("netns.host_name", "host", Kind::Label),
    key("netns.enabled", "false", Kind::Switch),
    key("netns.directories", "/run/netns,/run/docker/netns", FOLDERS),
    key("netns.include", "*", PATTERNS),
    key("netns.exclude", "", PATTERNS),
    key("netns.keys", "5", SHOWN),
    key("netns.series", "20000", Kind::Count(100..=1_000_000, "")),
    key("log.level", "info", Kind::Words(&LogLevel::NAMES)),
    key("log.format", "text", Kind::Words(&LogFormat::NAMES)),
];

/// Every key as `section.name`, in the order of `config.example.toml`.
pub fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.path)
}

pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = KEYS.iter().map(|key| key.parts().0).collect();
    sections.dedup();
    sections
}
