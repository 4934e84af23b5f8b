//! Names that others choose, and what the policy stops.

use serde_json::json;
use sockdiag_exporter::snapshot::{NamespaceSnapshot, Snapshot};

use super::axe;
use super::driver::{Browser, NEEDS};
use super::place::publish;
use crate::assert_quiet;
use crate::client::{ROOMY, Server};
use crate::snapshots::snapshot;
use crate::support::netns::{in_netns, is_inside};

const NAME: &str = "<img src=x onerror=hacked()>\"'&";

fn hostile() -> Snapshot {
    let mut snapshot = snapshot();
    let facts = snapshot.namespaces[0].facts.clone();
    snapshot.namespaces.push(NamespaceSnapshot {
        name: NAME.to_owned(),
        facts,
        ..NamespaceSnapshot::default()
    });
    snapshot
}

#[test]
fn names_stay_text_and_nothing_else_runs_or_loads() {
    let name = "browser::hostile::names_stay_text_and_nothing_else_runs_or_loads";
    let axe = match is_inside(name) {
        // It cannot be fetched in there.
        false if axe::script(name).is_none() => return,
        _ => || axe::script(name).expect("it was fetched"),
    };
    in_netns(name, &NEEDS, || {
        let server = Server::start(ROOMY);
        publish(&server, hostile());
        let browser = Browser::start();
        let origin = format!("http://{}", server.address);
        browser.open(&origin);
        // Whatever is shown comes a second time through the script.
        browser.run("window.mark = document.querySelector('main time').title");
        let mut later = hostile();
        later.taken += std::time::Duration::from_secs(3);
        publish(&server, later);
        browser.wait_for("document.querySelector('main time').title !== window.mark");
        let markup = "return document.querySelectorAll('main img, main script, main b').length";
        assert_eq!(browser.run(markup), json!(0));
        // With a namespace to pick and a failed collector, which a real host rarely has.
        axe::check(&browser, &axe(), "several namespaces");
        let text = browser.run("return document.body.innerText");
        let text = text.as_str().unwrap();
        assert!(
            text.contains(&format!("Network namespace {NAME}")),
            "{text}"
        );
        assert!(text.contains("192.0.2.1%<script>"), "{text}");
        browser.run(
            "document.querySelector('#netns').value = arguments[0] ?? ''; \
            const option = [...document.querySelectorAll('#netns option')].at(-1); \
            option.selected = true; option.form.requestSubmit()",
        );
        browser.wait_for(
            "location.search !== '' && document.querySelectorAll('main h2').length === 2",
        );
        let head = browser.run("return document.querySelectorAll('main h2')[1].textContent");
        assert_eq!(head, json!(format!("Network namespace {NAME}")));
        assert_quiet(&browser, &origin);
        the_policy_holds(&browser);
    });
}

/// Were there a hole for markup after all.
fn the_policy_holds(browser: &Browser) {
    browser.run(
        "window.stopped = []; \
         addEventListener('securitypolicyviolation', (event) => stopped.push(event.effectiveDirective)); \
         const script = document.createElement('script'); \
         script.textContent = 'window.hacked = 1'; \
         document.body.append(script); \
         document.body.insertAdjacentHTML('beforeend', '<p onclick=\"window.hacked = 1\" id=bait style=\"color:red\">'); \
         document.querySelector('#bait').click(); \
         new Image().src = 'http://127.0.0.2:9/'; \
         const frame = document.createElement('iframe'); \
         frame.src = 'http://127.0.0.2:9/'; \
         document.body.append(frame); \
         fetch('http://127.0.0.2:9/').catch(() => {})",
    );
    let expected = [
        "connect-src",
        "frame-src",
        "img-src",
        "script-src-attr",
        "script-src-elem",
        "style-src-attr",
    ];
    for directive in expected {
        browser.wait_for(&format!("window.stopped.includes('{directive}')"));
    }
    assert_eq!(browser.run("return window.hacked ?? null"), json!(null));
}
