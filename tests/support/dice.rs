//! Chance that comes again with its seed.

/// SplitMix64 (Steele, Lea, Flood 2014).
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `least` to `most`, both included.
    pub fn roll(&mut self, least: u16, most: u16) -> u16 {
        least + (self.next() % (u64::from(most - least) + 1)) as u16
    }

    pub fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.roll(0, all.len() as u16 - 1) as usize]
    }
}
