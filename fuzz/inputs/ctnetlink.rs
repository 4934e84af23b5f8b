//! What ctnetlink says of each CPU → counts of events.

use std::sync::atomic::AtomicBool;

use sockdiag_exporter::kernel::ctnetlink::{EVENTS, events_from};

use super::answers::{Answers, split};

pub fn run(input: &[u8]) {
    let datagrams = split(input);
    let bytes = input.len() as u64;
    let answers = Answers::numbered(datagrams);
    let Ok(events) = events_from(answers, &AtomicBool::new(false)) else {
        return;
    };
    assert!(events.len() <= EVENTS.len());
    for (event, count) in events {
        // Each value takes eight bytes of the input.
        let most = (bytes / 8) * u64::from(u32::MAX);
        assert!(count <= most, "{event}: {count} from {bytes} bytes");
    }
}
