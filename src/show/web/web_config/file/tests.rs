use super::*;

const HASH: &str = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi";

fn parsed(text: &str) -> Result<WebFile, String> {
    parse(text, Path::new("/etc/exporters"))
}

#[test]
fn a_file_that_says_nothing_is_plain_http() {
    for text in [
        "",
        "# nothing\n",
        "---\n",
        "{}",
        "tls_server_config:\nbasic_auth_users:\n",
        "tls_server_config:\n  min_version: TLS13\n  cert_file: ''\n",
    ] {
        let file = parsed(text).expect(text);
        assert!(file.tls.is_none() && file.users.is_empty() && file.headers.is_empty());
        assert_eq!(file.rate, None);
    }
}

#[test]
fn paths_are_relative_to_the_file() {
    let text =
        "tls_server_config:\n  cert_file: a.pem\n  key_file: /b.pem\n  client_ca: |\n    x\n";
    let tls = parsed(text).unwrap().tls.unwrap();
    assert_eq!(tls.certificate, Pem::File("/etc/exporters/a.pem".into()));
    assert_eq!(tls.key, Pem::File("/b.pem".into()));
    assert_eq!(tls.client_ca, Some(Pem::Inline("x\n".to_owned())));
    assert_eq!(
        (tls.min_version.as_str(), tls.max_version.as_str()),
        ("TLS12", "TLS13")
    );
    assert!(tls.prefer_server_cipher_suites);
}

#[test]
fn plain_words_and_numbers_are_text_where_text_is_meant() {
    let text = format!(
        "http_server_config:\n  http2: no\n  headers:\n    X-XSS-Protection: 0\nbasic_auth_users:\n  1234: {HASH}\n  true: {HASH}\nrate_limit:\n  interval: 1s\n  burst: 20\n"
    );
    let file = parsed(&text).unwrap();
    assert_eq!(file.headers[0].1, "0");
    assert_eq!(file.users.keys().collect::<Vec<_>>(), ["1234", "true"]);
    let rate = Rate {
        interval: Duration::from_secs(1),
        burst: 20,
    };
    assert_eq!(file.rate, Some(rate));
}

#[test]
fn what_the_toolkit_refuses_is_refused_with_its_place() {
    let cases = [
        ("tls_server_confg:\n  cert_file: a\n", "tls_server_confg"),
        ("tls_server_config:\n  cert_fle: a\n", "cert_fle"),
        (
            "tls_server_config:\n  cert_file: a\n  cert_file: b\n",
            "line 3",
        ),
        (
            "tls_server_config:\n  cert_file: a\n",
            "key_file is missing",
        ),
        (
            "tls_server_config:\n  key_file: a\n",
            "cert_file is missing",
        ),
        (
            "tls_server_config:\n  client_auth_type: NoClientCert\n",
            "cert_file is missing",
        ),
        ("http_server_config:\n  http2: perhaps\n", "line 2"),
        (
            "http_server_config:\n  headers:\n    Server: x\n",
            "headers.Server",
        ),
        (
            "basic_auth_users:\n  ann: secret\n",
            "basic_auth_users.ann: is no bcrypt hash",
        ),
        (
            "basic_auth_users:\n  ann:\n",
            "basic_auth_users.ann: is no bcrypt hash",
        ),
        ("basic_auth_users: [ann]\n", "line 1"),
        (
            "rate_limit:\n  interval: soon\n",
            "\"soon\" is no length of time",
        ),
        ("rate_limit:\n  burst: -1\n", "line 2"),
        ("a: b: c\n", "line 1"),
        ("- a\n", "line 1"),
        ("{}\n---\n{}\n", "document"),
    ];
    for (text, reason) in cases {
        let said = parsed(text).expect_err(text);
        assert!(
            said.contains(reason) && !said.contains('\n'),
            "{text}{said}"
        );
    }
}

#[test]
fn a_secret_is_in_no_error() {
    for text in [
        "basic_auth_users:\n  ann: hunter2\n",
        "basic_auth_users: hunter2\n",
        "tls_server_config: hunter2\n",
        "tls_server_config:\n  key: [hunter2]\n",
        "tls_server_config:\n  key: hunter2\n  : x\n",
    ] {
        let said = parsed(text).expect_err(text);
        assert!(!said.contains("hunter2"), "{said}");
    }
}
