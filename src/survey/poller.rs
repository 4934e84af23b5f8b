//! The collector thread: at each tick it looks at the counters of every namespace, dumps
//! the sockets of those whose turn it is, and publishes what is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant, SystemTime};

use super::namespace::{Namespace, Turns};
use super::roster::Roster;
use super::schedule::{Candidate, Pace, Schedule};
use super::surveyor::Surveyor;
use crate::exposition;
use crate::kernel::netlink::transport::Transport;
use crate::progress::Progress;
use crate::self_metrics::SelfMetrics;
use crate::snapshot::{INTERVALS, Published, Publisher, Snapshot};
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

/// Polls the namespaces until told to stop.
pub struct Poller<T: Transport> {
    pub pace: Pace,
    pub roster: Roster,
    /// Of all namespaces but the exporter's own.
    pub series: usize,
    pub surveyor: Surveyor<T>,
    pub own: Arc<SelfMetrics>,
    pub publisher: Publisher,
    pub progress: Progress,
    pub stop: Stop,
}

impl<T: Transport> Poller<T> {
    /// The body of the collector thread.
    pub fn run(mut self) {
        let mut schedule = Schedule::new(self.pace.clone());
        let mut published = Vec::new();
        self.own.set_interval(schedule.interval());
        while !self.stop.is_requested() {
            self.progress.mark();
            self.roster.tick(&mut self.surveyor);
            let has_dumped = self.dump_what_is_due(&mut schedule);
            if self.stop.is_requested() {
                // What was broken off is no failure.
                return;
            }
            let has_read = self.refresh(schedule.tick());
            self.surveyor.leave_for(&mut self.roster.all[0]);
            self.own.set_interval(schedule.interval());
            self.forget_old(&schedule);
            let all = self.roster.all.iter();
            let bounds: Vec<_> = all.map(|one| one.watch.highest()).collect();
            if has_dumped || has_read || have_moved(&bounds, &published) {
                published = bounds;
                self.publish(schedule.interval());
            }
            self.stop.sleep_until(schedule.next_tick());
        }
    }

    /// Whether any was.
    fn dump_what_is_due(&mut self, schedule: &mut Schedule) -> bool {
        let started = Instant::now();
        let mut candidates = candidates(&self.roster.all);
        schedule.plan(&candidates);
        let mut has_dumped = false;
        while let Some(at) = schedule.next(&candidates)
            && !self.stop.is_requested()
        {
            let cost = self.dump(at, schedule);
            schedule.dumped(&candidates[at], cost);
            candidates[at] = candidate(&self.roster.all[at], cost);
            has_dumped = true;
        }
        if has_dumped {
            self.own.record_poll(started.elapsed());
        }
        has_dumped
    }

    /// What it cost: CPU time of this thread.
    fn dump(&mut self, at: usize, schedule: &Schedule) -> Duration {
        self.progress.mark();
        let (namespace, interrupted) = (&mut self.roster.all[at], self.surveyor.interrupted());
        let (cpu_time, started) = (thread_cpu_time(), Instant::now());
        self.surveyor.dump(namespace, &self.stop.0);
        let cost = thread_cpu_time().saturating_sub(cpu_time);
        if self.stop.is_requested() {
            return cost;
        }
        let tick = schedule.tick();
        let has_hung = !namespace.is_own && !namespace.is_dumped();
        namespace.turns = Turns {
            dumped: Some(tick),
            refreshed: Some(tick),
            cost: Some(cost),
            rests_until: has_hung.then(|| tick + schedule.rest(started.elapsed())),
        };
        tell_failures(&self.own, namespace, true);
        for _ in interrupted..self.surveyor.interrupted() {
            self.own.count_error("sockets", "interrupted");
        }
        cost
    }

    /// Reads the files of those namespaces whose turn it is. Whether there were any.
    fn refresh(&mut self, tick: Instant) -> bool {
        let mut has_read = false;
        for namespace in &mut self.roster.all {
            let interval = match namespace.is_quiet() {
                true => self.pace.slow(),
                false => self.pace.interval,
            };
            let last = namespace.turns.refreshed;
            if last.is_some_and(|last| tick.duration_since(last) < interval) {
                continue;
            }
            self.surveyor.refresh(namespace, &self.stop.0);
            namespace.turns.refreshed = Some(tick);
            tell_failures(&self.own, namespace, false);
            has_read = true;
        }
        has_read
    }

