//! Clients that never pause between requests: none keeps its place for ever.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{LARGE, SCRAPE, SHORT};
use crate::web::client::{PATIENCE, ROOMY, Server};
use crate::web::snapshots::large;
use sockdiag_exporter::show::web::client::ConnectionLimits as Limits;

const PROBE: &str = "GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n";

/// Has `ahead` probes under way at any time, on a new connection whenever the
/// last one ended.
fn ask_without_a_pause(address: SocketAddr, ahead: usize, enough: &AtomicBool) {
    let start = Instant::now();
    while !enough.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SHORT)).unwrap();
        let mut asked = stream.write_all(PROBE.repeat(ahead).as_bytes());
        let mut unread = Vec::new();
        let mut buffer = [0; 65536];
        while asked.is_ok() && !enough.load(Ordering::Relaxed) && start.elapsed() < PATIENCE {
            let Ok(read @ 1..) = stream.read(&mut buffer) else {
                break;
            };
            unread.extend_from_slice(&buffer[..read]);
            let answers = unread.windows(9).filter(|nine| nine == b"HTTP/1.1 ");
            asked = stream.write_all(PROBE.repeat(answers.count()).as_bytes());
            // A start that is cut is counted with the next bytes.
            unread.drain(..unread.len().saturating_sub(8));
        }
    }
}

/// The longest that one of several clients waited for its answer while four
/// others, as many as there are places, asked without a pause.
fn longest_wait_among_busy_clients(ahead: usize) -> Duration {
    let server = Server::start(Limits {
        max_connections: 4,
        ..ROOMY
    });
    let enough = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| ask_without_a_pause(server.address, ahead, &enough));
        }
        std::thread::sleep(SHORT);
        let waits = (0..5).map(|_| {
            let start = Instant::now();
            // An answer that never comes fails the test only once all have ended.
            let answered = catch_unwind(AssertUnwindSafe(|| {
                assert_eq!(server.get("/-/ready").status(), 503);
            }));
            answered.map_or(Duration::MAX, |()| start.elapsed())
        });
        let longest = waits.max().unwrap();
        enough.store(true, Ordering::Relaxed);
        longest
    })
}

#[test]
fn clients_that_ask_without_a_pause_make_way() {
    let waited = longest_wait_among_busy_clients(1);
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

#[test]
fn clients_that_pipeline_without_an_end_make_way() {
    let waited = longest_wait_among_busy_clients(100);
    assert!(waited < Duration::from_secs(2), "{waited:?}");
}

#[test]
fn pages_read_slowly_one_after_the_other_share_one_deadline() {
    let server = Server::start(Limits {
        request_timeout: 4 * SHORT,
        ..ROOMY
    });
    server.publisher.publish(large(LARGE / 8));
    let mut slow = server.connect();
    slow.send(SCRAPE.repeat(100));
    let start = Instant::now();
    let mut piece = vec![0; LARGE / 64];
    // Each page alone takes well less than the deadline.
    while slow.stream.read_exact(&mut piece).is_ok() {
        assert!(start.elapsed() < PATIENCE / 2, "the place is held");
        std::thread::sleep(SHORT / 5);
    }
}
