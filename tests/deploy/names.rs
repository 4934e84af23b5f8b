//! Names in deploy/ and README.md: metrics, recording rules, the image's version.

use std::collections::BTreeSet;
use std::fs;
use std::time::SystemTime;

use sockdiag_exporter::exposition;
use sockdiag_exporter::findings::FindingId;
use sockdiag_exporter::self_metrics::SelfMetrics;
use sockdiag_exporter::subjects::catalogue;

use crate::{root, texts, value};

/// Words of `text` that begin with `prefix`; `_` or `*` at the end stands for a group
/// of names.
fn words<'t>(text: &'t str, prefix: &str) -> impl Iterator<Item = &'t str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "_:*".contains(c)))
        .filter(move |word| word.starts_with(prefix))
        .filter(|word| !word.ends_with(['_', ':', '*']))
}

/// Words that read like names of our metrics; one with a colon is a rule's.
fn metric_words(text: &str) -> impl Iterator<Item = &str> {
    words(text, "sockdiag_").filter(|word| !word.contains(':'))
}

fn known_metrics() -> BTreeSet<String> {
    let own = SelfMetrics::new("0", "0", SystemTime::now());
    // A family of labelled counters begins with its first sample.
    own.count_error("sockets", "refused");
    own.count_request("/metrics", 200);
    let mut names: BTreeSet<String> = catalogue()
        .into_iter()
        .chain(exposition::METRICS.iter().copied())
        .map(|metric| metric.name.to_owned())
        .collect();
    names.extend(own.families().iter().map(|family| family.name().to_owned()));
    names
}

#[test]
fn every_metric_that_deploy_names_exists() {
    let known = known_metrics();
    let mut files = texts(&root().join("deploy"), &["yml", "yaml", "json", "md"]);
    let readme = root().join("README.md");
    if let Ok(text) = fs::read_to_string(&readme) {
        files.push((readme, text));
    }
    let mut seen = 0;
    for (path, text) in &files {
        for word in metric_words(text) {
            let family = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| word.strip_suffix(suffix))
                .unwrap_or(word);
            let names_the_crate = word == "sockdiag_exporter";
            assert!(
                names_the_crate || known.contains(word) || known.contains(family),
                "{}: there is no metric {word}",
                path.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 100, "only {seen} names found: is the scan right?");
}

/// What a line of README.md says in backticks, without labels and values.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`')
        .skip(1)
        .step_by(2)
        .map(|span| span.split(['{', ' ']).next().unwrap())
}

/// README.md's table of metrics writes names without `sockdiag_`, and `_held` after
/// `ephemeral_ports_reserved` for the same name with another last word.
fn table_names(text: &str) -> Vec<String> {
    let table = text
        .split_once("| metric | labels | meaning |")
        .expect("README.md has a table of metrics")
        .1;
    let rows = table.lines().skip(2).take_while(|row| row.starts_with('|'));
    let mut names = Vec::new();
    for row in rows {
        let mut full = String::new();
        for name in quoted(row.split('|').nth(1).unwrap()) {
            if name.starts_with('_') {
                let stem = full.rsplit_once('_').expect("a full name comes first").0;
                names.push(format!("{stem}{name}"));
            } else {
                full = format!("sockdiag_{name}");
                names.push(full.clone());
            }
        }
    }
    names.retain(|name| name != "sockdiag_process_*");
    names
}

#[test]
fn the_readme_lists_every_metric_and_no_other() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let known = known_metrics();
    let listed: BTreeSet<String> = table_names(&text).into_iter().collect();
    let unknown: Vec<_> = listed.difference(&known).collect();
    assert!(unknown.is_empty(), "there is no metric {unknown:?}");
    let missing: Vec<_> = known
        .difference(&listed)
        .filter(|name| name.starts_with("sockdiag_"))
        .collect();
    assert!(missing.is_empty(), "README.md lacks {missing:?}");
    // In its text `…_held` is the end of a name.
    let ends = text
        .lines()
        .flat_map(quoted)
        .filter_map(|span| span.strip_prefix('…'));
    for end in ends.filter(|end| end.starts_with('_')) {
        assert!(
            known.iter().any(|name| name.ends_with(end)),
            "README.md: no metric ends with {end}"
        );
    }
}

/// An alert carries the id of the finding that says more about it on the host.
#[test]
fn alerts_and_findings_share_their_ids() {
    let mut labels = BTreeSet::new();
    for (_, text) in texts(&root().join("deploy/prometheus/rules"), &["yml"]) {
        for said in text.lines().filter_map(|line| value(line, "finding")) {
            // A template chooses between two.
            let ids = FindingId::ALL.iter().map(|(id, _)| *id);
            let ids: Vec<_> = ids.filter(|id| said.contains(id)).collect();
            assert!(
                !ids.is_empty() || said == "exporter",
                "there is no finding {said}"
            );
            labels.extend(ids);
        }
    }
    let missing: Vec<_> = FindingId::ALL
        .iter()
        .filter(|(id, _)| !labels.contains(id))
        .collect();
    assert!(missing.is_empty(), "no alert carries {missing:?}");
}

#[test]
fn every_recorded_name_that_is_used_is_recorded() {
    let files = texts(&root().join("deploy"), &["yml", "yaml", "json", "md"]);
    let recorded: BTreeSet<&str> = files
        .iter()
        .filter(|(path, _)| path.starts_with(root().join("deploy/prometheus/rules")))
        .flat_map(|(_, text)| text.lines())
        .filter_map(|line| value(line, "record"))
        .collect();
    assert!(recorded.len() >= 10, "only {recorded:?} are recorded");
    let mut used = 0;
    for (path, text) in &files {
        for line in text.lines().filter(|line| value(line, "record").is_none()) {
            for name in words(line, "sockdiag:") {
                assert!(
                    recorded.contains(name),
                    "{}: {name} is not recorded",
                    path.display()
                );
                used += 1;
            }
        }
    }
    assert!(used > 50, "only {used} uses found: is the scan right?");
}

/// Places that name the image's version, which is the crate's.
#[test]
fn images_have_the_version_of_the_crate() {
    let version = env!("CARGO_PKG_VERSION");
    for (file, before) in [
        ("Dockerfile", "ARG VERSION="),
        (
            "deploy/compose/docker-compose.yml",
            "image: sockdiag-exporter:",
        ),
        ("deploy/kubernetes/base/kustomization.yaml", "newTag: "),
        ("deploy/kubernetes/example/kustomization.yaml", "newTag: "),
        ("deploy/README.md", "sockdiag-exporter:"),
    ] {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let found: Vec<_> = text
            .split(before)
            .skip(1)
            .map(|rest| rest.split_whitespace().next().unwrap_or_default())
            .collect();
        assert!(!found.is_empty(), "{file} has no {before:?}");
        for said in found {
            assert_eq!(said, version, "{file}: {before:?}");
        }
    }
}
