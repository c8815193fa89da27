//! Choices that follow from a seed (SplitMix64).

use std::time::Duration;

pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn of(seed: u64) -> Self {
        Self(seed)
    }

    const fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below this one, which is not 0.
    pub(crate) const fn below(&mut self, end: u64) -> u64 {
        self.roll() % end
    }

    pub(crate) const fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// All of them, in another order (Fisher and Yates).
    pub(crate) fn shuffled<T: Copy>(&mut self, of: &[T]) -> Vec<T> {
        let mut shuffled = of.to_vec();
        for at in (1..shuffled.len()).rev() {
            let other = self.below(at as u64 + 1);
            shuffled.swap(at, usize::try_from(other).unwrap_or(0));
        }
        shuffled
    }

    /// A wait of up to so many milliseconds.
    pub(crate) const fn up_to_ms(&mut self, ms: u64) -> Duration {
        Duration::from_micros(self.below(ms * 1000 + 1))
    }
}
