//! Without a script, and on paper.

use std::time::Duration;

use serde_json::json;

use super::driver::{Browser, NEEDS};
use super::place::publish;
use crate::client::{ROOMY, Server};
use crate::snapshots::snapshot;
use crate::support::netns::in_netns;
use crate::support::tools::wait_until;

#[test]
fn without_a_script_it_reloads_itself() {
    let name = "browser::without::without_a_script_it_reloads_itself";
    in_netns(name, &NEEDS, || {
        let server = Server::start(ROOMY);
        publish(&server, snapshot());
        let browser = Browser::start();
        browser.devtools(
            "Emulation.setScriptExecutionDisabled",
            json!({ "value": true }),
        );
        browser.open(&format!("http://{}", server.address));
        let loaded =
            || server.counted("/static/{file}", "200") + server.counted("/static/{file}", "304");
        let before = server.counted("/", "200");
        let again = || server.counted("/", "200") > before + 2.0 && loaded() > 2.0;
        assert!(
            wait_until(Duration::from_secs(20), again),
            "it stands still"
        );
        let page = browser.run(
            "return [document.querySelector('#control').hidden, \
             document.querySelector('main time').textContent.endsWith('Z'), \
             document.querySelectorAll('button.sort').length]",
        );
        assert_eq!(page, json!([true, true, 0]));
    });
}

#[test]
fn paper_has_what_is_folded_up_and_no_buttons() {
    let name = "browser::without::paper_has_what_is_folded_up_and_no_buttons";
    in_netns(name, &NEEDS, || {
        let server = Server::start(ROOMY);
        publish(&server, snapshot());
        let browser = Browser::start();
        browser.open(&format!("http://{}", server.address));
        browser.run(
            "document.querySelectorAll('details').forEach((one) => (one.open = false)); \
             addEventListener('beforeprint', () => { \
                 window.folded = document.querySelectorAll('details:not([open])').length; \
                 window.shown = ['nav', '#control', 'main'].map( \
                     (one) => getComputedStyle(document.querySelector(one)).display); \
             })",
        );
        let printed = browser.devtools("Page.printToPDF", json!({}));
        assert!(
            printed["data"]
                .as_str()
                .is_some_and(|pdf| pdf.len() > 10_000)
        );
        assert_eq!(browser.run("return window.folded"), json!(0));
        browser.devtools("Emulation.setEmulatedMedia", json!({ "media": "print" }));
        let shown = browser.run(
            "return ['nav', '#control', 'main'].map( \
             (one) => getComputedStyle(document.querySelector(one)).display)",
        );
        assert_eq!(shown, json!(["none", "none", "block"]));
        let folded = "return document.querySelectorAll('details:not([open])').length";
        assert!(
            browser.run(folded).as_u64() > Some(0),
            "the screen is as it was"
        );
    });
}
