//! What is at which path, before, with and after a snapshot.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use crate::web::client::{ROOMY, Server};
use crate::web::snapshots::{fresh, snapshot, stale};

const ROUTES: [&str; 5] = [
    "/",
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
}

#[test]
fn the_page_shows_the_worst_figures() {
    let server = Server::start(ROOMY);
    server.publisher.publish(fresh());
    let answer = server.get("/");
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    let page = answer.text();
    for shown in [
        "Version 1.2.3, revision &lt;abc&gt;",
        "href=\"/metrics\"",
        "href=\"/api/v1/snapshot\"",
        "Network namespace host",
        "warning (accept-queue): 96 connections wait",
        "60.0%",
        "87.5%",
        "Worst destinations, of 1000 ports each",
        "131072",
        "8443",
        "75.0%",
        "sockets: refused: &lt;EPERM&gt;",
        "192.0.2.1%&lt;script&gt;",
    ] {
        assert!(page.contains(shown), "{shown}:\n{page}");
    }
    let place = |text: &str| page.find(text).unwrap();
    assert!(
        place("198.51.100.8") < place("2001:db8::1"),
        "the worse first"
    );
    assert!(
        place("2001:db8::1") < place("198.51.100.7"),
        "reusable ports are no loss"
    );
    assert!(!page.contains("<script"));
}

#[test]
fn the_page_loads_and_runs_nothing_but_its_own_style() {
    let server = Server::start(ROOMY);
    server.publisher.publish(fresh());
    let answer = server.get("/");
    let policy = answer.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"));
    let (_, rest) = answer.text().split_once("<style>").unwrap();
    let (style, rest) = rest.split_once("</style>").unwrap();
    assert!(!rest.contains(" style=") && !answer.text().contains("http"));
    let expected = format!("'sha256-{}'", base64(&sha256(style)));
    assert!(
        policy.contains(&expected),
        "the style's hash is {expected}, the policy is {policy}"
    );
}

/// By coreutils' sha256sum: no crate is needed for one hash.
fn sha256(text: &str) -> Vec<u8> {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = child.wait_with_output().unwrap().stdout;
    let digits = std::str::from_utf8(&output[..64]).unwrap();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..64).step_by(2).map(byte).collect()
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = (0..3).fold(0_u32, |sum, at| {
            sum << 8 | u32::from(*chunk.get(at).unwrap_or(&0))
        });
        for at in 0..4 {
            match at <= chunk.len() {
                true => text.push(ALPHABET[(number >> (18 - 6 * at)) as usize & 63].into()),
                false => text.push('='),
            }
        }
    }
    text
}
