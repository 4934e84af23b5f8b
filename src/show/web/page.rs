//! The page for a person who looks at `/`: what is wrong and toward whom, the last ten minutes,
//! and the worst figures of the last snapshot.

use std::time::{Duration, SystemTime};

use super::html::Html;
use super::table::heading_id;
use super::{figures, plots, trouble};
use crate::history::History;
use crate::show::namespaces::{self, Diagnosed};
use crate::snapshot::Snapshot;

/// Script and style are files of ours; nothing is loaded from anywhere else.
pub const SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Up to the body: its title, the seconds and the milliseconds until there is something new.
const HEAD: &str = r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{}</title>
<link rel="icon" href="/static/icon.svg">
<link rel="stylesheet" href="/static/page.css">
<script type="module" src="/static/page.js"></script>
<noscript><meta http-equiv="refresh" content="{}"></noscript>
</head>
<body data-beat="{}">
"#;

/// Up to the picker: version, revision, where the metrics are.
const HEADER: &str = r##"<a class="skip" href="#main">To the figures</a>
<header>
<h1>sockdiag-exporter</h1>
<p>Version {}, revision {}</p>
<nav aria-label="Pages"><a href="{}">Metrics</a> <a href="/api/v1/snapshot">Snapshot (JSON)</a> <a href="/-/healthy">Health</a> <a href="/-/ready">Readiness</a> </nav>
<div id="picker">"##;

/// After it. The control is of the script: hidden without it.
const CONTROL: &str = r#"</div>
<p id="control" hidden><button type="button" id="pause" aria-pressed="false">Pause</button> <strong id="state" role="status"></strong> <span id="ago"></span></p>
<p id="news" class="unseen" role="status"></p>
</header>
<main id="main" tabindex="-1">
"#;

/// How often a page without a snapshot asks for one.
const WAITING: Duration = Duration::from_secs(2);
/// Namespaces that are shown with all figures: there may be hundreds.
const IN_FULL: usize = 10;
/// Nobody reads faster than that.
const QUICKEST: Duration = Duration::from_secs(1);

pub struct Content<'c> {
    pub version: &'c str,
    pub revision: &'c str,
    pub telemetry_path: &'c str,
    pub snapshot: Option<&'c Snapshot>,
    pub history: &'c History,
    /// Why there is no snapshot, when there is none.
    pub why_not: &'c str,
    /// The network namespace that was asked for.
    pub netns: Option<&'c str>,
    pub now: SystemTime,
}

impl Content<'_> {
    /// Whether the namespace that was asked for is there, as far as there is a snapshot.
    pub fn is_found(&self) -> bool {
        let (Some(name), Some(all)) = (self.netns, self.snapshot) else {
            return true;
        };
        all.namespaces.iter().any(|one| one.name == name)
    }

    pub fn render(&self) -> String {
        let shown = self.snapshot.into_iter();
        let shown = shown.flat_map(|all| namespaces::diagnosed(all, self.netns));
        let shown: Vec<_> = shown.collect();
        let mut html = Html::default();
        self.head(&mut html, &shown);
        html.fill(
            HEADER,
            &[&self.version, &self.revision, &self.telemetry_path],
        );
        self.picker(&mut html);
        html.raw(CONTROL);
        match self.snapshot {
            Some(_) if !self.is_found() => html.paragraph(format_args!(
                "There is no network namespace {} here, or no more.",
                self.netns.unwrap_or_default()
            )),
            Some(snapshot) => self.write(&mut html, snapshot, &shown),
            None => html.paragraph(format_args!("Nothing to show: {}.", self.why_not)),
        }
        html.raw("</main>\n</body>\n</html>\n");
        html.finish()
    }

    fn head(&self, html: &mut Html, shown: &[Diagnosed]) {
        let title = match trouble::worst(shown) {
            Some(worst) => format!("{}: sockdiag-exporter", worst.label()),
            None => "sockdiag-exporter".to_owned(),
        };
        // How often there is something new.
        let interval = self.snapshot.map_or(WAITING, |all| all.interval);
        let beat = interval.max(QUICKEST);
        // A poll that stretches over a part of a second is in by the next full one.
        let seconds = beat.as_secs() + u64::from(beat.subsec_nanos() > 0);
        html.fill(HEAD, &[&title, &seconds, &beat.as_millis()]);
    }

    /// Where there are several namespaces to choose from.
    fn picker(&self, html: &mut Html) {
        let all = self.snapshot.map_or(&[][..], |all| &all.namespaces);
        if all.len() < 2 {
            return;
        }
        html.raw("<form method=\"get\" action=\"/\"><label for=\"netns\">Network namespace</label> <select id=\"netns\" name=\"netns\"><option value=\"\">Own, and those in trouble</option>");
        for one in all {
            let is_picked = self.netns == Some(&one.name);
            let selected = if is_picked { " selected" } else { "" };
            html.fill(
                "<option value=\"{}\"{}>{}</option>",
                &[&one.name, &selected, &one.name],
            );
        }
        html.raw("</select> <button>Show</button></form>");
    }

    fn write(&self, html: &mut Html, snapshot: &Snapshot, shown: &[Diagnosed]) {
        let age = self.now.duration_since(snapshot.taken).unwrap_or_default();
        // A clock that is yet to be set may say 1969, which cannot be written so.
        let taken = snapshot.taken.max(SystemTime::UNIX_EPOCH);
        let taken = humantime::format_rfc3339_seconds(taken).to_string();
        // One that was worked out has nanoseconds that nobody wants to read.
        let interval = Duration::from_millis(snapshot.interval.as_millis() as u64);
        let interval = humantime::format_duration(interval);
        let age = format_args!("{:.0}", age.as_secs_f64());
        html.fill(
            "<p>Snapshot of <time datetime=\"{}\">{}</time>, {} s old; polled every {}.</p>\n",
            &[&taken, &taken, &age, &interval],
        );
        trouble::write(html, snapshot, shown);
        if self.netns.is_none() {
            let kernel = snapshot.namespaces.first();
            let kernel = kernel.and_then(|own| own.facts.kernel.measured());
            let untold = kernel.into_iter().flat_map(|kernel| kernel.untold());
            untold.for_each(|untold| html.paragraph(untold));
            figures::others(html, snapshot);
        }
        let is_in_full = |one: &&Diagnosed| self.netns.is_some() || one.is_in_full();
        let in_full: Vec<_> = shown.iter().filter(is_in_full).collect();
        for one in in_full.iter().take(IN_FULL) {
            let id = heading_id(&one.namespace.name);
            html.fill(
                "<section aria-labelledby=\"{}\">\n<h2 id=\"{}\">Network namespace {}</h2>\n",
                &[&id, &id, &one.namespace.name],
            );
            plots::write(html, one.namespace, self.history);
            figures::write(html, one);
            html.raw("</section>\n");
        }
        if in_full.len() > IN_FULL {
            html.paragraph(format_args!(
                "{} more network namespaces are in trouble: pick one.",
                in_full.len() - IN_FULL
            ));
        }
    }
}

#[cfg(test)]
mod tests;
