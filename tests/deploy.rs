//! What lies in deploy/ against what the exporter has: alerts, their unit tests and
//! their runbooks; names in [`names`].

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use sockdiag_exporter::findings::{self, FindingId};

#[path = "deploy/names.rs"]
mod names;

/// Ids of findings: alerts, runbooks and the exporter's own diagnosis share them.
const FINDINGS: [&str; 14] = [
    "ephemeral-destination",
    "ephemeral-source",
    "ephemeral-udp",
    "closes-above-sustainable",
    "conntrack-near-full",
    "conntrack-losing",
    "time-wait-buckets",
    "accept-queue",
    "close-wait-leak",
    "syn-sent",
    "client-near-tuple-limit",
    "orphans",
    "tcp-memory",
    "exporter",
];

const RUNBOOKS_URL: &str =
    "https://github.com/sockdiag-exporter/sockdiag-exporter/blob/main/deploy/runbooks/";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `directory` whose names end in one of `endings`, with their text.
fn texts(directory: &Path, endings: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(texts(&path, endings));
        } else if path
            .extension()
            .is_some_and(|ending| endings.iter().any(|&one| ending == one))
        {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    found.sort();
    found
}

/// An alerting rule as its file has it, without a YAML parser: our files begin
/// each rule with `- alert:` or `- record:` and keep one key on a line.
#[derive(Default)]
struct Alert {
    severities: Vec<String>,
    findings: Vec<String>,
    runbooks: Vec<String>,
    /// Rules that repeat the annotations of the one before.
    repeated: usize,
}

fn value<'t>(line: &'t str, key: &str) -> Option<&'t str> {
    line.trim_start()
        .trim_start_matches("- ")
        .strip_prefix(key)?
        .strip_prefix(": ")
        .map(str::trim)
}

fn alerts() -> BTreeMap<String, Alert> {
    let mut alerts: BTreeMap<String, Alert> = BTreeMap::new();
    for (_, text) in texts(&root().join("deploy/prometheus/rules"), &["yml"]) {
        let mut current = None;
        for line in text.lines() {
            if value(line, "record").is_some() {
                current = None;
            }
            if let Some(name) = value(line, "alert") {
                current = Some(name);
                alerts.entry(name.to_owned()).or_default();
            }
            let Some(alert) = current.and_then(|name| alerts.get_mut(name)) else {
                continue;
            };
            let keep =
                |list: &mut Vec<String>, key| list.extend(value(line, key).map(String::from));
            keep(&mut alert.severities, "severity");
            keep(&mut alert.findings, "finding");
            keep(&mut alert.runbooks, "runbook_url");
            alert.repeated += usize::from(
                value(line, "annotations").is_some_and(|anchor| anchor.starts_with('*')),
            );
        }
    }
    assert!(alerts.len() > 20);
    alerts
}

fn runbooks() -> BTreeMap<String, String> {
    texts(&root().join("deploy/runbooks"), &["md"])
        .into_iter()
        .map(|(path, text)| (path.file_stem().unwrap().to_str().unwrap().to_owned(), text))
        .filter(|(name, _)| name != "README")
        .collect()
}

#[test]
fn every_alert_has_a_severity_a_finding_and_its_runbook() {
    let runbooks = runbooks();
    for (name, alert) in alerts() {
        assert!(name.starts_with("Sockdiag"), "{name}");
        let rules = alert.severities.len();
        assert!(rules > 0, "{name} has no severity");
        assert!(
            alert
                .severities
                .iter()
                .all(|severity| matches!(severity.as_str(), "warning" | "critical")),
            "{name}: {:?}",
            alert.severities
        );
        assert_eq!(alert.findings.len(), rules, "{name}: finding");
        assert_eq!(
            alert.runbooks.len() + alert.repeated,
            rules,
            "{name}: annotations"
        );
        for url in &alert.runbooks {
            assert_eq!(*url, format!("{RUNBOOKS_URL}{name}.md"));
        }
        let runbook = runbooks
            .get(&name)
            .unwrap_or_else(|| panic!("{name} has no runbook"));
        let finding = value(runbook.lines().next().unwrap(), "finding").unwrap();
        for of_rule in &alert.findings {
            // One alert is of two subjects, by its protocol, and says so in a template.
            assert!(of_rule.contains(finding), "{name}: {of_rule} or {finding}?");
        }
    }
}

