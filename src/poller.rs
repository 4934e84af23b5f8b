//! The clock of the collector thread: when to dump, when to read files only,
//! and what to say when a collector's state changes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime};

use crate::collectors::Facts;
use crate::collectors::observer::{DumpTimes, Observer};
use crate::collectors::section::{Failure, Outcome, Section};
use crate::diagnosis::{History, diagnose};
use crate::exposition;
use crate::kernel::netlink::Wire;
use crate::kernel::netns::Namespace;
use crate::self_metrics::SelfMetrics;
use crate::snapshot::{NamespaceFacts, Published, Publisher, Snapshot};

/// However dear a dump is, there is one in a day: a figure that old is at least
/// known to be old.
const INTERVAL_MAX: Duration = Duration::from_secs(86_400);

/// Says to the collector thread that it should end.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// `thread` may be asleep until its next poll.
    pub fn request(&self, thread: &Thread) {
        self.0.store(true, Ordering::Relaxed);
        thread.unpark();
    }

    fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Sleeps until `moment`, less when the thread should end.
    fn sleep_until(&self, moment: Instant) {
        while !self.is_requested() {
            let now = Instant::now();
            if now >= moment {
                return;
            }
            std::thread::park_timeout(moment - now);
        }
    }
}

/// When to poll.
#[derive(Clone, Debug)]
pub struct Pace {
    pub interval: Duration,
    /// Fraction of one core that dumps may cost.
    pub max_duty: f64,
    pub age_max: Duration,
}

impl Pace {
    /// The interval of dumps, given the CPU time that the last one took.
    fn interval_for(&self, cost: Duration) -> Duration {
        let stretched =
            Duration::try_from_secs_f64(cost.as_secs_f64() / self.max_duty).unwrap_or(INTERVAL_MAX);
        stretched.min(INTERVAL_MAX).max(self.interval)
    }
}

/// Polls one namespace until told to stop.
pub struct Poller<W: Wire> {
    pub pace: Pace,
    pub namespace: Namespace,
    pub observer: Observer<W>,
    pub own: Arc<SelfMetrics>,
    pub publisher: Publisher,
    pub stop: Stop,
}

/// The last dump, until the next.
struct Last {
    facts: Facts,
    dumps: DumpTimes,
    taken: SystemTime,
    started: Instant,
    interval: Duration,
    /// The tick from which on the next dump is due. Counted from the tick of this
    /// one, not from its start, which is a little later than the tick: the next
    /// tick would always be too early.
    next: Instant,
}

impl<W: Wire> Poller<W> {
    /// The body of the collector thread.
    pub fn run(mut self) {
        let mut states = States::default();
        let mut interrupted = 0;
        let mut history = History::default();
        let mut last: Option<Last> = None;
        let mut tick = Instant::now();
        self.own.set_interval(self.pace.interval);
        while !self.stop.is_requested() {
            let due = last.as_ref().is_none_or(|last| tick >= last.next);
            let current = match last.take() {
                Some(mut last) if !due => {
                    self.refresh(&mut last.facts);
                    last
                }
                _ => self.dump(tick),
            };
            if self.stop.is_requested() {
                return;
            }
            self.count_errors(&current.facts, due);
            for _ in interrupted..self.observer.interrupted() {
                self.own.count_error("sockets", "interrupted");
            }
            interrupted = self.observer.interrupted();
            states.report(&current.facts);
            if due {
                history.record(&current.facts);
            }
            self.publish(&current, &history);
            last = Some(current);
            // A poll that took longer than the interval is followed by the next
            // at once; those that it was too late for are not made up for.
            tick = (tick + self.pace.interval).max(Instant::now());
            self.stop.sleep_until(tick);
        }
    }

    fn dump(&mut self, tick: Instant) -> Last {
        let (started, taken, cpu) = (Instant::now(), SystemTime::now(), thread_cpu_time());
        let (facts, dumps) = match self.namespace.visit() {
            Ok(()) => self.observer.observe(&self.stop.0),
            Err(error) => (
                nowhere(&Failure::new("namespace", &error)),
                DumpTimes::default(),
            ),
        };
        let cost = thread_cpu_time().saturating_sub(cpu);
        let interval = self.pace.interval_for(cost);
        self.own.record_poll(started.elapsed());
        self.own.set_interval(interval);
        Last {
            facts,
            dumps,
            taken,
            started,
            interval,
            next: tick + interval,
        }
    }

    fn refresh(&mut self, facts: &mut Facts) {
        match self.namespace.visit() {
            Ok(()) => self.observer.refresh(facts, &self.stop.0),
            Err(error) => *facts = nowhere(&Failure::new("namespace", &error)),
        }
    }

    /// What was not looked at again has not failed again.
    fn count_errors(&self, facts: &Facts, dumped: bool) {
        for (collector, outcome) in facts.outcomes() {
            if let Outcome::Failed(failure) = outcome
                && (dumped || matches!(collector, "tcp" | "conntrack"))
            {
                self.own.count_error(collector, failure.reason);
            }
        }
    }

