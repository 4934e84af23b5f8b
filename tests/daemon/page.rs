//! The page of a running daemon.

use std::thread::sleep;
use std::time::Duration;

use super::exporter::{DEFAULT, Exporter, address};
use crate::support::http;
use crate::support::netns::in_netns;

#[test]
fn its_history_is_kept_while_nobody_looks() {
    let name = "daemon::page::its_history_is_kept_while_nobody_looks";
    in_netns(name, &[], || {
        let exporter = Exporter::start(&["--poll-interval", "1s"]);
        exporter.wait_ready(DEFAULT);
        // Two samples and the beginning of a third.
        sleep(Duration::from_secs(11));
        let page = http::get(address(DEFAULT), "/").unwrap();
        assert_eq!(page.status, 200);
        let (_, path) = page
            .text()
            .split_once("class=\"line line-0\" d=\"")
            .unwrap();
        let (path, _) = path.split_once('"').unwrap();
        assert!(path.matches('L').count() >= 2, "{path}");
    });
}
