//! The whole way, for real: a host runs into its limits, the exporter sees it, a
//! real Prometheus with our rules fires, a real Alertmanager tells a webhook.
//!
//! All of it lives in one namespace and in one Prometheus, because most of the
//! time goes into waiting. Times of the rules are shortened by
//! `deploy/prometheus/shorten.sh`, thresholds are not.

mod support;

mod end_to_end {
    pub mod causes;
    pub mod stack;
    pub mod webhook;
}

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use end_to_end::causes::{Stuck, fill_conntrack, flush_conntrack, leak_close_wait, use_up_ports};
use end_to_end::stack::{EXPORTER, PROMETHEUS, Stack, address};
use end_to_end::webhook::Notice;
use support::netns::{in_netns, set_port_range, set_sysctl};
use support::tools;
use support::{http, tools::wait_until};

const PORTS: u16 = 400;
const FIRST_PORT: u16 = 40_000;

/// Uses 400 ports up in 50 s, before the first of them comes out of TIME_WAIT.
const CONNECTIONS_PER_SECOND: f64 = 8.0;

/// The destination of the client that wears the ports out.
const DESTINATION: &str = "127.9.0.1:8443";

/// Short times still add up: scrape, evaluation, `for`, grouping, a busy machine.
const SOON: Duration = Duration::from_secs(25);

/// As long as TIME_WAIT lasts, and what the alert looks back.
const AFTER_TIME_WAIT: Duration = Duration::from_secs(75);

/// Alerts that this host has earned; any other is a false alarm.
const EARNED: [&str; 8] = [
    "SockdiagEphemeralPortsNearExhaustion",
    "SockdiagEphemeralPortsExhaustionPredicted",
    "SockdiagEphemeralClosesAboveSustainable",
    "SockdiagAcceptQueueNearLimit",
    "SockdiagCloseWaitLeak",
    "SockdiagConntrackNearFull",
    "SockdiagConntrackFullPredicted",
    "SockdiagExporterDown",
];

#[test]
fn alerts_reach_the_webhook_before_the_failure() {
    let needs = ["prometheus", "promtool", "prometheus-alertmanager", "nft"];
    in_netns(
        "alerts_reach_the_webhook_before_the_failure",
        &needs,
        || {
            set_port_range(FIRST_PORT, FIRST_PORT + PORTS - 1);
            // The default reuses TIME_WAIT on the loopback; a real client has no loopback.
            set_sysctl("net.ipv4.tcp_tw_reuse", 0);
            let mut stack = Stack::start();
            a_scrape_is_clean(&stack);
            thread::scope(|scope| {
                let client = scope.spawn(|| {
                    let limit = 2 * usize::from(PORTS);
                    use_up_ports(address(DESTINATION), CONNECTIONS_PER_SECOND, limit)
                });
                close_wait_leaks(&stack);
                an_accept_queue_fills(&stack);
                let end = client.join().expect("no panic").expect("EADDRNOTAVAIL");
                the_ports_were_foretold(&stack, end.at, end.connections);
                conntrack_fills(&stack);
                dashboards_have_data();
            });
            the_ports_come_back(&stack);
            the_exporter_dies(&mut stack);
            let earned = |notice: &Notice| EARNED.contains(&notice.label("alertname"));
            let mut others = stack.webhook.came();
            others.retain(|notice| !earned(notice));
            assert!(others.is_empty(), "false alarms: {others:#?}");
        },
    );
}

fn a_scrape_is_clean(stack: &Stack) {
    let found = stack.ask("sockdiag_sockets{netns=\"host\",protocol=\"tcp\",state=\"listen\"} > 0");
    assert!(!found.is_empty(), "no listener is counted");
    let page = http::get(address(EXPORTER), "/metrics").expect("the page");
    let said = tools::run("promtool", &["check", "metrics"], page.text());
    assert_eq!(said, "", "promtool has something to say");
}

/// An alert of that name and severity about a label's value.
fn is(notice: &Notice, firing: bool, name: &str, severity: &str) -> bool {
    notice.firing == firing
        && notice.label("alertname") == name
        && notice.label("severity") == severity
}

fn close_wait_leaks(stack: &Stack) {
    const ALERT: &str = "SockdiagCloseWaitLeak";
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let leak = scope.spawn(|| leak_close_wait(address("127.9.0.3:6379"), &stop));
        let told = stack
            .webhook
            .wait(ALERT, Duration::from_secs(60), |notice| {
                is(notice, true, ALERT, "warning")
            });
        stop.store(true, Ordering::Relaxed);
        leak.join().expect("no panic").expect("the leak goes on");
        assert_eq!(told.label("direction"), "inbound");
        let description = told.annotation("description");
        assert!(description.contains("local port 6379"), "{description}");
    });
    stack.webhook.wait("the leak's end", SOON, |notice| {
        is(notice, false, ALERT, "warning")
    });
}

