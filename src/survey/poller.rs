//! The collector thread: at each tick it visits the namespace, publishes what is
//! known, and says what has changed for the worse or the better.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime};

use super::namespace::{Namespace, Surveyor};
use super::schedule::{Pace, Schedule};
use crate::exposition;
use crate::findings::History;
use crate::kernel::netlink::transport::Transport;
use crate::self_metrics::SelfMetrics;
use crate::snapshot::{Published, Publisher, Snapshot};
use crate::subjects::Facts;
use crate::subjects::section::Outcome;
use crate::subjects::source::Source;

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

/// Polls one namespace until told to stop.
pub struct Poller<T: Transport> {
    pub pace: Pace,
    pub namespace: Namespace,
    pub surveyor: Surveyor<T>,
    pub own: Arc<SelfMetrics>,
    pub publisher: Publisher,
    pub stop: Stop,
}

/// When the sockets were dumped, by both clocks.
#[derive(Clone, Copy)]
struct Taken {
    time: SystemTime,
    instant: Instant,
}

impl<T: Transport> Poller<T> {
    /// The body of the collector thread.
    pub fn run(mut self) {
        let mut schedule = Schedule::new(self.pace.clone());
        let (mut told, mut history) = (Told::default(), History::default());
        let mut taken = Taken::now();
        self.own.set_interval(schedule.interval());
        while !self.stop.is_requested() {
            let with_dump = schedule.dump_is_due();
            let interrupted = self.surveyor.interrupted();
            if with_dump {
                taken = Taken::now();
                schedule.dumped(self.dump());
                self.own.record_poll(taken.instant.elapsed());
                self.own.set_interval(schedule.interval());
            } else {
                self.surveyor.refresh(&mut self.namespace, &self.stop.0);
            }
            if self.stop.is_requested() {
                return;
            }
            self.count_errors(with_dump, self.surveyor.interrupted() - interrupted);
            told.report(&self.namespace.facts);
            if with_dump {
                history.record(&self.namespace.facts);
            }
            self.publish(taken, schedule.interval(), &history);
            self.stop.sleep_until(schedule.next_tick());
        }
    }

    /// What it cost: CPU time of this thread.
    fn dump(&mut self) -> Duration {
        let before = thread_cpu_time();
        self.surveyor.dump(&mut self.namespace, &self.stop.0);
        thread_cpu_time().saturating_sub(before)
    }

    /// A failing source counts once, under the first collector that needs it. What
    /// was not looked at again has not failed again.
    fn count_errors(&self, with_dump: bool, interrupted: u64) {
        let is_fresh = |needs: &[Source]| with_dump || !needs.iter().any(|source| source.is_dump());
        for down in self.namespace.facts.failures_among(is_fresh) {
            self.own
                .count_error(down.collectors[0], down.failure.reason);
        }
        for _ in 0..interrupted {
            self.own.count_error("sockets", "interrupted");
        }
    }

    fn publish(&self, taken: Taken, interval: Duration, history: &History) {
        let snapshot = Snapshot {
            taken: taken.time,
            interval,
            namespaces: vec![self.namespace.snapshot(history)],
        };
        let page = exposition::render(&snapshot, self.own.families());
        let published = Published::new(snapshot, page, taken.instant, self.pace.age_max);
        self.publisher.publish(published);
    }
}

impl Taken {
    fn now() -> Self {
        Self {
            time: SystemTime::now(),
            instant: Instant::now(),
        }
    }
}

fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        time.tv_nsec.unsigned_abs() as u32,
    )
}

/// What was last logged of each collector: a line for each change, none per poll.
#[derive(Default)]
struct Told(HashMap<&'static str, State>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Absent,
    Failed(&'static str),
}

impl Told {
    fn report(&mut self, facts: &Facts) {
        let down = facts.failures();
        for collected in facts.outcomes() {
            let collector = collected.collector;
            let now = match collected.outcome {
                Outcome::Up => State::Up,
                Outcome::Absent => State::Absent,
                Outcome::Failed(failure) => State::Failed(failure.reason),
            };
            let before = self.0.insert(collector, now);
            if before == Some(now) {
                continue;
            }
            match now {
                State::Failed(_) => {
                    // A shared source's failure is told once, of the first collector.
                    if let Some(down) = down.iter().find(|down| down.collectors[0] == collector) {
                        let (failed, error) = (down.collectors.join(","), &down.failure.message);
                        tracing::warn!(collector = failed, error, "collector failed");
                    }
                }
                State::Absent => tracing::info!(collector, "not offered by this kernel"),
                State::Up if before.is_some() => tracing::info!(collector, "collector works"),
                State::Up => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::fake_kernel::{FakeTransport, Kernel, surveyor};
    use crate::snapshot;

    const SECOND: Duration = Duration::from_secs(1);

    fn poller(pace: Pace, publisher: Publisher) -> Poller<FakeTransport> {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/proc");
        let host = Kernel::host(Vec::new(), Vec::new());
        Poller {
            pace,
            namespace: Namespace::own("host").unwrap(),
            surveyor: surveyor(&host, root),
            own: Arc::new(SelfMetrics::new("0", "0", SystemTime::now())),
            publisher,
            stop: Stop::default(),
        }
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
