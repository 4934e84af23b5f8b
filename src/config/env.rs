//! The environment: `SOCKDIAG_EXPORTER__SECTION__KEY`, and nothing that
//! Kubernetes injects for a service of that name.

use std::ffi::OsString;

use super::gathered::Gathered;
use super::keys::{KEYS, Key, sections};
use super::unknown::{self, nearest};
use super::value::one_line;

/// What a variable of ours begins with. The two underscores keep it apart from
/// `SOCKDIAG_EXPORTER_PORT` and the like, which Kubernetes sets in every pod
/// beside a service called sockdiag-exporter.
pub const PREFIX: &str = "SOCKDIAG_EXPORTER__";

/// What the `variables` say, by name and value.
pub(super) fn read(mut variables: Vec<(OsString, OsString)>, gathered: &mut Gathered) {
    variables.sort();
    for (name, value) in variables {
        let name = one_line(&name.to_string_lossy());
        let text = value.to_str();
        let key = KEYS.iter().find(|key| variable(key) == name);
        let problem = match (key, text) {
            (Some(key), Some(text)) => {
                gathered.text(key, text, Some(&name));
                continue;
            }
            (Some(key), None) => Some(format!("{}: is not UTF-8 text", key.path)),
            (None, _) if is_service_link(&name, text.unwrap_or_default()) => None,
            (None, _) => refusal(&name),
        };
        gathered
            .problems
            .extend(problem.map(|problem| format!("{name}: {problem}")));
    }
}

/// The name of the variable that sets `key`.
fn variable(key: &Key) -> String {
    format!("{PREFIX}{}", key.path.replace('.', "__").to_uppercase())
}

/// Why a variable that sets no key is refused; none if it is not meant for us.
fn refusal(name: &str) -> Option<String> {
    let known: Vec<_> = KEYS.iter().map(variable).collect();
    let plain = squeeze(name);
    if let Some(meant) = known.iter().find(|known| squeeze(known) == plain) {
        return Some(format!("is not read like this; did you mean {meant}?"));
    }
    let rest = name.strip_prefix(PREFIX)?;
    // Judged without the prefix, whose length would excuse any slip.
    let known = known.iter().filter_map(|name| name.strip_prefix(PREFIX));
    if let Some(meant) = nearest(rest, known) {
        return Some(format!("unknown key; did you mean {PREFIX}{meant}?"));
    }
    let rest = rest.to_lowercase();
    let (section, key) = rest.split_once("__").unwrap_or((&rest, ""));
    Some(match sections().contains(&section) {
        true => unknown::key(section, key),
        false => unknown::section(section),
    })
}

/// In capitals, without underscores: the slips that are easiest to make.
fn squeeze(name: &str) -> String {
    name.replace('_', "").to_uppercase()
}

/// The variables that Kubernetes sets for each service of the namespace
/// (kubernetes.io, Service: environment variables). One called
/// `sockdiag-exporter--web` makes names that begin like ours.
fn is_service_link(name: &str, value: &str) -> bool {
    // `NAME_PORT_10061_TCP`, alone or with `_PROTO`, `_PORT` or `_ADDR`.
    let is_port_link = |(_, link): (&str, &str)| {
        let mut parts = link.splitn(3, '_');
        let port = parts.next().is_some_and(|port| port.parse::<u16>().is_ok());
        let protocol = matches!(parts.next(), Some("TCP" | "UDP" | "SCTP"));
        port && protocol && matches!(parts.next(), None | Some("PROTO" | "PORT" | "ADDR"))
    };
    name.ends_with("_SERVICE_HOST")
        || name.ends_with("_SERVICE_PORT")
        || name.contains("_SERVICE_PORT_")
        || (name.ends_with("_PORT") && value.contains("://"))
        || name.rsplit_once("_PORT_").is_some_and(is_port_link)
}