fn an_accept_queue_fills(stack: &Stack) {
    const ALERT: &str = "SockdiagAcceptQueueNearLimit";
    let stuck = Stuck::at(address("127.9.0.2:8080"), 16).expect("a full queue");
    let told = stack
        .webhook
        .wait(ALERT, SOON, |notice| is(notice, true, ALERT, "critical"));
    assert_eq!(
        (told.label("address"), told.label("port")),
        ("127.9.0.2", "8080")
    );
    let _listener = stuck.wake_up().expect("it accepts");
    stack.webhook.wait("the queue's end", SOON, |notice| {
        is(notice, false, ALERT, "critical")
    });
}

/// Both arrived at the webhook before connect() failed, in the right order and
/// with the culprit's name; says how long before.
fn the_ports_were_foretold(stack: &Stack, failed: Instant, connections: usize) {
    const ALERT: &str = "SockdiagEphemeralPortsNearExhaustion";
    assert_eq!(
        connections,
        usize::from(PORTS),
        "connections before the failure"
    );
    let (host, port) = DESTINATION.split_once(':').expect("host:port");
    let told = |severity: &str| {
        stack.webhook.wait(severity, SOON, |notice| {
            is(notice, true, ALERT, severity) && notice.label("destination") == host
        })
    };
    let (warning, critical) = (told("warning"), told("critical"));
    for notice in [&warning, &critical] {
        assert_eq!(notice.label("port"), port);
        let description = notice.annotation("description");
        assert!(
            description.contains(&format!("to {host} port {port}")),
            "{description}"
        );
        assert!(description.contains("time_wait"), "{description}");
    }
    let lead = |notice: &Notice| match failed.checked_duration_since(notice.at) {
        Some(lead) => lead.as_secs_f64(),
        None => -notice.at.duration_since(failed).as_secs_f64(),
    };
    eprintln!(
        "lead over the first EADDRNOTAVAIL at the webhook, {PORTS} ports at {CONNECTIONS_PER_SECOND} connections/s: \
         warning {:.1} s, critical {:.1} s",
        lead(&warning),
        lead(&critical)
    );
    assert!(warning.at < critical.at, "the warning comes first");
    assert!(lead(&critical) > 0.0, "the critical alert came too late");
}

fn conntrack_fills(stack: &Stack) {
    const ALERT: &str = "SockdiagConntrackNearFull";
    if !fill_conntrack().expect("packets can be sent") {
        eprintln!("left out: conntrack, whose table is not offered here or too large to fill");
        return;
    }
    stack
        .webhook
        .wait(ALERT, SOON, |notice| is(notice, true, ALERT, "critical"));
    flush_conntrack().expect("the table can be flushed");
    stack.webhook.wait("the table's end", SOON, |notice| {
        is(notice, false, ALERT, "critical")
    });
}

/// Every query of the dashboards, asked while this host has something to show.
fn dashboards_have_data() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/grafana/queries.py");
    if !script.exists() {
        return;
    }
    let said = Command::new(&script)
        .args(["--prometheus", &format!("http://{PROMETHEUS}")])
        .output()
        .expect("the script starts");
    let text = String::from_utf8_lossy(&said.stdout);
    let faults = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{text}{faults}");
    eprintln!("dashboards: {}", text.lines().last().unwrap_or_default());
}

/// The client has stopped, and nobody helps: TIME_WAIT runs its 60 s.
fn the_ports_come_back(stack: &Stack) {
    const ALERT: &str = "SockdiagEphemeralPortsNearExhaustion";
    for severity in ["critical", "warning"] {
        stack.webhook.wait(severity, AFTER_TIME_WAIT, |notice| {
            is(notice, false, ALERT, severity) && !notice.label("destination").is_empty()
        });
    }
    let firing = format!("ALERTS{{alertname=\"{ALERT}\",alertstate=\"firing\"}}");
    let silent = wait_until(SOON, || stack.ask(&firing).is_empty());
    assert!(silent, "{:#?}", stack.ask(&firing));
}

fn the_exporter_dies(stack: &mut Stack) {
    const ALERT: &str = "SockdiagExporterDown";
    stack.exporter.kill().expect("it was alive");
    // On a slow machine it came without an instance before the first scrape, as it
    // does where no target is known.
    stack.webhook.wait(ALERT, SOON, |notice| {
        is(notice, true, ALERT, "warning") && notice.label("instance") == EXPORTER
    });
}
