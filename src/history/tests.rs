use super::*;
use crate::snapshot::{Identity, Page, Snapshot};
use crate::subjects::Facts;
use crate::subjects::conntrack::Conntrack;
use crate::subjects::listeners::{AcceptQueue, AcceptQueues};
use crate::subjects::ports::bound::Bound;
use crate::subjects::section::Section;

const SECOND: Duration = Duration::from_secs(1);

fn conntrack(entries: u64) -> Facts {
    Facts {
        conntrack: Section::Measured(Conntrack {
            entries,
            limit: 100,
            buckets: None,
            events: None,
        }),
        ..Facts::default()
    }
}

fn queues(ports: std::ops::Range<u16>) -> Facts {
    let queue = |port| AcceptQueue {
        address: "::".parse().unwrap(),
        port,
        waiting: 5,
        limit: 10,
    };
    Facts {
        listeners: Section::Measured(AcceptQueues {
            queues: ports.map(queue).collect(),
            folded: 0,
        }),
        ..Facts::default()
    }
}

fn namespace(inode: u64, facts: Facts) -> NamespaceSnapshot {
    NamespaceSnapshot {
        name: format!("net-{inode}"),
        identity: Identity {
            inode,
            ..Identity::default()
        },
        facts,
        ..NamespaceSnapshot::default()
    }
}

fn published(namespaces: Vec<NamespaceSnapshot>) -> Published {
    let snapshot = Snapshot {
        taken: std::time::SystemTime::now(),
        interval: 5 * SECOND,
        namespaces,
        skipped: Default::default(),
    };
    Published::new(snapshot, Page::default(), Instant::now(), 60 * SECOND)
}

struct Clock {
    start: Instant,
    history: History,
}

impl Clock {
    fn start() -> Self {
        Self {
            start: Instant::now(),
            history: History::default(),
        }
    }

    fn at(&self, seconds: f64, facts: Facts) {
        self.all_at(seconds, vec![namespace(1, facts)]);
    }

    fn all_at(&self, seconds: f64, namespaces: Vec<NamespaceSnapshot>) {
        let at = self.start + Duration::from_secs_f64(seconds);
        self.history.record_at(at, &published(namespaces));
    }

    fn lines(&self) -> Lines {
        self.history
            .of(&namespace(1, Facts::default()))
            .unwrap_or_default()
    }

    /// Of conntrack: age in seconds, value, whether it follows.
    fn points(&self) -> Vec<(u64, Option<f64>, bool)> {
        let lines = self.lines();
        let (_, points) = lines
            .iter()
            .find(|(line, _)| *line == Line::Conntrack)
            .unwrap();
        let point = |point: &Point| (point.age.as_secs(), point.value, point.follows);
        points.iter().map(point).collect()
    }
}

#[test]
fn samples_come_in_order_and_a_failure_is_a_gap_and_no_zero() {
    let clock = Clock::start();
    clock.at(0.0, conntrack(10));
    clock.at(5.0, Facts::default());
    clock.at(10.0, conntrack(30));
    assert_eq!(
        clock.points(),
        [
            (10, Some(0.1), false),
            (5, None, true),
            (0, Some(0.3), true)
        ]
    );
}

#[test]
fn a_pause_parts_the_line() {
    let clock = Clock::start();
    clock.at(0.0, conntrack(10));
    clock.at(15.0, conntrack(10));
    clock.at(31.0, conntrack(10));
    let follows: Vec<_> = clock.points().iter().map(|point| point.2).collect();
    assert_eq!(follows, [false, true, false]);
}

#[test]
fn what_is_published_more_often_shares_a_sample_and_its_highest_value_counts() {
    let clock = Clock::start();
    for (at, entries) in [(0.0, 10), (1.0, 90), (2.0, 20), (5.0, 30)] {
        clock.at(at, conntrack(entries));
    }
    assert_eq!(
        clock.points(),
        [(5, Some(0.9), false), (0, Some(0.3), true)]
    );
}

#[test]
fn what_was_published_before_is_not_taken_again() {
    let clock = Clock::start();
    clock.at(5.0, conntrack(10));
    clock.at(5.0, conntrack(90));
    clock.at(1.0, conntrack(80));
    assert_eq!(clock.points(), [(0, Some(0.1), false)]);
}

#[test]
fn it_reaches_back_ten_minutes_and_no_further() {
    let clock = Clock::start();
    for step in 0..1_000_u32 {
        clock.at(f64::from(step) * 5.0, conntrack(u64::from(step % 100)));
    }
    let points = clock.points();
    assert_eq!(points.len(), 121);
    assert_eq!(points[0].0, 600);
    assert_eq!(points.last(), Some(&(0, Some(0.99), true)));
    // The fastest that makes a sample of its own still fills ten minutes.
    assert!(SPACING * SAMPLES as u32 > WINDOW);
}

#[test]
fn a_line_is_forgotten_when_its_last_value_is_ten_minutes_old() {
    let clock = Clock::start();
    clock.at(0.0, conntrack(10));
    let mut at = 5.0;
    while at <= 600.0 {
        clock.at(at, queues(1..2));
        at += 5.0;
    }
    assert_eq!(clock.lines().len(), 2);
    clock.at(at, queues(1..2));
    let lines: Vec<_> = clock.lines().into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [Line::Queue("::".parse().unwrap(), 1)]);
}

#[test]
fn of_many_lines_those_that_have_been_gone_longest_make_way() {
    let clock = Clock::start();
    clock.at(0.0, queues(0..5));
    clock.at(5.0, queues(3..8));
    let mut ports: Vec<_> = clock
        .lines()
        .into_iter()
        .map(|(line, _)| match line {
            Line::Queue(_, port) => port,
            other => panic!("{other:?}"),
        })
        .collect();
    ports.sort_unstable();
    assert_eq!(ports.len(), 6);
    assert!(ports.ends_with(&[3, 4, 5, 6, 7]), "{ports:?}");
}

#[test]
fn the_exporters_own_namespace_and_the_fullest_others_have_a_past() {
    let clock = Clock::start();
    let full = |inode: u64| NamespaceSnapshot {
        bound: Some(Bound {
            tcp: inode as f64 / 100.0,
            udp: 0.0,
        }),
        ..namespace(inode, conntrack(1))
    };
    let all = (1..=50).map(full).collect();
    clock.all_at(0.0, all);
    let has_past = |inode| {
        let one = namespace(inode, Facts::default());
        clock.history.of(&one).is_some()
    };
    assert!(has_past(1) && has_past(50) && has_past(42));
    assert!(!has_past(2) && !has_past(41));
    // A fuller one takes the place of the emptiest, and the others keep their past.
    clock.all_at(5.0, (1..=51).map(full).collect());
    assert!(has_past(1) && has_past(43) && has_past(51) && !has_past(42));
    let past = clock.history.of(&namespace(50, Facts::default())).unwrap();
    assert_eq!(past[0].1.len(), 2);
    assert!(past[0].1.iter().all(|point| point.value == Some(0.01)));
}
