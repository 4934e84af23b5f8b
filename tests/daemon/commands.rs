//! The commands that end by themselves.

use std::net::TcpListener;

use serde_json::Value;

use super::exporter::{output, run, with_config};
use crate::support::exposition::Exposition;
use crate::support::netns::in_netns;

#[test]
fn the_version_is_one_line() {
    let (code, said, complaint) = run(&["--version"]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    let start = format!("sockdiag-exporter {} (revision ", env!("CARGO_PKG_VERSION"));
    assert!(
        said.starts_with(&start) && said.lines().count() == 1,
        "{said}"
    );
}

#[test]
fn a_snapshot_is_printed_in_three_formats() {
    let name = "daemon::commands::a_snapshot_is_printed_in_three_formats";
    in_netns(name, &[], || {
        let _listener = TcpListener::bind("127.0.0.1:8080").unwrap();
        let snapshot = |format: &[&str]| {
            let (code, said, complaint) = run(&[&["snapshot"], format].concat());
            assert_eq!((code, complaint.as_str()), (Some(0), ""));
            said
        };
        let text = snapshot(&[]);
        assert!(text.starts_with("network namespace host\n"), "{text}");
        assert!(
            text.contains("ephemeral ports 32768-60999: 28232"),
            "{text}"
        );
        assert_eq!(snapshot(&["--format", "text"]), text);

        let json: Value = serde_json::from_str(&snapshot(&["--format", "json"])).unwrap();
        assert_eq!(json["namespaces"][0]["netns"], "host");

        let page = Exposition::parse(&snapshot(&["--format", "prometheus"]));
        let labels = [
            ("netns", "host"),
            ("protocol", "tcp"),
            ("family", "inet"),
            ("state", "listen"),
        ];
        assert_eq!(page.get("sockdiag_sockets", &labels), Some(1.0));
    });
}

#[test]
fn processes_go_with_text_and_nothing_else() {
    let (code, said, complaint) = run(&["snapshot", "--processes", "--format", "json"]);
    assert_eq!((code, said.as_str()), (Some(2), ""));
    assert!(complaint.contains("--format text only"), "{complaint}");
    let name = "daemon::commands::processes_go_with_text_and_nothing_else";
    in_netns(name, &[], || {
        let (code, said, complaint) = run(&["snapshot", "--processes"]);
        assert_eq!((code, complaint.as_str()), (Some(0), ""));
        assert!(
            said.ends_with("no destination, and so no process\n\n"),
            "{said}"
        );
    });
}

#[test]
fn a_snapshot_that_lacks_something_is_printed_and_fails() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("exporter.toml");
    std::fs::write(&file, format!("[procfs]\nroot = {:?}\n", directory.path())).unwrap();
    let file = file.to_str().unwrap();
    for (format, measured) in [
        ("text", "network namespace host"),
        ("json", "\"sockets\": {"),
        ("prometheus", "sockdiag_sockets{"),
    ] {
        let (code, said, complaint) = run(&["snapshot", "--config", file, "--format", format]);
        assert_eq!(code, Some(1), "{said}{complaint}");
        assert!(said.contains(measured), "{said}");
        assert!(
            complaint.contains("not measured: ephemeral, node_ports: ")
                && complaint.contains("ip_local_port_range"),
            "{complaint}"
        );
    }
}

#[test]
fn the_configuration_in_force_is_printed_and_means_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("exporter.toml");
    std::fs::write(&file, "[poll]\ninterval = \"7s\"\n").unwrap();
    let (code, said, complaint) = output(with_config(&file).arg("check-config"));
    // A flag of serve before another command is bad usage.
    assert_eq!(code, Some(2), "{said}{complaint}");

    let file_name = file.to_str().unwrap();
    let (code, printed, complaint) = run(&["check-config", "--config", file_name]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""));
    let line = printed.lines().find(|line| line.starts_with("interval"));
    let line = line.expect("the key is printed");
    assert!(
        line.contains("\"7s\"") && line.contains("exporter.toml:2"),
        "{line}"
    );
    std::fs::write(&file, &printed).unwrap();
    let (code, again, _) = run(&["check-config", "--config", file_name]);
    assert_eq!(code, Some(0));
    let values = |text: &str| -> Vec<String> {
        let value = |line: &str| {
            line.split(" #")
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        text.lines().map(value).collect()
    };
    assert_eq!(values(&again), values(&printed));

    std::fs::write(&file, "[poll]\ninterval = \"0s\"\n").unwrap();
    let (code, said, complaint) = run(&["check-config", "--config", file_name]);
    assert_eq!((code, said.as_str()), (Some(2), ""));
    assert!(complaint.contains("exporter.toml:2"), "{complaint}");
}
