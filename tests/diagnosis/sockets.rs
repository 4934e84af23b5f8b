//! Sockets in states that tell of trouble.

use insta::assert_snapshot;

use crate::read::{address, poll, text};
use crate::support::netns::{Namespace, in_netns};
use crate::support::plan::Plan;
use crate::support::sockets::{Listener, half_close};
use crate::support::tools::wait_until;

#[test]
fn a_server_that_does_not_close() {
    in_netns("sockets::a_server_that_does_not_close", &["ip"], || {
        let (here, peer) = (Namespace::here(), Namespace::fresh());
        here.connect(&peer, "pair", &["10.9.0.1/24"], &["10.9.0.2/24"]);
        let listener = Listener::at(address("10.9.0.1:8080")).unwrap();
        let pairs = peer.enter(|| {
            let pair = |_| listener.pair(&listener.plan()).unwrap();
            (0..80).map(pair).collect::<Vec<_>>()
        });
        for (client, server) in &pairs[..60] {
            half_close(client, server).unwrap();
        }
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn a_program_that_does_not_accept() {
    in_netns("sockets::a_program_that_does_not_accept", &[], || {
        let server = address("127.0.0.1:8080");
        let listener = Listener::with_backlog(server, 8).unwrap();
        let _waiting = listener.plan().open_many(9).unwrap();
        let full = || Plan::tcp(server).nonblocking().open().is_ok();
        assert!(wait_until(std::time::Duration::from_secs(1), full));
        assert_snapshot!(text(&poll()));
    });
}

#[test]
fn a_queue_that_grows() {
    in_netns("sockets::a_queue_that_grows", &[], || {
        let listener = Listener::with_backlog(address("[::1]:8080"), 40).unwrap();
        let _waiting = listener.plan().open_many(30).unwrap();
        assert_snapshot!(text(&poll()));
    });
}