#[test]
fn every_runbook_has_an_alert_and_a_known_finding() {
    let alerts = alerts();
    let index = fs::read_to_string(root().join("deploy/runbooks/README.md")).unwrap();
    let mut used = BTreeSet::new();
    for (name, text) in runbooks() {
        assert!(alerts.contains_key(&name), "{name}.md has no alert");
        let first = text.lines().next().unwrap();
        let finding =
            value(first, "finding").unwrap_or_else(|| panic!("{name}.md begins with {first:?}"));
        assert!(FINDINGS.contains(&finding), "{name}.md: {finding}");
        used.insert(finding.to_owned());
        assert!(
            index.contains(&format!("({name}.md")),
            "README.md lacks {name}"
        );
        for part in ["## Confirm", "## What not to do"] {
            assert!(
                text.contains(part) || text.contains("what not to do"),
                "{name}.md has no {part:?}"
            );
        }
    }
    // UDP shares a predicted alert and has a runbook of its own all the same.
    assert_eq!(used.len(), FINDINGS.len(), "a finding has no runbook");
}

#[test]
fn every_finding_on_the_page_links_to_its_runbook() {
    let runbooks = runbooks();
    for (finding, name) in FindingId::ALL {
        let text = runbooks.get(name).unwrap_or_else(|| panic!("no {name}.md"));
        let of = value(text.lines().next().unwrap(), "finding");
        assert_eq!(of, Some(finding), "{name}.md");
    }
    assert!(runbooks.contains_key("SockdiagCollectorFailing"));
    assert_eq!(findings::RUNBOOKS, RUNBOOKS_URL);
}

#[test]
fn every_link_between_runbooks_leads_somewhere() {
    let runbooks = runbooks();
    for (path, text) in texts(&root().join("deploy/runbooks"), &["md"]) {
        for part in text.split("](").skip(1) {
            let target = part.split([')', '#']).next().unwrap();
            if let Some(name) = target.strip_suffix(".md")
                && !target.contains('/')
            {
                assert!(runbooks.contains_key(name), "{}: {target}", path.display());
            }
        }
    }
}

/// How often unit tests expect each alert to fire, by severity, and not to.
#[derive(Default)]
struct Tested {
    severities: BTreeSet<String>,
    silent: usize,
    annotated: usize,
}

fn tested() -> BTreeMap<String, Tested> {
    let mut tested: BTreeMap<String, Tested> = BTreeMap::new();
    for (_, text) in texts(&root().join("deploy/prometheus/tests"), &["yml"]) {
        let mut current = None;
        for line in text.lines() {
            if let Some(name) = value(line, "alertname") {
                current = Some(name.to_owned());
            }
            let Some(name) = &current else { continue };
            let alert = tested.entry(name.clone()).or_default();
            if let Some(severity) = value(line, "severity") {
                alert
                    .severities
                    .insert(severity.trim_matches('\'').to_owned());
            }
            alert.silent += usize::from(value(line, "exp_alerts") == Some("[]"));
            alert.annotated += usize::from(value(line, "runbook_url").is_some());
        }
    }
    tested
}

#[test]
fn every_alert_is_tested_to_fire_and_to_be_silent() {
    let tested = tested();
    for (name, alert) in alerts() {
        let test = tested
            .get(&name)
            .unwrap_or_else(|| panic!("{name} has no unit test"));
        for severity in &alert.severities {
            assert!(test.severities.contains(severity), "{name}: {severity}");
        }
        // Before, after, and on the healthy host.
        assert!(
            test.silent >= 3,
            "{name} is silent in {} tests",
            test.silent
        );
        assert!(test.annotated > 0, "{name}: annotations are not tested");
    }
}

#[test]
fn the_unit_is_not_restarted_with_a_configuration_that_is_refused() {
    let unit = std::fs::read_to_string(root().join("deploy/systemd/sockdiag-exporter.service"));
    let unit = unit.unwrap();
    for line in ["Restart=always", "RestartPreventExitStatus=2"] {
        assert!(unit.lines().any(|other| other == line), "{line}");
    }
}
