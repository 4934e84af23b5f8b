//! The K largest, with hysteresis, so that series do not come and go.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::hash::Hash;

/// Which keys were shown last time.
#[derive(Debug)]
pub struct Ranking<K> {
    shown: HashSet<K>,
}

impl<K> Default for Ranking<K> {
    fn default() -> Self {
        Self {
            shown: HashSet::new(),
        }
    }
}

/// How far a key that is shown may fall before it goes, for `k` places.
pub fn last_rank(k: usize) -> usize {
    k + k.div_ceil(2)
}

impl<K: Ord + Hash + Clone> Ranking<K> {
    /// The `k` largest, largest first, and behind them those that were shown
    /// last time and are still within rank 1.5 `k`. Equals are told apart by
    /// their keys, the lower one first. Time O(n log k), memory O(k).
    pub fn select(&mut self, k: usize, items: impl IntoIterator<Item = (K, u64)>) -> Vec<(K, u64)> {
        let room = last_rank(k);
        let mut heap = BinaryHeap::with_capacity(room + 1);
        for (key, size) in items {
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
            .filter(|(rank, (_, key))| *rank < k || self.shown.contains(key))
            .map(|(_, (Reverse(size), key))| (key, size))
            .collect();
        self.shown = selected.iter().map(|(key, _)| key.clone()).collect();
        selected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn keys(ranking: &mut Ranking<char>, k: usize, items: &[(char, u64)]) -> String {
        ranking
            .select(k, items.iter().copied())
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
    fn nothing_is_selected_of_nothing() {
        assert!(Ranking::<u8>::default().select(3, []).is_empty());
        assert!(Ranking::default().select(0, [(1, 1)]).is_empty());
    }

    proptest! {
        #[test]
        fn without_history_it_is_a_sort(sizes: Vec<u64>, k in 0_usize..20) {
            let items: Vec<(usize, u64)> = sizes.into_iter().enumerate().collect();
            let mut sorted = items.clone();
            sorted.sort_by_key(|&(key, size)| (Reverse(size), key));
            sorted.truncate(k);
            prop_assert_eq!(Ranking::default().select(k, items), sorted);
        }
    }
}
