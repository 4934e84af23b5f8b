//! The K largest that matter, with hysteresis in rank and in time, so that series do not come
//! and go: a Prometheus server remembers each that ever was.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// A key that was large enough stays for so long after it was that last.
const KEEP: Duration = Duration::from_secs(600);

/// Which keys were shown last time, and when each was large enough last.
#[derive(Debug)]
pub struct Ranking<K> {
    shown: HashMap<K, Instant>,
}

impl<K> Default for Ranking<K> {
    fn default() -> Self {
        Self {
            shown: HashMap::new(),
        }
    }
}

/// How far a key that is shown may fall before it goes, for `k` places.
pub fn last_rank(k: usize) -> usize {
    k + k.div_ceil(2)
}

impl<K: Ord + Hash + Clone> Ranking<K> {
    /// Of those that are large enough, or were when they were shown, no longer than ten
    /// minutes ago: the `k` largest, largest first, and behind them those that were shown
    /// last time and are still within rank 1.5 `k`. Equals are told apart by
    /// their keys, the lower one first. Time O(n log k), memory O(k).
    pub fn select(
        &mut self,
        k: usize,
        items: impl IntoIterator<Item = (K, u64)>,
        is_large: impl Fn(&K, u64) -> bool,
    ) -> Vec<(K, u64)> {
        self.select_at(Instant::now(), k, items, is_large)
    }

    fn select_at(
        &mut self,
        now: Instant,
        k: usize,
        items: impl IntoIterator<Item = (K, u64)>,
        is_large: impl Fn(&K, u64) -> bool,
    ) -> Vec<(K, u64)> {
        let room = last_rank(k);
        let mut heap = BinaryHeap::with_capacity(room + 1);
        self.shown
            .retain(|_, large| now.duration_since(*large) < KEEP);
        for (key, size) in items {
            if !is_large(&key, size) && !self.shown.contains_key(&key) {
                continue;
            }
            let item = (Reverse(size), key);
            if heap.len() < room {
                heap.push(item);
            } else if heap.peek().is_some_and(|smallest| item < *smallest) {
                heap.pop();
                heap.push(item);
            }
        }
        let selected: Vec<(K, u64)> = heap
            .into_sorted_vec()
            .into_iter()
            .enumerate()
            .filter(|(rank, (_, key))| *rank < k || self.shown.contains_key(key))
            .map(|(_, (Reverse(size), key))| (key, size))
            .collect();
        let large = selected.iter().map(|(key, size)| {
            let since = match is_large(key, *size) {
                true => now,
                false => self.shown[key],
            };
            (key.clone(), since)
        });
        self.shown = large.collect();
        selected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(ranking: &mut Ranking<char>, k: usize, items: &[(char, u64)]) -> String {
        ranking
            .select(k, items.iter().copied(), |_, _| true)
            .into_iter()
            .map(|(key, _)| key)
            .collect()
    }

    #[test]
    fn the_largest_come_first_and_equals_in_order() {
        let mut ranking = Ranking::default();
        assert_eq!(
            keys(&mut ranking, 2, &[('c', 5), ('a', 5), ('b', 9), ('d', 1)]),
            "ba"
        );
    }

    #[test]
    fn a_key_stays_until_it_falls_below_one_and_a_half_times_k() {
        let mut ranking = Ranking::default();
        assert_eq!(
            keys(&mut ranking, 2, &[('a', 9), ('b', 8), ('c', 7), ('d', 6)]),
            "ab"
        );
        assert_eq!(
            keys(&mut ranking, 2, &[('a', 9), ('b', 6), ('c', 7), ('d', 5)]),
            "acb",
            "third"
        );
        assert_eq!(
            keys(&mut ranking, 2, &[('a', 9), ('b', 5), ('c', 7), ('d', 6)]),
            "ac",
            "fourth"
        );
        assert_eq!(
            keys(&mut ranking, 2, &[('a', 9), ('b', 6), ('c', 7), ('d', 5)]),
            "ac",
            "gone"
        );
    }

    #[test]
    fn what_was_large_enough_stays_for_a_while_and_what_never_was_does_not_come() {
        let start = Instant::now();
        let mut ranking = Ranking::default();
        let mut at = |second: u64, items: &[(char, u64)]| {
            let now = start + Duration::from_secs(second);
            let selected = ranking.select_at(now, 3, items.iter().copied(), |_, size| size >= 5);
            selected.into_iter().map(|(key, _)| key).collect::<String>()
        };
        assert_eq!(at(0, &[('a', 9), ('b', 4), ('c', 1)]), "a");
        assert_eq!(at(1, &[('a', 2), ('b', 4)]), "a");
        assert_eq!(at(599, &[('a', 1), ('b', 5)]), "ba");
        assert_eq!(at(600, &[('a', 1), ('b', 1)]), "b", "ten minutes");
        assert_eq!(at(601, &[('a', 4)]), "", "gone");
        assert_eq!(at(602, &[('a', 4), ('b', 4)]), "");
    }

    #[test]
    fn nothing_is_selected_of_nothing() {
        assert!(
            Ranking::<u8>::default()
                .select(3, [], |_, _| true)
                .is_empty()
        );
        assert!(
            Ranking::default()
                .select(0, [(1, 1)], |_, _| true)
                .is_empty()
        );
    }

    proptest! {
        #[test]
        fn without_history_it_is_a_sort(sizes: Vec<u64>, k in 0_usize..20) {
            let items: Vec<(usize, u64)> = sizes.into_iter().enumerate().collect();
            let mut sorted = items.clone();
            sorted.sort_by_key(|&(key, size)| (Reverse(size), key));
            sorted.truncate(k);
            prop_assert_eq!(Ranking::default().select(k, items, |_, _| true), sorted);
        }
    }
}
