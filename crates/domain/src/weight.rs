//! From signals to weight, and from weight to an amount of tokens. Integers only.
//!
//! The deployed system computes both in floating point: `weight = presence + 10·sub + 10·resub +
//! 5·gift + 0.01·bits + 0.1·raid` and `amount = round(weight × 80 × ratio × 10⁹)`. Integers give
//! the same wherever that is exact, and stay exact beyond 2⁵³.

use serde::{Deserialize, Serialize};

use crate::epoch::EpochLength;
use crate::signal::SignalSums;

/// Weight in hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Weight(pub u64);

impl Weight {
    /// The weight of a participant of whom no signal is known.
    pub const ONE: Self = Self(100);
}

/// What one unit of each signal weighs, in hundredths. A message weighs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// A minute of presence.
    pub presence: u32,
    /// A subscription.
    pub sub: u32,
    /// A renewed subscription.
    pub resub: u32,
    /// A subscription given away.
    pub gift: u32,
    /// A bit.
    pub bits: u32,
    /// A viewer of a raid.
    pub raid: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            presence: 100,
            sub: 1000,
            resub: 1000,
            gift: 500,
            bits: 1,
            raid: 10,
        }
    }
}

impl Weights {
    /// The weight of a person's signals; [`Weight::ONE`] where there are none.
    ///
    /// It saturates at [`u64::MAX`] hundredths, which no count of signals reaches.
    #[must_use]
    pub fn weigh(&self, sums: Option<&SignalSums>) -> Weight {
        let Some(sums) = sums else { return Weight::ONE };
        let parts = [
            (self.presence, sums.presence),
            (self.sub, sums.sub),
            (self.resub, sums.resub),
            (self.gift, sums.gift),
            (self.bits, sums.bits),
            (self.raid, sums.raid),
        ];
        Weight(parts.iter().fold(0u64, |sum, &(weight, value)| {
            sum.saturating_add(u64::from(weight).saturating_mul(value))
        }))
    }
}

/// The settings that change arithmetic. They are records of the journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arithmetic {
    /// How long an epoch is.
    pub epoch_seconds: EpochLength,
    /// What a signal weighs.
    pub weights: Weights,
    /// Whole tokens for a weight of 1.
    pub reward_per_weight: u32,
    /// The viewers' share in millionths; the rest is the streamer's.
    pub viewer_ratio_ppm: u32,
    /// The decimals of the token.
    pub decimals: u8,
    /// The listed bots, by login, sorted.
    pub bots: Vec<crate::identity::Login>,
}

impl Default for Arithmetic {
    fn default() -> Self {
        Self {
            epoch_seconds: EpochLength::HOUR,
            weights: Weights::default(),
            reward_per_weight: 80,
            viewer_ratio_ppm: 1_000_000,
            decimals: 9,
            bots: Vec::new(),
        }
    }
}

impl Arithmetic {
    /// The viewers' amount for a weight, in the token's smallest unit, rounded half up.
    ///
    /// It saturates at [`u64::MAX`], the most that a claim can hold.
    #[must_use]
    pub fn viewer_amount(&self, weight: Weight) -> u64 {
        self.share(weight, self.viewer_ratio_ppm)
    }

    fn share(&self, weight: Weight, ppm: u32) -> u64 {
        // At most 2^64 · 2^32 · 2^20 · 10^12 would pass 2^128, hence the saturating steps; the
        // divisor is weight's hundredths times the ratio's millionths.
        let unit = 10u128.saturating_pow(u32::from(self.decimals));
        let product = u128::from(weight.0)
            .saturating_mul(u128::from(self.reward_per_weight))
            .saturating_mul(u128::from(ppm))
            .saturating_mul(unit);
        let divisor = 100 * 1_000_000;
        let rounded = product.saturating_add(divisor / 2) / divisor;
        u64::try_from(rounded).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_add_up_as_the_deployed_system_does() {
        let sums = SignalSums {
            presence: 3,
            message: 9,
            sub: 1,
            resub: 2,
            gift: 5,
            bits: 250,
            raid: 7,
        };
        // 3 + 10 + 20 + 25 + 2.5 + 0.7
        assert_eq!(Weights::default().weigh(Some(&sums)), Weight(6120));
        assert_eq!(Weights::default().weigh(None), Weight::ONE);
    }

    #[test]
    fn amounts_equal_floating_point_where_that_is_exact() {
        let arithmetic = Arithmetic::default();
        for hundredths in (0..2_000_000u64).step_by(37) {
            #[allow(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss
            )]
            let float = ((hundredths * 80) as f64 * 1e7).round() as u64;
            assert_eq!(arithmetic.viewer_amount(Weight(hundredths)), float);
        }
    }

    #[test]
    fn halves_are_rounded_up() {
        let arithmetic = Arithmetic {
            decimals: 0,
            reward_per_weight: 1,
            viewer_ratio_ppm: 500_000,
            ..Arithmetic::default()
        };
        assert_eq!(arithmetic.viewer_amount(Weight(100)), 1);
        assert_eq!(arithmetic.viewer_amount(Weight(99)), 0);
        assert_eq!(arithmetic.viewer_amount(Weight(300)), 2);
    }

    #[test]
    fn nothing_overflows() {
        assert_eq!(
            Arithmetic::default().viewer_amount(Weight(u64::MAX)),
            u64::MAX
        );
    }
}
