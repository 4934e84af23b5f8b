//! A real host that is well, and then runs out of ports.

use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use serde_json::json;
use socket2::Socket;

use super::axe;
use super::driver::{Browser, NEEDS};
use crate::assert_quiet;
use crate::support::netns::{in_netns, is_inside, set_port_range, set_sysctl};
use crate::support::process::Process;
use crate::support::sockets::{Listener, close_in_turn};
use crate::support::{patience, tools};

const ORIGIN: &str = "http://127.0.0.1:10061";
const PORTS: u16 = 4_000;
/// Connections that are kept, and others that this side closes.
const KEPT: usize = 1_300;
const CLOSED: usize = 2_400;

#[test]
fn trouble_is_shown_as_it_comes_without_a_reload() {
    let name = "browser::host::trouble_is_shown_as_it_comes_without_a_reload";
    let axe = match is_inside(name) {
        // It cannot be fetched in there.
        false if axe::script(name).is_none() => return,
        _ => || axe::script(name).expect("it was fetched"),
    };
    in_netns(name, &NEEDS, || {
        set_port_range(40_000, 40_000 + PORTS - 1);
        set_sysctl("net.ipv4.tcp_tw_reuse", 0);
        let directory = tempfile::tempdir().expect("a temporary directory");
        let _exporter = Process::start(
            Command::new(tools::exporter()).args(["--poll-interval", "1s"]),
            &directory.path().join("log"),
        );
        let browser = Browser::start();
        let zone = json!({ "timezoneId": "Asia/Kolkata" });
        browser.devtools("Emulation.setTimezoneOverride", zone);
        let ready = || tools::wait_until(Duration::ZERO, is_ready);
        assert!(tools::wait_until(patience::seconds(10), ready));
        browser.open(ORIGIN);
        a_healthy_host(&browser, &axe());
        let _trouble = Trouble::come(&browser);
        an_exhausted_host(&browser, &axe());
        assert_quiet(&browser, ORIGIN);
    });
}

fn is_ready() -> bool {
    let at = "127.0.0.1:10061".parse().expect("an address");
    crate::support::http::get(at, "/-/ready").is_ok_and(|answer| answer.status == 200)
}

fn a_healthy_host(browser: &Browser, axe: &str) {
    browser.wait_for("document.querySelectorAll('figure.plot').length >= 2");
    // What is the machine's, its memory for instance, may be short: not what is this host's.
    browser.wait_for("!document.querySelector('.finding.critical')");
    let time = browser.run("return document.querySelector('main time').textContent");
    assert!(time.as_str().unwrap().contains("GMT+5:30"), "{time}");
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        axe::check(browser, axe, scheme);
    }
    if wants_pictures() {
        sleep(Duration::from_secs(20));
    }
    pictures(browser, "healthy", 1_000);
}

const POINTS: &str = "document.querySelector('figure.plot path.line').getAttribute('d')";

fn an_exhausted_host(browser: &Browser, axe: &str) {
    browser.wait_for("document.querySelector('.finding.critical')");
    browser.wait_for("document.querySelector('#news').textContent.includes('127.9.0.1:443')");
    browser.wait_for("document.title.startsWith('critical')");
    browser.wait_for(&format!("{POINTS}.split('L').length > window.points"));
    assert_eq!(
        browser.run("return window.mark"),
        json!(1),
        "it was loaded anew"
    );
    let first = browser.run("return document.querySelector('main h3').textContent");
    let first = first.as_str().unwrap();
    assert!(first.starts_with("critical "), "{first}");
    let bars = "return [...document.querySelectorAll('td .badge')].map((badge) => \
        badge.textContent + ' ' + badge.parentElement.querySelector('svg').classList.value)";
    let bars = browser.run(bars).to_string();
    assert!(bars.contains("critical bar critical"), "{bars}");
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        axe::check(browser, axe, scheme);
    }
    browser.resize(360, 740);
    axe::check(browser, axe, "on a phone");
    let width = browser.run("return document.documentElement.scrollWidth");
    assert!(width.as_u64() <= Some(360), "the page is {width} wide");
    pictures(browser, "exhausted", 1_450);
}

/// Connections toward one destination that end too soon, and a program that does not accept.
struct Trouble {
    _listener: Listener,
    _kept: Vec<(Socket, Socket)>,
    _stuck: Listener,
    _waiting: Vec<Socket>,
}

impl Trouble {
    fn come(browser: &Browser) -> Self {
        browser.run(&format!(
            "window.mark = 1; window.points = {POINTS}.split('L').length + 1"
        ));
        let at = |address: &str| address.parse().expect("an address");
        let listener = Listener::at(at("127.9.0.1:443")).expect("a listener");
        let plan = listener.plan();
        let pair = || listener.pair(&plan).expect("a port is free");
        let mut kept = Vec::new();
        // Slowly for a picture, so that there is a line to look at.
        let steps = if wants_pictures() { 50 } else { 1 };
        for _ in 0..steps {
            kept.extend((0..KEPT / steps).map(|_| pair()));
            for (first, second) in (0..CLOSED / steps).map(|_| pair()) {
                close_in_turn(first, second).expect("both ends close");
            }
            sleep(Duration::from_secs(u64::from(wants_pictures())));
        }
        let other = Listener::at(at("127.9.0.2:5432")).expect("a listener");
        kept.extend((0..80).map(|_| other.pair(&other.plan()).expect("a port is free")));
        let stuck = Listener::with_backlog(at("127.9.0.3:8080"), 20).expect("a listener");
        let waiting = (0..17).map(|_| stuck.plan().open().expect("there is room"));
        let waiting = waiting.collect();
        Self {
            _listener: listener,
            _kept: kept,
            _stuck: stuck,
            _waiting: waiting,
        }
    }
}

fn wants_pictures() -> bool {
    std::env::var("UPDATE_SCREENSHOTS").as_deref() == Ok("1")
}

fn pictures(browser: &Browser, of: &str, height: u32) {
    if !wants_pictures() {
        return;
    }
    browser.resize(900, height);
    for scheme in ["light", "dark"] {
        browser.prefer(scheme);
        sleep(Duration::from_secs(2));
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
        let file = docs.join(format!("page-{of}-{scheme}.png"));
        std::fs::write(file, browser.screenshot()).expect("it can be written");
    }
}
