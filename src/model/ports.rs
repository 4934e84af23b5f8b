//! Ranges and sets of ports.

/// Ports from `first` to `last`, both included, `first` not above `last`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}

impl PortRange {
    /// How many ports there are in it.
    pub fn size(self) -> u32 {
        u32::from(self.last) - u32::from(self.first) + 1
    }
}

const WORDS: usize = 65_536 / 64;

/// One bit for each of the 65,536 ports: 8 KiB, whatever is in it.
#[derive(Clone, PartialEq, Eq)]
pub struct PortSet(Box<[u64; WORDS]>);

impl Default for PortSet {
    fn default() -> Self {
        Self(Box::new([0; WORDS]))
    }
}

impl From<PortRange> for PortSet {
    fn from(range: PortRange) -> Self {
        let mut ports = Self::default();
        ports.insert_range(range);
        ports
    }
}

impl std::fmt::Debug for PortSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl PortSet {
    /// Adds the port; `true` when it was not there.
    #[inline]
    pub fn insert(&mut self, port: u16) -> bool {
        let (word, bit) = Self::bit(port);
        let fresh = self.0[word] & bit == 0;
        self.0[word] |= bit;
        fresh
    }

    /// Takes the port out; `true` when it was there.
    pub fn remove(&mut self, port: u16) -> bool {
        let (word, bit) = Self::bit(port);
        let was_there = self.0[word] & bit != 0;
        self.0[word] &= !bit;
        was_there
    }

    #[inline]
    pub fn contains(&self, port: u16) -> bool {
        let (word, bit) = Self::bit(port);
        self.0[word] & bit != 0
    }

    pub fn clear(&mut self) {
        self.0.fill(0);
    }

    pub fn insert_range(&mut self, range: PortRange) {
        let (first, last) = (usize::from(range.first), usize::from(range.last));
        for at in first / 64..=last / 64 {
            let mut word = u64::MAX;
            if at == first / 64 {
                word &= u64::MAX << (first % 64);
            }
            if at == last / 64 {
                word &= u64::MAX >> (63 - last % 64);
            }
            self.0[at] |= word;
        }
    }

    pub fn len(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|&word| word == 0)
    }

    pub fn union_with(&mut self, other: &Self) {
        self.combine(other, |mine, theirs| mine | theirs);
    }

    pub fn or(mut self, other: &Self) -> Self {
        self.union_with(other);
        self
    }

    pub fn and(mut self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine & theirs);
        self
    }

    pub fn minus(mut self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine & !theirs);
        self
    }

    /// How many ports are in this set or in any of the others.
    pub fn union_len(&self, others: &[&Self]) -> u32 {
        (0..WORDS)
            .map(|at| {
                others
                    .iter()
                    .fold(self.0[at], |word, other| word | other.0[at])
                    .count_ones()
            })
            .sum()
    }

    /// Every second port: those as even or odd as `port`.
    pub fn with_parity_of(port: u16) -> Self {
        let even = 0x5555_5555_5555_5555;
        let word = if port.is_multiple_of(2) { even } else { !even };
        Self(Box::new([word; WORDS]))
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        self.0.iter().enumerate().flat_map(|(at, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some((at * 64) as u16 + bit as u16)
            })
        })
    }

    fn combine(&mut self, other: &Self, with: impl Fn(u64, u64) -> u64) {
        for (mine, theirs) in self.0.iter_mut().zip(other.0.iter()) {
            *mine = with(*mine, *theirs);
        }
    }

    #[inline]
    fn bit(port: u16) -> (usize, u64) {
        (usize::from(port / 64), 1 << (port % 64))
    }
}

impl FromIterator<u16> for PortSet {
    fn from_iter<I: IntoIterator<Item = u16>>(ports: I) -> Self {
        let mut set = Self::default();
        for port in ports {
            set.insert(port);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn it_is_a_set(ports: Vec<u16>, others: Vec<u16>) {
            let (a, b): (PortSet, PortSet) =
                (ports.iter().copied().collect(), others.iter().copied().collect());
            let (x, y): (BTreeSet<u16>, BTreeSet<u16>) =
                (ports.into_iter().collect(), others.into_iter().collect());
            prop_assert_eq!(a.iter().collect::<BTreeSet<_>>(), x.clone());
            prop_assert_eq!(a.len() as usize, x.len());
            prop_assert_eq!(a.union_len(&[&b]) as usize, x.union(&y).count());
            prop_assert!(a.clone().and(&b).iter().eq(x.intersection(&y).copied()));
            prop_assert!(a.minus(&b).iter().eq(x.difference(&y).copied()));
        }
    }

    proptest! {
        #[test]
        fn a_range_is_all_of_its_ports(a: u16, b: u16, few in 0_u16..200) {
            for (first, last) in [(a.min(b), a.max(b)), (a, a.saturating_add(few))] {
                let mut set = PortSet::default();
                set.insert_range(PortRange { first, last });
                prop_assert!(set.iter().eq(first..=last));
            }
        }
    }

    #[test]
    fn the_last_port_fits() {
        let mut set = PortSet::default();
        set.insert_range(PortRange {
            first: 65_534,
            last: 65_535,
        });
        assert_eq!(set.iter().collect::<Vec<_>>(), [65_534, 65_535]);
        assert!(!set.insert(65_535));
        set.remove(65_535);
        assert!(!set.contains(65_535));
    }

    #[test]
    fn parity_follows_the_port() {
        assert!(PortSet::with_parity_of(40_001).contains(1));
        assert!(!PortSet::with_parity_of(40_001).contains(40_000));
        assert_eq!(PortSet::with_parity_of(0).len(), 32_768);
    }
}
