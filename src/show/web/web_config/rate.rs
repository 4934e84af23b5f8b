//! A limit of requests over all clients: a bucket that a token falls into at every interval
//! (the key `rate_limit`; golang.org/x/time/rate).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often, and how many at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rate {
    /// Above zero.
    pub interval: Duration,
    pub burst: u32,
}

/// What is left of the burst.
#[derive(Debug, Default)]
pub struct Bucket(Mutex<Option<(f64, Instant)>>);

impl Bucket {
    /// Takes a token, if there is one.
    pub fn allows(&self, rate: Rate, now: Instant) -> bool {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = f64::from(rate.burst);
        let (tokens, since) = left.unwrap_or((full, now));
        let fallen = now
            .saturating_duration_since(since)
            .div_duration_f64(rate.interval);
        let tokens = (tokens + fallen).min(full);
        let is_allowed = tokens >= 1.0;
        *left = Some((if is_allowed { tokens - 1.0 } else { tokens }, now));
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_at_every_interval() {
        let (bucket, start) = (Bucket::default(), Instant::now());
        let rate = Rate {
            interval: Duration::from_secs(2),
            burst: 3,
        };
        let at = |seconds| bucket.allows(rate, start + Duration::from_secs(seconds));
        assert_eq!(
            [0, 0, 0, 0, 1, 2, 3].map(at),
            [true, true, true, false, false, true, false]
        );
        // Time that nobody uses fills the bucket and no more.
        assert_eq!([1000; 4].map(at), [true, true, true, false]);
        // As in the toolkit, where a burst was forgotten nobody gets through.
        let none = Rate { burst: 0, ..rate };
        assert!(!bucket.allows(none, start + Duration::from_secs(2000)));
    }
}
