//! Exporter, Prometheus and Alertmanager of one namespace, set up from what
//! `deploy/prometheus` ships.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::webhook::Webhook;
use crate::support::process::Process;
use crate::support::{http, tools};

/// The addresses of the examples. The namespace is the test's own: all are free.
pub const EXPORTER: &str = "127.0.0.1:10061";
pub const PROMETHEUS: &str = "127.0.0.1:9090";
const ALERTMANAGER: &str = "127.0.0.1:9093";
const WEBHOOK: &str = "127.0.0.1:9099";

/// By what `shorten.sh` divides the times of each file. Thresholds stay. A leak in
/// CLOSE_WAIT takes three quarters of an hour to be called one, the rest minutes.
const FACTORS: [(&str, u32); 6] = [
    ("ephemeral", 30),
    ("conntrack", 30),
    ("listeners", 30),
    ("tcp", 30),
    ("exporter", 30),
    ("connections", 120),
];

/// Go programs on a busy machine.
const START: Duration = Duration::from_secs(30);

pub struct Stack {
    pub exporter: Process,
    pub webhook: Webhook,
    prometheus: Process,
    alertmanager: Process,
    // Last, because fields are dropped in order: its files are in use till then.
    _directory: TempDir,
}

impl Stack {
    /// Everything is up and has been scraped at least once.
    ///
    /// # Panics
    /// When something does not start.
    pub fn start() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        let here = directory.path();
        write_configuration(here);
        let webhook = Webhook::at(address(WEBHOOK)).expect("the port is free");
        let exporter = Process::start(
            Command::new(tools::exporter())
                .args(["--config".as_ref(), here.join("exporter.toml").as_os_str()]),
            &here.join("exporter.log"),
        );
        let alertmanager = Process::start(
            Command::new(tools::find("prometheus-alertmanager").expect("in_netns looked for it"))
                .arg(flag("config.file", &here.join("alertmanager.yml")))
                .arg(flag("storage.path", &here.join("alertmanager")))
                .arg(format!("--web.listen-address={ALERTMANAGER}"))
                // No gossip: one Alertmanager, and no port for a cluster.
                .arg("--cluster.listen-address="),
            &here.join("alertmanager.log"),
        );
        let prometheus = Process::start(
            Command::new(tools::find("prometheus").expect("in_netns looked for it"))
                .arg(flag("config.file", &here.join("prometheus.yml")))
                .arg(flag("storage.tsdb.path", &here.join("tsdb")))
                .arg(format!("--web.listen-address={PROMETHEUS}")),
            &here.join("prometheus.log"),
        );
        let stack = Self {
            exporter,
            webhook,
            prometheus,
            alertmanager,
            _directory: directory,
        };
        let up = || stack.ask("up{job=\"sockdiag\"} == 1").len() == 1;
        assert!(tools::wait_until(START, up), "the exporter is not up");
        let ready = || http::get(address(ALERTMANAGER), "/-/ready").is_ok_and(|a| a.status == 200);
        assert!(tools::wait_until(START, ready), "Alertmanager is not ready");
        stack
    }

    /// The result vector of a query; empty while Prometheus does not answer.
    pub fn ask(&self, query: &str) -> Vec<Value> {
        let path = format!("/api/v1/query?query={}", percent_encoded(query));
        let answer = http::get(address(PROMETHEUS), &path).ok();
        let body = answer.and_then(|answer| serde_json::from_slice::<Value>(&answer.body).ok());
        let result = body.map(|body| body["data"]["result"].clone());
        result
            .and_then(|found| found.as_array().cloned())
            .unwrap_or_default()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if thread::panicking() {
            for (name, process) in [
                ("exporter", &self.exporter),
                ("prometheus", &self.prometheus),
                ("alertmanager", &self.alertmanager),
            ] {
                eprintln!("--- {name}\n{}", process.log());
            }
        }
    }
}

pub fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

fn write_configuration(here: &Path) {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus");
    fs::create_dir(here.join("rules")).expect("it is new");
    let shorten = shipped.join("shorten.sh");
    for (name, factor) in FACTORS {
        let file = shipped.join(format!("rules/{name}.yml"));
        let file = file.to_str().expect("the path is UTF-8");
        let script = shorten.to_str().expect("the path is UTF-8");
        let rules = tools::run("sh", &[script, &factor.to_string(), file], "");
        fs::write(here.join(format!("rules/{name}.yml")), rules).expect("it can be written");
    }
    let shipped_rules = fs::read_dir(shipped.join("rules")).expect("it is there");
    assert_eq!(
        shipped_rules.count(),
        FACTORS.len(),
        "a file without a factor"
    );
    let adapted = |file: &str, changes: &[(&str, &str)]| {
        let path = shipped.join(file);
        let mut text = fs::read_to_string(&path).expect("the example is there");
        for (from, to) in changes {
            assert!(text.contains(from), "{file} no longer says {from:?}");
            text = text.replace(from, to);
        }
        text
    };
    let prometheus = adapted(
        "prometheus.example.yml",
        &[
            ("scrape_interval: 15s", "scrape_interval: 1s"),
            ("evaluation_interval: 15s", "evaluation_interval: 1s"),
            ("scrape_timeout: 10s", "scrape_timeout: 1s"),
        ],
    );
    let alertmanager = adapted(
        "alertmanager.example.yml",
        &[
            ("group_wait: 5s", "group_wait: 200ms"),
            ("group_interval: 1m", "group_interval: 1s"),
        ],
    );
    // What shorten.sh asks for: two polls and more in every scrape and in the peak.
    let exporter = "[poll]\ninterval = \"250ms\"\nmax_duty = 1.0\npeak_window = \"5s\"\n";
    for (name, text) in [
        ("prometheus.yml", prometheus.as_str()),
        ("alertmanager.yml", &alertmanager),
        ("exporter.toml", exporter),
    ] {
        fs::write(here.join(name), text).expect("it can be written");
    }
}

fn percent_encoded(text: &str) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() {
            encoded.push(byte.into());
        } else {
            write!(encoded, "%{byte:02X}").expect("a String takes everything");
        }
        encoded
    })
}
