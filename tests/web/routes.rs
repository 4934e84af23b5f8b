//! What is at which path, before, with and after a snapshot.

use std::io::Read;

use crate::web::client::{ROOMY, Server};
use crate::web::snapshots::{fresh, snapshot, stale};

const ROUTES: [&str; 8] = [
    "/",
    "/static/page.js",
    "/static/page.css",
    "/static/icon.svg",
    "/metrics",
    "/-/healthy",
    "/-/ready",
    "/api/v1/snapshot",
];

fn decompress(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_end(&mut plain)
        .unwrap();
    plain
}

#[test]
fn a_scrape_gets_the_page_as_it_was_published() {
    let server = Server::start(ROOMY);
    let published = fresh();
    let text = published.page.text.clone();
    server.publisher.publish(published);
    let answer = server.get("/metrics");
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(answer.body, text);
    assert!(
        answer
            .text()
            .contains("sockdiag_conntrack_entries{netns=\"host\"} 131072")
    );
}

#[test]
fn gzip_is_the_same_page_for_those_who_take_it() {
    let server = Server::start(ROOMY);
    let published = fresh();
    let text = published.page.text.clone();
    server.publisher.publish(published);
    for accepted in ["gzip", "deflate, gzip;q=0.5", "*"] {
        let answer = server.ask(
            "GET",
            "/metrics",
            &format!("Accept-Encoding: {accepted}\r\n"),
        );
        assert_eq!(
            answer.header("content-encoding"),
            Some("gzip"),
            "{accepted}"
        );
        assert_eq!(answer.header("vary"), Some("Accept-Encoding"));
        assert_eq!(decompress(&answer.body), text);
    }
    for refused in ["gzip;q=0", "br", "*;q=0", ""] {
        let answer = server.ask(
            "GET",
            "/metrics",
            &format!("Accept-Encoding: {refused}\r\n"),
        );
        assert_eq!(answer.header("content-encoding"), None, "{refused}");
        assert_eq!(answer.body, text);
    }
}

#[test]
fn without_a_fresh_snapshot_the_process_alone_is_shown() {
    let server = Server::start(ROOMY);
    for published in [None, Some(stale())] {
        let waits_for_the_first = published.is_none();
        published
            .into_iter()
            .for_each(|published| server.publisher.publish(published));
        let reason = match waits_for_the_first {
            true => "no poll has finished yet",
            false => "the last snapshot is too old",
        };
        let metrics = server.get("/metrics");
        assert_eq!(metrics.status(), 200);
        assert!(
            metrics
                .text()
                .contains("sockdiag_build_info{revision=\"abc\",version=\"1.2.3\"} 1")
        );
        assert!(!metrics.text().contains("sockdiag_conntrack_entries"));
        let gzip = server.ask("GET", "/metrics", "Accept-Encoding: gzip\r\n");
        assert!(decompress(&gzip.body).starts_with(b"# HELP"));
        let ready = server.get("/-/ready");
        assert_eq!(
            (ready.status(), ready.text()),
            (503, &*format!("not ready: {reason}\n"))
        );
        let json = server.get("/api/v1/snapshot");
        assert_eq!(
            (json.status(), json.text()),
            (503, &*format!("{{\"error\":\"{reason}\"}}"))
        );
        assert_eq!(server.get("/-/healthy").text(), "healthy\n");
        let page = server.get("/");
        assert_eq!(page.status(), 200);
        assert!(page.text().contains(reason));
    }
    server.publisher.publish(fresh());
    let ready = server.get("/-/ready");
    assert_eq!((ready.status(), ready.text()), (200, "ready\n"));
}

#[test]
fn the_snapshot_is_json() {
    let server = Server::start(ROOMY);
    server.publisher.publish(fresh());
    let answer = server.get("/api/v1/snapshot");
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let found: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let expected = serde_json::to_value(snapshot()).unwrap();
    assert_eq!(found["namespaces"], expected["namespaces"]);
}

#[test]
fn head_is_get_without_the_body() {
    let server = Server::start(ROOMY);
    server.publisher.publish(fresh());
    for path in ROUTES {
        let mut client = server.connect();
        client.send(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let head = client.answer("HEAD");
        // On the same connection, so that a body would be found.
        client.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"));
        let get = client.answer("GET");
        assert_eq!((head.status(), get.status()), (200, 200), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
        assert_eq!(head.header("content-length"), get.header("content-length"));
        assert!(!get.body.is_empty());
    }
}

#[test]
fn a_wrong_method_is_405_and_an_unknown_path_404() {
    let server = Server::start(ROOMY);
    for path in ROUTES {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
            let answer = server.ask(method, path, "");
            assert_eq!(answer.status(), 405, "{method} {path}");
            assert_eq!(answer.header("allow"), Some("GET,HEAD"));
        }
    }
    for path in [
        "/metric",
        "/metrics/",
        "//metrics",
        "/-/",
        "/%00",
        "/../etc/passwd",
        "*",
    ] {
        assert_eq!(server.get(path).status(), 404, "{path}");
    }
    assert_eq!(server.get("/metrics?name=x").status(), 200);
    assert_eq!(server.get("http://elsewhere/metrics").status(), 200);
    assert_eq!(server.ask("CONNECT", "elsewhere:443", "").status(), 404);
}

#[test]
fn requests_are_counted_by_route() {
    let server = Server::start(ROOMY);
    server.get("/metrics");
    server.ask("HEAD", "/metrics", "");
    server.ask("POST", "/metrics", "");
    server.get("/-/ready");
    server.get("/one");
    server.get("/two\"");
    assert_eq!(server.counted("/metrics", "200"), 2.0);
    assert_eq!(server.counted("/metrics", "405"), 1.0);
    assert_eq!(server.counted("/-/ready", "503"), 1.0);
    assert_eq!(server.counted("other", "404"), 2.0);
    assert_eq!(server.counted("/one", "404"), 0.0);
    server.get("/static/page.js");
    server.get("/static/three");
    assert_eq!(server.counted("/static/{file}", "200"), 1.0);
    assert_eq!(server.counted("/static/{file}", "404"), 1.0);
}