    fn publish(&self, last: &Last, history: &History) {
        let snapshot = Snapshot {
            taken: last.taken,
            interval: last.interval,
            namespaces: vec![NamespaceFacts {
                name: self.namespace.name.clone(),
                dumps: last.dumps,
                findings: diagnose(&last.facts, history),
                facts: last.facts.clone(),
            }],
        };
        let page = exposition::render(&snapshot, self.own.families());
        self.publisher.publish(Published::new(
            snapshot,
            page,
            last.started,
            self.pace.age_max,
        ));
    }
}

/// The thread is not where it should be: nothing that it reads is to be believed.
fn nowhere(failure: &Failure) -> Facts {
    Facts {
        sockets: Section::Failed(failure.clone()),
        udp: Section::Failed(failure.clone()),
        peers: Section::Failed(failure.clone()),
        listeners: Section::Failed(failure.clone()),
        ephemeral: Section::Failed(failure.clone()),
        tcp: Section::Failed(failure.clone()),
        conntrack: Section::Failed(failure.clone()),
    }
}

fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// What was last said of each collector: a line for each change, none per poll.
#[derive(Default)]
struct States(HashMap<&'static str, Said>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Up,
    Absent,
    Failed(&'static str),
}

impl States {
    fn report(&mut self, facts: &Facts) {
        let mut told = Vec::new();
        for (collector, outcome) in facts.outcomes() {
            let now = match outcome {
                Outcome::Up => Said::Up,
                Outcome::Absent => Said::Absent,
                Outcome::Failed(failure) => Said::Failed(failure.reason),
            };
            let before = self.0.insert(collector, now);
            if before == Some(now) {
                continue;
            }
            match outcome {
                // One dump feeds several collectors: its failure is told once.
                Outcome::Failed(failure) if told.contains(&failure.message) => {}
                Outcome::Failed(failure) => {
                    told.push(failure.message.clone());
                    tracing::warn!(collector, error = failure.message, "collector failed");
                }
                Outcome::Absent => tracing::info!(collector, "not offered by this kernel"),
                Outcome::Up if before.is_some() => tracing::info!(collector, "collector works"),
                Outcome::Up => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::collectors::observer::Limits;
    use crate::fake_kernel::Kernel;
    use crate::kernel::procfs::Procfs;
    use crate::snapshot;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(max_duty: f64) -> Pace {
        Pace {
            interval: 5 * SECOND,
            max_duty,
            age_max: 60 * SECOND,
        }
    }

    #[test]
    fn a_cheap_dump_keeps_the_interval() {
        assert_eq!(pace(0.05).interval_for(SECOND / 10), 5 * SECOND);
        assert_eq!(pace(1.0).interval_for(3 * SECOND), 5 * SECOND);
    }

    #[test]
    fn a_dear_dump_stretches_it_to_the_duty() {
        assert_eq!(pace(0.05).interval_for(SECOND), 20 * SECOND);
        assert_eq!(pace(1e-9).interval_for(SECOND), INTERVAL_MAX);
        assert_eq!(pace(f64::MIN_POSITIVE).interval_for(SECOND), INTERVAL_MAX);
    }

    #[test]
    fn a_sleeping_thread_stops_at_once() {
        let stop = Stop::default();
        let sleeper = stop.clone();
        let thread =
            std::thread::spawn(move || sleeper.sleep_until(Instant::now() + 3600 * SECOND));
        stop.request(thread.thread());
        thread.join().unwrap();
    }

    fn poller(pace: Pace, publisher: Publisher) -> Poller<crate::fake_kernel::FakeWire> {
        let limits = Limits {
            peers: 20,
            destinations: 20,
            sources: 20,
            local_ports: 20,
            tracked_keys: 1000,
            always: Vec::new(),
            dump_timeout: SECOND,
            peak_window: SECOND,
        };
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/proc");
        let host = Kernel::host(Vec::new(), Vec::new());
        Poller {
            pace,
            namespace: Namespace::own("host").unwrap(),
            observer: Observer::new(limits, Procfs::new(root), host.sock_diag()),
            own: Arc::new(SelfMetrics::new("0", "0", SystemTime::now())),
            publisher,
            stop: Stop::default(),
        }
    }

    /// The times of the dumps behind the first publications.
    fn dumps_behind(pace: Pace, publications: usize) -> Vec<SystemTime> {
        let (publisher, mut latest) = snapshot::channel();
        let poller = poller(pace, publisher);
        let stop = poller.stop.clone();
        let thread = std::thread::spawn(|| poller.run());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let taken = runtime.block_on(async {
            let mut taken = Vec::new();
            while taken.len() < publications && latest.changed().await {
                taken.push(latest.fresh().unwrap().snapshot.taken);
            }
            taken
        });
        stop.request(thread.thread());
        thread.join().unwrap();
        taken
    }

    fn quick(max_duty: f64) -> Pace {
        Pace {
            interval: SECOND / 5,
            max_duty,
            age_max: 60 * SECOND,
        }
    }

    #[test]
    fn every_tick_dumps_as_long_as_dumps_are_cheap() {
        let mut taken = dumps_behind(quick(1.0), 4);
        taken.dedup();
        assert_eq!(taken.len(), 4);
    }

    #[test]
    fn dear_dumps_are_published_again_with_fresh_files() {
        let mut taken = dumps_behind(quick(1e-9), 3);
        taken.dedup();
        assert_eq!(taken.len(), 1);
    }
}
