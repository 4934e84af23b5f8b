use super::*;
use crate::fake_kernel::{Asked, Event, Kernel, message};
use proptest::prelude::*;

static NEVER: AtomicBool = AtomicBool::new(false);
const PATIENT: Duration = Duration::from_secs(60);

type Ending = Result<bool, DumpError>;

/// What comes of a dump that is answered with these events, and its records.
fn dump(answer: impl FnMut(&Asked) -> Vec<Event> + Send + 'static) -> (Ending, Vec<Vec<u8>>) {
    let mut records = Vec::new();
    let ending = ask(
        &mut Dumper::new(Kernel::new(answer).open()),
        PATIENT,
        &mut records,
    );
    (ending, records)
}

fn ask(
    dumper: &mut Dumper<impl Transport>,
    timeout: Duration,
    records: &mut Vec<Vec<u8>>,
) -> Ending {
    let request = Request {
        kind: 20,
        payload: &[1, 2, 3, 4],
    };
    let deadline = Deadline {
        timeout,
        stop: &NEVER,
    };
    dumper.dump(&request, deadline, |record| records.push(record.to_vec()))
}

fn reason(ending: Ending) -> &'static str {
    ending.map_or_else(|error| error.reason(), |_| "none")
}

/// A datagram as it is, whatever was asked. The first sequence number is 1.
fn datagram(bytes: &[u8]) -> Ending {
    let bytes = bytes.to_vec();
    dump(move |_| vec![Event::Datagram(bytes.clone())]).0
}

#[rustfmt::skip]
const DONE: [u8; 20] = [
    20, 0, 0, 0, // length
    3, 0, // type: NLMSG_DONE
    2, 0, // flags: NLM_F_MULTI
    1, 0, 0, 0, // sequence
    77, 0, 0, 0, // port id
    0, 0, 0, 0, // errno: none
];

#[rustfmt::skip]
const REFUSED: [u8; 36] = [
    36, 0, 0, 0, // length
    2, 0, // type: NLMSG_ERROR
    0, 0, // flags
    1, 0, 0, 0, // sequence
    77, 0, 0, 0, // port id
    0xff, 0xff, 0xff, 0xff, // errno: -1, EPERM
    16, 0, 0, 0, 20, 0, 1, 3, 1, 0, 0, 0, 0, 0, 0, 0, // header of the request
];

/// One of the bytes above changed.
fn with(bytes: &[u8], at: usize, value: u8) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] = value;
    bytes
}

#[test]
fn records_come_in_order_until_done() {
    let (ending, records) = dump(|asked| {
        let two = [asked.record(b"one!"), asked.record(b"two!")].concat();
        let last = [asked.record(b"last"), asked.done(0)].concat();
        vec![Event::Datagram(two), Event::Datagram(last)]
    });
    assert!(ending.unwrap());
    assert_eq!(records, [b"one!", b"two!", b"last"]);
}

#[test]
fn a_dump_of_nothing_is_whole() {
    assert!(datagram(&DONE).unwrap());
}

#[test]
fn done_without_a_number_is_done() {
    for length in 16..20 {
        let short = with(&DONE[..usize::from(length)], 0, length);
        assert!(datagram(&short).unwrap(), "{length}");
    }
}

#[test]
fn done_with_an_errno_is_not_whole() {
    let ending = dump(|asked| {
        let half = [asked.record(b"half"), asked.done(libc::EIO)].concat();
        vec![Event::Datagram(half)]
    });
    let Err(DumpError::EndedEarly(source)) = ending.0 else {
        panic!("{:?}", ending.0)
    };
    assert_eq!(source.raw_os_error(), Some(libc::EIO));
}

#[test]
fn an_error_is_the_kernel_s_refusal() {
    let Err(DumpError::Refused(source)) = datagram(&REFUSED) else {
        panic!()
    };
    assert_eq!(source.raw_os_error(), Some(libc::EPERM));
}

#[test]
fn an_error_that_is_none_is_malformed() {
    let acknowledged = [&REFUSED[..16], &[0; 4], &REFUSED[20..]].concat();
    assert_eq!(reason(datagram(&acknowledged)), "malformed");
    for length in 16..20 {
        let short = with(&REFUSED[..usize::from(length)], 0, length);
        assert_eq!(reason(datagram(&short)), "malformed", "{length}");
    }
}

#[test]
fn the_least_of_all_numbers_is_an_errno_like_any_other() {
    let least = [&REFUSED[..16], &i32::MIN.to_ne_bytes(), &REFUSED[20..]].concat();
    assert_eq!(reason(datagram(&least)), "refused");
}

