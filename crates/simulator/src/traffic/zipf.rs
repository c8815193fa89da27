//! Zipf's law with exponent 1: who stands at place k is drawn in proportion to 1/k.

use rand::Rng;

use super::pen;

/// The weight of the first. Integers, so that no platform rounds otherwise.
const FIRST: u64 = 1 << 40;

/// Draws places from 0.
pub(super) struct Zipf {
    /// The sum of weights up to and with each place.
    sums: Vec<u64>,
}

impl Zipf {
    /// A law over `n` places; over one where `n` is 0.
    pub(super) fn new(n: u32) -> Self {
        let mut sum = 0;
        let weights = (1..=u64::from(n.max(1))).map(|place| FIRST / place);
        let sums = weights.map(|weight| {
            sum += weight;
            sum
        });
        Self {
            sums: sums.collect(),
        }
    }

    pub(super) fn draw(&self, rng: &mut impl Rng) -> u32 {
        let sum = self.sums.last().copied().unwrap_or(1);
        let at = pen::below(rng, sum);
        u32::try_from(self.sums.partition_point(|&upto| upto <= at)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    #[test]
    fn the_first_is_drawn_twice_as_often_as_the_second() {
        let zipf = Zipf::new(1000);
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut drawn = vec![0u32; 1000];
        for _ in 0..100_000 {
            drawn[zipf.draw(&mut rng) as usize] += 1;
        }
        // 100,000 / H(1000) = 13,359.
        assert!((13_000..13_700).contains(&drawn[0]), "{}", drawn[0]);
        assert!((6_450..6_910).contains(&drawn[1]), "{}", drawn[1]);
        assert!(
            drawn[900..].iter().sum::<u32>() > 1000,
            "the last are drawn too"
        );
    }

    #[test]
    fn one_place_is_always_drawn() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        assert_eq!(Zipf::new(1).draw(&mut rng), 0);
        assert_eq!(Zipf::new(0).draw(&mut rng), 0);
    }
}
