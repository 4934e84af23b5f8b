//! The page changes in place: what the reader has done to it stays.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use sockdiag_exporter::snapshot::{Page, Published, Snapshot};
use sockdiag_exporter::subjects::listeners::AcceptQueue;
use sockdiag_exporter::subjects::section::Section;

use super::driver::{Browser, NEEDS};
use crate::assert_quiet;
use crate::client::{ROOMY, Server};
use crate::snapshots::snapshot;
use crate::support::netns::in_netns;

/// At a beat of a second.
pub fn publish(server: &Server, mut snapshot: Snapshot) {
    snapshot.interval = Duration::from_secs(1);
    let age_max = Duration::from_secs(600);
    let published = Published::new(snapshot, Page::default(), Instant::now(), age_max);
    server.publisher.publish(published);
}

fn queue(port: u16, waiting: u32) -> AcceptQueue {
    AcceptQueue {
        address: "::".parse().expect("an address"),
        port,
        waiting,
        limit: 128,
    }
}

fn with_queues(queues: Vec<AcceptQueue>) -> Snapshot {
    let mut snapshot = snapshot();
    let facts = &mut snapshot.namespaces[0].facts;
    if let Section::Measured(listeners) = &mut facts.listeners {
        listeners.queues = queues;
    }
    snapshot
}

/// Ports of the queues as they stand in their table.
const PORTS: &str = "[...document.querySelectorAll('caption')] \
    .find((caption) => caption.textContent.startsWith('Fullest')) \
    .parentElement.querySelectorAll('tbody tr')";

#[test]
fn scroll_focus_details_and_order_stay_and_news_are_told() {
    let name = "browser::place::scroll_focus_details_and_order_stay_and_news_are_told";
    in_netns(name, &NEEDS, || {
        let server = Server::start(ROOMY);
        publish(&server, with_queues(vec![queue(8443, 96), queue(8444, 95)]));
        let browser = Browser::start();
        let origin = format!("http://{}", server.address);
        browser.resize(700, 400);
        browser.open(&origin);
        // The second one is not open of itself.
        browser.run(
            "document.querySelectorAll('details')[1].open = true; \
            window.opened = document.querySelectorAll('details')[1].closest('article').id",
        );
        // By port: names and ports from the lowest on at the second click.
        browser.run(&format!(
            "const head = {PORTS}[0].closest('table').tHead.rows[0].cells[1].firstElementChild; \
             head.click(); head.click(); head.focus(); head.scrollIntoView(); \
             window.mark = head.getBoundingClientRect().top"
        ));
        let scroll = browser.run("return scrollY").as_f64();
        assert!(scroll > Some(100.0), "{scroll:?}");
        let queues = vec![queue(9999, 128), queue(8444, 97), queue(8443, 96)];
        publish(&server, with_queues(queues));
        browser.wait_for(&format!("{PORTS}.length === 3"));
        let ports = format!("return [...{PORTS}].map((row) => row.cells[1].textContent)");
        assert_eq!(browser.run(&ports), json!(["8443", "8444", "9999"]));
        let place = "return [document.activeElement.textContent, \
            document.activeElement.closest('th').getAttribute('aria-sort'), \
            document.querySelector(`#${opened} details`).open, \
            document.querySelectorAll('details[open]').length]";
        assert_eq!(browser.run(place), json!(["Port", "ascending", true, 3]));
        // The finding that came stands above: the reader looks at the same line as before.
        let moved = browser.run(
            "return [Math.abs(document.activeElement.getBoundingClientRect().top - mark), scrollY]",
        );
        assert!(moved[0].as_f64() < Some(2.0), "{moved}");
        assert!(moved[1].as_f64() > scroll, "{moved}");
        let news = browser.run("return document.querySelector('#news').textContent");
        assert!(
            news.as_str().unwrap().contains("critical [::]:9999"),
            "{news}"
        );
        assert_quiet(&browser, &origin);
    });
}

#[test]
fn it_rests_while_nobody_looks_and_says_when_it_cannot_go_on() {
    let name = "browser::place::it_rests_while_nobody_looks_and_says_when_it_cannot_go_on";
    in_netns(name, &NEEDS, || {
        let mut server = Server::start(ROOMY);
        publish(&server, snapshot());
        let browser = Browser::start();
        browser.open(&format!("http://{}", server.address));
        let asked = |server: &Server| server.counted("/", "200");
        let look = |hidden: bool| {
            browser.run(&format!(
                "Object.defineProperty(document, 'hidden', {{ value: {hidden}, configurable: true }}); \
                 document.dispatchEvent(new Event('visibilitychange'))"
            ))
        };
        let goes_on = |server: &Server| {
            let before = asked(server);
            crate::support::tools::wait_until(Duration::from_secs(10), || {
                asked(server) > before + 1.0
            })
        };
        let rests = |server: &Server| {
            // What is under way ends first.
            sleep(Duration::from_millis(500));
            let before = asked(server);
            sleep(Duration::from_millis(2_500));
            asked(server) == before
        };
        assert!(goes_on(&server));
        look(true);
        assert!(rests(&server), "it asks though it is hidden");
        look(false);
        assert!(goes_on(&server));
        browser.run("document.querySelector('#pause').click()");
        assert!(rests(&server), "it asks though it is paused");
        assert_eq!(
            browser.run("return document.querySelector('#state').textContent"),
            json!("Paused.")
        );
        browser.run("document.querySelector('#pause').click()");
        assert!(goes_on(&server));
        server.stop();
        server.join();
        browser.wait_for(
            "document.querySelector('#state').textContent === 'Cannot be updated: no answer.'",
        );
        let ago =
            "/^Last updated [1-9][0-9]* s ago/.test(document.querySelector('#ago').textContent)";
        browser.wait_for(ago);
        let figures = browser.run("return document.querySelectorAll('main table').length");
        assert!(figures.as_u64() > Some(2), "the last figures stay");
    });
}