#[test]
fn a_datagram_beyond_the_buffer_is_truncated() {
    let (ending, records) = dump(|asked| {
        let records = asked.record(&[7; 1000]).repeat(100);
        vec![Event::Datagram(records), Event::Datagram(asked.done(0))]
    });
    let Err(DumpError::Truncated { sent, capacity }) = ending else {
        panic!("{ending:?}")
    };
    assert_eq!(sent, 101_600);
    assert!((DATAGRAM_BYTES..sent).contains(&capacity));
    assert!(records.is_empty(), "nothing of it is believed");
}

#[test]
fn a_foreign_sequence_is_told_with_both_numbers() {
    let Err(DumpError::ForeignSequence { expected, found }) = datagram(&with(&DONE, 8, 9)) else {
        panic!()
    };
    assert_eq!((expected, found), (1, 9));
}

#[test]
fn lengths_that_lie_are_malformed() {
    for length in (0..16).chain([21, 24, 255]) {
        assert_eq!(
            reason(datagram(&with(&DONE, 0, length))),
            "malformed",
            "{length}"
        );
    }
    assert_eq!(reason(datagram(&with(&DONE, 3, 0xff))), "malformed");
    for cut in 1..16 {
        assert_eq!(reason(datagram(&DONE[..cut])), "malformed", "{cut}");
    }
    assert_eq!(reason(datagram(&[])), "malformed", "empty");
}

#[test]
fn an_overrun_is_named_wherever_it_shows() {
    assert_eq!(reason(datagram(&with(&DONE, 4, 4))), "overrun");
    let full = dump(|_| vec![Event::Errno(libc::ENOBUFS)]);
    assert_eq!(reason(full.0), "overrun");
}

#[test]
fn other_errors_of_the_call_are_the_call_s() {
    let (ending, _) = dump(|_| vec![Event::Errno(libc::EBADF)]);
    let error = ending.unwrap_err();
    assert_eq!(
        (error.reason(), error.to_string()),
        ("call", "netlink recv".into())
    );
}

#[test]
fn signals_and_silence_in_between_do_no_harm() {
    let (ending, records) = dump(|asked| {
        vec![
            Event::Errno(libc::EINTR),
            Event::Datagram(asked.record(b"kept")),
            Event::Errno(libc::EAGAIN),
            Event::Errno(libc::EINTR),
            Event::Datagram(asked.done(0)),
        ]
    });
    assert!(ending.unwrap());
    assert_eq!(records, [b"kept"]);
}

#[test]
fn a_kernel_that_falls_silent_meets_the_deadline() {
    let kernel = Kernel::new(|asked| vec![Event::Datagram(asked.record(b"half"))]);
    let timeout = Duration::from_millis(20);
    let ending = ask(&mut Dumper::new(kernel.open()), timeout, &mut Vec::new());
    assert!(matches!(ending, Err(DumpError::Deadline(after)) if after == timeout));
}

