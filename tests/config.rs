//! The configuration from outside: what is accepted, what wins, and to the
//! letter what is said of everything else.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sockdiag_exporter::config::{
    Config, Loaded, LogFormat, LogLevel, Overrides, PREFIX, key_names,
};
use tempfile::TempDir;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml");
const NO_ENV: [(&str, &str); 0] = [];

struct Written {
    path: PathBuf,
    _folder: TempDir,
}

fn write(text: impl AsRef<[u8]>) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("exporter.toml");
    std::fs::write(&path, text).unwrap();
    Written {
        path,
        _folder: folder,
    }
}

fn from_file(text: &str) -> Result<Config, String> {
    let written = write(text);
    Config::load(Some(&written.path), NO_ENV, &Overrides::default()).map_err(|error| {
        let folder = format!("{}/", written.path.parent().unwrap().display());
        error.to_string().replace(&folder, "")
    })
}

fn from_env(variables: &[(&str, &str)]) -> Result<Config, String> {
    let full = variables
        .iter()
        .map(|(name, value)| (format!("{PREFIX}{name}"), *value));
    Config::load(None, full, &Overrides::default()).map_err(|error| error.to_string())
}

fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn nothing_said_means_the_defaults() {
    let config = Config::load(None, NO_ENV, &Overrides::default()).unwrap();
    assert_eq!(config, Config::default());
    assert_eq!(config.web.listen, addresses(&["[::]:10061"]));
    assert!(config.web.listen_is_default());
    assert_eq!(from_file("").unwrap(), Config::default());
    assert_eq!(from_file("[poll]\n").unwrap(), Config::default());
}

#[test]
fn the_example_equals_the_defaults() {
    let config = Config::load(Some(Path::new(EXAMPLE)), NO_ENV, &Overrides::default()).unwrap();
    assert_eq!(config, Config::default());
}

#[test]
fn the_example_has_every_key_and_explains_it() {
    let text = std::fs::read_to_string(EXAMPLE).unwrap();
    let mut section = "";
    let mut previous = "";
    let mut found = BTreeSet::new();
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        } else if let Some((name, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            assert!(
                previous.starts_with("# "),
                "{section}.{name} has no comment"
            );
            found.insert(format!("{section}.{name}"));
        }
        previous = line;
    }
    assert_eq!(found, key_names().map(str::to_owned).collect());
}

#[test]
fn every_key_is_taken_from_a_file() {
    let config = from_file(
        r#"
        [web]
        listen = ["127.0.0.1:9000", ":9001"]
        systemd_socket = true
        config_file = "/etc/web-config.yml"
        telemetry_path = "/sockets/metrics"
        max_connections = 1
        header_timeout = "100ms"
        request_timeout = "5m"
        [poll]
        interval = "1m 30s"
        timeout = "2s"
        max_duty = 1.0
        age_max = "1h"
        peak_window = "2m"
        probe_ports = false
        [limits]
        peers = 1
        destinations = 2
        sources = 3
        local_ports = 4
        cgroups = 5
        tracked_keys = 1_000
        series = 0x190
        [local_ports]
        always = [443, 22]
        [owners]
        enabled = false
        [procfs]
        root = "/host/proc"
        [netns]
        host_name = "node"
        [log]
        level = "trace"
        format = "json"
        "#,
    )
    .unwrap();
    assert_eq!(
        config.web.listen,
        addresses(&["127.0.0.1:9000", "[::]:9001"])
    );
    assert!(!config.web.listen_is_default());
    assert!(config.web.systemd_socket);
    assert_eq!(config.web.config_file, Path::new("/etc/web-config.yml"));
    assert_eq!(config.web.telemetry_path, "/sockets/metrics");
    assert_eq!(config.web.max_connections, 1);
    assert_eq!(config.web.header_timeout, Duration::from_millis(100));
    assert_eq!(config.web.request_timeout, Duration::from_secs(300));
    assert_eq!(config.poll.interval, Duration::from_secs(90));
    assert_eq!(config.poll.timeout, Duration::from_secs(2));
    assert_eq!(config.poll.max_duty, 1.0);
    assert_eq!(config.poll.age_max, Duration::from_secs(3600));
    assert_eq!(config.poll.peak_window, Duration::from_secs(120));
    assert!(!config.poll.probe_ports);
    let limits = &config.limits;
    assert_eq!((limits.peers, limits.destinations), (1, 2));
    assert_eq!((limits.sources, limits.local_ports), (3, 4));
    assert_eq!((limits.cgroups, config.owners.enabled), (5, false));
    assert_eq!((limits.tracked_keys, limits.series), (1_000, 400));
    assert_eq!(config.local_ports.always, [443, 22]);
    assert_eq!(config.procfs.root, Path::new("/host/proc"));
    assert_eq!(config.netns.host_name, "node");
    assert_eq!(config.log.level, LogLevel::Trace);
    assert_eq!(config.log.format, LogFormat::Json);
}

