//! The rooms keep their doors: who may import whom, read from the sources
//! (src/lib.rs draws the map).

#[path = "layers/circles.rs"]
mod circles;

use std::path::{Path, PathBuf};

/// A file or directory of `src`, and the modules of ours that it may name
/// beside itself.
const ROOMS: [(&str, &[&str]); 22] = [
    ("model", &[]),
    ("kernel", &["model"]),
    ("count", &["model"]),
    ("subjects", &["count", "kernel", "model"]),
    ("findings", &["subjects", "count::policy", "model"]),
    ("snapshot.rs", &["subjects", "findings"]),
    ("history", &["snapshot", "subjects", "model"]),
    ("systemd.rs", &["snapshot"]),
    ("exposition.rs", &["snapshot", "subjects"]),
    (
        "self_metrics.rs",
        &["kernel::procfs", "logging", "snapshot"],
    ),
    ("logging.rs", &["config"]),
    ("progress.rs", &[]),
    (
        "survey",
        &[
            "kernel",
            "count",
            "subjects",
            "findings",
            "snapshot",
            "exposition",
            "self_metrics",
            "progress",
            "model",
        ],
    ),
    (
        "show",
        &[
            "snapshot",
            "history",
            "exposition",
            "self_metrics",
            "progress",
            "findings",
            "subjects",
            "model",
        ],
    ),
    ("config", &[]),
    ("cli.rs", &["config"]),
    ("daemon.rs", ANYBODY),
    ("once.rs", ANYBODY),
    (
        "process.rs",
        &["config", "kernel::privileges", "kernel::procfs"],
    ),
    ("web_setup.rs", &["config", "show::web", "systemd"]),
    // The snapshot command prints.
    (
        "main.rs",
        &[
            "cli",
            "config",
            "daemon",
            "exposition",
            "logging",
            "once",
            "process",
            "show::text",
            "web_setup",
        ],
    ),
    ("lib.rs", ANYBODY),
];
const ANYBODY: &[&str] = &["*"];

/// Crates with an owner: whoever else names them reaches past a room's door.
const OWNERS: [(&str, &[&str]); 23] = [
    ("netlink_packet_core", &["kernel"]),
    ("netlink_packet_sock_diag", &["kernel"]),
    ("netlink_sys", &["kernel"]),
    ("libc", &["kernel"]),
    // Page size, limits and clocks are no business with the kernel's sockets.
    (
        "rustix",
        &[
            "kernel",
            "subjects/tcp.rs",
            "self_metrics.rs",
            "survey/poller.rs",
            "process.rs",
        ],
    ),
    ("landlock", &["kernel"]),
    ("prometheus", &["exposition.rs", "self_metrics.rs"]),
    ("flate2", &["exposition.rs"]),
    ("axum", &["show/web", "daemon.rs"]),
    ("hyper", &["show/web"]),
    ("hyper_util", &["show/web"]),
    ("tower", &["show/web"]),
    ("form_urlencoded", &["show/web"]),
    (
        "tokio",
        &[
            "show/web",
            "daemon.rs",
            "main.rs",
            "snapshot.rs",
            "systemd.rs",
            "web_setup.rs",
        ],
    ),
    (
        "anyhow",
        &[
            "show/web",
            "daemon.rs",
            "once.rs",
            "process.rs",
            "main.rs",
            "web_setup.rs",
        ],
    ),
    ("config", &["config"]),
    ("toml", &["config"]),
    ("clap", &["cli.rs", "main.rs"]),
    ("serde_saphyr", &["show/web/web_config/file.rs"]),
    // TLS and what passwords need stay behind the door of the web configuration.
    ("tokio_rustls", &["show/web/web_config", "show/web/tls.rs"]),
    ("bcrypt", &["show/web/web_config"]),
    ("ring", &["show/web/web_config"]),
    ("base64", &["show/web/web_config"]),
];

fn sources() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|is| is == "rs") && !path.ends_with("tests.rs") {
                let name = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.push((name, code(&std::fs::read_to_string(&path).unwrap())));
            }
        }
    }
    found
}

/// Without comments, and without the tests at the end: these may ask anybody.
fn code(text: &str) -> String {
    let before_tests = text.split("#[cfg(test)]").next().unwrap();
    before_tests
        .lines()
        .map(|line| line.split("//").next().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Whether `file` is the room or lies in it.
fn is_in(file: &str, room: &str) -> bool {
    file == room || file.starts_with(&format!("{room}/"))
}

/// What follows each `crate::` or `sockdiag_exporter::`, brackets opened.
fn imports(text: &str) -> Vec<String> {
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    for prefix in ["crate::", "sockdiag_exporter::"] {
        for (at, _) in text.match_indices(prefix) {
            let rest = &text[at + prefix.len()..];
            let names = match rest.strip_prefix('{') {
                Some(group) => group.split("};").next().unwrap_or_default(),
                None => rest.split(|c| !is_path(c)).next().unwrap_or_default(),
            };
            found.extend(names.split(',').map(|name| name.trim().to_owned()));
        }
    }
    found.retain(|name| !name.is_empty());
    found
}

#[test]
fn rooms_import_what_they_may_and_nothing_else() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        let (room, may) = ROOMS
            .iter()
            .find(|(room, _)| is_in(&file, room))
            .unwrap_or_else(|| panic!("{file} is in no room: add it to the map"));
        let own = room.trim_end_matches(".rs");
        for import in imports(&text) {
            let through = |door: &&str| {
                **door == *"*" || import == **door || import.starts_with(&format!("{door}::"))
            };
            if !through(&own) && !may.iter().any(through) {
                wrong.push(format!("{file} names {import}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn crates_are_named_by_their_owners_alone() {
    let mut wrong = Vec::new();
    for (file, text) in sources() {
        for (name, owners) in OWNERS {
            let is_named = text.match_indices(name).any(|(at, _)| {
                let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
                !text[..at].ends_with(is_word) && text[at + name.len()..].starts_with("::")
            });
            if is_named && !owners.iter().any(|owner| is_in(&file, owner)) {
                wrong.push(format!("{file} names {name}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn unsafe_code_lives_with_the_namespaces() {
    for (file, text) in sources() {
        let is_unsafe = text.split_whitespace().any(|word| word == "unsafe");
        assert!(!is_unsafe || file == "kernel/netns.rs", "{file}");
    }
}

#[test]
fn a_forbidden_import_would_be_seen() {
    let text =
        "use crate::show::web;\nuse crate::{model, kernel::netns};\nlet a = crate::count::X;";
    assert_eq!(
        imports(text),
        ["show::web", "model", "kernel::netns", "count::X"]
    );
}