    /// What the sockets of others were so long ago is not served. The exporter's own are not
    /// served by `Published`, with all else.
    fn forget_old(&mut self, schedule: &Schedule) {
        let most = (schedule.interval() * INTERVALS).max(self.pace.slow() * 2);
        for namespace in self.roster.all.iter_mut().filter(|one| !one.is_own) {
            let dumped = namespace.turns.dumped;
            if dumped.is_some_and(|dumped| schedule.tick().duration_since(dumped) > most) {
                namespace.facts.forget_dumps();
                namespace.dumps = None;
            }
        }
    }

    fn publish(&self, interval: Duration) {
        let own = &self.roster.all[0];
        // Of a namespace that cannot be told the dump is that of now, and no figure.
        let taken = own
            .dumps
            .as_ref()
            .map_or_else(SystemTime::now, |dumps| dumps.tcp.taken);
        let mut snapshot = Snapshot {
            taken,
            interval,
            namespaces: self.roster.all.iter().map(Namespace::snapshot).collect(),
            skipped: self.roster.skipped.clone(),
        };
        snapshot.fold(self.series);
        let page = exposition::render(&snapshot, self.own.families());
        let dumped = own.turns.dumped.unwrap_or_else(Instant::now);
        let published = Published::new(snapshot, page, dumped, self.pace.age_max);
        self.publisher.publish(published);
    }
}

/// Counts and logs them. A failing source counts once, under the first collector that needs
/// it. What was not looked at again has not failed again.
fn tell_failures(own: &SelfMetrics, namespace: &mut Namespace, with_dump: bool) {
    let is_fresh = |needs: &[Source]| with_dump || !needs.iter().any(|source| source.is_dump());
    for down in namespace.facts.failures_among(is_fresh) {
        own.count_error(down.collectors[0], down.failure.reason);
    }
    namespace
        .told
        .report(&namespace.name, namespace.is_own, &namespace.facts);
}

/// A walk over the sockets of other namespaces, and a dump of its own, for each: what a
/// namespace's first dump is taken to cost.
const WALKED: Duration = Duration::from_nanos(100);
const DUMPED: Duration = Duration::from_micros(1);

fn candidates(namespaces: &[Namespace]) -> Vec<Candidate> {
    let machine: u64 = namespaces.iter().map(|one| one.watch.tcp_sockets()).sum();
    let times = |one: Duration, many: u64| one * u32::try_from(many).unwrap_or(u32::MAX);
    let all = namespaces.iter().map(|one| {
        let guess = || times(WALKED, machine) + times(DUMPED, one.watch.tcp_sockets());
        candidate(one, one.turns.cost.unwrap_or_else(guess))
    });
    all.collect()
}

fn candidate(namespace: &Namespace, cost: Duration) -> Candidate {
    let (watch, turns) = (&namespace.watch, &namespace.turns);
    Candidate {
        is_own: namespace.is_own,
        dumped: turns.dumped,
        cost,
        bound: watch.bound.unwrap_or(watch.seen),
        seen: watch.seen,
        has_other_ports: watch.has_other_ports(),
        rests_until: turns.rests_until,
    }
}

/// A bound that moves by less waits for the next publication.
const STEP: f64 = 0.005;

fn have_moved(bounds: &[f64], published: &[f64]) -> bool {
    let moved = |(now, then): (&f64, &f64)| (now - then).abs() >= STEP;
    bounds.len() != published.len() || bounds.iter().zip(published).any(moved)
}

fn thread_cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
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
            roster: Roster::of(Namespace::own("host").unwrap()),
            series: 1_000,
            surveyor: surveyor(&host, root),
            own: Arc::new(SelfMetrics::new("0", "0", SystemTime::now())),
            publisher,
            progress: Progress::new(60 * SECOND),
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
            tick: SECOND / 5,
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
