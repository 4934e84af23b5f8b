//! The page for a person: what it says, and what it may load.

use std::time::Duration;

use sockdiag_exporter::snapshot::{NamespaceSnapshot, Page, Published};

use crate::web::client::{ROOMY, Server};
use crate::web::snapshots::{fresh, snapshot};

#[test]
fn what_is_wrong_stands_first_and_the_worst_figures_follow() {
    let server = Server::start(ROOMY);
    server.publisher.publish(fresh());
    let answer = server.get("/");
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let page = answer.text();
    let in_order = [
        "Version 1.2.3, revision &lt;abc&gt;",
        "href=\"/metrics\"",
        "What is wrong",
        "sockets: refused: &lt;EPERM&gt;",
        "deploy/runbooks/SockdiagCollectorFailing.md",
        "<span class=\"badge warning\">warning</span> [::]:8443</h3>",
        "96 connections wait for accept()",
        "deploy/runbooks/SockdiagAcceptQueueNearLimit.md",
        "Network namespace host",
        "The last ten minutes",
        "198.51.100.8:443 from 192.0.2.1: 60.0% now, 60.0% at most",
        "60.0%",
        "87.5%",
        "Worst destinations, of 1,000 ports each",
        "192.0.2.1%&lt;script&gt;",
        "131,072",
        "8443",
        "75.0%",
    ];
    let mut rest = page;
    for shown in in_order {
        let at = rest.find(shown);
        rest = &rest[at.unwrap_or_else(|| panic!("{shown}:\n{page}"))..];
    }
    let place = |text: &str| page.find(text).unwrap();
    assert!(
        place("<td>198.51.100.8") < place("<td>2001:db8::1"),
        "the worse first"
    );
    assert!(
        place("<td>2001:db8::1") < place("<td>198.51.100.7"),
        "reusable ports are no loss"
    );
}

#[test]
fn a_figure_is_as_bad_as_its_finding_and_reads_the_same() {
    let server = Server::start(ROOMY);
    let mut snapshot = snapshot();
    let facts = &mut snapshot.namespaces[0].facts;
    let listeners = match &mut facts.listeners {
        sockdiag_exporter::subjects::section::Section::Measured(listeners) => listeners,
        _ => unreachable!("it is measured"),
    };
    (listeners.queues[0].waiting, listeners.queues[0].limit) = (9, 10);
    publish(&server, snapshot);
    let page = server.get("/");
    let page = page.text();
    let critical = "<span class=\"badge critical\">critical</span> [::]:8443</h3>";
    assert!(page.contains(critical), "{page}");
    let cell = "<span class=\"badge critical\">critical</span> 90.0% <svg class=\"bar critical\"";
    assert!(page.contains(cell), "{page}");
    assert!(page.contains("whose limit is 10 (90.0%)"), "{page}");
    assert!(
        page.contains("[::]:8443: 90.0% now, 90.0% at most"),
        "{page}"
    );
}

#[test]
fn it_loads_and_runs_nothing_but_its_own() {
    let server = Server::start(ROOMY);
    server.publisher.publish(fresh());
    let answer = server.get("/");
    let policy = answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'; "),
        "{policy}"
    );
    assert!(!policy.contains("unsafe") && !policy.contains(':') && !policy.contains('*'));
    let page = answer.text();
    assert!(!page.contains(" style=") && !page.contains("<style"));
    let is_handler = |rest: &str| {
        let name = rest.split_once("=\"").map_or("", |(name, _)| name);
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    assert!(!page.split(" on").skip(1).any(is_handler));
    assert_eq!(page.matches("<script").count(), 1);
    for loaded in [
        "src=\"",
        "<link rel=\"icon\" href=\"",
        "<link rel=\"stylesheet\" href=\"",
    ] {
        assert_eq!(page.matches(loaded).count(), 1, "{loaded}");
        let (_, path) = page.split_once(loaded).unwrap();
        let (path, _) = path.split_once('"').unwrap();
        let file = server.get(path);
        assert_eq!(file.status(), 200, "{path}");
        let text = file.text();
        // The icon names the standard that it is written in.
        let text = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!text.contains("http") && !text.contains("@import") && !text.contains("url("));
    }
}

#[test]
fn a_file_is_sent_again_only_when_it_has_changed() {
    let server = Server::start(ROOMY);
    for (path, kind) in [
        ("/static/page.js", "text/javascript; charset=utf-8"),
        ("/static/change.js", "text/javascript; charset=utf-8"),
        ("/static/sort.js", "text/javascript; charset=utf-8"),
        ("/static/page.css", "text/css; charset=utf-8"),
        ("/static/icon.svg", "image/svg+xml"),
    ] {
        let first = server.get(path);
        assert_eq!(first.header("content-type"), Some(kind));
        assert_eq!(first.header("cache-control"), Some("no-cache"));
        assert_eq!(first.header("x-content-type-options"), Some("nosniff"));
        let tag = first.header("etag").unwrap();
        let again = server.ask("GET", path, &format!("If-None-Match: {tag}\r\n"));
        assert_eq!((again.status(), again.body.len()), (304, 0));
        let old = server.ask("GET", path, "If-None-Match: \"0\"\r\n");
        assert_eq!((old.status(), &old.body), (200, &first.body));
    }
    assert_eq!(server.get("/static/").status(), 404);
    assert_eq!(server.get("/static/%2e%2e%2fpage.rs").status(), 404);
}

#[test]
fn a_namespace_is_picked_by_its_name() {
    let server = Server::start(ROOMY);
    let mut snapshot = snapshot();
    snapshot.namespaces.push(NamespaceSnapshot {
        name: "a b&c".to_owned(),
        ..NamespaceSnapshot::default()
    });
    publish(&server, snapshot);
    let all = server.get("/?netns=");
    assert!(all.text().contains("href=\"/?netns=a+b%26c\""));
    let picked = server.get("/?x=1&netns=a+b%26c");
    assert_eq!(picked.status(), 200);
    assert!(picked.text().contains("Network namespace a b&amp;c</h2>"));
    assert!(!picked.text().contains("Network namespace host</h2>"));
    let unknown = server.get("/?netns=%3Cb%3E%FF");
    assert_eq!(unknown.status(), 404);
    assert!(unknown.text().contains("no network namespace &lt;b&gt;"));
}

#[test]
fn the_plots_go_on_with_what_is_published() {
    let server = Server::start(ROOMY);
    let points = || {
        let page = server.get("/").text().to_owned();
        let (_, path) = page.split_once("class=\"line line-0\" d=\"").unwrap();
        path.split_once('"').unwrap().0.to_owned()
    };
    server.publisher.publish(fresh());
    let first = points();
    std::thread::sleep(Duration::from_millis(5_000));
    server.publisher.publish(fresh());
    let second = points();
    assert!(
        second.matches('L').count() > first.matches('L').count(),
        "{first} {second}"
    );
}

fn publish(server: &Server, snapshot: sockdiag_exporter::snapshot::Snapshot) {
    let (now, age_max) = (std::time::Instant::now(), Duration::from_secs(60));
    let published = Published::new(snapshot, Page::default(), now, age_max);
    server.publisher.publish(published);
}
