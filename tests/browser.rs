//! The page in a real browser: it keeps itself up to date, keeps its place, runs nothing but
//! its own, and can be used by everybody. With `UPDATE_SCREENSHOTS=1` the host's test writes
//! the pictures in docs/ anew.

mod support;

#[allow(dead_code, reason = "the tests of the HTTP side have more use for it")]
#[path = "web/client.rs"]
mod client;
#[allow(dead_code, reason = "the tests of the HTTP side have more use for it")]
#[path = "web/snapshots.rs"]
mod snapshots;

mod browser {
    pub mod axe;
    pub mod driver;
    pub mod host;
    pub mod hostile;
    pub mod place;
    pub mod without;
}

use browser::driver::Browser;
use serde_json::Value;

/// Whatever the page did: nothing in the console, and no request but to the exporter.
fn assert_quiet(browser: &Browser, origin: &str) {
    let said: Vec<_> = browser
        .log("browser")
        .into_iter()
        .filter(|line| !is_of_the_browser(line["message"].as_str().expect("text")))
        .collect();
    assert!(said.is_empty(), "the console says {said:#?}");
    let mut requests = 0;
    for line in browser.log("performance") {
        let text = line["message"].as_str().expect("text");
        let message: Value = serde_json::from_str(text).expect("JSON");
        let message = &message["message"];
        if message["method"] == "Network.requestWillBeSent" {
            let url = message["params"]["request"]["url"].as_str().expect("text");
            let by = message["params"]["documentURL"].as_str().expect("text");
            if !is_of_the_browser(by) {
                assert!(url.starts_with(origin), "a request to {url} by {by}");
                requests += 1;
            }
        }
    }
    assert!(requests >= 4, "page, script, style and icon: {requests}");
}

/// Where every browser begins, before it is told where to go.
fn is_of_the_browser(url: &str) -> bool {
    url.starts_with("chrome://") || url == "data:,"
}
