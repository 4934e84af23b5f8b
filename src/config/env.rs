//! The environment: `SOCKDIAG_EXPORTER__SECTION__KEY`, and nothing that
//! Kubernetes injects for a service of that name.

use std::ffi::OsString;

use super::keys::{self, KEYS, Key, nearest};
use super::layer::Layer;
use super::value::one_line;

/// What a variable of ours begins with. The two underscores keep it apart from
/// `SOCKDIAG_EXPORTER_PORT` and the like, which Kubernetes sets in every pod
/// beside a service called sockdiag-exporter.
pub const PREFIX: &str = "SOCKDIAG_EXPORTER__";

pub(super) fn read(mut variables: Vec<(OsString, OsString)>) -> Layer {
    let mut layer = Layer::default();
    variables.sort();
    for (name, value) in variables {
        let name = one_line(&name.to_string_lossy());
        let text = value.to_str();
        if let Some(key) = KEYS.iter().find(|key| variable(key) == name) {
            match text {
                Some(text) => layer.say(key, &key.kind.read_text(text, &name)),
                None => layer.complain(format!("{name}: {}: is not UTF-8 text", key.path)),
            }
        } else if is_service_link(&name, text.unwrap_or_default()) {
            continue;
        } else if let Some(reason) = refusal(&name) {
            layer.complain(format!("{name}: {reason}"));
        }
    }
    layer
}

/// The name of the variable that sets `key`.
fn variable(key: &Key) -> String {
    let section = key.section.to_uppercase();
    format!("{PREFIX}{section}__{}", key.name.to_uppercase())
}

/// Why a variable that sets no key is refused; none if it is not meant for us.
fn refusal(name: &str) -> Option<String> {
    let known: Vec<_> = KEYS.iter().map(variable).collect();
    let plain = squeeze(name);
    if let Some(meant) = known.iter().find(|known| squeeze(known) == plain) {
        return Some(format!("is not read like this; did you mean {meant}?"));
    }
    let rest = name.strip_prefix(PREFIX)?;
    let names = known.iter().map(String::as_str);
    // Judged without the prefix, whose length would excuse any slip.
    Some(
        match nearest(rest, names.filter_map(|name| name.strip_prefix(PREFIX))) {
            Some(meant) => format!("unknown key; did you mean {PREFIX}{meant}?"),
            None => {
                let (section, key) = rest.split_once("__").unwrap_or((rest, ""));
                let section = section.to_lowercase();
                if keys::sections().contains(&section.as_str()) {
                    keys::unknown(&section, &key.to_lowercase())
                } else {
                    keys::unknown_section(&section)
                }
            }
        },
    )
}

/// In capitals, without underscores: the slips that are easiest to make.
fn squeeze(name: &str) -> String {
    name.replace('_', "").to_uppercase()
}

/// The variables that Kubernetes sets for each service of the namespace
/// (kubernetes.io, Service: environment variables). One called
/// `sockdiag-exporter--web` makes names that begin like ours.
fn is_service_link(name: &str, value: &str) -> bool {
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && value.contains("://"))
        || ["_TCP", "_UDP", "_SCTP"]
            .iter()
            .any(|protocol| is_port_link(name, protocol))
}

/// `NAME_PORT_10061_TCP`, alone or with `_PROTO`, `_PORT` or `_ADDR`.
fn is_port_link(name: &str, protocol: &str) -> bool {
    let stem = ["_PROTO", "_PORT", "_ADDR"]
        .iter()
        .find_map(|end| name.strip_suffix(end))
        .unwrap_or(name);
    stem.strip_suffix(protocol)
        .and_then(|stem| stem.rsplit_once("_PORT_"))
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok())
}
