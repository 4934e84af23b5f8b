//! Every key there is: the one table that the file, the environment, the checks and
//! the rendering go by; and what to say of a key that is none.

use std::time::Duration;

use super::kind::Kind;

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
    ($section:ident . $name:ident, $kind:expr) => {
        Key {
            section: stringify!($section),
            name: stringify!($name),
            path: concat!(stringify!($section), ".", stringify!($name)),
            kind: $kind,
        }
    };
}

const HUNDRED_MS: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const FIVE_MINUTES: Duration = Duration::from_secs(5 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Enough for a person to look at, and few enough for a Prometheus server.
const SHOWN: Kind = Kind::Count(1..=10_000, "");
const SERIES: Kind = Kind::Count(
    400..=100_000,
    "; a namespace has up to 400 series before the first peer",
);

/// In the order of `config.example.toml`, sections in one piece.
pub(super) const KEYS: &[Key] = &[
    key!(web.listen, Kind::Listen),
    key!(web.systemd_socket, Kind::Switch),
    key!(web.config_file, Kind::File),
    key!(web.telemetry_path, Kind::Route),
    key!(web.max_connections, Kind::Count(1..=10_000, "")),
    key!(web.header_timeout, Kind::Span(HUNDRED_MS..=FIVE_MINUTES)),
    key!(web.request_timeout, Kind::Span(HUNDRED_MS..=FIVE_MINUTES)),
    key!(poll.interval, Kind::Span(HUNDRED_MS..=HOUR)),
    key!(poll.tick, Kind::Span(HUNDRED_MS..=HOUR)),
    key!(poll.timeout, Kind::Span(HUNDRED_MS..=FIVE_MINUTES)),
    key!(poll.max_duty, Kind::Fraction),
    key!(poll.age_max, Kind::Span(SECOND..=DAY)),
    key!(poll.peak_window, Kind::Span(HUNDRED_MS..=HOUR)),
    key!(poll.probe_ports, Kind::Switch),
    key!(limits.peers, SHOWN),
    key!(limits.destinations, SHOWN),
    key!(limits.sources, SHOWN),
    key!(limits.local_ports, SHOWN),
    key!(limits.cgroups, SHOWN),
    key!(limits.floor_sockets, Kind::Count(0..=1_000_000, "")),
    key!(limits.floor_share, Kind::Part),
    key!(limits.tracked_keys, Kind::Count(1_000..=10_000_000, "")),
    key!(limits.series, SERIES),
    key!(local_ports.always, Kind::Ports),
    key!(owners.enabled, Kind::Switch),
    key!(procfs.root, Kind::Folder),
    key!(netns.host_name, Kind::Label),
    key!(netns.enabled, Kind::Switch),
    key!(netns.directories, Kind::Folders),
    key!(netns.include, Kind::Patterns),
    key!(netns.exclude, Kind::Patterns),
    key!(netns.keys, SHOWN),
    key!(netns.series, Kind::Count(100..=1_000_000, "")),
    key!(log.level, Kind::LEVEL),
    key!(log.format, Kind::FORMAT),
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

/// The known word nearest to a misspelt one, if it takes few enough edits to be a
/// slip of the finger: a third of the word.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let few = word.chars().count().div_ceil(3);
    let edits = candidates
        .into_iter()
        .map(|candidate| (strsim::levenshtein(word, candidate), candidate));
    let near = edits.filter(|(edits, _)| *edits <= few);
    near.min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// What to say of `section.name`, which is no key.
pub(super) fn unknown(section: &str, name: &str) -> String {
    let siblings = KEYS.iter().filter(|key| key.section == section);
    let siblings: Vec<_> = siblings.map(|key| key.name).collect();
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
        Some(Key { name, section, .. }) => {
            format!("unknown key; did you mean {name} in [{section}]?")
        }
        None => format!(
            "unknown key; keys belong in one of the sections {}",
            sections().join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_slip_is_corrected() {
        assert_eq!(nearest("pears", ["peers", "series"]), Some("peers"));
        assert_eq!(nearest("colour", ["peers", "series"]), None);
    }
}
