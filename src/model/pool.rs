//! Something of which there is only so much: ports, table entries, queue places.

/// How much is used of how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    pub used: u64,
    pub capacity: u64,
}

impl Pool {
    pub fn new(used: impl Into<u64>, capacity: impl Into<u64>) -> Self {
        Self {
            used: used.into(),
            capacity: capacity.into(),
        }
    }

    /// A table of the kernel; `None` where its limit is 0. conntrack takes that
    /// for no limit, and of TIME_WAIT and orphans nothing is kept then.
    pub fn of_table(used: impl Into<u64>, limit: impl Into<u64>) -> Option<Self> {
        let pool = Self::new(used, limit);
        (pool.capacity > 0).then_some(pool)
    }

    /// An accept queue. A limit of 0 lets one connection wait
    /// (`sk_acceptq_is_full`, include/net/sock.h).
    pub fn of_queue(waiting: u32, limit: u32) -> Self {
        Self::new(waiting, limit.max(1))
    }

    pub fn free(self) -> u64 {
        self.capacity.saturating_sub(self.used)
    }

    /// 0 to 1; 1 where there is no capacity, since nothing can be had.
    pub fn share(self) -> f64 {
        if self.used >= self.capacity {
            return 1.0;
        }
        self.used as f64 / self.capacity as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_one_when_nothing_is_left_and_not_before() {
        let share = |used: u32, capacity: u32| Pool::new(used, capacity).share();
        assert_eq!(share(0, 100), 0.0);
        assert_eq!(share(25, 100), 0.25);
        assert!(share(99, 100) < 1.0);
        assert_eq!(share(100, 100), 1.0);
        assert_eq!(share(101, 100), 1.0);
        assert_eq!(share(0, 0), 1.0);
    }

    #[test]
    fn a_table_without_a_limit_is_no_pool_and_a_queue_always_is() {
        assert_eq!(Pool::of_table(5_u32, 0_u32), None);
        assert_eq!(Pool::of_table(5_u32, 6_u32).unwrap().free(), 1);
        assert_eq!(Pool::of_queue(0, 0).share(), 0.0);
        assert_eq!(Pool::of_queue(1, 0).share(), 1.0);
        assert_eq!(Pool::of_queue(9, 8).free(), 0);
    }
}
