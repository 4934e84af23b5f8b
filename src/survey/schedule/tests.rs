use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn pace(max_duty: f64) -> Pace {
    Pace {
        interval: 5 * SECOND,
        tick: SECOND,
        max_duty,
        age_max: 60 * SECOND,
    }
}

/// The exporter's own namespace, never dumped, of dumps that cost this.
fn own(cost: Duration) -> Candidate {
    Candidate {
        is_own: true,
        dumped: None,
        cost,
        bound: Bound::default(),
        seen: Bound::default(),
        has_other_ports: false,
        rests_until: None,
    }
}

fn tcp(tcp: f64) -> Bound {
    Bound { tcp, udp: 0.0 }
}

fn other(cost: Duration, bound: f64) -> Candidate {
    Candidate {
        is_own: false,
        bound: tcp(bound),
        ..own(cost)
    }
}

/// Ticks that come on time.
struct Run {
    schedule: Schedule,
    all: Vec<Candidate>,
    start: Instant,
}

impl Run {
    fn new(all: Vec<Candidate>) -> Self {
        let schedule = Schedule::new(pace(0.05));
        let start = schedule.tick;
        Self {
            schedule,
            all,
            start,
        }
    }

    /// The dumps of the tick at this second, after `change`.
    fn at(&mut self, second: u32, change: impl FnOnce(&mut [Candidate])) -> Vec<usize> {
        self.schedule.tick = self.start + second * SECOND;
        change(&mut self.all);
        let mut dumped = Vec::new();
        self.schedule.plan(&self.all);
        while let Some(at) = self.schedule.next(&self.all) {
            self.schedule.dumped(&self.all[at], self.all[at].cost);
            let one = &mut self.all[at];
            (one.dumped, one.seen, one.has_other_ports) =
                (Some(self.schedule.tick), one.bound, false);
            dumped.push(at);
        }
        dumped
    }

    /// The seconds of the first dumps of the first candidate, up to `last`.
    fn seconds(&mut self, last: u32, mut change: impl FnMut(u32, &mut [Candidate])) -> Vec<u32> {
        (0..=last)
            .filter(|&second| self.at(second, |all| change(second, all)).contains(&0))
            .collect()
    }
}

#[test]
fn cheap_dumps_keep_the_interval() {
    let seconds = Run::new(vec![own(SECOND / 5)]).seconds(20, |_, _| {});
    assert_eq!(seconds, [0, 5, 10, 15, 20]);
}

#[test]
fn dear_dumps_take_half_of_the_duty_while_nothing_happens() {
    let mut run = Run::new(vec![own(SECOND)]);
    assert_eq!(run.seconds(130, |_, _| {}), [0, 40, 80, 120]);
    assert_eq!(run.schedule.interval(), 40 * SECOND);
}

#[test]
fn routine_is_done_before_the_last_dump_is_too_old_to_be_served() {
    assert_eq!(pace(0.05).interval_for(2 * SECOND), 45 * SECOND);
    assert_eq!(pace(0.05).interval_for(4 * SECOND), 80 * SECOND);
    assert_eq!(pace(1e-9).interval_for(SECOND), INTERVAL_MAX);
    assert_eq!(pace(f64::MIN_POSITIVE).interval_for(SECOND), INTERVAL_MAX);
}

#[test]
fn a_burst_after_quiet_is_dumped_at_once() {
    let mut run = Run::new(vec![own(SECOND)]);
    run.seconds(70, |_, _| {});
    assert_eq!(
        run.at(71, |all| all[0].bound = tcp(0.04)),
        [0; 0],
        "not noticed"
    );
    assert_eq!(run.at(72, |all| all[0].bound = tcp(0.06)), [0]);
    assert_eq!(run.at(73, |_| {}), [0; 0], "seen");
}

#[test]
fn bursts_without_end_are_dumped_as_often_as_the_duty_allows() {
    let mut run = Run::new(vec![own(SECOND)]);
    run.seconds(200, |_, _| {});
    let mut seconds = 0;
    for second in 201..=400 {
        let burst = |all: &mut [Candidate]| (all[0].bound, all[0].seen) = (tcp(0.9), tcp(0.1));
        seconds += run.at(second, burst).len();
    }
    // Ten for the duty of 200 seconds, and what was saved.
    assert!((10..=13).contains(&seconds), "{seconds}");
}

