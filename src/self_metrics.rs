//! What the exporter says of itself: ordinary counters, and the process as
//! /proc/self and getrusage(2) know it.

use std::time::{Duration, SystemTime};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{
    Counter, Gauge, Histogram, IntCounter, IntCounterVec, Registry, register_gauge_with_registry,
    register_histogram_with_registry, register_int_counter_vec_with_registry,
    register_int_counter_with_registry, register_int_gauge_vec_with_registry,
};
use rustix::process::{Resource, getrlimit};

use crate::kernel::procfs::Procfs;
use crate::logging;
use crate::snapshot::unix_time;

/// From a poll of an idle host to one of several million sockets.
const POLL_BUCKETS: [f64; 11] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
];

/// Names and labels are constants of this file: a test makes them all.
const VALID: &str = "a valid metric, registered once";

/// Counters that live as long as the process.
pub struct SelfMetrics {
    registry: Registry,
    /// When the process was.
    started: SystemTime,
    errors: IntCounterVec,
    requests: IntCounterVec,
    polls: Histogram,
    interval: Gauge,
    lost_lines: IntCounter,
}

impl SelfMetrics {
    /// `started` is when the process was.
    pub fn new(version: &str, revision: &str, started: SystemTime) -> Self {
        let registry = Registry::new();
        let build = register_int_gauge_vec_with_registry!(
            "sockdiag_build_info",
            "Always 1; the labels say what is running.",
            &["version", "revision"],
            registry
        );
        let build = build.expect(VALID);
        build.with_label_values(&[version, revision]).set(1);
        let errors = register_int_counter_vec_with_registry!(
            "sockdiag_collector_errors_total",
            "Polls in which a collector failed, since the start, by reason; interrupted counts dumps that the kernel flagged, those that were made again included.",
            &["collector", "reason"],
            registry
        );
        let requests = register_int_counter_vec_with_registry!(
            "sockdiag_http_requests_total",
            "HTTP requests answered since the start, by route and status.",
            &["path", "code"],
            registry
        );
        let polls = register_histogram_with_registry!(
            "sockdiag_poll_duration_seconds",
            "How long polls of all namespaces with a dump of the sockets took.",
            POLL_BUCKETS.to_vec(),
            registry
        );
        let interval = register_gauge_with_registry!(
            "sockdiag_poll_interval_seconds",
            "Interval of dumps in force: the configured one, or longer where poll.max_duty stretches it.",
            registry
        );
        let lost_lines = register_int_counter_with_registry!(
            "sockdiag_log_lines_lost_total",
            "Lines of the log that were lost since the start, because nobody reads it fast enough.",
            registry
        );
        Self {
            started,
            errors: errors.expect(VALID),
            requests: requests.expect(VALID),
            polls: polls.expect(VALID),
            interval: interval.expect(VALID),
            lost_lines: lost_lines.expect(VALID),
            registry,
        }
    }

    pub fn count_error(&self, collector: &str, reason: &str) {
        self.errors.with_label_values(&[collector, reason]).inc();
    }

    /// `path` is the route's, never the client's.
    pub fn count_request(&self, path: &str, code: u16) {
        self.requests
            .with_label_values(&[path, &code.to_string()])
            .inc();
    }

    pub fn record_poll(&self, took: Duration) {
        self.polls.observe(took.as_secs_f64());
    }

    pub fn set_interval(&self, interval: Duration) {
        self.interval.set(interval.as_secs_f64());
    }

    /// All families about this process, as of now.
    pub fn families(&self) -> Vec<MetricFamily> {
        let lost = logging::lost_lines().saturating_sub(self.lost_lines.get());
        self.lost_lines.inc_by(lost);
        let mut families = process_families(self.started);
        families.extend(self.registry.gather());
        families
    }
}

/// `process_*`, as Prometheus' own clients have them. The exporter's crate for
/// them rounds CPU time to whole seconds.
fn process_families(started: SystemTime) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    let mut gauge = |name: &str, help: &str, value: Option<f64>| {
        let Some(value) = value else { return };
        let gauge = Gauge::new(name, help).expect("a valid metric");
        gauge.set(value);
        families.extend(gauge.collect());
    };
    let memory = memory();
    gauge(
        "process_resident_memory_bytes",
        "Resident memory size in bytes.",
        memory.map(|(_, resident)| resident),
    );
    gauge(
        "process_virtual_memory_bytes",
        "Virtual memory size in bytes.",
        memory.map(|(size, _)| size),
    );
    gauge(
        "process_open_fds",
        "Number of open file descriptors.",
        count("/proc/self/fd"),
    );
    gauge(
        "process_max_fds",
        "Maximum number of open file descriptors.",
        getrlimit(Resource::Nofile)
            .current
            .map(|limit| limit as f64),
    );
    gauge(
        "process_start_time_seconds",
        "Start time of the process since unix epoch in seconds.",
        Some(unix_time(started)),
    );
    gauge(
        "process_threads",
        "Number of OS threads in the process.",
        count("/proc/self/task"),
    );
    let cpu = Counter::new(
        "process_cpu_seconds_total",
        "Total user and system CPU time spent in seconds.",
    );
    let cpu = cpu.expect("a valid metric");
    cpu.inc_by(cpu_seconds());
    families.extend(cpu.collect());
    families
}

/// Bytes: the whole address space, and what is resident of it.
fn memory() -> Option<(f64, f64)> {
    let page = rustix::param::page_size() as f64;
    let parse = |text: &str| {
        let mut pages = text.split_ascii_whitespace().map(str::parse::<f64>);
        Some((pages.next()?.ok()? * page, pages.next()?.ok()? * page))
    };
    let statm = Procfs::new("/proc/self").value("statm", "sizes in pages", parse);
    statm.ok().flatten()
}

fn count(directory: &str) -> Option<f64> {
    Some(std::fs::read_dir(directory).ok()?.count() as f64)
}

/// CLOCK_PROCESS_CPUTIME_ID: user and system time of all threads, living or not.
fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_knows_itself() {
        let metrics = SelfMetrics::new("0.1.0", "abc", SystemTime::now());
        metrics.count_error("conntrack", "garbled");
        metrics.count_request("/metrics", 200);
        let families = metrics.families();
        let value = |name: &str| {
            let family = families
                .iter()
                .find(|family| family.name() == name)
                .unwrap();
            let metric = &family.get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_cpu_seconds_total") > 0.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_threads") >= 1.0);
        assert_eq!(value("sockdiag_collector_errors_total"), 1.0);
        assert_eq!(value("sockdiag_http_requests_total"), 1.0);
    }
}