/// Each text is one dotted key, which the message repeats as it is written.
fn assert_refused(cases: &[(&str, &str)]) {
    for (text, reason) in cases {
        let found = from_file(&format!("\n{text}")).expect_err(text);
        assert_eq!(found, format!("exporter.toml:2: {text}: {reason}"));
    }
}

/// Each text with what is said behind the file's name.
fn assert_told(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let found = from_file(text).expect_err(text);
        assert_eq!(found, format!("exporter.toml:{expected}"), "in {text:?}");
    }
}

#[test]
fn a_value_out_of_range_is_refused_with_the_range() {
    let count = "must be between 1 and 10000";
    let core = "must be above 0 and at most 1, where 1 is a whole core";
    let label = "must be text of 1 to 64 printable characters";
    let root = r#"must be an absolute path, for example "/proc""#;
    assert_refused(&[
        ("limits.peers = 0", count),
        ("limits.peers = -1", count),
        ("limits.destinations = 10001", count),
        ("limits.sources = 0", count),
        ("limits.local_ports = 0", count),
        ("web.max_connections = 0", count),
        (
            "limits.tracked_keys = 999",
            "must be between 1000 and 10000000",
        ),
        (
            "limits.tracked_keys = 10000001",
            "must be between 1000 and 10000000",
        ),
        (
            "limits.series = 399",
            "must be between 400 and 100000; a namespace has up to 400 series before the first peer",
        ),
        (r#"poll.interval = "99ms""#, "must be between 100ms and 1h"),
        (r#"poll.interval = "61m""#, "must be between 100ms and 1h"),
        (r#"poll.timeout = "0s""#, "must be between 100ms and 5m"),
        (r#"poll.age_max = "2days""#, "must be between 1s and 1day"),
        ("poll.max_duty = 0.0", core),
        ("poll.max_duty = -0.5", core),
        ("poll.max_duty = 1.01", core),
        ("poll.max_duty = inf", core),
        (r#"procfs.root = "proc""#, root),
        (r#"procfs.root = """#, root),
        (r#"netns.host_name = """#, label),
        (r#"netns.host_name = "a\u000Ab""#, label),
        (
            r#"log.level = "Info""#,
            "must be one of error, warn, info, debug, trace",
        ),
        (r#"log.format = "xml""#, "must be one of text, json"),
    ]);
}

#[test]
fn nothing_is_coerced() {
    let unit = r#"needs a unit, for example "5s"; allowed is 100ms to 1h"#;
    let time = r#"must be a length of time, for example "5s"; allowed is 100ms to 1h"#;
    let no_time = r#"is not a length of time; write for example "500ms", "5s" or "1m30s"; allowed is 100ms to 1h"#;
    let count = "must be a whole number between 1 and 10000";
    assert_refused(&[
        (
            r#"limits.peers = "20""#,
            "must be a whole number without quotes, between 1 and 10000",
        ),
        (r#"limits.peers = "many""#, count),
        ("limits.peers = 20.0", count),
        ("limits.peers = true", count),
        ("poll.interval = 5", unit),
        ("poll.interval = 0.5", unit),
        (r#"poll.interval = "5""#, unit),
        (r#"poll.interval = "soon""#, no_time),
        (r#"poll.interval = """#, no_time),
        ("poll.interval = true", time),
        (r#"poll.interval = ["5s"]"#, time),
        (
            "poll.max_duty = 1",
            "must have a decimal point, write 1.0; above 0 and at most 1, where 1 is a whole core",
        ),
        (
            r#"poll.max_duty = "5%""#,
            "must be a number such as 0.05, above 0 and at most 1, where 1 is a whole core",
        ),
        ("log.format = true", "must be one of text, json"),
        (r#"poll.probe_ports = "yes""#, "must be true or false"),
    ]);
    assert_told(&[
        (
            "[limits.peers]\nmost = 3",
            "1: limits.peers = (table): must be a whole number between 1 and 10000",
        ),
        (
            "netns.host_name = 99999999999999999999",
            "1:19: integer number overflowed",
        ),
        (
            "netns.include = [1, 0x8000000000000000]",
            "1:21: integer number overflowed",
        ),
        ("netns.host_name = 0x", "1:19: a number without digits"),
        (
            "limits.floor_share = 1e400",
            "1:22: floating-point number overflowed",
        ),
        (
            "[procfs]\nroot = 2026-01-01",
            r#"2: procfs.root = (date or time): must be an absolute path, for example "/proc""#,
        ),
    ]);
}

#[test]
fn lists_are_checked_element_by_element() {
    let ports = "must be a list of ports, for example [22, 443]";
    assert_refused(&[
        ("local_ports.always = 22", ports),
        (r#"local_ports.always = "22""#, ports),
        ("web.listen = []", "must have 1 to 16 addresses"),
        (
            r#"web.listen = "localhost:9000""#,
            r#"host names are not looked up, an IP address is needed; write for example "[::]:10061", "0.0.0.0:9000" or ":10061""#,
        ),
        (
            "web.listen = 9000",
            r#"must be an address or a list of them, for example "[::]:10061""#,
        ),
    ]);
    assert_told(&[
        (
            "[local_ports]\nalways = [\n22,\n0,\n65536, 22]",
            "4: local_ports.always = 0: must be between 1 and 65535\n\
             exporter.toml:5: local_ports.always = 65536: must be between 1 and 65535\n\
             exporter.toml:5: local_ports.always = 22: is listed twice",
        ),
        (
            "local_ports.always = [\"22\"]",
            "1: local_ports.always = \"22\": must be a whole number without quotes, between 1 and 65535",
        ),
        (
            "[web]\nlisten = [\":9000\",\n\"[::]:9000\"]",
            "3: web.listen = \"[::]:9000\": is listed twice",
        ),
    ]);
}

#[test]
fn a_path_must_be_one() {
    let file = r#"must be an absolute path, for example "/etc/web-config.yml", or "" for none"#;
    let route = r#"must be a path that begins with /, of letters, digits and /-._~, for example "/metrics""#;
    assert_refused(&[
        (r#"web.config_file = "web-config.yml""#, file),
        ("web.config_file = true", file),
        (r#"web.telemetry_path = "metrics""#, route),
        (r#"web.telemetry_path = """#, route),
        (r#"web.telemetry_path = "/{path}""#, route),
        (r#"web.telemetry_path = "//metrics""#, route),
        (
            r#"web.telemetry_path = "/-/ready""#,
            "is taken by something else; choose another path",
        ),
        (
            r#"web.telemetry_path = "/static/page.js""#,
            "is taken by something else; choose another path",
        ),
    ]);
    assert_eq!(
        from_file("web.telemetry_path = \"/\"")
            .unwrap()
            .web
            .telemetry_path,
        "/"
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest() {
    let sections = "web, poll, limits, local_ports, owners, procfs, netns, log";
    let keys_of_limits = "peers, destinations, sources, local_ports, cgroups, floor_sockets, floor_share, tracked_keys, series";
    assert_refused(&[
        (
            r#"poll.intervall = "5s""#,
            "unknown key; did you mean poll.interval?",
        ),
        (
            "limits.Peers = 5",
            "unknown key; did you mean limits.peers?",
        ),
        (
            r#"limits."a b" = 5"#,
            &format!("unknown key; [limits] has {keys_of_limits}"),
        ),
        (
            r#"web.interval = "5s""#,
            "unknown key; did you mean poll.interval?",
        ),
        (
            r#"interval = "5s""#,
            "unknown key; did you mean interval in [poll]?",
        ),
        (
            r#""limits.peers" = 5"#,
            "unknown key; did you mean peers in [limits]?",
        ),
        (
            "colour = true",
            &format!("unknown key; keys belong in one of the sections {sections}"),
        ),
        ("limits = 5", "is a section, write [limits]"),
    ]);
    assert_told(&[
        (
            "[limit]\npeers = 5",
            "1: [limit]: unknown section; did you mean [limits]?",
        ),
        (
            "\n[metrics]",
            &format!("2: [metrics]: unknown section; there are {sections}"),
        ),
        (
            "[[limits]]\npeers = 5",
            "1: limits: is a section, write [limits]",
        ),
        (
            "limits = [{peers = 5}]",
            "1: limits = [(table)]: is a section, write [limits]",
        ),
        (
            "[[local_ports.always]]",
            "1: local_ports.always = (table): must be a list of ports, for example [22, 443]",
        ),
        (
            "\"limits\".\"pears\" = 5",
            "1: limits.pears = 5: unknown key; did you mean limits.peers?",
        ),
        (
            "[poll.extra]\na = 1",
            "1: poll.extra: unknown key; [poll] has interval, tick, timeout, max_duty, age_max, peak_window, probe_ports",
        ),
    ]);
}

#[test]
fn keys_that_contradict_each_other_are_refused() {
    assert_refused(&[
        (
            r#"poll.age_max = "5s""#,
            r#"must be longer than poll.interval = "5s" (built-in default)"#,
        ),
        (
            r#"poll.peak_window = "4s""#,
            r#"must be at least poll.interval = "5s" (built-in default)"#,
        ),
        (
            r#"web.header_timeout = "11s""#,
            r#"must be at most web.request_timeout = "10s" (built-in default)"#,
        ),
        (
            r#"web.request_timeout = "4s""#,
            r#"must be at least web.header_timeout = "5s" (built-in default)"#,
        ),
    ]);
    assert_told(&[(
        "[local_ports]\nalways = [1, 2]\n[limits]\nlocal_ports = 1",
        "2: local_ports.always = [1, 2]: must not list more ports than limits.local_ports = 1 \
         (exporter.toml:4)",
    )]);
}

#[test]
fn the_line_is_found_however_the_key_is_written() {
    let refused = "limits.peers = 0: must be between 1 and 10000";
    for (text, line) in [
        ("[limits]\npeers = 0", 2),
        ("# ü\r\n\r\n[limits]\r\npeers = 0", 4),
        ("limits.peers = 0", 1),
        ("\nlimits = { sources = 1, peers = 0 }", 2),
        ("[limits]\nsources = 1\n\"peers\" = 0", 3),
        ("\u{feff}[limits]\npeers = 0", 2),
    ] {
        assert_eq!(
            from_file(text).unwrap_err(),
            format!("exporter.toml:{line}: {refused}")
        );
    }
}

#[test]
fn what_is_not_toml_is_told_with_line_and_column() {
    assert_told(&[
        (
            "[poll]\ninterval = 5s",
            "2:12: string values must be quoted, expected literal string",
        ),
        ("[poll]\n\n[poll]", "3:2: duplicate key"),
        (
            "a = 'ü' b",
            "1:9: unexpected key or value, expected newline, `#`",
        ),
        ("[limits]\npeers = 020", "2:9: unexpected leading zero"),
        ("[limits", "1:8: unclosed table, expected `]`"),
    ]);
}

#[test]
fn variables_are_parsed_from_their_text() {
    let config = from_env(&[
        ("WEB__LISTEN", "127.0.0.1:9000, :9001"),
        ("POLL__INTERVAL", "2s"),
        ("POLL__MAX_DUTY", "1"),
        ("POLL__PROBE_PORTS", "false"),
        ("LIMITS__PEERS", "30"),
        ("LOCAL_PORTS__ALWAYS", "22,443"),
        ("PROCFS__ROOT", "/host/proc"),
        ("NETNS__HOST_NAME", "7"),
        ("LOG__FORMAT", "json"),
    ])
    .unwrap();
    assert_eq!(
        config.web.listen,
        addresses(&["127.0.0.1:9000", "[::]:9001"])
    );
    assert_eq!(config.poll.interval, Duration::from_secs(2));
    assert_eq!(config.poll.max_duty, 1.0);
    assert!(!config.poll.probe_ports);
    assert_eq!(config.limits.peers, 30);
    assert_eq!(config.local_ports.always, [22, 443]);
    assert_eq!(config.procfs.root, Path::new("/host/proc"));
    assert_eq!(config.netns.host_name, "7");
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(
        from_env(&[("LOCAL_PORTS__ALWAYS", "")])
            .unwrap()
            .local_ports
            .always
            .is_empty()
    );
}

#[test]
fn a_fault_in_a_variable_names_the_variable() {
    let cases = [
        (
            "LIMITS__PEERS",
            "0",
            "limits.peers = 0: must be between 1 and 10000",
        ),
        (
            "LIMITS__PEERS",
            "",
            "limits.peers = \"\": must be a whole number between 1 and 10000",
        ),
        (
            "LIMITS__PEERS",
            "2e1",
            "limits.peers = \"2e1\": must be a whole number between 1 and 10000",
        ),
        (
            "LIMITS__PEERS",
            "99999999999999999999",
            "limits.peers = \"99999999999999999999\": must be a whole number between 1 and 10000",
        ),
        (
            "POLL__INTERVAL",
            "5",
            "poll.interval = \"5\": needs a unit, for example \"5s\"; allowed is 100ms to 1h",
        ),
        (
            "POLL__MAX_DUTY",
            "NaN",
            "poll.max_duty = NaN: must be above 0 and at most 1, where 1 is a whole core",
        ),
        (
            "LOCAL_PORTS__ALWAYS",
            "22,x",
            "local_ports.always = \"x\": must be a whole number between 1 and 65535",
        ),
        (
            "POLL__AGE_MAX",
            "3s",
            "poll.age_max = \"3s\": must be longer than poll.interval = \"5s\" (built-in default)",
        ),
        (
            "POLL__INTERVALL",
            "5s",
            "unknown key; did you mean SOCKDIAG_EXPORTER__POLL__INTERVAL?",
        ),
        (
            "POLL_INTERVAL",
            "5s",
            "is not read like this; did you mean SOCKDIAG_EXPORTER__POLL__INTERVAL?",
        ),
        (
            "poll__interval",
            "5s",
            "is not read like this; did you mean SOCKDIAG_EXPORTER__POLL__INTERVAL?",
        ),
        (
            "X_PORT_1_TCPX",
            "1",
            "unknown section; there are web, poll, limits, local_ports, owners, procfs, netns, log",
        ),
        (
            "X_PORT_1_TCP_FOO",
            "1",
            "unknown section; there are web, poll, limits, local_ports, owners, procfs, netns, log",
        ),
        (
            "WEB__PORT",
            "9000",
            "unknown key; [web] has listen, systemd_socket, config_file, telemetry_path, max_connections, header_timeout, request_timeout",
        ),
        (
            "COLOUR",
            "red",
            "unknown section; there are web, poll, limits, local_ports, owners, procfs, netns, log",
        ),
    ];
    for (name, value, expected) in cases {
        let found = from_env(&[(name, value)]).expect_err(name);
        assert_eq!(found, format!("{PREFIX}{name}: {expected}"));
    }
}

#[test]
fn a_variable_with_single_underscores_is_not_silently_lost() {
    let env = [("SOCKDIAG_EXPORTER_LIMITS_PEERS", "5")];
    let error = Config::load(None, env, &Overrides::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "SOCKDIAG_EXPORTER_LIMITS_PEERS: is not read like this; did you mean SOCKDIAG_EXPORTER__LIMITS__PEERS?"
    );
}

#[test]
fn what_kubernetes_injects_does_no_harm() {
    let mut env = vec![("SOCKDIAG_EXPORTER_REVISION".to_owned(), "abc".to_owned())];
    for service in [
        "SOCKDIAG_EXPORTER",
        "SOCKDIAG_EXPORTER__WEB",
        "SOCKDIAG_EXPORTER__POLL__INTERVAL",
    ] {
        for (name, value) in [
            ("SERVICE_HOST", "10.0.0.1"),
            ("SERVICE_PORT", "10061"),
            ("SERVICE_PORT_METRICS", "10061"),
            ("PORT", "tcp://10.0.0.1:10061"),
            ("PORT_10061_TCP", "tcp://10.0.0.1:10061"),
            ("PORT_10061_TCP_PROTO", "tcp"),
            ("PORT_10061_TCP_PORT", "10061"),
            ("PORT_10061_TCP_ADDR", "10.0.0.1"),
            ("PORT_53_UDP_ADDR", "10.0.0.1"),
        ] {
            env.push((format!("{service}_{name}"), value.to_owned()));
        }
    }
    assert_eq!(
        Config::load(None, env, &Overrides::default()).unwrap(),
        Config::default()
    );
}

#[test]
fn bytes_that_are_no_text_matter_only_where_they_are_meant_for_us() {
    let garbled = || OsString::from_vec(vec![b'5', 0xff]);
    let others = [(garbled(), garbled()), (OsString::from("LANG"), garbled())];
    assert!(Config::load(None, others, &Overrides::default()).is_ok());
    let ours = [(
        OsString::from("SOCKDIAG_EXPORTER__LIMITS__PEERS"),
        garbled(),
    )];
    let error = Config::load(None, ours, &Overrides::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "SOCKDIAG_EXPORTER__LIMITS__PEERS: limits.peers: is not UTF-8 text"
    );
}

#[test]
fn flags_win_over_variables_over_the_file_over_defaults() {
    let written = write(
        "[web]\nlisten = [\":1\", \":2\"]\nconfig_file = \"/file.yml\"\ntelemetry_path = \"/file\"\n[poll]\ninterval = \"1s\"\ntimeout = \"1s\"\n[limits]\npeers = 7\n[log]\nlevel = \"warn\"\n",
    );
    let env = [
        ("SOCKDIAG_EXPORTER__WEB__LISTEN", ":3"),
        ("SOCKDIAG_EXPORTER__POLL__INTERVAL", "2s"),
        ("SOCKDIAG_EXPORTER__POLL__TIMEOUT", "2s"),
        ("SOCKDIAG_EXPORTER__LOG__LEVEL", "debug"),
    ];
    let flags = Overrides {
        listen: addresses(&["127.0.0.1:4", "127.0.0.1:5"]),
        systemd_socket: true,
        web_config_file: Some("web-config.yml".into()),
        telemetry_path: Some("/flag".to_owned()),
        poll_interval: Some(Duration::from_secs(3)),
        log_level: Some(LogLevel::Error),
        log_format: Some(LogFormat::Json),
    };
    let file = Some(written.path.as_path());

    let config = Config::load(file, NO_ENV, &Overrides::default()).unwrap();
    assert_eq!(config.web.listen, addresses(&["[::]:1", "[::]:2"]));
    assert_eq!(config.poll.interval, Duration::from_secs(1));

    let config = Config::load(file, env, &Overrides::default()).unwrap();
    assert_eq!(
        config.web.listen,
        addresses(&["[::]:3"]),
        "lists are replaced, not merged"
    );
    assert_eq!(config.poll.interval, Duration::from_secs(2));
    assert_eq!(config.log.level, LogLevel::Debug);

    let loaded = Loaded::load(file, env, &flags).unwrap();
    assert_eq!(loaded.config.web.listen, flags.listen);
    assert!(loaded.config.web.systemd_socket);
    let here = std::env::current_dir().unwrap().join("web-config.yml");
    assert_eq!(loaded.config.web.config_file, here);
    assert_eq!(loaded.config.web.telemetry_path, "/flag");
    assert_eq!(loaded.config.poll.interval, Duration::from_secs(3));
    assert_eq!(loaded.config.poll.timeout, Duration::from_secs(2));
    assert_eq!(loaded.config.limits.peers, 7);
    assert_eq!(loaded.config.limits.sources, 20);
    assert_eq!(loaded.config.log.level, LogLevel::Error);
    assert_eq!(loaded.config.log.format, LogFormat::Json);

    let line = format!("{}:9", written.path.display());
    assert_eq!(loaded.origin("limits.peers"), Some(line.as_str()));
    assert_eq!(
        loaded.origin("poll.timeout"),
        Some("SOCKDIAG_EXPORTER__POLL__TIMEOUT")
    );
    assert_eq!(loaded.origin("poll.interval"), Some("--poll-interval"));
    assert_eq!(loaded.origin("limits.sources"), None);
}

#[test]
fn a_flag_out_of_range_is_named() {
    let flags = Overrides {
        listen: addresses(&["[::]:1", "[::]:1"]),
        poll_interval: Some(Duration::from_millis(50)),
        ..Overrides::default()
    };
    let error = Config::load(None, NO_ENV, &flags).unwrap_err();
    assert_eq!(
        error.problems,
        [
            "--listen: web.listen = \"[::]:1\": is listed twice",
            "--poll-interval: poll.interval = \"50ms\": must be between 100ms and 1h",
        ]
    );
}

#[test]
fn a_rule_between_keys_names_both_origins() {
    let flags = Overrides {
        poll_interval: Some(Duration::from_secs(60)),
        ..Overrides::default()
    };
    let error = Config::load(None, NO_ENV, &flags).unwrap_err();
    assert_eq!(
        error.to_string(),
        "--poll-interval: poll.interval = \"1m\": must be shorter than poll.age_max = \"1m\" (built-in default)"
    );
    let env = [("SOCKDIAG_EXPORTER__POLL__AGE_MAX", "30s")];
    let error = Config::load(None, env, &flags).unwrap_err();
    assert_eq!(
        error.to_string(),
        "SOCKDIAG_EXPORTER__POLL__AGE_MAX: poll.age_max = \"30s\": must be longer than poll.interval = \"1m\" (--poll-interval)"
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let written =
        write("[limits]\npeers = 0\npears = 1\n\n[poll]\ninterval = 5\nage_max = \"1s\"\n");
    let env = [
        // Overriding a fault does not mend the file.
        ("SOCKDIAG_EXPORTER__LIMITS__PEERS", "5"),
        ("SOCKDIAG_EXPORTER__LOG__LEVEL", "loud"),
        ("SOCKDIAG_EXPORTER__WEB__HEADER_TIMEOUT", "1m"),
    ];
    let error = Config::load(Some(&written.path), env, &Overrides::default()).unwrap_err();
    let file = written.path.display();
    let expected = format!(
        "{file}:2: limits.peers = 0: must be between 1 and 10000\n\
         {file}:3: limits.pears = 1: unknown key; did you mean limits.peers?\n\
         {file}:6: poll.interval = 5: needs a unit, for example \"5s\"; allowed is 100ms to 1h\n\
         SOCKDIAG_EXPORTER__LOG__LEVEL: log.level = \"loud\": must be one of error, warn, info, debug, trace\n\
         SOCKDIAG_EXPORTER__WEB__HEADER_TIMEOUT: web.header_timeout = \"1m\": must be at most web.request_timeout = \"10s\" (built-in default)"
    );
    assert_eq!(error.to_string(), expected);
}

/// A file that is not ours at all is told line by line, in a time that grows with it.
#[test]
fn thirty_thousand_unknown_keys_are_each_told() {
    let keys = 30_000;
    let lines: Vec<_> = (0..keys).map(|at| format!("limits.k{at} = 1")).collect();
    let found = from_file(&lines.join("\n")).unwrap_err();
    assert_eq!(found.lines().count(), keys);
    let last = found.lines().last().unwrap();
    assert!(last.starts_with("exporter.toml:30000: limits.k29999 = 1: unknown key"));
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let refuse = |path: &Path| {
        Config::load(Some(path), NO_ENV, &Overrides::default())
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refuse(Path::new("/nonexistent/a.toml")),
        "/nonexistent/a.toml: cannot be read: no such file"
    );
    assert_eq!(
        refuse(Path::new("/")),
        "/: is a directory; a TOML file is needed"
    );
    assert_eq!(
        refuse(Path::new("/dev/zero")),
        "/dev/zero: is larger than 1048576 bytes"
    );
    let written = write(b"[poll]\ninterval = \"\xff\"\n");
    let name = written.path.display();
    assert_eq!(
        refuse(&written.path),
        format!("{name}: line 2 is not UTF-8 text")
    );

    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o000);
    std::fs::set_permissions(&written.path, permissions).unwrap();
    // The superuser may read it all the same.
    if std::fs::File::open(&written.path).is_err() {
        assert_eq!(
            refuse(&written.path),
            format!("{name}: cannot be read: permission denied")
        );
    }
}

#[test]
fn what_check_config_prints_means_the_same_and_names_origins() {
    let written = write("[netns]\nhost_name = \"a \\\"b\\\" \\\\ ü\"\n[poll]\nmax_duty = 1e-7\n");
    let env = [
        ("SOCKDIAG_EXPORTER__POLL__INTERVAL", "90s"),
        ("SOCKDIAG_EXPORTER__POLL__AGE_MAX", "1h1s"),
        ("SOCKDIAG_EXPORTER__POLL__PEAK_WINDOW", "2m"),
        ("SOCKDIAG_EXPORTER__WEB__LISTEN", "127.0.0.1:1,[::1]:2"),
        ("SOCKDIAG_EXPORTER__LOCAL_PORTS__ALWAYS", "22,443"),
    ];
    let loaded = Loaded::load(Some(&written.path), env, &Overrides::default()).unwrap();
    let text = loaded.to_toml();
    assert_eq!(from_file(&text).unwrap(), loaded.config);

    let name = written.path.display();
    for line in [
        "interval = \"1m 30s\" # SOCKDIAG_EXPORTER__POLL__INTERVAL".to_owned(),
        "listen = [\"127.0.0.1:1\", \"[::1]:2\"] # SOCKDIAG_EXPORTER__WEB__LISTEN".to_owned(),
        format!("host_name = \"a \\\"b\\\" \\\\ ü\" # {name}:2"),
        "peers = 15".to_owned(),
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line} not in\n{text}"
        );
    }
    let defaults = Loaded::load(None, NO_ENV, &Overrides::default())
        .unwrap()
        .to_toml();
    assert!(!defaults.contains('#'));
    assert_eq!(from_file(&defaults).unwrap(), Config::default());
}
