//! Datagrams → messages, against the crate netlink-packet-core.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use netlink_packet_core::NetlinkBuffer;
use sockdiag_exporter::kernel::netlink::dump::{Deadline, Dumper, Request};

use super::answers::{Answers, split};

const SOCK_DIAG_BY_FAMILY: u16 = 20;

pub fn run(input: &[u8]) {
    // The first byte says whether sequence numbers are right.
    let Some((first, input)) = input.split_first() else {
        return;
    };
    let datagrams = split(input);
    let answers = match first & 1 {
        0 => Answers::numbered(datagrams.clone()),
        _ => Answers::raw(datagrams.clone()),
    };
    let request = Request {
        kind: SOCK_DIAG_BY_FAMILY,
        payload: &[0; 56],
    };
    let deadline = Deadline {
        timeout: Duration::from_secs(60),
        stop: &AtomicBool::new(false),
    };
    let mut payloads = Vec::new();
    let ended = Dumper::new(answers).dump(&request, deadline, |payload| {
        payloads.push(payload.to_vec());
    });
    let (expected, are_whole) = messages(&datagrams);
    assert!(
        expected.starts_with(&payloads),
        "{payloads:?} of {expected:?}"
    );
    if let (Ok(_), true, true) = (ended, are_whole, first & 1 == 0) {
        assert_eq!(payloads, expected);
    }
}

/// Payloads up to the first message that is not a record, and whether none was such or
/// malformed.
fn messages(datagrams: &[Vec<u8>]) -> (Vec<Vec<u8>>, bool) {
    let mut found = Vec::new();
    for datagram in datagrams {
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let Ok(message) = NetlinkBuffer::new_checked(rest) else {
                return (found, false);
            };
            match message.message_type() {
                // NLMSG_NOOP.
                1 => {}
                2..=4 => return (found, false),
                _ => found.push(message.payload().to_vec()),
            }
            let length = message.length() as usize;
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
    }
    (found, true)
}
