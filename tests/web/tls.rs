//! Clients of TLS that misbehave, and those that only look like it.

use std::io::{ErrorKind, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use sockdiag_exporter::show::web::client::ConnectionLimits as Limits;
use sockdiag_exporter::show::web::web_config::WebConfig;
use tempfile::TempDir;

use crate::authority::{Authority, Client, Tls};
use crate::web::client::{PATIENCE, ROOMY, Server};
use crate::web::snapshots::large;

/// Far more than the kernel takes off our hands.
const LARGE: usize = 64 * 1024 * 1024;
const SCRAPE: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

struct Scene {
    server: Server,
    authority: Authority,
    _directory: TempDir,
}

impl Scene {
    fn new(limits: Limits) -> Self {
        let (directory, authority) = (TempDir::new().unwrap(), Authority::new("of the test"));
        let identity = authority.server();
        let write = |name: &str, text: &str| {
            let path = directory.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        write("pem", &identity.certificate);
        write("key", &identity.key);
        let file = write(
            "web.yml",
            "tls_server_config: {cert_file: pem, key_file: key}\n",
        );
        let config = WebConfig::load(&file).unwrap();
        Self {
            server: Server::configured(limits, Some(Arc::new(config))),
            authority,
            _directory: directory,
        }
    }

    fn connect(&self) -> Tls {
        let client = Client::of(&self.authority);
        let stream = client.connect(self.server.address).unwrap();
        stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

/// The length of the body that comes, up to the end or to an error.
fn body(stream: &mut Tls) -> (usize, Option<ErrorKind>) {
    let mut answer = Vec::new();
    let error = stream.read_to_end(&mut answer).err();
    let head = answer.windows(4).position(|end| end == b"\r\n\r\n");
    let length = head.map_or(0, |head| answer.len() - head - 4);
    (length, error.map(|error| error.kind()))
}

#[test]
fn a_large_page_comes_whole_though_the_client_ends_its_side() {
    let scene = Scene::new(ROOMY);
    scene.server.publisher.publish(large(LARGE / 8));
    let mut stream = scene.connect();
    stream.write_all(SCRAPE).unwrap();
    stream.conn.send_close_notify();
    stream.flush().unwrap();
    assert_eq!(body(&mut stream), (LARGE / 8, None));
}

#[test]
fn a_client_that_stops_reading_is_dropped() {
    let limits = Limits {
        request_timeout: Duration::from_millis(300),
        ..ROOMY
    };
    let scene = Scene::new(limits);
    scene.server.publisher.publish(large(LARGE));
    let mut stream = scene.connect();
    stream.write_all(SCRAPE).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let (length, error) = body(&mut stream);
    assert!(length < LARGE, "{length} bytes");
    assert!(
        error.is_some_and(|error| error != ErrorKind::WouldBlock),
        "{error:?}"
    );
}

#[test]
fn an_idle_connection_is_kept_beyond_the_time_for_a_head() {
    let limits = Limits {
        header_timeout: Duration::from_millis(300),
        ..ROOMY
    };
    let scene = Scene::new(limits);
    let mut stream = scene.connect();
    for _ in 0..2 {
        stream
            .write_all(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n")
            .unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"healthy\n") {
            let mut some = [0; 512];
            let length = stream.read(&mut some).unwrap();
            assert!(length > 0, "closed");
            answer.extend_from_slice(&some[..length]);
        }
        std::thread::sleep(Duration::from_millis(600));
    }
    // Half a request is not idle.
    stream.write_all(b"GET /-/heal").unwrap();
    let mut rest = Vec::new();
    let error = stream
        .read_to_end(&mut rest)
        .err()
        .map(|error| error.kind());
    assert_ne!(error, Some(ErrorKind::WouldBlock), "it is closed in time");
}

#[test]
fn an_oversized_head_is_told_over_tls_as_well() {
    let scene = Scene::new(ROOMY);
    let mut stream = scene.connect();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n",
        "x".repeat(200_000)
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.conn.send_close_notify();
    let _ = stream.flush();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(
        answer.starts_with(b"HTTP/1.1 431 "),
        "{}",
        String::from_utf8_lossy(&answer)
    );
}