#[test]
fn a_dump_that_never_ends_meets_it_too() {
    struct Endless;
    impl Transport for Endless {
        fn send(&mut self, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn receive(&mut self, buffer: &mut Vec<u8>) -> io::Result<usize> {
            buffer.extend(message(20, 2, 1, b"more"));
            Ok(buffer.len())
        }
    }
    let timeout = Duration::from_millis(20);
    let ending = ask(&mut Dumper::new(Endless), timeout, &mut Vec::new());
    assert_eq!(reason(ending), "deadline");
}

#[test]
fn whoever_wants_to_stop_is_heard_at_once() {
    let kernel = Kernel::new(|asked| asked.dump([]));
    let ending = Dumper::new(kernel.open()).dump(
        &Request {
            kind: 20,
            payload: &[],
        },
        Deadline {
            timeout: PATIENT,
            stop: &AtomicBool::new(true),
        },
        |_| panic!("a record"),
    );
    assert_eq!(reason(ending), "stopped");
}

#[test]
fn a_request_that_cannot_be_sent_is_a_failed_call() {
    struct Closed;
    impl Transport for Closed {
        fn send(&mut self, _: &[u8]) -> io::Result<()> {
            Err(io::Error::from_raw_os_error(libc::EPERM))
        }
        fn receive(&mut self, _: &mut Vec<u8>) -> io::Result<usize> {
            panic!("nothing was asked")
        }
    }
    let ending = ask(&mut Dumper::new(Closed), PATIENT, &mut Vec::new());
    assert_eq!(ending.unwrap_err().to_string(), "netlink send");
}

#[test]
fn an_interrupted_dump_is_complete_and_says_so() {
    let flag = NLM_F_DUMP_INTR as u8;
    assert!(!datagram(&with(&DONE, 6, 2 | flag)).unwrap(), "on DONE");
    let (ending, records) = dump(move |asked| {
        let flagged = message(20, 2 | u16::from(flag), asked.sequence, b"flag");
        let rest = [asked.record(b"more"), asked.done(0)].concat();
        vec![Event::Datagram(flagged), Event::Datagram(rest)]
    });
    assert!(!ending.unwrap(), "on the first record");
    assert_eq!(records.len(), 2);
}

#[test]
fn the_last_message_need_not_be_padded() {
    let (ending, records) = dump(|asked| {
        let mut odd = [asked.record(b"even"), asked.record(b"odd")].concat();
        odd.truncate(odd.len() - 1);
        vec![Event::Datagram(odd), Event::Datagram(asked.done(0))]
    });
    assert!(ending.unwrap());
    assert_eq!(records, [&b"even"[..], b"odd"]);
}

/// Collectors that walk their whole buffer find the last dump's sockets in it
/// (vectordotdev/vector#22487).
#[test]
fn bytes_of_a_longer_datagram_are_never_seen_again() {
    let (ending, records) = dump(|asked| {
        vec![
            Event::Datagram(asked.record(b"long").repeat(50)),
            Event::Datagram(asked.record(b"last")),
            Event::Datagram(asked.done(0)),
        ]
    });
    assert!(ending.unwrap());
    assert_eq!(records.len(), 51);
}

#[test]
fn messages_without_meaning_are_passed_over() {
    let noop = [with(&DONE, 4, 1), DONE.to_vec()].concat();
    let (ending, records) = dump(move |_| vec![Event::Datagram(noop.clone())]);
    assert!(ending.unwrap() && records.is_empty());
}

#[test]
fn requests_are_numbered_from_one_and_carry_their_payload() {
    let kernel = Kernel::new(|asked| asked.dump([]));
    let mut dumper = Dumper::new(kernel.open());
    for _ in 0..3 {
        assert!(ask(&mut dumper, PATIENT, &mut Vec::new()).unwrap());
    }
    let asked = kernel.asked();
    assert_eq!(
        asked.iter().map(|a| a.sequence).collect::<Vec<_>>(),
        [1, 2, 3]
    );
    // NLM_F_REQUEST | NLM_F_ROOT | NLM_F_MATCH
    assert!(asked.iter().all(|a| (a.kind, a.flags) == (20, 0x301)));
    assert!(asked.iter().all(|a| a.payload == [1, 2, 3, 4]));
}

#[test]
fn only_a_kernel_without_the_dump_is_absent() {
    let refused = |errno| DumpError::Refused(io::Error::from_raw_os_error(errno));
    let call = |call, errno| DumpError::call(call)(io::Error::from_raw_os_error(errno));
    assert!(refused(libc::ENOENT).is_absent());
    assert!(refused(libc::EOPNOTSUPP).is_absent());
    assert!(call("socket", libc::EPROTONOSUPPORT).is_absent());
    assert!(!refused(libc::EPERM).is_absent());
    assert!(!call("recv", libc::ENOENT).is_absent());
    assert!(!call("socket", libc::EMFILE).is_absent());
    assert!(!DumpError::Overrun.is_absent());
}

/// Walks a datagram as `Dumper::dump` does; every frame must lie within it.
fn walk(datagram: &[u8]) -> usize {
    let (mut frames, bounds) = (0, datagram.as_ptr_range());
    for frame in Frames::new(datagram) {
        let Ok(frame) = frame else { break };
        let payload = frame.payload.as_ptr_range();
        assert!(bounds.start <= payload.start && payload.end <= bounds.end);
        frames += 1;
    }
    frames
}

#[test]
fn a_datagram_cut_anywhere_gives_the_messages_before_the_cut() {
    let whole = message(20, 2, 1, &[5; 71]).repeat(3);
    for length in 0..=whole.len() {
        // The last byte of each message is padding.
        let complete = (length + 1) / 88;
        assert_eq!(walk(&whole[..length]), complete, "{length}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_lead_beyond_themselves(bytes: Vec<u8>) {
        prop_assert!(walk(&bytes) <= bytes.len() / HEADER_BYTES);
    }

    #[test]
    fn nor_do_mutated_messages(
        sizes in prop::collection::vec(0_usize..200, 1..8),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
    ) {
        let mut bytes: Vec<u8> = sizes
            .iter()
            .flat_map(|&size| message(20, 2, 1, &vec![9; size]))
            .collect();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        walk(&bytes);
        let mut total = 0;
        let answer = bytes.clone();
        let (_, records) = dump(move |_| vec![Event::Datagram(answer.clone()), Event::Errno(libc::ENOBUFS)]);
        for record in &records {
            total += record.len() + HEADER_BYTES;
        }
        prop_assert!(total <= bytes.len());
    }
}
