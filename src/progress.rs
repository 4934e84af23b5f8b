//! Whether the collector thread goes on: it says so now and then, and whoever answers for the
//! health of the process asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One thread marks it, others look.
#[derive(Clone, Debug)]
pub struct Progress {
    start: Instant,
    /// Milliseconds from there to the last mark.
    marked: Arc<AtomicU64>,
    most: Duration,
}

impl Progress {
    /// Without a mark for longer than `most` it is stuck.
    pub fn new(most: Duration) -> Self {
        Self {
            start: Instant::now(),
            marked: Arc::default(),
            most,
        }
    }

    pub fn mark(&self) {
        let now = self.start.elapsed().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.marked.store(now, Ordering::Relaxed);
    }

    /// For how long there was none, if that is too long.
    pub fn stuck_for(&self) -> Option<Duration> {
        let marked = Duration::from_millis(self.marked.load(Ordering::Relaxed));
        let since = self.start.elapsed().saturating_sub(marked);
        (since > self.most).then_some(since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_stuck_after_a_while_without_a_mark() {
        let progress = Progress::new(Duration::from_millis(50));
        progress.mark();
        assert_eq!(progress.stuck_for(), None);
        std::thread::sleep(Duration::from_millis(80));
        assert!(progress.clone().stuck_for() > Some(Duration::from_millis(50)));
        progress.mark();
        assert_eq!(progress.stuck_for(), None);
    }
}
