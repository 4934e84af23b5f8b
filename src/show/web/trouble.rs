//! What is wrong and toward whom: failed collectors, then findings, the worst first.

use super::html::{Html, id};
use crate::findings::{Finding, RUNBOOKS, Severity};
use crate::show::namespaces::Diagnosed;
use crate::snapshot::{NamespaceSnapshot, Snapshot};

/// Of failures and of findings so many are shown: there may be hundreds of namespaces.
const MOST: usize = 30;
/// Failed collectors are no finding and have a runbook all the same.
const OF_FAILURES: &str = "SockdiagCollectorFailing";

/// The worst of all; figures that are missing may hide anything.
pub fn worst(shown: &[Diagnosed]) -> Option<Severity> {
    let findings = shown.iter().flat_map(|one| &one.findings);
    findings.map(|finding| finding.severity).max()
}

pub fn write(html: &mut Html, snapshot: &Snapshot, shown: &[Diagnosed]) {
    html.raw("<section aria-labelledby=\"wrong\">\n<h2 id=\"wrong\">What is wrong</h2>\n");
    let is_failing = |one: &&Diagnosed| !one.namespace.facts.failures().is_empty();
    let failing: Vec<_> = shown.iter().filter(is_failing).collect();
    for one in failing.iter().take(MOST) {
        failures(html, one.namespace);
    }
    if failing.len() > MOST {
        html.paragraph(format_args!(
            "Collectors fail in {} more network namespaces.",
            failing.len() - MOST
        ));
    }
    let mut all: Vec<_> = shown
        .iter()
        .flat_map(|one| one.findings.iter().map(move |finding| (one, finding)))
        .collect();
    all.sort_by(|(_, a), (_, b)| {
        let order = a.severity.cmp(&b.severity);
        order.then(a.share.total_cmp(&b.share)).reverse()
    });
    for (at, (one, finding)) in all.iter().take(MOST).enumerate() {
        write_finding(html, one, finding, at == 0);
    }
    if all.len() > MOST {
        html.paragraph(format_args!(
            "And {} more, none of them worse: pick a namespace.",
            all.len() - MOST
        ));
    }
    if all.is_empty() && failing.is_empty() {
        html.paragraph("Nothing is known to be wrong.");
    }
    if snapshot.namespaces.len() > shown.len() {
        html.fill(
            "<p><a href=\"/\">All {} network namespaces</a></p>\n",
            &[&snapshot.namespaces.len()],
        );
    }
    html.raw("</section>\n");
}

fn failures(html: &mut Html, namespace: &NamespaceSnapshot) {
    let name = &namespace.name;
    html.fill(
        "<article class=\"finding critical\" id=\"{}\">\n<h3>Failed collectors in network namespace {}</h3>\n",
        &[&id("failed", name), name],
    );
    let all = namespace.facts.failures().into_iter();
    html.list(all.map(|down| format!("{}: {}", down.collectors.join(", "), down.failure.message)));
    runbook(html, OF_FAILURES);
    html.raw("</article>\n");
}

fn write_finding(html: &mut Html, one: &Diagnosed, finding: &Finding, is_open: bool) {
    let (name, severity) = (&one.namespace.name, finding.severity.label());
    let id = id("finding", (name, finding.id.as_str(), &finding.subject));
    html.fill(
        "<article class=\"finding {}\" id=\"{}\">\n<h3>",
        &[&severity, &id],
    );
    badge(html, severity);
    // Of the exporter's own it need not be said.
    if !one.is_own {
        html.text(format_args!("{name}: "));
    }
    html.text(&finding.subject);
    html.raw("</h3>\n");
    html.paragraph(&finding.what);
    html.fill(
        "<details{}><summary>Why, and what helps ({})</summary>\n",
        &[&if is_open { " open" } else { "" }, &finding.id],
    );
    html.list(&finding.because);
    if !finding.advice.is_empty() {
        html.raw("<p>To do:</p>\n");
        let advice = finding.advice.iter();
        html.list(advice.map(|advice| match &advice.risk {
            Some(risk) => format!("{} Risk: {risk}", advice.what),
            None => advice.what.clone(),
        }));
    }
    html.raw("</details>\n");
    runbook(html, finding.id.runbook());
    html.raw("</article>\n");
}

/// Colour is not all that tells how bad it is: the word stands there.
pub fn badge(html: &mut Html, severity: &str) {
    html.fill(
        "<span class=\"badge {}\">{}</span> ",
        &[&severity, &severity],
    );
}

fn runbook(html: &mut Html, name: &str) {
    let target = format_args!("{RUNBOOKS}{name}.md");
    html.raw("<p>");
    html.link(target, format_args!("Runbook {name}"));
    html.raw("</p>\n");
}
