//! Every key there is: the one table that the file, the environment, the
//! checks and the rendering go by.

use super::kind::Kind;
use super::suggest::nearest;
use std::time::Duration;

/// One key of one section.
pub(super) struct Key {
    pub(super) section: &'static str,
    pub(super) name: &'static str,
    /// `section.name`.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
}

/// Spells a key once and derives its three names from that.
macro_rules! key {
    ($section:ident . $name:ident, $kind:ident $(, $field:ident: $value:expr)* $(,)?) => {
        Key {
            section: stringify!($section),
            name: stringify!($name),
            path: concat!(stringify!($section), ".", stringify!($name)),
            kind: Kind::$kind { slot: |config| &mut config.$section.$name $(, $field: $value)* },
        }
    };
}

const HUNDRED_MS: Duration = Duration::from_millis(100);
const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Enough for a person to look at, and few enough for a Prometheus server.
const MOST_SHOWN: usize = 10_000;

/// In the order of `config.example.toml`, sections in one piece.
pub(super) const KEYS: &[Key] = &[
    key!(web.listen, Listen),
    key!(web.max_connections, Count, least: 1, most: 10_000, why: ""),
    key!(web.header_timeout, Span, least: HUNDRED_MS, most: FIVE_MINUTES),
    key!(web.request_timeout, Span, least: HUNDRED_MS, most: FIVE_MINUTES),
    key!(poll.interval, Span, least: HUNDRED_MS, most: HOUR),
    key!(poll.timeout, Span, least: HUNDRED_MS, most: FIVE_MINUTES),
    key!(poll.max_duty, Fraction),
    key!(poll.age_max, Span, least: Duration::from_secs(1), most: DAY),
    key!(poll.peak_window, Span, least: HUNDRED_MS, most: HOUR),
    key!(limits.peers, Count, least: 1, most: MOST_SHOWN, why: ""),
    key!(limits.destinations, Count, least: 1, most: MOST_SHOWN, why: ""),
    key!(limits.sources, Count, least: 1, most: MOST_SHOWN, why: ""),
    key!(limits.local_ports, Count, least: 1, most: MOST_SHOWN, why: ""),
    key!(limits.tracked_keys, Count, least: 1_000, most: 10_000_000, why: ""),
    key!(
        limits.series,
        Count,
        least: 400,
        most: 100_000,
        why: "; a namespace has up to 400 series before the first peer",
    ),
    key!(local_ports.always, Ports),
    key!(procfs.root, Folder),
    key!(netns.host_name, Label),
    key!(log.level, Level),
    key!(log.format, Format),
];

/// Every key as `section.name`, in the order of `config.example.toml`.
pub fn names() -> impl Iterator<Item = &'static str> {
    KEYS.iter().map(|key| key.path)
}

pub(super) fn find(section: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter()
        .find(|key| key.section == section && key.name == name)
}

pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = KEYS.iter().map(|key| key.section).collect();
    sections.dedup();
    sections
}

/// What to say of `section.name`, which is no key.
pub(super) fn unknown(section: &str, name: &str) -> String {
    let siblings: Vec<_> = KEYS
        .iter()
        .filter(|key| key.section == section)
        .map(|key| key.name)
        .collect();
    let near = nearest(name, siblings.iter().copied())
        .and_then(|name| find(section, name))
        .or_else(|| KEYS.iter().find(|key| key.name == name));
    match near {
        Some(key) => format!("unknown key; did you mean {}?", key.path),
        None => format!("unknown key; [{section}] has {}", siblings.join(", ")),
    }
}

/// What to say of a section that is none.
pub(super) fn unknown_section(name: &str) -> String {
    let sections = sections();
    match nearest(name, sections.iter().copied()) {
        Some(section) => format!("unknown section; did you mean [{section}]?"),
        None => format!("unknown section; there are {}", sections.join(", ")),
    }
}

/// What to say of a value that stands outside of all sections.
pub(super) fn unknown_top(name: &str) -> String {
    let near = KEYS.iter().find(|key| key.name == name).or_else(|| {
        let path = nearest(name, names())?;
        KEYS.iter().find(|key| key.path == path)
    });
    match near {
        Some(key) => format!(
            "unknown key; did you mean {} in [{}]?",
            key.name, key.section
        ),
        None => format!(
            "unknown key; keys belong in one of the sections {}",
            sections().join(", ")
        ),
    }
}