#[test]
fn the_last_ports_matter_more_than_the_first() {
    let urgent = |seen: f64, bound: f64| {
        let one = Candidate {
            seen: tcp(seen),
            ..other(SECOND, bound)
        };
        one.is_urgent()
    };
    assert!(!urgent(0.0, 0.04) && urgent(0.0, 0.051));
    assert!(!urgent(0.6, 0.615) && urgent(0.6, 0.621));
    assert!(!urgent(0.95, 0.955) && urgent(0.95, 0.961));
    assert!(urgent(0.999, 1.0) && !urgent(1.0, 1.0));
    assert!(urgent(0.9, 0.8) && !urgent(0.9, 0.895), "emptier");
    let by_udp = Candidate {
        bound: Bound { tcp: 0.9, udp: 0.5 },
        seen: Bound { tcp: 0.9, udp: 0.4 },
        ..own(SECOND)
    };
    assert!(by_udp.is_urgent());
}

#[test]
fn the_most_endangered_namespace_comes_first() {
    let cost = SECOND / 2;
    let mut run = Run::new(vec![own(cost), other(cost, 0.2), other(cost, 0.8)]);
    assert_eq!(run.at(0, |_| {}), [0]);
    assert_eq!(run.at(10, |_| {}), [2]);
    assert_eq!(run.at(20, |_| {}), [1]);
}

#[test]
fn quiet_namespaces_are_left_alone_where_dumping_all_is_too_dear() {
    let quiet = other(SECOND / 20, 0.01);
    let mut run = Run::new([vec![own(SECOND / 10)], vec![quiet; 100]].concat());
    let dumped: Vec<_> = (0..60).flat_map(|second| run.at(second, |_| {})).collect();
    assert_eq!(dumped, [0; 12], "every five seconds");
    assert_eq!(run.at(60, |all| all[7].bound = tcp(0.3))[0], 7);
    let few = [vec![own(SECOND / 10)], vec![quiet; 10]].concat();
    let mut run = Run::new(few);
    let dumped: Vec<_> = (0..60).flat_map(|second| run.at(second, |_| {})).collect();
    assert!((0..11).all(|at| dumped.contains(&at)), "{dumped:?}");
}

#[test]
fn urgent_dumps_of_one_do_not_starve_another() {
    let mut run = Run::new(vec![own(SECOND), other(SECOND, 0.5)]);
    let storm = |_: u32, all: &mut [Candidate]| (all[1].bound, all[1].seen) = (tcp(0.9), tcp(0.1));
    let seconds = run.seconds(400, storm);
    assert!(seconds.len() > 3, "{seconds:?}");
    let gaps = seconds.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(gaps.max() <= Some(150), "{seconds:?}");
}

#[test]
fn a_changed_range_is_dumped_at_once_and_one_that_hung_rests() {
    let mut run = Run::new(vec![own(SECOND)]);
    run.seconds(70, |_, _| {});
    assert_eq!(run.at(71, |all| all[0].has_other_ports = true), [0]);
    let rest = run.schedule.rest(SECOND / 2);
    assert_eq!(rest, 10 * SECOND);
    let until = run.start + 100 * SECOND;
    let rested = |all: &mut [Candidate]| {
        all[0].has_other_ports = true;
        all[0].rests_until = Some(until);
    };
    assert_eq!(run.at(99, rested), [0; 0]);
    assert_eq!(run.at(100, |_| {}), [0]);
}

#[test]
fn ticks_divide_the_interval() {
    let tick = |interval_ms: u64| {
        let interval = Duration::from_millis(interval_ms);
        Pace {
            interval,
            ..pace(1.0)
        }
        .tick()
        .as_millis()
    };
    assert_eq!(tick(5000), 1000);
    assert_eq!(tick(200), 200);
    assert_eq!(tick(2500), 833);
}
