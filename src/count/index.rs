//! From the hash of a key to its entry: open addressing in one array of u32, so
//! that a look-up costs one miss of the cache, and none when it was prefetched.
//!
//! hashbrown's HashTable<u32> instead, with the same batches and its first slot
//! prefetched, takes 2.0 times as long at 500,000 keys (median of five pairs of
//! `cargo bench --bench micro -- "hot line"`, 1.3 to 2.2) and the same at 2,000: it
//! reads a line of tags and a line of slots.

use std::hint::black_box;

/// Entry numbers have 24 bits: more than `limits.tracked_keys` allows.
const ENTRY_BITS: u32 = 24;
const ENTRY: u32 = (1 << ENTRY_BITS) - 1;
/// At most half of the slots are taken, so that probes stay within a cache line.
const SLOTS_PER_KEY: usize = 2;
const FEWEST_SLOTS: usize = 64;

/// A slot is 0 when it is free; else its upper 8 bits are a tag of the hash, and
/// the lower 24 the entry's number, counted from 1.
#[derive(Default)]
pub struct Index {
    slots: Vec<u32>,
    taken: usize,
}

impl Index {
    /// Room for so many keys without growing.
    pub fn with_capacity(keys: usize) -> Self {
        if keys == 0 {
            return Self::default();
        }
        let slots = (keys * SLOTS_PER_KEY).next_power_of_two().max(FEWEST_SLOTS);
        Self {
            slots: vec![0; slots],
            taken: 0,
        }
    }

    /// How many keys there is room for.
    pub fn capacity(&self) -> usize {
        self.slots.len() / SLOTS_PER_KEY
    }

    pub fn clear(&mut self) {
        self.slots.fill(0);
        self.taken = 0;
    }

    /// Has the processor fetch the slot, without waiting for it.
    #[inline]
    pub fn prefetch(&self, hash: u64) {
        if let Some(slot) = self.slots.get(self.start(hash)) {
            black_box(*slot);
        }
    }

    /// The entry whose key `is` the one that was hashed.
    #[inline]
    pub fn find(&self, hash: u64, is: impl Fn(u32) -> bool) -> Option<u32> {
        if self.slots.is_empty() {
            return None;
        }
        let mut at = self.start(hash);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            if slot >> ENTRY_BITS == tag(hash) && is((slot & ENTRY) - 1) {
                return Some((slot & ENTRY) - 1);
            }
            at = (at + 1) & (self.slots.len() - 1);
        }
    }

    /// Adds an entry whose key is not in the index; `hash_of` any that is.
    #[inline]
    pub fn insert(&mut self, hash: u64, entry: u32, hash_of: impl Fn(u32) -> u64) {
        if self.taken == self.capacity() {
            self.grow(hash_of);
        }
        self.put(hash, entry);
        self.taken += 1;
    }

    #[cold]
    fn grow(&mut self, hash_of: impl Fn(u32) -> u64) {
        let larger = Self::with_capacity((self.taken * 2).max(1));
        let old = std::mem::replace(self, larger);
        self.taken = old.taken;
        for slot in old.slots.into_iter().filter(|&slot| slot != 0) {
            let entry = (slot & ENTRY) - 1;
            self.put(hash_of(entry), entry);
        }
    }

    #[inline]
    fn put(&mut self, hash: u64, entry: u32) {
        let mut at = self.start(hash);
        while self.slots[at] != 0 {
            at = (at + 1) & (self.slots.len() - 1);
        }
        self.slots[at] = tag(hash) << ENTRY_BITS | (entry + 1);
    }

    /// Slots are a power of two.
    #[inline]
    fn start(&self, hash: u64) -> usize {
        hash as usize & self.slots.len().wrapping_sub(1)
    }
}

/// From the other end of the hash than the slot.
#[inline]
fn tag(hash: u64) -> u32 {
    (hash >> (64 - (32 - ENTRY_BITS))) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Keys are their own hashes, and nearly alike.
        #[test]
        fn it_finds_what_was_put_in_and_nothing_else(keys in prop::collection::btree_set(0_u64..5000, 0..2000)) {
            let keys: Vec<u64> = keys.into_iter().collect();
            let hash = |entry: u32| keys[entry as usize].rotate_right(8);
            let mut index = Index::default();
            for entry in 0..keys.len() as u32 {
                index.insert(hash(entry), entry, hash);
            }
            for (entry, &key) in keys.iter().enumerate() {
                let found = index.find(key.rotate_right(8), |at| keys[at as usize] == key);
                prop_assert_eq!(found, Some(entry as u32));
            }
            prop_assert_eq!(index.find(9999_u64.rotate_right(8), |at| keys[at as usize] == 9999), None);
        }
    }

    #[test]
    fn nothing_is_found_in_an_empty_one() {
        let index = Index::default();
        index.prefetch(7);
        assert_eq!(index.find(7, |_| true), None);
        assert_eq!(index.capacity(), 0);
    }

    #[test]
    fn the_last_place_fits() {
        let mut index = Index::with_capacity(1);
        index.insert(u64::MAX, ENTRY - 1, |_| u64::MAX);
        assert_eq!(index.find(u64::MAX, |_| true), Some(ENTRY - 1));
    }
}
