//! TLS: who is believed, who is let in, and what a handshake may take.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tokio_rustls::rustls::ProtocolVersion;
use tokio_rustls::rustls::version::{TLS12, TLS13};

use super::authority::{Authority, Client};
use super::scene::{Scene, TLS, plain, server};
use crate::exporter::{patience, with_config};
use crate::support::netns::in_netns;
use crate::support::tools;

#[test]
fn https_is_served_to_those_who_trust_the_authority() {
    let name = "web_config::https::https_is_served_to_those_who_trust_the_authority";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let _exporter = scene.start(TLS, &[]);
        for path in ["/metrics", "/", "/-/healthy"] {
            let answer = scene.client().get(server(), path, &[]).unwrap();
            assert_eq!(answer.status, 200, "{path}");
        }
        let stranger = Authority::new("somebody else");
        let error = Client::of(&stranger)
            .get(server(), "/metrics", &[])
            .unwrap_err();
        assert!(error.to_string().contains("UnknownIssuer"), "{error}");
        // Whoever forgets the s is told.
        let answer = said_to(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(
            answer.starts_with("HTTP/1.0 400 Bad Request\r\n"),
            "{answer}"
        );
        assert!(
            answer.ends_with("an HTTP request to an HTTPS server.\n"),
            "{answer}"
        );
        // An alert of TLS, and not a word of HTTP.
        let answer = said_to(b"\x00\x01garbage that is no handshake");
        assert!(answer.starts_with("\u{15}\u{3}"), "{answer:?}");
    });
}

/// What the server says to these bytes, up to its end.
fn said_to(bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server()).unwrap();
    stream.set_read_timeout(Some(patience())).unwrap();
    stream.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_connection_is_kept_between_scrapes() {
    let name = "web_config::https::a_connection_is_kept_between_scrapes";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let _exporter = scene.start(TLS, &[]);
        let mut stream = scene.client().connect(server()).unwrap();
        for _ in 0..5 {
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
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
        }
    });
}

#[test]
fn every_policy_lets_in_whom_it_means() {
    let name = "web_config::https::every_policy_lets_in_whom_it_means";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let ours = scene.authority.client("prometheus.example");
        let theirs = Authority::new("somebody else").client("prometheus.example");
        // For a client without a certificate, with one of ours, with one of a stranger's.
        let cases = [
            ("NoClientCert", "", [true, true, true]),
            ("RequestClientCert", "", [true, true, true]),
            ("RequireAnyClientCert", "", [false, true, true]),
            (
                "VerifyClientCertIfGiven",
                "  client_ca_file: ca.pem\n",
                [true, true, false],
            ),
            (
                "RequireAndVerifyClientCert",
                "  client_ca_file: ca.pem\n",
                [false, true, false],
            ),
        ];
        for (policy, more, expected) in cases {
            let config = format!("{TLS}  client_auth_type: {policy}\n{more}");
            let mut exporter = scene.start(&config, &[]);
            let clients = [None, Some(&ours), Some(&theirs)];
            for version in [&TLS12, &TLS13] {
                let let_in = clients.map(|identity| {
                    let versions = &[version][..];
                    let client = Client {
                        identity,
                        versions,
                        ..scene.client()
                    };
                    client
                        .get(server(), "/metrics", &[])
                        .is_ok_and(|answer| answer.status == 200)
                });
                assert_eq!(let_in, expected, "{policy} {version:?}");
            }
            exporter.process.kill().unwrap();
        }
    });
}

#[test]
fn only_clients_with_a_listed_name_are_let_in() {
    let name = "web_config::https::only_clients_with_a_listed_name_are_let_in";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let config = format!(
            "{TLS}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: ca.pem\n  client_allowed_sans: [prometheus.example]\n"
        );
        let _exporter = scene.start(&config, &[]);
        let is_let_in = |client: &Client| client.get(server(), "/metrics", &[]).is_ok();
        let listed = scene.authority.client("prometheus.example");
        assert!(is_let_in(&Client::with(&scene.authority, &listed)));
        for other in ["prometheus.example.org", "grafana.example"] {
            let other = scene.authority.client(other);
            assert!(!is_let_in(&Client::with(&scene.authority, &other)));
        }
        let forged = Authority::new("somebody else").client("prometheus.example");
        assert!(!is_let_in(&Client::with(&scene.authority, &forged)));
        assert!(
            !is_let_in(&scene.client()),
            "without a certificate there is no name"
        );
    });
}

