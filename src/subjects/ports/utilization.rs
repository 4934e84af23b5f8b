//! The share of the ports that is gone, now and at most over the last while,
//! whoever reads it and however often.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::subjects::metric::{Sink, metrics};

/// Share of the ports that is gone, of the worst key of all, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Utilization {
    pub tcp_destination: f64,
    pub tcp_source: f64,
    pub udp_source: f64,
}

impl Utilization {
    pub fn scopes(&self) -> [(&'static str, &'static str, f64); 3] {
        [
            ("tcp", "destination", self.tcp_destination),
            ("tcp", "source", self.tcp_source),
            ("udp", "source", self.udp_source),
        ]
    }
}

metrics! {
    UTILIZATION: gauge "sockdiag_ephemeral_utilization_ratio" [protocol, scope]
        "Share of the capacity that is gone for the worst of all destinations or sources that are tracked, as of the last poll; at 1 the next call fails (sock_diag).";
    PEAK: gauge "sockdiag_ephemeral_utilization_peak_ratio" [protocol, scope]
        "Highest utilization over all polls of the last poll.peak_window, as of the last poll (sock_diag).";
    UPPER: gauge "sockdiag_ephemeral_utilization_upper_ratio" [protocol, scope]
        "Share of the capacity that is gone for the worst of all destinations or sources if all that cannot be told is lost, as of the last poll; equal to the utilization ratio where the kernel tells all (sock_diag).";
}

/// Three scopes of each.
pub const SERIES: usize = 3 * METRICS.len();

/// Now, at its peak, and at worst. Without a dump of UDP sockets there is no figure of them.
pub fn export(all: [&Utilization; 3], has_udp: bool, sink: &mut dyn Sink) {
    for (metric, utilization) in [&UTILIZATION, &PEAK, &UPPER].into_iter().zip(all) {
        for (protocol, scope, value) in utilization.scopes() {
            if protocol == "tcp" || has_udp {
                sink.sample(metric, &[protocol, scope], value);
            }
        }
    }
}

/// Peaks of all scopes over one window.
#[derive(Debug, Default)]
pub struct Peaks {
    tcp_destination: Peak,
    tcp_source: Peak,
    udp_source: Peak,
}

impl Peaks {
    /// Takes the utilization of now, and gives the highest of the window.
    pub fn record(&mut self, now: Utilization, window: Duration) -> Utilization {
        let at = Instant::now();
        Utilization {
            tcp_destination: self.tcp_destination.record(at, now.tcp_destination, window),
            tcp_source: self.tcp_source.record(at, now.tcp_source, window),
            udp_source: self.udp_source.record(at, now.udp_source, window),
        }
    }
}

/// Values that may still become the highest: each is lower than the one before
/// it, so a poll costs the same whatever the window, taken over all polls.
#[derive(Debug, Default)]
struct Peak {
    candidates: VecDeque<(Instant, f64)>,
}

impl Peak {
    fn record(&mut self, at: Instant, value: f64, window: Duration) -> f64 {
        let candidates = &mut self.candidates;
        while candidates.back().is_some_and(|&(_, lower)| lower <= value) {
            candidates.pop_back();
        }
        candidates.push_back((at, value));
        let is_old = |&(then, _): &(Instant, f64)| at.duration_since(then) > window;
        while candidates.front().is_some_and(is_old) {
            candidates.pop_front();
        }
        candidates.front().map_or(value, |&(_, highest)| highest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_of_the_window_is_kept_and_then_forgotten() {
        let (start, window) = (Instant::now(), Duration::from_secs(60));
        let mut peak = Peak::default();
        let mut at =
            |second, value| peak.record(start + Duration::from_secs(second), value, window);
        assert_eq!(at(0, 0.2), 0.2);
        assert_eq!(at(5, 0.9), 0.9);
        assert_eq!(at(10, 0.3), 0.9);
        assert_eq!(at(65, 0.1), 0.9, "as old as the window");
        assert_eq!(at(66, 0.1), 0.3);
        assert_eq!(at(71, 0.1), 0.1);
    }

    #[test]
    fn a_falling_series_keeps_one_window_and_a_rising_one_a_single_value() {
        let start = Instant::now();
        let mut peak = Peak::default();
        for second in 0..1000 {
            peak.record(
                start + Duration::from_secs(second),
                second as f64,
                Duration::from_secs(9),
            );
        }
        assert_eq!(peak.candidates.len(), 1);
        for second in 1000..2000 {
            peak.record(
                start + Duration::from_secs(second),
                -(second as f64),
                Duration::from_secs(9),
            );
        }
        assert_eq!(peak.candidates.len(), 10);
    }
}