#[test]
fn versions_suites_and_curves_are_as_configured() {
    let name = "web_config::https::versions_suites_and_curves_are_as_configured";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let spoken = |config: &str| {
            let mut exporter = scene.start(&format!("{TLS}{config}"), &[]);
            let spoken = [&TLS12, &TLS13].map(|version| {
                let client = Client {
                    versions: &[version],
                    ..scene.client()
                };
                let mut stream = client.connect(server()).unwrap();
                let _ = stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
                stream.read_exact(&mut [0]).ok()?;
                let suite = format!("{:?}", stream.conn.negotiated_cipher_suite()?.suite());
                let group = format!("{:?}", stream.conn.negotiated_key_exchange_group()?.name());
                let version = stream.conn.protocol_version()?;
                Some((version, suite, group))
            });
            exporter.process.kill().unwrap();
            spoken
        };
        let [older, newer] = spoken("");
        assert_eq!(older.unwrap().0, ProtocolVersion::TLSv1_2);
        assert_eq!(newer.unwrap().0, ProtocolVersion::TLSv1_3);
        let [older, newer] = spoken("  min_version: TLS13\n");
        assert!(older.is_none() && newer.is_some());
        let [older, newer] = spoken("  min_version: TLS10\n  max_version: TLS12\n");
        assert!(older.is_some() && newer.is_none());
        let [older, newer] = spoken(
            "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA, TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256]\n  curve_preferences: [CurveP384]\n",
        );
        let (_, suite, group) = older.unwrap();
        assert_eq!(suite, "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256");
        assert_eq!(group, "secp384r1");
        // The list is not about TLS 1.3, as in Go.
        assert!(newer.unwrap().1.starts_with("TLS13_"));
    });
}

#[test]
fn a_handshake_that_does_not_end_is_cut_off_and_holds_nobody_up() {
    let name = "web_config::https::a_handshake_that_does_not_end_is_cut_off_and_holds_nobody_up";
    in_netns(name, &[], || {
        let scene = Scene::new();
        scene.write(
            "exporter.toml",
            "[web]\nheader_timeout = \"1s\"\nmax_connections = 4\n",
        );
        let config = scene.path("exporter.toml");
        let _exporter = scene.start(TLS, &["--config", config.to_str().unwrap()]);
        // One says nothing, the others the beginning of a handshake; they take every place.
        let silent = [
            b"".as_slice(),
            b"\x16",
            b"\x16\x03\x01\x02\x00\x01",
            b"\x16\x03",
        ]
        .map(|bytes| {
            let mut stream = TcpStream::connect(server()).unwrap();
            stream.set_read_timeout(Some(patience())).unwrap();
            stream.write_all(bytes).unwrap();
            stream
        });
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(scene.status(&[]), Some(200));
        for mut stream in silent {
            let mut rest = Vec::new();
            // A reset is an end as well; a timeout is none.
            if let Err(error) = stream.read_to_end(&mut rest) {
                assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
            }
        }
        assert_eq!(scene.status(&[]), Some(200));
    });
}

#[test]
fn headers_are_added_to_every_answer() {
    let name = "web_config::https::headers_are_added_to_every_answer";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let config = "http_server_config:\n  http2: true\n  headers:\n    X-Frame-Options: deny\n    Content-Security-Policy: default-src 'self'\n";
        let _exporter = scene.start(config, &[]);
        for path in ["/metrics", "/", "/nowhere"] {
            let answer = plain(path, &[]);
            assert_eq!(answer.header("x-frame-options"), Some("deny"), "{path}");
            let policy = answer.header("content-security-policy");
            assert_eq!(policy, Some("default-src 'self'"), "{path}");
        }
    });
}

#[test]
fn the_metrics_are_where_they_were_put() {
    let name = "web_config::https::the_metrics_are_where_they_were_put";
    in_netns(name, &[], || {
        let scene = Scene::new();
        let mut exporter = scene.start("", &["--web.telemetry-path=/sockets/metrics"]);
        let is_there = || {
            plain("/sockets/metrics", &[])
                .text()
                .contains("sockdiag_build_info")
        };
        assert!(tools::wait_until(patience(), is_there));
        assert_eq!(plain("/metrics", &[]).status, 404);
        assert!(plain("/", &[]).text().contains("href=\"/sockets/metrics\""));
        exporter.process.kill().unwrap();
        scene.write("root.toml", "[web]\ntelemetry_path = \"/\"\n");
        let _exporter = crate::exporter::Exporter::from(&mut with_config(&scene.path("root.toml")));
        let is_up = || TcpStream::connect(server()).is_ok();
        assert!(tools::wait_until(patience(), is_up));
        assert!(plain("/", &[]).text().contains("sockdiag_build_info"));
    });
}
